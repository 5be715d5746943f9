#include <algorithm>
#include <array>
#include <limits>
#include <stdexcept>

#include "runrig/hdf5/dataset.hpp"
#include "runrig/sync/error.hpp"

namespace runrig::hdf5 {
namespace {

constexpr std::uint64_t max_cuts = std::uint64_t{1} << 22;

/// An axis of the result, and the chunks under it.
struct PlannedAxis {
  AxisSelection selection;
  std::uint64_t chunk = 1;

  [[nodiscard]] std::uint64_t stride() const {
    const auto step = static_cast<std::uint64_t>(selection.step);
    return selection.step > 0 ? step : 0 - step;
  }
  /// About how many of its elements lie in one chunk.
  [[nodiscard]] std::uint64_t per_chunk() const { return std::max<std::uint64_t>(1, chunk / stride()); }

  /// The first element behind `at` that lies `chunks` chunks on, or the end.
  [[nodiscard]] std::uint64_t advance(std::uint64_t at, std::uint64_t chunks) const {
    const std::uint64_t left = selection.count - at;
    std::uint64_t elements = chunks;  // one chunk, or none in between: each element is by itself
    if (stride() < chunk) {
      const std::uint64_t position = selection.at(at) % chunk;
      const std::uint64_t to_border = selection.step > 0 ? chunk - position : position + 1;
      std::uint64_t distance = 0;
      if (__builtin_mul_overflow(chunks - 1, chunk, &distance) ||
          __builtin_add_overflow(distance, to_border, &distance)) {
        return selection.count;
      }
      elements = (distance - 1) / stride() + 1;
    }
    return at + std::min(elements, left);
  }
};

std::uint64_t saturating_product(std::uint64_t a, std::uint64_t b) {
  std::uint64_t product = 0;
  return __builtin_mul_overflow(a, b, &product) ? std::numeric_limits<std::uint64_t>::max() : product;
}

std::vector<PlannedAxis> planned_axes(const DatasetInfo& info, const Selection& selection) {
  std::vector<PlannedAxis> axes;
  for (std::size_t i = 0; i < selection.rank; ++i) {
    if (!selection.axes[i].keep) continue;
    axes.push_back({selection.axes[i], info.layout == Layout::chunked ? info.chunk[i] : 1});
  }
  return axes;
}

}  // namespace

BoxPlan::BoxPlan(const DatasetInfo& info, const Selection& selection, std::uint64_t target_bytes) {
  if (info.null_space || std::ranges::any_of(selection.shape, [](std::uint64_t extent) { return extent == 0; })) return;
  const std::vector<PlannedAxis> axes = planned_axes(info, selection);
  const std::uint64_t target = std::max<std::uint64_t>(1, target_bytes / item_bytes(info.type.dtype));

  // A box starts as one chunk and grows along the fastest axis first; only when that is whole, along the next.
  std::uint64_t elements = 1;
  for (const PlannedAxis& axis : axes) {
    elements = saturating_product(elements, std::min(axis.per_chunk(), axis.selection.count));
  }
  cuts_.resize(axes.size());
  size_ = 1;
  for (std::size_t i = axes.size(); i-- > 0;) {
    const PlannedAxis& axis = axes[i];
    const std::uint64_t unit = std::min(axis.per_chunk(), axis.selection.count);
    // One chunk more than the count says: a selection may begin in the middle of one.
    const std::uint64_t most = axis.selection.count / unit + 2;
    const std::uint64_t chunks = std::clamp<std::uint64_t>(target / elements, 1, most);
    std::vector<std::uint64_t>& cuts = cuts_[i];
    cuts.push_back(0);
    while (cuts.back() < axis.selection.count) {
      cuts.push_back(axis.advance(cuts.back(), chunks));
      if (cuts.size() > max_cuts) {
        throw Error(std::errc::value_too_large,
                    "split into parts of " + std::to_string(target_bytes) + " bytes the shape",
                    to_string(selection.shape));
      }
    }
    if (__builtin_mul_overflow(size_, cuts.size() - 1, &size_)) {
      throw Error(std::errc::value_too_large, "split the shape", to_string(selection.shape));
    }
    // Not whole along this axis: the slower ones stay at one chunk.
    elements = cuts.size() > 2 ? std::max(elements, target) : saturating_product(elements / unit, axis.selection.count);
  }
}

Box BoxPlan::operator[](std::uint64_t index) const {
  if (index >= size_) throw std::logic_error("BoxPlan: no such box");
  std::array<std::uint64_t, max_rank> start{};
  std::array<std::uint64_t, max_rank> count{};
  for (std::size_t axis = cuts_.size(); axis-- > 0;) {
    const std::vector<std::uint64_t>& cuts = cuts_[axis];
    const std::uint64_t part = index % (cuts.size() - 1);
    index /= cuts.size() - 1;
    start[axis] = cuts[part];
    count[axis] = cuts[part + 1] - cuts[part];
  }
  return {Shape(std::span(start).first(cuts_.size())), Shape(std::span(count).first(cuts_.size()))};
}

std::vector<Box> aligned_boxes(const DatasetInfo& info, const Selection& selection, std::uint64_t target_bytes) {
  const BoxPlan plan(info, selection, target_bytes);
  std::vector<Box> boxes;
  boxes.reserve(plan.size());
  for (std::uint64_t i = 0; i < plan.size(); ++i) boxes.push_back(plan[i]);
  return boxes;
}

}  // namespace runrig::hdf5
