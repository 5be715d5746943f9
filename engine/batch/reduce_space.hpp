#pragma once

#include <vector>

#include "runrig/engine/reduction.hpp"
#include "summary.hpp"

namespace runrig::batch {

/// The kept axes of a reduction, or its reduced ones, as a dataset of their own, for what cuts datasets.
struct AxisSpace {
  hdf5::DatasetInfo info;
  hdf5::Selection selection;
  std::vector<std::size_t> axes;  // the dataset's

  AxisSpace(const LargeDataset& dataset, const ReductionAxes& axes, bool reduced);
};

/// The part of the result of `axes.shape` that is `kept` along the kept axes and `reduced` along the others.
[[nodiscard]] hdf5::Box combine(const ReductionAxes& axes, const hdf5::Box& kept, const hdf5::Box& reduced);

/// The elements that result number `result` is made of.
[[nodiscard]] hdf5::Selection sequence_of(const hdf5::Selection& selection, const ReductionAxes& axes,
                                          std::uint64_t result);

/// Bytes between neighbours along each axis of a part of the array, laid out as Reducer takes it: its sequences side
/// by side, one behind the other.
[[nodiscard]] std::vector<std::ptrdiff_t> reduction_strides(const ReductionAxes& axes, const Shape& part,
                                                            std::size_t item);

/// The number of an element of `shape` in C order.
[[nodiscard]] std::uint64_t element_number(const Shape& shape, const Shape& position);

}  // namespace runrig::batch
