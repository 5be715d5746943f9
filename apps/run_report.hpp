#pragma once

#include <chrono>
#include <memory>
#include <string>
#include <vector>

#include "runrig/batch/outcome.hpp"
#include "runrig/batch/pending_output.hpp"

namespace runrig::cli {

/// What is said of a whole run in --report F.json. The fields are in docs/batch.md.
struct RunSummary {
  std::string command;
  std::chrono::system_clock::time_point started;
  double seconds = 0;
  int workers = 0;
  std::uint64_t memory_bytes = 0;
  int exit_code = 0;
  std::string error;  // that ended the run; empty if nothing did
};

/// A file to which the report of a run is written at its end. It has its name only when it is complete; a former one
/// stays until then.
class ReportFile {
 public:
  /// Throws Error if no file can be made there.
  explicit ReportFile(const std::string& path);
  /// Throws Error, and leaves the former report.
  void write(const RunSummary& summary, const std::vector<batch::FileOutcome>& outcomes);

 private:
  batch::PendingOutput output_;
};

/// The arguments of this process, for reports: all but the name of the program. Called once, by main.
void keep_arguments(int argc, char** argv);

}  // namespace runrig::cli
