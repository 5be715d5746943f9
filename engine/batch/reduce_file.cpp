#include "reduce_file.hpp"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "encoding.hpp"
#include "reduce_large.hpp"
#include "reduce_space.hpp"
#include "runrig/engine/quantile.hpp"
#include "runrig/sync/error.hpp"

namespace runrig::batch {
namespace {

using pickle::Object;

// Results up to this size go through the journal of the worker that made them.
constexpr std::uint64_t small_result_bytes = std::uint64_t{256} << 10;

Object bytes_object(std::span<const std::byte> bytes) { return Object::bytes(bytes); }

/// One dataset, in a worker.
class Examination {
 public:
  Examination(SliceContext& context, const ReduceArgument& argument, hdf5::Dataset& dataset,
              const hdf5::Selection& selection)
      : context_(context),
        argument_(argument),
        dataset_(dataset),
        info_(dataset.info()),
        selection_(selection),
        reducer_(argument.reducer(info_.type.dtype)),
        item_(item_bytes(info_.type.dtype)),
        elements_(selection.shape.checked_elements().value_or(0)) {}

  Object record() {
    try {
      axes_ = argument_.resolve(selection_.shape);
      argument_.check(axes_, reducer_, dataset_.name());
    } catch (const Error& error) {  // by what was asked for, not by the file
      return Object::dict({{"error", encode_text(error.what())}});
    }
    record_ = Object::dict({{"dtype", encode_text(info_.type.numpy)}, {"shape", encode(selection_.shape)}});
    record_.insert_or_assign("large", encode(info_));
    if (argument_.describe_only) return std::move(record_);
    const bool constant = elements_ > 0 && dataset_.all_fill();
    if (argument_.is_histogram()) {
      histogram(constant);
    } else if (argument_.is_told_by_statistics(axes_, info_.type.dtype)) {
      tell(constant);
    } else if (constant) {
      reduce_constant();
    } else {
      reduce_values();
    }
    if (record_.find("result") == nullptr) describe_large(record_, dataset_);  // which may take its time
    return std::move(record_);
  }

 private:
  [[nodiscard]] bool is_large() const { return elements_ > 0 && !is_small(info_, selection_); }

  void report(const std::vector<std::byte>& result) {
    record_.insert_or_assign("result", bytes_object(result));
    // Relaxed: a number to show, nothing hangs on it.
    argument_.bytes_done->fetch_add(elements_ * item_, std::memory_order_relaxed);
  }

  Statistics statistics(bool constant) const {
    if (constant) return summarize_constant(info_.type.dtype, info_.fill, elements_);
    return summarize_small(context_, dataset_, selection_);
  }

  void tell(bool constant) {
    if (constant || !is_large()) report(result_of(statistics(constant), reducer_));
  }

  void reduce_constant() {
    std::vector<std::byte> result(item_bytes(reducer_.result()));
    if (argument_.is_quantile()) {
      store_real(reducer_.result(), quantile_of_constant(info_, info_.type.dtype), result.data());
    } else if (!runrig::reduce_constant(reducer_, axes_, info_.fill.data(), result.data())) {
      throw FormatError("reduce", dataset_.name(), missing_result(reducer_.operation()));
    }
    record_.insert_or_assign("constant", true);
    report(result);
  }

  // All elements, with sequences side by side or one behind the other.
  const std::byte* read(const ReductionAxes& axes, std::size_t extra_bytes = 0) const {
    std::byte* const values = context_.scratch(elements_ * item_ + extra_bytes + 1);
    if (elements_ > 0) {
      dataset_.read(selection_, hdf5::Box::all(selection_.shape), values,
                    reduction_strides(axes, selection_.shape, item_));
    }
    return values;
  }

  void reduce_values() {
    const std::size_t out_item = item_bytes(reducer_.result());
    if (is_large() || axes_.results > small_result_bytes / out_item) return;
    std::vector<std::byte> results(axes_.results * out_item);
    const auto length = static_cast<std::size_t>(axes_.length);
    const std::byte* const values = read(axes_, argument_.is_quantile() ? length * item_ + 8 : 0);
    if (argument_.is_quantile()) {
      // Behind the elements, aligned for any of them.
      std::byte* const scratch = const_cast<std::byte*>(values) + (elements_ * item_ + 7) / 8 * 8;
      for (std::size_t i = 0; i < axes_.results; ++i) {
        const double quantile = quantile_of(info_.type.dtype, values + i * length * item_, length,
                                            argument_.operation.quantile, argument_.nan, scratch);
        store_real(reducer_.result(), quantile, results.data() + i * out_item);
      }
    } else if (axes_.results > 0) {
      const auto pitch = static_cast<std::size_t>(axes_.columns ? axes_.results : axes_.length);
      if (!reduce_sequences(reducer_, axes_, values, axes_.results, pitch, results.data())) {
        throw FormatError("reduce", dataset_.name(), missing_result(reducer_.operation()));
      }
    }
    report(results);
  }

  void histogram(bool constant) {
    if (!constant && is_large()) return;
    const auto edges = edges_of(argument_, statistics(constant), dataset_.name());
    std::vector<std::uint64_t> counts(edges.size() - 1);
    if (constant) {
      count_in_bins(info_.type.dtype, info_.fill.data(), 1, edges, counts.data());
      for (std::uint64_t& each : counts) each *= elements_;
    } else {
      count_in_bins(info_.type.dtype, read(axes_), static_cast<std::size_t>(elements_), edges, counts.data());
    }
    record_.insert_or_assign("edges", bytes_object(std::as_bytes(std::span(edges))));
    const auto bytes = std::as_bytes(std::span(counts));
    report({bytes.begin(), bytes.end()});
  }

  SliceContext& context_;
  const ReduceArgument& argument_;
  hdf5::Dataset& dataset_;
  const hdf5::DatasetInfo& info_;
  const hdf5::Selection& selection_;
  Reducer reducer_;
  std::size_t item_;
  std::uint64_t elements_;
  ReductionAxes axes_;
  Object record_;
};

}  // namespace

ReductionAxes ReduceArgument::resolve(const Shape& shape) const {
  const std::vector<std::int64_t> some(axes.begin(), axes.begin() + static_cast<std::ptrdiff_t>(axis_count));
  ReductionAxes result = ReductionAxes::resolve(shape, all_axes ? std::nullopt : std::optional(some));
  if (is_quantile()) {  // of whole sequences, one behind the other
    result.columns = false;
    result.segment = std::max<std::uint64_t>(result.length, 1);
  }
  return result;
}

Reducer ReduceArgument::reducer(DType dtype) const {
  if (is_quantile()) return {Reduction::mean, dtype, nan};
  if (is_histogram()) return {Reduction::count, dtype, nan};
  return {operation.reduction, dtype, nan};
}

void ReduceArgument::check(const ReductionAxes& result, const Reducer& reducer, const std::string& name) const {
  const bool reduces = operation.kind == ReduceOperation::Kind::reduction;
  if (reduces && result.length == 0 && result.results > 0 && !has_result_of_nothing(operation.reduction)) {
    throw FormatError("reduce", name, operation.name() + " of no elements has no result");
  }
  const std::uint64_t results = is_histogram() ? operation.bins : result.results;
  if (results > max_elements) {
    throw FormatError("reduce", name,
                      "the result of shape " + to_string(result.kept) + " is too large to show: write it to a file");
  }
  const bool in_pieces = to_file && !is_histogram();
  if (!in_pieces && results > memory_bytes / 4 / item_bytes(reducer.result())) {
    throw FormatError("reduce", name,
                      "the result of shape " + to_string(result.kept) + " takes more than a quarter of the memory");
  }
}

bool ReduceArgument::is_told_by_statistics(const ReductionAxes& result, DType elements) const {
  if (operation.kind != ReduceOperation::Kind::reduction || is_complex(elements)) return false;
  for (std::size_t axis = 0; axis < result.shape.rank(); ++axis) {
    if (!result.reduced[axis]) return false;
  }
  return runrig::is_told_by_statistics(operation.reduction);
}

std::vector<std::byte> result_of(const Statistics& statistics, const Reducer& reducer) {
  std::vector<std::byte> bytes(item_bytes(reducer.result()));
  store_reduction(reducer, statistics, bytes.data());
  return bytes;
}

std::vector<double> edges_of(const ReduceArgument& argument, const Statistics& statistics, const std::string& name) {
  const auto real = [](const Number& number) {
    return std::visit([](auto each) { return static_cast<double>(each); }, number);
  };
  const ReduceOperation& operation = argument.operation;
  HistogramRange range = operation.range.value_or(HistogramRange{0, 1});
  if (!operation.range && statistics.count > 0) {
    if (statistics.nan > 0 && argument.nan == NanPolicy::propagate) {
      throw FormatError("reduce", name, "there are NaNs: skip them, or give the range of the histogram");
    }
    if (statistics.valid() > 0) range = {real(*statistics.min()), real(*statistics.max())};
    if (!std::isfinite(range.low) || !std::isfinite(range.high)) {
      throw FormatError("reduce", name, "there are infinities: give the range of the histogram");
    }
  }
  return histogram_edges(range.low, range.high, operation.bins, statistics.dtype);
}

void reduce_file(SliceContext& context, const FileTask& task, const std::byte* bytes) {
  const auto& argument = *reinterpret_cast<const ReduceArgument*>(bytes);
  hdf5::ReadOptions options;
  options.force_library = argument.force_library;
  options.conventions = argument.conventions;
  options.max_chunk_bytes = argument.memory_bytes;
  examine_targets(context, task, argument.targets, [&](const Target& target) {
    hdf5::Dataset& dataset = OpenFiles::here().dataset(task.path, target.path, options);
    if (argument.operation.kind == ReduceOperation::Kind::reduction) {
      dataset.check_readable();
    } else {
      dataset.check_real();
    }
    hdf5::Selection selection;
    if (dataset.info().null_space) {
      selection.shape = Shape{0};
    } else {
      selection = target.resolve(dataset);
    }
    return Examination(context, argument, dataset, selection).record();
  });
  if (argument.to_file) {
    OpenFiles::here().keep(argument.kept_files);
    OpenFiles::here().close_datasets(task.path);  // and what they have in memory
  } else {
    OpenFiles::here().close_all();
  }
}

}  // namespace runrig::batch
