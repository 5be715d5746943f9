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

// What this worker keeps of the plan it works on.
struct Kept {
  std::uint64_t plan = 0;
  hdf5::RepackDataset dataset;
  hdf5::Selection selection;
  std::optional<hdf5::ChunkEncoder> encoder;
  std::vector<std::byte> chunk;
  std::vector<std::ptrdiff_t> strides;  // of a whole chunk, in bytes
};

Kept& kept_for(const RepackPlan& plan) {
  static Kept* const kept = std::make_unique<Kept>().release();  // never destroyed: workers leave by _exit
  if (kept->plan == plan.place.id) return *kept;
  Kept fresh;
  fresh.dataset = decode_repack(pickle::loads(plan.dataset));
  fresh.selection = hdf5::Selection::all(fresh.dataset.shape);
  fresh.encoder.emplace(fresh.dataset.filters, fresh.dataset.item_bytes);
  const Shape& chunk = fresh.dataset.chunk;
  fresh.chunk.resize(static_cast<std::size_t>(chunk.elements()) * fresh.dataset.item_bytes);
  fresh.strides.resize(chunk.rank());
  auto stride = static_cast<std::ptrdiff_t>(fresh.dataset.item_bytes);
  for (std::size_t axis = chunk.rank(); axis-- > 0;) {
    fresh.strides[axis] = stride;
    stride *= static_cast<std::ptrdiff_t>(chunk[axis]);
  }
  fresh.plan = plan.place.id;
  *kept = std::move(fresh);
  return *kept;
}

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

}  // namespace

void repack_tile(SliceContext& context, const RepackPlan& plan, MapTile& tile) {
  const MemoryFence fence(plan.place.data_bytes);
  try {
    Kept& kept = kept_for(plan);
    const Shape& chunk = kept.dataset.chunk;
    hdf5::Dataset& source = OpenFiles::here().dataset(plan.source);
    TileWriter writer(tile, count_chunks(tile.box, chunk));
    for_each_chunk(tile.box, chunk, [&](const Shape& start) {
      context.heartbeat();
      const hdf5::Box box = part_inside(start, chunk, kept.dataset.shape);
      if (!source.is_stored(box)) return;
      if (!(box.count == chunk)) fill_chunk(kept.chunk, kept.dataset.fill);
      source.read(kept.selection, box, kept.chunk.data(), kept.strides);
      const auto encoded = kept.encoder->encode(kept.chunk);
      writer.add(start, encoded.bytes, encoded.filter_mask, 0);
    });
    RUNRIG_KILLPOINT("batch.repack.tile_done");
    // Relaxed: a number to show, nothing hangs on it.
    plan.place.bytes_done->fetch_add(tile.box.count.elements() * kept.dataset.item_bytes, std::memory_order_relaxed);
  } catch (...) {
    context.retire();
    throw;
  }
}

namespace {

// What the parent is told of a file.
void report_datasets(std::vector<pickle::Object> datasets, const std::vector<std::string>& notes,
                     const Journal& journal) {
  std::vector<pickle::Object> lines;
  for (const auto& each : notes) lines.push_back(encode_text(each));
  journal.append(pickle::Object::dict(
      {{"datasets", pickle::Object::list(std::move(datasets))}, {"notes", pickle::Object::list(std::move(lines))}}));
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
  journal.act("creating the output");
  hdf5::OutputFile output = hdf5::OutputFile::create_like(plan.file.temporary, source);
  journal.act("copying the file's structure");
  std::vector<std::string> notes;
  const auto left = hdf5::copy_file(source, output, decode_repack_options(pickle::loads(plan.options)), notes,
                                    [&context] { context.heartbeat(); });
  RUNRIG_KILLPOINT("batch.repack.created");
  hold_output(plan.file.id, std::move(output));
  std::vector<pickle::Object> datasets;
  for (const auto& each : left) datasets.push_back(encode(each));
  report_datasets(std::move(datasets), notes, journal);
}

}  // namespace runrig::batch
