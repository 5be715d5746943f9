#pragma once

#include <cstddef>
#include <cstdint>
#include <new>
#include <span>
#include <vector>

#include "evaluate_memory.hpp"
#include "runrig/engine/expression.hpp"

/// Programs on arrays, told to workers.
namespace runrig::detail {

/// An input as it travels, and how its elements are walked: `axes` of them behind each other; none for one whose
/// elements lie in the order in which they are walked.
struct ProgramInput {
  FlatArray array;
  std::uint32_t first_axis = 0;
  std::uint32_t axes = 0;
  std::uint32_t item = 1;
  bool scalar = false;
};

/// A program and its inputs in a worker. Plain memory, whose pointers are valid there.
struct ToldProgram {
  const ProgramInput* inputs = nullptr;
  const OperandAxis* axes = nullptr;
  const std::byte* code = nullptr;
  std::size_t input_count = 0;
  std::size_t code_bytes = 0;
  std::size_t program_scratch = 0;
  DType result = DType::float64;

  /// What run() needs as `scratch`, which is aligned to 64.
  [[nodiscard]] std::size_t scratch_bytes() const noexcept {
    return padded(program_scratch) + padded(input_count * sizeof(Operand));
  }
  /// Elements [first, first + count) in the order of the walk; with `located` as ArrayKernel gives it.
  template <class Located>
  void run(const Located& located, std::uint64_t first, std::size_t count, std::byte* out, std::byte* scratch,
           Storing storing = Storing::cached) const {
    auto* const operands = reinterpret_cast<Operand*>(scratch + padded(program_scratch));
    for (std::size_t i = 0; i < input_count; ++i) {
      const ProgramInput& input = inputs[i];
      const std::byte* const data = located(input.array);
      Operand operand;
      operand.scalar = input.scalar;
      operand.data = input.scalar || input.axes != 0 ? data : data + first * input.item;
      operand.axes = {axes + input.first_axis, input.axes};
      operand.first = first;
      new (operands + i) Operand(operand);
    }
    run_program({code, code_bytes}, {operands, input_count}, out, count, scratch, storing);
  }
};

/// The axes of a contiguous array as those of `shape` are walked, from the slowest to the fastest as `order` has them,
/// joined where one goes on where the one within it ends. None if its elements lie in that very order. Throws
/// logic_error if NumPy would not broadcast it to the shape.
[[nodiscard]] std::vector<OperandAxis> walk_axes(const AnyArrayRef& array, const Shape& shape,
                                                 std::span<const std::size_t> order);
/// 0, 1, ...: C order.
[[nodiscard]] std::vector<std::size_t> natural_order(std::size_t rank);

/// A program on arrays of one shape, or that can be broadcast to it.
class ProgramOnArrays {
 public:
  template <class Executor>
  ProgramOnArrays(Executor& executor, const Program& program, const Shape& shape, std::span<const AnyArrayRef> inputs,
                  std::span<const std::size_t> order)
      : program_(program), shape_(shape) {
    for (const AnyArrayRef& each : inputs) add(flatten(executor, each), each, order);
  }

  [[nodiscard]] const Program& program() const noexcept { return program_; }
  [[nodiscard]] const Shape& shape() const noexcept { return shape_; }
  /// Slices of all elements, cut for the widest item; of so many elements unless 0.
  [[nodiscard]] SlicePlan plan(std::uint64_t slice_elements) const;
  [[nodiscard]] std::size_t told_bytes() const noexcept;
  /// Copies all to `to`, of told_bytes(), aligned to 8, which every process has at one address.
  [[nodiscard]] ToldProgram tell(std::byte* to) const;

 private:
  void add(const FlatArray& flat, const AnyArrayRef& array, std::span<const std::size_t> order);

  const Program& program_;
  Shape shape_;
  std::vector<ProgramInput> inputs_;
  std::vector<OperandAxis> axes_;
  DType widest_ = DType::boolean;
};

}  // namespace runrig::detail
