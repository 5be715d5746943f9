#include <algorithm>
#include <cstring>
#include <filesystem>

#include "dry_run.hpp"
#include "encoding.hpp"
#include "output_groups.hpp"
#include "repack_plan.hpp"
#include "runrig/channel/pickle.hpp"
#include "runrig/hdf5/codec.hpp"
#include "runrig/sync/error.hpp"
#include "state.hpp"
#include "tile_waves.hpp"
#include "writer_calls.hpp"

namespace runrig::batch {
namespace {

using pickle::Object;

constexpr std::size_t journal_bytes = std::size_t{32} << 20;  // touched only as far as it is used

std::span<const std::byte> add_bytes(ArenaWriter& memory, std::span<const std::byte> bytes) {
  std::byte* place = memory.take(bytes.size(), 8);
  std::memcpy(place, bytes.data(), bytes.size());
  return {place, bytes.size()};
}

// What all files of a call have in common.
struct RepackCall {
  Session::State& state;
  OutputPlan& plan;
  RepackReport& report;
  std::size_t max_chunk_bytes = 0;
  std::vector<std::byte> options{};  // pickled RepackOptions
};

class RepackFile final : public GroupedOutput {
 public:
  /// The `number`th file of the plan. What is referred to lives longer.
  RepackFile(const RepackCall& call, std::size_t number)
      : call_(call),
        state_(call.state),
        number_(number),
        file_(call.plan.files()[number]),
        output_(call.plan.output(number)) {}

  bool add_to(SmallOutputs& small) override {
    std::error_code failed;
    const auto bytes = std::filesystem::file_size(file_, failed);
    // What it holds is often twice that; the worker sees how much it is.
    if (failed || bytes > small_output_bytes(state_) / 2) return false;
    const RepackFilePlan* plan = nullptr;
    auto memory = std::make_shared<ArenaWriter>(file_plan(plan));
    small.add(&make_small_repacked, plan, std::move(memory));
    return true;
  }

  void finish(FileOutcome& outcome, std::optional<SmallReport> made) override {
    if (state_.dry_run != nullptr) return tell_plan(state_.dry_run->current());
    if (made) {
      state_.progress.bytes += made->bytes;
      notes_ = std::move(made->notes);
    } else {
      call_.plan.begin(number_);  // nothing is read yet, and others may have taken their time
      retry_when_writer_dies(state_, output_, [this] { write(); });
      output_.publish();
    }
    add_result(outcome);
  }

 private:
  // Of all datasets, each is read and written.
  void tell_plan(PlannedFile& planned) {
    const RepackFilePlan* plan = nullptr;
    const ArenaWriter memory = file_plan(plan);
    const Object report = run_reporting_writer(
        state_, [plan](SliceContext& context, const Journal& journal) { plan_repacked(context, *plan, journal); },
        "creating the output", 0, journal_bytes);
    planned.output = output_.final_path();
    for (const Object& each : report.at("notes").items()) planned.notes.push_back(decode_text(each));
    for (const Object& each : report.at("datasets").items()) {
      PlannedDataset dataset;
      dataset.file = file_;
      dataset.dataset = decode_text(each.at("path"));
      dataset.dtype = decode_text(each.at("dtype"));
      dataset.shape = decode_shape(each.at("shape"));
      dataset.bytes = each.at("bytes").as_uint();
      planned.reads.push_back(dataset);
      dataset.file = planned.output;
      dataset.chunk = decode_shape(each.at("chunk"));
      for (const Object& filter : each.at("filters").items()) dataset.filters.push_back(decode_text(filter));
      planned.writes.push_back(std::move(dataset));
    }
  }

  void add_result(FileOutcome& outcome) {
    RepackResult result;
    std::error_code ignored;
    result.file = file_;
    result.output = output_.final_path();
    result.input_bytes = std::filesystem::file_size(file_, ignored);
    result.output_bytes = std::filesystem::file_size(output_.final_path(), ignored);
    result.notes = std::move(notes_);
    outcome.output = result.output;
    outcome.notes = result.notes;
    call_.report.results.push_back(std::move(result));
  }

  // Valid while what is returned lives.
  ArenaWriter file_plan(const RepackFilePlan*& result) const {
    ArenaWriter memory(*state_.arena, sizeof(RepackFilePlan) + call_.options.size() + file_.size() +
                                          output_.temporary_path().size() + 256);
    auto* plan = memory.add<RepackFilePlan>(1);
    plan->file.id = next_plan_id();
    plan->file.temporary = memory.add(output_.temporary_path());
    plan->source = memory.add(file_);
    plan->options = add_bytes(memory, call_.options);
    plan->small_bytes = small_output_bytes(state_);
    plan->max_chunk_bytes = state_.memory_bytes;
    plan->bytes_done = &state_.bytes_done();
    result = plan;
    return memory;
  }

  void write() {
    const RepackFilePlan* plan = nullptr;
    const ArenaWriter memory = file_plan(plan);
    std::error_code ignored;
    const auto bytes = std::filesystem::file_size(file_, ignored);
    const Object report = run_reporting_writer(
        state_, [plan](SliceContext& context, const Journal& journal) { create_repacked(context, *plan, journal); },
        "creating the output", ignored ? 0 : bytes, journal_bytes);
    notes_.clear();
    for (const Object& each : report.at("notes").items()) notes_.push_back(decode_text(each));
    for (const Object& each : report.at("datasets").items()) recode(plan->file, decode_repack(each));
    run_writer(
        state_, [plan](SliceContext&) { close_output(plan->file); }, "closing the output");
  }

  void recode(const FilePlan& file, const hdf5::RepackDataset& dataset) {
    const auto all_bytes = dataset.shape.checked_bytes(dataset.item_bytes);
    const auto chunk_bytes = dataset.chunk.checked_bytes(dataset.item_bytes);
    const auto source_bytes = dataset.source_chunk.checked_bytes(dataset.item_bytes);
    if (!all_bytes || !chunk_bytes || !source_bytes || *chunk_bytes > call_.max_chunk_bytes) {
      throw FormatError("read the report of", "the writer", "a chunk shape that is too large");
    }
    state_.progress.bytes += *all_bytes;
    const auto pickled = pickle::dumps(encode(dataset));
    ArenaWriter memory(*state_.arena, sizeof(RepackPlan) + sizeof(MapResultPlan) + pickled.size() + file_.size() +
                                          dataset.path.size() + 256);
    auto* plan = memory.add<RepackPlan>(1);
    plan->place.id = next_plan_id();
    plan->place.temporary = file.temporary;
    plan->place.bytes_done = &state_.bytes_done();
    plan->place.results = memory.add<MapResultPlan>(1);
    plan->place.result_count = 1;
    plan->source.file = memory.add(file_);
    plan->source.dataset = memory.add(dataset.path);
    plan->place.results[0].dataset = plan->source.dataset;
    plan->source.selection = hdf5::Selection::all(dataset.shape);
    plan->source.max_chunk_bytes = state_.memory_bytes;
    plan->source.cache_bytes =
        std::min(std::size_t{16} << 20, state_.memory_bytes / (static_cast<std::size_t>(state_.readers.size()) * 8));
    plan->source.as_stored = true;
    plan->dataset = add_bytes(memory, pickled);
    plan->place.data_bytes = (std::size_t{256} << 20) + plan->source.cache_bytes +
                             4 * static_cast<std::size_t>(*chunk_bytes + *source_bytes);
    run_in_waves(state_, work_on(file, *plan, dataset, static_cast<std::size_t>(*chunk_bytes),
                                 std::max<std::uint64_t>(*chunk_bytes, *source_bytes)));
  }

  TileWork work_on(const FilePlan& file, const RepackPlan& plan, const hdf5::RepackDataset& dataset,
                   std::size_t chunk_bytes, std::uint64_t largest_bytes) {
    TileWork work;
    // Elements of one byte, for what cuts datasets, that take as much as theirs.
    work.info.type.numeric = true;
    work.info.type.dtype = DType::uint8;
    work.info.shape = dataset.shape;
    work.info.layout = hdf5::Layout::chunked;
    work.info.chunk = dataset.chunk;
    work.scale = static_cast<double>(dataset.item_bytes);
    work.queue_bytes = queue_bytes_of(state_);
    const std::size_t bound = hdf5::ChunkEncoder(dataset.filters, dataset.item_bytes).bound(chunk_bytes);
    work.tile_bytes = [bound, chunk = dataset.chunk](const hdf5::Box& box) {
      return count_chunks(box, chunk) * (sizeof(ChunkEntry) + bound);
    };
    const std::uint64_t slice_bytes = std::max(tile_target_bytes, largest_bytes);
    work.compute = [this, plan = &plan, slice_bytes](TileQueue* queue) {
      return state_.readers.launch(state_.launch_options(queue->count(), slice_bytes),
                                   [plan, queue](SliceContext& context) {
                                     queue->make(context, [&](MapTile& tile) { repack_tile(context, *plan, tile); });
                                   });
    };
    work.check_computed = [this, path = dataset.path](Launch& launch) {
      state_.wait(launch);
      check_launch(launch, "reading " + path);
    };
    work.place = [this, file = &file, plan = &plan, slice_bytes](TileQueue* queue) {
      auto options = state_.launch_options(1, slice_bytes);
      options.max_kills = 1;
      return state_.writer().launch(options, [file, plan, queue](SliceContext& context) {
        try {
          place_tiles(context, *file, plan->place, *queue);
        } catch (...) {
          context.retire();
          throw;
        }
      });
    };
    work.check_placed = [this](Launch& launch) { check_writer(state_, launch, "writing the output"); };
    return work;
  }

  const RepackCall& call_;
  Session::State& state_;
  std::size_t number_;
  const std::string& file_;
  PendingOutput& output_;
  std::vector<std::string> notes_;
};

hdf5::RepackOptions options_of(const RepackRequest& request, const Session::State& state) {
  hdf5::RepackOptions options;
  options.storage = request.storage;
  options.datasets = request.datasets;
  options.force_library = state.options.force_library;
  options.max_chunk_bytes = state.memory_bytes / 4;
  return options;
}

}  // namespace

DryRun Session::plan(const RepackRequest& request) {
  return run_dry(*state_, request.files, [&] { return repack(request); });
}

RepackReport Session::repack(const RepackRequest& request) {
  State& state = *state_;
  RepackReport report;
  OutputPlan plan(state, request.files, {request.output, {}, request.existing, request.resume, request_text(request)});
  const hdf5::RepackOptions options = options_of(request, state);
  const RepackCall call{state, plan, report, options.max_chunk_bytes, pickle::dumps(encode(options))};
  FileLedger ledger(state, request.files, report.failures);
  OutputGroups groups(state, plan, ledger);
  ledger.run([&] {
    plan.skip_finished(ledger);
    for (std::size_t i = 0; i < plan.files().size(); ++i) {
      state.check_interrupt();
      if (state.dry_run == nullptr) plan.begin(i);
      groups.add(i, 0, 0, [&] { return std::make_unique<RepackFile>(call, i); });
    }
    groups.finish();
  });
  return report;
}

}  // namespace runrig::batch
