#include "stream_tiles.hpp"

#include <algorithm>
#include <vector>

#include "slabs.hpp"

namespace runrig::batch {
namespace {

/// An axis of the result, and the chunks under it.
struct Axis {
  hdf5::AxisSelection selection;
  std::uint64_t chunk = 1;

  [[nodiscard]] std::uint64_t stride() const {
    const auto step = static_cast<std::uint64_t>(selection.step);
    return selection.step > 0 ? step : 0 - step;
  }
  /// About how many of its elements lie in one chunk.
  [[nodiscard]] std::uint64_t per_chunk() const { return std::max<std::uint64_t>(1, chunk / stride()); }
  /// Elements from `at` on that lie in the same chunk.
  [[nodiscard]] std::uint64_t to_border(std::uint64_t at) const {
    const std::uint64_t offset = selection.at(at) % chunk;
    const std::uint64_t room = selection.step > 0 ? chunk - offset - 1 : offset;
    return std::min(room / stride() + 1, selection.count - at);
  }
};

class Bands {
 public:
  Bands(const hdf5::DatasetInfo& info, const hdf5::Selection& selection, const TileLimits& limits,
        const std::function<void(const hdf5::Box&)>& visit)
      : info_(info), selection_(selection), limits_(limits), visit_(visit) {
    for (std::size_t i = 0; i < selection.rank; ++i) {
      if (selection.axes[i].keep) axes_.push_back({selection.axes[i], info.chunk[i]});
    }
    // Blocks that the rows of one chunk keep open, from an axis on: no more than they have, and than all their parts.
    open_.assign(axes_.size() + 1, 2);
    std::uint64_t row = 1;
    for (std::size_t axis = axes_.size(); axis-- > 0;) {
      const std::uint64_t rows = std::min(axes_[axis].per_chunk(), selection.shape[axis]);
      const std::uint64_t parts = saturating(rows, open_[axis + 1]);
      open_[axis] = std::min(saturating(rows, row) / limits.block_elements + 2, parts);
      row = saturating(row, selection.shape[axis]);
    }
  }

  /// The rows of `box` along `axis`; before it the box has one element along each.
  void visit(hdf5::Box box, std::size_t axis) {
    const std::uint64_t end = box.start[axis] + box.count[axis];
    const bool last = axis + 1 == axes_.size();
    // With all its parts below open, a row takes so many blocks: in a band are as many rows as that leaves room for.
    const std::uint64_t most = last ? UINT64_MAX : limits_.open_blocks / open_[axis + 1];
    for (std::uint64_t at = box.start[axis]; at < end;) {
      const std::uint64_t left = std::min(axes_[axis].to_border(at), end - at);
      box.start[axis] = at;
      if (last) {
        box.count[axis] = end - at;
        tiles(box);
        return;
      }
      // Nothing is gained by rows together where each chunk has one; and nothing to be had where one is too much.
      if (most < 2 || axes_[axis].per_chunk() == 1) {
        box.count[axis] = 1;
        visit(box, axis + 1);
        ++at;
        continue;
      }
      const std::uint64_t bands = (left + most - 1) / most;
      box.count[axis] = (left + bands - 1) / bands;
      tiles(box);
      at += box.count[axis];
    }
  }

 private:
  static std::uint64_t saturating(std::uint64_t a, std::uint64_t b) {
    std::uint64_t product = 0;
    return __builtin_mul_overflow(a, b, &product) ? UINT64_MAX : product;
  }

  void tiles(const hdf5::Box& band) const {
    const hdf5::BoxPlan plan(info_, part_of(selection_, band), limits_.most_bytes);
    for (std::uint64_t i = 0; i < plan.size(); ++i) {
      hdf5::Box tile = plan[i];
      for (std::size_t axis = 0; axis < tile.start.rank(); ++axis) tile.start[axis] += band.start[axis];
      visit_(tile);
    }
  }

  const hdf5::DatasetInfo& info_;
  const hdf5::Selection& selection_;
  const TileLimits& limits_;
  const std::function<void(const hdf5::Box&)>& visit_;
  std::vector<Axis> axes_;
  std::vector<std::uint64_t> open_;
};

}  // namespace

void for_each_tile(const hdf5::DatasetInfo& info, const hdf5::Selection& selection, const hdf5::Box& region,
                   const TileLimits& limits, const std::function<void(const hdf5::Box&)>& visit) {
  const hdf5::Selection part = part_of(selection, region);
  for (std::uint64_t bytes = std::min(limits.target_bytes, limits.most_bytes);; bytes *= 2) {
    bytes = std::min(bytes, limits.most_bytes);
    Slabs slabs(info, part, bytes);
    if (!slabs.cut_chunks()) {
      while (auto slab = slabs.next()) {
        for (std::size_t axis = 0; axis < slab->start.rank(); ++axis) slab->start[axis] += region.start[axis];
        visit(*slab);
      }
      return;
    }
    if (bytes == limits.most_bytes) break;
  }
  Bands(info, selection, limits, visit).visit(region, 0);
}

}  // namespace runrig::batch
