#pragma once

#include <cstdint>

#include "library.hpp"
#include "runrig/hdf5/file.hpp"
#include "runrig/sync/unique_fd.hpp"

namespace runrig::hdf5 {

struct File::State {
  UniqueFd fd;  // our own descriptor, for reading contiguous data without the library
  std::uint64_t bytes = 0;
  detail::Id file;
};

namespace detail {

/// Opens a file for reading and tells its size; refuses what is no regular file, without waiting for a FIFO's writer.
[[nodiscard]] UniqueFd open_regular_file(const std::string& path, std::uint64_t& bytes);
/// "file.h5:/group/name", on one line whatever the names hold.
[[nodiscard]] std::string object_name(const File& file, std::string_view path);
/// The attributes of an open object; `name` for errors.
[[nodiscard]] std::vector<AttributeInfo> read_attributes(hid_t object, std::string_view name);
/// The names of its attributes, in order of creation where that is kept, else as stored.
[[nodiscard]] std::vector<std::string> attribute_names(hid_t object, std::string_view name);

}  // namespace detail
}  // namespace runrig::hdf5
