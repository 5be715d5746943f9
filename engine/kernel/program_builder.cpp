#include "program_builder.hpp"

#include <algorithm>
#include <cassert>
#include <cstring>
#include <limits>
#include <optional>

#include "loops.hpp"

namespace runrig::detail {

struct ProgramBuilder::Registers {
  std::vector<std::uint16_t> of_value;
  std::vector<ElementBits> constants;
  std::vector<std::uint8_t> constant_bytes;
  std::size_t temporaries = 0;
  std::size_t temporary_bytes = 1;
};

ProgramBuilder::ProgramBuilder(std::span<const DType> inputs) : inputs_(inputs.begin(), inputs.end()) {
  for (std::size_t i = 0; i < inputs.size(); ++i) {
    // As it lies in memory; float16 is two bytes there.
    const Lane lane = inputs[i] == DType::float16 ? Lane::u16 : lane_of(inputs[i]);
    add({.kind = Kind::input, .lane = lane, .result = lane, .bits = {{i, 0}}});
  }
}

ValueId ProgramBuilder::add(const Value& value) {
  const Key key{value.kind, value.op, value.lane, value.result, value.arguments, value.bits};
  const auto [found, is_new] = known_.try_emplace(key, static_cast<ValueId>(values_.size()));
  if (is_new) values_.push_back(value);
  return found->second;
}

ValueId ProgramBuilder::input(std::size_t index) {
  const auto memory = static_cast<ValueId>(index);
  if (inputs_[index] == DType::boolean) return emit(Op::load_boolean, Lane::u8, Lane::u8, {memory});
  if (inputs_[index] == DType::float16) return emit(Op::load_half, Lane::f32, Lane::f32, {memory});
  return memory;
}

ValueId ProgramBuilder::constant(Lane lane, const ElementBits& bits) {
  return add({.kind = Kind::constant, .lane = lane, .result = lane, .bits = bits});
}

bool ProgramBuilder::all_constant(std::span<const ValueId> arguments) const {
  return std::all_of(arguments.begin(), arguments.end(),
                     [&](ValueId each) { return values_[each].kind == Kind::constant; });
}

/// The instruction itself does it, so the bits are those that it would give later.
ElementBits ProgramBuilder::fold(const Value& value) const {
  std::array<std::array<ElementBits, packet_elements>, max_arguments + 1> buffers{};
  std::array<const std::byte*, max_arguments> arguments{};
  for (std::size_t i = 0; i < value.count; ++i) {
    const Value& argument = values_[value.arguments[i]];
    const std::size_t bytes = lane_bytes(argument.result);
    auto* const to = reinterpret_cast<std::byte*>(buffers[i].data());
    for (std::size_t j = 0; j < packet_elements; ++j) std::memcpy(to + j * bytes, &argument.bits, bytes);
    arguments[i] = to;
  }
  auto* const result = reinterpret_cast<std::byte*>(buffers[max_arguments].data());
  loop_of(best_loops(), value.op, value.lane)(result, arguments.data(), 1);
  ElementBits bits;
  std::memcpy(&bits, result, lane_bytes(value.result));
  return bits;
}

ValueId ProgramBuilder::emit(Op op, Lane lane, Lane result, std::span<const ValueId> arguments) {
  assert(op == Op::require_natural || loop_of(best_loops(), op, lane) != nullptr);
  Value value{.op = op, .lane = lane, .result = result, .count = static_cast<std::uint32_t>(arguments.size())};
  std::copy(arguments.begin(), arguments.end(), value.arguments.begin());
  if (all_constant(arguments)) return constant(result, fold(value));
  return add(value);
}

void ProgramBuilder::require_natural(Lane lane, ValueId value) {
  if (lane != Lane::i8 && lane != Lane::i16 && lane != Lane::i32 && lane != Lane::i64) return;
  Value check{.op = Op::require_natural, .lane = lane, .result = lane, .count = 1};
  check.arguments[0] = value;
  const ValueId id = add(check);
  if (std::find(checks_.begin(), checks_.end(), id) == checks_.end()) checks_.push_back(id);
}

/// Later values use earlier ones only, so one pass from the end finds all that are needed.
void ProgramBuilder::mark_needed(ValueId result) {
  needed_.assign(values_.size(), false);
  needed_[result] = true;
  for (const ValueId check : checks_) needed_[check] = true;
  for (std::size_t id = values_.size(); id-- > 0;) {
    if (!needed_[id]) continue;
    for (std::size_t i = 0; i < values_[id].count; ++i) needed_[values_[id].arguments[i]] = true;
  }
}

void ProgramBuilder::assign_registers(ValueId result, Registers& registers) const {
  registers.of_value.resize(values_.size());
  std::vector<std::size_t> last_use(values_.size(), 0);
  for (std::size_t id = 0; id < values_.size(); ++id) {
    if (!needed_[id]) continue;
    for (std::size_t i = 0; i < values_[id].count; ++i) last_use[values_[id].arguments[i]] = id;
    if (values_[id].kind == Kind::constant) {
      registers.of_value[id] = static_cast<std::uint16_t>(inputs_.size() + registers.constants.size());
      registers.constants.push_back(values_[id].bits);
      registers.constant_bytes.push_back(static_cast<std::uint8_t>(lane_bytes(values_[id].result)));
    } else if (values_[id].kind == Kind::input) {
      registers.of_value[id] = static_cast<std::uint16_t>(values_[id].bits.words[0]);
    }
  }
  const std::size_t first = inputs_.size() + registers.constants.size();
  std::vector<std::uint16_t> free;
  for (std::size_t id = 0; id < values_.size(); ++id) {
    const Value& value = values_[id];
    if (!needed_[id] || value.kind != Kind::computed) continue;
    if (id != result && value.op != Op::require_natural) {
      if (free.empty()) free.push_back(static_cast<std::uint16_t>(first + registers.temporaries++));
      registers.of_value[id] = free.back();
      free.pop_back();
      registers.temporary_bytes = std::max(registers.temporary_bytes, lane_bytes(value.result));
    }
    // Freed only now: lanes may differ in width, so a result never lies in its own argument.
    for (std::size_t i = 0; i < value.count; ++i) {
      const ValueId argument = value.arguments[i];
      if (last_use[argument] != id || values_[argument].kind != Kind::computed) continue;
      last_use[argument] = values_.size();  // once, even if it is used twice here
      free.push_back(registers.of_value[argument]);
    }
  }
  registers.of_value[result] = static_cast<std::uint16_t>(first + registers.temporaries);
}

ProgramBuilder::Finished ProgramBuilder::encode(std::size_t result_bytes, const Registers& registers) const {
  std::vector<Instruction> instructions;
  for (std::size_t id = 0; id < values_.size(); ++id) {
    const Value& value = values_[id];
    if (!needed_[id] || value.kind != Kind::computed) continue;
    Instruction instruction{.op = value.op, .lane = value.lane, .result = registers.of_value[id]};
    for (std::size_t i = 0; i < value.count; ++i) {
      instruction.arguments[i] = registers.of_value[value.arguments[i]];
    }
    instruction.argument_count = static_cast<std::uint16_t>(value.count);
    instructions.push_back(instruction);
  }
  // The limits of a text keep all numbers far below 65536.
  assert(instructions.size() <= std::numeric_limits<std::uint16_t>::max());
  ProgramHead head;
  head.inputs = static_cast<std::uint16_t>(inputs_.size());
  head.constants = static_cast<std::uint16_t>(registers.constants.size());
  head.temporaries = static_cast<std::uint16_t>(registers.temporaries);
  head.instructions = static_cast<std::uint16_t>(instructions.size());
  head.result_bytes = static_cast<std::uint8_t>(result_bytes);
  std::size_t widest = std::max(result_bytes, registers.temporary_bytes);
  for (const DType each : inputs_) widest = std::max(widest, item_bytes(each));
  for (const std::size_t each : registers.constant_bytes) widest = std::max(widest, each);
  head.widest_bytes = static_cast<std::uint8_t>(widest);
  constexpr std::size_t block_packets = block_elements / packet_elements;
  // A single instruction need not take turns with others.
  const std::size_t tile_packets =
      instructions.size() == 1 ? block_packets
                               : std::clamp(tile_bytes / (widest * packet_elements), std::size_t{1}, block_packets);
  head.tile_packets = static_cast<std::uint8_t>(tile_packets);

  const std::size_t constants_bytes = registers.constants.size() * sizeof(Constant);
  const std::size_t instructions_bytes = instructions.size() * sizeof(Instruction);
  const std::size_t total = sizeof head + constants_bytes + instructions_bytes + inputs_.size();
  Finished finished;
  finished.code.resize((total + 7) / 8);
  auto* to = reinterpret_cast<std::byte*>(finished.code.data());
  std::memcpy(to, &head, sizeof head);
  to += sizeof head;
  for (std::size_t i = 0; i < registers.constants.size(); ++i, to += sizeof(Constant)) {
    const Constant constant{registers.constants[i], registers.constant_bytes[i]};
    std::memcpy(to, &constant, sizeof constant);
  }
  if (instructions_bytes != 0) std::memcpy(to, instructions.data(), instructions_bytes);
  to += instructions_bytes;
  for (const DType input : inputs_) *to++ = static_cast<std::byte>(item_bytes(input));
  finished.scratch_bytes = ScratchLayout(head).total;
  return finished;
}

ProgramBuilder::Finished ProgramBuilder::finish(ValueId result, DType dtype) {
  if (dtype == DType::float16) result = emit(Op::store_half, Lane::f32, Lane::u16, {result});
  if (values_[result].kind != Kind::computed) {
    // Only an instruction writes the result. Not by emit(), which would fold the copy of a constant again.
    const Lane lane = values_[result].result;
    Value copy{.op = Op::copy, .lane = lane, .result = lane, .count = 1};
    copy.arguments[0] = result;
    result = add(copy);
  }
  mark_needed(result);
  fuse();
  Registers registers;
  assign_registers(result, registers);
  return encode(item_bytes(dtype), registers);
}

ScratchLayout::ScratchLayout(const ProgramHead& head) noexcept {
  const auto aligned = [](std::size_t bytes) { return (bytes + alignment - 1) / alignment * alignment; };
  const std::size_t all_registers = std::size_t{head.inputs} + head.constants + head.temporaries + 1;
  steps = aligned(all_registers * sizeof(Register));
  moves = steps + aligned(head.instructions * sizeof(Step));
  input_buffers = moves + aligned((1 + max_arguments) * head.instructions * sizeof(Move));
  pitch = buffer_bytes(block_elements, head.widest_bytes);
  tile_pitch = buffer_bytes(head.tile_packets * packet_elements, head.widest_bytes);
  constant_buffers = input_buffers + head.inputs * pitch;
  temporaries = constant_buffers + head.constants * tile_pitch;
  result_buffer = temporaries + head.temporaries * tile_pitch;
  total = result_buffer + pitch + alignment - 1;
}

}  // namespace runrig::detail
