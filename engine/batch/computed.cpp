#include "computed.hpp"

#include <algorithm>
#include <cstring>

#include "runrig/hdf5/strided_copy.hpp"
#include "slabs.hpp"

namespace runrig::batch {
namespace {

std::vector<const OutputVariable*> pointers_to(const std::vector<OutputVariable>& variables) {
  std::vector<const OutputVariable*> pointers;
  pointers.reserve(variables.size());
  for (const OutputVariable& each : variables) pointers.push_back(&each);
  return pointers;
}

void compute(SliceContext& context, const ComputedPlan& plan, const hdf5::Box& box, std::byte* target,
             std::span<const std::ptrdiff_t> strides) {
  const std::size_t item = item_bytes(plan.dtype);
  const std::size_t result_bytes = padded(static_cast<std::size_t>(box.count.elements()) * item);
  const VariableValues values(context, plan.variables, box, result_bytes + plan.program_scratch);
  std::vector<Operand> operands;
  for (std::uint32_t i = 0; i < plan.variables.count; ++i) operands.push_back(values[i]);
  context.heartbeat();
  run_program(plan.code, operands, values.extra(), values.elements(), values.extra() + result_bytes);
  hdf5::detail::StridedCopy copy;
  copy.count = box.count;
  copy.from_strides = hdf5::detail::contiguous_strides(box.count, item);
  copy.to_strides.assign(strides.begin(), strides.end());
  copy.item_bytes = item;
  copy.run(values.extra(), target);
}

}  // namespace

void SlabSource::read(SliceContext& context, const hdf5::Box& box, std::byte* target,
                      std::span<const std::ptrdiff_t> strides) const {
  std::ptrdiff_t offset = 0;
  for (std::size_t axis = 0; axis < strides.size(); ++axis) {
    offset += strides[axis] * static_cast<std::ptrdiff_t>(box.start[axis]);
  }
  if (computed == nullptr) {
    OpenFiles::here().dataset(source).read(source.selection, box, target + offset, strides);
    return;
  }
  hdf5::Box whole = box;
  for (std::size_t axis = 0; axis < start.rank(); ++axis) whole.start[axis] += start[axis];
  compute(context, *computed, whole, target + offset, strides);
}

std::size_t told_bytes(const LargeDataset& dataset) {
  std::size_t bytes = sizeof(SlabSource) + dataset.file.size() + dataset.dataset.size() + 64;
  if (dataset.computed == nullptr) return bytes;
  const Computed& computed = *dataset.computed;
  return bytes + sizeof(ComputedPlan) + told_bytes(pointers_to(computed.variables)) + computed.program->code().size() +
         64;
}

SlabSource* add_slab_source(ArenaWriter& memory, const Session::State& state, const LargeDataset& dataset,
                            const hdf5::Box& slab, std::size_t cache_bytes) {
  auto* const result = memory.add<SlabSource>(1);
  if (dataset.computed == nullptr) {
    result->source.file = memory.add(dataset.file);
    result->source.dataset = memory.add(dataset.dataset);
    result->source.selection = part_of(dataset.selection, slab);
    result->source.max_chunk_bytes = state.memory_bytes;
    result->source.cache_bytes = cache_bytes;
    result->source.force_library = state.options.force_library;
    result->source.conventions = state.options.conventions;
    return result;
  }
  const Computed& computed = *dataset.computed;
  result->start = slab.start;
  auto* const plan = memory.add<ComputedPlan>(1);
  plan->variables = add_variables(memory, state, pointers_to(computed.variables));
  const std::span<const std::byte> code = computed.program->code();
  std::byte* const copy = memory.take(code.size(), 8);
  std::memcpy(copy, code.data(), code.size());
  plan->code = {copy, code.size()};
  plan->program_scratch = computed.program->scratch_bytes();
  plan->dtype = computed.program->result();
  result->computed = plan;
  return result;
}

std::size_t data_bytes(const LargeDataset& dataset, const Session::State& state, std::uint64_t box_elements) {
  if (dataset.computed == nullptr) return 0;
  std::size_t bytes = std::min<std::size_t>(std::size_t{16} << 20, state.memory_bytes / 8);  // of all caches
  for (const OutputVariable& each : dataset.computed->variables) {
    bytes += 4 * static_cast<std::size_t>(each.chunk_bytes) + 2 * static_cast<std::size_t>(box_elements) * 16;
  }
  return bytes + 2 * static_cast<std::size_t>(box_elements) * 16;
}

}  // namespace runrig::batch
