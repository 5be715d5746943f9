#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "runrig/hdf5/type.hpp"
#include "runrig/shm/shape.hpp"

/// HDF5 files. The library behind this has known crashes on malformed files and is one big lock: everything here that
/// is not a plain value is used in worker processes only, and no object crosses a fork. What the library says is
/// checked before memory is allocated by it, so what survives the library is safe here, too.
///
/// Errors: FormatError with one line that names the file, the object and the library's own innermost reason; Error
/// with the system's code where there is one (no_such_file_or_directory, permission_denied, is_a_directory).
/// Objects are used by one thread at a time.
namespace runrig::hdf5 {

/// A filter of a dataset's pipeline, in the order in which writing applies them.
struct FilterInfo {
  int id = 0;          ///< HDF5's registered number: 1 deflate, 2 shuffle, 3 fletcher32, 4 szip, ...
  unsigned flags = 0;  ///< 1: optional, so a chunk may lack it
  std::vector<unsigned> parameters;
  std::string name;       ///< "deflate-4", "shuffle", "fletcher32", "szip", "blosc", "filter 32008" ...
  bool available = true;  ///< the library here can decode it
  bool encodable = true;  ///< ... and encode it
  /// Deflate only, and of no file: encoded by the fastest encoder there is, rather than to the level's size.
  bool fast = false;
};

enum class Layout : std::uint8_t { compact, contiguous, chunked, virtual_sources, external_files };
[[nodiscard]] std::string_view layout_name(Layout layout) noexcept;  ///< "compact", ..., "virtual", "external"

/// Shape::maxshape entry of an axis without limit.
inline constexpr std::uint64_t unlimited = UINT64_MAX;

struct DatasetInfo {
  StoredType type;
  bool null_space = false;  ///< H5S_NULL: no elements and no shape; shape is then (0)
  Shape shape;              ///< no axes for a scalar
  Shape maxshape;           ///< `unlimited` where an axis may grow for ever
  Layout layout = Layout::contiguous;
  Shape chunk;  ///< Layout::chunked only: elements per chunk, never 0
  std::vector<FilterInfo> filters;
  bool partial_chunks_unfiltered = false;  ///< the filters pass over chunks that stick out of the shape
  /// The value of elements never written, item_bytes(type.dtype) bytes in the machine's order; zeros where the file
  /// defines none. Empty unless numeric.
  std::vector<std::byte> fill;
  /// The file asks for no filling at all, or has no fill value: what was never written reads as zeros, and `fill` is
  /// so.
  bool fill_never = false;
  bool fill_defined = false;  ///< the file's maker set it, rather than the library's default
  /// By ReadOptions::conventions `type` and `fill` are those of unpacked elements; if `masked`, missing ones are NaN.
  bool unpacked = false;
  bool masked = false;
  std::uint64_t size_bytes = 0;  ///< elements times stored size; UINT64_MAX if that does not fit
  /// In the file, encoded; 0 if nothing was ever written. Dataset::open() leaves it 0 for chunks, because it would have
  /// to visit the whole index; see Dataset::all_fill().
  std::uint64_t stored_bytes = 0;
  /// Layout::contiguous and something is stored: where, in bytes from the start of the file (not of the user block's
  /// end).
  std::optional<std::uint64_t> file_offset;
};

struct AttributeInfo {
  std::string name;
  StoredType type;
  Shape shape;
  bool null_space = false;
  /// As JSON: a number, a string, true/false, or nested lists. What is past ~1 KiB is cut: a string then ends with
  /// "...", a list has the string "..." as its last element.
  std::string value;
  std::string error;  ///< why value or type could not be read; empty if they could
};

enum class ObjectKind : std::uint8_t { group, dataset, named_type, hard_link, soft_link, external_link, other };

struct ObjectInfo {
  std::string path;  ///< "/" for the root
  ObjectKind kind = ObjectKind::other;
  std::string target;  ///< links: where to; "file:path" for external ones, the first path of a second hard link
  std::optional<DatasetInfo> dataset;  ///< kind dataset, and readable
  std::vector<AttributeInfo> attributes;
  std::string error;  ///< why this object could not be read; empty if it could. The walk goes on with the next.
};

struct WalkOptions {
  bool attributes = true;
  std::size_t max_objects = 1'000'000;  ///< more is a FormatError: the file is malformed, or not for this tool
  std::size_t max_depth = 1'000;
};

/// An HDF5 file, open for reading. Move-only; the destructor closes.
class File {
 public:
  /// Opens for reading only. Throws Error: no_such_file_or_directory, permission_denied, is_a_directory,
  /// invalid_argument (not a regular file: a FIFO would hang), device_or_resource_busy (locked by a writer);
  /// FormatError: not an HDF5 file, truncated, damaged.
  [[nodiscard]] static File open(const std::string& path);
  File(File&&) noexcept;
  File& operator=(File&&) noexcept;
  ~File();

  [[nodiscard]] const std::string& path() const noexcept { return path_; }
  /// Bytes of the file, when it was opened.
  [[nodiscard]] std::uint64_t file_bytes() const noexcept;

  /// Calls `visit` for the root group, then depth first for every link below it in the order of names. Each object is
  /// visited once, at its first path; further hard links to it are ObjectKind::hard_link. Soft and external links are
  /// named, not followed.
  void walk(const std::function<void(const ObjectInfo&)>& visit, const WalkOptions& options = {}) const;
  /// The attributes of one object.
  [[nodiscard]] std::vector<AttributeInfo> attributes(const std::string& object) const;

  struct State;
  [[nodiscard]] const State& state() const noexcept { return *state_; }  ///< for this room only

 private:
  File(std::string path, std::unique_ptr<State> state);
  std::string path_;
  std::unique_ptr<State> state_;
};

}  // namespace runrig::hdf5
