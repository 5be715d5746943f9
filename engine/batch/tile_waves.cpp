#include "tile_waves.hpp"

#include <algorithm>

#include "slabs.hpp"

namespace runrig::batch {
namespace {

/// A wave under way: memory for what the workers make, kept until the writer has placed it.
struct Wave {
  ArenaBlock memory;
  std::optional<ArenaWriter> tables;
  MapTile* tiles = nullptr;
  std::uint32_t count = 0;
  Launch placing;
};

void fill_wave(Session::State& state, const TileWork& work, const hdf5::Selection& all, const hdf5::Box& region,
               Wave& wave) {
  // A small result is still cut for all workers.
  const double bytes = static_cast<double>(region.count.elements() * item_bytes(work.info.type.dtype)) * work.scale;
  const auto each = static_cast<std::uint64_t>(bytes) / (static_cast<std::uint64_t>(state.readers.size()) * 4);
  const auto target = static_cast<double>(std::clamp<std::uint64_t>(each, std::uint64_t{64} << 10, tile_target_bytes));
  auto boxes =
      hdf5::aligned_boxes(work.info, part_of(all, region), static_cast<std::uint64_t>(target / work.scale) + 1);
  std::vector<std::size_t> sizes;
  std::size_t total = 0;
  for (hdf5::Box& box : boxes) {
    for (std::size_t axis = 0; axis < box.start.rank(); ++axis) box.start[axis] += region.start[axis];
    sizes.push_back((work.tile_bytes(box) + 63) / 64 * 64);
    total += sizes.back();
  }
  if (total > 0) wave.memory = state.arena->allocate(total);
  wave.tables.emplace(*state.arena, boxes.size() * sizeof(MapTile) + 64);
  wave.tiles = wave.tables->add<MapTile>(boxes.size());
  wave.count = static_cast<std::uint32_t>(boxes.size());
  std::byte* memory = wave.memory.data();
  for (std::size_t i = 0; i < boxes.size(); ++i) {
    wave.tiles[i].box = boxes[i];
    wave.tiles[i].memory = memory;
    wave.tiles[i].memory_bytes = sizes[i];
    if (memory != nullptr) memory += sizes[i];
  }
}

}  // namespace

void run_in_waves(Session::State& state, const TileWork& work) {
  const auto all = hdf5::Selection::all(work.info.shape);
  Wave waves[2];
  std::size_t number = 0;
  const auto finish = [&](Wave& wave) {
    if (wave.count > 0 && work.place) work.check_placed(wave.placing);
    wave = Wave();
  };
  const auto wave_bytes = static_cast<std::uint64_t>(static_cast<double>(work.wave_bytes) / work.scale) + 1;
  const auto run_region = [&](const hdf5::Box& region) {
    const hdf5::BoxPlan plan(work.info, part_of(all, region), wave_bytes);
    for (std::uint64_t i = 0; i < plan.size(); ++i) {
      hdf5::Box box = plan[i];
      for (std::size_t axis = 0; axis < box.start.rank(); ++axis) box.start[axis] += region.start[axis];
      Wave& wave = waves[number % 2];
      finish(wave);
      fill_wave(state, work, all, box, wave);
      Launch computing = work.compute(wave.tiles, wave.count);
      work.check_computed(computing);
      ++number;
      if (!work.place) continue;
      finish(waves[number % 2]);  // the writer does one thing at a time
      wave.placing = work.place(wave.tiles, wave.count);
    }
  };
  if (work.prepare) {
    const hdf5::BoxPlan regions(work.info, all, work.region_bytes);
    for (std::uint64_t i = 0; i < regions.size(); ++i) {
      work.prepare(regions[i]);
      run_region(regions[i]);
    }
  } else {
    run_region(hdf5::Box::all(work.info.shape));
  }
  for (Wave& each : waves) finish(each);
}

}  // namespace runrig::batch
