#include "output_job.hpp"

#include <sys/statvfs.h>

#include <algorithm>
#include <cstring>
#include <filesystem>

#include "encoding.hpp"
#include "map_plan.hpp"
#include "runrig/channel/pickle.hpp"
#include "runrig/hdf5/codec.hpp"
#include "runrig/sync/error.hpp"
#include "slabs.hpp"

namespace runrig::batch {
namespace {

using pickle::Object;

constexpr std::uint64_t tile_target_bytes = std::uint64_t{1} << 20;
constexpr int writer_attempts = 3;

// The writer was killed, or died, and with it what it had open.
class WriterDied : public TaskError {
 public:
  using TaskError::TaskError;
};

std::string failure_in(const Journal& journal, const std::string& reason) {
  const std::string action = journal.action();
  return action.empty() || action == "creating the output" ? reason : reason + " (" + action + ")";
}

class OutputJob {
 public:
  OutputJob(Session::State& state, const OutputRequest& request, PendingOutput& output)
      : state_(state), request_(request), spec_(request.spec), output_(output) {}

  std::vector<std::string> run() {
    check_space();
    if (!request_.all_fill) state_.progress.bytes += spec_.shape.elements() * item_bytes(spec_.dtype);
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
    return notes_;
  }

 private:
  void check_space() const {
    const auto bytes = spec_.shape.checked_bytes(item_bytes(spec_.dtype));
    if (!bytes) throw TaskError("the result of shape " + to_string(spec_.shape) + " is too large");
    if (request_.all_fill || (spec_.chunk.rank() > 0 && !spec_.filters.empty()))
      return;  // how large it gets is not known
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
    if (!request_.all_fill) compute();
    if (spec_.chunk.rank() > 0 || !offset_known_)
      run_writer([plan = plan_](SliceContext&) { close_output(*plan); }, "closing the output");
  }

  ArenaWriter make_plan() {
    static std::uint64_t plans = 0;
    const auto spec = pickle::dumps(encode(spec_));
    const auto code = request_.program->code();
    std::size_t text = output_.temporary_path().size() + request_.dataset.size();
    for (const OutputVariable& each : request_.variables) text += each.file.size() + each.dataset.size() + 2;
    ArenaWriter memory(*state_.arena, sizeof(MapPlan) + request_.variables.size() * sizeof(MapVariable) + spec.size() +
                                          code.size() + text + 4096);
    plan_ = memory.add<MapPlan>(1);
    plan_->variables = add_variables(memory);
    plan_->variable_count = static_cast<std::uint32_t>(request_.variables.size());
    const auto copy = [&memory](std::span<const std::byte> bytes) {
      std::byte* place = memory.take(bytes.size(), 8);
      std::memcpy(place, bytes.data(), bytes.size());
      return std::span<const std::byte>(place, bytes.size());
    };
    plan_->id = ++plans;
    plan_->code = copy(code);
    plan_->program_scratch = request_.program->scratch_bytes();
    plan_->spec = copy(spec);
    plan_->temporary = memory.add(output_.temporary_path());
    plan_->dataset = memory.add(request_.dataset);
    if (request_.like) {
      plan_->like_file = plan_->variables[*request_.like].source.file;
      plan_->like_dataset = plan_->variables[*request_.like].source.dataset;
      plan_->like_selection = plan_->variables[*request_.like].source.selection;
    }
    plan_->bytes_done = &state_.bytes_done();
    return memory;
  }

  const MapVariable* add_variables(ArenaWriter& memory) {
    const std::size_t count = request_.variables.size();
    auto* variables = memory.add<MapVariable>(count);
    const auto workers = static_cast<std::size_t>(state_.readers.size());
    // Scratch memory, of which each variable and the result take a tile; then what reading needs.
    plan_->data_bytes = (std::size_t{256} << 20) +
                        (count + 4) * 2 * static_cast<std::size_t>(std::max(tile_target_bytes, output_chunk_bytes()));
    for (std::size_t i = 0; i < count; ++i) {
      const OutputVariable& each = request_.variables[i];
      variables[i].dtype = each.dtype;
      variables[i].scalar = each.selection.shape.rank() == 0;
      variables[i].in_memory = each.array.has_value();
      if (each.array) variables[i].array = *each.array;
      Source& source = variables[i].source;
      source.file = memory.add(each.file);
      source.dataset = memory.add(each.dataset);
      source.selection = each.selection;
      source.max_chunk_bytes = state_.memory_bytes;
      source.cache_bytes = std::min(std::size_t{16} << 20, state_.memory_bytes / (workers * count * 8));
      source.force_library = state_.options.force_library;
      plan_->data_bytes += source.cache_bytes + 4 * static_cast<std::size_t>(each.chunk_bytes);
    }
    return variables;
  }

  // A chunk of the output, as far as that can be in memory.
  std::uint64_t output_chunk_bytes() const {
    const auto bytes = spec_.chunk.checked_bytes(item_bytes(spec_.dtype)).value_or(SIZE_MAX);
    return std::min<std::uint64_t>(bytes, state_.memory_bytes);
  }
  std::uint64_t largest_chunk_bytes() const {
    std::uint64_t largest = output_chunk_bytes();
    for (const OutputVariable& each : request_.variables) largest = std::max(largest, each.chunk_bytes);
    return largest;
  }

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
    notes_.clear();
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
      check_launch(launch, request_.action);
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
  const OutputRequest& request_;
  const hdf5::OutputSpec& spec_;
  PendingOutput& output_;
  std::vector<std::string> notes_;
  MapPlan* plan_ = nullptr;
  std::size_t bound_ = 0;
  bool offset_known_ = false;
};

}  // namespace

std::vector<std::string> make_output(Session::State& state, const OutputRequest& request, PendingOutput& output) {
  return OutputJob(state, request, output).run();
}

}  // namespace runrig::batch
