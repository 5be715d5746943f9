#include "runrig/engine/evaluate.hpp"

#include <algorithm>
#include <array>
#include <cstring>
#include <list>
#include <optional>
#include <stdexcept>
#include <string>

#include "evaluate_reduction.hpp"

namespace runrig {

namespace {

using detail::TemporaryArray;

/// From here on a result does not stay in the caches anyway.
constexpr std::uint64_t streamed_bytes = std::uint64_t{16} << 20;

struct EvaluateBody {
  detail::ToldProgram program;
  SlicePlan plan;
  detail::FlatArray out;
  Storing storing;

  [[nodiscard]] std::size_t slice_scratch() const { return program.scratch_bytes(); }
  template <class Located>
  void run(std::uint32_t slice, std::byte* scratch, const Located& located) const {
    const std::uint64_t begin = plan.begin(slice);
    program.run(located, begin, static_cast<std::size_t>(plan.end(slice) - begin),
                located(out) + begin * item_bytes(program.result), scratch, storing);
  }
};

void check_contiguous(const AnyArrayRef& array) {
  if (!array.contiguous()) {
    throw std::logic_error("evaluate: an array of shape " + to_string(array.shape) +
                           " with gaps or in another order; take rows of it, or copy it");
  }
}

/// What an expression is evaluated from: the arrays that its program has as inputs, of which those of the reductions
/// are made here, and the shape that they have together.
template <class Executor>
class Prepared {
 public:
  Prepared(Executor& executor, const Expression& expression, std::span<const AnyArrayRef> inputs,
           const ParallelOptions& options)
      : executor_(executor), options_(options) {
    if (inputs.size() != expression.variables().size()) {
      throw std::logic_error("evaluate: as many arrays as variables are needed");
    }
    std::vector<DType> types;
    for (const AnyArrayRef& each : inputs) types.push_back(each.dtype);
    expression_ = expression.with_real_reductions(types);
    for (std::size_t i = 0; i < inputs.size(); ++i) {
      if (expression.reads_variable(i)) {
        inputs_.push_back(inputs[i]);
      } else {  // only reductions do
        temporaries_.emplace_back(executor, inputs[i].dtype, Shape{});
        std::memset(temporaries_.back().ref().data, 0, item_bytes(inputs[i].dtype));
        inputs_.push_back(temporaries_.back().ref());
      }
    }
    for (const InnerReduction& each : expression_.reductions()) reduce(each, inputs);
    types.clear();
    for (const AnyArrayRef& each : inputs_) types.push_back(each.dtype);
    program_.emplace(expression_.bind(types));
  }
  [[nodiscard]] const Program& program() const { return *program_; }
  [[nodiscard]] std::span<const AnyArrayRef> inputs() const { return inputs_; }
  /// Throws logic_error if NumPy would not broadcast them.
  [[nodiscard]] Shape shape() const {
    std::vector<Shape> shapes;
    for (const AnyArrayRef& each : inputs_) shapes.push_back(each.shape);
    return broadcast_shape(shapes);
  }

 private:
  void reduce(const InnerReduction& reduction, std::span<const AnyArrayRef> outer_inputs) {
    std::vector<AnyArrayRef> own;
    const auto& names = expression_.variables();
    for (const std::string& name : reduction.argument.variables()) {
      own.push_back(
          outer_inputs[static_cast<std::size_t>(std::find(names.begin(), names.end(), name) - names.begin())]);
    }
    const Prepared argument(executor_, reduction.argument, own, options_);
    const Shape shape = argument.shape();
    const ReductionAxes axes = ReductionAxes::resolve(shape, reduction.axes, "axis");
    temporaries_.emplace_back(executor_, reduction_dtype(reduction.operation, argument.program().result()),
                              reduction.result_shape(axes));
    ParallelOptions options = options_;
    options.slice_elements = 0;  // the caller's slices are of its own result
    detail::reduce_program(executor_, argument.program(), shape, argument.inputs(), axes, reduction.operation,
                           reduction.nan, temporaries_.back().ref(), options);
    inputs_.push_back(temporaries_.back().ref());
  }

  Executor& executor_;
  Expression expression_;
  const ParallelOptions& options_;
  std::list<TemporaryArray> temporaries_;
  std::vector<AnyArrayRef> inputs_;
  std::optional<Program> program_;
};

template <class Executor>
void evaluate_on(Executor& executor, const Expression& expression, const AnyArrayRef& out,
                 std::span<const AnyArrayRef> inputs, const ParallelOptions& options) {
  if (out.access != Access::read_write) throw std::logic_error("evaluate: the result's array is read-only");
  check_contiguous(out);
  for (const AnyArrayRef& each : inputs) check_contiguous(each);
  const Prepared<Executor> prepared(executor, expression, inputs, options);
  const Program& program = prepared.program();
  if (program.result() != out.dtype) {
    throw std::logic_error("evaluate: the result is " + std::string(dtype_name(program.result())) + ", not " +
                           std::string(dtype_name(out.dtype)));
  }
  const std::vector<std::size_t> order = detail::natural_order(out.shape.rank());
  std::vector<AnyArrayRef> refs{out};
  for (const AnyArrayRef& each : prepared.inputs()) {
    refs.push_back(each);
    if (!detail::walk_axes(each, out.shape, order).empty() &&
        detail::reads_what_it_writes(std::array{out, each}, detail::Writing::output)) {
      throw std::logic_error("evaluate: an input that is repeated lies in the result's memory; copy it");
    }
  }
  const detail::ProgramOnArrays on_arrays(executor, program, out.shape, prepared.inputs(), order);
  EvaluateBody body{};
  body.plan = on_arrays.plan(options.slice_elements);
  if (body.plan.slices == 0) return;
  const detail::SharedBytes shared(executor, on_arrays.told_bytes());
  body.program = on_arrays.tell(shared.data());
  body.out = detail::flatten(executor, out);
  const std::uint64_t bytes = out.size() * item_bytes(out.dtype);
  body.storing = bytes >= streamed_bytes ? Storing::streamed : Storing::cached;
  const bool repeatable = options.repeatable || !detail::reads_what_it_writes(refs, detail::Writing::output);
  detail::run_body(executor, body, body.plan, options, repeatable ? detail::Rerun::allowed : detail::Rerun::forbidden);
}

}  // namespace

Shape broadcast_shape(std::span<const Shape> shapes) {
  std::size_t rank = 0;
  for (const Shape& each : shapes) rank = std::max(rank, each.rank());
  Shape result;
  for (std::size_t axis = 0; axis < rank; ++axis) {
    std::uint64_t extent = 1;
    for (const Shape& each : shapes) {
      if (axis + each.rank() < rank) continue;
      const std::uint64_t own = each[axis + each.rank() - rank];
      if (own == 1) continue;
      if (extent != 1 && extent != own) {
        throw std::logic_error("evaluate: arrays of shapes that do not fit together, with axes of " +
                               std::to_string(extent) + " and " + std::to_string(own));
      }
      extent = own;
    }
    result.push_back(extent);
  }
  return result;
}

void evaluate(Pool& pool, const Expression& expression, const AnyArrayRef& out, std::span<const AnyArrayRef> inputs,
              const ParallelOptions& options) {
  evaluate_on(pool, expression, out, inputs, options);
}
void evaluate(Threads& threads, const Expression& expression, const AnyArrayRef& out,
              std::span<const AnyArrayRef> inputs, const ParallelOptions& options) {
  evaluate_on(threads, expression, out, inputs, options);
}

}  // namespace runrig
