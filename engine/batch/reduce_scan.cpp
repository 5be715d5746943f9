#include "reduce_scan.hpp"

#include <algorithm>
#include <cstring>
#include <limits>

#include "slabs.hpp"
#include "sparse_runs.hpp"

namespace runrig::batch {
namespace {

constexpr std::uint64_t box_bytes = std::uint64_t{1} << 20;
// Boxes that are told to the workers in one launch.
constexpr std::uint64_t wave_boxes = 4096;

/// One launch. Slices have counts of their own, begun anew in each attempt.
struct ScanJob {
  const Source* source = nullptr;
  const hdf5::Box* boxes = nullptr;
  std::uint32_t box_count = 0;
  std::uint32_t slices = 1;
  const ScanBody* body = nullptr;
  std::uint64_t* counts = nullptr;
  std::size_t data_bytes = 0;
  std::atomic<std::uint64_t>* bytes_done = nullptr;

  void operator()(SliceContext& context) const {
    const MemoryFence fence(data_bytes);
    const std::size_t item = item_bytes(body->dtype);
    std::uint64_t* const mine = counts + context.slice() * body->count_size();
    std::fill_n(mine, body->count_size(), 0);
    const std::uint64_t begin = std::uint64_t{box_count} * context.slice() / slices;
    const std::uint64_t end = std::uint64_t{box_count} * (context.slice() + 1) / slices;
    for (std::uint64_t i = begin; i < end; ++i) {
      if (context.cancelled()) return;
      context.heartbeat();
      const auto elements = static_cast<std::size_t>(boxes[i].count.elements());
      std::byte* const values = context.scratch(elements * item);
      try {
        OpenFiles::here().dataset(*source).read(source->selection, boxes[i], values);
      } catch (...) {
        context.retire();
        throw;
      }
      body->count(values, elements, mine);
      // Relaxed: a number to show, nothing hangs on it.
      bytes_done->fetch_add(elements * item, std::memory_order_relaxed);
    }
  }
};

class Scan {
 public:
  Scan(Session::State& state, const LargeDataset& dataset, const ScanBody& body)
      : state_(state), dataset_(dataset), body_(body), total_(body.count_size()) {}

  std::vector<std::uint64_t> run() {
    const Shape& shape = dataset_.selection.shape;
    if (dataset_.stored_chunks) {
      for_each_run(dataset_.info, dataset_.selection, *dataset_.stored_chunks, state_.memory_bytes / 4,
                   {.slab = [this](const hdf5::Box& slab) { add(slab); },
                    .fill = [this](std::uint64_t elements) { add_fill(elements); }});
    } else if (shape.elements() > 0) {
      add(hdf5::Box::all(shape));
    }
    return std::move(total_);
  }

 private:
  void add(const hdf5::Box& slab) {
    const hdf5::BoxPlan plan(dataset_.info, part_of(dataset_.selection, slab), box_bytes);
    for (std::uint64_t first = 0; first < plan.size(); first += wave_boxes) {
      std::vector<hdf5::Box> boxes;
      for (std::uint64_t i = first; i < std::min(plan.size(), first + wave_boxes); ++i) {
        boxes.push_back(plan[i]);
        for (std::size_t axis = 0; axis < slab.start.rank(); ++axis) boxes.back().start[axis] += slab.start[axis];
      }
      count(boxes);
    }
  }

  void count(const std::vector<hdf5::Box>& boxes) {
    const auto workers = static_cast<std::size_t>(state_.readers.size());
    const std::size_t size = body_.count_size();
    const std::size_t room = std::max<std::size_t>(workers, state_.memory_bytes / 8 / (size * sizeof(std::uint64_t)));
    const auto slices = static_cast<std::uint32_t>(std::min({boxes.size(), workers * 8, room}));
    ArenaWriter memory(*state_.arena, sizeof(Source) + sizeof(ScanBody) + boxes.size() * sizeof(hdf5::Box) +
                                          dataset_.file.size() + dataset_.dataset.size() +
                                          body_.edges.size() * sizeof(double) + 512);
    auto* const source = memory.add<Source>(1);
    source->file = memory.add(dataset_.file);
    source->dataset = memory.add(dataset_.dataset);
    source->selection = dataset_.selection;
    source->max_chunk_bytes = state_.memory_bytes;
    source->cache_bytes = std::min(std::size_t{16} << 20, state_.memory_bytes / (workers * 8));
    source->force_library = state_.options.force_library;
    source->conventions = state_.options.conventions;
    auto* const places = memory.add<hdf5::Box>(boxes.size());
    std::copy(boxes.begin(), boxes.end(), places);
    auto* const body = memory.add<ScanBody>(1);
    *body = body_;
    auto* const edges = memory.add<double>(body_.edges.size());
    std::copy(body_.edges.begin(), body_.edges.end(), edges);
    body->edges = {edges, body_.edges.size()};
    const ArenaBlock counts = state_.arena->allocate(slices * size * sizeof(std::uint64_t));
    auto* const numbers = reinterpret_cast<std::uint64_t*>(counts.data());
    const std::uint64_t chunk = std::min<std::uint64_t>(
        dataset_.info.chunk.checked_bytes(item_bytes(body_.dtype)).value_or(SIZE_MAX), state_.memory_bytes);
    const std::uint64_t most = std::max(box_bytes, chunk);
    Launch launch = state_.readers.launch(
        state_.launch_options(slices, most),
        ScanJob{source, places, static_cast<std::uint32_t>(boxes.size()), slices, body, numbers,
                (std::size_t{256} << 20) + source->cache_bytes + 6 * static_cast<std::size_t>(most),
                &state_.bytes_done()});
    state_.wait(launch);
    check_launch(launch, "reading " + dataset_.dataset);
    for (std::size_t i = 0; i < slices * size; ++i) total_[i % size] += numbers[i];
  }

  void add_fill(std::uint64_t elements) {
    std::vector<std::byte> fill = dataset_.info.fill;
    std::vector<std::uint64_t> one(body_.count_size());
    body_.count(fill.data(), 1, one.data());
    for (std::size_t i = 0; i < one.size(); ++i) total_[i] += one[i] * elements;
    // Relaxed: a number to show.
    state_.bytes_done().fetch_add(elements * item_bytes(body_.dtype), std::memory_order_relaxed);
  }

  Session::State& state_;
  const LargeDataset& dataset_;
  const ScanBody& body_;
  std::vector<std::uint64_t> total_;
};

}  // namespace

void ScanBody::count(std::byte* values, std::size_t elements, std::uint64_t* counts) const {
  if (!edges.empty()) {
    count_in_bins(dtype, values, elements, edges, counts);
    return;
  }
  const std::size_t keys = ordered_keys(dtype, values, elements, values);
  for (std::uint32_t row = 0; row < rows; ++row) {
    count_key_digits(item_bytes(dtype), values, keys, shift, prefixes[row], counts + row * key_digits);
  }
}

std::vector<std::uint64_t> scan(Session::State& state, const LargeDataset& dataset, const ScanBody& body) {
  return Scan(state, dataset, body).run();
}

double scan_quantile(Session::State& state, const LargeDataset& dataset, double quantile, NanPolicy nan) {
  const DType dtype = dataset.info.type.dtype;
  const unsigned bits = static_cast<unsigned>(item_bytes(dtype)) * 8;
  ScanBody body;
  body.dtype = dtype;
  body.shift = bits > key_digit_bits ? bits - key_digit_bits : 0;
  std::uint64_t ranks[2] = {};  // of what is looked for, among the keys with its prefix
  double fraction = 0;
  for (bool first = true;; first = false) {
    const std::vector<std::uint64_t> counts = scan(state, dataset, body);
    if (first) {
      std::uint64_t valid = 0;
      for (const std::uint64_t each : counts) valid += each;
      const bool has_nan = valid < dataset.selection.shape.elements();
      if (valid == 0 || (has_nan && nan == NanPolicy::propagate)) return std::numeric_limits<double>::quiet_NaN();
      const QuantilePlace place = quantile_place(quantile, valid);
      fraction = place.fraction;
      ranks[0] = place.rank;
      ranks[1] = std::min(place.rank + 1, valid - 1);
    }
    std::uint64_t found[2] = {};
    for (std::uint32_t i = 0; i < 2; ++i) {
      const std::uint64_t* const row = counts.data() + (body.rows > 1 ? i : 0) * key_digits;
      std::uint64_t digit = 0;
      for (; digit < key_digits && ranks[i] >= row[digit]; ++digit) ranks[i] -= row[digit];
      if (digit == key_digits) throw TaskError("it was changed while it was read");
      found[i] = body.prefixes[body.rows > 1 ? i : 0] << key_digit_bits | digit;
    }
    if (body.shift == 0) return quantile_between(key_value(dtype, found[0]), key_value(dtype, found[1]), fraction);
    body.prefixes[0] = found[0];
    body.prefixes[1] = found[1];
    body.rows = found[0] == found[1] ? 1 : 2;
    body.shift -= key_digit_bits;
  }
}

}  // namespace runrig::batch
