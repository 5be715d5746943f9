#include "runrig/batch/reduce.hpp"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstring>
#include <filesystem>
#include <limits>
#include <memory>

#include "dry_run.hpp"
#include "encoding.hpp"
#include "output_job.hpp"
#include "output_plan.hpp"
#include "reduce_file.hpp"
#include "reduce_histogram.hpp"
#include "reduce_large.hpp"
#include "reduce_scan.hpp"
#include "reduce_space.hpp"
#include "runrig/engine/expression.hpp"
#include "runrig/shm/nd_array.hpp"
#include "runrig/sync/error.hpp"
#include "slabs.hpp"

namespace runrig::batch {
namespace {

using pickle::Object;

constexpr std::uint64_t most_bins = std::uint64_t{1} << 20;

// What a reduced dataset is like: that of which it is made, without the axes that are gone.
hdf5::Selection kept_part(const hdf5::Selection& selection, const ReductionAxes& axes) {
  hdf5::Selection part = selection;
  std::size_t kept = 0;
  for (std::size_t axis = 0; axis < part.rank; ++axis) {
    if (part.axes[axis].keep && axes.reduced[kept++]) part.axes[axis].keep = false;
  }
  part.shape = axes.kept;
  return part;
}

// A part of the results, with the reduction that it has as a whole: the same bits.
ReductionAxes part_of_axes(const ReductionAxes& axes, const hdf5::Box& whole) {
  ReductionAxes part = axes;
  part.shape = whole.count;
  part.kept = Shape();
  for (std::size_t axis = 0; axis < part.shape.rank(); ++axis) {
    if (!part.reduced[axis]) part.kept.push_back(part.shape[axis]);
  }
  part.results = part.kept.elements();
  return part;
}

// Units and names of elements are not those of places and numbers, nor of products and squares.
std::vector<std::string> attributes_that_lie(const ReduceOperation& operation) {
  if (operation.kind != ReduceOperation::Kind::reduction) return {};
  switch (operation.reduction) {
    case Reduction::argmin:
    case Reduction::argmax:
    case Reduction::count:
    case Reduction::any:
    case Reduction::all:
    case Reduction::var:
    case Reduction::prod:
      return {"units", "standard_name", "cell_methods"};
    default:
      return {};
  }
}

/// Makes what the parent has to, of one target.
class TargetResult {
 public:
  TargetResult(Session::State& state, const ReduceRequest& request, const ReduceArgument& argument,
               const TargetRecord& target)
      : state_(state),
        request_(request),
        argument_(argument),
        large_(target.large()),
        reducer_(argument.reducer(large_.info.type.dtype)) {
    result_.file = target.file;
    result_.dataset = target.name;
    result_.dtype = decode_text(target.record->at("dtype"));
    result_.shape = decode_shape(target.record->at("shape"));
    if (!large_.info.null_space && !(result_.shape == large_.selection.shape)) {
      throw FormatError("read the report of", "a worker", "a shape that is not the selection's");
    }
    axes_ = argument.resolve(result_.shape);
    argument.check(axes_, reducer_, result_.file + ":" + result_.dataset);
    result_.result_dtype = reducer_.result();
    result_.result_shape = argument.is_histogram() ? Shape{argument.operation.bins} : axes_.kept;
    state_.progress.bytes += result_.shape.checked_bytes(item_bytes(large_.info.type.dtype)).value_or(0);
    if (argument.describe_only) return;
    const Object* const made = target.record->find("result");
    if (is_in_pieces()) {
      if (made != nullptr) take_constant(*target.record, made->as_bytes());
    } else if (made != nullptr) {
      take(*target.record, made->as_bytes());
    } else {
      make();
    }
  }

  [[nodiscard]] hdf5::Layout layout() const { return large_.info.layout; }

  // In place of the results: of a dataset that is only described.
  void tell_plan(const PendingOutput* output, PlannedFile& planned) {
    PlannedDataset read;
    read.file = result_.file;
    read.dataset = result_.dataset;
    read.shape = result_.shape;
    read.dtype = result_.dtype;
    read.bytes = result_.shape.checked_bytes(item_bytes(large_.info.type.dtype)).value_or(UINT64_MAX);
    planned.reads.push_back(std::move(read));
    if (output == nullptr) return;
    planned.output = output->final_path();
    if (!argument_.is_histogram()) {
      planned.writes.push_back(describe(spec_like_source(), planned.output, request_.to));
      planned.notes = result_.notes;
      return;
    }
    hdf5::OutputSpec spec;
    spec.dtype = DType::int64;
    spec.shape = Shape{argument_.operation.bins};
    planned.writes.push_back(describe(spec, planned.output, request_.to));
    spec.dtype = histogram_edge_dtype(reducer_.elements());
    spec.shape = Shape{argument_.operation.bins + 1};
    planned.writes.push_back(describe(spec, planned.output, request_.to + "_edges"));
  }

  ReduceResult in_memory() { return std::move(result_); }

  ReduceResult in_file(PendingOutput& output) {
    if (argument_.is_histogram()) {
      write_histogram(state_, result_.values, result_.edges, histogram_edge_dtype(reducer_.elements()), request_.to,
                      attributes(), output);
    } else {
      write_like_source(output);
    }
    result_.values.clear();
    result_.edges.clear();
    result_.output = output.final_path();
    std::error_code ignored;
    result_.output_bytes = std::filesystem::file_size(output.final_path(), ignored);
    return std::move(result_);
  }

 private:
  hdf5::OutputSpec spec_like_source() {
    hdf5::OutputSpec spec;
    if (!large_.info.null_space) {
      spec = hdf5::output_like(large_.info, kept_part(large_.selection, axes_), reducer_.result(), result_.notes);
    }
    spec.null_space = false;
    spec.dtype = reducer_.result();
    spec.shape = axes_.kept;
    return spec;
  }

  void write_like_source(PendingOutput& output) {
    std::optional<AnyArray> array;  // the whole result, or the piece that is being written
    const Program copy = Expression::parse("x").bind(std::vector{reducer_.result()});
    OutputPart part;
    OutputVariable variable;
    variable.file = large_.file;
    variable.dataset = large_.dataset;
    if (is_in_pieces()) {
      variable.produce = [&](const hdf5::Box& region) {
        array.reset();  // before there is another
        array.emplace(AnyArray::create_anonymous(reducer_.result(), region.count));
        make_piece(region, array->ref().data);
        return array->handle();
      };
    } else {
      array.emplace(AnyArray::create_anonymous(reducer_.result(), axes_.kept));
      std::memcpy(array->ref().data, result_.values.data(), result_.values.size());
      variable.array = array->handle();
    }
    variable.selection = kept_part(large_.selection, axes_);
    variable.dtype = reducer_.result();
    part.spec = spec_like_source();
    part.program = &copy;
    part.inputs = {0};
    part.dataset = request_.to;
    if (!large_.info.null_space) part.like = 0;
    part.attributes = attributes();
    for (auto& each : attributes_that_lie(request_.operation)) part.spec.dropped_attributes.push_back(std::move(each));
    OutputRequest wanted;
    if (is_in_pieces()) wanted.region_bytes = state_.memory_bytes / 8;
    if (!constant_.empty() && part.spec.chunk.rank() > 0) {  // need not be stored
      part.all_fill = true;
      part.spec.fill = constant_;
    }
    wanted.variables.push_back(std::move(variable));
    wanted.parts.push_back(std::move(part));
    wanted.action = "writing " + request_.to;
    for (auto& each : make_output(state_, wanted, output)) result_.notes.push_back(std::move(each));
  }

  [[nodiscard]] TextAttributes attributes() const {
    if (!request_.provenance) return {};
    TextAttributes how{{"runrig_operation", request_.operation.name()}};
    if (request_.axes) {
      std::string axes;
      for (const std::int64_t each : *request_.axes) axes += (axes.empty() ? "" : ",") + std::to_string(each);
      how.emplace_back("runrig_axis", axes);
    }
    if (request_.nan == NanPolicy::skip) how.emplace_back("runrig_nan", "skip");
    return provenance(result_.file, result_.dataset, how);
  }

  /// The result does not fit beside what making it takes: boxes of it are made, and written, one after the other.
  [[nodiscard]] bool is_in_pieces() const {
    return argument_.to_file && !argument_.is_histogram() && result_bytes() > state_.memory_bytes / 8;
  }

  void take_constant(const Object& record, std::span<const std::byte> bytes) {
    if (record.find("constant") == nullptr || bytes.size() != item_bytes(reducer_.result())) {
      throw FormatError("read the report of", "a worker", "a result of another size");
    }
    constant_.assign(bytes.begin(), bytes.end());
  }

  void make_piece(const hdf5::Box& region, std::byte* out) {
    if (!constant_.empty()) {
      for (std::uint64_t i = 0; i < region.count.elements(); ++i) {
        std::memcpy(out + i * constant_.size(), constant_.data(), constant_.size());
      }
      return;
    }
    hdf5::Box reduced;
    for (std::size_t axis = 0; axis < axes_.shape.rank(); ++axis) {
      if (!axes_.reduced[axis]) continue;
      reduced.start.push_back(0);
      reduced.count.push_back(axes_.shape[axis]);
    }
    const hdf5::Box whole = combine(axes_, region, reduced);
    LargeDataset part = large_;
    part.selection = part_of(large_.selection, whole);
    const ReductionAxes axes = part_of_axes(axes_, whole);
    if (argument_.is_quantile()) {
      quantiles_large(state_, part, axes, argument_.operation.quantile, argument_.nan, out);
    } else {
      reduce_large(state_, part, axes, reducer_, out);
    }
  }

  [[nodiscard]] std::size_t result_bytes() const {
    return static_cast<std::size_t>(result_.result_shape.elements()) * item_bytes(reducer_.result());
  }

  // What the worker made.
  void take(const Object& record, std::span<const std::byte> bytes) {
    const bool constant = record.find("constant") != nullptr;
    const std::size_t item = item_bytes(reducer_.result());
    if (bytes.size() != (constant ? item : result_bytes())) {
      throw FormatError("read the report of", "a worker", "a result of another size");
    }
    result_.values.resize(result_bytes());
    for (std::size_t i = 0; i < result_.values.size(); i += bytes.size()) {
      std::memcpy(result_.values.data() + i, bytes.data(), bytes.size());
    }
    if (!argument_.is_histogram()) return;
    const auto edges = record.at("edges").as_bytes();
    result_.edges.resize(static_cast<std::size_t>(argument_.operation.bins) + 1);
    if (edges.size() != result_.edges.size() * sizeof(double)) {
      throw FormatError("read the report of", "a worker", "edges of another number");
    }
    std::memcpy(result_.edges.data(), edges.data(), edges.size());
  }

  void make() {
    result_.values.resize(result_bytes());
    if (argument_.is_histogram()) {
      make_histogram();
    } else if (argument_.is_quantile()) {
      quantiles_large(state_, large_, axes_, argument_.operation.quantile, argument_.nan, result_.values.data());
    } else if (argument_.is_told_by_statistics(axes_)) {
      result_.values = result_of(summarize(state_, large_), reducer_);
    } else {
      reduce_large(state_, large_, axes_, reducer_, result_.values.data());
    }
  }

  void make_histogram() {
    Statistics statistics;
    statistics.dtype = large_.info.type.dtype;
    if (!argument_.operation.range) statistics = summarize(state_, large_);
    result_.edges = edges_of(argument_, statistics, result_.file + ":" + result_.dataset);
    ScanBody body;
    body.dtype = large_.info.type.dtype;
    body.edges = result_.edges;
    const auto counts = scan(state_, large_, body);
    std::memcpy(result_.values.data(), counts.data(), result_.values.size());
  }

  Session::State& state_;
  const ReduceRequest& request_;
  const ReduceArgument& argument_;
  LargeDataset large_;
  Reducer reducer_;
  ReductionAxes axes_;
  ReduceResult result_;
  std::vector<std::byte> constant_;  // what all elements of a result in pieces are, if they are the same
};

void check_request(const ReduceRequest& request) {
  const ReduceOperation& operation = request.operation;
  const auto refuse = [](std::string_view attempted, std::string_view name) {
    throw Error(std::errc::invalid_argument, attempted, name);
  };
  if (request.axes && request.axes->size() > max_rank) {
    refuse("use so many axes:", std::to_string(request.axes->size()));
  }
  const bool place = operation.kind == ReduceOperation::Kind::reduction &&
                     (operation.reduction == Reduction::argmin || operation.reduction == Reduction::argmax);
  if (place && request.axes && request.axes->size() != 1) {
    refuse("use more than one axis, but not all, with", operation.name());
  }
  if (operation.kind == ReduceOperation::Kind::histogram && request.axes) refuse("use axes with", operation.name());
  if (!request.output.empty() && request.datasets.size() != 1) {
    refuse("name the one dataset that goes to", request.output);
  }
}

ReduceArgument argument_of(const ReduceRequest& request, const Session::State& state) {
  ReduceArgument argument;
  argument.operation = request.operation;
  argument.nan = request.nan;
  argument.all_axes = !request.axes;
  if (request.axes) {
    argument.axis_count = request.axes->size();
    std::copy(request.axes->begin(), request.axes->end(), argument.axes.begin());
  }
  argument.max_elements = request.output.empty() ? request.max_elements : std::numeric_limits<std::uint64_t>::max();
  argument.force_library = state.options.force_library;
  argument.describe_only = state.dry_run != nullptr;
  argument.to_file = !request.output.empty();
  argument.conventions = state.options.conventions;
  argument.memory_bytes = state.memory_bytes;
  argument.bytes_done = &state.bytes_done();
  return argument;
}

}  // namespace

ReduceOperation ReduceOperation::parse(std::string_view text) {
  ReduceOperation operation;
  const auto fail = [text](const std::string& why) { return FormatError("use the operation", text, why); };
  const auto colon = text.find(':');
  const std::string_view word = text.substr(0, colon);
  const std::string_view value = colon == std::string_view::npos ? "" : text.substr(colon + 1);
  const char* const end = value.data() + value.size();
  if (word == "quantile") {
    operation.kind = Kind::quantile;
    const auto [stop, error] = std::from_chars(value.data(), end, operation.quantile);
    const bool inside = operation.quantile >= 0 && operation.quantile <= 1;
    if (error != std::errc{} || stop != end || !inside) throw fail("write a number from 0 to 1, as quantile:0.9");
    return operation;
  }
  if (word == "histogram") {
    operation.kind = Kind::histogram;
    const auto [stop, error] = std::from_chars(value.data(), end, operation.bins);
    const bool inside = operation.bins >= 1 && operation.bins <= most_bins;
    if (error != std::errc{} || stop != end || !inside) {
      throw fail("write a number of bins, at most " + std::to_string(most_bins) + ", as histogram:64");
    }
    return operation;
  }
  if (text == "median") {
    operation.kind = Kind::quantile;
    return operation;
  }
  const auto reduction = parse_reduction(text);
  if (!reduction) {
    std::string names;
    for (std::size_t i = 0; i < reduction_count; ++i) {
      names += std::string(reduction_name(static_cast<Reduction>(i))) + " ";
    }
    throw fail("there are " + names + "median quantile:Q histogram:BINS");
  }
  operation.reduction = *reduction;
  return operation;
}

std::string ReduceOperation::name() const {
  switch (kind) {
    case Kind::quantile:
      return quantile == 0.5 ? "median" : "quantile:" + number_text(quantile);
    case Kind::histogram:
      return "histogram:" + std::to_string(bins);
    case Kind::reduction:
      break;
  }
  return std::string(reduction_name(reduction));
}

DryRun plan_reduce(Session& session, const ReduceRequest& request) {
  return run_dry(session.state(), request.files, [&] { return reduce(session, request); });
}

ReduceReport reduce(Session& session, const ReduceRequest& request) {
  Session::State& state = session.state();
  check_request(request);
  const bool in_file = !request.output.empty();
  std::optional<OutputPlan> plan;
  if (in_file) {
    plan.emplace(
        state, request.files,
        OutputWish{request.output, {}, request.existing, request.resume, request_text(request, state.options)});
  }
  const std::vector<std::string>& files = in_file ? plan->files() : request.files;
  ReduceReport report;
  ArenaWriter memory(*state.arena, sizeof(ReduceArgument) + target_bytes(request.datasets));
  auto* const argument = memory.add<ReduceArgument>(1);
  *argument = argument_of(request, state);
  argument->targets = add_targets(memory, request.datasets);
  FileLedger ledger(state, request.files, report.failures);
  const auto make = [&](FileResult& result, FileOutcome& outcome) {
    take_targets(result, files[result.file], request.datasets, report.failures, [&](const TargetRecord& target) {
      TargetResult made(state, request, *argument, target);
      if (state.dry_run != nullptr) {
        return made.tell_plan(in_file ? &plan->output(result.file) : nullptr, state.dry_run->current());
      }
      if (in_file && lies_elsewhere(made.layout())) plan->unbind(result.file);
      report.results.push_back(in_file ? made.in_file(plan->output(result.file)) : made.in_memory());
      const ReduceResult& last = report.results.back();
      outcome.output = last.output;
      outcome.datasets.push_back(in_file ? request.to : last.dataset);
      outcome.notes.insert(outcome.notes.end(), last.notes.begin(), last.notes.end());
    });
  };
  const auto take = [&](FileResult result) {
    const std::size_t number = in_file ? plan->number(result.file) : result.file;
    ledger.file(number, result.seconds, [&](FileOutcome& outcome) { make(result, outcome); });
    if (in_file) plan->end(result.file);
  };
  ledger.run([&] {
    if (in_file) plan->skip_finished(ledger);
    for_each_file(state, files, &reduce_file, reinterpret_cast<const std::byte*>(argument), take, [&](std::size_t i) {
      if (in_file) plan->begin(i);
    });
  });
  return report;
}

}  // namespace runrig::batch
