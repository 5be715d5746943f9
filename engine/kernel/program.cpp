#if defined(__SSE2__)
#include <emmintrin.h>
#endif

#include <algorithm>
#include <array>
#include <cassert>
#include <cstdint>
#include <cstring>
#include <stdexcept>

#include "loops.hpp"
#include "program_builder.hpp"
#include "runrig/engine/expression.hpp"
#include "runrig/shm/shape.hpp"

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

/// Copies items of one size, `step` bytes apart.
void copy_items(std::byte* to, const std::byte* from, std::int64_t step, std::size_t item_bytes, std::size_t count) {
  const auto copy = [&]<class T>(T item) {
    for (std::size_t i = 0; i < count; ++i, from += step) {
      std::memcpy(&item, from, sizeof item);
      std::memcpy(to + i * sizeof item, &item, sizeof item);
    }
  };
  if (step == static_cast<std::int64_t>(item_bytes)) {
    std::memcpy(to, from, count * item_bytes);
    return;
  }
  switch (item_bytes) {
    case 1:
      return copy(std::uint8_t{});
    case 2:
      return copy(std::uint16_t{});
    case 4:
      return copy(std::uint32_t{});
    case 16:
      return copy(detail::ElementBits{});
    default:
      return copy(std::uint64_t{});
  }
}

/// `count` elements of a strided operand, from the one `begin` behind its first.
void gather(std::byte* to, const Operand& from, std::size_t item_bytes, std::uint64_t begin, std::size_t count) {
  std::array<std::uint64_t, max_rank> at{};
  std::int64_t offset = 0;
  std::uint64_t rest = from.first + begin;
  for (std::size_t axis = from.axes.size(); axis-- > 0;) {
    at[axis] = rest % from.axes[axis].extent;
    rest /= from.axes[axis].extent;
    offset += static_cast<std::int64_t>(at[axis]) * from.axes[axis].stride_bytes;
  }
  const std::size_t last = from.axes.size() - 1;
  while (count > 0) {
    const auto run = static_cast<std::size_t>(std::min<std::uint64_t>(count, from.axes[last].extent - at[last]));
    copy_items(to, from.data + offset, from.axes[last].stride_bytes, item_bytes, run);
    to += run * item_bytes;
    count -= run;
    at[last] += run;
    offset += static_cast<std::int64_t>(run) * from.axes[last].stride_bytes;
    for (std::size_t axis = last; axis > 0 && at[axis] == from.axes[axis].extent; --axis) {
      offset -= static_cast<std::int64_t>(from.axes[axis].extent) * from.axes[axis].stride_bytes;
      at[axis] = 0;
      ++at[axis - 1];
      offset += from.axes[axis - 1].stride_bytes;
    }
  }
}

constexpr std::size_t line_bytes = 64;

/// Past the caches, by lines of 64 bytes, which leave the processor whole; `to` is at the start of one.
void stream(std::byte* to, const std::byte* from, std::size_t bytes) {
#if defined(__SSE2__)
  for (std::size_t done = 0; done < bytes; done += line_bytes) {
    const auto* const source = reinterpret_cast<const __m128i*>(from + done);
    auto* const target = reinterpret_cast<__m128i*>(to + done);
    const __m128i a = _mm_load_si128(source);
    const __m128i b = _mm_load_si128(source + 1);
    const __m128i c = _mm_load_si128(source + 2);
    const __m128i d = _mm_load_si128(source + 3);
    _mm_stream_si128(target, a);
    _mm_stream_si128(target + 1, b);
    _mm_stream_si128(target + 2, c);
    _mm_stream_si128(target + 3, d);
  }
#else
  std::memcpy(to, from, bytes);
#endif
}
/// Whoever sees later stores of this thread sees its streamed ones, too.
void finish_streaming() {
#if defined(__SSE2__)
  _mm_sfence();
#endif
}

/// Asks for the inputs of the next block while this one is computed, as much before each tile as it is long: processors
/// follow arrays by themselves, but not while instructions work on what is in the cache already.
class LookAhead {
 public:
  void add(const std::byte* data, std::size_t bytes, std::size_t tile_bytes) {
    if (bytes != 0 && count_ < ranges_.size()) ranges_[count_++] = {data, data, data + bytes, tile_bytes};
  }
  void step() {
    for (std::size_t i = 0; i < count_; ++i) {
      Range& range = ranges_[i];
      range.to = std::min(range.to + range.tile_bytes, range.end);
      for (; range.next < range.to; range.next += line_bytes) __builtin_prefetch(range.next);
    }
  }

 private:
  struct Range {
    const std::byte* next;
    const std::byte* to;
    const std::byte* end;
    std::size_t tile_bytes;
  };
  std::array<Range, 8> ranges_;  // more streams than that are too many for the processor as well
  std::size_t count_ = 0;
};

/// One run: where the registers lie, kept up to date from block to block.
class Run {
 public:
  Run(std::span<const std::byte> code, std::span<const Operand> inputs, std::byte* out, std::byte* scratch,
      Storing storing)
      : head_(read_head(code)), layout_(head_), inputs_(inputs), out_(out) {
    // Lines that are streamed in parts would cost more than they save.
    streamed_ = storing == Storing::streamed && reinterpret_cast<std::uintptr_t>(out) % line_bytes == 0;
    const auto address = reinterpret_cast<std::uintptr_t>(scratch);
    scratch_ = scratch + (ScratchLayout::alignment - address % ScratchLayout::alignment) % ScratchLayout::alignment;
    registers_ = reinterpret_cast<Register*>(scratch_);
    steps_ = reinterpret_cast<Step*>(scratch_ + layout_.steps);
    moves_ = reinterpret_cast<Move*>(scratch_ + layout_.moves);
    constants_ = code.data() + sizeof(ProgramHead);
    const std::byte* const behind = constants_ + head_.constants * sizeof(detail::Constant);
    instructions_ = {reinterpret_cast<const Instruction*>(behind), head_.instructions};
    item_bytes_ = reinterpret_cast<const std::uint8_t*>(behind + head_.instructions * sizeof(Instruction));
  }

  void prepare() {
    if (inputs_.size() != head_.inputs) throw std::logic_error("run_program: not as many inputs as the program has");
    for (std::size_t i = 0; i < inputs_.size(); ++i) {
      registers_[i] = {input_buffer(i), inputs_[i].scalar ? 0 : tile_elements() * item_bytes_[i]};
      if (inputs_[i].scalar) repeat_item(registers_[i].data, inputs_[i].data, item_bytes_[i], tile_elements());
    }
    for (std::size_t i = 0; i < head_.constants; ++i) {
      detail::Constant constant;
      std::memcpy(&constant, constants_ + i * sizeof constant, sizeof constant);
      std::byte* const to = scratch_ + layout_.constant_buffers + i * layout_.tile_pitch;
      repeat_item(to, reinterpret_cast<const std::byte*>(&constant.bits), static_cast<std::size_t>(constant.bytes),
                  tile_elements());
      registers_[inputs_.size() + i] = {to, 0};
    }
    Register* const temporaries = registers_ + inputs_.size() + head_.constants;
    for (std::size_t i = 0; i < head_.temporaries; ++i) {
      temporaries[i] = {scratch_ + layout_.temporaries + i * layout_.tile_pitch, 0};
    }
    result_ = temporaries + head_.temporaries;
    for (std::size_t i = 0; i < instructions_.size(); ++i) {
      const Instruction& each = instructions_[i];
      const bool check = each.op == detail::Op::require_natural;
      steps_[i].loop = check ? nullptr : loop_of(loops_, each.op, each.lane);
      if (each.result == result_ - registers_ && !check) {
        result_step_ = &steps_[i];
        result_loops_ = {steps_[i].loop, loops_.streamed_at(each.op, each.lane)};
      }
    }
  }

  /// `behind`: how many elements follow.
  void whole_block(std::size_t first, std::size_t behind) {
    LookAhead ahead;
    for (std::size_t i = 0; i < inputs_.size(); ++i) {
      const Operand& input = inputs_[i];
      if (input.scalar) continue;
      if (!input.axes.empty()) {
        gather(input_buffer(i), input, item_bytes_[i], first, block_elements);
        continue;
      }
      // The loops only read it; the table has one type for all registers.
      registers_[i].data = const_cast<std::byte*>(input.data + first * item_bytes_[i]);
      ahead.add(registers_[i].data + block_elements * item_bytes_[i], std::min(behind, block_elements) * item_bytes_[i],
                tile_elements() * item_bytes_[i]);
    }
    std::byte* const out = out_ + first * head_.result_bytes;
    const std::size_t tile_bytes = tile_elements() * head_.result_bytes;
    // Past the caches by the last instruction itself, or from a buffer if it has no such loop.
    const bool copied = streamed_ && result_loops_[1] == nullptr;
    *result_ = copied ? Register{scratch_ + layout_.result_buffer, 0} : Register{out, tile_bytes};
    result_step_->loop = result_loops_[streamed_ && !copied ? 1 : 0];
    begin_block();
    for (std::size_t tile = 0; tile * tile_elements() < block_elements; ++tile) {
      ahead.step();
      run_tile(tile_elements());
      if (copied) stream(out + tile * tile_bytes, result_->data, tile_bytes);
    }
  }

  /// Through buffers that whole packets fit in. What fills the last one up is zero, so that no old bits of the
  /// scratch memory make it slow.
  void last_block(std::size_t first, std::size_t elements) {
    const std::size_t padded = whole_packets(elements) * packet_elements;
    for (std::size_t i = 0; i < inputs_.size(); ++i) {
      const Operand& input = inputs_[i];
      if (input.scalar) continue;
      const std::size_t bytes = elements * item_bytes_[i];
      registers_[i].data = input_buffer(i);
      if (input.axes.empty()) {
        std::memcpy(registers_[i].data, input.data + first * item_bytes_[i], bytes);
      } else {
        gather(registers_[i].data, input, item_bytes_[i], first, elements);
      }
      std::memset(registers_[i].data + bytes, 0, padded * item_bytes_[i] - bytes);
    }
    *result_ = {scratch_ + layout_.result_buffer, tile_elements() * head_.result_bytes};
    result_step_->loop = result_loops_[0];
    begin_block();
    for (std::size_t done = 0; done < elements; done += tile_elements()) {
      run_tile(std::min(tile_elements(), elements - done));
    }
    std::memcpy(out_ + first * head_.result_bytes, result_->data, elements * head_.result_bytes);
  }

 private:
  using Register = detail::Register;
  using Step = detail::Step;
  using Move = detail::Move;

  static ProgramHead read_head(std::span<const std::byte> code) {
    ProgramHead head;
    assert(code.size() >= sizeof head);
    std::memcpy(&head, code.data(), sizeof head);
    assert(head.magic == ProgramHead{}.magic);
    return head;
  }

  [[nodiscard]] std::byte* input_buffer(std::size_t index) const noexcept {
    return scratch_ + layout_.input_buffers + index * layout_.pitch;
  }

  [[nodiscard]] std::size_t tile_elements() const noexcept { return head_.tile_packets * packet_elements; }

  void begin_block() {
    move_count_ = 0;
    for (std::size_t i = 0; i < instructions_.size(); ++i) {
      const Instruction& each = instructions_[i];
      place(steps_[i].result, registers_[each.result]);
      for (std::size_t k = 0; k < each.argument_count; ++k) {
        place(steps_[i].arguments[k], registers_[each.arguments[k]]);
      }
    }
  }
  void place(std::byte*& operand, const Register& at) {
    operand = at.data;
    if (at.advance != 0) moves_[move_count_++] = {&operand, at.advance};
  }

  void run_tile(std::size_t elements) {
    const std::size_t packets = whole_packets(elements);
    for (std::size_t i = 0; i < instructions_.size(); ++i) {
      const Step& step = steps_[i];
      if (step.loop == nullptr) {
        require_natural(instructions_[i].lane, step.arguments[0], elements);
      } else {
        step.loop(step.result, step.arguments.data(), packets);
      }
    }
    for (std::size_t i = 0; i < move_count_; ++i) *moves_[i].operand += moves_[i].bytes;
  }

  const detail::LoopTable& loops_ = detail::best_loops();
  ProgramHead head_;
  ScratchLayout layout_;
  std::span<const Operand> inputs_;
  std::byte* out_;
  bool streamed_ = false;
  std::byte* scratch_ = nullptr;
  Register* registers_ = nullptr;
  Register* result_ = nullptr;
  Step* steps_ = nullptr;
  Move* moves_ = nullptr;
  std::size_t move_count_ = 0;
  Step* result_step_ = nullptr;
  std::array<detail::Loop, 2> result_loops_{};  // through the cache, and past it
  const std::byte* constants_ = nullptr;
  std::span<const Instruction> instructions_;
  const std::uint8_t* item_bytes_ = nullptr;
};

}  // namespace

void run_program(std::span<const std::byte> code, std::span<const Operand> inputs, std::byte* out, std::size_t elements,
                 std::byte* scratch, Storing storing) {
  Run run(code, inputs, out, scratch, storing);
  run.prepare();
  std::size_t first = 0;
  for (; elements - first >= block_elements; first += block_elements) {
    run.whole_block(first, elements - first - block_elements);
  }
  if (first < elements) run.last_block(first, elements - first);
  if (storing == Storing::streamed) finish_streaming();
}

}  // namespace runrig
