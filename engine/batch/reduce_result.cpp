#include "reduce_result.hpp"

#include <algorithm>
#include <cstring>
#include <filesystem>
#include <utility>

#include "encoding.hpp"
#include "provenance.hpp"
#include "reduce_large.hpp"
#include "reduce_scan.hpp"
#include "reduce_space.hpp"
#include "runrig/sync/error.hpp"
#include "slabs.hpp"

namespace runrig::batch {
namespace {

using pickle::Object;

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

ArenaBlock in_arena(const Session::State& state, std::span<const std::byte> bytes) {
  ArenaBlock block = state.arena->allocate(std::max<std::size_t>(bytes.size(), 1));
  std::copy(bytes.begin(), bytes.end(), block.data());
  return block;
}

}  // namespace

TargetResult::TargetResult(Session::State& state, const ReduceRequest& request, const ReduceArgument& argument,
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

void TargetResult::take(const Object& record, std::span<const std::byte> bytes) {
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

void TargetResult::take_constant(const Object& record, std::span<const std::byte> bytes) {
  if (record.find("constant") == nullptr || bytes.size() != item_bytes(reducer_.result())) {
    throw FormatError("read the report of", "a worker", "a result of another size");
  }
  constant_.assign(bytes.begin(), bytes.end());
}

void TargetResult::make() {
  result_.values.resize(result_bytes());
  if (argument_.is_histogram()) {
    make_histogram();
  } else if (argument_.is_quantile()) {
    quantiles_large(state_, large_, axes_, argument_.operation.quantile, argument_.nan, result_.values.data());
  } else if (argument_.is_told_by_statistics(axes_, large_.info.type.dtype)) {
    result_.values = result_of(summarize(state_, large_), reducer_);
  } else {
    reduce_large(state_, large_, axes_, reducer_, result_.values.data());
  }
}

void TargetResult::make_histogram() {
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

void TargetResult::tell_plan(const PendingOutput* output, PlannedFile& planned) {
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

const OutputRequest& TargetResult::output() {
  if (argument_.is_histogram()) {
    add_histogram();
  } else {
    add_reduced();
  }
  wanted_.action = "writing " + request_.to;
  return wanted_;
}

// A dataset of elements in the arena.
OutputPart& TargetResult::add_part(const hdf5::OutputSpec& spec, const std::string& to, const ArenaBlock& values) {
  std::optional<Program>& copy = programs_[wanted_.parts.size()];
  copy.emplace(Expression::parse("x").bind(std::vector{spec.dtype}));
  OutputVariable variable;
  variable.memory = values.data();
  variable.selection = hdf5::Selection::all(spec.shape);
  variable.dtype = spec.dtype;
  OutputPart part;
  part.program = &*copy;
  part.inputs = {static_cast<std::uint32_t>(wanted_.variables.size())};
  part.spec = spec;
  part.dataset = to;
  part.attributes = attributes();
  wanted_.variables.push_back(std::move(variable));
  return wanted_.parts.emplace_back(std::move(part));
}

void TargetResult::add_reduced() {
  values_ = is_in_pieces() ? ArenaBlock() : in_arena(state_, std::exchange(result_.values, {}));
  OutputPart& part = add_part(spec_like_source(), request_.to, values_);
  OutputVariable& variable = wanted_.variables[0];
  variable.file = large_.file;
  variable.dataset = large_.dataset;
  variable.selection = kept_part(large_.selection, axes_);
  if (is_in_pieces()) {
    wanted_.region_bytes = state_.memory_bytes / 8;
    variable.produce = [this](const hdf5::Box& region) {
      piece_.reset();  // before there is another
      piece_.emplace(AnyArray::create_anonymous(reducer_.result(), region.count));
      make_piece(region, piece_->ref().data);
      return piece_->handle();
    };
  }
  if (!large_.info.null_space) part.like = 0;
  for (auto& each : attributes_that_lie(request_.operation)) part.spec.dropped_attributes.push_back(std::move(each));
  if (!constant_.empty() && part.spec.chunk.rank() > 0) {  // need not be stored
    part.all_fill = true;
    part.spec.fill = constant_;
  }
}

// Two datasets, counts and edges.
void TargetResult::add_histogram() {
  hdf5::OutputSpec spec;
  spec.dtype = DType::int64;
  spec.shape = Shape{argument_.operation.bins};
  values_ = in_arena(state_, std::exchange(result_.values, {}));
  (void)add_part(spec, request_.to, values_);
  spec.dtype = histogram_edge_dtype(reducer_.elements());
  spec.shape = Shape{argument_.operation.bins + 1};
  const std::size_t item = item_bytes(spec.dtype);
  edges_ = state_.arena->allocate(result_.edges.size() * item);
  for (std::size_t i = 0; i < result_.edges.size(); ++i) {
    store_real(spec.dtype, result_.edges[i], edges_.data() + i * item);
  }
  result_.edges.clear();
  (void)add_part(spec, request_.to + "_edges", edges_);
}

ReduceResult TargetResult::in_file(const PendingOutput& output, std::vector<std::string> notes) {
  for (auto& each : notes) result_.notes.push_back(std::move(each));
  result_.output = output.final_path();
  std::error_code ignored;
  result_.output_bytes = std::filesystem::file_size(output.final_path(), ignored);
  return std::move(result_);
}

hdf5::OutputSpec TargetResult::spec_like_source() {
  hdf5::OutputSpec spec;
  if (!large_.info.null_space) {
    spec = hdf5::output_like(large_.info, kept_part(large_.selection, axes_), reducer_.result(), result_.notes);
  }
  spec.null_space = false;
  spec.dtype = reducer_.result();
  spec.shape = axes_.kept;
  return spec;
}

TextAttributes TargetResult::attributes() const {
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

bool TargetResult::is_in_pieces() const {
  return argument_.to_file && !argument_.is_histogram() && result_bytes() > state_.memory_bytes / 8;
}

void TargetResult::make_piece(const hdf5::Box& region, std::byte* out) {
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

std::size_t TargetResult::result_bytes() const {
  return static_cast<std::size_t>(result_.result_shape.elements()) * item_bytes(reducer_.result());
}

ReduceOutput::ReduceOutput(Session::State& state, const ReduceRequest& request, const ReduceArgument& argument,
                           FileResult& looked, OutputPlan& plan, ReduceReport& report)
    : state_(state),
      request_(request),
      file_(plan.files()[looked.file]),
      output_(plan.output(looked.file)),
      report_(report) {
  take_targets(looked, file_, request.datasets, failures_, [&](const TargetRecord& target) {
    target_ = std::make_unique<TargetResult>(state, request, argument, target);
    if (lies_elsewhere(target_->layout())) plan.unbind(looked.file);
  });
}

void ReduceOutput::attempt(const std::function<void()>& body) {
  const auto fail = [&](std::string_view reason) {
    failures_.push_back(make_failure(file_, target_->dataset(), reason));
    target_.reset();
  };
  try {
    body();
  } catch (const Cancelled&) {
    throw;
  } catch (const TaskError& error) {
    fail(error.what());
  } catch (const Error& error) {
    fail(error.what());
  }
}

bool ReduceOutput::add_to(SmallOutputs& small) {
  bool added = false;
  if (!target_) return added;
  attempt([&] {
    wanted_ = &target_->output();
    added = add_small(state_, small, *wanted_, output_);
  });
  return added;
}

void ReduceOutput::finish(FileOutcome& outcome, std::optional<SmallReport> made) {
  if (target_) {
    attempt([&] {
      if (state_.dry_run != nullptr) return target_->tell_plan(&output_, state_.dry_run->current());
      if (made) state_.progress.bytes += array_bytes(*wanted_);  // make_output() counts by itself
      auto notes = made ? std::move(made->notes) : make_output(state_, *wanted_, output_);
      ReduceResult& result = report_.results.emplace_back(target_->in_file(output_, std::move(notes)));
      outcome.output = result.output;
      outcome.datasets.push_back(request_.to);
      outcome.notes = result.notes;
    });
  }
  report_.failures.insert(report_.failures.end(), failures_.begin(), failures_.end());
}

}  // namespace runrig::batch
