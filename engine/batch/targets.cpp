#include "targets.hpp"

#include <map>
#include <new>

#include "encoding.hpp"
#include "runrig/sync/error.hpp"

namespace runrig::batch {
namespace {

using pickle::Object;

constexpr std::uint64_t small_chunk_bytes = std::uint64_t{64} << 20;
// A dataset is sparse if it has few chunks stored, and this many times more that could be.
constexpr std::size_t sparse_chunks = 2048;
constexpr std::uint64_t sparse_factor = 16;

std::string label(const hdf5::DatasetRef& target) {
  return target.path + (target.selection ? target.selection->text : "");
}

// The chunks that are stored, if the dataset is sparse.
Object sparse_chunk_list(const hdf5::Dataset& dataset) {
  const hdf5::DatasetInfo& info = dataset.info();
  if (info.layout != hdf5::Layout::chunked) return {};
  long double grid = 1;
  for (std::size_t axis = 0; axis < info.chunk.rank(); ++axis) {
    const std::uint64_t chunks = info.shape[axis] / info.chunk[axis] + 1;
    grid *= static_cast<long double>(chunks);
  }
  if (grid < sparse_factor) return {};
  const auto stored = dataset.stored_chunks(sparse_chunks);
  if (!stored || static_cast<long double>(stored->size()) * sparse_factor > grid) return {};
  std::vector<Object> starts;
  for (const Shape& each : *stored) starts.push_back(encode(each));
  return Object::tuple(std::move(starts));
}

// The paths of the file's datasets of numbers; what could not be read is reported as a failure of its own.
std::vector<std::string> numeric_datasets(SliceContext& context, const FileTask& task, hdf5::File& file,
                                          bool real_only) {
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
        const bool wanted =
            object.dataset && object.dataset->type.numeric && !(real_only && is_complex(object.dataset->type.dtype));
        if (wanted) paths.push_back(object.path);
      },
      options);
  const bool all_sound = damaged.empty();
  if (task.journal.next() == 0) {
    std::vector<Object> names;
    names.reserve(paths.size());
    for (const auto& each : paths) names.push_back(encode_text(each));
    task.journal.append(
        Object::dict({{"targets", Object::tuple(std::move(names))}, {"damaged", Object::tuple(std::move(damaged))}}));
  }
  if (!all_sound) context.retire();
  return paths;
}

}  // namespace

bool is_small(const hdf5::DatasetInfo& info, const hdf5::Selection& selection) {
  const std::size_t item = item_bytes(info.type.dtype);
  const auto bytes = selection.shape.checked_bytes(item);
  const auto chunk_bytes = info.chunk.checked_bytes(item);
  return bytes && *bytes <= small_bytes && chunk_bytes && *chunk_bytes <= small_chunk_bytes;
}

hdf5::Selection Target::resolve(const hdf5::Dataset& dataset) const {
  const auto spec = selection != nullptr ? std::optional(hdf5::parse_selection(selection)) : std::nullopt;
  return hdf5::resolve(spec, dataset.info().shape, dataset.name());
}

std::size_t target_bytes(const std::vector<hdf5::DatasetRef>& datasets) {
  std::size_t bytes = datasets.size() * sizeof(Target) + 64;
  for (const auto& each : datasets) {
    bytes += each.path.size() + 1 + (each.selection ? each.selection->text.size() + 1 : 0);
  }
  return bytes;
}

Targets add_targets(ArenaWriter& memory, const std::vector<hdf5::DatasetRef>& datasets) {
  auto* const targets = memory.add<Target>(datasets.size());
  for (std::size_t i = 0; i < datasets.size(); ++i) {
    targets[i].path = memory.add(datasets[i].path);
    if (datasets[i].selection) targets[i].selection = memory.add(datasets[i].selection->text);
  }
  return {targets, static_cast<std::uint32_t>(datasets.size()), false};
}

// Item 0 of a task is the file's structure, item i its target i - 1.
void examine_targets(SliceContext& context, const FileTask& task, const Targets& targets,
                     const std::function<Object(const Target&)>& examine) {
  task.journal.act("opening the file");
  hdf5::File& file = OpenFiles::here().file(task.path);
  std::vector<std::string> found;
  if (targets.count == 0) {
    task.journal.act("reading the structure");
    found = numeric_datasets(context, task, file, targets.real_only);
  }
  if (task.journal.next() == 0) task.journal.set_next(1);
  const std::size_t count = targets.count == 0 ? found.size() : targets.count;
  for (std::uint32_t item = task.journal.next(); item <= count; ++item) {
    const Target target = targets.count == 0 ? Target{found[item - 1].c_str(), nullptr} : targets.named[item - 1];
    task.journal.act("reading " + std::string(target.path));
    context.heartbeat();
    Object record;
    try {
      record = examine(target);
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
}

void describe_large(Object& record, const hdf5::Dataset& dataset) {
  record.insert_or_assign("large", encode(dataset.info()));
  record.insert_or_assign("chunks", sparse_chunk_list(dataset));
}

LargeDataset TargetRecord::large() const {
  LargeDataset large;
  large.file = file;
  large.info = decode_dataset(record->at("large"));
  large.dataset = path;
  large.selection = hdf5::resolve(selection, large.info.shape, file + ":" + path);
  if (const Object* chunks = record->find("chunks"); chunks != nullptr && !chunks->is_none()) {
    large.stored_chunks.emplace();
    for (const Object& each : chunks->items()) {
      large.stored_chunks->push_back(decode_shape(each));
      if (large.stored_chunks->back().rank() != large.info.shape.rank()) {
        throw FormatError("read the report of", "a worker", "a chunk of another rank");
      }
    }
  }
  return large;
}

namespace {

// Puts the records of one file together.
class TargetReader {
 public:
  TargetReader(const std::string& file, const std::vector<hdf5::DatasetRef>& named, std::vector<Failure>& failures)
      : file_(file), named_(named), failures_(failures) {
    for (const auto& each : named) names_.push_back(label(each));
  }

  void read(FileResult& result, const std::function<void(const TargetRecord&)>& take) {
    try {
      for (const Object& record : result.records) {
        if (const Object* names = record.find("targets")) {
          take_names(*names, record.at("damaged"));
        } else {
          records_.insert_or_assign(record.at("item").as_uint(), &record);
        }
      }
      for (std::size_t i = 0; i < result.deaths.size(); ++i) add_death(result.dead_items[i], result.deaths[i]);
      for (const auto& [item, record] : records_) take_record(item, *record, take);
    } catch (const FormatError& error) {
      fail("", error.what());
      return;
    }
    if (!result.failure.empty() && (result.deaths.empty() || result.deaths.back() != result.failure))
      fail("", result.failure);
  }

 private:
  void fail(const std::string& dataset, std::string_view reason) {
    failures_.push_back(make_failure(file_, dataset, reason));
  }

  void take_names(const Object& names, const Object& damaged) {
    names_.clear();
    for (const Object& each : names.items()) names_.push_back(decode_text(each));
    for (const Object& each : damaged.items()) fail(decode_text(each.at(0)), decode_text(each.at(1)));
  }

  void add_death(std::uint32_t item, const std::string& reason) {
    fail(item > 0 && item <= names_.size() ? names_[item - 1] : "", reason);
  }

  void take_record(std::uint64_t item, const Object& record, const std::function<void(const TargetRecord&)>& take) {
    if (item == 0 || item > names_.size()) throw FormatError("read the report of", "a worker", "an unknown dataset");
    TargetRecord target{names_[item - 1], &record, file_, names_[item - 1], std::nullopt};
    if (!named_.empty()) {
      target.path = named_[item - 1].path;
      target.selection = named_[item - 1].selection;
    }
    if (const Object* error = record.find("error")) return fail(target.name, decode_text(*error));
    try {
      take(target);
    } catch (const Cancelled&) {
      throw;
    } catch (const TaskError& error) {
      fail(target.name, error.what());
    } catch (const Error& error) {  // such as numbers in the file that no plan can be made for
      fail(target.name, error.what());
    }
  }

  const std::string& file_;
  const std::vector<hdf5::DatasetRef>& named_;
  std::vector<Failure>& failures_;
  std::vector<std::string> names_;
  std::map<std::uint64_t, const Object*> records_;
};

}  // namespace

void take_targets(FileResult& result, const std::string& file, const std::vector<hdf5::DatasetRef>& named,
                  std::vector<Failure>& failures, const std::function<void(const TargetRecord&)>& take) {
  TargetReader(file, named, failures).read(result, take);
}

}  // namespace runrig::batch
