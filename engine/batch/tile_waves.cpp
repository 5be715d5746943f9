#include "tile_waves.hpp"

#include <algorithm>

#include "slabs.hpp"

namespace runrig::batch {
namespace {

using namespace std::chrono_literals;

// Tiles of one launch: at its end workers wait for the last one, so it is long; but its table is memory.
constexpr std::uint64_t wave_bytes = std::uint64_t{512} << 20;
// Made and not yet placed: some for each worker to go on while the writer waits, and few enough that the writer finds
// them in the processor's cache. With 32, map at deflate:fast took 3 % longer on two processors.
constexpr std::uint64_t most_slots = 8;
constexpr auto look_interval = 50ms;

std::vector<hdf5::Box> tiles_of(const Session::State& state, const TileWork& work, const hdf5::Selection& all,
                                const hdf5::Box& region) {
  // A small result is still cut for all workers.
  const double bytes = static_cast<double>(region.count.elements() * item_bytes(work.info.type.dtype)) * work.scale;
  const auto each = static_cast<std::uint64_t>(bytes) / (static_cast<std::uint64_t>(state.readers.size()) * 4);
  const auto target = static_cast<double>(std::clamp<std::uint64_t>(each, std::uint64_t{64} << 10, tile_target_bytes));
  auto boxes =
      hdf5::aligned_boxes(work.info, part_of(all, region), static_cast<std::uint64_t>(target / work.scale) + 1);
  for (hdf5::Box& box : boxes) {
    for (std::size_t axis = 0; axis < box.start.rank(); ++axis) box.start[axis] += region.start[axis];
  }
  return boxes;
}

class Waves {
 public:
  Waves(Session::State& state, const TileWork& work) : state_(state), work_(work) {}

  void run(const std::vector<hdf5::Box>& boxes) {
    std::size_t slot_bytes = 64;
    for (const hdf5::Box& box : boxes) slot_bytes = std::max(slot_bytes, (work_.tile_bytes(box) + 63) / 64 * 64);
    const auto count = static_cast<std::uint32_t>(boxes.size());
    const std::uint32_t slots = work_.place ? slots_for(slot_bytes, count) : 0;
    if (memory_.size_bytes() < slots * slot_bytes) {
      memory_.reset();
      memory_ = state_.arena->allocate(slots * slot_bytes);
    }
    ArenaWriter tables(*state_.arena, count * sizeof(MapTile) + sizeof(TileQueue) + 256);
    auto* tiles = tables.add<MapTile>(count);
    for (std::uint32_t i = 0; i < count; ++i) {
      tiles[i].box = boxes[i];
      if (slots == 0) continue;
      tiles[i].memory = memory_.data() + (i % slots) * slot_bytes;
      tiles[i].memory_bytes = slot_bytes;
    }
    make_and_place(new (tables.take(sizeof(TileQueue), alignof(TileQueue))) TileQueue(tiles, count, slots));
  }

 private:
  // At least one to make while another is placed.
  std::uint32_t slots_for(std::size_t slot_bytes, std::uint32_t count) const {
    const auto workers = static_cast<std::uint64_t>(state_.readers.size());
    const std::uint64_t wanted =
        std::clamp<std::uint64_t>(work_.queue_bytes / slot_bytes, 2, std::max(most_slots, 4 * workers));
    return static_cast<std::uint32_t>(std::min<std::uint64_t>(wanted, count));
  }

  // Asks by wait(), which sees when the process is dead that would tell of an end.
  static bool has_failed(Launch& launch) {
    return launch.wait(Deadline::after(0ms)) && launch.first_not_done() < launch.slices();
  }

  void make_and_place(TileQueue* queue) {
    // Both are ended and waited for before the queue's memory goes, whatever is thrown.
    Launch placing;
    if (work_.place) placing = work_.place(queue);
    Launch computing = work_.compute(queue);
    if (work_.place) {
      while (!computing.wait(Deadline::after(look_interval))) {
        // Workers would wait for the memory of tiles that nobody places any more.
        if (has_failed(placing)) computing.cancel();
        if (has_failed(placing) || (state_.options.interrupted && state_.options.interrupted())) break;
        state_.show_progress();
      }
      if (has_failed(placing)) work_.check_placed(placing);
    }
    work_.check_computed(computing);
    if (work_.place) work_.check_placed(placing);
  }

  Session::State& state_;
  const TileWork& work_;
  ArenaBlock memory_;  // kept from launch to launch: fresh pages cost more than what is done with them
};

}  // namespace

std::uint64_t queue_bytes_of(const Session::State& state) noexcept {
  return std::clamp<std::uint64_t>(state.memory_bytes / 8, std::uint64_t{1} << 20, std::uint64_t{64} << 20);
}

void run_in_waves(Session::State& state, const TileWork& work) {
  const auto all = hdf5::Selection::all(work.info.shape);
  const auto bytes = static_cast<std::uint64_t>(static_cast<double>(wave_bytes) / work.scale) + 1;
  Waves waves(state, work);
  const auto run_region = [&](const hdf5::Box& region) {
    const hdf5::BoxPlan plan(work.info, part_of(all, region), bytes);
    for (std::uint64_t i = 0; i < plan.size(); ++i) {
      hdf5::Box box = plan[i];
      for (std::size_t axis = 0; axis < box.start.rank(); ++axis) box.start[axis] += region.start[axis];
      waves.run(tiles_of(state, work, all, box));
    }
  };
  if (!work.prepare) {
    run_region(hdf5::Box::all(work.info.shape));
    return;
  }
  const hdf5::BoxPlan regions(work.info, all, work.region_bytes);
  for (std::uint64_t i = 0; i < regions.size(); ++i) {
    work.prepare(regions[i]);
    run_region(regions[i]);
  }
}

}  // namespace runrig::batch
