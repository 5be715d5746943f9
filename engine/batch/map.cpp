#include <algorithm>
#include <filesystem>

#include "encoding.hpp"
#include "file_tasks.hpp"
#include "output_job.hpp"
#include "output_path.hpp"
#include "runrig/engine/expression.hpp"
#include "runrig/hdf5/output.hpp"
#include "runrig/sync/error.hpp"

namespace runrig::batch {
namespace {

using pickle::Object;

// A variable of the expression, as the request has it.
struct Variable {
  const MapInput* input = nullptr;
  hdf5::DatasetInfo info;  // of the file at hand
  hdf5::Selection selection;
  bool all_fill = false;
  [[nodiscard]] bool scalar() const { return selection.shape.rank() == 0; }
};

struct LookAt {
  const char* file = nullptr;  // null: the file at hand
  const char* dataset = nullptr;
};
struct LookArgument {
  const LookAt* variables = nullptr;
  std::uint32_t count = 0;
  hdf5::ReadOptions options;
};
static_assert(std::is_trivially_copyable_v<LookArgument>);

// Reports what the variables' datasets are. Item 0 of the task is the file, so that any death ends it.
void look_at(SliceContext& context, const FileTask& task, const std::byte* bytes) {
  const auto& argument = *reinterpret_cast<const LookArgument*>(bytes);
  task.journal.reset();
  for (std::uint32_t i = 0; i < argument.count; ++i) {
    const LookAt& at = argument.variables[i];
    task.journal.act("opening " + std::string(at.dataset));
    context.heartbeat();
    hdf5::Dataset& dataset =
        OpenFiles::here().dataset(at.file != nullptr ? at.file : task.path, at.dataset, argument.options);
    dataset.check_readable();
    task.journal.append(Object::tuple({encode(dataset.info()), dataset.all_fill()}));
  }
}

// Makes one output from one input file.
class MapOne {
 public:
  MapOne(const MapRequest& request, const Expression& expression, std::vector<Variable> variables,
         const std::string& file)
      : request_(request), variables_(std::move(variables)), file_(file), program_(expression.bind(checked_types())) {}

  MapResult run(Session::State& state, PendingOutput& output) {
    MapResult result;
    OutputRequest wanted;
    const std::size_t like = like_variable();
    wanted.spec = hdf5::output_like(variables_[like].info, variables_[like].selection, program_.result(), result.notes);
    wanted.program = &program_;
    wanted.dataset = request_.to;
    wanted.like = like;
    wanted.action = "reading " + variables_[like].input->dataset.path;
    for (const Variable& each : variables_) wanted.variables.push_back(describe(each, state.memory_bytes));
    // Nothing was ever stored of the inputs: nor need it be of the output, if its fill value is what would be computed.
    wanted.all_fill = wanted.spec.chunk.rank() > 0 && std::all_of(variables_.begin(), variables_.end(),
                                                                  [](const Variable& each) { return each.all_fill; });
    if (wanted.all_fill) wanted.spec.fill = value_of_fill();
    for (auto& each : make_output(state, wanted, output)) result.notes.push_back(std::move(each));
    result.file = file_;
    result.output = output.final_path();
    result.dataset = request_.to;
    result.shape = wanted.spec.shape;
    result.dtype = std::string(dtype_string(wanted.spec.dtype));
    if (wanted.spec.big_endian && result.dtype[0] == '<') result.dtype[0] = '>';
    std::error_code ignored;
    result.output_bytes = std::filesystem::file_size(output.final_path(), ignored);
    return result;
  }

 private:
  // Throws TaskError if the shapes do not fit.
  std::vector<DType> checked_types() const {
    const Variable* shaped = nullptr;
    std::vector<DType> types;
    for (const Variable& each : variables_) {
      types.push_back(each.info.type.dtype);
      if (each.scalar()) continue;
      if (shaped != nullptr && !(shaped->selection.shape == each.selection.shape)) {
        throw TaskError("the shapes do not match: " + shaped->input->name + " is " +
                        to_string(shaped->selection.shape) + ", " + each.input->name + " is " +
                        to_string(each.selection.shape));
      }
      if (shaped == nullptr) shaped = &each;
    }
    return types;
  }

  // The variable whose layout and attributes the output takes: the first input that gives the shape.
  std::size_t like_variable() const {
    for (const MapInput& input : request_.inputs) {
      for (std::size_t i = 0; i < variables_.size(); ++i) {
        if (variables_[i].input == &input && !variables_[i].scalar()) return i;
      }
    }
    return 0;
  }

  OutputVariable describe(const Variable& variable, std::size_t memory_bytes) const {
    OutputVariable result;
    result.file = variable.input->dataset.file ? *variable.input->dataset.file : file_;
    result.dataset = variable.input->dataset.path;
    result.selection = variable.selection;
    result.dtype = variable.info.type.dtype;
    result.chunk_bytes =
        std::min(variable.info.chunk.checked_bytes(item_bytes(result.dtype)).value_or(SIZE_MAX), memory_bytes);
    return result;
  }

  std::vector<std::byte> value_of_fill() const {
    std::vector<Operand> operands;
    for (const Variable& each : variables_) operands.push_back({each.info.fill.data(), true});
    std::vector<std::byte> scratch(program_.scratch_bytes());
    std::vector<std::byte> fill(item_bytes(program_.result()));
    run_program(program_.code(), operands, fill.data(), 1, scratch.data());
    return fill;
  }

  const MapRequest& request_;
  std::vector<Variable> variables_;  // in the expression's order
  const std::string& file_;
  Program program_;
};

// The inputs that the expression uses, in its order.
std::vector<Variable> used_variables(const MapRequest& request, const Expression& expression) {
  std::vector<std::string> names;
  for (const MapInput& each : request.inputs) {
    if (std::find(names.begin(), names.end(), each.name) != names.end()) {
      throw Error(std::errc::invalid_argument, "give two inputs the name", each.name);
    }
    names.push_back(each.name);
  }
  expression.check_variables(names);
  std::vector<Variable> variables;
  for (const std::string& name : expression.variables()) {
    const auto input = std::find(names.begin(), names.end(), name) - names.begin();
    variables.push_back({&request.inputs[static_cast<std::size_t>(input)], {}, {}, false});
  }
  if (variables.empty())
    throw Error(std::errc::invalid_argument, "compute an expression that uses no input:", request.expression);
  return variables;
}

std::vector<std::unique_ptr<PendingOutput>> open_outputs(const MapRequest& request) {
  std::vector<std::string> all_inputs = request.files;
  for (const MapInput& each : request.inputs) {
    if (each.dataset.file) all_inputs.push_back(*each.dataset.file);
  }
  std::vector<std::unique_ptr<PendingOutput>> outputs;
  for (auto& path : plan_outputs(request.output, request.files, all_inputs)) {
    outputs.push_back(
        std::make_unique<PendingOutput>(std::move(path), request.existing == MapRequest::Existing::overwrite));
  }
  return outputs;
}

}  // namespace

MapReport Session::map(const MapRequest& request) {
  State& state = *state_;
  MapReport report;
  const Expression expression = Expression::parse(request.expression);
  const std::vector<Variable> variables = used_variables(request, expression);
  auto outputs = open_outputs(request);
  std::size_t text = 0;
  for (const Variable& each : variables) {
    text += each.input->dataset.path.size() + 2 + (each.input->dataset.file ? each.input->dataset.file->size() : 0);
  }
  ArenaWriter memory(*state.arena, sizeof(LookArgument) + variables.size() * sizeof(LookAt) + text + 256);
  auto* argument = memory.add<LookArgument>(1);
  auto* at = memory.add<LookAt>(variables.size());
  for (std::size_t i = 0; i < variables.size(); ++i) {
    if (variables[i].input->dataset.file) at[i].file = memory.add(*variables[i].input->dataset.file);
    at[i].dataset = memory.add(variables[i].input->dataset.path);
  }
  argument->variables = at;
  argument->count = static_cast<std::uint32_t>(variables.size());
  argument->options.force_library = state.options.force_library;
  argument->options.max_chunk_bytes = state.memory_bytes;
  state.progress.files += request.files.size();
  for_each_file(state, request.files, &look_at, reinterpret_cast<const std::byte*>(argument), [&](FileResult result) {
    const std::string& file = request.files[result.file];
    try {
      if (!result.failure.empty()) throw TaskError(result.failure);
      std::vector<Variable> bound = variables;
      for (std::size_t i = 0; i < bound.size(); ++i) {
        const Object& record = i < result.records.size() ? result.records[i] : Object();
        bound[i].info = decode_dataset(record.at(0));
        bound[i].all_fill = record.at(1).as_bool();
        const hdf5::DatasetRef& ref = bound[i].input->dataset;
        bound[i].selection =
            hdf5::resolve(ref.selection, bound[i].info.shape, ref.file.value_or(file) + ":" + ref.path);
      }
      report.results.push_back(MapOne(request, expression, std::move(bound), file).run(state, *outputs[result.file]));
    } catch (const Cancelled&) {
      throw;
    } catch (const TaskError& error) {
      report.failures.push_back(make_failure(file, "", error.what()));
    } catch (const Error& error) {
      report.failures.push_back(make_failure(file, "", error.what()));
    }
    outputs[result.file].reset();  // removes what is not complete
    ++state.progress.files_done;
    state.show_progress();
  });
  state.show_progress(true);
  return report;
}

}  // namespace runrig::batch
