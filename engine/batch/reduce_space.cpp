#include "reduce_space.hpp"

namespace runrig::batch {

AxisSpace::AxisSpace(const LargeDataset& dataset, const ReductionAxes& reduction, bool reduced) {
  info.type = dataset.info.type;
  info.layout = dataset.info.layout;
  std::size_t kept = 0;
  for (std::size_t axis = 0; axis < dataset.selection.rank; ++axis) {
    const hdf5::AxisSelection& each = dataset.selection.axes[axis];
    if (!each.keep || reduction.reduced[kept++] != reduced) continue;
    selection.axes[axes.size()] = each;
    selection.shape.push_back(each.count);
    axes.push_back(axis);
    info.shape.push_back(dataset.info.shape[axis]);
    if (info.layout == hdf5::Layout::chunked) info.chunk.push_back(dataset.info.chunk[axis]);
  }
  selection.rank = axes.size();
}

hdf5::Box combine(const ReductionAxes& axes, const hdf5::Box& kept, const hdf5::Box& reduced) {
  hdf5::Box box;
  std::size_t at[2] = {0, 0};
  for (std::size_t axis = 0; axis < axes.shape.rank(); ++axis) {
    const hdf5::Box& from = axes.reduced[axis] ? reduced : kept;
    std::size_t& i = at[axes.reduced[axis] ? 1 : 0];
    box.start.push_back(from.start[i]);
    box.count.push_back(from.count[i]);
    ++i;
  }
  return box;
}

hdf5::Selection sequence_of(const hdf5::Selection& selection, const ReductionAxes& axes, std::uint64_t result) {
  hdf5::Selection part = selection;
  part.shape = Shape();
  std::size_t kept = axes.shape.rank();
  for (std::size_t axis = selection.rank; axis-- > 0;) {
    hdf5::AxisSelection& each = part.axes[axis];
    if (!each.keep || axes.reduced[--kept]) continue;
    each.start = each.at(result % each.count);
    result /= each.count;
    each.count = 1;
    each.keep = false;
  }
  for (std::size_t axis = 0; axis < selection.rank; ++axis) {
    if (part.axes[axis].keep) part.shape.push_back(part.axes[axis].count);
  }
  return part;
}

std::vector<std::ptrdiff_t> reduction_strides(const ReductionAxes& axes, const Shape& part, std::size_t item) {
  std::vector<std::ptrdiff_t> strides(part.rank());
  auto stride = static_cast<std::ptrdiff_t>(item);
  // First those along which neighbours lie closest.
  for (const bool reduced : {!axes.columns, axes.columns}) {
    for (std::size_t axis = part.rank(); axis-- > 0;) {
      if (axes.reduced[axis] != reduced) continue;
      strides[axis] = stride;
      stride *= static_cast<std::ptrdiff_t>(part[axis]);
    }
  }
  return strides;
}

std::uint64_t element_number(const Shape& shape, const Shape& position) {
  std::uint64_t number = 0;
  for (std::size_t axis = 0; axis < shape.rank(); ++axis) number = number * shape[axis] + position[axis];
  return number;
}

}  // namespace runrig::batch
