#include <algorithm>

#include "dry_run.hpp"
#include "encoding.hpp"
#include "file_ledger.hpp"
#include "runrig/engine/quantile.hpp"
#include "runrig/sync/error.hpp"
#include "stats_histogram.hpp"
#include "summary.hpp"
#include "targets.hpp"

namespace runrig::batch {
namespace {

using pickle::Object;

struct Argument {
  Targets targets;
  HistogramPlan histogram;
  bool force_library = false;
  bool describe_only = false;
  bool conventions = false;
  std::size_t max_chunk_bytes = 0;
  std::atomic<std::uint64_t>* bytes_done = nullptr;
};

// Summarises a small dataset, or tells the parent what it needs to do a large one with all workers.
Object examine(SliceContext& context, const FileTask& task, const Argument& argument, const Target& target) {
  hdf5::ReadOptions options;
  options.force_library = argument.force_library;
  options.conventions = argument.conventions;
  options.max_chunk_bytes = argument.max_chunk_bytes;
  hdf5::Dataset& dataset = OpenFiles::here().dataset(task.path, target.path, options);
  const hdf5::DatasetInfo& info = dataset.info();
  dataset.check_readable();
  Object record = Object::dict({{"dtype", encode_text(info.type.numpy)}});
  if (info.null_space) {
    record.insert_or_assign("shape", encode(Shape{0}));
    record.insert_or_assign("stats", encode(StatisticsTree(info.type.dtype).result()));
    return record;
  }
  const hdf5::Selection selection = target.resolve(dataset);
  record.insert_or_assign("shape", encode(selection.shape));
  record.insert_or_assign("bytes", selection.shape.checked_bytes(item_bytes(info.type.dtype)).value_or(UINT64_MAX));
  if (argument.describe_only) return record;
  if (dataset.all_fill()) {
    const Statistics statistics = summarize_constant(info.type.dtype, info.fill, selection.shape.elements());
    record.insert_or_assign("stats", encode(statistics));
    add_histogram(record, argument.histogram, statistics, info.fill.data(), 1, selection.shape.elements());
  } else if (is_small(info, selection)) {
    const auto elements = static_cast<std::size_t>(selection.shape.elements());
    std::byte* const values = context.scratch(elements * item_bytes(info.type.dtype) + 1);
    if (elements > 0) dataset.read(selection, hdf5::Box::all(selection.shape), values);
    const Statistics statistics = summarize_values(info.type.dtype, values, elements);
    record.insert_or_assign("stats", encode(statistics));
    add_histogram(record, argument.histogram, statistics, values, elements);
    // Relaxed: a number to show, nothing hangs on it.
    argument.bytes_done->fetch_add(selection.shape.elements() * item_bytes(info.type.dtype), std::memory_order_relaxed);
  } else {
    describe_large(record, dataset);
  }
  return record;
}

void summarize_file(SliceContext& context, const FileTask& task, const std::byte* bytes) {
  const Argument& argument = *reinterpret_cast<const Argument*>(bytes);
  examine_targets(context, task, argument.targets,
                  [&](const Target& target) { return examine(context, task, argument, target); });
  OpenFiles::here().close_all();
}

DatasetStatistics statistics_of(Session::State& state, const HistogramPlan& histogram, const TargetRecord& target) {
  DatasetStatistics result;
  result.file = target.file;
  result.dataset = target.name;
  result.dtype = decode_text(target.record->at("dtype"));
  result.shape = decode_shape(target.record->at("shape"));
  if (const Object* statistics = target.record->find("stats")) {
    result.statistics = decode_statistics(*statistics);
    state.progress.bytes += result.shape.checked_bytes(item_bytes(result.statistics.dtype)).value_or(0);
    take_histogram(*target.record, histogram, result);
  } else {
    const LargeDataset large = target.large();
    const std::uint64_t bytes = large.selection.shape.checked_bytes(item_bytes(large.info.type.dtype)).value_or(0);
    state.progress.bytes += histogram.bins > 0 ? 2 * bytes : bytes;  // passes
    result.statistics = summarize(state, large);
    count_large(state, large, histogram, result);
  }
  return result;
}

// Of one that is only described.
PlannedDataset planned(const TargetRecord& target) {
  PlannedDataset planned;
  planned.file = target.file;
  planned.dataset = target.name;
  planned.dtype = decode_text(target.record->at("dtype"));
  planned.shape = decode_shape(target.record->at("shape"));
  if (const Object* bytes = target.record->find("bytes")) planned.bytes = bytes->as_uint();
  return planned;
}

}  // namespace

DryRun Session::plan(const StatsRequest& request) {
  return run_dry(*state_, request.files, [&] { return stats(request); });
}

StatsReport Session::stats(const StatsRequest& request) {
  State& state = *state_;
  StatsReport report;
  if (request.histogram_bins > max_histogram_bins) {
    throw Error(std::errc::invalid_argument, "make a histogram of more than " + std::to_string(max_histogram_bins),
                "bins");
  }
  HistogramPlan histogram{request.histogram_bins, request.histogram_range.has_value(), {}};
  if (request.histogram_range) histogram.range = *request.histogram_range;
  ArenaWriter memory(*state.arena, sizeof(Argument) + target_bytes(request.datasets));
  auto* argument = memory.add<Argument>(1);
  *argument = {add_targets(memory, request.datasets),
               histogram,
               state.options.force_library,
               state.dry_run != nullptr,
               state.options.conventions,
               state.memory_bytes,
               &state.bytes_done()};
  FileLedger ledger(state, request.files, report.failures);
  const auto take = [&](FileResult result) {
    ledger.file(result.file, {result.seconds, 0}, [&](FileOutcome& outcome) {
      take_targets(result, request.files[result.file], request.datasets, report.failures,
                   [&](const TargetRecord& target) {
                     if (state.dry_run != nullptr) return state.dry_run->current().reads.push_back(planned(target));
                     report.results.push_back(statistics_of(state, histogram, target));
                     outcome.datasets.push_back(target.name);
                   });
    });
  };
  ledger.run([&] {
    for_each_file(state, request.files, &summarize_file, reinterpret_cast<const std::byte*>(argument), take);
  });
  return report;
}

}  // namespace runrig::batch
