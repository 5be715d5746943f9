#pragma once

#include <optional>
#include <span>
#include <string>
#include <vector>

#include "computed.hpp"
#include "runrig/engine/expression.hpp"

namespace runrig::batch {

/// A variable of expressions in the file at hand.
struct FileVariable {
  std::string name;
  std::string file;
  std::string dataset;
  hdf5::DatasetInfo info;
  hdf5::Selection selection;
};

/// What workers are told of it.
[[nodiscard]] OutputVariable describe(const FileVariable& variable, std::size_t memory_bytes);

/// An expression that is bound to the datasets of one file: its variables are broadcast to one shape, and the
/// reductions in it have been computed, each in a pass over its own variables within the session's memory.
class BoundExpression {
 public:
  /// `variables` are those of expression.variables(), in their order. Throws ExpressionError, FormatError, TaskError if
  /// the shapes do not fit or a reduction has no result; Cancelled.
  BoundExpression(Session::State& state, const Expression& expression, std::span<const FileVariable* const> variables);

  [[nodiscard]] const Program& program() const noexcept { return *program_; }
  /// The program's inputs. What they refer to is this object's.
  [[nodiscard]] const std::vector<OutputVariable>& inputs() const noexcept { return inputs_; }
  [[nodiscard]] const Shape& shape() const noexcept { return shape_; }
  /// The first of `variables` that has the result's shape and is read by the program, or else by a reduction: what the
  /// result is like.
  [[nodiscard]] std::optional<std::size_t> like() const noexcept { return like_; }
  /// Memory of the reductions' results, which lives as long as this.
  [[nodiscard]] std::size_t held_bytes() const noexcept {
    std::size_t bytes = 0;
    for (const ArenaBlock& each : results_) bytes += each.size_bytes();
    return bytes;
  }

 private:
  void take_variables(const Expression& expression, std::span<const FileVariable* const> variables);
  void reduce(const InnerReduction& reduction, const Expression& expression,
              std::span<const FileVariable* const> variables);
  OutputVariable& add_memory(DType dtype, const Shape& shape);

  Session::State& state_;
  std::optional<Program> program_;
  std::vector<OutputVariable> inputs_;
  std::vector<ArenaBlock> results_;  // of reductions
  Shape shape_;
  std::optional<std::size_t> like_;
};

/// The layout to cut work by where no dataset has the result's shape: contiguous.
[[nodiscard]] hdf5::DatasetInfo plain_info(DType dtype, const Shape& shape);

}  // namespace runrig::batch
