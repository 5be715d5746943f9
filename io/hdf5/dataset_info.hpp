#pragma once

#include <hdf5.h>

#include <cstddef>
#include <string_view>
#include <vector>

#include "library.hpp"
#include "runrig/hdf5/file.hpp"

namespace runrig::hdf5::detail {

enum class StoredBytes : bool { leave_out, count };

/// Everything about an open dataset. `name` is for errors.
[[nodiscard]] DatasetInfo describe_dataset(hid_t dataset, std::string_view name, StoredBytes stored_bytes);

/// The value of elements never written as the file has it, of the dataset's `type`, which has nothing of variable size.
[[nodiscard]] std::vector<std::byte> stored_fill(hid_t dataset, hid_t type, std::string_view name);

/// The extents of a dataspace of class H5S_SIMPLE or H5S_SCALAR; no axes for others, H5S_NULL gets (0).
struct Extents {
  bool null_space = false;
  Shape shape;
  Shape maxshape;
};
[[nodiscard]] Extents describe_space(hid_t space, std::string_view name);

}  // namespace runrig::hdf5::detail
