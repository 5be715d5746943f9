#include <algorithm>
#include <memory>
#include <utility>

#include "dry_run.hpp"
#include "encoding.hpp"
#include "file_tasks.hpp"
#include "map_file.hpp"
#include "output_groups.hpp"
#include "runrig/sync/error.hpp"
#include "worker.hpp"

namespace runrig::batch {
namespace {

using pickle::Object;

struct LookAt {
  const char* file = nullptr;  // null: the file at hand
  const char* dataset = nullptr;
};
struct LookArgument {
  const LookAt* variables = nullptr;
  std::uint32_t count = 0;
  hdf5::ReadOptions options;
  std::size_t kept_files = 0;
};
static_assert(std::is_trivially_copyable_v<LookArgument>);

// Reports what the variables' datasets are. Item 0 of the task is the file, so that any death ends it.
void look_at(SliceContext& context, const FileTask& task, const std::byte* bytes) {
  const auto& argument = *reinterpret_cast<const LookArgument*>(bytes);
  task.journal.reset();
  OpenFiles::here().keep(argument.kept_files);
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

// The names of the inputs. Throws Error where two inputs, or two outputs, have the same.
std::vector<std::string> checked_names(const MapRequest& request) {
  std::vector<std::string> names;
  for (const MapInput& each : request.inputs) {
    if (std::ranges::find(names, each.name) != names.end()) {
      throw Error(std::errc::invalid_argument, "give two inputs the name", each.name);
    }
    names.push_back(each.name);
  }
  if (request.outputs.empty()) throw std::logic_error("map: a request without outputs");
  for (auto each = request.outputs.begin(); each != request.outputs.end(); ++each) {
    const auto same = [&](const MapOutput& other) { return other.to == each->to; };
    if (std::any_of(request.outputs.begin(), each, same)) {
      throw Error(std::errc::invalid_argument, "give two outputs the name", each->to);
    }
  }
  return names;
}

// The outputs of a kernel, which uses all inputs as its variables.
std::vector<Formula> kernel_outputs(const MapRequest& request, const KernelUse& use,
                                    std::vector<RequestVariable>& variables) {
  const std::string name = kernel_name(use.kernel.library, use.kernel.function);
  const auto check = [&](std::size_t takes, std::size_t given, std::string_view what) {
    if (takes == given) return;
    throw FormatError("use the kernel", name,
                      "it has " + std::to_string(takes) + " " + std::string(what) + ", not " + std::to_string(given));
  };
  check(use.signature.inputs.size(), request.inputs.size(), "inputs");
  check(use.signature.outputs.size(), request.outputs.size(), "outputs");
  const auto has_type = [](const auto& output) { return output.has_value(); };
  if (request.dtype && std::ranges::all_of(use.signature.outputs, has_type)) {
    throw FormatError("use the kernel", name, "its outputs have types of their own");
  }
  std::vector<Formula> formulas;
  for (const MapInput& each : request.inputs) variables.push_back({&each, {}, false});
  for (const MapOutput& each : request.outputs) {
    Formula& formula = formulas.emplace_back(Formula{&each, {}, {}});
    for (std::uint32_t i = 0; i < variables.size(); ++i) formula.inputs.push_back(i);
  }
  return formulas;
}

// The expressions of the outputs, with their use of `variables`, which become those inputs that any of them uses.
std::vector<Formula> parse_outputs(const MapRequest& request, const std::vector<std::string>& names,
                                   std::vector<RequestVariable>& variables) {
  std::vector<Formula> formulas;
  for (const MapOutput& each : request.outputs) {
    // By itself first, so that messages speak of what was written.
    Expression expression = Expression::parse(each.expression);
    expression.check_variables(names);
    if (request.dtype) {
      expression = Expression::parse(std::string(dtype_name(*request.dtype)) + "(" + each.expression + ")");
    }
    Formula formula{&each, std::move(expression), {}};
    for (const std::string& name : formula.expression.variables()) {
      const MapInput* input = &request.inputs[static_cast<std::size_t>(std::ranges::find(names, name) - names.begin())];
      auto known = std::ranges::find(variables, input, &RequestVariable::input);
      if (known == variables.end()) known = variables.insert(variables.end(), {input, {}, false});
      formula.inputs.push_back(static_cast<std::uint32_t>(known - variables.begin()));
    }
    if (formula.inputs.empty()) {
      throw Error(std::errc::invalid_argument, "compute an expression that uses no input:", each.expression);
    }
    formulas.push_back(std::move(formula));
  }
  return formulas;
}

OutputWish wish_of(const MapRequest& request, const Options& options) {
  OutputWish wish{request.output, {}, request.existing, request.resume, request_text(request, options)};
  for (const MapInput& each : request.inputs) {
    if (each.dataset.file) wish.further.push_back(*each.dataset.file);
  }
  if (request.kernel) wish.further.push_back(request.kernel->library);
  return wish;
}

// For look_at(): what it needs of the variables, and the memory that this is in.
std::pair<ArenaWriter, const LookArgument*> look_argument(const Session::State& state,
                                                          const std::vector<RequestVariable>& variables) {
  std::size_t text = 0;
  for (const RequestVariable& each : variables) {
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
  argument->kept_files = kept_files(state);
  argument->options.force_library = state.options.force_library;
  argument->options.conventions = state.options.conventions;
  argument->options.max_chunk_bytes = state.memory_bytes;
  return {std::move(memory), argument};
}

// The variables as look_at() found them in one file. Throws TaskError and Error where they are not there.
std::vector<RequestVariable> bind_variables(std::vector<RequestVariable> variables, const FileResult& result,
                                            const std::string& file) {
  if (!result.failure.empty()) throw TaskError(result.failure);
  for (std::size_t i = 0; i < variables.size(); ++i) {
    const Object& record = i < result.records.size() ? result.records[i] : Object();
    const hdf5::DatasetRef& ref = variables[i].input->dataset;
    FileVariable& here = variables[i].here;
    here.name = variables[i].input->name;
    here.file = ref.file.value_or(file);
    here.dataset = ref.path;
    here.info = decode_dataset(record.at(0));
    here.selection = hdf5::resolve(ref.selection, here.info.shape, here.file + ":" + ref.path);
    variables[i].all_fill = record.at(1).as_bool();
  }
  return variables;
}

}  // namespace

DryRun Session::plan(const MapRequest& request) {
  return run_dry(*state_, request.files, [&] { return map(request); });
}

MapReport Session::map(const MapRequest& request) {
  State& state = *state_;
  MapReport report;
  MapCall call{state, request};
  const std::vector<std::string> names = checked_names(request);
  if (request.kernel) {
    call.kernel.emplace(KernelUse{*request.kernel, {}});
    call.kernel->signature = load_kernel(state, call.kernel->kernel);
  }
  call.formulas = call.kernel ? kernel_outputs(request, *call.kernel, call.variables)
                              : parse_outputs(request, names, call.variables);
  OutputPlan plan(state, request.files, wish_of(request, state.options));
  const auto look = look_argument(state, call.variables);
  FileLedger ledger(state, request.files, report.failures);
  const auto bind = [&](FileResult& result) {
    const std::string& file = plan.files()[result.file];
    auto bound = bind_variables(call.variables, result, file);
    for (const RequestVariable& each : bound) {
      if (lies_elsewhere(each.here.info.layout)) plan.unbind(result.file);
    }
    return std::make_unique<MapFile>(call, std::move(bound), file, plan.output(result.file), report);
  };
  OutputGroups groups(state, plan, ledger);
  ledger.run([&] {
    plan.skip_finished(ledger);
    for_each_file(
        state, plan.files(), &look_at, reinterpret_cast<const std::byte*>(look.second),
        [&](FileResult result) {
          groups.add(result.file, result.seconds, result.worker, [&] { return bind(result); });
        },
        [&](std::size_t i) { plan.begin(i); });
    groups.finish();
  });
  return report;
}

}  // namespace runrig::batch
