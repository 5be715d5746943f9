#include "file_ledger.hpp"

#include <filesystem>

#include "dry_run.hpp"
#include "runrig/sync/clock.hpp"
#include "runrig/sync/error.hpp"

namespace runrig::batch {
namespace {

std::uint64_t size_of(const std::string& path) {
  std::error_code failed;
  const auto bytes = std::filesystem::file_size(path, failed);
  return failed ? 0 : bytes;
}

}  // namespace

std::string_view file_status_name(FileStatus status) noexcept {
  switch (status) {
    case FileStatus::done:
      return "done";
    case FileStatus::skipped:
      return "skipped";
    case FileStatus::failed:
      return "failed";
    case FileStatus::interrupted:
      break;
  }
  return "interrupted";
}

FileLedger::FileLedger(Session::State& state, const std::vector<std::string>& files, std::vector<Failure>& failures)
    : state_(state), files_(files), failures_(failures), settled_(files.size(), false) {
  state_.progress.files += files.size();
}

FileOutcome FileLedger::begin(std::size_t file) const {
  FileOutcome outcome;
  outcome.file = files_[file];
  outcome.input_bytes = size_of(outcome.file);
  return outcome;
}

void FileLedger::settle(std::size_t file, const FileOutcome& outcome) {
  settled_[file] = true;
  if (state_.options.on_file && state_.dry_run == nullptr) state_.options.on_file(outcome);
}

void FileLedger::run(const std::function<void()>& body) {
  try {
    body();
  } catch (...) {
    for (std::size_t i = 0; i < files_.size(); ++i) {
      if (!settled_[i]) settle(i, begin(i));
    }
    state_.show_progress(true);
    throw;
  }
  state_.show_progress(true);
}

void FileLedger::file(std::size_t file, const Spent& before, const std::function<void(FileOutcome&)>& body) {
  FileOutcome outcome = begin(file);
  const auto start = Clock::now();
  const std::size_t failed_before = failures_.size();
  const std::uint64_t bytes_before = state_.progress.bytes;
  ++state_.progress.files_known;
  if (state_.dry_run != nullptr) state_.dry_run->begin(file);
  try {
    body(outcome);
  } catch (const Cancelled&) {
    throw;
  } catch (const TaskError& error) {
    failures_.push_back(make_failure(outcome.file, "", error.what()));
  } catch (const Error& error) {
    failures_.push_back(make_failure(outcome.file, "", error.what()));
  }
  outcome.errors.assign(failures_.begin() + static_cast<std::ptrdiff_t>(failed_before), failures_.end());
  outcome.status = outcome.errors.empty() ? FileStatus::done : FileStatus::failed;
  if (state_.dry_run != nullptr && outcome.status == FileStatus::failed) state_.dry_run->drop();
  if (outcome.status == FileStatus::done && !outcome.output.empty()) outcome.output_bytes = size_of(outcome.output);
  outcome.array_bytes = before.bytes + state_.progress.bytes - bytes_before;
  outcome.seconds = before.seconds + std::chrono::duration<double>(Clock::now() - start).count();
  ++state_.progress.files_done;
  settle(file, outcome);
  state_.show_progress();
}

void FileLedger::skip(std::size_t file, const std::string& output) {
  if (state_.dry_run != nullptr) {
    state_.dry_run->begin(file);
    state_.dry_run->current().up_to_date = true;
    state_.dry_run->current().output = output;
  }
  FileOutcome outcome = begin(file);
  outcome.status = FileStatus::skipped;
  outcome.output = output;
  outcome.output_bytes = size_of(output);
  ++state_.progress.files_done;
  ++state_.progress.files_skipped;
  settle(file, outcome);
}

}  // namespace runrig::batch
