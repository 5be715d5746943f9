#include <algorithm>
#include <exception>
#include <filesystem>
#include <functional>
#include <memory>
#include <utility>

#include "bound_expression.hpp"
#include "dry_run.hpp"
#include "encoding.hpp"
#include "file_tasks.hpp"
#include "output_job.hpp"
#include "output_plan.hpp"
#include "provenance.hpp"
#include "runrig/engine/expression.hpp"
#include "runrig/hdf5/output.hpp"
#include "runrig/sync/error.hpp"
#include "user_kernel.hpp"

namespace runrig::batch {
namespace {

using pickle::Object;

// A variable of the expressions: as the request has it, and in the file at hand.
struct Variable {
  const MapInput* input = nullptr;
  FileVariable here;
  bool all_fill = false;
};

// The user's kernel, loaded once by a worker.
struct KernelUse {
  MapKernel kernel;
  KernelSignature signature;
};

// An output of the request: its expression, and which of the variables that uses, in its order; those of a kernel use
// all.
struct Formula {
  const MapOutput* output = nullptr;
  Expression expression;
  std::vector<std::uint32_t> inputs;
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

// Makes one output file from one input file.
class MapOne {
 public:
  MapOne(const MapRequest& request, const std::vector<Formula>& formulas, const std::optional<KernelUse>& kernel,
         std::vector<Variable> variables, const std::string& file)
      : request_(request), formulas_(formulas), kernel_(kernel), variables_(std::move(variables)), file_(file) {}

  /// What is to be made. Throws TaskError and Error if the expressions do not fit the datasets.
  const OutputRequest& prepare(Session::State& state) {
    results_.resize(formulas_.size());
    bound_.reserve(formulas_.size());  // parts point at them
    if (kernel_) {
      for (const Variable& each : variables_) wanted_.variables.push_back(describe(each.here, state.memory_bytes));
      wanted_.kernel = plan_kernel();
    }
    for (std::uint32_t i = 0; i < formulas_.size(); ++i) {
      wanted_.parts.push_back(kernel_ ? plan_kernel_part(*wanted_.kernel, i, results_[i].notes)
                                      : plan(state, formulas_[i], results_[i].notes, wanted_.variables));
    }
    const OutputPart& first = wanted_.parts[0];
    wanted_.action = "reading " + wanted_.variables[first.like.value_or(first.inputs[0])].dataset;
    return wanted_;
  }

  /// In place of the results: what would be read and written.
  void tell_plan(const PendingOutput& output, PlannedFile& planned) const {
    for (const Variable& each : variables_) {
      const auto& selection = each.input->dataset.selection;
      const Shape& shape = each.here.selection.shape;
      planned.reads.push_back({each.here.file, each.here.dataset + (selection ? selection->text : ""), shape,
                               each.here.info.type.numpy,
                               shape.checked_bytes(item_bytes(each.here.info.type.dtype)).value_or(UINT64_MAX)});
    }
    tell_writes(wanted_, output, planned);
    for (const MapResult& each : results_) {
      planned.notes.insert(planned.notes.end(), each.notes.begin(), each.notes.end());
    }
  }

  /// Makes it.
  std::vector<MapResult> make(Session::State& state, PendingOutput& output) {
    return results(output, make_output(state, wanted_, output));
  }

  /// When it is there. All notes on the file are told with its first dataset.
  std::vector<MapResult> results(const PendingOutput& output, std::vector<std::string> notes) {
    for (auto& each : notes) results_[0].notes.push_back(std::move(each));
    std::error_code ignored;
    const std::uint64_t bytes = std::filesystem::file_size(output.final_path(), ignored);
    for (std::size_t i = 0; i < results_.size(); ++i) {
      const hdf5::OutputSpec& spec = wanted_.parts[i].spec;
      results_[i].file = file_;
      results_[i].output = output.final_path();
      results_[i].dataset = wanted_.parts[i].dataset;
      results_[i].shape = spec.shape;
      results_[i].dtype = std::string(dtype_string(spec.dtype));
      if (spec.big_endian && results_[i].dtype[0] == '<') results_[i].dtype[0] = '>';
      results_[i].output_bytes = bytes;
    }
    return std::move(results_);
  }

 private:
  // Adds what the formula is computed from to `all`, each dataset once.
  OutputPart plan(Session::State& state, const Formula& formula, std::vector<std::string>& notes,
                  std::vector<OutputVariable>& all) {
    std::vector<const FileVariable*> own;
    for (const std::uint32_t i : formula.inputs) own.push_back(&variables_[i].here);
    const BoundExpression& bound = bound_.emplace_back(state, formula.expression, own);
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
      part.like = place_of(variables_[*like].here, state, all);
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
  OutputKernel plan_kernel() const {
    (void)shaped_variable();
    std::vector<DType> given;
    for (const Variable& each : variables_) given.push_back(each.here.info.type.dtype);
    OutputKernel made{kernel_->kernel, {}, given, kernel_->signature.results(given, request_.dtype)};
    for (std::size_t i = 0; i < given.size(); ++i) {
      const std::string& name = variables_[i].input->name;
      made.names.push_back(name);
      made.inputs[i] = kernel_->signature.inputs[i].value_or(given[i]);
      if (can_convert(given[i], made.inputs[i])) continue;
      throw TaskError("the kernel takes " + std::string(dtype_name(made.inputs[i])) + ", which " + name + " of " +
                      std::string(dtype_name(given[i])) + " cannot be made");
    }
    return made;
  }

  OutputPart plan_kernel_part(const OutputKernel& kernel, std::uint32_t output, std::vector<std::string>& notes) const {
    const std::uint32_t like = shaped_variable();
    OutputPart part;
    part.kernel_output = output;
    part.inputs = formulas_[output].inputs;
    part.like = like;
    part.spec = hdf5::output_like(variables_[like].here.info, variables_[like].here.selection, kernel.outputs[output],
                                  notes, request_.storage);
    part.dataset = formulas_[output].output->to;
    if (request_.provenance) part.attributes = provenance(formulas_[output]);
    return part;
  }

  // Of a kernel, whose inputs have one shape or are single elements: the first that has the shape. Throws TaskError if
  // the shapes do not fit.
  std::uint32_t shaped_variable() const {
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

  static bool same_selection(const hdf5::Selection& a, const hdf5::Selection& b) {
    return a.rank == b.rank && a.axes == b.axes && a.shape == b.shape;
  }
  // Where a dataset that gives layout and attributes is among `all`.
  static std::uint32_t place_of(const FileVariable& variable, const Session::State& state,
                                std::vector<OutputVariable>& all) {
    const auto same = std::ranges::find_if(all, [&](const OutputVariable& each) {
      return each.memory == nullptr && each.file == variable.file && each.dataset == variable.dataset &&
             same_selection(each.selection, variable.selection);
    });
    const auto place = static_cast<std::uint32_t>(same - all.begin());
    if (same == all.end()) all.push_back(describe(variable, state.memory_bytes));
    return place;
  }

  // The variable whose layout and attributes the output takes: the first of the request's inputs that has its shape.
  std::optional<std::uint32_t> like_variable(const Formula& formula, const BoundExpression& bound) const {
    if (!bound.like()) return std::nullopt;
    const bool read = formula.expression.reads_variable(*bound.like());
    for (const MapInput& input : request_.inputs) {
      for (std::size_t k = 0; k < formula.inputs.size(); ++k) {
        const Variable& each = variables_[formula.inputs[k]];
        if (each.input == &input && each.here.selection.shape == bound.shape() &&
            formula.expression.reads_variable(k) == read) {
          return formula.inputs[k];
        }
      }
    }
    return std::nullopt;
  }

  std::vector<std::byte> value_of_fill(const Formula& formula, const Program& program) const {
    std::vector<Operand> operands;
    for (const std::uint32_t i : formula.inputs) operands.push_back({variables_[i].here.info.fill.data(), true});
    std::vector<std::byte> scratch(program.scratch_bytes());
    std::vector<std::byte> fill(item_bytes(program.result()));
    run_program(program.code(), operands, fill.data(), 1, scratch.data());
    return fill;
  }

  TextAttributes provenance(const Formula& formula) const {
    std::string datasets;
    for (const std::uint32_t i : formula.inputs) {
      const MapInput& input = *variables_[i].input;
      datasets += (datasets.empty() ? "" : ", ") + input.name + "=";
      if (input.dataset.file) datasets += *input.dataset.file + ":";
      datasets += input.dataset.path + (input.dataset.selection ? input.dataset.selection->text : "");
    }
    TextAttributes how;
    if (kernel_) {
      how.emplace_back("runrig_kernel", kernel_name(kernel_->kernel.library, kernel_->kernel.function));
      how.emplace_back("runrig_parameter", kernel_->kernel.parameter);
    } else {
      how.emplace_back("runrig_expression", formula.output->expression);
    }
    return batch::provenance(file_, datasets, how);
  }

  const MapRequest& request_;
  const std::vector<Formula>& formulas_;
  const std::optional<KernelUse>& kernel_;
  std::vector<Variable> variables_;
  const std::string& file_;
  std::vector<BoundExpression> bound_;
  OutputRequest wanted_;
  std::vector<MapResult> results_;
};

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
std::vector<Formula> kernel_outputs(const MapRequest& request, const KernelUse& use, std::vector<Variable>& variables) {
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
                                   std::vector<Variable>& variables) {
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
      auto known = std::ranges::find(variables, input, &Variable::input);
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

/// The files of a call, some at a time: while the workers make small outputs, those they made before go to the disk
/// together, and get their names. Larger ones are made one by one, by all workers.
class MapFiles {
 public:
  using Bind = std::function<std::unique_ptr<MapOne>(FileResult&)>;

  MapFiles(Session::State& state, OutputPlan& plan, FileLedger& ledger, MapReport& report, Bind bind)
      : state_(state), plan_(plan), ledger_(ledger), report_(report), bind_(std::move(bind)) {}

  /// In the order of the files.
  void add(FileResult looked) {
    Entry& entry = group_.emplace_back();
    entry.looked = std::move(looked);
    try {
      entry.one = bind_(entry.looked);
      const OutputRequest& wanted = entry.one->prepare(state_);
      entry.array_bytes = array_bytes(wanted);
      entry.small = state_.dry_run == nullptr && small_->add(wanted, plan_.output(entry.looked.file));
    } catch (const Cancelled&) {
      throw;
    } catch (const TaskError&) {
      entry.failure = std::current_exception();
    } catch (const Error&) {
      entry.failure = std::current_exception();
    }
    if (group_.size() == files_at_once) turn();
  }
  void finish() {
    turn();
    settle();
  }

 private:
  static constexpr std::size_t files_at_once = 64;
  struct Entry {
    FileResult looked;
    std::unique_ptr<MapOne> one;
    std::exception_ptr failure;
    bool small = false;
    std::uint64_t array_bytes = 0;
    std::optional<std::vector<std::string>> made;  // a small one's notes, once it lacks only its name
  };

  void turn() {
    // The workers are needed for what is not small, or went wrong.
    const bool by_the_way =
        std::ranges::all_of(made_, [](const Entry& each) { return each.failure != nullptr || each.made; });
    if (!by_the_way) settle();
    small_->begin();
    settle();
    auto notes = small_->finish();
    std::size_t at = 0;
    for (Entry& each : group_) {
      if (each.small) each.made = std::move(notes[at++]);
    }
    made_ = std::exchange(group_, {});
    small_ = std::make_unique<SmallOutputs>(state_);
  }

  // Gives those that were made their names, makes the others, and tells of each in order.
  void settle() {
    std::vector<PendingOutput*> outputs;
    for (Entry& each : made_) {
      if (each.made) outputs.push_back(&plan_.output(each.looked.file));
    }
    const auto failures = PendingOutput::publish_together(outputs);
    std::size_t at = 0;
    for (Entry& each : made_) {
      if (each.made) each.failure = failures[at++];
      ledger_.file(plan_.number(each.looked.file), each.looked.seconds,
                   [&](FileOutcome& outcome) { tell(each, outcome); });
      plan_.end(each.looked.file);
    }
    made_.clear();
  }

  void tell(Entry& entry, FileOutcome& outcome) {
    if (entry.failure) std::rethrow_exception(entry.failure);
    PendingOutput& output = plan_.output(entry.looked.file);
    if (state_.dry_run != nullptr) return entry.one->tell_plan(output, state_.dry_run->current());
    if (entry.small && !entry.made) output.discard();            // from the beginning
    if (entry.made) state_.progress.bytes += entry.array_bytes;  // the others count themselves
    auto results = entry.made ? entry.one->results(output, std::move(*entry.made)) : entry.one->make(state_, output);
    for (auto& each : results) {
      outcome.output = each.output;
      outcome.datasets.push_back(each.dataset);
      outcome.notes.insert(outcome.notes.end(), each.notes.begin(), each.notes.end());
      report_.results.push_back(std::move(each));
    }
  }

  Session::State& state_;
  OutputPlan& plan_;
  FileLedger& ledger_;
  MapReport& report_;
  Bind bind_;
  std::vector<Entry> group_;                                                      // to be made
  std::vector<Entry> made_;                                                       // to be given their names
  std::unique_ptr<SmallOutputs> small_ = std::make_unique<SmallOutputs>(state_);  // ended before the requests go
};

OutputWish wish_of(const MapRequest& request, const Options& options) {
  OutputWish wish{request.output, {}, request.existing, request.resume, request_text(request, options)};
  for (const MapInput& each : request.inputs) {
    if (each.dataset.file) wish.further.push_back(*each.dataset.file);
  }
  if (request.kernel) wish.further.push_back(request.kernel->library);
  return wish;
}

}  // namespace

DryRun Session::plan(const MapRequest& request) {
  return run_dry(*state_, request.files, [&] { return map(request); });
}

MapReport Session::map(const MapRequest& request) {
  State& state = *state_;
  MapReport report;
  std::vector<Variable> variables;
  const std::vector<std::string> names = checked_names(request);
  std::optional<KernelUse> kernel;
  if (request.kernel) {
    kernel.emplace(KernelUse{*request.kernel, {}});
    kernel->signature = load_kernel(state, kernel->kernel);
  }
  const std::vector<Formula> formulas =
      kernel ? kernel_outputs(request, *kernel, variables) : parse_outputs(request, names, variables);
  OutputPlan plan(state, request.files, wish_of(request, state.options));
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
  argument->options.conventions = state.options.conventions;
  argument->options.max_chunk_bytes = state.memory_bytes;
  FileLedger ledger(state, request.files, report.failures);
  const auto bind = [&](FileResult& result) {
    const std::string& file = plan.files()[result.file];
    if (!result.failure.empty()) throw TaskError(result.failure);
    std::vector<Variable> bound = variables;
    for (std::size_t i = 0; i < bound.size(); ++i) {
      const Object& record = i < result.records.size() ? result.records[i] : Object();
      const hdf5::DatasetRef& ref = bound[i].input->dataset;
      FileVariable& here = bound[i].here;
      here.name = bound[i].input->name;
      here.file = ref.file.value_or(file);
      here.dataset = ref.path;
      here.info = decode_dataset(record.at(0));
      if (lies_elsewhere(here.info.layout)) plan.unbind(result.file);
      here.selection = hdf5::resolve(ref.selection, here.info.shape, here.file + ":" + ref.path);
      bound[i].all_fill = record.at(1).as_bool();
    }
    return std::make_unique<MapOne>(request, formulas, kernel, std::move(bound), file);
  };
  MapFiles files(state, plan, ledger, report, bind);
  ledger.run([&] {
    plan.skip_finished(ledger);
    for_each_file(
        state, plan.files(), &look_at, reinterpret_cast<const std::byte*>(argument),
        [&](FileResult result) { files.add(std::move(result)); }, [&](std::size_t i) { plan.begin(i); });
    files.finish();
  });
  return report;
}

}  // namespace runrig::batch
