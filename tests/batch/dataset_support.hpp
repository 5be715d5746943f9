#pragma once

#include "runrig/hdf5/file.hpp"

namespace runrig::batch::test_samples {

/// As of a numeric dataset in a file: chunked, or contiguous where `chunk` has no axes.
[[nodiscard]] inline hdf5::DatasetInfo dataset(const Shape& shape, const Shape& chunk) {
  hdf5::DatasetInfo info;
  info.type.numeric = true;
  info.type.dtype = DType::float32;
  info.shape = shape;
  info.chunk = chunk;
  info.layout = chunk.rank() > 0 ? hdf5::Layout::chunked : hdf5::Layout::contiguous;
  return info;
}

}  // namespace runrig::batch::test_samples
