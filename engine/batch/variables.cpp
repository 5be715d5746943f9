#include "variables.hpp"

#include <algorithm>
#include <memory>
#include <utility>

#include "runrig/engine/parallel_detail.hpp"
#include "runrig/hdf5/strided_copy.hpp"
#include "writer_calls.hpp"

namespace runrig::batch {
namespace {

using Scalars = std::vector<std::vector<std::byte>>;

// Part of an array in a segment, mapped.
struct PartOfArray {
  const std::byte* begin = nullptr;     // if it has elements
  std::vector<std::ptrdiff_t> strides;  // in bytes
  Shape count;
  std::size_t item = 0;

  PartOfArray(SliceContext& context, const MapVariable& variable, const hdf5::Box& part) : count(part.count) {
    const auto memory = runrig::detail::map_in_worker(context, variable.array.segment, Access::read_only);
    const AnyArrayRef array = bind_array(variable.array, std::span<const std::byte>(memory));
    item = item_bytes(array.dtype);
    begin = array.data;
    for (std::size_t axis = 0; axis < count.rank(); ++axis) {
      strides.push_back(static_cast<std::ptrdiff_t>(array.strides[axis]) * static_cast<std::ptrdiff_t>(item));
      const std::uint64_t origin = variable.origin.rank() > 0 ? variable.origin[axis] : 0;
      if (count.elements() > 0) begin += strides.back() * static_cast<std::ptrdiff_t>(part.start[axis] - origin);
    }
  }
  [[nodiscard]] bool is_packed() const { return hdf5::detail::is_contiguous(count, strides, item); }
};

// A part of a variable where it lies, if that is in C order: in the pages of its file, or in a segment, which stays
// mapped while this slice runs. What is one part, as all of a small file, is read faster than it is mapped.
std::shared_ptr<const std::byte> part_in_place(SliceContext& context, const MapVariable& variable,
                                               const hdf5::Box& part) {
  if (!variable.in_segment) {
    if (part.count == variable.shape()) return nullptr;
    context.heartbeat();
    return OpenFiles::here().dataset(variable.source).in_place(variable.source.selection, part);
  }
  const PartOfArray array(context, variable, part);
  if (part.count.elements() == 0 || !array.is_packed()) return nullptr;
  return {std::shared_ptr<const void>(), array.begin};
}

// Reads a part of a variable that lies in a file or in a segment, in C order.
void read_part(SliceContext& context, const MapVariable& variable, const hdf5::Box& part, std::byte* out) {
  if (!variable.in_segment) {
    OpenFiles::here().dataset(variable.source).read(variable.source.selection, part, out);
    return;
  }
  const PartOfArray array(context, variable, part);
  if (part.count.elements() == 0) return;
  hdf5::detail::StridedCopy copy;
  copy.count = part.count;
  copy.item_bytes = array.item;
  copy.from_strides = array.strides;
  copy.to_strides = hdf5::detail::contiguous_strides(part.count, array.item);
  copy.run(array.begin, out);
}

// The single elements of a plan's variables, which this worker keeps while it is at the plan.
const Scalars& scalars_of(SliceContext& context, const VariablesPlan& plan) {
  struct Kept {
    std::uint64_t plan = 0;
    Scalars scalars;
  };
  static Kept* const kept = std::make_unique<Kept>().release();  // never destroyed: workers leave by _exit
  if (kept->plan == plan.id) return kept->scalars;
  Scalars fresh(plan.count);
  for (std::uint32_t i = 0; i < plan.count; ++i) {
    const MapVariable& variable = plan.items[i];
    if (!variable.scalar() || variable.memory != nullptr) continue;
    fresh[i].resize(item_bytes(variable.dtype));
    read_part(context, variable, hdf5::Box::all(variable.shape()), fresh[i].data());
  }
  kept->plan = plan.id;
  kept->scalars = std::move(fresh);
  return kept->scalars;
}

}  // namespace

std::size_t told_bytes(std::span<const OutputVariable* const> variables) {
  std::size_t bytes = 16;
  for (const OutputVariable* each : variables) {
    bytes += sizeof(MapVariable) + each->file.size() + each->dataset.size() + 16;
  }
  return bytes;
}

VariablesPlan add_variables(ArenaWriter& memory, const Session::State& state,
                            std::span<const OutputVariable* const> variables) {
  VariablesPlan plan;
  auto* const items = memory.add<MapVariable>(variables.size());
  const auto workers = static_cast<std::size_t>(state.readers.size());
  plan.id = next_plan_id();
  plan.items = items;
  plan.count = static_cast<std::uint32_t>(variables.size());
  for (std::size_t i = 0; i < variables.size(); ++i) {
    const OutputVariable& each = *variables[i];
    items[i].dtype = each.dtype;
    items[i].memory = each.memory;
    items[i].in_segment = each.array.has_value() || each.produce;
    if (each.array) items[i].array = *each.array;
    Source& source = items[i].source;
    source.file = memory.add(each.file);
    source.dataset = memory.add(each.dataset);
    source.selection = each.selection;
    source.max_chunk_bytes = state.memory_bytes;
    source.cache_bytes = std::min(std::size_t{16} << 20, state.memory_bytes / (workers * variables.size() * 8));
    source.force_library = state.options.force_library;
    source.conventions = state.options.conventions;
    plan.data_bytes += source.cache_bytes + 4 * static_cast<std::size_t>(each.chunk_bytes);
  }
  return plan;
}

hdf5::Box broadcast_box(const Shape& variable, const hdf5::Box& box) {
  hdf5::Box part;
  const std::size_t missing = box.count.rank() - variable.rank();
  for (std::size_t axis = 0; axis < variable.rank(); ++axis) {
    const bool repeated = variable[axis] == 1;
    part.start.push_back(repeated ? 0 : box.start[missing + axis]);
    part.count.push_back(repeated ? 1 : box.count[missing + axis]);
  }
  return part;
}

VariableValues::VariableValues(SliceContext& context, const VariablesPlan& plan, const hdf5::Box& box,
                               std::size_t extra_bytes, Place place)
    : elements_(static_cast<std::size_t>(box.count.elements())), axes_(plan.count), lying_(plan.count) {
  const Scalars& scalars = scalars_of(context, plan);
  std::vector<hdf5::Box> parts;
  std::size_t total = padded(extra_bytes) + 63;
  // Once a worker has died over elements that another program may be changing, reading is to say what is wrong.
  const bool may_lie = place == Place::anywhere && context.attempt() == 1;
  const auto is_read = [](const MapVariable& each) { return each.memory == nullptr && !each.scalar(); };
  for (std::uint32_t i = 0; i < plan.count; ++i) {
    const MapVariable& variable = plan.items[i];
    parts.push_back(variable.scalar() ? hdf5::Box{} : broadcast_box(variable.shape(), box));
    if (!is_read(variable)) continue;
    if (may_lie) lying_[i] = part_in_place(context, variable, parts.back());
    if (!lying_[i]) total += padded(parts.back().count.elements() * item_bytes(variable.dtype));
  }
  std::byte* memory = context.scratch(total);
  memory += (64 - reinterpret_cast<std::uintptr_t>(memory) % 64) % 64;
  const auto take = [&memory](std::size_t bytes) { return std::exchange(memory, memory + padded(bytes)); };
  extra_ = take(extra_bytes);
  for (std::uint32_t i = 0; i < plan.count; ++i) {
    const MapVariable& variable = plan.items[i];
    const std::size_t item = item_bytes(variable.dtype);
    Operand operand;
    if (variable.scalar()) {
      operand.data = variable.memory != nullptr ? variable.memory : scalars[i].data();
      operand.scalar = true;
      operands_.push_back(operand);
    } else if (variable.memory != nullptr) {
      add_array(variable, parts[i], box, variable.memory, hdf5::detail::contiguous_strides(variable.shape(), item));
    } else {
      const std::byte* values = lying_[i].get();
      if (values == nullptr) {
        std::byte* const room = take(static_cast<std::size_t>(parts[i].count.elements()) * item);
        context.heartbeat();
        read_part(context, variable, parts[i], room);
        values = room;
      }
      // They begin at the part's first element.
      const hdf5::Box whole = hdf5::Box::all(parts[i].count);
      add_array(variable, whole, box, values, hdf5::detail::contiguous_strides(parts[i].count, item));
    }
  }
}

// `part` of an array that begins at `data`, walked as the axes of `box` are.
void VariableValues::add_array(const MapVariable& variable, const hdf5::Box& part, const hdf5::Box& box,
                               const std::byte* data, std::span<const std::ptrdiff_t> strides) {
  Operand operand;
  operand.data = data;
  std::vector<OperandAxis>& axes = axes_[operands_.size()];
  const std::size_t missing = box.count.rank() - part.count.rank();
  auto next = static_cast<std::ptrdiff_t>(item_bytes(variable.dtype));
  bool as_it_lies = true;
  for (std::size_t axis = box.count.rank(); axis-- > 0;) {
    const bool own = axis >= missing && part.count[axis - missing] > 1;
    const std::ptrdiff_t step = own ? strides[axis - missing] : 0;
    if (axis >= missing)
      operand.data += strides[axis - missing] * static_cast<std::ptrdiff_t>(part.start[axis - missing]);
    if (box.count[axis] == 1) continue;
    as_it_lies = as_it_lies && step == next;
    next *= static_cast<std::ptrdiff_t>(box.count[axis]);
    axes.push_back({box.count[axis], step});
  }
  if (as_it_lies) {
    axes.clear();
  } else {
    std::reverse(axes.begin(), axes.end());
    operand.axes = axes;
  }
  operands_.push_back(operand);
}

}  // namespace runrig::batch
