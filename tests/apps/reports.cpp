#include "reports.hpp"

#include <algorithm>
#include <sstream>

#include "source_directory.hpp"

namespace runrig::test {
namespace {

namespace fs = std::filesystem;

Json parse(const CommandResult& result) {
  try {
    return Json::parse(result.out);
  } catch (const Json::exception& error) {
    ADD_FAILURE() << error.what() << "\nexit code " << result.exit_code << "\n"
                  << result.err << "\n"
                  << result.out.substr(0, 2000);
    return {{"results", Json::array()}, {"files", Json::array()}, {"errors", Json::array()}};
  }
}

std::vector<ReportedError> errors_of(const Json& report) {
  std::vector<ReportedError> errors;
  for (const Json& each : report.at("errors")) {
    const Json& dataset = each.at("dataset");
    errors.push_back({each.at("file").get<std::string>(), dataset.is_null() ? "" : dataset.get<std::string>(),
                      each.at("error").get<std::string>()});
  }
  return errors;
}

bool names(const std::vector<ReportedError>& errors, const std::string& file) {
  return std::any_of(errors.begin(), errors.end(), [&](const ReportedError& each) { return each.file == file; });
}

template <class Iterator>
std::vector<std::string> data_files(Iterator entries) {
  std::vector<std::string> files;
  for (const auto& each : entries) {
    if (each.is_regular_file() && each.path().extension() != ".md") files.push_back(each.path().string());
  }
  std::sort(files.begin(), files.end());
  return files;
}

}  // namespace

bool StatsOutput::has_result(const std::string& file) const {
  const auto first = results.lower_bound({file, ""});
  return first != results.end() && first->first.first == file;
}

bool StatsOutput::has_error(const std::string& file) const { return names(errors, file); }

std::map<std::string, Json> StatsOutput::of(const std::string& file) const {
  std::map<std::string, Json> found;
  for (auto each = results.lower_bound({file, ""}); each != results.end() && each->first.first == file; ++each) {
    found.emplace(each->first.second, each->second);
  }
  return found;
}

StatsOutput parse_stats(const CommandResult& result) {
  StatsOutput output;
  const Json report = parse(result);
  for (Json each : report.at("results")) {
    const std::pair key{each.at("file").get<std::string>(), each.at("dataset").get<std::string>()};
    each.erase("file");
    each.erase("dataset");
    EXPECT_TRUE(output.results.emplace(key, each).second) << key.first << ":" << key.second << " is told of twice";
  }
  output.errors = errors_of(report);
  return output;
}

bool InfoOutput::has_error(const std::string& file) const { return names(errors, file); }

InfoOutput parse_info(const CommandResult& result) {
  InfoOutput output;
  const Json report = parse(result);
  for (const Json& file : report.at("files")) {
    std::size_t& numeric = output.numeric_datasets[file.at("file").get<std::string>()];
    for (const Json& object : file.at("objects")) {
      if (object.value("numeric", false)) ++numeric;
    }
  }
  output.errors = errors_of(report);
  return output;
}

void expect_errors_are_told(const CommandResult& result, std::size_t errors) {
  EXPECT_EQ(result.exit_code, errors > 0 ? 1 : 0);
  std::istringstream lines(result.err);
  std::size_t count = 0;
  for (std::string line; std::getline(lines, line);) {
    EXPECT_TRUE(line.starts_with("runrig: ")) << "a line of somebody else: " << line;
    if (!line.starts_with("runrig: warning: ")) ++count;
  }
  EXPECT_EQ(count, errors + (errors > 1 ? 1 : 0)) << result.err;  // the last one is the count
}

std::vector<std::string> all_samples() {
  auto files = files_in(data_directory());
  std::erase_if(files, [](const std::string& each) { return !each.ends_with(".h5"); });
  return files;
}

std::vector<std::string> files_below(const fs::path& folder) {
  return data_files(fs::recursive_directory_iterator(folder));
}

std::vector<std::string> files_in(const fs::path& folder) { return data_files(fs::directory_iterator(folder)); }

void expect_agreement(const std::string& python, const std::string& program, const std::vector<std::string>& arguments,
                      std::chrono::milliseconds limit) {
  std::vector<std::string> argv{python, std::string(RUNRIG_APPS_TESTS) + "/" + program};
  argv.insert(argv.end(), arguments.begin(), arguments.end());
  const auto result = run_command(argv, {}, limit, {"PYTHONDONTWRITEBYTECODE=1"});
  EXPECT_EQ(result.exit_code, 0) << result.out << result.err.substr(0, 20000);
  ::testing::Test::RecordProperty("python", result.out);
}

}  // namespace runrig::test
