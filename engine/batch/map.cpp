#include <sys/statvfs.h>

#include <algorithm>
#include <cstring>
#include <filesystem>
#include <map>
#include <new>

#include "encoding.hpp"
#include "file_tasks.hpp"
#include "map_plan.hpp"
#include "output_path.hpp"
#include "runrig/channel/pickle.hpp"
#include "runrig/engine/expression.hpp"
#include "runrig/hdf5/codec.hpp"
#include "runrig/hdf5/output.hpp"
#include "runrig/sync/error.hpp"
#include "slabs.hpp"

namespace runrig::batch {
namespace {

using pickle::Object;

constexpr std::uint64_t tile_target_bytes = std::uint64_t{1} << 20;
constexpr int writer_attempts = 3;

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

// The writer was killed, or died, and with it what it had open.
class WriterDied : public TaskError {
 public:
  using TaskError::TaskError;
};

std::string failure_in(const Journal& journal, const std::string& reason) {
  const std::string action = journal.action();
  return action.empty() || action == "creating the output" ? reason : reason + " (" + action + ")";
}

// Makes one output from one input file.
class MapOne {
 public:
  MapOne(Session::State& state, const MapRequest& request, const Expression& expression,
         std::vector<Variable> variables, const std::string& file, PendingOutput& output)
      : state_(state),
        request_(request),
        expression_(expression),
        variables_(std::move(variables)),
        file_(file),
        output_(output) {}

  MapResult run() {
    bind();
    for (int attempt = 1;; ++attempt) {
      try {
        write();
        break;
      } catch (const WriterDied&) {
        // Killed from outside, or by this very input; its file starts again from the beginning.
        abandon();
        if (attempt == writer_attempts) throw;
        output_.discard();
      } catch (const TaskError&) {
        abandon();
        throw;
      }
    }
    output_.publish();
    MapResult result;
    result.file = file_;
    result.output = output_.final_path();
    result.dataset = request_.to;
    result.shape = spec_.shape;
    result.dtype = std::string(dtype_string(spec_.dtype));
    if (spec_.big_endian && result.dtype[0] == '<') result.dtype[0] = '>';
    std::error_code ignored;
    result.output_bytes = std::filesystem::file_size(output_.final_path(), ignored);
    result.notes = notes_;
    return result;
  }

 private:
  // Types and shapes: what the output is.
  void bind() {
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
    program_.emplace(expression_.bind(types));
    like_ = like();
    spec_ = hdf5::output_like(like_->info, like_->selection, program_->result(), notes_);
    planned_notes_ = notes_.size();
    all_fill_ = spec_.chunk.rank() > 0 &&
                std::all_of(variables_.begin(), variables_.end(), [](const Variable& each) { return each.all_fill; });
    if (all_fill_) set_fill();
    check_space();
    if (!all_fill_) state_.progress.bytes += spec_.shape.elements() * item_bytes(spec_.dtype);
  }

  // The variable whose layout and attributes the output takes: the first input that gives the shape.
  const Variable* like() const {
    for (const MapInput& input : request_.inputs) {
      for (const Variable& each : variables_) {
        if (each.input == &input && !each.scalar()) return &each;
      }
    }
    return &variables_.front();
  }

  // Nothing was ever stored of the inputs: nor need it be of the output, if its fill value is what would be computed.
  void set_fill() {
    std::vector<Operand> operands;
    for (const Variable& each : variables_) operands.push_back({each.info.fill.data(), true});
    std::vector<std::byte> scratch(program_->scratch_bytes());
    spec_.fill.emplace(item_bytes(spec_.dtype));
    run_program(program_->code(), operands, spec_.fill->data(), 1, scratch.data());
  }

  void check_space() const {
    const auto bytes = spec_.shape.checked_bytes(item_bytes(spec_.dtype));
    if (!bytes) throw TaskError("the result of shape " + to_string(spec_.shape) + " is too large");
    if (all_fill_ || (spec_.chunk.rank() > 0 && !spec_.filters.empty())) return;  // how large it gets is not known
    const auto directory = std::filesystem::path(output_.temporary_path()).parent_path().string();
    struct statvfs status {};
    check_errno(::statvfs(directory.c_str(), &status), "look for space in", directory);
    const std::uint64_t free_bytes = static_cast<std::uint64_t>(status.f_bavail) * status.f_frsize;
    if (*bytes > free_bytes) {
      throw Error(std::errc::no_space_on_device,
                  "write " + std::to_string(*bytes) + " bytes, with " + std::to_string(free_bytes) + " free, to",
                  output_.final_path());
    }
  }

  void write() {
    const auto plan_memory = make_plan();
    create();
    if (!all_fill_) compute();
    if (spec_.chunk.rank() > 0 || !offset_known_)
      run_writer([plan = plan_](SliceContext&) { close_output(*plan); }, "closing the output");
  }

  std::uint64_t chunk_bytes(const hdf5::DatasetInfo& info) const {
    const auto bytes = info.chunk.checked_bytes(item_bytes(info.type.dtype)).value_or(SIZE_MAX);
    return std::min<std::uint64_t>(bytes, state_.memory_bytes);
  }

  ArenaWriter make_plan() {
    static std::uint64_t plans = 0;
    const auto spec = pickle::dumps(encode(spec_));
    const auto code = program_->code();
    std::size_t text =
        like_file().size() + like_->input->dataset.path.size() + output_.temporary_path().size() + request_.to.size();
    for (const Variable& each : variables_) text += file_of(each).size() + each.input->dataset.path.size() + 2;
    ArenaWriter memory(*state_.arena, sizeof(MapPlan) + variables_.size() * sizeof(MapVariable) + spec.size() +
                                          code.size() + text + 4096);
    plan_ = memory.add<MapPlan>(1);
    auto* variables = memory.add<MapVariable>(variables_.size());
    const auto workers = static_cast<std::size_t>(state_.readers.size());
    plan_->data_bytes = std::size_t{256} << 20;
    for (std::size_t i = 0; i < variables_.size(); ++i) {
      const Variable& each = variables_[i];
      variables[i].dtype = each.info.type.dtype;
      variables[i].scalar = each.scalar();
      Source& source = variables[i].source;
      source.file = memory.add(file_of(each));
      source.dataset = memory.add(each.input->dataset.path);
      source.selection = each.selection;
      source.max_chunk_bytes = state_.memory_bytes;
      source.cache_bytes = std::min(std::size_t{16} << 20, state_.memory_bytes / (workers * variables_.size() * 8));
      source.force_library = state_.options.force_library;
      plan_->data_bytes += source.cache_bytes + 4 * static_cast<std::size_t>(chunk_bytes(each.info));
    }
    const auto copy = [&memory](std::span<const std::byte> bytes) {
      std::byte* place = memory.take(bytes.size(), 8);
      std::memcpy(place, bytes.data(), bytes.size());
      return std::span<const std::byte>(place, bytes.size());
    };
    // Scratch memory, of which each variable and the result take a tile.
    plan_->data_bytes +=
        (variables_.size() + 4) * static_cast<std::size_t>(std::max(tile_target_bytes, output_chunk_bytes())) * 2;
    plan_->id = ++plans;
    plan_->variables = variables;
    plan_->variable_count = static_cast<std::uint32_t>(variables_.size());
    plan_->code = copy(code);
    plan_->program_scratch = program_->scratch_bytes();
    plan_->spec = copy(spec);
    plan_->temporary = memory.add(output_.temporary_path());
    plan_->dataset = memory.add(request_.to);
    plan_->like_file = memory.add(like_file());
    plan_->like_dataset = memory.add(like_->input->dataset.path);
    plan_->like_selection = like_->selection;
    plan_->bytes_done = &state_.bytes_done();
    return memory;
  }

  const std::string& file_of(const Variable& variable) const {
    return variable.input->dataset.file ? *variable.input->dataset.file : file_;
  }
  const std::string& like_file() const { return file_of(*like_); }

  template <class Body>
  void run_writer(const Body& body, std::string_view action) {
    auto options = state_.launch_options(1, 0);
    options.max_kills = 1;  // what a dead writer had open is gone
    Launch launch = state_.writer.launch(options, body);
    check_writer(launch, action);
  }

  // Waits for what the writer does. Throws WriterDied or TaskError.
  void check_writer(Launch& launch, std::string_view action) {
    state_.wait(launch);
    const SliceOutcome outcome = launch.outcome(0);
    if (outcome.state == SliceState::lost || outcome.exception_type.find("OutputGone") != std::string::npos) {
      throw WriterDied(failure_text(outcome, action));
    }
    check_launch(launch, action);
  }

  void create() {
    const ArenaBlock block = state_.arena->allocate(std::size_t{1} << 20);
    const Journal journal(block.data(), block.size_bytes());
    journal.reset();
    try {
      run_writer(
          [plan = plan_, journal](SliceContext& context) {
            try {
              create_output(*plan, journal);
            } catch (...) {
              context.retire();
              throw;
            }
          },
          "creating the output");
    } catch (const WriterDied& error) {
      throw WriterDied(failure_in(journal, error.what()));
    } catch (const TaskError& error) {
      throw TaskError(failure_in(journal, error.what()));
    }
    const auto records = journal.records();
    if (records.size() != 1) throw FormatError("read the report of", "the writer", "it is not one record");
    const Object& offset = records[0].at("offset");
    offset_known_ = !offset.is_none();
    if (offset_known_) plan_->offset = offset.as_uint();
    notes_.erase(notes_.begin() + static_cast<std::ptrdiff_t>(std::min(notes_.size(), planned_notes_)), notes_.end());
    for (const Object& each : records[0].at("notes").items()) notes_.push_back(decode_text(each));
  }

  // The result as a dataset, for what cuts datasets.
  hdf5::DatasetInfo output_info() const {
    hdf5::DatasetInfo info;
    info.type.numeric = true;
    info.type.dtype = spec_.dtype;
    info.shape = spec_.shape;
    info.layout = spec_.chunk.rank() > 0 ? hdf5::Layout::chunked : hdf5::Layout::contiguous;
    info.chunk = spec_.chunk;
    return info;
  }
  std::uint64_t output_chunk_bytes() const { return chunk_bytes(output_info()); }

  // A wave of tiles: memory for what the workers make, kept until the writer has placed it.
  struct Wave {
    ArenaBlock memory;
    std::optional<ArenaWriter> tables;
    MapTile* tiles = nullptr;
    std::uint32_t count = 0;
    Launch placing;
  };

  void compute() {
    const hdf5::DatasetInfo info = output_info();
    const auto all = hdf5::Selection::all(spec_.shape);
    const std::uint64_t wave_bytes =
        std::clamp<std::uint64_t>(state_.memory_bytes / 16, std::uint64_t{1} << 20, std::uint64_t{64} << 20);
    const std::size_t item = item_bytes(spec_.dtype);
    if (spec_.chunk.rank() > 0 && !spec_.library_filters) {
      bound_ = hdf5::ChunkEncoder(spec_.filters, item, spec_.big_endian)
                   .bound(static_cast<std::size_t>(output_chunk_bytes()));
    }
    Wave waves[2];
    std::size_t turn = 0;
    for (const hdf5::Box& region : hdf5::aligned_boxes(info, all, wave_bytes)) {
      Wave& wave = waves[turn++ % 2];
      finish(wave);
      fill_wave(wave, info, all, region);
      Launch launch =
          state_.readers.launch(state_.launch_options(wave.count, std::max(tile_target_bytes, largest_chunk_bytes())),
                                [plan = plan_, tiles = wave.tiles](SliceContext& context) {
                                  compute_tile(context, *plan, tiles[context.slice()]);
                                });
      state_.wait(launch);
      check_launch(launch, "reading " + like_->input->dataset.path);
      if (spec_.chunk.rank() == 0) continue;
      finish(waves[turn % 2]);  // the writer does one thing at a time
      auto options = state_.launch_options(1, wave_bytes);
      options.max_kills = 1;
      wave.placing =
          state_.writer.launch(options, [plan = plan_, tiles = wave.tiles, count = wave.count](SliceContext& context) {
            try {
              place_tiles(context, *plan, tiles, count);
            } catch (...) {
              context.retire();
              throw;
            }
          });
    }
    for (Wave& each : waves) finish(each);
  }

  std::uint64_t largest_chunk_bytes() const {
    std::uint64_t largest = output_chunk_bytes();
    for (const Variable& each : variables_) largest = std::max(largest, chunk_bytes(each.info));
    return largest;
  }

  void finish(Wave& wave) {
    if (wave.count > 0 && spec_.chunk.rank() > 0) {
      check_writer(wave.placing, "writing the output");
    }
    wave = Wave();
  }

  void fill_wave(Wave& wave, const hdf5::DatasetInfo& info, const hdf5::Selection& all, const hdf5::Box& region) {
    const hdf5::Selection part = part_of(all, region);
    // A small result is still cut for all workers.
    const std::uint64_t bytes = region.count.elements() * item_bytes(spec_.dtype);
    const auto target = std::clamp<std::uint64_t>(bytes / (static_cast<std::uint64_t>(state_.readers.size()) * 4),
                                                  std::uint64_t{64} << 10, tile_target_bytes);
    auto boxes = hdf5::aligned_boxes(info, part, target);
    std::vector<std::size_t> sizes;
    std::size_t total = 0;
    for (hdf5::Box& box : boxes) {
      for (std::size_t axis = 0; axis < box.start.rank(); ++axis) box.start[axis] += region.start[axis];
      sizes.push_back((tile_bytes(box) + 63) / 64 * 64);
      total += sizes.back();
    }
    if (total > 0) wave.memory = state_.arena->allocate(total);
    wave.tables.emplace(*state_.arena, boxes.size() * sizeof(MapTile) + 64);
    wave.tiles = wave.tables->add<MapTile>(boxes.size());
    wave.count = static_cast<std::uint32_t>(boxes.size());
    std::byte* memory = wave.memory.data();
    for (std::size_t i = 0; i < boxes.size(); ++i) {
      wave.tiles[i].box = boxes[i];
      wave.tiles[i].memory = memory;
      wave.tiles[i].memory_bytes = sizes[i];
      if (memory != nullptr) memory += sizes[i];
    }
  }

  // What a tile may leave for the writer, at most.
  std::size_t tile_bytes(const hdf5::Box& box) const {
    if (spec_.chunk.rank() == 0) return 0;
    if (spec_.library_filters) return static_cast<std::size_t>(box.count.elements()) * item_bytes(spec_.dtype);
    std::size_t chunks = 1;
    for (std::size_t axis = 0; axis < box.count.rank(); ++axis) {
      chunks *= static_cast<std::size_t>((box.count[axis] + spec_.chunk[axis] - 1) / spec_.chunk[axis]);
    }
    return chunks * (sizeof(ChunkEntry) + bound_);
  }

  void abandon() {
    try {
      run_writer([](SliceContext&) { abandon_output(); }, "closing the output");
    } catch (const TaskError&) {
      // The writer died over it: then the file is closed as well.
    }
  }

  Session::State& state_;
  const MapRequest& request_;
  const Expression& expression_;
  std::vector<Variable> variables_;  // in the expression's order
  const std::string& file_;
  PendingOutput& output_;
  std::optional<Program> program_;
  const Variable* like_ = nullptr;
  hdf5::OutputSpec spec_;
  std::vector<std::string> notes_;
  std::size_t planned_notes_ = 0;
  MapPlan* plan_ = nullptr;
  std::size_t bound_ = 0;
  bool all_fill_ = false;
  bool offset_known_ = false;
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
      report.results.push_back(MapOne(state, request, expression, std::move(bound), file, *outputs[result.file]).run());
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
