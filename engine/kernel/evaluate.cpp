#include "runrig/engine/evaluate.hpp"

#include <algorithm>
#include <array>
#include <cstring>
#include <list>
#include <memory>
#include <new>
#include <optional>
#include <stdexcept>
#include <string>

#include "../pool/pool_state.hpp"
#include "histogram.hpp"
#include "reduce.hpp"
#include "runrig/engine/arena.hpp"
#include "runrig/sync/error.hpp"

namespace runrig {
namespace {

/// From here on a result does not stay in the caches anyway.
constexpr std::uint64_t streamed_bytes = std::uint64_t{16} << 20;

/// What run_kernel() checks of a user's captures: here are none.
struct Nothing {};

/// Memory for what a call tells its workers, and they tell it: the pool's, which has one address everywhere, or our
/// own.
class SharedBytes {
 public:
  SharedBytes(Pool& pool, std::size_t bytes) : data_(detail::partial_memory(pool, bytes)) {}
  SharedBytes(Threads& /*threads*/, std::size_t bytes)
      : owned_(std::make_unique<std::uint64_t[]>((bytes + 7) / 8)), data_(reinterpret_cast<std::byte*>(owned_.get())) {}
  [[nodiscard]] std::byte* data() const noexcept { return data_; }

 private:
  std::unique_ptr<std::uint64_t[]> owned_;
  std::byte* data_;
};

constexpr std::size_t padded(std::size_t bytes) { return (bytes + 63) / 64 * 64; }

/// The scratch memory of a slice on threads; a worker process has its own.
std::byte* thread_scratch(std::size_t bytes) {
  thread_local std::unique_ptr<std::byte[]> memory;
  thread_local std::size_t size = 0;
  if (size < bytes) {
    memory.reset();
    size = 0;
    memory = std::make_unique<std::byte[]>(bytes);
    size = bytes;
  }
  return memory.get();
}

/// An input as it travels, and how it is repeated: `axes` of them behind each other in EvaluateKernel::axes; none for
/// one of the shape of the result.
struct EvaluateInput {
  detail::FlatArray array;
  std::uint32_t first_axis = 0;
  std::uint32_t axes = 0;
  bool scalar = false;
};

struct EvaluateKernel {
  SlicePlan plan;
  detail::FlatArray out;
  Statistics* blocks;  // if not null, slices are blocks that are summarised here, and there is no `out`
  DType result;
  const EvaluateInput* inputs;
  const OperandAxis* axes;
  const std::byte* code;
  std::size_t input_count;
  std::size_t code_bytes;
  std::size_t scratch_bytes;  // of the program; behind it lie the operands
  std::size_t item_bytes;     // of `out`
  const std::uint8_t* input_item_bytes;
  Storing storing;

  [[nodiscard]] std::size_t slice_scratch() const {
    return padded(scratch_bytes) + padded(input_count * sizeof(Operand)) +
           (blocks != nullptr ? statistics_block_elements * item_bytes : 0);
  }
  void operator()(SliceContext& context) const {
    run(context.slice(), context.scratch(slice_scratch()),
        [&](const detail::FlatArray& array) { return detail::locate(context, array); });
  }
  static void on_thread(const void* kernel, std::uint32_t slice) {
    const auto& self = *static_cast<const EvaluateKernel*>(kernel);
    self.run(slice, thread_scratch(self.slice_scratch() + 64),
             [](const detail::FlatArray& array) { return array.direct; });
  }

  template <class Locate>
  void run(std::uint32_t slice, std::byte* scratch, Locate located) const {
    const std::uint64_t begin = plan.begin(slice);
    const auto misplaced = reinterpret_cast<std::uintptr_t>(scratch) % 64;
    std::byte* const aligned = scratch + (64 - misplaced) % 64;
    auto* const operands = reinterpret_cast<Operand*>(aligned + padded(scratch_bytes));
    for (std::size_t i = 0; i < input_count; ++i) {
      const EvaluateInput& input = inputs[i];
      const std::byte* const data = located(input.array);
      Operand operand;
      operand.scalar = input.scalar;
      operand.data = input.scalar || input.axes != 0 ? data : data + begin * input_item_bytes[i];
      operand.axes = {axes + input.first_axis, input.axes};
      operand.first = begin;
      new (operands + i) Operand(operand);
    }
    const auto count = static_cast<std::size_t>(plan.end(slice) - begin);
    if (blocks == nullptr) {
      run_program({code, code_bytes}, {operands, input_count}, located(out) + begin * item_bytes, count, aligned,
                  storing);
      return;
    }
    std::byte* const values = reinterpret_cast<std::byte*>(operands) + padded(input_count * sizeof(Operand));
    run_program({code, code_bytes}, {operands, input_count}, values, count, aligned);
    blocks[slice] = summarize_block(result, values, count);
  }
};

/// The axes of `array` seen as an array of `shape`, joined where they lie one within the other. None if the elements
/// are those of the shape, one by one. Throws logic_error if the shapes do not fit.
std::vector<OperandAxis> broadcast_axes(const AnyArrayRef& array, const Shape& shape) {
  const auto refuse = [&] {
    throw std::logic_error("evaluate: an input of shape " + to_string(array.shape) +
                           " cannot be broadcast to the result's " + to_string(shape));
  };
  if (array.shape.rank() > shape.rank()) refuse();
  const std::size_t missing = shape.rank() - array.shape.rank();
  std::vector<OperandAxis> axes;
  bool repeated = false;
  std::int64_t stride = static_cast<std::int64_t>(item_bytes(array.dtype));
  for (std::size_t i = shape.rank(); i-- > 0;) {
    const std::uint64_t own = i < missing ? 1 : array.shape[i - missing];
    if (own != shape[i] && own != 1) refuse();
    if (shape[i] == 1) continue;
    const std::int64_t step = own == 1 ? 0 : stride;
    repeated = repeated || step == 0;
    stride *= static_cast<std::int64_t>(own);
    // From the fastest axis on: does this one go on where the one within it ends?
    if (!axes.empty() &&
        step == axes.back().stride_bytes *
                    static_cast<std::int64_t>(axes.back().stride_bytes == 0 ? 1 : axes.back().extent)) {
      axes.back().extent *= shape[i];
    } else {
      axes.push_back({shape[i], step});
    }
  }
  if (!repeated) return {};
  std::reverse(axes.begin(), axes.end());
  return axes;
}

void check_contiguous(const AnyArrayRef& array) {
  if (!array.contiguous()) {
    throw std::logic_error("evaluate: an array of shape " + to_string(array.shape) +
                           " with gaps or in another order; take rows of it, or copy it");
  }
}

/// An evaluation as it is told to the workers.
template <class Executor>
class Evaluation {
 public:
  Evaluation(Executor& executor, const Program& program, const Shape& shape, std::span<const AnyArrayRef> inputs)
      : executor_(executor), program_(program), shape_(shape) {
    for (const AnyArrayRef& each : inputs) add(each);
  }

  void into(const AnyArrayRef& out, std::span<const AnyArrayRef> inputs, const ParallelOptions& options) {
    EvaluateKernel kernel{};
    kernel.plan = plan(options.slice_elements);
    if (kernel.plan.slices == 0) return;
    kernel.out = detail::flatten(executor_, out);
    const SharedBytes shared(executor_, tell_bytes());
    tell(kernel, shared.data());
    kernel.storing = out.size() * kernel.item_bytes >= streamed_bytes ? Storing::streamed : Storing::cached;
    std::vector<AnyArrayRef> refs{out};
    refs.insert(refs.end(), inputs.begin(), inputs.end());
    const bool repeatable = options.repeatable || !detail::reads_what_it_writes(refs, detail::Writing::output);
    detail::run_kernel(executor_, kernel, Nothing{}, kernel.plan, options,
                       repeatable ? detail::Rerun::allowed : detail::Rerun::forbidden);
  }

  /// The summary of all elements, which are never in memory at once.
  Statistics summary(const ParallelOptions& options) {
    StatisticsTree tree(program_.result());
    EvaluateKernel kernel{};
    kernel.plan = plan(statistics_block_elements);
    if (kernel.plan.slices == 0) return tree.result();
    if (kernel.plan.slice_elements != statistics_block_elements) {
      throw std::logic_error("evaluate: an array of shape " + to_string(shape_) + " is too large to be reduced");
    }
    const SharedBytes shared(executor_, tell_bytes() + kernel.plan.slices * sizeof(Statistics));
    tell(kernel, shared.data());
    kernel.blocks = reinterpret_cast<Statistics*>(shared.data() + tell_bytes());
    detail::run_kernel(executor_, kernel, Nothing{}, kernel.plan, options, detail::Rerun::allowed);
    for (std::uint32_t i = 0; i < kernel.plan.slices; ++i) tree.add(kernel.blocks[i]);
    return tree.result();
  }

 private:
  void add(const AnyArrayRef& array) {
    check_contiguous(array);
    const std::vector<OperandAxis> own = broadcast_axes(array, shape_);
    EvaluateInput input;
    input.array = detail::flatten(executor_, array);
    input.scalar = array.size() == 1 && shape_.elements() != 1;
    if (!input.scalar) {
      input.first_axis = static_cast<std::uint32_t>(axes_.size());
      input.axes = static_cast<std::uint32_t>(own.size());
      axes_.insert(axes_.end(), own.begin(), own.end());
    }
    inputs_.push_back(input);
    item_sizes_.push_back(static_cast<std::uint8_t>(item_bytes(array.dtype)));
    if (item_bytes(array.dtype) > item_bytes(widest_)) widest_ = array.dtype;
  }

  /// Slices are cut for the widest item.
  [[nodiscard]] SlicePlan plan(std::uint64_t slice_elements) const {
    AnyArrayRef widest;
    widest.dtype = item_bytes(widest_) > item_bytes(program_.result()) ? widest_ : program_.result();
    widest.shape = shape_;
    widest.strides = row_major_strides(shape_);
    return detail::plan_slices(std::array{widest}, slice_elements);
  }

  [[nodiscard]] std::size_t tell_bytes() const {
    return padded(inputs_.size() * sizeof(EvaluateInput)) + padded(axes_.size() * sizeof(OperandAxis)) +
           padded(program_.code().size()) + padded(item_sizes_.size());
  }
  void tell(EvaluateKernel& kernel, std::byte* to) const {
    const auto put = [&to](const void* from, std::size_t bytes) {
      std::byte* const here = to;
      if (bytes != 0) std::memcpy(here, from, bytes);
      to += padded(bytes);
      return here;
    };
    kernel.inputs = reinterpret_cast<const EvaluateInput*>(put(inputs_.data(), inputs_.size() * sizeof(EvaluateInput)));
    kernel.axes = reinterpret_cast<const OperandAxis*>(put(axes_.data(), axes_.size() * sizeof(OperandAxis)));
    kernel.code = put(program_.code().data(), program_.code().size());
    kernel.input_item_bytes = reinterpret_cast<const std::uint8_t*>(put(item_sizes_.data(), item_sizes_.size()));
    kernel.input_count = inputs_.size();
    kernel.code_bytes = program_.code().size();
    kernel.scratch_bytes = program_.scratch_bytes();
    kernel.item_bytes = item_bytes(program_.result());
    kernel.result = program_.result();
  }

  Executor& executor_;
  const Program& program_;
  Shape shape_;
  std::vector<EvaluateInput> inputs_;
  std::vector<OperandAxis> axes_;
  std::vector<std::uint8_t> item_sizes_;
  DType widest_ = DType::boolean;
};

/// Blocks of an array, each giving a value of type Result into its place: running one again writes the same.
template <class Self>
struct BlockKernel {
  SlicePlan plan;
  detail::FlatArray array;
  std::size_t item;
  DType dtype;

  void operator()(SliceContext& context) const { self().run(context.slice(), detail::locate(context, array)); }
  static void on_thread(const void* kernel, std::uint32_t slice) {
    const auto& self = *static_cast<const Self*>(kernel);
    self.run(slice, self.array.direct);
  }
  [[nodiscard]] const Self& self() const { return static_cast<const Self&>(*this); }
  [[nodiscard]] const std::byte* begin(std::uint32_t slice, const std::byte* data) const {
    return data + plan.begin(slice) * item;
  }
  [[nodiscard]] std::size_t count(std::uint32_t slice) const {
    return static_cast<std::size_t>(plan.end(slice) - plan.begin(slice));
  }
};

template <class Kernel, class Executor>
Kernel block_kernel(Executor& executor, const AnyArrayRef& array, std::uint64_t slice_elements) {
  Kernel kernel{};
  kernel.plan = detail::plan_slices(std::array{array}, slice_elements);
  kernel.array = detail::flatten(executor, array);
  kernel.item = item_bytes(array.dtype);
  kernel.dtype = array.dtype;
  return kernel;
}

struct SummaryKernel : BlockKernel<SummaryKernel> {
  Statistics* blocks;
  std::uint64_t blocks_per_slice;
  void run(std::uint32_t slice, const std::byte* data) const {
    const std::byte* const from = begin(slice, data);
    const std::size_t elements = count(slice);
    Statistics* to = blocks + slice * blocks_per_slice;
    for (std::size_t first = 0; first < elements; first += statistics_block_elements) {
      *to++ = summarize_block(dtype, from + first * item, std::min(elements - first, statistics_block_elements));
    }
  }
};

template <class Executor>
Statistics summarize_on(Executor& executor, const AnyArrayRef& array, const ParallelOptions& options) {
  const std::uint64_t elements = array.size();
  const std::uint64_t blocks = elements / statistics_block_elements + (elements % statistics_block_elements != 0);
  const std::uint64_t per_slice = blocks / max_slices + 1;
  auto kernel = block_kernel<SummaryKernel>(executor, array, per_slice * statistics_block_elements);
  StatisticsTree tree(array.dtype);
  if (kernel.plan.slices == 0) return tree.result();
  const SharedBytes shared(executor, blocks * sizeof(Statistics));
  kernel.blocks = reinterpret_cast<Statistics*>(shared.data());
  kernel.blocks_per_slice = per_slice;
  detail::run_kernel(executor, kernel, Nothing{}, kernel.plan, options, detail::Rerun::allowed);
  for (std::uint64_t i = 0; i < blocks; ++i) tree.add(kernel.blocks[i]);
  return tree.result();
}

struct ColumnsKernel : BlockKernel<ColumnsKernel> {
  SlicePlan columns;
  ReduceOp op;
  detail::ReducedAxes axes;
  std::byte* to;
  void run(std::uint32_t slice, const std::byte* data) const {
    const std::uint64_t first = columns.begin(slice);
    detail::reduce_columns(op, dtype, data, axes, first, columns.end(slice) - first, to);
  }
};

/// An array of our own, where the executor's bodies can write it.
class Temporary {
 public:
  Temporary(Pool& pool, DType dtype, const Shape& shape)
      : block_(detail::PoolAccess::usable_state(pool, "evaluate").options.arena->allocate(bytes(dtype, shape))) {
    refer(block_.data(), dtype, shape);
  }
  Temporary(Threads& /*threads*/, DType dtype, const Shape& shape)
      : owned_(std::make_unique<std::uint64_t[]>(bytes(dtype, shape) / 8 + 1)) {
    refer(reinterpret_cast<std::byte*>(owned_.get()), dtype, shape);
  }
  [[nodiscard]] const AnyArrayRef& ref() const noexcept { return ref_; }

 private:
  static std::size_t bytes(DType dtype, const Shape& shape) {
    const auto size = shape.checked_bytes(item_bytes(dtype));
    if (!size) throw Error(std::errc::value_too_large, "evaluate an array of shape", to_string(shape));
    return std::max<std::size_t>(*size, 1);
  }
  void refer(std::byte* data, DType dtype, const Shape& shape) {
    ref_.data = data;
    ref_.dtype = dtype;
    ref_.access = Access::read_write;
    ref_.shape = shape;
    ref_.strides = row_major_strides(shape);
  }
  ArenaBlock block_;
  std::unique_ptr<std::uint64_t[]> owned_;
  AnyArrayRef ref_;
};

/// What an expression is evaluated from: the arrays that its program has as inputs, of which those of the reductions
/// are made here, and the shape that they have together.
template <class Executor>
class Prepared {
 public:
  Prepared(Executor& executor, const Expression& expression, std::span<const AnyArrayRef> inputs,
           const ParallelOptions& options)
      : executor_(executor), expression_(expression), options_(options) {
    if (inputs.size() != expression.variables().size()) {
      throw std::logic_error("evaluate: as many arrays as variables are needed");
    }
    for (std::size_t i = 0; i < inputs.size(); ++i) {
      if (expression.reads_variable(i)) {
        inputs_.push_back(inputs[i]);
      } else {  // only reductions do
        temporaries_.emplace_back(executor, inputs[i].dtype, Shape{});
        std::memset(temporaries_.back().ref().data, 0, item_bytes(inputs[i].dtype));
        inputs_.push_back(temporaries_.back().ref());
      }
    }
    for (const InnerReduction& each : expression.reductions()) reduce(each, inputs);
    std::vector<DType> types;
    for (const AnyArrayRef& each : inputs_) types.push_back(each.dtype);
    program_.emplace(expression.bind(types));
  }
  [[nodiscard]] const Program& program() const { return *program_; }
  [[nodiscard]] std::span<const AnyArrayRef> inputs() const { return inputs_; }
  /// Throws logic_error if NumPy would not broadcast them.
  [[nodiscard]] Shape shape() const {
    std::size_t rank = 0;
    for (const AnyArrayRef& each : inputs_) rank = std::max(rank, each.shape.rank());
    Shape result;
    for (std::size_t axis = 0; axis < rank; ++axis) {
      std::uint64_t extent = 1;
      for (const AnyArrayRef& each : inputs_) {
        if (axis + each.shape.rank() < rank) continue;
        const std::uint64_t own = each.shape[axis + each.shape.rank() - rank];
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
    if (reduction.all_axes) {
      Evaluation<Executor> evaluation(executor_, argument.program(), shape, argument.inputs());
      const Statistics found = evaluation.summary(options_);
      Shape kept;
      for (std::size_t i = 0; reduction.keep_axes && i < shape.rank(); ++i) kept.push_back(1);
      const DType type = reduced_type(reduction.op, argument.program().result());
      temporaries_.emplace_back(executor_, type, kept);
      detail::store_reduced(reduction.op, found, temporaries_.back().ref().data);
    } else {
      const Temporary whole(executor_, argument.program().result(), shape);
      Evaluation<Executor>(executor_, argument.program(), shape, argument.inputs())
          .into(whole.ref(), argument.inputs(), plain_options());
      reduce_axes(reduction, whole.ref());
    }
    inputs_.push_back(temporaries_.back().ref());
  }

  void reduce_axes(const InnerReduction& reduction, const AnyArrayRef& array) {
    const Shape& shape = array.shape;
    std::vector<bool> reduced(shape.rank(), false);
    for (const int axis : reduction.axes) {
      const int rank = static_cast<int>(shape.rank());
      if (axis >= rank || axis < -rank) {
        throw std::logic_error("evaluate: there is no axis " + std::to_string(axis) + " in an array of shape " +
                               to_string(shape));
      }
      reduced[static_cast<std::size_t>(axis < 0 ? axis + rank : axis)] = true;
    }
    detail::ReducedAxes axes;
    Shape result;
    bool seen = false;
    for (std::size_t i = 0; i < shape.rank(); ++i) {
      if (reduced[i]) {
        if (seen && axes.inner != 1) {
          throw std::logic_error("evaluate: only axes that lie beside each other can be reduced together");
        }
        seen = true;
        axes.reduced *= shape[i];
        if (reduction.keep_axes) result.push_back(1);
      } else {
        (seen ? axes.inner : axes.outer) *= shape[i];
        result.push_back(shape[i]);
      }
    }
    temporaries_.emplace_back(executor_, reduced_type(reduction.op, array.dtype), result);
    if (result.elements() == 0) return;
    if (axes.reduced == 0) {
      const Statistics none{.dtype = array.dtype};
      const AnyArrayRef& to = temporaries_.back().ref();
      for (std::uint64_t i = 0; i < to.size(); ++i) {
        detail::store_reduced(reduction.op, none, to.data + i * item_bytes(to.dtype));
      }
      return;
    }
    auto kernel = block_kernel<ColumnsKernel>(executor_, array, 0);
    // As many columns as make a slice of the usual size, but not fewer than are reduced together.
    AnyArrayRef columns = temporaries_.back().ref();
    const std::uint64_t per_slice = kernel.plan.slice_elements / axes.reduced;
    kernel.columns =
        detail::plan_slices(std::array{columns}, std::max<std::uint64_t>(per_slice, axes.inner == 1 ? 1 : 256));
    kernel.op = reduction.op;
    kernel.axes = axes;
    kernel.to = columns.data;
    detail::run_kernel(executor_, kernel, Nothing{}, kernel.columns, plain_options(), detail::Rerun::allowed);
  }

  /// The caller's slices are of its own result.
  [[nodiscard]] ParallelOptions plain_options() const {
    ParallelOptions options = options_;
    options.slice_elements = 0;
    return options;
  }

  Executor& executor_;
  const Expression& expression_;
  const ParallelOptions& options_;
  std::list<Temporary> temporaries_;
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
  for (const AnyArrayRef& each : prepared.inputs()) {
    if (!broadcast_axes(each, out.shape).empty() &&
        detail::reads_what_it_writes(std::array{out, each}, detail::Writing::output)) {
      throw std::logic_error("evaluate: an input that is repeated lies in the result's memory; copy it");
    }
  }
  Evaluation<Executor>(executor, program, out.shape, prepared.inputs()).into(out, prepared.inputs(), options);
}

struct HistogramKernel : BlockKernel<HistogramKernel> {
  detail::HistogramPlan bins;
  const double* edges;
  std::uint64_t* counts;  // a row for each slice
  void run(std::uint32_t slice, const std::byte* data) const {
    std::uint64_t* const row = counts + std::uint64_t{slice} * bins.bins;
    std::fill_n(row, bins.bins, std::uint64_t{0});
    detail::count_elements(dtype, begin(slice, data), count(slice), bins, {edges, bins.bins + std::size_t{1}}, row);
  }
};

template <class Executor>
std::vector<std::uint64_t> histogram_on(Executor& executor, const AnyArrayRef& array, const HistogramBins& bins,
                                        const ParallelOptions& options) {
  const detail::HistogramPlan plan = detail::plan_histogram(bins);
  // Rows of counts are written and read once more: slices have many more elements than that.
  constexpr std::uint64_t least = std::uint64_t{1} << 18;
  constexpr std::uint64_t most = std::uint64_t{1} << 31;  // a table's counts have 32 bits
  const std::uint64_t wanted = std::max<std::uint64_t>({least, std::uint64_t{64} * bins.count, array.size() / 1024});
  auto kernel = block_kernel<HistogramKernel>(executor, array, std::min(wanted, most));
  std::vector<std::uint64_t> result(bins.count);
  if (kernel.plan.slices == 0) return result;
  const std::vector<double> edges = bins.edges();
  const std::size_t edges_bytes = padded(edges.size() * sizeof(double));
  const SharedBytes shared(executor, edges_bytes + kernel.plan.slices * result.size() * sizeof(std::uint64_t));
  std::memcpy(shared.data(), edges.data(), edges.size() * sizeof(double));
  kernel.bins = plan;
  kernel.edges = reinterpret_cast<const double*>(shared.data());
  kernel.counts = reinterpret_cast<std::uint64_t*>(shared.data() + edges_bytes);
  detail::run_kernel(executor, kernel, Nothing{}, kernel.plan, options, detail::Rerun::allowed);
  for (std::size_t i = 0; i < kernel.plan.slices * result.size(); ++i) result[i % result.size()] += kernel.counts[i];
  return result;
}

}  // namespace

void evaluate(Pool& pool, const Expression& expression, const AnyArrayRef& out, std::span<const AnyArrayRef> inputs,
              const ParallelOptions& options) {
  evaluate_on(pool, expression, out, inputs, options);
}
void evaluate(Threads& threads, const Expression& expression, const AnyArrayRef& out,
              std::span<const AnyArrayRef> inputs, const ParallelOptions& options) {
  evaluate_on(threads, expression, out, inputs, options);
}

Statistics summarize(Pool& pool, const AnyArrayRef& array, const ParallelOptions& options) {
  return summarize_on(pool, array, options);
}
Statistics summarize(Threads& threads, const AnyArrayRef& array, const ParallelOptions& options) {
  return summarize_on(threads, array, options);
}

std::vector<std::uint64_t> histogram(Pool& pool, const AnyArrayRef& array, const HistogramBins& bins,
                                     const ParallelOptions& options) {
  return histogram_on(pool, array, bins, options);
}
std::vector<std::uint64_t> histogram(Threads& threads, const AnyArrayRef& array, const HistogramBins& bins,
                                     const ParallelOptions& options) {
  return histogram_on(threads, array, bins, options);
}

}  // namespace runrig
