#include "map_file.hpp"

#include <algorithm>
#include <filesystem>
#include <utility>

#include "dry_run.hpp"
#include "provenance.hpp"

namespace runrig::batch {
namespace {

bool same_selection(const hdf5::Selection& a, const hdf5::Selection& b) {
  return a.rank == b.rank && a.axes == b.axes && a.shape == b.shape;
}

}  // namespace

MapFile::MapFile(const MapCall& call, std::vector<RequestVariable> variables, const std::string& file,
                 PendingOutput& output, MapReport& report)
    : call_(call),
      request_(call.request),
      variables_(std::move(variables)),
      file_(file),
      output_(output),
      report_(report) {
  prepare();
}

void MapFile::prepare() {
  results_.resize(call_.formulas.size());
  bound_.reserve(call_.formulas.size());  // parts point at them
  if (call_.kernel) {
    for (const RequestVariable& each : variables_) {
      wanted_.variables.push_back(describe(each.here, call_.state.memory_bytes));
    }
    wanted_.kernel = plan_kernel();
  }
  for (std::uint32_t i = 0; i < call_.formulas.size(); ++i) {
    wanted_.parts.push_back(call_.kernel ? plan_kernel_part(i, results_[i].notes)
                                         : plan(call_.formulas[i], results_[i].notes));
  }
  const OutputPart& first = wanted_.parts[0];
  wanted_.action = "reading " + wanted_.variables[first.like.value_or(first.inputs[0])].dataset;
}

std::size_t MapFile::held_bytes() const {
  std::size_t bytes = 0;
  for (const BoundExpression& each : bound_) bytes += each.held_bytes();
  return bytes;
}

void MapFile::finish(FileOutcome& outcome, std::optional<SmallReport> made) {
  Session::State& state = call_.state;
  if (state.dry_run != nullptr) return tell_plan(state.dry_run->current());
  if (!made) return add_results(make_output(state, wanted_, output_), outcome);
  state.progress.bytes += array_bytes(wanted_);  // make_output() counts by itself
  add_results(std::move(made->notes), outcome);
}

// In place of the results: what would be read and written.
void MapFile::tell_plan(PlannedFile& planned) const {
  for (const RequestVariable& each : variables_) {
    const auto& selection = each.input->dataset.selection;
    const Shape& shape = each.here.selection.shape;
    planned.reads.push_back({each.here.file, each.here.dataset + (selection ? selection->text : ""), shape,
                             each.here.info.type.numpy,
                             shape.checked_bytes(item_bytes(each.here.info.type.dtype)).value_or(UINT64_MAX)});
  }
  tell_writes(wanted_, output_, planned);
  for (const MapResult& each : results_) {
    planned.notes.insert(planned.notes.end(), each.notes.begin(), each.notes.end());
  }
}

// When it is there. All notes on the file are told with its first dataset.
void MapFile::add_results(std::vector<std::string> notes, FileOutcome& outcome) {
  for (auto& each : notes) results_[0].notes.push_back(std::move(each));
  std::error_code ignored;
  const std::uint64_t bytes = std::filesystem::file_size(output_.final_path(), ignored);
  outcome.output = output_.final_path();
  for (std::size_t i = 0; i < results_.size(); ++i) {
    const hdf5::OutputSpec& spec = wanted_.parts[i].spec;
    MapResult& result = results_[i];
    result.file = file_;
    result.output = output_.final_path();
    result.dataset = wanted_.parts[i].dataset;
    result.shape = spec.shape;
    result.dtype = std::string(dtype_string(spec.dtype));
    if (spec.big_endian && result.dtype[0] == '<') result.dtype[0] = '>';
    result.output_bytes = bytes;
    outcome.datasets.push_back(result.dataset);
    outcome.notes.insert(outcome.notes.end(), result.notes.begin(), result.notes.end());
    report_.results.push_back(std::move(result));
  }
}

// Adds what the formula is computed from to the variables, each dataset once.
OutputPart MapFile::plan(const Formula& formula, std::vector<std::string>& notes) {
  std::vector<OutputVariable>& all = wanted_.variables;
  std::vector<const FileVariable*> own;
  for (const std::uint32_t i : formula.inputs) own.push_back(&variables_[i].here);
  const BoundExpression& bound = bound_.emplace_back(call_.state, formula.expression, own);
  const Program& program = bound.program();
  OutputPart part;
  part.program = &program;
  for (const OutputVariable& each : bound.inputs()) {
    const auto same = std::ranges::find_if(all, [&](const OutputVariable& other) {
      return each.memory == nullptr && other.memory == nullptr && other.file == each.file &&
             other.dataset == each.dataset && same_selection(other.selection, each.selection);
    });
    part.inputs.push_back(static_cast<std::uint32_t>(same - all.begin()));
    if (same == all.end()) all.push_back(each);
  }
  const auto like = like_variable(formula, bound);
  if (like) {
    part.like = place_of(variables_[*like].here);
    part.spec = hdf5::output_like(variables_[*like].here.info, variables_[*like].here.selection, program.result(),
                                  notes, request_.storage);
  } else {
    part.spec = hdf5::output_like(plain_info(program.result(), bound.shape()), hdf5::Selection::all(bound.shape()),
                                  program.result(), notes, request_.storage);
  }
  part.dataset = formula.output->to;
  // Nothing was ever stored of the inputs: nor need it be of the output, if its fill value is what would be computed.
  part.all_fill = part.spec.chunk.rank() > 0 && formula.expression.reductions().empty() &&
                  std::ranges::all_of(formula.inputs, [&](std::uint32_t i) { return variables_[i].all_fill; });
  if (part.all_fill) part.spec.fill = value_of_fill(formula, program);
  if (request_.provenance) part.attributes = provenance(formula);
  return part;
}

// Throws TaskError for inputs that the kernel cannot take.
OutputKernel MapFile::plan_kernel() const {
  (void)shaped_variable();
  std::vector<DType> given;
  for (const RequestVariable& each : variables_) given.push_back(each.here.info.type.dtype);
  OutputKernel made{call_.kernel->kernel, {}, given, call_.kernel->signature.results(given, request_.dtype)};
  for (std::size_t i = 0; i < given.size(); ++i) {
    const std::string& name = variables_[i].input->name;
    made.names.push_back(name);
    made.inputs[i] = call_.kernel->signature.inputs[i].value_or(given[i]);
    if (can_convert(given[i], made.inputs[i])) continue;
    throw TaskError("the kernel takes " + std::string(dtype_name(made.inputs[i])) + ", which " + name + " of " +
                    std::string(dtype_name(given[i])) + " cannot be made");
  }
  return made;
}

OutputPart MapFile::plan_kernel_part(std::uint32_t output, std::vector<std::string>& notes) const {
  const Formula& formula = call_.formulas[output];
  const std::uint32_t like = shaped_variable();
  OutputPart part;
  part.kernel_output = output;
  part.inputs = formula.inputs;
  part.like = like;
  part.spec = hdf5::output_like(variables_[like].here.info, variables_[like].here.selection,
                                wanted_.kernel->outputs[output], notes, request_.storage);
  part.dataset = formula.output->to;
  if (request_.provenance) part.attributes = provenance(formula);
  return part;
}

// Of a kernel, whose inputs have one shape or are single elements: the first that has the shape. Throws TaskError if
// the shapes do not fit.
std::uint32_t MapFile::shaped_variable() const {
  std::optional<std::uint32_t> shaped;
  for (std::uint32_t i = 0; i < variables_.size(); ++i) {
    const Shape& shape = variables_[i].here.selection.shape;
    if (shape.rank() == 0) continue;
    const std::uint32_t first = shaped.value_or(i);
    if (!(variables_[first].here.selection.shape == shape)) {
      throw TaskError("the shapes do not match: " + variables_[first].here.name + " is " +
                      to_string(variables_[first].here.selection.shape) + ", " + variables_[i].here.name + " is " +
                      to_string(shape));
    }
    shaped = first;
  }
  return shaped.value_or(0);
}

// Where a dataset that gives layout and attributes is among the variables.
std::uint32_t MapFile::place_of(const FileVariable& variable) {
  std::vector<OutputVariable>& all = wanted_.variables;
  const auto same = std::ranges::find_if(all, [&](const OutputVariable& each) {
    return each.memory == nullptr && each.file == variable.file && each.dataset == variable.dataset &&
           same_selection(each.selection, variable.selection);
  });
  const auto place = static_cast<std::uint32_t>(same - all.begin());
  if (same == all.end()) all.push_back(describe(variable, call_.state.memory_bytes));
  return place;
}

// The variable whose layout and attributes the output takes: the first of the request's inputs that has its shape.
std::optional<std::uint32_t> MapFile::like_variable(const Formula& formula, const BoundExpression& bound) const {
  if (!bound.like()) return std::nullopt;
  const bool read = formula.expression.reads_variable(*bound.like());
  for (const MapInput& input : request_.inputs) {
    for (std::size_t k = 0; k < formula.inputs.size(); ++k) {
      const RequestVariable& each = variables_[formula.inputs[k]];
      if (each.input == &input && each.here.selection.shape == bound.shape() &&
          formula.expression.reads_variable(k) == read) {
        return formula.inputs[k];
      }
    }
  }
  return std::nullopt;
}

std::vector<std::byte> MapFile::value_of_fill(const Formula& formula, const Program& program) const {
  std::vector<Operand> operands;
  for (const std::uint32_t i : formula.inputs) operands.push_back({variables_[i].here.info.fill.data(), true});
  std::vector<std::byte> scratch(program.scratch_bytes());
  std::vector<std::byte> fill(item_bytes(program.result()));
  run_program(program.code(), operands, fill.data(), 1, scratch.data());
  return fill;
}

TextAttributes MapFile::provenance(const Formula& formula) const {
  std::string datasets;
  for (const std::uint32_t i : formula.inputs) {
    const MapInput& input = *variables_[i].input;
    datasets += (datasets.empty() ? "" : ", ") + input.name + "=";
    if (input.dataset.file) datasets += *input.dataset.file + ":";
    datasets += input.dataset.path + (input.dataset.selection ? input.dataset.selection->text : "");
  }
  TextAttributes how;
  if (call_.kernel) {
    how.emplace_back("runrig_kernel", kernel_name(call_.kernel->kernel.library, call_.kernel->kernel.function));
    how.emplace_back("runrig_parameter", call_.kernel->kernel.parameter);
  } else {
    how.emplace_back("runrig_expression", formula.output->expression);
  }
  return batch::provenance(file_, datasets, how);
}

}  // namespace runrig::batch
