#include <algorithm>
#include <cstring>
#include <map>
#include <memory>
#include <utility>
#include <vector>

#include "computed.hpp"
#include "runrig/hdf5/strided_copy.hpp"
#include "runrig/sync/error.hpp"
#include "sparse_runs.hpp"
#include "stream_tiles.hpp"
#include "summary.hpp"

namespace runrig::batch {
namespace {

constexpr std::uint64_t block = statistics_block_elements;
constexpr std::uint64_t slice_bytes = std::uint64_t{4} << 20;  // tiles that one slice takes one after the other
constexpr std::uint64_t wave_bytes = std::uint64_t{1} << 30;
constexpr std::size_t wave_tiles = 2048;

/// A piece of the result: read into a worker's own memory and reduced there, while it is in cache.
struct Tile {
  hdf5::Box box;
  std::uint64_t first_result = 0;  // of the blocks that it has as a whole, in C order
};

/// Where the elements of a block are put together that no tile has as a whole.
struct Seam {
  std::uint64_t number = 0;  // of the block
  std::byte* memory = nullptr;
};

/// A seam whose elements are all there, to be reduced beside the next tiles.
struct Joined {
  const std::byte* memory = nullptr;
  std::uint64_t elements = 0;
};

/// Calls `visit(block number, offset in the block, elements)` for a run's parts.
template <class Visit>
void for_each_part(StreamRun run, Visit&& visit) {
  while (run.count > 0) {
    const std::uint64_t offset = run.first % block;
    const std::uint64_t elements = std::min(run.count, block - offset);
    visit(run.first / block, offset, elements);
    run.first += elements;
    run.count -= elements;
  }
}

/// One launch.
struct WaveJob {
  const SlabSource* source;    // of all that is summarised
  Shape shape;                 // of it
  std::uint64_t dtype_number;  // wide, so that captures have no padding that looks like a pointer
  const Tile* tiles;
  std::uint32_t tile_count;
  std::uint32_t group;  // tiles of one slice
  std::uint32_t tile_slices;
  std::uint32_t seam_count;
  Statistics* results;
  const Seam* seams;  // by number
  const Joined* joined;
  Statistics* joined_results;
  std::size_t data_bytes;
  std::atomic<std::uint64_t>* bytes_done;

  [[nodiscard]] DType dtype() const { return static_cast<DType>(dtype_number); }
  void operator()(SliceContext& context) const {
    if (context.slice() >= tile_slices) {
      const std::uint32_t i = context.slice() - tile_slices;
      joined_results[i] = summarize_block(dtype(), joined[i].memory, static_cast<std::size_t>(joined[i].elements));
      return;
    }
    const MemoryFence fence(data_bytes);
    try {
      const std::uint32_t end = std::min(tile_count, (context.slice() + 1) * group);
      for (std::uint32_t i = context.slice() * group; i < end; ++i) {
        context.heartbeat();
        take(context, tiles[i]);
      }
    } catch (...) {
      context.retire();
      throw;
    }
  }

  void take(SliceContext& context, const Tile& tile) const {
    const std::size_t bytes = static_cast<std::size_t>(tile.box.count.elements()) * item_bytes(dtype());
    const auto lying = in_place(context, tile.box);
    const std::byte* values = lying ? lying.get() : read(context, tile.box, bytes);
    Statistics* result = results + tile.first_result;
    for_each_run_of(tile.box, shape, [&](const StreamRun& run) {
      for_each_part(run, [&](std::uint64_t number, std::uint64_t offset, std::uint64_t elements) {
        if (elements == block) {
          *result++ = summarize_block(dtype(), values, block);
        } else {
          std::memcpy(seam(number) + offset * item_bytes(dtype()), values, elements * item_bytes(dtype()));
        }
        values += elements * item_bytes(dtype());
      });
    });
    // Relaxed: a number to show, nothing hangs on it.
    bytes_done->fetch_add(bytes, std::memory_order_relaxed);
  }

  // Once a worker has died over elements that another program may be changing, reading is to say what is wrong.
  std::shared_ptr<const std::byte> in_place(SliceContext& context, const hdf5::Box& box) const {
    if (source->computed != nullptr || context.attempt() > 1) return nullptr;
    return OpenFiles::here().dataset(source->source).in_place(source->source.selection, box);
  }

  const std::byte* read(SliceContext& context, const hdf5::Box& box, std::size_t bytes) const {
    // Not the context's scratch memory, which computing uses. Never destroyed: workers leave by _exit.
    static std::vector<std::byte>* const room = std::make_unique<std::vector<std::byte>>().release();
    if (room->size() < bytes) room->resize(bytes);
    const auto strides = hdf5::detail::contiguous_strides(box.count, item_bytes(dtype()));
    std::ptrdiff_t offset = 0;
    for (std::size_t axis = 0; axis < strides.size(); ++axis) {
      offset += strides[axis] * static_cast<std::ptrdiff_t>(box.start[axis]);
    }
    source->read(context, box, room->data() - offset, strides);  // which adds it
    return room->data();
  }

  std::byte* seam(std::uint64_t number) const {
    return std::lower_bound(seams, seams + seam_count, number,
                            [](const Seam& each, std::uint64_t wanted) { return each.number < wanted; })
        ->memory;
  }
};

class LargeSummary {
 public:
  LargeSummary(Session::State& state, const LargeDataset& dataset)
      : state_(state),
        dataset_(dataset),
        dtype_(dataset.info.type.dtype),
        item_(item_bytes(dtype_)),
        total_(dataset.selection.shape.elements()),
        limits_(make_limits()),
        tree_(dtype_) {}

  Statistics run() {
    if (dataset_.stored_chunks) {
      for_each_run(dataset_.info, dataset_.selection, *dataset_.stored_chunks, slab_bytes(),
                   {.slab = [this](const hdf5::Box& slab) { add_region(slab); },
                    .fill = [this](std::uint64_t elements) { add_fill(elements); }});
    } else {
      add_region(hdf5::Box::all(dataset_.selection.shape));
    }
    finish();
    return tree_.result();
  }

 private:
  struct Open {
    ArenaBlock memory;
    std::uint64_t filled = 0;
  };

  void add_region(const hdf5::Box& region) {
    for_each_tile(dataset_.info, dataset_.selection, region, limits_, [this](const hdf5::Box& box) { add_tile(box); });
    position_ += region.count.elements();  // of a sparse dataset: regions are contiguous there
  }

  [[nodiscard]] std::uint64_t elements_of(std::uint64_t number) const {
    return std::min(block, total_ - number * block);
  }

  void add_tile(const hdf5::Box& box) {
    const std::uint64_t bytes = box.count.elements() * item_;
    std::uint64_t fresh = 0;          // seams that it begins
    std::uint64_t last = UINT64_MAX;  // parts of one block follow one another
    each_seam(box, [&](std::uint64_t number, std::uint64_t) {
      if (std::exchange(last, number) != number) fresh += open_.contains(number) ? 0 : 1;
    });
    const bool full = tiles_.size() == wave_tiles || queued_bytes_ + bytes > wave_bytes ||
                      open_.size() + joined_.size() + fresh > limits_.open_blocks;
    if (full && !tiles_.empty()) launch();
    if (open_.size() + joined_.size() + fresh > limits_.open_blocks && !joined_.empty()) launch();
    queued_bytes_ += bytes;
    each_seam(box, [&](std::uint64_t number, std::uint64_t elements) {
      Open& open = open_[number];
      if (!open.memory) open.memory = seam_memory();
      open.filled += elements;
    });
    tiles_.push_back({box, results_});
    for_each_run_of(box, dataset_.selection.shape, [&](const StreamRun& run) {
      for_each_part(run, [&](std::uint64_t, std::uint64_t, std::uint64_t elements) { results_ += elements == block; });
    });
  }

  template <class Visit>
  void each_seam(const hdf5::Box& box, Visit&& visit) const {
    for_each_run_of(box, dataset_.selection.shape, [&](const StreamRun& run) {
      for_each_part(run, [&](std::uint64_t number, std::uint64_t, std::uint64_t elements) {
        if (elements != block) visit(number, elements);
      });
    });
  }

  ArenaBlock seam_memory() {
    if (free_.empty()) return state_.arena->allocate(block * item_);
    ArenaBlock memory = std::move(free_.back());
    free_.pop_back();
    return memory;
  }

  // Reads and reduces the tiles queued, and reduces the seams that are complete.
  void launch() {
    const auto group = group_size();
    const auto slices = (tiles_.size() + group - 1) / group;
    ArenaWriter memory(*state_.arena, tiles_.size() * sizeof(Tile) + (results_ + joined_.size()) * sizeof(Statistics) +
                                          open_.size() * sizeof(Seam) + joined_.size() * sizeof(Joined) +
                                          told_bytes(dataset_) + 512);
    auto* tiles = memory.add<Tile>(tiles_.size());
    std::copy(tiles_.begin(), tiles_.end(), tiles);
    auto* results = memory.add<Statistics>(results_);
    auto* seams = memory.add<Seam>(open_.size());
    std::size_t at = 0;
    for (const auto& [number, open] : open_) seams[at++] = {number, open.memory.data()};
    auto* joined = memory.add<Joined>(joined_.size());
    at = 0;
    for (const auto& [number, open] : joined_) joined[at++] = {open.memory.data(), open.filled};
    auto* joined_results = memory.add<Statistics>(joined_.size());
    const auto all = hdf5::Box::all(dataset_.selection.shape);
    const WaveJob job{add_slab_source(memory, state_, dataset_, all, cache_bytes()),
                      dataset_.selection.shape,
                      static_cast<std::uint64_t>(dtype_),
                      tiles,
                      static_cast<std::uint32_t>(tiles_.size()),
                      static_cast<std::uint32_t>(group),
                      static_cast<std::uint32_t>(slices),
                      static_cast<std::uint32_t>(open_.size()),
                      results,
                      seams,
                      joined,
                      joined_results,
                      data_bytes(),
                      &state_.bytes_done()};
    Launch launch =
        state_.readers.launch(state_.launch_options(static_cast<std::uint32_t>(slices + joined_.size()),
                                                    std::max({limits_.most_bytes, slice_bytes, chunk_bytes()})),
                              job);
    state_.wait(launch);
    check_launch(launch, "reading " + dataset_.dataset);
    take_results(results, joined_results);
  }

  void take_results(const Statistics* results, const Statistics* joined_results) {
    for (const Tile& tile : tiles_) {
      for_each_run_of(tile.box, dataset_.selection.shape, [&](const StreamRun& run) {
        for_each_part(run, [&](std::uint64_t number, std::uint64_t, std::uint64_t elements) {
          if (elements == block) done_.emplace(number, *results++);
        });
      });
    }
    for (auto& [number, open] : joined_) {
      done_.emplace(number, *joined_results++);
      free_.push_back(std::move(open.memory));
    }
    joined_.clear();
    tiles_.clear();
    results_ = 0;
    queued_bytes_ = 0;
    for (auto each = open_.begin(); each != open_.end();) {
      if (each->second.filled == elements_of(each->first)) {
        joined_.insert(open_.extract(each++));
      } else {
        ++each;
      }
    }
    for (auto first = done_.begin(); first != done_.end() && first->first == next_; first = done_.erase(first)) {
      tree_.add(first->second);
      ++next_;
    }
  }

  void finish() {
    while (!tiles_.empty() || !joined_.empty()) launch();
  }

  // Adds fill values behind the elements so far, of which all blocks but the last are whole.
  void add_fill(std::uint64_t elements) {
    finish();
    // Relaxed: a number to show.
    state_.bytes_done().fetch_add(elements * item_, std::memory_order_relaxed);
    if (position_ % block != 0) put_fill(elements);
    if (const std::uint64_t blocks = elements / block; blocks > 0) {
      std::vector<std::byte> values(block * item_);
      fill(values.data(), block);
      tree_.add_repeated(summarize_block(dtype_, values.data(), block), blocks);
      next_ += blocks;
      position_ += blocks * block;
      elements -= blocks * block;
    }
    if (elements > 0) put_fill(elements);
    finish();
    state_.check_interrupt();
    state_.show_progress();
  }

  // As many as the block at hand has room for.
  void put_fill(std::uint64_t& elements) {
    const std::uint64_t number = position_ / block;
    const std::uint64_t offset = position_ % block;
    const std::uint64_t count = std::min(elements, block - offset);
    Open& open = open_[number];
    if (!open.memory) open.memory = seam_memory();
    fill(open.memory.data() + offset * item_, count);
    open.filled += count;
    position_ += count;
    elements -= count;
    if (open.filled == elements_of(number)) joined_.insert(open_.extract(number));
    finish();
  }

  void fill(std::byte* values, std::uint64_t elements) const {
    for (std::uint64_t i = 0; i < elements; ++i) std::memcpy(values + i * item_, dataset_.info.fill.data(), item_);
  }

  TileLimits make_limits() const {
    const auto workers = static_cast<std::uint64_t>(state_.readers.size());
    TileLimits limits;
    limits.most_bytes = std::clamp<std::uint64_t>(state_.memory_bytes / (4 * workers), std::uint64_t{64} << 10,
                                                  std::uint64_t{16} << 20);
    // Some blocks: what is larger leaves the caches.
    limits.target_bytes = std::uint64_t{1} << 20;
    limits.block_elements = block;
    limits.open_blocks = std::max<std::uint64_t>(4, state_.memory_bytes / 4 / (block * item_));
    return limits;
  }

  // Tiles of a slice: few enough for all workers to have some.
  [[nodiscard]] std::size_t group_size() const {
    if (tiles_.empty()) return 1;
    const auto workers = static_cast<std::size_t>(state_.readers.size());
    const std::uint64_t tile_bytes = queued_bytes_ / tiles_.size() + 1;
    return std::clamp<std::size_t>(static_cast<std::size_t>(slice_bytes / tile_bytes), 1,
                                   std::max<std::size_t>(1, tiles_.size() / (workers * 8)));
  }

  // What of a sparse dataset is taken at a time.
  [[nodiscard]] std::uint64_t slab_bytes() const { return std::max(state_.memory_bytes / 4, block * item_); }
  [[nodiscard]] std::uint64_t chunk_bytes() const {
    if (dataset_.info.layout != hdf5::Layout::chunked) return 0;
    return std::min<std::uint64_t>(dataset_.info.chunk.checked_bytes(item_).value_or(SIZE_MAX), state_.memory_bytes);
  }
  [[nodiscard]] std::size_t cache_bytes() const {
    const auto workers = static_cast<std::size_t>(state_.readers.size());
    return std::min(std::size_t{16} << 20, state_.memory_bytes / (workers * 8));
  }
  // What a worker may need: a tile, the chunk as stored and as decoded, and the library its own copies of both.
  [[nodiscard]] std::size_t data_bytes() const {
    return (std::size_t{256} << 20) + cache_bytes() + 2 * static_cast<std::size_t>(limits_.most_bytes) +
           6 * static_cast<std::size_t>(chunk_bytes()) +
           batch::data_bytes(dataset_, state_, (limits_.most_bytes + chunk_bytes()) / item_);
  }

  Session::State& state_;
  const LargeDataset& dataset_;
  DType dtype_;
  std::size_t item_;
  std::uint64_t total_;
  TileLimits limits_;
  StatisticsTree tree_;
  std::uint64_t next_ = 0;                    // block that the tree waits for
  std::map<std::uint64_t, Statistics> done_;  // blocks behind it
  std::vector<Tile> tiles_;                   // for the next launch
  std::uint64_t results_ = 0;                 // of their whole blocks
  std::uint64_t queued_bytes_ = 0;
  std::map<std::uint64_t, Open> open_;    // seams, some of whose elements are there, or will be when the tiles are done
  std::map<std::uint64_t, Open> joined_;  // seams for the next launch to reduce
  std::vector<ArenaBlock> free_;
  std::uint64_t position_ = 0;  // of a sparse dataset: elements so far
};

}  // namespace

Statistics summarize(Session::State& state, const LargeDataset& dataset) { return LargeSummary(state, dataset).run(); }

}  // namespace runrig::batch
