#include <algorithm>
#include <memory>
#include <optional>
#include <vector>

#include "encoding.hpp"
#include "repack_plan.hpp"
#include "runrig/channel/pickle.hpp"
#include "runrig/hdf5/codec.hpp"
#include "runrig/hdf5/repack.hpp"
#include "runrig/sync/killpoint.hpp"

namespace runrig::batch {
namespace {

// The part of the chunk that begins at `start` and lies inside the shape.
hdf5::Box part_inside(const Shape& start, const Shape& chunk, const Shape& shape) {
  hdf5::Box box{start, chunk};
  for (std::size_t axis = 0; axis < shape.rank(); ++axis) {
    box.count[axis] = std::min(chunk[axis], shape[axis] - start[axis]);
  }
  return box;
}

void fill_chunk(std::vector<std::byte>& chunk, const std::vector<std::byte>& fill) {
  std::copy(fill.begin(), fill.end(), chunk.begin());
  // What is filled, doubled, until all is.
  for (std::size_t done = fill.size(); done < chunk.size(); done *= 2) {
    std::copy_n(chunk.begin(), std::min(done, chunk.size() - done), chunk.begin() + static_cast<std::ptrdiff_t>(done));
  }
}

/// Encodes the chunks of one dataset anew.
class Recoder {
 public:
  explicit Recoder(hdf5::RepackDataset dataset)
      : dataset_(std::move(dataset)),
        selection_(hdf5::Selection::all(dataset_.shape)),
        encoder_(dataset_.filters, dataset_.item_bytes),
        chunk_(static_cast<std::size_t>(dataset_.chunk.elements()) * dataset_.item_bytes),
        strides_(dataset_.chunk.rank()) {
    auto stride = static_cast<std::ptrdiff_t>(dataset_.item_bytes);
    for (std::size_t axis = dataset_.chunk.rank(); axis-- > 0;) {
      strides_[axis] = stride;
      stride *= static_cast<std::ptrdiff_t>(dataset_.chunk[axis]);
    }
  }

  [[nodiscard]] const hdf5::RepackDataset& dataset() const { return dataset_; }

  /// Calls `place(start, encoded)` for the chunks of `box`, but for those that were never written. `room()` is where it
  /// would like to have what is encoded next.
  template <class Room, class Place>
  void recode(SliceContext& context, hdf5::Dataset& source, const hdf5::Box& box, const Room& room,
              const Place& place) {
    for_each_chunk(box, dataset_.chunk, [&](const Shape& start) {
      context.heartbeat();
      const hdf5::Box inside = part_inside(start, dataset_.chunk, dataset_.shape);
      if (!source.is_stored(inside)) return;
      if (!(inside.count == dataset_.chunk)) fill_chunk(chunk_, dataset_.fill);
      source.read(selection_, inside, chunk_.data(), strides_);
      place(start, encoder_.encode(chunk_, room()));
    });
  }

 private:
  hdf5::RepackDataset dataset_;
  hdf5::Selection selection_;
  hdf5::ChunkEncoder encoder_;
  std::vector<std::byte> chunk_;
  std::vector<std::ptrdiff_t> strides_;  // of a whole chunk, in bytes
};

// What this worker keeps of the plan it works on.
Recoder& recoder_for(const RepackPlan& plan) {
  struct Kept {
    std::uint64_t plan = 0;
    std::optional<Recoder> recoder;
  };
  static Kept* const kept = std::make_unique<Kept>().release();  // never destroyed: workers leave by _exit
  if (kept->plan == plan.place.id) return *kept->recoder;
  kept->plan = 0;
  kept->recoder.emplace(decode_repack(pickle::loads(plan.dataset)));
  kept->plan = plan.place.id;
  return *kept->recoder;
}

}  // namespace

void repack_tile(SliceContext& context, const RepackPlan& plan, MapTile& tile) {
  const MemoryFence fence(plan.place.data_bytes);
  try {
    Recoder& recoder = recoder_for(plan);
    TileWriter writer(tile, count_chunks(tile.box, recoder.dataset().chunk));
    recoder.recode(
        context, OpenFiles::here().dataset(plan.source), tile.box, [&] { return writer.room(); },
        [&](const Shape& start, const auto& encoded) { writer.add(start, encoded.bytes, encoded.filter_mask, 0); });
    RUNRIG_KILLPOINT("batch.repack.tile_done");
    // Relaxed: a number to show, nothing hangs on it.
    plan.place.bytes_done->fetch_add(tile.box.count.elements() * recoder.dataset().item_bytes,
                                     std::memory_order_relaxed);
  } catch (...) {
    context.retire();
    throw;
  }
}

namespace {

std::vector<pickle::Object> encode_notes(const std::vector<std::string>& notes) {
  std::vector<pickle::Object> lines;
  lines.reserve(notes.size());
  for (const auto& each : notes) lines.push_back(encode_text(each));
  return lines;
}

// What the parent is told of a file.
void report_datasets(std::vector<pickle::Object> datasets, const std::vector<std::string>& notes,
                     const Journal& journal) {
  journal.append(pickle::Object::dict(
      {{"datasets", pickle::Object::list(std::move(datasets))}, {"notes", pickle::Object::list(encode_notes(notes))}}));
}

// Makes the file with all but the datasets that are returned.
std::vector<hdf5::RepackDataset> copy_structure(SliceContext& context, const RepackFilePlan& plan,
                                                const hdf5::File& source, std::optional<hdf5::OutputFile>& output,
                                                std::vector<std::string>& notes, const Journal& journal,
                                                hdf5::OutputFile::Place place) {
  journal.act("creating the output");
  output.emplace(hdf5::OutputFile::create_like(plan.file.temporary, source, place));
  journal.act("copying the file's structure");
  auto left = hdf5::copy_file(source, *output, decode_repack_options(pickle::loads(plan.options)), notes,
                              [&context] { context.heartbeat(); });
  RUNRIG_KILLPOINT("batch.repack.created");
  return left;
}

// What one worker would have to get through; UINT64_MAX for more than that.
std::uint64_t bytes_to_recode(const std::vector<hdf5::RepackDataset>& datasets) {
  std::uint64_t total = 0;
  for (const auto& each : datasets) {
    for (const Shape* shape : {&each.shape, &each.chunk, &each.source_chunk}) {
      const auto bytes = shape->checked_bytes(each.item_bytes);
      if (!bytes || __builtin_add_overflow(total, *bytes, &total)) return UINT64_MAX;
    }
  }
  return total;
}

// Of a small file; the number of bytes that this took.
std::uint64_t recode_here(SliceContext& context, const RepackFilePlan& plan, const hdf5::File& source,
                          hdf5::RepackDataset dataset, hdf5::OutputFile& output) {
  hdf5::ReadOptions options;
  options.as_stored = true;
  options.max_chunk_bytes = plan.max_chunk_bytes;
  options.cache_bytes = static_cast<std::size_t>(plan.small_bytes);
  hdf5::Dataset from = hdf5::Dataset::open(source, dataset.path, options);
  Recoder recoder(std::move(dataset));
  const auto all = hdf5::Box::all(recoder.dataset().shape);
  const auto anywhere = [] { return std::span<std::byte>(); };
  recoder.recode(context, from, all, anywhere, [&](const Shape& start, const auto& encoded) {
    output.write_chunk(recoder.dataset().path, start, encoded.filter_mask, encoded.bytes);
  });
  return recoder.dataset().shape.elements() * recoder.dataset().item_bytes;
}

}  // namespace

void plan_repacked(SliceContext& context, const RepackFilePlan& plan, const Journal& journal) {
  journal.act("opening the file");
  const hdf5::File source = hdf5::File::open(plan.source);
  journal.act("copying the file's structure");  // as far as it goes: messages are those of the work
  std::vector<std::string> notes;
  std::vector<pickle::Object> datasets;
  for (const auto& each : hdf5::plan_copy(source, decode_repack_options(pickle::loads(plan.options)), notes,
                                          [&context] { context.heartbeat(); })) {
    std::vector<pickle::Object> filters;
    for (const auto& filter : each.filters) filters.push_back(encode_text(filter.name));
    datasets.push_back(pickle::Object::dict({{"path", encode_text(each.path)},
                                             {"dtype", encode_text(each.dtype)},
                                             {"shape", encode(each.shape)},
                                             {"bytes", each.bytes},
                                             {"chunk", encode(each.chunk)},
                                             {"filters", pickle::Object::list(std::move(filters))}}));
  }
  report_datasets(std::move(datasets), notes, journal);
}

void create_repacked(SliceContext& context, const RepackFilePlan& plan, const Journal& journal) {
  abandon_output();
  journal.act("opening the file");
  const hdf5::File source = hdf5::File::open(plan.source);
  std::optional<hdf5::OutputFile> output;
  std::vector<std::string> notes;
  const auto left = copy_structure(context, plan, source, output, notes, journal, hdf5::OutputFile::Place::disk);
  hold_output(plan.file.id, std::move(*output));
  std::vector<pickle::Object> datasets;
  datasets.reserve(left.size());
  for (const auto& each : left) datasets.push_back(encode(each));
  report_datasets(std::move(datasets), notes, journal);
}

void make_small_repacked(SliceContext& context, const void* repack_file_plan, const Journal& journal) {
  const auto& plan = *static_cast<const RepackFilePlan*>(repack_file_plan);
  const MemoryFence fence((std::size_t{256} << 20) + 8 * static_cast<std::size_t>(plan.small_bytes));
  abandon_output();
  const hdf5::File source = hdf5::File::open(plan.source);
  std::optional<hdf5::OutputFile> output;
  std::vector<std::string> notes;
  auto left = copy_structure(context, plan, source, output, notes, journal, hdf5::OutputFile::Place::memory);
  if (bytes_to_recode(left) > plan.small_bytes) return;  // for all workers
  std::uint64_t bytes = 0;
  for (auto& each : left) bytes += recode_here(context, plan, source, std::move(each), *output);
  output->close(hdf5::OutputFile::Sync::by_caller);
  // Relaxed: a number to show, nothing hangs on it.
  plan.bytes_done->fetch_add(bytes, std::memory_order_relaxed);
  journal.append(
      pickle::Object::dict({{"notes", pickle::Object::list(encode_notes(notes))}, {"bytes", pickle::Object(bytes)}}));
  RUNRIG_KILLPOINT("batch.repack.small_made");
}

}  // namespace runrig::batch
