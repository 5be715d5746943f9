#include "reduce_large.hpp"

#include <algorithm>
#include <array>
#include <cstring>
#include <limits>
#include <memory>
#include <optional>
#include <utility>

#include "reduce_scan.hpp"
#include "reduce_slice.hpp"
#include "reduce_space.hpp"
#include "runrig/sync/error.hpp"
#include "slabs.hpp"
#include "sparse_runs.hpp"

namespace runrig::batch {
namespace {

// What a slice of a launch should have to do at least.
constexpr std::uint64_t slice_elements = std::uint64_t{1} << 16;
// Elements that the parent reduces by itself between two looks for an interrupt.
constexpr std::uint64_t patience_elements = std::uint64_t{1} << 26;

/// The results of one box of the kept axes while they are being made.
struct Tile {
  hdf5::Box box;
  std::size_t sequences = 0;
  std::uint64_t k = 0;  // elements of each sequence so far
  ArenaBlock origins;
  ArenaBlock open;
  ArenaBlock results;
  ReductionTree tree;

  Tile(const hdf5::Box& where, const Reducer& reducer)
      : box(where), sequences(static_cast<std::size_t>(box.count.elements())), tree(reducer, sequences) {}
};

/// A slab in memory.
struct Part {
  std::shared_ptr<Tile> tile;
  ArenaBlock memory;
  std::uint64_t elements = 0;  // of each sequence
};

class LargeReduction {
 public:
  LargeReduction(Session::State& state, const LargeDataset& dataset, const ReductionAxes& axes, const Reducer& reducer,
                 std::optional<double> quantile, std::byte* out)
      : state_(state),
        dataset_(dataset),
        axes_(axes),
        reducer_(reducer),
        quantile_(quantile),
        out_(out),
        item_(item_bytes(reducer.elements())),
        kept_(dataset, axes, false),
        reduced_(dataset, axes, true) {
    slab_bytes_ = std::clamp<std::uint64_t>(state.memory_bytes / 4, 1, std::uint64_t{256} << 20);
    // Memory that no slab will fill is not asked for.
    if (const auto all = axes.shape.checked_bytes(item_)) slab_bytes_ = std::min<std::uint64_t>(slab_bytes_, *all);
  }

  void run() {
    const hdf5::BoxPlan tiles(kept_.info, kept_.selection, tile_sequences() * item_);
    for (std::uint64_t i = 0; i < tiles.size(); ++i) {
      const hdf5::Box box = tiles[i];
      if (box.count.elements() <= most_sequences()) {
        add_tile(box);
        continue;
      }
      // Of large chunks that are long along the kept axes.
      Slabs cut(kept_.info, part_of(kept_.selection, box), most_sequences() * item_);
      while (auto part = cut.next()) {
        for (std::size_t axis = 0; axis < box.start.rank(); ++axis) part->start[axis] += box.start[axis];
        add_tile(*part);
      }
    }
    step(nullptr);
  }

 private:
  // Sequences of which the accumulators take no more than their part of the memory.
  [[nodiscard]] std::uint64_t most_sequences() const {
    const std::uint64_t copies = axes_.columns ? 8 : 2 * reduction_lanes + 8;
    const std::uint64_t most = std::max<std::uint64_t>(1, state_.memory_bytes / 8 / (reducer_.state_bytes() * copies));
    // A quantile needs its whole sequence at once.
    return quantile_ ? std::clamp<std::uint64_t>(slab_bytes_ / item_ / axes_.length, 1, most) : most;
  }
  // As many as fit a slab with all of their elements. Of what is not in chunks rather those that lie side by side.
  [[nodiscard]] std::uint64_t tile_sequences() const {
    if (dataset_.info.layout != hdf5::Layout::chunked && axes_.columns) return most_sequences();
    return std::clamp<std::uint64_t>(slab_bytes_ / item_ / axes_.length, 1, most_sequences());
  }

  void add_tile(const hdf5::Box& box) {
    std::vector<Shape> stored;
    if (dataset_.stored_chunks) {
      stored = stored_in(box);
      if (stored.empty()) return fill_tile(box);
    }
    auto tile = std::make_shared<Tile>(box, reducer_);
    const std::uint64_t most = std::max<std::uint64_t>(slab_bytes_ / tile->sequences, item_);
    if (dataset_.stored_chunks && !quantile_) {
      for_each_run(reduced_.info, reduced_.selection, stored, most,
                   {.slab = [&](const hdf5::Box& slab) { add_slab(tile, slab); },
                    .fill = [&](std::uint64_t elements) { add_fill(tile, elements); }});
    } else {
      Slabs slabs(reduced_.info, reduced_.selection, most);
      while (const auto slab = slabs.next()) add_slab(tile, *slab);
    }
  }

  // The stored chunks that may touch a tile: where they begin along the reduced axes.
  [[nodiscard]] std::vector<Shape> stored_in(const hdf5::Box& box) const {
    std::vector<Shape> found;
    for (const Shape& start : *dataset_.stored_chunks) {
      bool touched = true;
      for (std::size_t i = 0; i < kept_.axes.size(); ++i) {
        const hdf5::AxisSelection& axis = kept_.selection.axes[i];
        const std::uint64_t a = axis.at(box.start[i]);
        const std::uint64_t b = axis.at(box.start[i] + box.count[i] - 1);
        const std::uint64_t chunk = start[kept_.axes[i]];
        touched = touched && std::max(a, b) >= chunk &&
                  std::min(a, b) - std::min(std::min(a, b), chunk) < kept_.info.chunk[i];
      }
      if (!touched) continue;
      Shape along;
      for (const std::size_t axis : reduced_.axes) along.push_back(start[axis]);
      found.push_back(along);
    }
    return found;
  }

  void fill_tile(const hdf5::Box& box) {
    const std::size_t item = item_bytes(reducer_.result());
    std::vector<std::byte> result(item);
    if (quantile_) {
      store_real(reducer_.result(), quantile_of_constant(dataset_.info, reducer_.elements()), result.data());
    } else {
      check(reduce_constant(reducer_, axes_, dataset_.info.fill.data(), result.data()));
    }
    const auto sequences = static_cast<std::size_t>(box.count.elements());
    std::vector<std::byte> results(sequences * item);
    for (std::size_t i = 0; i < sequences; ++i) std::memcpy(results.data() + i * item, result.data(), item);
    place(box, results.data());
    count_bytes(sequences, axes_.length);
    state_.check_interrupt();
  }

  void add_slab(const std::shared_ptr<Tile>& tile, const hdf5::Box& slab) {
    Part next;
    next.tile = tile;
    next.elements = slab.count.elements();
    next.memory = state_.arena->allocate(static_cast<std::size_t>(next.elements) * tile->sequences * item_);
    const hdf5::Box box = combine(axes_, tile->box, slab);
    step(&box, &next);
    part_ = std::move(next);
  }

  // Fill values for all sequences of the tile, behind the slab that is in memory.
  void add_fill(const std::shared_ptr<Tile>& tile, std::uint64_t elements) {
    step(nullptr);
    const std::byte* const fill = dataset_.info.fill.data();
    count_bytes(tile->sequences, elements);
    if (tile->k == 0) begin(*tile, fill, 0);
    const std::uint64_t end = tile->k + elements;
    while (tile->k < end) {
      const std::uint64_t left = end - tile->k;
      const bool opens = tile->k % axes_.segment == 0;
      if (opens && left >= axes_.segment && tile->k > 0) {  // whole segments, all alike
        const std::uint64_t times = left / axes_.segment;
        ArenaBlock states = fill_states(*tile, nullptr, axes_.segment);
        close(*tile, states);
        tile->tree.add_repeated({states.data(), tile->sequences}, times);
        tile->k += times * axes_.segment;
        continue;
      }
      const std::uint64_t rest = axes_.segment - tile->k % axes_.segment;
      const std::uint64_t count = std::min({left, rest, axes_.length - tile->k});
      ArenaBlock states = fill_states(*tile, opens ? nullptr : tile->open.data(), count);
      tile->k += count;
      if (tile->k % axes_.segment == 0 || tile->k == axes_.length) {
        close(*tile, states);
        tile->tree.add({states.data(), tile->sequences});
        tile->open.reset();
      } else {
        tile->open = std::move(states);
      }
    }
    finish_if_whole(*tile);
    state_.show_progress();
  }

  // Reduces the slab that is in memory, if there is one, and reads `box` into `next`, if there is one.
  void step(const hdf5::Box* box, Part* next = nullptr) {
    const bool reduces = static_cast<bool>(part_.memory);
    if (box == nullptr && !reduces) return;
    const hdf5::Selection selection = box != nullptr ? part_of(dataset_.selection, *box) : hdf5::Selection{};
    std::vector<hdf5::Box> boxes;
    if (box != nullptr) boxes = hdf5::aligned_boxes(dataset_.info, selection, box_bytes());
    ArenaWriter memory(*state_.arena, sizeof(ReadPlan) + sizeof(ReducePlan) + sizeof(ReductionAxes) +
                                          boxes.size() * sizeof(hdf5::Box) + told_bytes(dataset_) + most_blocks() +
                                          2048);
    auto* reading = memory.add<ReadPlan>(1);
    if (box != nullptr) plan_reading(*reading, memory, *box, boxes, *next);
    auto* reducing = memory.add<ReducePlan>(1);
    if (reduces) plan_reducing(*reducing, memory);
    const std::uint64_t slices = boxes.size() + std::uint64_t{reducing->blocks} * reducing->pieces;
    if (slices > max_slices) throw TaskError("its chunks are too small and too many");
    Launch launch = state_.readers.launch(
        state_.launch_options(static_cast<std::uint32_t>(slices), std::max(box_bytes(), chunk_bytes())),
        StepJob{reading, reducing});
    state_.wait(launch);
    check_launch(launch, "reading " + dataset_.dataset);
    if (reduces) settle(*reducing);
  }

  void plan_reading(ReadPlan& plan, ArenaWriter& memory, const hdf5::Box& slab, const std::vector<hdf5::Box>& boxes,
                    const Part& next) {
    plan.source = add_slab_source(memory, state_, dataset_, slab, cache_bytes());
    auto* const places = memory.add<hdf5::Box>(boxes.size());
    std::copy(boxes.begin(), boxes.end(), places);
    plan.boxes = places;
    plan.box_count = static_cast<std::uint32_t>(boxes.size());
    const auto strides = reduction_strides(axes_, slab.count, item_);
    auto* const steps = memory.add<std::ptrdiff_t>(strides.size());
    std::copy(strides.begin(), strides.end(), steps);
    plan.strides = steps;
    plan.target = next.memory.data();
    plan.item = item_;
    plan.data_bytes = data_bytes();
    plan.bytes_done = &state_.bytes_done();
  }

  void plan_reducing(ReducePlan& plan, ArenaWriter& memory) {
    Tile& tile = *part_.tile;
    auto* const axes = memory.add<ReductionAxes>(1);
    *axes = axes_;
    plan.axes = axes;
    plan.operation = reducer_.operation();
    plan.dtype = reducer_.elements();
    plan.nan = reducer_.nan();
    plan.values = part_.memory.data();
    plan.sequences = tile.sequences;
    plan.k = tile.k;
    plan.elements = part_.elements;
    plan.pieces = 1;
    if (part_.elements == axes_.length && axes_.length <= axes_.segment) {
      tile.results = state_.arena->allocate(tile.sequences * item_bytes(reducer_.result()));
      plan.results = tile.results.data();
      plan.quantile = quantile_.value_or(-1);
    } else {
      if (tile.k == 0) begin(tile, part_.memory.data(), axes_.columns ? 1 : static_cast<std::size_t>(part_.elements));
      const std::uint64_t last = (plan.k + plan.elements - 1) / axes_.segment;
      plan.pieces = static_cast<std::uint32_t>(last - plan.k / axes_.segment + 1);
      closed_ = state_.arena->allocate(plan.pieces * reducer_.state_bytes() * tile.sequences);
      next_open_ = state_.arena->allocate(open_bytes(tile));
      plan.origins = tile.origins.data();
      plan.open_in = tile.open.data();
      plan.open_out = next_open_.data();
      plan.closed = closed_.data();
    }
    // Blocks: so many that all workers are busy, and none too small to be worth a slice.
    const std::uint64_t wanted = std::max<std::uint64_t>(1, most_blocks() / 2 / plan.pieces);
    const std::uint64_t least = slice_elements / std::max<std::uint64_t>(1, plan.elements / plan.pieces) + 1;
    std::uint64_t block = std::max((tile.sequences + wanted - 1) / wanted, least);
    if (axes_.columns) block = (block + 63) / 64 * 64;
    plan.block = static_cast<std::size_t>(std::min<std::uint64_t>(block, tile.sequences));
    plan.blocks = static_cast<std::uint32_t>((tile.sequences + plan.block - 1) / plan.block);
    plan.found = memory.add<std::uint8_t>(plan.blocks);
  }

  void settle(const ReducePlan& plan) {
    Tile& tile = *part_.tile;
    if (plan.results != nullptr) {
      check(std::all_of(plan.found, plan.found + plan.blocks, [](std::uint8_t each) { return each != 0; }));
      place(tile.box, plan.results);
    } else {
      for (std::uint32_t i = 0; i < plan.pieces; ++i) {
        if (!plan.piece(i).closes) continue;
        tile.tree.add({plan.closed + i * reducer_.state_bytes() * tile.sequences, tile.sequences});
      }
      tile.open = plan.piece(plan.pieces - 1).closes ? ArenaBlock() : std::move(next_open_);
      tile.k += plan.elements;
      finish_if_whole(tile);
    }
    part_ = Part();
    closed_.reset();
    next_open_.reset();
  }

  void begin(Tile& tile, const std::byte* first, std::size_t stride) {
    tile.origins = state_.arena->allocate(reducer_.state_bytes() * tile.sequences);
    reducer_.begin({tile.origins.data(), tile.sequences}, tile.sequences, first, stride);
  }

  // The open states after `count` fill values more.
  ArenaBlock fill_states(const Tile& tile, const std::byte* open, std::uint64_t count) {
    const std::byte* const fill = dataset_.info.fill.data();
    ArenaBlock memory = state_.arena->allocate(open_bytes(tile));
    if (open != nullptr) std::memcpy(memory.data(), open, open_bytes(tile));
    if (axes_.columns) {
      const ReductionStates states{memory.data(), tile.sequences};
      if (open == nullptr) reducer_.begin_like(states, tile.sequences, {tile.origins.data(), tile.sequences});
      const std::uint64_t rows = std::max<std::uint64_t>(1, patience_elements / tile.sequences);
      for (std::uint64_t done = 0; done < count; done += rows) {
        state_.check_interrupt();
        reducer_.add_constant(states, tile.sequences, fill, std::min(rows, count - done), tile.k + done);
      }
      return memory;
    }
    for (std::size_t i = 0; i < tile.sequences; ++i) {
      const ReductionStates lanes{memory.data() + i * reducer_.state_bytes() * reduction_lanes, reduction_lanes};
      if (open == nullptr) {
        const ReductionStates origins{tile.origins.data(), tile.sequences};
        reducer_.begin_like(lanes, reduction_lanes, origins.from(i), 0);
      }
      if (i % 64 == 0) state_.check_interrupt();
      reducer_.add_constant_row(lanes, fill, count, tile.k);
    }
    return memory;
  }

  // Makes closed states of open ones.
  void close(const Tile& tile, ArenaBlock& open) {
    if (axes_.columns) return;
    ArenaBlock closed = state_.arena->allocate(reducer_.state_bytes() * tile.sequences);
    for (std::size_t i = 0; i < tile.sequences; ++i) {
      const ReductionStates lanes{open.data() + i * reducer_.state_bytes() * reduction_lanes, reduction_lanes};
      reducer_.fold(lanes);
      for (std::size_t plane = 0; plane * 8 < reducer_.state_bytes(); ++plane) {
        std::memcpy(closed.data() + (plane * tile.sequences + i) * 8, lanes.memory + plane * reduction_lanes * 8, 8);
      }
    }
    open = std::move(closed);
  }

  void finish_if_whole(Tile& tile) {
    if (tile.k < axes_.length) return;
    std::vector<std::byte> results(tile.sequences * item_bytes(reducer_.result()));
    check(reducer_.finish(tile.tree.result(), tile.sequences, axes_.length, results.data()));
    place(tile.box, results.data());
  }

  void check(bool found) const {
    if (!found) throw TaskError(missing_result(reducer_.operation()));
  }

  // Copies the results of a box to their places.
  void place(const hdf5::Box& box, const std::byte* results) {
    const std::size_t item = item_bytes(reducer_.result());
    const Shape& shape = axes_.kept;
    std::size_t run = item;
    std::size_t outer = shape.rank();  // the axes before this one are walked, those behind are in one run
    while (outer > 0) {
      --outer;
      run *= static_cast<std::size_t>(box.count[outer]);
      if (box.count[outer] != shape[outer]) break;
    }
    const std::size_t bytes = static_cast<std::size_t>(box.count.elements()) * item;
    Shape position = box.start;
    for (std::size_t done = 0; done < bytes; done += run) {
      std::memcpy(out_ + element_number(shape, position) * item, results + done, run);
      for (std::size_t axis = outer; axis-- > 0;) {
        if (++position[axis] < box.start[axis] + box.count[axis]) break;
        position[axis] = box.start[axis];
      }
    }
  }

  void count_bytes(std::uint64_t sequences, std::uint64_t elements) const {
    // Relaxed: a number to show, nothing hangs on it.
    state_.bytes_done().fetch_add(sequences * elements * item_, std::memory_order_relaxed);
  }

  [[nodiscard]] std::size_t open_bytes(const Tile& tile) const {
    return reducer_.state_bytes() * tile.sequences * (axes_.columns ? 1 : reduction_lanes);
  }
  [[nodiscard]] std::size_t most_blocks() const { return static_cast<std::size_t>(state_.readers.size()) * 8 + 1; }
  [[nodiscard]] std::uint64_t chunk_bytes() const {
    if (dataset_.info.layout != hdf5::Layout::chunked) return 0;
    return std::min<std::uint64_t>(dataset_.info.chunk.checked_bytes(item_).value_or(SIZE_MAX), state_.memory_bytes);
  }
  [[nodiscard]] std::uint64_t box_bytes() const {
    const auto workers = static_cast<std::uint64_t>(state_.readers.size());
    return std::clamp<std::uint64_t>(slab_bytes_ / (workers * 8), std::uint64_t{64} << 10, std::uint64_t{4} << 20);
  }
  [[nodiscard]] std::size_t cache_bytes() const {
    const auto workers = static_cast<std::size_t>(state_.readers.size());
    return std::min(std::size_t{16} << 20, state_.memory_bytes / (workers * 8));
  }
  // What a worker may need: the chunk as stored and as decoded, and the library its own copies of both.
  [[nodiscard]] std::size_t data_bytes() const {
    return (std::size_t{256} << 20) + cache_bytes() + 2 * static_cast<std::size_t>(box_bytes()) +
           4 * static_cast<std::size_t>(chunk_bytes()) +
           batch::data_bytes(dataset_, state_, (box_bytes() + chunk_bytes()) / item_);
  }

  Session::State& state_;
  const LargeDataset& dataset_;
  const ReductionAxes& axes_;
  const Reducer& reducer_;
  std::optional<double> quantile_;
  std::byte* out_;
  std::size_t item_;
  AxisSpace kept_;
  AxisSpace reduced_;
  std::uint64_t slab_bytes_ = 0;
  Part part_;  // read, and to be reduced
  ArenaBlock closed_;
  ArenaBlock next_open_;
};

}  // namespace

double quantile_of_constant(const hdf5::DatasetInfo& info, DType dtype) {
  std::array<std::byte, 8> key{};
  if (ordered_keys(dtype, info.fill.data(), 1, key.data()) == 0) return std::numeric_limits<double>::quiet_NaN();
  return key_value(dtype, ordered_key(dtype, info.fill.data()));
}

std::string missing_result(Reduction operation) {
  return std::string(reduction_name(operation)) + " of elements all of which are NaN has no result";
}

void reduce_large(Session::State& state, const LargeDataset& dataset, const ReductionAxes& axes, const Reducer& reducer,
                  std::byte* out) {
  LargeReduction(state, dataset, axes, reducer, std::nullopt, out).run();
}

void quantiles_large(Session::State& state, const LargeDataset& dataset, const ReductionAxes& axes, double quantile,
                     NanPolicy nan, std::byte* out) {
  const Reducer reducer(Reduction::mean, dataset.info.type.dtype, nan);  // for its dtypes
  const std::size_t item = item_bytes(reducer.elements());
  const auto workers = static_cast<std::uint64_t>(state.readers.size());
  // Each worker has a sequence in memory, and the slab that it is from may have to hold a few.
  const std::uint64_t room = std::min<std::uint64_t>(state.memory_bytes / 8 / workers, std::uint64_t{64} << 20);
  if (axes.length <= room / item) {
    LargeReduction(state, dataset, axes, reducer, quantile, out).run();
    return;
  }
  // Sequences that are too long for a worker's memory, one by one.
  for (std::uint64_t i = 0; i < axes.results; ++i) {
    LargeDataset sequence = dataset;
    sequence.selection = sequence_of(dataset.selection, axes, i);
    store_real(reducer.result(), scan_quantile(state, sequence, quantile, nan), out + i * item_bytes(reducer.result()));
  }
}

}  // namespace runrig::batch
