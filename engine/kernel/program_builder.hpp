#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <map>
#include <span>
#include <tuple>
#include <vector>

#include "loops.hpp"
#include "program_format.hpp"
#include "runrig/shm/dtype.hpp"

namespace runrig::detail {

/// A value that a program computes for each element, by number.
using ValueId = std::uint32_t;

/// Collects instructions, each giving a new value; the same instruction on the same values gives the same value, and
/// instructions on constants alone are run at once. finish() keeps what the result needs and assigns registers.
class ProgramBuilder {
 public:
  explicit ProgramBuilder(std::span<const DType> inputs);

  /// The input as computed with: booleans 0 or 1, float16 as float32.
  [[nodiscard]] ValueId input(std::size_t index);
  /// `bits` of the lane in the lowest bytes of the number.
  [[nodiscard]] ValueId constant(Lane lane, std::uint64_t bits) { return constant(lane, ElementBits{{bits, 0}}); }
  [[nodiscard]] ValueId constant(Lane lane, const ElementBits& bits);
  /// `lane` as in Instruction; `result` is that of the new value.
  ValueId emit(Op op, Lane lane, Lane result, std::span<const ValueId> arguments);
  ValueId emit(Op op, Lane lane, Lane result, std::initializer_list<ValueId> arguments) {
    return emit(op, lane, result, std::span(arguments.begin(), arguments.size()));
  }
  /// Will throw when the program is run if an element of `value` is negative.
  void require_natural(Lane lane, ValueId value);

  struct Finished {
    std::vector<std::uint64_t> code;
    std::size_t scratch_bytes = 0;
  };
  /// The program that computes `result` as elements of `dtype`, whose lane is the value's.
  [[nodiscard]] Finished finish(ValueId result, DType dtype);

 private:
  enum class Kind : std::uint8_t { input, constant, computed };
  struct Value {
    Kind kind = Kind::computed;
    Op op = Op::copy;
    Lane lane = Lane::u8;    // of the arguments
    Lane result = Lane::u8;  // of the value itself
    std::uint32_t count = 0;
    std::array<ValueId, max_arguments> arguments{};
    ElementBits bits{};  // of a constant; the number of an input
  };
  using Key = std::tuple<Kind, Op, Lane, Lane, std::array<ValueId, max_arguments>, ElementBits>;

  ValueId add(const Value& value);
  [[nodiscard]] bool all_constant(std::span<const ValueId> arguments) const;
  [[nodiscard]] ElementBits fold(const Value& value) const;
  void mark_needed(ValueId result);
  class Fuser;
  void fuse();
  struct Registers;
  void assign_registers(ValueId result, Registers& registers) const;
  [[nodiscard]] Finished encode(std::size_t result_bytes, const Registers& registers) const;

  std::vector<DType> inputs_;
  std::vector<Value> values_;  // arguments come before what uses them
  std::vector<bool> needed_;
  std::vector<ValueId> checks_;
  std::map<Key, ValueId> known_;
};

/// Where the lanes of the tile at hand lie, and how many bytes further those of the next one do: none for what is the
/// same for all tiles or made anew by each.
struct Register {
  std::byte* data;
  std::size_t advance;
};

/// An instruction made ready to run: its loop (null: Op::require_natural), its result and its arguments.
struct Step {
  Loop loop;
  std::byte* result;
  std::array<std::byte*, max_arguments> arguments;
};

/// An operand of a step that lies elsewhere for the next tile.
struct Move {
  std::byte** operand;
  std::size_t bytes;
};

/// Where things lie in the scratch memory of a run; the same for who sizes it and who uses it.
struct ScratchLayout {
  explicit ScratchLayout(const ProgramHead& head) noexcept;
  // Bytes from the aligned start, where Register[all of them] lies.
  std::size_t steps = 0;       // Step[head.instructions]
  std::size_t moves = 0;       // Move[(1 + max_arguments) * head.instructions]
  std::size_t pitch = 0;       // of the buffers of inputs, each of a block
  std::size_t tile_pitch = 0;  // of those of constants and temporaries, each of a tile
  std::size_t input_buffers = 0;
  std::size_t constant_buffers = 0;
  std::size_t temporaries = 0;
  std::size_t result_buffer = 0;  // of a block
  std::size_t total = 0;          // with room to align the start

  /// Not a multiple of 4096: buffers at equal offsets in their pages would compete for the same lines of the cache,
  /// and loads would wait for stores to the same offset.
  [[nodiscard]] static constexpr std::size_t buffer_bytes(std::size_t elements, std::size_t item_bytes) noexcept {
    return elements * item_bytes + alignment;
  }
  static constexpr std::size_t alignment = 64;
};

}  // namespace runrig::detail
