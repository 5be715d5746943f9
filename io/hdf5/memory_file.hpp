#pragma once

#include <hdf5.h>

#include <cstddef>
#include <span>
#include <vector>

#include "library.hpp"

namespace runrig::hdf5::detail {

/// The bytes of a file that the library makes in memory, to be written by us when it is closed: one write, in place of
/// the library's one for each piece of its metadata, and with the system's own reason when it fails.
struct MemoryFile {
  std::vector<std::byte> bytes;  // up to the last that was written
  std::size_t file_bytes = 0;    // the file's size, once it is closed; zeros follow `bytes`

  /// Throws std::bad_alloc.
  void put(std::span<const std::byte> from, std::size_t at);
};

/// Access properties for creating a file there; `file` lives as long as the file is open. The library lays the file out
/// as it does on the disk.
[[nodiscard]] Id in_memory(hid_t access, MemoryFile& file);

}  // namespace runrig::hdf5::detail
