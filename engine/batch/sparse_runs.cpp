#include "sparse_runs.hpp"

#include <algorithm>
#include <array>
#include <optional>
#include <vector>

#include "slabs.hpp"

namespace runrig::batch {
namespace {

// Reading so many fill values takes no longer than starting the workers once more.
constexpr std::uint64_t small_gap_bytes = std::uint64_t{1} << 20;

/// Elements begin to end - 1 of one axis of a selection.
struct Interval {
  std::uint64_t begin = 0;
  std::uint64_t end = 0;
  [[nodiscard]] bool holds(std::uint64_t i) const { return begin <= i && i < end; }
};

/// Which elements of `axis` lie in a chunk of `extent` that begins at `start`.
Interval elements_in(const hdf5::AxisSelection& axis, std::uint64_t start, std::uint64_t extent) {
  if (axis.count == 0) return {};
  std::uint64_t last = 0;
  if (__builtin_add_overflow(start, extent - 1, &last)) last = UINT64_MAX;
  const bool forward = axis.step > 0;
  const std::uint64_t step =
      forward ? static_cast<std::uint64_t>(axis.step) : 0 - static_cast<std::uint64_t>(axis.step);
  // From the selection's first coordinate to the chunk's near side and its far side, in the direction of the step.
  if (forward ? last < axis.start : start > axis.start) return {};
  const std::uint64_t far = forward ? last - axis.start : axis.start - start;
  const bool before = forward ? axis.start < start : axis.start > last;
  const std::uint64_t near = !before ? 0 : forward ? start - axis.start : axis.start - last;
  const std::uint64_t begin = near / step + (near % step != 0 ? 1 : 0);
  const std::uint64_t end = std::min(far / step, axis.count - 1) + 1;
  return begin < end ? Interval{begin, end} : Interval{};
}

class Runs {
 public:
  Runs(const hdf5::DatasetInfo& info, const hdf5::Selection& selection, std::uint64_t max_bytes,
       const RunVisitor& visitor)
      : info_(info),
        selection_(selection),
        max_bytes_(max_bytes),
        item_(item_bytes(info.type.dtype)),
        visitor_(visitor),
        box_(hdf5::Box::all(selection.shape)) {
    std::uint64_t row = 1;
    for (std::size_t axis = selection.shape.rank(); axis-- > 0;) {
      row_[axis] = row;  // elements of all shapes that are counted fit
      row *= selection.shape[axis];
    }
  }

  void run(std::span<const Shape> stored_chunks) {
    std::vector<const Shape*> chunks;
    for (const Shape& start : stored_chunks) {
      bool touched = true;
      for (std::size_t axis = 0; axis < selection_.rank; ++axis) {
        const Interval elements = elements_in(selection_.axes[axis], start[axis], info_.chunk[axis]);
        touched = touched && elements.begin < elements.end;
      }
      if (touched) chunks.push_back(&start);
    }
    std::size_t kept = 0;
    for (std::size_t axis = 0; axis < selection_.rank; ++axis) {
      if (selection_.axes[axis].keep) axes_[kept++] = axis;
    }
    visit(0, chunks);
  }

 private:
  /// The part of the result that the first `depth` entries of box_.start name.
  void visit(std::size_t depth, const std::vector<const Shape*>& chunks) {
    if (depth == selection_.shape.rank()) {
      visitor_.slab(box_);
      return;
    }
    const std::uint64_t extent = selection_.shape[depth];
    std::uint64_t done = 0;
    for (const Interval& each : touched(depth, chunks)) {
      fill((each.begin - done) * row_[depth]);
      done = each.end;
      if (row_[depth] <= max_bytes_ / item_) {
        slabs(depth, each);
      } else {
        descend(depth, each, chunks);
      }
    }
    fill((extent - done) * row_[depth]);
    restore(depth);
  }

  /// Where along this axis something may be stored, in order; small gaps are closed.
  [[nodiscard]] std::vector<Interval> touched(std::size_t depth, const std::vector<const Shape*>& chunks) const {
    std::vector<Interval> all;
    all.reserve(chunks.size());
    for (const Shape* each : chunks) all.push_back(elements_in(axis(depth), (*each)[axes_[depth]], chunk(depth)));
    std::sort(all.begin(), all.end(), [](const Interval& a, const Interval& b) { return a.begin < b.begin; });
    std::vector<Interval> merged;
    const std::uint64_t small_gap = small_gap_bytes / item_ / row_[depth];
    for (const Interval& each : all) {
      if (!merged.empty() && (each.begin <= merged.back().end || each.begin - merged.back().end <= small_gap)) {
        merged.back().end = std::max(merged.back().end, each.end);
      } else {
        merged.push_back(each);
      }
    }
    return merged;
  }

  void slabs(std::size_t depth, const Interval& rows) {
    box_.start[depth] = rows.begin;
    box_.count[depth] = rows.end - rows.begin;
    const hdf5::Selection part = part_of(selection_, box_);
    Slabs cut(info_, part, max_bytes_);
    while (auto slab = cut.next()) {
      for (std::size_t i = 0; i <= depth; ++i) slab->start[i] += box_.start[i];
      visitor_.slab(*slab);
    }
  }

  void descend(std::size_t depth, const Interval& rows, const std::vector<const Shape*>& chunks) {
    box_.count[depth] = 1;
    std::vector<const Shape*> here;
    for (std::uint64_t i = rows.begin; i < rows.end; ++i) {
      box_.start[depth] = i;
      here.clear();
      for (const Shape* each : chunks) {
        if (elements_in(axis(depth), (*each)[axes_[depth]], chunk(depth)).holds(i)) here.push_back(each);
      }
      visit(depth + 1, here);
    }
  }

  void restore(std::size_t depth) {
    box_.start[depth] = 0;
    box_.count[depth] = selection_.shape[depth];
  }

  void fill(std::uint64_t elements) {
    if (elements > 0) visitor_.fill(elements);
  }

  [[nodiscard]] const hdf5::AxisSelection& axis(std::size_t depth) const { return selection_.axes[axes_[depth]]; }
  [[nodiscard]] std::uint64_t chunk(std::size_t depth) const { return info_.chunk[axes_[depth]]; }

  const hdf5::DatasetInfo& info_;
  const hdf5::Selection& selection_;
  std::uint64_t max_bytes_;
  std::uint64_t item_;
  const RunVisitor& visitor_;
  hdf5::Box box_;  // one element along the axes above the one being cut, everything along those below
  std::array<std::uint64_t, max_rank> row_{};  // elements of the result below each axis
  std::array<std::size_t, max_rank> axes_{};   // the dataset's axis of each of the result
};

}  // namespace

void for_each_run(const hdf5::DatasetInfo& info, const hdf5::Selection& selection, std::span<const Shape> stored_chunks,
                  std::uint64_t max_bytes, const RunVisitor& visitor) {
  if (selection.shape.elements() == 0) return;
  Runs(info, selection, max_bytes, visitor).run(stored_chunks);
}

}  // namespace runrig::batch
