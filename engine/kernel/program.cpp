#include <algorithm>
#include <cassert>
#include <cstdint>
#include <cstring>
#include <stdexcept>

#include "loops.hpp"
#include "program_builder.hpp"
#include "runrig/engine/expression.hpp"

namespace runrig {
namespace {

using detail::block_elements;
using detail::Instruction;
using detail::packet_elements;
using detail::ProgramHead;
using detail::ScratchLayout;

constexpr std::size_t whole_packets(std::size_t elements) noexcept {
  return (elements + packet_elements - 1) / packet_elements;
}

void repeat_item(std::byte* to, const std::byte* item, std::size_t item_bytes, std::size_t count) {
  for (std::size_t i = 0; i < count; ++i) std::memcpy(to + i * item_bytes, item, item_bytes);
}

template <class T>
bool any_negative(const std::byte* data, std::size_t elements) {
  const auto* const numbers = reinterpret_cast<const T*>(data);
  return std::any_of(numbers, numbers + elements, [](T each) { return each < 0; });
}

/// Only of elements that were asked for: what fills up the last packet may have any value.
void require_natural(detail::Lane lane, const std::byte* data, std::size_t elements) {
  bool negative = false;
  switch (lane) {
    case detail::Lane::i8:
      negative = any_negative<std::int8_t>(data, elements);
      break;
    case detail::Lane::i16:
      negative = any_negative<std::int16_t>(data, elements);
      break;
    case detail::Lane::i32:
      negative = any_negative<std::int32_t>(data, elements);
      break;
    default:
      negative = any_negative<std::int64_t>(data, elements);
      break;
  }
  if (negative) {
    throw Error(std::errc::argument_out_of_domain,
                "raise integers to a negative integer power (convert to floats first, as in a * 1.0)", "**");
  }
}

/// One run: the registers' addresses, kept up to date from block to block.
class Run {
 public:
  Run(std::span<const std::byte> code, std::span<const Operand> inputs, std::byte* out, std::byte* scratch)
      : loops_(detail::best_loops()), head_(read_head(code)), layout_(head_), inputs_(inputs), out_(out) {
    const auto address = reinterpret_cast<std::uintptr_t>(scratch);
    scratch_ = scratch + (ScratchLayout::alignment - address % ScratchLayout::alignment) % ScratchLayout::alignment;
    registers_ = reinterpret_cast<std::byte**>(scratch_ + layout_.pointers);
    constants_ = code.data() + sizeof(ProgramHead);
    const std::byte* const behind = constants_ + head_.constants * sizeof(detail::Constant);
    instructions_ = {reinterpret_cast<const Instruction*>(behind), head_.instructions};
    item_bytes_ = reinterpret_cast<const std::uint8_t*>(behind + head_.instructions * sizeof(Instruction));
  }

  void prepare(std::size_t elements) {
    if (inputs_.size() != head_.inputs) throw std::logic_error("run_program: not as many inputs as the program has");
    const std::size_t filled = std::min(whole_packets(elements) * packet_elements, block_elements);
    for (std::size_t i = 0; i < inputs_.size(); ++i) {
      registers_[i] = input_buffer(i);
      if (inputs_[i].scalar) repeat_item(registers_[i], inputs_[i].data, item_bytes_[i], filled);
    }
    for (std::size_t i = 0; i < head_.constants; ++i) {
      detail::Constant constant;
      std::memcpy(&constant, constants_ + i * sizeof constant, sizeof constant);
      std::byte* const to = scratch_ + layout_.constant_buffers + i * ScratchLayout::buffer_bytes(8);
      repeat_item(to, reinterpret_cast<const std::byte*>(&constant.bits), static_cast<std::size_t>(constant.bytes),
                  filled);
      registers_[inputs_.size() + i] = to;
    }
    std::byte** const temporaries = registers_ + inputs_.size() + head_.constants;
    for (std::size_t i = 0; i < head_.temporaries; ++i) {
      temporaries[i] = scratch_ + layout_.temporaries + i * ScratchLayout::buffer_bytes(head_.temporary_bytes);
    }
    result_ = temporaries + head_.temporaries;
  }

  void whole_block(std::size_t first) {
    for (std::size_t i = 0; i < inputs_.size(); ++i) {
      // The loops only read it; the table has one type for all registers.
      if (!inputs_[i].scalar) registers_[i] = const_cast<std::byte*>(inputs_[i].data + first * item_bytes_[i]);
    }
    *result_ = out_ + first * head_.result_bytes;
    execute(block_elements);
  }

  /// Through buffers that whole packets fit in. What fills the last one up is zero, so that no old bits of the
  /// scratch memory make it slow.
  void last_block(std::size_t first, std::size_t elements) {
    const std::size_t padded = whole_packets(elements) * packet_elements;
    for (std::size_t i = 0; i < inputs_.size(); ++i) {
      if (inputs_[i].scalar) continue;
      const std::size_t bytes = elements * item_bytes_[i];
      registers_[i] = input_buffer(i);
      std::memcpy(registers_[i], inputs_[i].data + first * item_bytes_[i], bytes);
      std::memset(registers_[i] + bytes, 0, padded * item_bytes_[i] - bytes);
    }
    *result_ = scratch_ + layout_.result_buffer;
    execute(elements);
    std::memcpy(out_ + first * head_.result_bytes, *result_, elements * head_.result_bytes);
  }

 private:
  static ProgramHead read_head(std::span<const std::byte> code) {
    ProgramHead head;
    assert(code.size() >= sizeof head);
    std::memcpy(&head, code.data(), sizeof head);
    assert(head.magic == ProgramHead{}.magic);
    return head;
  }

  [[nodiscard]] std::byte* input_buffer(std::size_t index) const noexcept {
    return scratch_ + layout_.input_buffers + index * ScratchLayout::buffer_bytes(8);
  }

  void execute(std::size_t elements) {
    const std::size_t packets = whole_packets(elements);
    for (const Instruction& each : instructions_) {
      const std::byte* const arguments[3]{registers_[each.arguments[0]], registers_[each.arguments[1]],
                                          registers_[each.arguments[2]]};
      if (each.op == detail::Op::require_natural) {
        require_natural(each.lane, arguments[0], elements);
      } else {
        loops_.at(each.op, each.lane)(registers_[each.result], arguments, packets);
      }
    }
  }

  const detail::LoopTable& loops_;
  ProgramHead head_;
  ScratchLayout layout_;
  std::span<const Operand> inputs_;
  std::byte* out_;
  std::byte* scratch_ = nullptr;
  std::byte** registers_ = nullptr;
  std::byte** result_ = nullptr;
  const std::byte* constants_ = nullptr;
  std::span<const Instruction> instructions_;
  const std::uint8_t* item_bytes_ = nullptr;
};

}  // namespace

void run_program(std::span<const std::byte> code, std::span<const Operand> inputs, std::byte* out, std::size_t elements,
                 std::byte* scratch) {
  Run run(code, inputs, out, scratch);
  run.prepare(elements);
  std::size_t first = 0;
  for (; elements - first >= block_elements; first += block_elements) run.whole_block(first);
  if (first < elements) run.last_block(first, elements - first);
}

}  // namespace runrig
