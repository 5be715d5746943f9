#pragma once

#include <functional>
#include <string>
#include <vector>

#include "file_tasks.hpp"
#include "summary.hpp"

/// The datasets that a command looks at in each file: those named, or all numeric ones. Each is examined by the worker
/// that opened the file, which reports a record; the parent goes on with what is too large for one worker.
namespace runrig::batch {

/// Datasets up to this size are done by the worker that found them, if their chunks are not too large.
inline constexpr std::uint64_t small_bytes = std::uint64_t{4} << 20;
[[nodiscard]] bool is_small(const hdf5::DatasetInfo& info, const hdf5::Selection& selection);

struct Target {
  const char* path = nullptr;
  const char* selection = nullptr;  // null: everything

  [[nodiscard]] hdf5::Selection resolve(const hdf5::Dataset& dataset) const;
};
/// In the arena. None: all numeric datasets; not the complex ones if the numbers must lie on a line.
struct Targets {
  const Target* named = nullptr;
  std::uint32_t count = 0;
  bool real_only = false;
};
[[nodiscard]] std::size_t target_bytes(const std::vector<hdf5::DatasetRef>& datasets);
[[nodiscard]] Targets add_targets(ArenaWriter& memory, const std::vector<hdf5::DatasetRef>& datasets);

/// Worker: the body of for_each_file(). Calls `examine` for each target; what it throws becomes the target's failure.
/// The file stays open.
void examine_targets(SliceContext& context, const FileTask& task, const Targets& targets,
                     const std::function<pickle::Object(const Target&)>& examine);
/// Worker: adds what the parent needs of a dataset for all workers to read it.
void describe_large(pickle::Object& record, const hdf5::Dataset& dataset);

/// A target as the parent sees it.
struct TargetRecord {
  std::string name;  // with the selection as it was asked for
  const pickle::Object* record = nullptr;
  std::string file;
  std::string path;
  std::optional<hdf5::SelectionSpec> selection;

  /// What describe_large() told. Throws FormatError if that is not what it tells.
  [[nodiscard]] LargeDataset large() const;
};
/// Parent: calls `take` for the targets of a file that were examined, in their order, and adds a failure for each of
/// the others. What `take` throws is a failure as well, but for Cancelled.
void take_targets(FileResult& result, const std::string& file, const std::vector<hdf5::DatasetRef>& named,
                  std::vector<Failure>& failures, const std::function<void(const TargetRecord&)>& take);

}  // namespace runrig::batch
