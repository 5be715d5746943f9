#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "common.hpp"
#include "errors.hpp"
#include "progress_bar.hpp"
#include "progress_lines.hpp"
#include "run_report.hpp"

namespace runrig::cli {

/// One run of a command over files: its progress, its report, and its end, however it ends.
class Run {
 public:
  Run(std::string command, const CommonOptions& options);

  /// Calls `body` with a new run, prints what ended it if it did not end by itself, writes the report, and returns the
  /// exit code.
  [[nodiscard]] static int of(const std::string& command, const CommonOptions& options,
                              const std::function<int(Run&)>& body);

  /// Calls `work` with the session in which it is to be done, and returns what that returns. From here on there is a
  /// report; throws if there cannot be.
  template <class Work>
  auto work(const Work& work) {
    return work_in(engine(), work);
  }
  /// The same for work that makes no output, and starts no process for it.
  template <class Work>
  auto look(const Work& work) {
    batch::Options options = engine();
    options.read_only = true;
    return work_in(std::move(options), work);
  }
  /// Files whose outputs are up to date: how many, and a line for each.
  [[nodiscard]] std::size_t skipped() const;
  void print_skipped() const;
  /// {"results", "up_to_date", "errors"}: objects that are results of files, and what did not get any.
  void print_json(const std::string& results, const std::vector<batch::Failure>& failures) const;

 private:
  [[nodiscard]] batch::Options engine();
  template <class Work>
  auto work_in(batch::Options options, const Work& work) {
    session_ = std::make_unique<batch::Session>(std::move(options));
    auto result = work(*session_);
    bar_.reset();  // what is printed now stands alone
    return result;
  }
  void finish(const End& end);
  [[nodiscard]] std::string last_words(const End& end) const;
  void print_finished() const;
  [[nodiscard]] bool reads(const std::string& path) const;

  std::string command_;
  const CommonOptions& options_;
  std::chrono::system_clock::time_point started_ = std::chrono::system_clock::now();
  Clock::time_point begin_ = Clock::now();
  std::vector<batch::FileOutcome> outcomes_;
  std::unique_ptr<ProgressBar> bar_;
  std::unique_ptr<ProgressLines> lines_;
  std::unique_ptr<ReportFile> report_;
  std::unique_ptr<batch::Session> session_;
};

}  // namespace runrig::cli
