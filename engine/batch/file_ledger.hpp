#pragma once

#include <functional>
#include <string>
#include <vector>

#include "state.hpp"

namespace runrig::batch {

/// What becomes of each input file of one call: it catches what fails for one, counts, and tells Options::on_file.
class FileLedger {
 public:
  /// `failures` is where the call collects them, those of its files in a row.
  FileLedger(Session::State& state, const std::vector<std::string>& files, std::vector<Failure>& failures);

  /// Runs the call. If it is ended by what it throws, files without an end are told as interrupted.
  void run(const std::function<void()>& body);
  /// What was spent on a file before.
  struct Spent {
    double seconds = 0;
    std::uint64_t bytes = 0;  // of arrays, as Progress counts them
  };
  /// Does one file. TaskError and Error are its failure; what else `body` throws, Cancelled for one, goes on.
  void file(std::size_t file, const Spent& before, const std::function<void(FileOutcome&)>& body);
  /// The file's output is there already.
  void skip(std::size_t file, const std::string& output);

 private:
  void settle(std::size_t file, const FileOutcome& outcome);
  [[nodiscard]] FileOutcome begin(std::size_t file) const;

  Session::State& state_;
  const std::vector<std::string>& files_;
  std::vector<Failure>& failures_;
  std::vector<bool> settled_;
};

}  // namespace runrig::batch
