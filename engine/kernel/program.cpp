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

/// Past the caches. By lines of 64 bytes, which leave the processor whole; what is before the first and behind the last
/// of them is written as usual.
void stream(std::byte* to, const std::byte* from, std::size_t bytes) {
#if defined(__SSE2__)
  const std::size_t head =
      std::min(bytes, (line_bytes - reinterpret_cast<std::uintptr_t>(to) % line_bytes) % line_bytes);
  std::memcpy(to, from, head);
  std::size_t done = head;
  for (; done + line_bytes <= bytes; done += line_bytes) {
    const auto* const source = reinterpret_cast<const __m128i*>(from + done);
    auto* const target = reinterpret_cast<__m128i*>(to + done);
    const __m128i a = _mm_loadu_si128(source);
    const __m128i b = _mm_loadu_si128(source + 1);
    const __m128i c = _mm_loadu_si128(source + 2);
    const __m128i d = _mm_loadu_si128(source + 3);
    _mm_stream_si128(target, a);
    _mm_stream_si128(target + 1, b);
    _mm_stream_si128(target + 2, c);
    _mm_stream_si128(target + 3, d);
  }
  std::memcpy(to + done, from + done, bytes - done);
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

/// Asks for the inputs of the next block, some lines before each instruction of this one: processors follow arrays by
/// themselves, but not while instructions work on what is in the cache already.
class LookAhead {
 public:
  void add(const std::byte* data, std::size_t bytes) {
    if (count_ < ranges_.size()) ranges_[count_++] = {data, bytes};
    total_ += (bytes + line_bytes - 1) / line_bytes;
  }
  [[nodiscard]] std::size_t lines() const noexcept { return total_; }
  void step(std::size_t lines) {
    for (; lines > 0 && at_ < count_; --lines) {
      __builtin_prefetch(ranges_[at_].data + done_);
      done_ += line_bytes;
      if (done_ < ranges_[at_].bytes) continue;
      done_ = 0;
      ++at_;
    }
  }

 private:
  struct Range {
    const std::byte* data;
    std::size_t bytes;
  };
  std::array<Range, 8> ranges_{};  // more streams than that are too many for the processor as well
  std::size_t count_ = 0;
  std::size_t total_ = 0;
  std::size_t at_ = 0;
  std::size_t done_ = 0;
};

/// One run: the registers' addresses, kept up to date from block to block.
class Run {
 public:
  Run(std::span<const std::byte> code, std::span<const Operand> inputs, std::byte* out, std::byte* scratch,
      Storing storing)
      : loops_(detail::best_loops()),
        head_(read_head(code)),
        layout_(head_),
        inputs_(inputs),
        out_(out),
        storing_(storing) {
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
      std::byte* const to = scratch_ + layout_.constant_buffers + i * layout_.pitch;
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
      registers_[i] = const_cast<std::byte*>(input.data + first * item_bytes_[i]);
      ahead.add(registers_[i] + block_elements * item_bytes_[i], std::min(behind, block_elements) * item_bytes_[i]);
    }
    std::byte* const out = out_ + first * head_.result_bytes;
    *result_ = storing_ == Storing::streamed ? scratch_ + layout_.result_buffer : out;
    execute(block_elements, ahead);
    if (storing_ == Storing::streamed) stream(out, *result_, block_elements * head_.result_bytes);
  }

  /// Through buffers that whole packets fit in. What fills the last one up is zero, so that no old bits of the
  /// scratch memory make it slow.
  void last_block(std::size_t first, std::size_t elements) {
    const std::size_t padded = whole_packets(elements) * packet_elements;
    for (std::size_t i = 0; i < inputs_.size(); ++i) {
      const Operand& input = inputs_[i];
      if (input.scalar) continue;
      const std::size_t bytes = elements * item_bytes_[i];
      registers_[i] = input_buffer(i);
      if (input.axes.empty()) {
        std::memcpy(registers_[i], input.data + first * item_bytes_[i], bytes);
      } else {
        gather(registers_[i], input, item_bytes_[i], first, elements);
      }
      std::memset(registers_[i] + bytes, 0, padded * item_bytes_[i] - bytes);
    }
    *result_ = scratch_ + layout_.result_buffer;
    LookAhead nothing;
    execute(elements, nothing);
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
    return scratch_ + layout_.input_buffers + index * layout_.pitch;
  }

  void execute(std::size_t elements, LookAhead& ahead) {
    const std::size_t packets = whole_packets(elements);
    const std::size_t lines = ahead.lines() / instructions_.size() + 1;
    for (const Instruction& each : instructions_) {
      ahead.step(lines);
      const std::byte* const arguments[3]{registers_[each.arguments[0]], registers_[each.arguments[1]],
                                          registers_[each.arguments[2]]};
      if (each.op == detail::Op::require_natural) {
        require_natural(each.lane, arguments[0], elements);
      } else {
        loop_of(loops_, each.op, each.lane)(registers_[each.result], arguments, packets);
      }
    }
  }

  const detail::LoopTable& loops_;
  ProgramHead head_;
  ScratchLayout layout_;
  std::span<const Operand> inputs_;
  std::byte* out_;
  Storing storing_;
  std::byte* scratch_ = nullptr;
  std::byte** registers_ = nullptr;
  std::byte** result_ = nullptr;
  const std::byte* constants_ = nullptr;
  std::span<const Instruction> instructions_;
  const std::uint8_t* item_bytes_ = nullptr;
};

}  // namespace

void run_program(std::span<const std::byte> code, std::span<const Operand> inputs, std::byte* out, std::size_t elements,
                 std::byte* scratch, Storing storing) {
  Run run(code, inputs, out, scratch, storing);
  run.prepare(elements);
  std::size_t first = 0;
  for (; elements - first >= block_elements; first += block_elements) {
    run.whole_block(first, elements - first - block_elements);
  }
  if (first < elements) run.last_block(first, elements - first);
  if (storing == Storing::streamed) finish_streaming();
}

}  // namespace runrig
