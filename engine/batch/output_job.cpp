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
#include "tile_waves.hpp"
#include "user_kernel.hpp"
#include "writer_calls.hpp"

namespace runrig::batch {
namespace {

using pickle::Object;

bool same_pass(const OutputPart& a, const OutputPart& b) {
  return a.spec.shape == b.spec.shape && a.spec.chunk == b.spec.chunk && a.all_fill == b.all_fill;
}

/// Parts that are made together, and the variables that they need.
struct Pass {
  std::vector<const OutputPart*> parts;
  std::vector<std::uint32_t> variables;  // of the request

  std::uint32_t place_of(std::uint32_t variable) {
    const auto at = std::ranges::find(variables, variable);
    if (at == variables.end()) {
      variables.push_back(variable);
      return static_cast<std::uint32_t>(variables.size() - 1);
    }
    return static_cast<std::uint32_t>(at - variables.begin());
  }
  [[nodiscard]] const hdf5::OutputSpec& spec() const { return parts[0]->spec; }
  [[nodiscard]] bool chunked() const { return spec().chunk.rank() > 0; }
  [[nodiscard]] bool all_fill() const { return parts[0]->all_fill; }
  /// Bytes of one element of every part.
  [[nodiscard]] std::size_t element_bytes() const {
    std::size_t bytes = 0;
    for (const OutputPart* part : parts) bytes += item_bytes(part->spec.dtype);
    return bytes;
  }
};

class OutputJob {
 public:
  OutputJob(Session::State& state, const OutputRequest& request, PendingOutput& output)
      : state_(state), request_(request), output_(output) {
    for (const OutputPart& part : request.parts) {
      auto same = std::ranges::find_if(passes_, [&](const Pass& pass) { return same_pass(*pass.parts[0], part); });
      if (same == passes_.end()) same = passes_.insert(passes_.end(), Pass{});
      same->parts.push_back(&part);
      for (const std::uint32_t input : part.inputs) (void)same->place_of(input);
      // What a dataset is made like is a variable of its pass as well, though the program may not use it.
      if (part.like) (void)same->place_of(*part.like);
    }
  }

  std::vector<std::string> run() {
    check_space(request_, output_);
    state_.progress.bytes += array_bytes(request_);
    retry_when_writer_dies(state_, output_, [&] { write(); });
    output_.publish();
    return notes_;
  }

  /// Whether one worker makes it in little time and memory.
  [[nodiscard]] bool is_small() const {
    std::uint64_t total = 0;
    const auto add = [&total](std::optional<std::size_t> bytes) {
      if (__builtin_add_overflow(total, bytes.value_or(SIZE_MAX), &total)) total = UINT64_MAX;
    };
    for (const OutputPart& part : request_.parts) add(part.spec.shape.checked_bytes(item_bytes(part.spec.dtype)));
    for (const OutputVariable& each : request_.variables) {
      if (each.array || each.produce) return false;
      add(each.selection.shape.checked_bytes(item_bytes(each.dtype)));
      add(each.chunk_bytes);
    }
    for (const Pass& pass : passes_) add(output_chunk_bytes(pass));
    return total <= small_output_bytes(state_);
  }

  /// For make_small_output(); lives as long as this.
  const SmallOutputPlan* plan_small() {
    check_space(request_, output_);
    plan_.emplace(make_plan());
    std::vector<std::vector<hdf5::Box>> boxes;
    std::size_t bytes = sizeof(SmallOutputPlan) + passes_.size() * sizeof(SmallPass) + 256;
    for (const Pass& pass : passes_) {
      const auto info = as_dataset(pass);
      boxes.push_back(pass.all_fill() ? std::vector<hdf5::Box>{}
                                      : hdf5::aligned_boxes(info, hdf5::Selection::all(info.shape), tile_target_bytes));
      bytes += boxes.back().size() * sizeof(MapTile) + 64;
    }
    tiles_.emplace(*state_.arena, bytes);
    auto* small = tiles_->add<SmallOutputPlan>(1);
    auto* passes = tiles_->add<SmallPass>(passes_.size());
    for (std::size_t i = 0; i < passes_.size(); ++i) {
      passes[i] = {tiles_->add<MapTile>(boxes[i].size()), static_cast<std::uint32_t>(boxes[i].size())};
      const auto bounds = chunk_bounds(passes_[i]);
      for (std::size_t k = 0; k < boxes[i].size(); ++k) {
        passes[i].tiles[k].box = boxes[i][k];
        passes[i].tiles[k].memory_bytes = tile_bytes(passes_[i], bounds, boxes[i][k]);
      }
    }
    *small = {file_, passes};
    return small;
  }

 private:
  void write() {
    const auto memory = make_plan();
    create();
    for (std::size_t i = 0; i < passes_.size(); ++i) {
      if (passes_[i].chunked() && !passes_[i].all_fill()) compute(passes_[i], plans_[i]);
    }
    run_writer(
        state_, [file = file_](SliceContext&) { close_output(*file); }, "closing the output");
    for (std::size_t i = 0; i < passes_.size(); ++i) {
      if (!passes_[i].chunked() && !passes_[i].all_fill()) compute(passes_[i], plans_[i]);
    }
  }

  ArenaWriter make_plan() {
    std::size_t bytes = sizeof(FilePlan) + passes_.size() * sizeof(MapPlan) + output_.temporary_path().size() + 4096;
    std::vector<std::vector<std::byte>> specs;
    for (const Pass& pass : passes_) {
      bytes += told_bytes(variables_of(pass));
      for (const OutputPart* part : pass.parts) {
        specs.push_back(pickle::dumps(encode(part->spec)));
        bytes += sizeof(MapResultPlan) + specs.back().size() + part->dataset.size() +
                 part->inputs.size() * sizeof(std::uint32_t) + 64;
        if (part->program != nullptr) bytes += part->program->code().size();
        bytes += attribute_bytes(part->attributes);
      }
    }
    bytes += passes_.size() * kernel_plan_bytes();
    ArenaWriter memory(*state_.arena, bytes);
    file_ = memory.add<FilePlan>(1);
    plans_ = memory.add<MapPlan>(passes_.size());
    file_->id = next_plan_id();
    file_->passes = plans_;
    file_->pass_count = static_cast<std::uint32_t>(passes_.size());
    file_->temporary = memory.add(output_.temporary_path());
    std::size_t spec = 0;
    for (std::size_t i = 0; i < passes_.size(); ++i) plan_pass(passes_[i], plans_[i], specs, spec, memory);
    return memory;
  }

  void plan_pass(Pass& pass, MapPlan& plan, const std::vector<std::vector<std::byte>>& specs, std::size_t& spec,
                 ArenaWriter& memory) {
    const auto copy = [&memory](std::span<const std::byte> bytes) {
      std::byte* place = memory.take(bytes.size(), 8);
      std::memcpy(place, bytes.data(), bytes.size());
      return std::span<const std::byte>(place, bytes.size());
    };
    plan.id = next_plan_id();
    plan.temporary = file_->temporary;
    plan.bytes_done = &state_.bytes_done();
    plan.result_count = static_cast<std::uint32_t>(pass.parts.size());
    plan.results = memory.add<MapResultPlan>(pass.parts.size());
    add_pass_variables(pass, plan, memory);
    if (request_.kernel) plan.kernel = add_kernel(pass, memory);
    for (std::size_t i = 0; i < pass.parts.size(); ++i) {
      const OutputPart& part = *pass.parts[i];
      MapResultPlan& result = plan.results[i];
      result.kernel_output = part.kernel_output;
      if (part.program != nullptr) {
        result.code = copy(part.program->code());
        result.program_scratch = part.program->scratch_bytes();
      }
      result.spec = copy(specs[spec++]);
      result.dataset = memory.add(part.dataset);
      auto* inputs = memory.add<std::uint32_t>(part.inputs.size());
      for (std::size_t k = 0; k < part.inputs.size(); ++k) inputs[k] = pass.place_of(part.inputs[k]);
      result.inputs = {inputs, part.inputs.size()};
      if (part.like) {
        const Source& source = plan.variables.items[pass.place_of(*part.like)].source;
        result.like_file = source.file;
        result.like_dataset = source.dataset;
        result.like_selection = source.selection;
      }
      result.attributes = add_attributes(memory, part.attributes);
    }
  }

  [[nodiscard]] std::size_t kernel_plan_bytes() const {
    if (!request_.kernel) return 0;
    const OutputKernel& made = *request_.kernel;
    std::size_t bytes = sizeof(KernelPlan) + made.inputs.size() * sizeof(KernelInput) +
                        made.outputs.size() * sizeof(DType) + made.kernel.library.size() + made.kernel.function.size() +
                        made.kernel.parameter.size() + 256;
    for (const std::string& each : made.names) bytes += each.size() + 1;
    return bytes;
  }

  const KernelPlan* add_kernel(Pass& pass, ArenaWriter& memory) {
    const OutputKernel& made = *request_.kernel;
    auto* const plan = memory.add<KernelPlan>(1);
    auto* const inputs = memory.add<KernelInput>(made.inputs.size());
    for (std::uint32_t i = 0; i < made.inputs.size(); ++i) {
      inputs[i] = {pass.place_of(i), memory.add(made.names[i]), request_.variables[i].dtype, made.inputs[i]};
    }
    auto* const outputs = memory.add<DType>(made.outputs.size());
    std::copy(made.outputs.begin(), made.outputs.end(), outputs);
    *plan = {memory.add(made.kernel.library), memory.add(made.kernel.function), memory.add(made.kernel.parameter),
             {inputs, made.inputs.size()},    {outputs, made.outputs.size()},   pass.spec().shape};
    return plan;
  }

  std::vector<const OutputVariable*> variables_of(const Pass& pass) const {
    std::vector<const OutputVariable*> variables;
    for (const std::uint32_t each : pass.variables) variables.push_back(&request_.variables[each]);
    return variables;
  }
  void add_pass_variables(const Pass& pass, MapPlan& plan, ArenaWriter& memory) {
    plan.variables = add_variables(memory, state_, variables_of(pass));
    // Scratch memory, of which each variable and result takes a tile; then what reading needs.
    const std::size_t converted =
        request_.kernel ? request_.kernel->inputs.size() + request_.kernel->outputs.size() : 0;
    plan.data_bytes = (std::size_t{256} << 20) + plan.variables.data_bytes +
                      (pass.variables.size() + pass.parts.size() + converted + 3) * 2 *
                          static_cast<std::size_t>(std::max(tile_target_bytes, output_chunk_bytes(pass)));
  }

  // A chunk of the largest output, as far as that can be in memory.
  std::uint64_t output_chunk_bytes(const Pass& pass) const {
    std::uint64_t largest = 0;
    for (const OutputPart* part : pass.parts) {
      largest = std::max<std::uint64_t>(
          largest, part->spec.chunk.checked_bytes(item_bytes(part->spec.dtype)).value_or(SIZE_MAX));
    }
    return std::min<std::uint64_t>(largest, state_.memory_bytes);
  }
  std::uint64_t largest_chunk_bytes(const Pass& pass) const {
    std::uint64_t largest = output_chunk_bytes(pass);
    for (const std::uint32_t each : pass.variables) largest = std::max(largest, request_.variables[each].chunk_bytes);
    return largest;
  }

  void create() {
    const Object report = run_reporting_writer(
        state_, [file = file_](SliceContext&, const Journal& journal) { create_output(*file, journal); },
        "creating the output");
    const auto& offsets = report.at("offsets").items();
    std::size_t at = 0;
    for (std::size_t i = 0; i < passes_.size(); ++i) {
      for (std::uint32_t k = 0; k < plans_[i].result_count; ++k) {
        const Object& offset = at < offsets.size() ? offsets[at] : throw_short_report();
        ++at;
        if (!offset.is_none()) plans_[i].results[k].offset = offset.as_uint();
      }
    }
    notes_.clear();
    for (const Object& each : report.at("notes").items()) notes_.push_back(decode_text(each));
  }
  [[noreturn]] static const Object& throw_short_report() {
    throw FormatError("read the report of", "the writer", "it is too short");
  }

  // The result as a dataset, for what cuts datasets.
  static hdf5::DatasetInfo as_dataset(const Pass& pass) {
    hdf5::DatasetInfo info;
    info.type.numeric = true;
    info.type.dtype = pass.spec().dtype;
    info.shape = pass.spec().shape;
    info.layout = pass.chunked() ? hdf5::Layout::chunked : hdf5::Layout::contiguous;
    info.chunk = pass.spec().chunk;
    return info;
  }

  // Of an encoded chunk, by part; 0 where the library encodes.
  std::vector<std::size_t> chunk_bounds(const Pass& pass) const {
    std::vector<std::size_t> bounds;
    for (const OutputPart* part : pass.parts) {
      if (!pass.chunked() || part->spec.library_filters) {
        bounds.push_back(0);
        continue;
      }
      const hdf5::ChunkEncoder encoder(part->spec.filters, item_bytes(part->spec.dtype),
                                       hdf5::swapped_bytes(part->spec));
      bounds.push_back(encoder.bound(static_cast<std::size_t>(output_chunk_bytes(pass))));
    }
    return bounds;
  }

  void compute(const Pass& pass, const MapPlan& plan) {
    TileWork work;
    work.info = as_dataset(pass);
    work.scale = static_cast<double>(pass.element_bytes()) / static_cast<double>(item_bytes(pass.spec().dtype));
    work.queue_bytes = queue_bytes_of(state_);
    const auto bounds = chunk_bounds(pass);
    work.tile_bytes = [&](const hdf5::Box& box) { return tile_bytes(pass, bounds, box); };
    const std::uint64_t slice_bytes = std::max(tile_target_bytes, largest_chunk_bytes(pass));
    const TileQueue* computing = nullptr;
    work.compute = [&](TileQueue* queue) {
      computing = queue;
      return state_.readers.launch(state_.launch_options(queue->count(), slice_bytes),
                                   [plan = &plan, queue](SliceContext& context) {
                                     queue->make(context, [&](MapTile& tile) { compute_tile(context, *plan, tile); });
                                   });
    };
    work.check_computed = [&](Launch& launch) {
      state_.wait(launch);
      const auto failure = first_failure(launch, request_.action);
      if (!failure) return;
      throw TaskError(tile_failure_text(launch.outcome(failure->slice), plan.kernel, (*computing)[failure->slice],
                                        request_.action));
    };
    work.region_bytes = request_.region_bytes;
    if (request_.region_bytes > 0) work.prepare = [&](const hdf5::Box& region) { produce(pass, plan, region); };
    if (pass.chunked()) {
      work.place = [&](TileQueue* queue) {
        auto options = state_.launch_options(1, slice_bytes);
        options.max_kills = 1;
        return state_.writer().launch(options, [file = file_, plan = &plan, queue](SliceContext& context) {
          try {
            place_tiles(context, *file, *plan, *queue);
          } catch (...) {
            context.retire();
            throw;
          }
        });
      };
      work.check_placed = [&](Launch& launch) { check_writer(state_, launch, "writing the output"); };
    }
    run_in_waves(state_, work);
  }

  // No worker reads the arrays of the region before.
  void produce(const Pass& pass, const MapPlan& plan, const hdf5::Box& region) {
    for (std::size_t i = 0; i < pass.variables.size(); ++i) {
      const OutputVariable& each = request_.variables[pass.variables[i]];
      if (!each.produce) continue;
      plan.variables.items[i].array = each.produce(region);
      plan.variables.items[i].origin = region.start;
    }
  }

  // What a tile may leave for the writer, at most.
  static std::size_t tile_bytes(const Pass& pass, const std::vector<std::size_t>& bounds, const hdf5::Box& box) {
    if (!pass.chunked()) return 0;
    const Shape& chunk = pass.spec().chunk;
    std::size_t chunks = 1;
    for (std::size_t axis = 0; axis < box.count.rank(); ++axis) {
      chunks *= static_cast<std::size_t>((box.count[axis] + chunk[axis] - 1) / chunk[axis]);
    }
    std::size_t bytes = 0;
    for (std::size_t i = 0; i < pass.parts.size(); ++i) {
      const hdf5::OutputSpec& spec = pass.parts[i]->spec;
      bytes += spec.library_filters
                   ? sizeof(ChunkEntry) + static_cast<std::size_t>(box.count.elements()) * item_bytes(spec.dtype)
                   : chunks * (sizeof(ChunkEntry) + bounds[i]);
    }
    return bytes;
  }

  Session::State& state_;
  const OutputRequest& request_;
  PendingOutput& output_;
  std::vector<Pass> passes_;
  std::vector<std::string> notes_;
  FilePlan* file_ = nullptr;
  MapPlan* plans_ = nullptr;
  std::optional<ArenaWriter> plan_;  // of plan_small(), as the next
  std::optional<ArenaWriter> tiles_;
};

}  // namespace

void check_space(const OutputRequest& request, const PendingOutput& output) {
  std::uint64_t total = 0;  // of what is stored as it is; how large the rest gets is not known
  for (const OutputPart& part : request.parts) {
    const auto bytes = part.spec.shape.checked_bytes(item_bytes(part.spec.dtype));
    if (!bytes) throw TaskError("the result of shape " + to_string(part.spec.shape) + " is too large");
    if (part.all_fill || (part.spec.chunk.rank() > 0 && !part.spec.filters.empty())) continue;
    if (__builtin_add_overflow(total, *bytes, &total)) total = UINT64_MAX;
  }
  if (total == 0) return;
  const auto directory = std::filesystem::path(output.temporary_path()).parent_path().string();
  struct statvfs status {};
  check_errno(::statvfs(directory.c_str(), &status), "look for space in", directory);
  const std::uint64_t free_bytes = static_cast<std::uint64_t>(status.f_bavail) * status.f_frsize;
  if (total > free_bytes) {
    throw Error(std::errc::no_space_on_device,
                "write " + std::to_string(total) + " bytes, with " + std::to_string(free_bytes) + " free, to",
                output.final_path());
  }
}

std::size_t attribute_bytes(const TextAttributes& attributes) {
  std::size_t bytes = 64;
  for (const auto& [name, text] : attributes) bytes += sizeof(PlanAttribute) + name.size() + text.size() + 16;
  return bytes;
}

std::span<const PlanAttribute> add_attributes(ArenaWriter& memory, const TextAttributes& attributes) {
  auto* const added = memory.add<PlanAttribute>(attributes.size());
  for (std::size_t i = 0; i < attributes.size(); ++i) {
    added[i] = {memory.add(attributes[i].first), memory.add(attributes[i].second)};
  }
  return {added, attributes.size()};
}

std::vector<std::string> make_output(Session::State& state, const OutputRequest& request, PendingOutput& output) {
  return OutputJob(state, request, output).run();
}

std::uint64_t array_bytes(const OutputRequest& request) {
  std::uint64_t bytes = 0;
  for (const OutputPart& part : request.parts) {
    if (!part.all_fill) bytes += part.spec.shape.elements() * item_bytes(part.spec.dtype);
  }
  return bytes;
}

bool add_small(Session::State& state, SmallOutputs& small, const OutputRequest& request, PendingOutput& output) {
  auto job = std::make_shared<OutputJob>(state, request, output);
  if (!job->is_small()) return false;
  const SmallOutputPlan* const plan = job->plan_small();
  small.add(&make_small_output, plan, std::move(job));
  return true;
}

}  // namespace runrig::batch
