#include <algorithm>
#include <map>
#include <new>

#include "encoding.hpp"
#include "file_tasks.hpp"
#include "runrig/sync/error.hpp"
#include "summary.hpp"

namespace runrig::batch {
namespace {

using pickle::Object;

// Datasets up to this size are summarised by the worker that found them.
constexpr std::uint64_t small_bytes = std::uint64_t{4} << 20;
constexpr std::uint64_t small_chunk_bytes = std::uint64_t{64} << 20;
// A dataset is sparse if it has few chunks stored, and this many times more that could be.
constexpr std::size_t sparse_chunks = 2048;
constexpr std::uint64_t sparse_factor = 16;

struct Target {
  const char* path = nullptr;
  const char* selection = nullptr;  // null: everything
};
struct Argument {
  const Target* targets = nullptr;
  std::uint32_t target_count = 0;  // 0: all numeric datasets
  bool force_library = false;
  std::size_t max_chunk_bytes = 0;
  std::atomic<std::uint64_t>* bytes_done = nullptr;
};

hdf5::Selection resolve(const char* selection, const hdf5::Dataset& dataset) {
  const auto spec = selection != nullptr ? std::optional(hdf5::parse_selection(selection)) : std::nullopt;
  return hdf5::resolve(spec, dataset.info().shape, dataset.name());
}

// The chunks that are stored, if the dataset is sparse.
Object sparse_chunk_list(const hdf5::Dataset& dataset) {
  const hdf5::DatasetInfo& info = dataset.info();
  if (info.layout != hdf5::Layout::chunked) return {};
  long double grid = 1;
  for (std::size_t axis = 0; axis < info.chunk.rank(); ++axis) {
    grid *= static_cast<long double>(info.shape[axis] / info.chunk[axis] + 1);
  }
  if (grid < sparse_factor) return {};
  const auto stored = dataset.stored_chunks(sparse_chunks);
  if (!stored || static_cast<long double>(stored->size()) * sparse_factor > grid) return {};
  std::vector<Object> starts;
  for (const Shape& each : *stored) starts.push_back(encode(each));
  return Object::tuple(std::move(starts));
}

Statistics summarize_small(SliceContext& context, hdf5::Dataset& dataset, const hdf5::Selection& selection) {
  const DType dtype = dataset.info().type.dtype;
  const std::uint64_t elements = selection.shape.elements();
  StatisticsTree tree(dtype);
  if (elements == 0) return tree.result();
  std::byte* values = context.scratch(static_cast<std::size_t>(elements) * item_bytes(dtype));
  dataset.read(selection, hdf5::Box::all(selection.shape), values);
  for (std::uint64_t first = 0; first < elements; first += statistics_block_elements) {
    const auto count = static_cast<std::size_t>(std::min<std::uint64_t>(statistics_block_elements, elements - first));
    tree.add(summarize_block(dtype, values + first * item_bytes(dtype), count));
  }
  return tree.result();
}

// Summarises a small dataset, or tells the parent what it needs to do a large one with all workers.
Object examine(SliceContext& context, const FileTask& task, const Argument& argument, const char* path,
               const char* selection_text) {
  hdf5::ReadOptions options;
  options.force_library = argument.force_library;
  options.max_chunk_bytes = argument.max_chunk_bytes;
  hdf5::Dataset& dataset = OpenFiles::here().dataset(task.path, path, options);
  const hdf5::DatasetInfo& info = dataset.info();
  dataset.check_readable();
  Object record = Object::dict({{"dtype", encode_text(info.type.numpy)}});
  if (info.null_space) {
    record.insert_or_assign("shape", encode(Shape{0}));
    record.insert_or_assign("stats", encode(StatisticsTree(info.type.dtype).result()));
    return record;
  }
  const hdf5::Selection selection = resolve(selection_text, dataset);
  record.insert_or_assign("shape", encode(selection.shape));
  const auto bytes = selection.shape.checked_bytes(item_bytes(info.type.dtype));
  if (dataset.all_fill()) {
    record.insert_or_assign("stats",
                            encode(summarize_constant(info.type.dtype, info.fill, selection.shape.elements())));
    return record;
  }
  const auto chunk_bytes = info.chunk.checked_bytes(item_bytes(info.type.dtype));
  if (bytes && *bytes <= small_bytes && chunk_bytes && *chunk_bytes <= small_chunk_bytes) {
    record.insert_or_assign("stats", encode(summarize_small(context, dataset, selection)));
    // Relaxed: a number to show, nothing hangs on it.
    argument.bytes_done->fetch_add(*bytes, std::memory_order_relaxed);
    return record;
  }
  record.insert_or_assign("large", encode(info));
  record.insert_or_assign("chunks", sparse_chunk_list(dataset));
  return record;
}

// The paths of the file's numeric datasets; what could not be read is reported as a failure of its own.
std::vector<std::string> numeric_datasets(SliceContext& context, const FileTask& task, hdf5::File& file) {
  std::vector<std::string> paths;
  hdf5::WalkOptions options;
  options.attributes = false;
  std::vector<Object> damaged;
  file.walk(
      [&](const hdf5::ObjectInfo& object) {
        context.heartbeat();
        task.journal.act("reading what follows " + object.path);
        if (!object.error.empty())
          damaged.push_back(Object::tuple({encode_text(object.path), encode_text(object.error)}));
        if (object.dataset && object.dataset->type.numeric) paths.push_back(object.path);
      },
      options);
  if (task.journal.next() == 0) {
    std::vector<Object> names;
    names.reserve(paths.size());
    for (const auto& each : paths) names.push_back(encode_text(each));
    task.journal.append(
        Object::dict({{"targets", Object::tuple(std::move(names))}, {"damaged", Object::tuple(std::move(damaged))}}));
  }
  if (!damaged.empty()) context.retire();
  return paths;
}

// Item 0 of a task is the file's structure, item i its target i - 1.
void summarize_file(SliceContext& context, const FileTask& task, const std::byte* bytes) {
  const Argument& argument = *reinterpret_cast<const Argument*>(bytes);
  task.journal.act("opening the file");
  hdf5::File& file = OpenFiles::here().file(task.path);
  std::vector<std::string> found;
  if (argument.target_count == 0) {
    task.journal.act("reading the structure");
    found = numeric_datasets(context, task, file);
  }
  if (task.journal.next() == 0) task.journal.set_next(1);
  const std::size_t count = argument.target_count == 0 ? found.size() : argument.target_count;
  for (std::uint32_t item = task.journal.next(); item <= count; ++item) {
    const Target target =
        argument.target_count == 0 ? Target{found[item - 1].c_str(), nullptr} : argument.targets[item - 1];
    task.journal.act("reading " + std::string(target.path));
    context.heartbeat();
    Object record;
    try {
      record = examine(context, task, argument, target.path, target.selection);
    } catch (const std::bad_alloc&) {
      record = Object::dict({{"error", "reading it takes more memory than a worker may have"}});
      context.retire();
    } catch (const Error& error) {
      record = Object::dict({{"error", encode_text(error.what())}});
      context.retire();  // the library may be damaged by what it met
    }
    record.insert_or_assign("item", item);
    task.journal.append(record);
    task.journal.set_next(item + 1);
  }
  OpenFiles::here().close_all();
}

// Puts the records of one file together.
class FileSummary {
 public:
  FileSummary(Session::State& state, const StatsRequest& request, const std::string& file, StatsReport& report)
      : state_(state), request_(request), file_(file), report_(report) {
    for (const auto& each : request.datasets) targets_.push_back(label(each));
  }

  void add(FileResult& result) {
    try {
      for (const Object& record : result.records) {
        if (const Object* names = record.find("targets")) {
          take_targets(*names, record.at("damaged"));
        } else {
          records_.insert_or_assign(record.at("item").as_uint(), &record);
        }
      }
      for (std::size_t i = 0; i < result.deaths.size(); ++i) add_death(result.dead_items[i], result.deaths[i]);
      for (const auto& [item, record] : records_) take(item, *record);
    } catch (const FormatError& error) {
      fail("", error.what());
      return;
    }
    if (!result.failure.empty() && (result.deaths.empty() || result.deaths.back() != result.failure))
      fail("", result.failure);
  }

 private:
  static std::string label(const hdf5::DatasetRef& target) {
    return target.path + (target.selection ? target.selection->text : "");
  }
  void fail(const std::string& dataset, std::string_view reason) {
    report_.failures.push_back(make_failure(file_, dataset, reason));
  }

  void take_targets(const Object& names, const Object& damaged) {
    targets_.clear();
    for (const Object& each : names.items()) targets_.push_back(decode_text(each));
    for (const Object& each : damaged.items()) fail(decode_text(each.at(0)), decode_text(each.at(1)));
  }

  void add_death(std::uint32_t item, const std::string& reason) {
    fail(item > 0 && item <= targets_.size() ? targets_[item - 1] : "", reason);
  }

  void take(std::uint64_t item, const Object& record) {
    if (item == 0 || item > targets_.size()) throw FormatError("read the report of", "a worker", "an unknown dataset");
    const std::string& name = targets_[item - 1];
    if (const Object* error = record.find("error")) return fail(name, decode_text(*error));
    DatasetStatistics result;
    result.file = file_;
    result.dataset = name;
    result.dtype = decode_text(record.at("dtype"));
    result.shape = decode_shape(record.at("shape"));
    if (const Object* statistics = record.find("stats")) {
      result.statistics = decode_statistics(*statistics);
      state_.progress.bytes += result.shape.checked_bytes(item_bytes(result.statistics.dtype)).value_or(0);
    } else {
      try {
        result.statistics = summarize_large(item, record);
      } catch (const Cancelled&) {
        throw;
      } catch (const TaskError& error) {
        return fail(name, error.what());
      } catch (const Error& error) {  // such as numbers in the file that no plan can be made for
        return fail(name, error.what());
      }
    }
    report_.results.push_back(std::move(result));
  }

  Statistics summarize_large(std::uint64_t item, const Object& record) {
    LargeDataset large;
    large.file = file_;
    large.info = decode_dataset(record.at("large"));
    const bool named = !request_.datasets.empty();
    large.dataset = named ? request_.datasets[item - 1].path : targets_[item - 1];
    large.selection = hdf5::resolve(named ? request_.datasets[item - 1].selection : std::nullopt, large.info.shape,
                                    file_ + ":" + large.dataset);
    if (const Object& chunks = record.at("chunks"); !chunks.is_none()) {
      large.stored_chunks.emplace();
      for (const Object& each : chunks.items()) {
        large.stored_chunks->push_back(decode_shape(each));
        if (large.stored_chunks->back().rank() != large.info.shape.rank()) {
          throw FormatError("read the report of", "a worker", "a chunk of another rank");
        }
      }
    }
    state_.progress.bytes += large.selection.shape.checked_bytes(item_bytes(large.info.type.dtype)).value_or(0);
    return summarize(state_, large);
  }

  Session::State& state_;
  const StatsRequest& request_;
  const std::string& file_;
  StatsReport& report_;
  std::vector<std::string> targets_;
  std::map<std::uint64_t, const Object*> records_;
};

}  // namespace

StatsReport Session::stats(const StatsRequest& request) {
  State& state = *state_;
  StatsReport report;
  std::size_t text_bytes = 0;
  for (const auto& each : request.datasets) {
    text_bytes += each.path.size() + 1 + (each.selection ? each.selection->text.size() + 1 : 0);
  }
  ArenaWriter memory(*state.arena, sizeof(Argument) + request.datasets.size() * sizeof(Target) + text_bytes + 64);
  auto* argument = memory.add<Argument>(1);
  auto* targets = memory.add<Target>(request.datasets.size());
  for (std::size_t i = 0; i < request.datasets.size(); ++i) {
    targets[i].path = memory.add(request.datasets[i].path);
    if (request.datasets[i].selection) targets[i].selection = memory.add(request.datasets[i].selection->text);
  }
  *argument = {targets, static_cast<std::uint32_t>(request.datasets.size()), state.options.force_library,
               state.memory_bytes, &state.bytes_done()};
  state.progress.files += request.files.size();
  for_each_file(state, request.files, &summarize_file, reinterpret_cast<const std::byte*>(argument),
                [&](FileResult result) {
                  FileSummary(state, request, request.files[result.file], report).add(result);
                  ++state.progress.files_done;
                  state.show_progress();
                });
  state.show_progress(true);
  return report;
}

}  // namespace runrig::batch
