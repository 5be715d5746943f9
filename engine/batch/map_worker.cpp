#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cstring>
#include <memory>
#include <new>
#include <optional>
#include <string>
#include <vector>

#include "encoding.hpp"
#include "map_plan.hpp"
#include "runrig/channel/pickle.hpp"
#include "runrig/engine/expression.hpp"
#include "runrig/hdf5/codec.hpp"
#include "runrig/hdf5/output.hpp"
#include "runrig/sync/error.hpp"
#include "runrig/sync/killpoint.hpp"
#include "runrig/sync/unique_fd.hpp"
#include "tile_queue.hpp"
#include "user_kernel.hpp"

namespace runrig::batch {
namespace {

constexpr std::size_t early_bytes = std::size_t{256} << 10;

// What this worker keeps of the plan it works on.
struct KeptResult {
  hdf5::OutputSpec spec;
  std::optional<hdf5::ChunkEncoder> encoder;
};
struct Kept {
  std::uint64_t plan = 0;
  std::vector<KeptResult> results;
  UniqueFd file;  // contiguous outputs
};

Kept& kept_for(const MapPlan& plan) {
  static Kept* const kept = std::make_unique<Kept>().release();  // never destroyed: workers leave by _exit
  if (kept->plan == plan.id) return *kept;
  Kept fresh;
  for (std::uint32_t i = 0; i < plan.result_count; ++i) {
    KeptResult& result = fresh.results.emplace_back();
    result.spec = decode_output(pickle::loads(plan.results[i].spec));
    const std::size_t item = item_bytes(result.spec.dtype);
    if (result.spec.chunk.rank() == 0) {
      result.encoder.emplace(std::vector<hdf5::FilterInfo>{}, item, hdf5::swapped_bytes(result.spec));
      if (fresh.file) continue;
      fresh.file.reset(
          check_errno(retry_on_eintr([&] { return ::open(plan.temporary, O_WRONLY | O_CLOEXEC | O_NOFOLLOW); }), "open",
                      plan.temporary));
    } else if (!result.spec.library_filters) {
      result.encoder.emplace(result.spec.filters, item, hdf5::swapped_bytes(result.spec));
    }
  }
  fresh.plan = plan.id;
  *kept = std::move(fresh);
  return *kept;
}

// Where a tile's results are computed: by programs one at a time, or all by a kernel.
struct ResultSpace {
  std::size_t result_bytes = 0;
  std::size_t program_bytes = 0;
  std::size_t kernel_bytes = 0;

  ResultSpace(const MapPlan& plan, const Kept& kept, std::size_t elements) {
    if (plan.kernel != nullptr) {
      kernel_bytes = plan.kernel->room_bytes(elements);
      return;
    }
    for (std::uint32_t i = 0; i < plan.result_count; ++i) {
      result_bytes = std::max(result_bytes, elements * item_bytes(kept.results[i].spec.dtype));
      program_bytes = std::max(program_bytes, plan.results[i].program_scratch);
    }
  }
  [[nodiscard]] std::size_t bytes() const { return padded(result_bytes) + program_bytes + kernel_bytes; }
};

std::span<const std::byte> evaluate(SliceContext& context, const MapResultPlan& plan, const hdf5::OutputSpec& spec,
                                    const VariableValues& values, const ResultSpace& space) {
  std::vector<Operand> operands;
  for (const std::uint32_t input : plan.inputs) operands.push_back(values[input]);
  context.heartbeat();
  run_program(plan.code, operands, values.extra(), values.elements(), values.extra() + padded(space.result_bytes));
  return {values.extra(), values.elements() * item_bytes(spec.dtype)};
}

// What the user's kernel makes of a box, by its outputs.
std::vector<std::byte*> evaluate_kernel(SliceContext& context, const MapPlan& plan, const VariableValues& values,
                                        MapTile& tile) {
  context.heartbeat();
  // Relaxed: the parent reads it when it has learnt of this process's end, which tells of all before.
  std::atomic_ref<std::uint32_t> in_kernel(tile.in_kernel);
  in_kernel.store(1, std::memory_order_relaxed);
  auto results = run_kernel(*plan.kernel, values.operands(), tile.box, values.extra());
  in_kernel.store(0, std::memory_order_relaxed);
  return results;
}

void encode_chunks(KeptResult& kept, std::span<const std::byte> values, const hdf5::Box& box, std::uint32_t result,
                   TileWriter& writer) {
  const std::size_t item = item_bytes(kept.spec.dtype);
  const Shape& chunk = kept.spec.chunk;
  const std::vector<std::byte> fill = kept.spec.fill.value_or(std::vector<std::byte>(item));
  std::vector<std::byte> full;
  for_each_chunk(box, chunk, [&](const Shape& start) {
    std::span<const std::byte> elements = values;
    if (!(box.count == chunk)) {
      full.resize(chunk.elements() * item);
      hdf5::extract_chunk(values, box, start, chunk, fill, full);
      elements = full;
    }
    const auto encoded = kept.encoder->encode(elements, writer.room());
    writer.add(start, encoded.bytes, encoded.filter_mask, result);
  });
}

void write_all(int fd, std::span<const std::byte> bytes, std::uint64_t offset, const char* name) {
  while (!bytes.empty()) {
    const auto written = check_errno(
        retry_on_eintr([&] { return ::pwrite(fd, bytes.data(), bytes.size(), static_cast<off_t>(offset)); }), "write",
        name);
    bytes = bytes.subspan(static_cast<std::size_t>(written));
    offset += static_cast<std::uint64_t>(written);
  }
}

// Writes a box of a contiguous dataset, run by run.
void write_runs(const MapPlan& plan, std::uint64_t offset, int file, KeptResult& kept,
                std::span<const std::byte> values, const hdf5::Box& box) {
  const Shape& shape = kept.spec.shape;
  const auto stored = kept.encoder->encode(values).bytes;  // in the byte order of the file
  std::size_t run = item_bytes(kept.spec.dtype);
  std::size_t outer = shape.rank();  // the axes before this one are walked, those behind are in one run
  while (outer > 0) {
    --outer;
    run *= static_cast<std::size_t>(box.count[outer]);
    if (box.count[outer] != shape[outer]) break;
  }
  Shape position = box.start;
  for (std::size_t done = 0; done < stored.size(); done += run) {
    std::uint64_t element = 0;
    for (std::size_t axis = 0; axis < shape.rank(); ++axis) element = element * shape[axis] + position[axis];
    const std::uint64_t at = offset + element * item_bytes(kept.spec.dtype);
    write_all(file, stored.subspan(done, run), at, plan.temporary);
    // To the disk at once, so that the sync at the end finds little to do. It says what fails.
    if (run >= early_bytes) {
      ::sync_file_range(file, static_cast<off_t>(at), static_cast<off_t>(run), SYNC_FILE_RANGE_WRITE);
    }
    for (std::size_t axis = outer; axis-- > 0;) {
      if (++position[axis] < box.start[axis] + box.count[axis]) break;
      position[axis] = box.start[axis];
    }
  }
}

// The output that this process, the writer, has open.
struct Open {
  std::uint64_t plan = 0;
  std::optional<hdf5::OutputFile> file;
};
Open& open_output() {
  static Open* const open = std::make_unique<Open>().release();  // as above
  return *open;
}
hdf5::OutputFile& opened(std::uint64_t plan) {
  Open& open = open_output();
  if (open.plan != plan || !open.file) throw OutputGone();
  return *open.file;
}

void place_tile(const MapPlan& plan, const MapTile& tile, hdf5::OutputFile& file) {
  for (std::uint32_t i = 0; i < tile.chunks; ++i) {
    ChunkEntry entry;
    std::memcpy(&entry, tile.memory + i * sizeof entry, sizeof entry);
    if (entry.offset > tile.memory_bytes || tile.memory_bytes - entry.offset < entry.bytes ||
        entry.result >= plan.result_count) {
      throw FormatError("write", plan.temporary, "a worker gave a chunk that is not there");
    }
    const std::string dataset = plan.results[entry.result].dataset;
    const std::span<const std::byte> bytes(tile.memory + entry.offset, entry.bytes);
    if (file.encodes(dataset)) {
      file.write(dataset, tile.box, bytes);
    } else {
      file.write_chunk(dataset, entry.start, entry.filter_mask, bytes);
    }
    RUNRIG_KILLPOINT("batch.map.chunk_placed");
  }
}

// Makes one dataset with what belongs to it; where its elements lie, if they lie in one place.
pickle::Object create_result(const MapResultPlan& plan, bool first, hdf5::OutputFile& file, const Journal& journal,
                             std::vector<std::string>& notes) {
  const hdf5::OutputSpec spec = decode_output(pickle::loads(plan.spec));
  const auto offset = file.create_dataset(plan.dataset, spec);
  if (plan.like_file != nullptr && first) {  // before others, whose form may hang on these
    journal.act("copying attributes of " + std::string(plan.like_file));
    file.copy_attributes(OpenFiles::here().file(plan.like_file), "/", "/", std::nullopt, notes);
  }
  for (const PlanAttribute& each : plan.attributes) file.set_attribute(plan.dataset, each.name, each.text);
  if (plan.like_file != nullptr) {
    journal.act("copying attributes of " + std::string(plan.like_dataset));
    const hdf5::File& source = OpenFiles::here().file(plan.like_file);
    file.copy_attributes(source, plan.like_dataset, plan.dataset, spec.dtype, notes);
    journal.act("copying dimension scales of " + std::string(plan.like_dataset));
    if (!spec.null_space) {
      file.copy_dimension_scales(source, plan.like_dataset, plan.like_selection, plan.dataset, notes);
    }
  }
  return offset ? pickle::Object(*offset) : pickle::Object();
}

// Makes the file with all its datasets, and keeps it open.
void begin_output(const FilePlan& plan, const Journal& journal, hdf5::OutputFile::Place place) {
  std::vector<std::string> notes;
  std::vector<pickle::Object> offsets;
  journal.act("creating the output");
  hdf5::OutputFile file = hdf5::OutputFile::create(plan.temporary, place);
  for (std::uint32_t i = 0; i < plan.pass_count; ++i) {
    for (std::uint32_t k = 0; k < plan.passes[i].result_count; ++k) {
      MapResultPlan& result = plan.passes[i].results[k];
      offsets.push_back(create_result(result, i + k == 0, file, journal, notes));
      if (!offsets.back().is_none()) result.offset = offsets.back().as_uint();
    }
  }
  hold_output(plan.id, std::move(file));
  std::vector<pickle::Object> lines;
  lines.reserve(notes.size());
  for (const auto& each : notes) lines.push_back(encode_text(each));
  journal.append(pickle::Object::dict(
      {{"offsets", pickle::Object::list(std::move(offsets))}, {"notes", pickle::Object::list(std::move(lines))}}));
}

}  // namespace

TileWriter::TileWriter(MapTile& tile, std::size_t entries) : tile_(tile), used_(entries * sizeof(ChunkEntry)) {
  if (used_ > tile.memory_bytes) throw std::logic_error("a tile's memory is too small for its entries");
  tile.chunks = 0;
}

void TileWriter::add(const Shape& start, std::span<const std::byte> bytes, std::uint32_t filter_mask,
                     std::uint32_t result) {
  if (tile_.memory_bytes - used_ < bytes.size()) {
    throw std::logic_error("a tile's memory is too small for its chunks");
  }
  if (bytes.data() != room().data()) std::memcpy(tile_.memory + used_, bytes.data(), bytes.size());
  new (tile_.memory + tile_.chunks++ * sizeof(ChunkEntry)) ChunkEntry{start, used_, bytes.size(), filter_mask, result};
  used_ += bytes.size();
}

std::size_t count_chunks(const hdf5::Box& box, const Shape& chunk) {
  std::size_t count = 1;
  for (std::size_t axis = 0; axis < chunk.rank(); ++axis) {
    count *= static_cast<std::size_t>((box.count[axis] + chunk[axis] - 1) / chunk[axis]);
  }
  return count;
}

void compute_tile(SliceContext& context, const MapPlan& plan, MapTile& tile) {
  const MemoryFence fence(plan.data_bytes);
  tile.in_kernel = 0;  // by the worker before this one, it may have been
  try {
    Kept& kept = kept_for(plan);
    const ResultSpace space(plan, kept, static_cast<std::size_t>(tile.box.count.elements()));
    // A kernel is promised packed and aligned inputs, and what kills a worker in it is told as its doing: a file that
    // is cut off while it is mapped is not.
    const auto place = plan.kernel != nullptr ? VariableValues::Place::scratch : VariableValues::Place::anywhere;
    const VariableValues variables(context, plan.variables, tile.box, space.bytes(), place);
    std::size_t entries = 0;
    for (const KeptResult& each : kept.results) {
      if (each.spec.chunk.rank() == 0) continue;
      entries += each.spec.library_filters ? 1 : count_chunks(tile.box, each.spec.chunk);
    }
    TileWriter writer(tile, entries);
    std::vector<std::byte*> made;
    if (plan.kernel != nullptr) made = evaluate_kernel(context, plan, variables, tile);
    for (std::uint32_t i = 0; i < plan.result_count; ++i) {
      KeptResult& result = kept.results[i];
      std::span<const std::byte> values;
      if (plan.kernel != nullptr) {
        values = {made[plan.results[i].kernel_output], variables.elements() * item_bytes(result.spec.dtype)};
      } else {
        values = evaluate(context, plan.results[i], result.spec, variables, space);
      }
      RUNRIG_KILLPOINT("batch.map.tile_evaluated");
      if (result.spec.chunk.rank() == 0) {
        write_runs(plan, plan.results[i].offset, kept.file.get(), result, values, tile.box);
      } else if (result.spec.library_filters) {
        writer.add(tile.box.start, values, 0, i);
      } else {
        encode_chunks(result, values, tile.box, i, writer);
      }
      // Relaxed: a number to show, nothing hangs on it.
      plan.bytes_done->fetch_add(values.size(), std::memory_order_relaxed);
    }
    RUNRIG_KILLPOINT("batch.map.tile_done");
  } catch (...) {
    context.retire();
    throw;
  }
}

void create_output(const FilePlan& plan, const Journal& journal) {
  abandon_output();
  begin_output(plan, journal, hdf5::OutputFile::Place::disk);
  OpenFiles::here().close_all();
  RUNRIG_KILLPOINT("batch.map.created");
}

void make_small_output(SliceContext& context, const void* small_output_plan, const Journal& journal) {
  static std::vector<std::byte>* const room = std::make_unique<std::vector<std::byte>>().release();  // as above
  const auto& plan = *static_cast<const SmallOutputPlan*>(small_output_plan);
  const FilePlan& file = *plan.file;
  abandon_output();
  begin_output(file, journal, hdf5::OutputFile::Place::memory);
  const auto make = [&](bool chunked) {
    for (std::uint32_t i = 0; i < file.pass_count; ++i) {
      for (std::uint32_t k = 0; k < plan.passes[i].count; ++k) {
        MapTile& tile = plan.passes[i].tiles[k];
        if ((tile.memory_bytes > 0) != chunked) continue;
        if (room->size() < tile.memory_bytes) room->resize(tile.memory_bytes);
        tile.memory = room->data();
        compute_tile(context, file.passes[i], tile);
        if (chunked) place_tile(file.passes[i], tile, opened(file.id));
      }
    }
  };
  make(true);
  opened(file.id).close(hdf5::OutputFile::Sync::by_caller);
  abandon_output();
  make(false);  // into the closed file
  for (std::uint32_t i = 0; i < file.pass_count; ++i) {
    const VariablesPlan& variables = file.passes[i].variables;
    for (std::uint32_t k = 0; k < variables.count; ++k) OpenFiles::here().finish(variables.items[k].source.file);
  }
  RUNRIG_KILLPOINT("batch.map.small_made");
}

void place_tiles(SliceContext& context, const FilePlan& file, const MapPlan& plan, TileQueue& queue) {
  hdf5::OutputFile& output = opened(file.id);
  queue.place(context, [&](const MapTile& tile) {
    context.heartbeat();
    place_tile(plan, tile, output);
  });
}

void hold_output(std::uint64_t file_id, hdf5::OutputFile output) {
  open_output().file.emplace(std::move(output));
  open_output().plan = file_id;
}

void close_output(const FilePlan& plan) {
  hdf5::OutputFile& output = opened(plan.id);
  RUNRIG_KILLPOINT("batch.map.closing");
  output.close();
  abandon_output();
}

void abandon_output() {
  open_output().file.reset();
  open_output().plan = 0;
}

}  // namespace runrig::batch
