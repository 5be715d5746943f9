#include "summary.hpp"

#include <algorithm>
#include <cstring>
#include <utility>

#include "computed.hpp"
#include "runrig/hdf5/strided_copy.hpp"
#include "runrig/sync/error.hpp"
#include "slabs.hpp"
#include "sparse_runs.hpp"

namespace runrig::batch {
namespace {

constexpr std::uint64_t group_blocks = 8;  // blocks of statistics in one slice

// One launch: reads the boxes of one slab, and reduces the blocks of the slab before it.
struct SlabJob {
  const SlabSource* source;
  Shape slab;  // its shape
  const hdf5::Box* boxes;
  std::uint32_t box_count;
  DType dtype;
  std::byte* target;

  const std::byte* values;
  std::uint64_t elements;
  Statistics* blocks;

  std::size_t data_bytes;
  std::atomic<std::uint64_t>* bytes_done;

  void operator()(SliceContext& context) const {
    // Reads first: they take longer.
    if (context.slice() < box_count) {
      read(context);
    } else {
      reduce(context.slice() - box_count);
    }
  }

  void read(SliceContext& context) const {
    const MemoryFence fence(data_bytes);
    const hdf5::Box& box = boxes[context.slice()];
    try {
      source->read(context, box, target, hdf5::detail::contiguous_strides(slab, item_bytes(dtype)));
    } catch (...) {
      context.retire();
      throw;
    }
    // Relaxed: a number to show, nothing hangs on it.
    bytes_done->fetch_add(box.count.elements() * item_bytes(dtype), std::memory_order_relaxed);
  }

  void reduce(std::uint64_t group) const {
    const std::uint64_t end = std::min(elements, (group + 1) * group_blocks * statistics_block_elements);
    for (std::uint64_t first = group * group_blocks * statistics_block_elements; first < end;
         first += statistics_block_elements) {
      const auto count = static_cast<std::size_t>(std::min<std::uint64_t>(statistics_block_elements, end - first));
      blocks[first / statistics_block_elements] = summarize_block(dtype, values + first * item_bytes(dtype), count);
    }
  }
};

// A slab in memory: elements left over from the one before it, too few for a block, then its own.
struct Buffer {
  ArenaBlock memory;
  std::uint64_t elements = 0;
};

class LargeSummary {
 public:
  LargeSummary(Session::State& state, const LargeDataset& dataset)
      : state_(state),
        dataset_(dataset),
        dtype_(dataset.info.type.dtype),
        item_(item_bytes(dtype_)),
        tree_(dtype_),
        slab_bytes_(std::max<std::uint64_t>(state.memory_bytes / 4, statistics_block_elements * item_)) {
    // Memory that no slab will fill is not asked for.
    if (const auto all = dataset.selection.shape.checked_bytes(item_)) {
      slab_bytes_ = std::min<std::uint64_t>(slab_bytes_, std::max<std::uint64_t>(*all, item_));
      slab_bytes_ = std::min<std::uint64_t>(slab_bytes_, std::uint64_t{256} << 20);  // no use in more
    }
    for (Buffer& each : buffers_) {
      each.memory = state.arena->allocate(slab_bytes_ + statistics_block_elements * item_);
    }
  }

  Statistics run() {
    if (dataset_.stored_chunks) {
      for_each_run(dataset_.info, dataset_.selection, *dataset_.stored_chunks, slab_bytes_,
                   {.slab = [this](const hdf5::Box& slab) { add_slab(slab); },
                    .fill = [this](std::uint64_t elements) { add_fill(elements); }});
    } else {
      Slabs slabs(dataset_.info, dataset_.selection, slab_bytes_);
      while (const auto slab = slabs.next()) add_slab(*slab);
    }
    step(*full_, nullptr, nullptr);
    if (full_->elements > 0) {  // the last block, shorter than the others
      tree_.add(summarize_block(dtype_, full_->memory.data(), static_cast<std::size_t>(full_->elements)));
    }
    return tree_.result();
  }

 private:
  void add_slab(const hdf5::Box& slab) {
    step(*full_, &slab, empty_);
    std::swap(full_, empty_);
  }

  // Reduces the whole blocks of `full`, reads `slab` behind what is left of it into `empty`. Without a slab, what is
  // left stays in `full`.
  void step(Buffer& full, const hdf5::Box* slab, Buffer* empty) {
    const std::uint64_t whole = full.elements / statistics_block_elements;
    const std::uint64_t rest = full.elements % statistics_block_elements;
    if (slab == nullptr && whole == 0) return;
    const std::byte* rest_begin = full.memory.data() + (full.elements - rest) * item_;
    if (slab != nullptr) {
      std::memcpy(empty->memory.data(), rest_begin, rest * item_);
      empty->elements = rest + slab->count.elements();
    }
    const hdf5::Selection part = slab != nullptr ? part_of(dataset_.selection, *slab) : hdf5::Selection{};
    std::vector<hdf5::Box> boxes;
    if (slab != nullptr) boxes = hdf5::aligned_boxes(dataset_.info, part, box_bytes());
    const std::uint64_t groups = (whole + group_blocks - 1) / group_blocks;
    if (boxes.size() + groups > max_slices) {
      throw TaskError("its chunks are too small and too many");
    }
    ArenaWriter memory(*state_.arena,
                       boxes.size() * sizeof(hdf5::Box) + whole * sizeof(Statistics) + told_bytes(dataset_) + 256);
    const SlabSource* const source =
        slab != nullptr ? add_slab_source(memory, state_, dataset_, *slab, cache_bytes()) : nullptr;
    auto* boxes_memory = memory.add<hdf5::Box>(boxes.size());
    std::copy(boxes.begin(), boxes.end(), boxes_memory);
    auto* blocks = memory.add<Statistics>(whole);
    const SlabJob job{source,
                      part.shape,
                      boxes_memory,
                      static_cast<std::uint32_t>(boxes.size()),
                      dtype_,
                      slab != nullptr ? empty->memory.data() + rest * item_ : nullptr,
                      full.memory.data(),
                      whole * statistics_block_elements,
                      blocks,
                      data_bytes(),
                      &state_.bytes_done()};
    Launch launch = state_.readers.launch(
        state_.launch_options(static_cast<std::uint32_t>(boxes.size() + groups), std::max(box_bytes(), chunk_bytes())),
        job);
    state_.wait(launch);
    check_launch(launch, "reading " + dataset_.dataset);
    for (std::uint64_t i = 0; i < whole; ++i) tree_.add(blocks[i]);
    if (slab == nullptr) {
      std::memmove(full.memory.data(), rest_begin, rest * item_);
      full.elements = rest;
    }
  }

  // Adds fill values behind the elements so far.
  void add_fill(std::uint64_t elements) {
    Buffer& buffer = *full_;
    step(buffer, nullptr, nullptr);
    // Less than a block is left. Relaxed: a number to show.
    state_.bytes_done().fetch_add(elements * item_, std::memory_order_relaxed);
    const auto put = [&](std::uint64_t count) {
      for (std::uint64_t i = 0; i < count; ++i) {
        std::memcpy(buffer.memory.data() + (buffer.elements + i) * item_, dataset_.info.fill.data(), item_);
      }
      buffer.elements += count;
      elements -= count;
    };
    if (buffer.elements > 0) {
      put(std::min(elements, statistics_block_elements - buffer.elements));
      if (buffer.elements < statistics_block_elements) return;
      tree_.add(summarize_block(dtype_, buffer.memory.data(), statistics_block_elements));
      buffer.elements = 0;
    }
    if (const std::uint64_t blocks = elements / statistics_block_elements; blocks > 0) {
      put(statistics_block_elements);
      tree_.add_repeated(summarize_block(dtype_, buffer.memory.data(), statistics_block_elements), blocks);
      buffer.elements = 0;
      elements -= (blocks - 1) * statistics_block_elements;
    }
    put(elements);
    state_.check_interrupt();
    state_.show_progress();
  }

  std::uint64_t chunk_bytes() const {
    if (dataset_.info.layout != hdf5::Layout::chunked) return 0;
    return std::min<std::uint64_t>(dataset_.info.chunk.checked_bytes(item_).value_or(SIZE_MAX), state_.memory_bytes);
  }
  std::uint64_t box_bytes() const {
    const auto workers = static_cast<std::uint64_t>(state_.readers.size());
    return std::clamp<std::uint64_t>(slab_bytes_ / (workers * 8), std::uint64_t{64} << 10, std::uint64_t{4} << 20);
  }
  std::size_t cache_bytes() const {
    const auto workers = static_cast<std::size_t>(state_.readers.size());
    return std::min(std::size_t{16} << 20, state_.memory_bytes / (workers * 8));
  }
  // What a worker may need: the chunk as stored and as decoded, and the library its own copies of both.
  std::size_t data_bytes() const {
    return (std::size_t{256} << 20) + cache_bytes() + 2 * static_cast<std::size_t>(box_bytes()) +
           4 * static_cast<std::size_t>(chunk_bytes()) +
           batch::data_bytes(dataset_, state_, (box_bytes() + chunk_bytes()) / item_);
  }

  Session::State& state_;
  const LargeDataset& dataset_;
  DType dtype_;
  std::size_t item_;
  StatisticsTree tree_;
  std::uint64_t slab_bytes_;
  Buffer buffers_[2];
  Buffer* full_ = &buffers_[0];
  Buffer* empty_ = &buffers_[1];
};

}  // namespace

Statistics summarize(Session::State& state, const LargeDataset& dataset) { return LargeSummary(state, dataset).run(); }

Statistics summarize_values(DType dtype, const std::byte* values, std::uint64_t elements) {
  StatisticsTree tree(dtype);
  for (std::uint64_t first = 0; first < elements; first += statistics_block_elements) {
    const auto count = static_cast<std::size_t>(std::min<std::uint64_t>(statistics_block_elements, elements - first));
    tree.add(summarize_block(dtype, values + first * item_bytes(dtype), count));
  }
  return tree.result();
}

Statistics summarize_small(SliceContext& context, hdf5::Dataset& dataset, const hdf5::Selection& selection) {
  const DType dtype = dataset.info().type.dtype;
  const std::uint64_t elements = selection.shape.elements();
  if (elements == 0) return summarize_values(dtype, nullptr, 0);
  std::byte* values = context.scratch(static_cast<std::size_t>(elements) * item_bytes(dtype));
  dataset.read(selection, hdf5::Box::all(selection.shape), values);
  return summarize_values(dtype, values, elements);
}

Statistics summarize_constant(DType dtype, std::span<const std::byte> element, std::uint64_t elements) {
  StatisticsTree tree(dtype);
  const std::uint64_t whole = elements / statistics_block_elements;
  const auto rest = static_cast<std::size_t>(elements % statistics_block_elements);
  std::vector<std::byte> block((whole > 0 ? statistics_block_elements : rest) * element.size());
  for (std::size_t i = 0; i < block.size(); i += element.size()) {
    std::memcpy(block.data() + i, element.data(), element.size());
  }
  if (whole > 0) tree.add_repeated(summarize_block(dtype, block.data(), statistics_block_elements), whole);
  if (rest > 0) tree.add(summarize_block(dtype, block.data(), rest));
  return tree.result();
}

}  // namespace runrig::batch
