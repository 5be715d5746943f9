#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>

#include "file_state.hpp"
#include "runrig/hdf5/dataset.hpp"
#include "stored_type.hpp"

/// The ways in which elements come out of a file. Each gives the same values.
namespace runrig::hdf5::detail {

/// What is to be read, axis by axis of the dataset, and where it goes. No count is 0.
struct Request {
  std::size_t rank = 0;
  std::array<AxisSelection, max_rank> axes{};
  std::array<std::ptrdiff_t, max_rank> strides{};  // bytes in the destination, 0 along dropped axes
  std::byte* out = nullptr;

  [[nodiscard]] Shape counts() const;
  [[nodiscard]] std::span<const std::ptrdiff_t> out_strides() const { return {strides.data(), rank}; }
};

class Reader {
 public:
  virtual ~Reader() = default;
  virtual void read(const Request& request) = 0;
  /// The elements where they lie, if that is in memory as they are wanted; `out` and strides of the request mean
  /// nothing. nullptr: read() is to be used.
  [[nodiscard]] virtual std::shared_ptr<const std::byte> in_place(const Request& /*request*/) { return nullptr; }

 protected:
  Reader() = default;
};

/// What every reader knows of its dataset. Outlives the reader.
struct Source {
  const File::State* file = nullptr;
  std::unique_ptr<File::State> foreign;  // that file, if an external link led into another one
  std::string file_path;
  std::string name;  // "file.h5:/path"
  Id dataset;
  DatasetInfo info;
  ReadOptions options;

  /// Bytes of a decoded chunk; throws FormatError if that is past the options' limit.
  [[nodiscard]] std::size_t chunk_bytes() const;
};

/// Raw chunks by coordinate, decoded here. For native pipelines and direct types.
[[nodiscard]] std::unique_ptr<Reader> make_chunk_reader(const Source& source);
/// pread from the file. For contiguous data of direct types that is stored at all.
[[nodiscard]] std::unique_ptr<Reader> make_contiguous_reader(const Source& source);
/// H5Dread. For everything.
[[nodiscard]] std::unique_ptr<Reader> make_library_reader(const Source& source);

/// Throws FormatError naming the first source of a virtual dataset that is not there.
void check_virtual_sources(const Source& source);

}  // namespace runrig::hdf5::detail
