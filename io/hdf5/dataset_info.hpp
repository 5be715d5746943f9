#pragma once

#include <hdf5.h>

#include <string_view>

#include "library.hpp"
#include "runrig/hdf5/file.hpp"

namespace runrig::hdf5::detail {

enum class StoredBytes : bool { leave_out, count };

/// Everything about an open dataset. `name` is for errors.
[[nodiscard]] DatasetInfo describe_dataset(hid_t dataset, std::string_view name, StoredBytes stored_bytes);

/// The extents of a dataspace of class H5S_SIMPLE or H5S_SCALAR; no axes for others, H5S_NULL gets (0).
struct Extents {
  bool null_space = false;
  Shape shape;
  Shape maxshape;
};
[[nodiscard]] Extents describe_space(hid_t space, std::string_view name);

}  // namespace runrig::hdf5::detail
