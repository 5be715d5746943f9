#pragma once

#include <string>
#include <string_view>

#include "runrig/batch/session.hpp"
#include "runrig/shm/nd_array.hpp"

/// Arrays in shared memory from and to HDF5 files, by all workers of a session.
namespace runrig {

/// Reads a dataset, or the part of it that `dataset` selects ("/u10[0:24]", see hdf5::parse_dataset_ref), into a new
/// array of the same dtype in the machine's byte order. `name` is the segment's, by which NumPy and other processes
/// find it; empty for one of its own making. Chunks are decoded by the workers straight into the array. Throws Error:
/// what makes the dataset unreadable, in one line; no_space_on_device if /dev/shm is full; Cancelled.
[[nodiscard]] AnyArray read_any_array(batch::Session& session, const std::string& file, std::string_view dataset,
                                      std::string_view name = {});

/// The same for a dtype that is known. Throws FormatError if the dataset has another.
template <Element T>
[[nodiscard]] NdArray<T> read_array(batch::Session& session, const std::string& file, std::string_view dataset,
                                    std::string_view name = {}) {
  return NdArray<T>(read_any_array(session, file, dataset, name));
}

/// Reads the same into an array that is there: pages that were touched before take no time again. Its dtype and shape
/// are those of what is read; it lies in a segment, with any strides. After an error it holds what had been decoded so
/// far. Throws as read_any_array(); std::logic_error for another dtype or shape, or an array in memory of this process
/// only.
void read_into_array(batch::Session& session, const std::string& file, std::string_view dataset,
                     const AnyArrayRef& array);

struct WriteArrayOptions {
  /// "shuffle,deflate:4,fletcher32" or parts of it; empty for none.
  std::string filters;
  /// Elements per chunk along each axis; none is contiguous without filters, and a shape of about 1 MiB with them.
  Shape chunk;
  /// Whether a file that exists is replaced.
  batch::MapRequest::Existing existing = batch::MapRequest::Existing::refuse;
};

/// Writes an array as the one dataset of a new file, which appears under its name only when it is complete. The workers
/// encode, the session's writer places the chunks.
/// Throws Error: file_exists, no_space_on_device, and what else the file system says; FormatError for filters that are
/// none; std::logic_error for an array in memory of this process only; Cancelled.
void write_any_array(batch::Session& session, const AnyArrayRef& array, const std::string& file,
                     const std::string& dataset, const WriteArrayOptions& options = {});

template <Element T>
void write_array(batch::Session& session, const NdView<T>& array, const std::string& file, const std::string& dataset,
                 const WriteArrayOptions& options = {}) {
  write_any_array(session, array.ref(), file, dataset, options);
}
template <Element T>
void write_array(batch::Session& session, const NdArray<T>& array, const std::string& file, const std::string& dataset,
                 const WriteArrayOptions& options = {}) {
  write_any_array(session, array.cview().ref(), file, dataset, options);
}

}  // namespace runrig
