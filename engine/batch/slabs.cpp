#include "slabs.hpp"

#include <algorithm>

namespace runrig::batch {

hdf5::Selection part_of(const hdf5::Selection& selection, const hdf5::Box& box) {
  hdf5::Selection part = selection;
  std::size_t kept = 0;
  for (std::size_t axis = 0; axis < selection.rank; ++axis) {
    auto& each = part.axes[axis];
    if (!each.keep) continue;
    if (each.count > 0) each.start = each.at(box.start[kept]);
    each.count = box.count[kept];
    ++kept;
  }
  part.shape = box.count;
  return part;
}

Slabs::Slabs(const hdf5::DatasetInfo& info, const hdf5::Selection& selection, std::uint64_t max_bytes)
    : shape_(selection.shape) {
  done_ = shape_.checked_elements() == 0;
  if (done_) return;
  for (std::size_t i = 0; i < shape_.rank(); ++i) position_.push_back(0);
  const std::uint64_t max_elements = std::max<std::uint64_t>(1, max_bytes / item_bytes(info.type.dtype));
  // From the fastest axis up, as long as a whole row of what lies below fits.
  std::uint64_t row = 1;
  axis_ = shape_.rank();
  while (axis_ > 0 && row <= max_elements) {
    --axis_;
    max_rows_ = max_elements / row;
    if (__builtin_mul_overflow(row, shape_[axis_], &row)) row = UINT64_MAX;
  }
  if (shape_.rank() == 0 || info.layout != hdf5::Layout::chunked) return;
  std::size_t kept = 0;
  for (std::size_t axis = 0; axis < selection.rank; ++axis) {
    const auto& each = selection.axes[axis];
    if (!each.keep) continue;
    // Along the axes before the cut one each slab has one element, and along those behind it all.
    if (kept < axis_ && each.count > 1) cut_chunks_ = cut_chunks_ || info.chunk[axis] > 1;
    if (kept++ != axis_ || each.count <= max_rows_) continue;
    if (each.step == 1 && info.chunk[axis] <= max_rows_) {
      chunk_rows_ = info.chunk[axis];
      phase_ = each.start % chunk_rows_;
    } else {
      cut_chunks_ = cut_chunks_ || info.chunk[axis] > 1;
    }
  }
}

std::uint64_t Slabs::rows_from(std::uint64_t row) const noexcept {
  const std::uint64_t rest = shape_[axis_] - row;
  if (rest <= max_rows_) return rest;
  const std::uint64_t end = (row + phase_ + max_rows_) / chunk_rows_ * chunk_rows_;
  return end > row + phase_ ? end - phase_ - row : max_rows_;
}

std::optional<hdf5::Box> Slabs::next() {
  if (done_) return std::nullopt;
  hdf5::Box box = hdf5::Box::all(shape_);
  if (shape_.rank() == 0) {
    done_ = true;
    return box;
  }
  for (std::size_t i = 0; i < axis_; ++i) {
    box.start[i] = position_[i];
    box.count[i] = 1;
  }
  box.start[axis_] = position_[axis_];
  box.count[axis_] = rows_from(position_[axis_]);
  position_[axis_] += box.count[axis_];
  // Carry to the slower axes, as an odometer does.
  std::size_t axis = axis_;
  while (position_[axis] == shape_[axis]) {
    if (axis == 0) {
      done_ = true;
      break;
    }
    position_[axis] = 0;
    ++position_[--axis];
  }
  return box;
}

}  // namespace runrig::batch
