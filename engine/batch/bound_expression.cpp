#include "bound_expression.hpp"

#include <algorithm>
#include <cstring>

#include "reduce_large.hpp"
#include "runrig/engine/evaluate.hpp"
#include "runrig/sync/error.hpp"

namespace runrig::batch {
namespace {

bool fit_together(const Shape& a, const Shape& b) {
  for (std::size_t i = 1; i <= std::min(a.rank(), b.rank()); ++i) {
    const std::uint64_t x = a[a.rank() - i];
    const std::uint64_t y = b[b.rank() - i];
    if (x != y && x != 1 && y != 1) return false;
  }
  return true;
}

struct NamedShape {
  std::string name;
  Shape shape;
};

Shape broadcast(const std::vector<NamedShape>& all) {
  std::vector<Shape> shapes;
  for (std::size_t i = 0; i < all.size(); ++i) {
    shapes.push_back(all[i].shape);
    for (std::size_t k = 0; k < i; ++k) {
      if (fit_together(all[k].shape, all[i].shape)) continue;
      throw TaskError("the shapes do not match: " + all[k].name + " is " + to_string(all[k].shape) + ", " +
                      all[i].name + " is " + to_string(all[i].shape));
    }
  }
  return broadcast_shape(shapes);
}

std::string reduction_text(const InnerReduction& reduction) {
  return (reduction.nan == NanPolicy::skip ? "nan" : "") + std::string(reduction_name(reduction.operation)) + "(" +
         std::string(reduction.argument.text()) + ")";
}

bool all_reduced(const ReductionAxes& axes) {
  return std::all_of(axes.reduced.begin(), axes.reduced.begin() + static_cast<std::ptrdiff_t>(axes.shape.rank()),
                     [](bool each) { return each; });
}

/// Computes one reduction into `out`.
void run_reduction(Session::State& state, const InnerReduction& reduction, const LargeDataset& values,
                   const ReductionAxes& axes, const Reducer& reducer, std::byte* out) {
  if (axes.results == 0) return;
  if (axes.length == 0) {
    if (!has_result_of_nothing(reducer.operation())) {
      throw TaskError(reduction_text(reduction) + " has no result: there are no elements");
    }
    (void)reduce_sequences(reducer, axes, nullptr, static_cast<std::size_t>(axes.results), 1, out);
    return;
  }
  if (state.dry_run != nullptr) return;
  state.progress.bytes += axes.shape.checked_bytes(item_bytes(reducer.elements())).value_or(0);
  if (all_reduced(axes) && is_told_by_statistics(reducer.operation())) {
    store_reduction(reducer, summarize(state, values), out);
  } else {
    reduce_large(state, values, axes, reducer, out);
  }
}

}  // namespace

OutputVariable describe(const FileVariable& variable, std::size_t memory_bytes) {
  OutputVariable result;
  result.file = variable.file;
  result.dataset = variable.dataset;
  result.selection = variable.selection;
  result.dtype = variable.info.type.dtype;
  result.chunk_bytes =
      std::min(variable.info.chunk.checked_bytes(item_bytes(result.dtype)).value_or(SIZE_MAX), memory_bytes);
  return result;
}

hdf5::DatasetInfo plain_info(DType dtype, const Shape& shape) {
  hdf5::DatasetInfo info;
  info.type.numeric = true;
  info.type.dtype = dtype;
  info.shape = shape;
  info.maxshape = shape;
  info.layout = hdf5::Layout::contiguous;
  return info;
}

BoundExpression::BoundExpression(Session::State& state, const Expression& given,
                                 std::span<const FileVariable* const> variables)
    : state_(state) {
  std::vector<DType> types;
  for (const FileVariable* const each : variables) types.push_back(each->info.type.dtype);
  const Expression expression = given.with_real_reductions(types);
  take_variables(expression, variables);
  for (const InnerReduction& each : expression.reductions()) reduce(each, expression, variables);
  types.clear();
  for (const OutputVariable& each : inputs_) types.push_back(each.dtype);
  program_.emplace(expression.bind(types));
  std::vector<NamedShape> shapes;
  for (std::size_t i = 0; i < inputs_.size(); ++i) {
    if (i < variables.size() && !expression.reads_variable(i)) continue;
    shapes.push_back({i < variables.size() ? variables[i]->name : "a reduction", inputs_[i].selection.shape});
  }
  shape_ = broadcast(shapes);
  for (const bool read : {true, false}) {
    for (std::size_t i = 0; i < variables.size() && !like_; ++i) {
      if (expression.reads_variable(i) == read && variables[i]->selection.shape == shape_) like_ = i;
    }
  }
}

void BoundExpression::take_variables(const Expression& expression, std::span<const FileVariable* const> variables) {
  for (std::size_t i = 0; i < variables.size(); ++i) {
    if (expression.reads_variable(i)) {
      inputs_.push_back(describe(*variables[i], state_.memory_bytes));
    } else {  // only reductions do: it need not be read again
      add_memory(variables[i]->info.type.dtype, Shape{});
    }
  }
}

OutputVariable& BoundExpression::add_memory(DType dtype, const Shape& shape) {
  const auto bytes = shape.checked_bytes(item_bytes(dtype));
  if (!bytes || *bytes > state_.memory_bytes / 4) {
    throw TaskError("the result of a reduction, of shape " + to_string(shape) +
                    ", takes more than a quarter of the memory");
  }
  const auto room = static_cast<std::size_t>(std::max<std::uint64_t>(*bytes, item_bytes(dtype)));
  results_.push_back(state_.arena->allocate(room));
  std::memset(results_.back().data(), 0, room);
  OutputVariable variable;
  variable.memory = results_.back().data();
  variable.selection = hdf5::Selection::all(shape);
  variable.dtype = dtype;
  return inputs_.emplace_back(std::move(variable));
}

void BoundExpression::reduce(const InnerReduction& reduction, const Expression& expression,
                             std::span<const FileVariable* const> variables) {
  std::vector<const FileVariable*> own;
  const auto& names = expression.variables();
  for (const std::string& name : reduction.argument.variables()) {
    own.push_back(variables[static_cast<std::size_t>(std::find(names.begin(), names.end(), name) - names.begin())]);
  }
  const BoundExpression argument(state_, reduction.argument, own);
  const ReductionAxes axes = ReductionAxes::resolve(argument.shape(), reduction.axes, "axis");
  const Reducer reducer(reduction.operation, argument.program().result(), reduction.nan);
  (void)add_memory(reducer.result(), reduction.result_shape(axes));
  LargeDataset values;
  Computed computed;
  if (reduction.argument.is_variable()) {
    values.file = own[0]->file;
    values.dataset = own[0]->dataset;
    values.info = own[0]->info;
    values.selection = own[0]->selection;
  } else {
    values.info = plain_info(reducer.elements(), argument.shape());
    values.selection = hdf5::Selection::all(argument.shape());
    if (const auto like = argument.like()) {
      values.dataset = own[*like]->dataset;
      values.info = own[*like]->info;
      values.info.type.dtype = reducer.elements();
      values.selection = own[*like]->selection;
    }
    computed = {&argument.program(), argument.inputs()};
    values.computed = &computed;
  }
  run_reduction(state_, reduction, values, axes, reducer, results_.back().data());
}

}  // namespace runrig::batch
