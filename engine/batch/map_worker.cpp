#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <memory>
#include <new>
#include <optional>
#include <vector>

#include "encoding.hpp"
#include "map_plan.hpp"
#include "runrig/channel/pickle.hpp"
#include "runrig/engine/expression.hpp"
#include "runrig/engine/parallel_detail.hpp"
#include "runrig/hdf5/codec.hpp"
#include "runrig/hdf5/output.hpp"
#include "runrig/sync/error.hpp"
#include "runrig/sync/killpoint.hpp"
#include "runrig/sync/unique_fd.hpp"

namespace runrig::batch {
namespace {

constexpr std::size_t lane = 64;  // alignment of arrays in scratch memory

std::size_t padded(std::size_t bytes) { return (bytes + lane - 1) / lane * lane; }

// Copies a box of an array in shared memory, row by row of its last axis.
void copy_box(const AnyArrayRef& array, const hdf5::Box& box, std::byte* out) {
  const std::size_t item = item_bytes(array.dtype);
  const std::size_t rank = box.count.rank();
  if (box.count.checked_elements() == 0) return;
  Shape position = box.start;
  const std::uint64_t row = rank > 0 ? box.count[rank - 1] : 1;
  const std::int64_t step = rank > 0 ? array.strides[rank - 1] : 1;
  for (;;) {
    std::int64_t element = 0;
    for (std::size_t axis = 0; axis < rank; ++axis)
      element += static_cast<std::int64_t>(position[axis]) * array.strides[axis];
    const std::byte* from = array.data + element * static_cast<std::int64_t>(item);
    if (step == 1) {
      std::memcpy(out, from, row * item);
      out += row * item;
    } else {
      for (std::uint64_t i = 0; i < row; ++i, out += item, from += step * static_cast<std::int64_t>(item))
        std::memcpy(out, from, item);
    }
    std::size_t axis = rank > 0 ? rank - 1 : 0;
    for (;;) {
      if (axis == 0) return;
      --axis;
      if (++position[axis] < box.start[axis] + box.count[axis]) break;
      position[axis] = box.start[axis];
    }
  }
}

void read_variable(SliceContext& context, const MapVariable& variable, const hdf5::Box& box, std::byte* out) {
  if (variable.in_memory) {
    const auto memory = runrig::detail::map_in_worker(context, variable.array.segment, Access::read_only);
    copy_box(bind_array(variable.array, std::span<const std::byte>(memory)), box, out);
  } else {
    OpenFiles::here().dataset(variable.source).read(variable.source.selection, box, out);
  }
}

// What this worker keeps of the plan it works on.
struct Kept {
  std::uint64_t plan = 0;
  hdf5::OutputSpec spec;
  std::optional<hdf5::ChunkEncoder> encoder;
  std::vector<std::vector<std::byte>> scalars;  // by variable
  UniqueFd file;                                // contiguous output
};

Kept& kept_for(SliceContext& context, const MapPlan& plan) {
  static Kept* const kept = std::make_unique<Kept>().release();  // never destroyed: workers leave by _exit
  if (kept->plan == plan.id) return *kept;
  Kept fresh;
  fresh.spec = decode_output(pickle::loads(plan.spec));
  const std::size_t item = item_bytes(fresh.spec.dtype);
  if (fresh.spec.chunk.rank() == 0) {
    fresh.encoder.emplace(std::vector<hdf5::FilterInfo>{}, item, fresh.spec.big_endian);
    fresh.file.reset(
        check_errno(retry_on_eintr([&] { return ::open(plan.temporary, O_WRONLY | O_CLOEXEC | O_NOFOLLOW); }), "open",
                    plan.temporary));
  } else if (!fresh.spec.library_filters) {
    fresh.encoder.emplace(fresh.spec.filters, item, fresh.spec.big_endian);
  }
  fresh.scalars.resize(plan.variable_count);
  for (std::uint32_t i = 0; i < plan.variable_count; ++i) {
    const MapVariable& variable = plan.variables[i];
    if (!variable.scalar) continue;
    fresh.scalars[i].resize(item_bytes(variable.dtype));
    if (variable.in_memory) {
      read_variable(context, variable, hdf5::Box{}, fresh.scalars[i].data());
      continue;
    }
    OpenFiles::here()
        .dataset(variable.source)
        .read(variable.source.selection, hdf5::Box::all(variable.source.selection.shape), fresh.scalars[i].data());
  }
  fresh.plan = plan.id;
  *kept = std::move(fresh);
  return *kept;
}

// Reads the variables and evaluates the expression on one box. The result lies in the worker's scratch memory.
std::byte* evaluate(SliceContext& context, const MapPlan& plan, const Kept& kept, const hdf5::Box& box) {
  const auto elements = static_cast<std::size_t>(box.count.elements());
  std::size_t total = padded(elements * item_bytes(kept.spec.dtype)) + padded(plan.program_scratch);
  for (std::uint32_t i = 0; i < plan.variable_count; ++i) {
    if (!plan.variables[i].scalar) total += padded(elements * item_bytes(plan.variables[i].dtype));
  }
  std::byte* memory = context.scratch(total);
  const auto take = [&memory](std::size_t bytes) { return std::exchange(memory, memory + padded(bytes)); };
  std::byte* result = take(elements * item_bytes(kept.spec.dtype));
  std::byte* program_scratch = take(plan.program_scratch);
  std::vector<Operand> operands(plan.variable_count);
  for (std::uint32_t i = 0; i < plan.variable_count; ++i) {
    const MapVariable& variable = plan.variables[i];
    if (variable.scalar) {
      operands[i] = {kept.scalars[i].data(), true};
      continue;
    }
    std::byte* values = take(elements * item_bytes(variable.dtype));
    context.heartbeat();
    read_variable(context, variable, box, values);
    operands[i] = {values, false};
  }
  context.heartbeat();
  run_program(plan.code, operands, result, elements, program_scratch);
  return result;
}

// Calls `visit(start)` for the first coordinates of each chunk that begins in `box`, in C order.
template <class Visit>
void for_each_chunk(const hdf5::Box& box, const Shape& chunk, Visit&& visit) {
  Shape start = box.start;
  for (;;) {
    visit(std::as_const(start));
    std::size_t axis = chunk.rank();
    for (;;) {
      if (axis == 0) return;
      --axis;
      start[axis] += chunk[axis];
      if (start[axis] < box.start[axis] + box.count[axis]) break;
      start[axis] = box.start[axis];
    }
  }
}

void encode_chunks(Kept& kept, std::span<const std::byte> values, MapTile& tile) {
  const std::size_t item = item_bytes(kept.spec.dtype);
  const Shape& chunk = kept.spec.chunk;
  const std::vector<std::byte> fill = kept.spec.fill.value_or(std::vector<std::byte>(item));
  std::uint32_t count = 0;
  for_each_chunk(tile.box, chunk, [&](const Shape&) { ++count; });
  std::size_t used = count * sizeof(ChunkEntry);
  std::vector<std::byte> full;
  std::uint32_t index = 0;
  for_each_chunk(tile.box, chunk, [&](const Shape& start) {
    std::span<const std::byte> elements = values;
    if (!(tile.box.count == chunk)) {
      full.resize(chunk.elements() * item);
      hdf5::extract_chunk(values, tile.box, start, chunk, fill, full);
      elements = full;
    }
    const auto encoded = kept.encoder->encode(elements);
    if (used > tile.memory_bytes || tile.memory_bytes - used < encoded.bytes.size()) {
      throw std::logic_error("a tile's memory is too small for its chunks");
    }
    std::memcpy(tile.memory + used, encoded.bytes.data(), encoded.bytes.size());
    new (tile.memory + index * sizeof(ChunkEntry)) ChunkEntry{start, used, encoded.bytes.size(), encoded.filter_mask};
    used += encoded.bytes.size();
    ++index;
  });
  tile.chunks = count;
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
void write_runs(const MapPlan& plan, Kept& kept, std::span<const std::byte> values, const hdf5::Box& box) {
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
    write_all(kept.file.get(), stored.subspan(done, run), plan.offset + element * item_bytes(kept.spec.dtype),
              plan.temporary);
    for (std::size_t axis = outer; axis-- > 0;) {
      if (++position[axis] < box.start[axis] + box.count[axis]) break;
      position[axis] = box.start[axis];
    }
  }
}

// The output that this process, the writer, has open.
struct Open {
  std::uint64_t plan = 0;
  hdf5::OutputSpec spec;
  std::optional<hdf5::OutputFile> file;
};
Open& open_output() {
  static Open* const open = std::make_unique<Open>().release();  // as above
  return *open;
}

void place_tile(const MapPlan& plan, const MapTile& tile, Open& open) {
  if (open.spec.library_filters) {
    const auto bytes = tile.box.count.checked_bytes(item_bytes(open.spec.dtype)).value();
    open.file->write(plan.dataset, tile.box, {tile.memory, bytes});
    return;
  }
  for (std::uint32_t i = 0; i < tile.chunks; ++i) {
    ChunkEntry entry;
    std::memcpy(&entry, tile.memory + i * sizeof entry, sizeof entry);
    if (entry.offset > tile.memory_bytes || tile.memory_bytes - entry.offset < entry.bytes) {
      throw FormatError("write", plan.dataset, "a worker gave a chunk that is not there");
    }
    open.file->write_chunk(plan.dataset, entry.start, entry.filter_mask, {tile.memory + entry.offset, entry.bytes});
    RUNRIG_KILLPOINT("batch.map.chunk_placed");
  }
}

}  // namespace

void compute_tile(SliceContext& context, const MapPlan& plan, MapTile& tile) {
  const MemoryFence fence(plan.data_bytes);
  try {
    Kept& kept = kept_for(context, plan);
    const std::byte* result = evaluate(context, plan, kept, tile.box);
    const std::span values(result, static_cast<std::size_t>(tile.box.count.elements()) * item_bytes(kept.spec.dtype));
    RUNRIG_KILLPOINT("batch.map.tile_evaluated");
    if (kept.spec.chunk.rank() == 0) {
      write_runs(plan, kept, values, tile.box);
    } else if (kept.spec.library_filters) {
      std::memcpy(tile.memory, values.data(), values.size());
    } else {
      encode_chunks(kept, values, tile);
    }
    RUNRIG_KILLPOINT("batch.map.tile_done");
    // Relaxed: a number to show, nothing hangs on it.
    plan.bytes_done->fetch_add(values.size(), std::memory_order_relaxed);
  } catch (...) {
    context.retire();
    throw;
  }
}

void create_output(const MapPlan& plan, const Journal& journal) {
  Open& open = open_output();
  open.file.reset();
  open.spec = decode_output(pickle::loads(plan.spec));
  std::vector<std::string> notes;
  journal.act("creating the output");
  hdf5::OutputFile file = hdf5::OutputFile::create(plan.temporary);
  const auto offset = file.create_dataset(plan.dataset, open.spec);
  if (plan.like_file != nullptr) {
    journal.act("copying attributes of " + std::string(plan.like_dataset));
    const hdf5::File& source = OpenFiles::here().file(plan.like_file);
    file.copy_attributes(source, "/", "/", std::nullopt, notes);
    file.copy_attributes(source, plan.like_dataset, plan.dataset, open.spec.dtype, notes);
    journal.act("copying dimension scales of " + std::string(plan.like_dataset));
    if (!open.spec.null_space)
      file.copy_dimension_scales(source, plan.like_dataset, plan.like_selection, plan.dataset, notes);
    OpenFiles::here().close_all();
  }
  RUNRIG_KILLPOINT("batch.map.created");
  if (offset) {
    file.close();
  } else {
    open.file.emplace(std::move(file));
  }
  open.plan = plan.id;
  std::vector<pickle::Object> lines;
  for (const auto& each : notes) lines.push_back(encode_text(each));
  journal.append(pickle::Object::dict({{"offset", offset ? pickle::Object(*offset) : pickle::Object()},
                                       {"notes", pickle::Object::list(std::move(lines))}}));
}

void place_tiles(SliceContext& context, const MapPlan& plan, const MapTile* tiles, std::uint32_t count) {
  Open& open = open_output();
  if (open.plan != plan.id || !open.file) throw OutputGone();
  for (std::uint32_t i = 0; i < count; ++i) {
    context.heartbeat();
    place_tile(plan, tiles[i], open);
  }
}

void close_output(const MapPlan& plan) {
  Open& open = open_output();
  if (open.plan != plan.id || !open.file) throw OutputGone();
  RUNRIG_KILLPOINT("batch.map.closing");
  open.file->close();
  open.file.reset();
  open.plan = 0;
}

void abandon_output() {
  open_output().file.reset();
  open_output().plan = 0;
}

}  // namespace runrig::batch
