#pragma once

#include <cstddef>
#include <functional>
#include <string>
#include <vector>

#include "runrig/hdf5/file.hpp"
#include "runrig/hdf5/output.hpp"

/// Whole files, stored anew. Workers and the writer only, as all of the HDF5 library.
namespace runrig::hdf5 {

struct RepackOptions {
  /// Of the datasets that are stored anew: of fixed element size, without references, with at least one axis.
  StorageOptions storage{};
  /// Which; empty for all that can be. Others keep what they have.
  std::vector<std::string> datasets{};
  /// The writer copies all elements itself, through H5Dread and H5Dwrite: the same values, only slower.
  bool force_library = false;
  std::size_t max_chunk_bytes = std::size_t{1} << 30;  ///< decoded; datasets with larger ones keep what they have
};

/// A dataset that was made, and whose chunks are yet to be placed by OutputFile::write_chunk(): of the elements that
/// Dataset::read() gives with ReadOptions::as_stored.
struct RepackDataset {
  std::string path;
  std::size_t item_bytes = 1;
  Shape shape{};
  Shape source_chunk{};  ///< no axes: not chunked
  Shape chunk{};
  std::vector<FilterInfo> filters{};
  std::vector<std::byte> fill{};  ///< item_bytes, as stored
};

/// Copies all of `source` into `output`, which has nothing in it but its root: groups, links of every kind, named
/// types, attributes, datasets and the order in which they were made; references lead to the copies. Returns the
/// datasets whose elements are left to the caller. `notes` gets a line for what could not be kept. `heartbeat` is
/// called at each step. Throws FormatError if an object cannot be copied, or none has a name in `options.datasets`.
[[nodiscard]] std::vector<RepackDataset> copy_file(const File& source, OutputFile& output, const RepackOptions& options,
                                                   std::vector<std::string>& notes,
                                                   const std::function<void()>& heartbeat);

/// A dataset of a file that is to be copied.
struct RepackedDataset {
  std::string path;
  std::string dtype;  ///< NumPy's notation
  Shape shape{};
  std::uint64_t bytes = 0;  ///< of its elements, decoded; UINT64_MAX if that does not fit
  bool anew = false;        ///< stored as the options say; else as it is
  Shape chunk{};            ///< of the copy
  std::vector<FilterInfo> filters{};
};
/// The datasets that copy_file() would copy, in its order, with its errors for `options`. Nothing is written.
[[nodiscard]] std::vector<RepackedDataset> plan_copy(const File& source, const RepackOptions& options,
                                                     std::vector<std::string>& notes,
                                                     const std::function<void()>& heartbeat);

}  // namespace runrig::hdf5
