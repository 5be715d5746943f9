#pragma once

#include <string>
#include <utility>
#include <vector>

#include "output_job.hpp"
#include "runrig/batch/dry_run.hpp"

namespace runrig::batch {

/// Gathers what a call would do, while it does nothing: State::dry_run leads here then.
class DryRunner {
 public:
  explicit DryRunner(const std::vector<std::string>& files) : files_(files) {}

  /// The file that is being planned.
  void begin(std::size_t number);
  [[nodiscard]] PlannedFile& current() { return planned_.back().second; }
  /// It failed: there is no plan for it.
  void drop() { planned_.pop_back(); }
  /// In the order of the files.
  [[nodiscard]] std::vector<PlannedFile> take();

 private:
  const std::vector<std::string>& files_;
  std::vector<std::pair<std::size_t, PlannedFile>> planned_;
};

/// Calls `call()`, which returns a report with failures, as a dry run of the session.
template <class Call>
DryRun run_dry(Session::State& state, const std::vector<std::string>& files, const Call& call) {
  DryRunner runner(files);
  struct Reset {
    Session::State& state;
    ~Reset() { state.dry_run = nullptr; }
  } const reset{state};
  state.dry_run = &runner;
  auto report = call();
  return {runner.take(), std::move(report.failures)};
}

/// One dataset of `shape`, as `spec` says it is stored.
[[nodiscard]] PlannedDataset describe(const hdf5::OutputSpec& spec, const std::string& output,
                                      const std::string& dataset);
/// What make_output() would write. Throws Error where it would for want of space.
void tell_writes(const OutputRequest& request, const PendingOutput& output, PlannedFile& planned);

}  // namespace runrig::batch
