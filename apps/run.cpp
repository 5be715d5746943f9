#include "run.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <filesystem>

#include "runrig/sync/error.hpp"
#include "text.hpp"

namespace runrig::cli {

Run::Run(std::string command, const CommonOptions& options) : command_(std::move(command)), options_(options) {}

int Run::of(const std::string& command, const CommonOptions& options, const std::function<int(Run&)>& body) {
  Run run(command, options);
  End end = run_guarded([&] { return body(run); });
  // The report is part of the work: where it cannot be written, that is how the run ended.
  const End reported = run_guarded([&] {
    run.finish(end);
    return end.exit_code;
  });
  if (!reported.error.empty() && end.exit_code == exit_ok) end.exit_code = reported.exit_code;
  if (run.lines_) run.lines_->end(end.exit_code);
  run.bar_.reset();
  if (end.exit_code == exit_interrupted && !options.json) run.print_finished();
  if (!end.error.empty()) print_error(run.last_words(end));
  if (!reported.error.empty()) print_error(reported.error);
  return end.exit_code;
}

batch::Options Run::engine() {
  batch::Options engine = options_.engine();
  if (!options_.report.empty()) {
    if (reads(options_.report)) throw UsageError("--report '" + options_.report + "': it is an input");
    report_ = std::make_unique<ReportFile>(options_.report);
    engine.reserved_files.push_back(options_.report);
  }
  engine.on_file = [this](const batch::FileOutcome& outcome) { outcomes_.push_back(outcome); };
  if (options_.progress == "json") {
    lines_ = std::make_unique<ProgressLines>();
    engine.on_progress = [this](const batch::Progress& now) { lines_->show(now); };
  } else if (ProgressBar::wanted(options_.progress)) {
    bar_ = std::make_unique<ProgressBar>();
    engine.on_progress = [this](const batch::Progress& now) {
      if (bar_) bar_->show(now);
    };
  }
  return engine;
}

bool Run::reads(const std::string& path) const {
  return std::ranges::any_of(options_.files, [&](const std::string& each) {
    std::error_code ignored;
    return std::filesystem::equivalent(each, path, ignored);
  });
}

void Run::finish(const End& end) {
  if (!report_) return;
  RunSummary summary;
  summary.command = command_;
  summary.started = started_;
  summary.seconds = std::chrono::duration<double>(Clock::now() - begin_).count();
  if (session_) {
    summary.workers = session_->workers();
    summary.memory_bytes = session_->memory_bytes();
  }
  summary.exit_code = end.exit_code;
  summary.error = end.error;
  report_->write(summary, outcomes_);
}

std::string Run::last_words(const End& end) const {
  if (end.exit_code != exit_interrupted || outcomes_.empty()) return end.error;
  const auto ended =
      std::ranges::count_if(outcomes_, [](const auto& each) { return each.status != batch::FileStatus::interrupted; });
  return fmt::format("{}; {} of {} files were done with", end.error, ended, outcomes_.size());
}

void Run::print_finished() const {
  for (const auto& each : outcomes_) {
    if (each.status != batch::FileStatus::done || each.output.empty()) continue;
    fmt::print("{}  {}\n", printable(each.output), size_text(each.output_bytes));
  }
}

std::size_t Run::skipped() const {
  return static_cast<std::size_t>(
      std::ranges::count(outcomes_, batch::FileStatus::skipped, &batch::FileOutcome::status));
}

void Run::print_json(const std::string& results, const std::vector<batch::Failure>& failures) const {
  std::string skipped;
  for (const auto& each : outcomes_) {
    if (each.status != batch::FileStatus::skipped) continue;
    skipped += fmt::format(R"({}{{"file":{},"output":{}}})", skipped.empty() ? "" : ",", json_string(each.file),
                           json_string(each.output));
  }
  fmt::print("{{\"results\":[{}],\"up_to_date\":[{}],\"errors\":{}}}\n", results, skipped, json_failures(failures));
}

void Run::print_skipped() const {
  for (const auto& each : outcomes_) {
    if (each.status == batch::FileStatus::skipped) fmt::print("{}  is up to date\n", printable(each.output));
  }
}

}  // namespace runrig::cli
