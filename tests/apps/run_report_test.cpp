// --report and --progress json: what programs are told of a run.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>
#include <sstream>

#include "reports.hpp"

namespace runrig::test {
namespace {

namespace fs = std::filesystem;

class RunReportTest : public ::testing::Test {
 protected:
  std::string at(const std::string& name) const { return directory_ / name; }
  nlohmann::json report() const {
    std::ifstream file(at("report.json"));
    return nlohmann::json::parse(file);
  }
  std::vector<std::string> map(const std::vector<std::string>& files, const std::vector<std::string>& more = {}) const {
    std::vector<std::string> words{
        "map", "u*2", "-i", "u=/wind/u", "-o", at("out-{name}"), "--report", at("report.json")};
    words.insert(words.end(), files.begin(), files.end());
    words.insert(words.end(), more.begin(), more.end());
    return words;
  }
  TemporaryDirectory directory_;
};

TEST_F(RunReportTest, SaysWhatBecameOfEachFile) {
  std::ofstream(at("bad.h5")) << "no HDF5";
  ASSERT_EQ(runrig(map({sample("month-1.h5")})).exit_code, 0);
  const auto words = map({sample("month-1.h5"), at("bad.h5"), sample("month-2.h5")}, {"--resume"});
  EXPECT_EQ(runrig(words).exit_code, 1);
  const auto json = report();
  EXPECT_EQ(json["command"], "map");
  EXPECT_EQ(json["arguments"], words);
  EXPECT_EQ(json["exit_code"], 1);
  EXPECT_TRUE(json["error"].is_null());
  EXPECT_GT(json["seconds"], 0);
  EXPECT_GT(json["workers"], 0);
  std::map<std::string, nlohmann::json> files;
  for (const auto& each : json["files"]) files[fs::path(each["file"].get<std::string>()).filename()] = each;
  ASSERT_EQ(files.size(), 3U);
  EXPECT_EQ(files["month-1.h5"]["status"], "skipped");
  EXPECT_EQ(files["bad.h5"]["status"], "failed");
  EXPECT_TRUE(files["bad.h5"]["output"].is_null());
  EXPECT_THAT(files["bad.h5"]["errors"][0]["error"].get<std::string>(), ::testing::HasSubstr("not an HDF5 file"));
  const auto& done = files["month-2.h5"];
  EXPECT_EQ(done["status"], "done");
  EXPECT_EQ(done["output"], at("out-month-2.h5"));
  EXPECT_EQ(done["datasets"], std::vector<std::string>{"/result"});
  EXPECT_EQ(done["input_bytes"], fs::file_size(sample("month-2.h5")));
  EXPECT_EQ(done["output_bytes"], fs::file_size(at("out-month-2.h5")));
  EXPECT_EQ(done["array_bytes"], 56 * 37 * 72 * 4);
  EXPECT_GT(done["seconds"], 0);
  const auto& totals = json["totals"];
  EXPECT_EQ(totals["files"], 3);
  EXPECT_EQ(totals["done"], 1);
  EXPECT_EQ(totals["skipped"], 1);
  EXPECT_EQ(totals["failed"], 1);
  EXPECT_EQ(totals["interrupted"], 0);
  EXPECT_EQ(totals["output_bytes"], done["output_bytes"]);
}

TEST_F(RunReportTest, IsWrittenForEachCommand) {
  const std::string month = sample("month-1.h5");
  const std::vector<std::vector<std::string>> commands{
      {"info", month}, {"stats", month}, {"reduce", "mean", month}, {"repack", month, "-o", at("packed.h5")}};
  for (std::vector<std::string> words : commands) {
    words.insert(words.end(), {"--report", at("report.json")});
    EXPECT_EQ(runrig(words).exit_code, 0);
    EXPECT_EQ(report()["command"], words[0]);
    EXPECT_EQ(report()["files"][0]["file"], month);
    EXPECT_EQ(report()["files"][0]["status"], "done");
  }
}

TEST_F(RunReportTest, SaysWhyTheWorkDidNotBegin) {
  std::ofstream(at("out-month-1.h5")) << "foreign";
  EXPECT_EQ(runrig(map({sample("month-1.h5")})).exit_code, 2);
  EXPECT_EQ(report()["exit_code"], 2);
  EXPECT_THAT(report()["error"].get<std::string>(), ::testing::HasSubstr("File exists"));
  EXPECT_TRUE(report()["files"].empty());
}

TEST_F(RunReportTest, ThatCannotBeWrittenEndsTheRunBeforeItBegins) {
  auto words = map({sample("month-1.h5")});
  const auto report_to = [&](const std::string& path) {
    words[7] = path;
    return runrig(words);
  };
  expect_one_line(report_to(at("nowhere/report.json")), 1, {"nowhere", "No such file or directory"});
  expect_one_line(report_to(directory_.path()), 1, {"Is a directory"});
  expect_one_line(report_to(sample("month-1.h5")), 2, {"--report", "input"});
  EXPECT_TRUE(fs::is_empty(directory_.path()));
  // An output: the report says so, and is what has the name.
  expect_one_line(report_to(at("out-month-1.h5")), 2, {"out-month-1.h5", "in use"});
  std::ifstream file(at("out-month-1.h5"));
  EXPECT_EQ(nlohmann::json::parse(file)["exit_code"], 2);
}

TEST_F(RunReportTest, ReplacesAFormerOneOnlyWhenItIsComplete) {
  std::ofstream(at("report.json")) << "former";
  const auto failed = runrig(
      map({sample("month-1.h5")}), std::chrono::seconds(60),
      {"LD_PRELOAD=" RUNRIG_FULL_DISK_SHIM, "RUNRIG_FULL_DISK=" + at(".report.json"), "RUNRIG_FULL_DISK_BYTES=10"});
  expect_one_line(failed, 1, {"report.json", "No space left on device"});
  std::ifstream file(at("report.json"));
  EXPECT_EQ(std::string(std::istreambuf_iterator<char>(file), {}), "former");
  EXPECT_TRUE(fs::exists(at("out-month-1.h5")));
  EXPECT_EQ(runrig(map({sample("month-1.h5")}, {"--overwrite"})).exit_code, 0);
  EXPECT_EQ(report()["exit_code"], 0);
}

TEST_F(RunReportTest, IsValidForNamesThatAreNoText) {
  const std::string odd = at("odd-\xff.h5");
  fs::copy(sample("month-1.h5"), odd);
  EXPECT_EQ(runrig({"stats", odd, "--report", at("report.json")}).exit_code, 0);
  EXPECT_EQ(report()["files"].size(), 1U);
}

TEST_F(RunReportTest, ProgressIsLinesOfJsonAndALastOne) {
  const auto result = runrig(
      map({sample("month-1.h5"), sample("month-2.h5"), sample("month-3.h5"), at("absent.h5")}, {"--progress", "json"}));
  EXPECT_EQ(result.exit_code, 1);
  std::istringstream lines(result.err);
  std::vector<nlohmann::json> events;
  std::vector<std::string> others;
  for (std::string line; std::getline(lines, line);) {
    line.front() == '{' ? events.push_back(nlohmann::json::parse(line)) : others.push_back(line);
  }
  EXPECT_EQ(others.size(), 1U);
  ASSERT_GE(events.size(), 2U);
  for (std::size_t i = 0; i < events.size(); ++i) {
    EXPECT_EQ(events[i]["event"], i + 1 < events.size() ? "progress" : "end");
    for (const char* field : {"seconds", "files_done", "files_skipped", "files", "bytes_done", "bytes",
                              "bytes_per_second", "seconds_left"}) {
      EXPECT_TRUE(events[i].contains(field)) << field;
    }
    if (i == 0) continue;
    for (const char* field : {"seconds", "files_done", "bytes_done", "bytes"}) {
      EXPECT_GE(events[i][field], events[i - 1][field]) << field;
    }
  }
  EXPECT_EQ(events.back()["exit_code"], 1);
  EXPECT_EQ(events.back()["files_done"], 4);
  EXPECT_EQ(events.back()["files"], 4);
  EXPECT_EQ(events.back()["bytes_done"], (62 + 56 + 62) * 37 * 72 * 4);
}

}  // namespace
}  // namespace runrig::test
