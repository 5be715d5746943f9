#pragma once

#include <chrono>
#include <filesystem>
#include <map>
#include <nlohmann/json.hpp>
#include <string>
#include <utility>
#include <vector>

#include "command.hpp"

/// What the command says of many files, and programs in Python that judge it.
namespace runrig::test {

/// JSON whose numbers hold an infinity, which the command writes as 1e999, as just another number.
using Json = nlohmann::basic_json<std::map, std::vector, std::string, bool, std::int64_t, std::uint64_t, long double>;

struct ReportedError {
  std::string file;
  std::string dataset;  // empty: the whole file
  std::string text;
};

/// `runrig stats --json`.
struct StatsOutput {
  std::map<std::pair<std::string, std::string>, Json> results;  // by file and dataset, without these two
  std::vector<ReportedError> errors;

  [[nodiscard]] bool has_result(const std::string& file) const;
  [[nodiscard]] bool has_error(const std::string& file) const;
  /// The results of one file by dataset.
  [[nodiscard]] std::map<std::string, Json> of(const std::string& file) const;
};
/// Fails the test, and returns nothing, if that is not what was printed.
[[nodiscard]] StatsOutput parse_stats(const CommandResult& result);

/// `runrig info --json`.
struct InfoOutput {
  std::map<std::string, std::size_t> numeric_datasets;  // of each file that was listed
  std::vector<ReportedError> errors;

  [[nodiscard]] bool has_error(const std::string& file) const;
};
[[nodiscard]] InfoOutput parse_info(const CommandResult& result);

/// Expects that stderr has a line for each error and, but for warnings, nothing else, and that the exit code says
/// whether there were errors.
void expect_errors_are_told(const CommandResult& result, std::size_t errors);

/// The committed sample files, in the order of names.
[[nodiscard]] std::vector<std::string> all_samples();
/// All files below `folder` but for notes (.md), in the order of names.
[[nodiscard]] std::vector<std::string> files_below(const std::filesystem::path& folder);
/// The user's real, sound files: those of `folder` itself.
[[nodiscard]] std::vector<std::string> files_in(const std::filesystem::path& folder);

/// Runs a Python program of this folder; fails the test with what it says if it finds anything wrong.
void expect_agreement(const std::string& python, const std::string& program, const std::vector<std::string>& arguments,
                      std::chrono::milliseconds limit = std::chrono::seconds(120));

}  // namespace runrig::test
