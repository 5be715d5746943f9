#pragma once

#include <hdf5.h>

#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

/// The few things of the HDF5 library that making sample files takes, each call checked. Every failure is a
/// runrig::Error that names the file or dataset; the library's own stack goes to stderr.
namespace runrig::data {

/// An HDF5 id with the function that closes it.
class Handle {
 public:
  /// Throws Error if `id` says that the call which made it failed.
  Handle(hid_t id, herr_t (*closer)(hid_t), std::string_view attempted, std::string_view name);
  Handle(Handle&& other) noexcept : id_(std::exchange(other.id_, H5I_INVALID_HID)), close_(other.close_) {}
  Handle& operator=(Handle&&) = delete;
  ~Handle();

  [[nodiscard]] hid_t get() const noexcept { return id_; }
  /// Closes now, where a failure can be thrown.
  void close(std::string_view attempted, std::string_view name);

 private:
  hid_t id_;
  herr_t (*close_)(hid_t);
};

/// Throws Error if an HDF5 call returned `status` below 0.
void check_hdf5(herr_t status, std::string_view attempted, std::string_view name);

/// How a dataset lies in the file. `type` is borrowed for the call. Without chunks it is contiguous, or compact.
struct Storage {
  hid_t type = H5I_INVALID_HID;
  std::vector<hsize_t> shape = {};  ///< elements per axis; empty for a scalar
  std::vector<hsize_t> chunk = {};  ///< elements per axis
  bool unlimited = false;           ///< the first axis may grow
  bool compact = false;
  bool shuffle = false;
  std::optional<unsigned> deflate = {};  ///< level
  bool fletcher32 = false;
  const void* fill = nullptr;  ///< one element of `fill_type`
  hid_t fill_type = H5I_INVALID_HID;
};

/// The library's rules for a new file.
struct FileFormat {
  hsize_t user_block_bytes = 0;
  bool creation_order = false;  ///< groups and attributes are listed as they were made, as netCDF-4 wants it
  bool version_110 = false;     ///< the newer structures: object headers and chunk indices of version 2 and later
};

/// One new HDF5 file, the same bytes for the same calls: no time stamps.
class H5Writer {
 public:
  /// Replaces an existing file.
  H5Writer(const std::filesystem::path& path, const FileFormat& format);

  [[nodiscard]] Handle create_group(const std::string& name);
  /// Without values: fill values until something is written.
  [[nodiscard]] Handle create_dataset(const std::string& name, const Storage& storage);
  /// With all its values, `memory_type` elements at `values`.
  Handle write_dataset(const std::string& name, const Storage& storage, hid_t memory_type, const void* values);
  /// Writes what the library still holds back. Throws Error also if a handle into the file is still open.
  void close();

  [[nodiscard]] hid_t id() const noexcept { return file_.get(); }

 private:
  std::string path_;
  bool creation_order_;
  Handle file_;
};

/// Writes the box of `count` elements from `start` on.
void write_box(const Handle& dataset, const std::vector<hsize_t>& start, const std::vector<hsize_t>& count,
               hid_t memory_type, const void* values);

/// Attributes, on a file, group or dataset. Text is stored as a fixed-length, NUL-padded UTF-8 string.
void set_attribute(hid_t object, const std::string& name, std::string_view text);
/// `count` values in one dimension; a scalar if `count` is 0.
void set_attribute(hid_t object, const std::string& name, hid_t file_type, hid_t memory_type, const void* values,
                   hsize_t count = 0);

/// A type of the given length in bytes, NUL-padded UTF-8.
[[nodiscard]] Handle string_type(std::size_t length_bytes);
/// Text of any length; in memory a char*.
[[nodiscard]] Handle variable_string_type();
/// IEEE 754 binary16, which the library has no name for; `order` is H5T_ORDER_LE or H5T_ORDER_BE.
[[nodiscard]] Handle half_type(H5T_order_t order);
/// An enumeration stored in one signed byte, its values counted from 0.
[[nodiscard]] Handle enum_type(const std::vector<std::string>& names);

}  // namespace runrig::data
