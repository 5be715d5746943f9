// A batch that is ended anywhere, by any signal, and taken up again with --resume.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>

#include <algorithm>
#include <array>
#include <fstream>
#include <random>
#include <thread>

#include "big_file.hpp"
#include "reports.hpp"
#include "running.hpp"
#include "runrig/sync/clock.hpp"
#include "runrig/sync/killpoint.hpp"

namespace runrig::test {
namespace {

namespace fs = std::filesystem;
using std::chrono::milliseconds;

struct Batch {
  std::string label;
  std::vector<std::string> arguments;
  std::string dataset;  // of the output
};
std::ostream& operator<<(std::ostream& out, const Batch& batch) { return out << batch.label; }

class InterruptTest : public ::testing::TestWithParam<Batch> {
 protected:
#ifdef RUNRIG_NIGHTLY
  static constexpr int rounds = 48;  // of each command
#else
  static constexpr int rounds = 12;
#endif
  static constexpr int files = 6;

  void SetUp() override {
    fs::create_directory(directory_ / "in");
    make_big_file(directory_ / "in/0.h5", 192);
    for (int i = 1; i < files; ++i) fs::copy(directory_ / "in/0.h5", input(i));
    fs::create_directory(directory_ / "right");
    const auto begin = Clock::now();
    ASSERT_EQ(runrig(arguments("right")).exit_code, 0);
    time_ = std::chrono::duration_cast<milliseconds>(Clock::now() - begin);
  }
  std::string input(int i) const { return directory_ / ("in/" + std::to_string(i) + ".h5"); }
  // The command, writing into a folder of the directory.
  std::vector<std::string> arguments(const std::string& folder, const std::vector<std::string>& more = {}) const {
    std::vector<std::string> words = GetParam().arguments;
    for (int i = 0; i < files; ++i) words.push_back(input(i));
    words.insert(words.end(), {"-o", (directory_ / folder).string() + "/{name}", "--workers", "2"});
    words.insert(words.end(), more.begin(), more.end());
    return words;
  }
  std::vector<std::string> names_in(const std::string& folder) const {
    std::vector<std::string> names;
    for (const auto& each : fs::directory_iterator(directory_ / folder)) names.push_back(each.path().filename());
    std::sort(names.begin(), names.end());
    return names;
  }
  // Resumes, and keeps the folder for compare().
  void resume(const std::string& folder) {
    const auto result = runrig(arguments(folder, {"--resume"}));
    EXPECT_EQ(result.exit_code, 0) << result.err;
    EXPECT_EQ(names_in(folder), names_in("right")) << "something was left";
    folders_.push_back(folder);
  }
  // Elements, chunks as they are stored, shapes, types and the names of attributes.
  void compare(const std::string& python) const {
    for (int i = 0; i < files; ++i) {
      std::vector<std::string> words{GetParam().dataset, directory_ / ("right/" + std::to_string(i) + ".h5")};
      for (const std::string& folder : folders_) {
        words.push_back((directory_ / folder).string() + "/" + std::to_string(i) + ".h5");
      }
      expect_agreement(python, "compare_outputs.py", words);
    }
  }
  // What the report of an interrupted run says is what is there.
  void expect_true_report(const std::string& folder, const std::string& report) const {
    std::ifstream file(report);
    const auto json = nlohmann::json::parse(file);
    EXPECT_EQ(json["exit_code"], 130);
    EXPECT_EQ(json["error"], "interrupted");
    std::vector<std::string> done;
    for (const auto& each : json["files"]) {
      if (each["status"] == "done") {
        done.push_back(fs::path(each["output"].get<std::string>()).filename());
      } else {
        EXPECT_EQ(each["status"], "interrupted");
      }
    }
    std::sort(done.begin(), done.end());
    // Before the work began there are no files in it.
    EXPECT_TRUE(json["files"].empty() || json["files"].size() == files);
    EXPECT_EQ(json["totals"]["done"], done.size());
    EXPECT_EQ(names_in(folder), done) << "other files, or temporaries";
  }

  TemporaryDirectory directory_;
  std::mt19937_64 random_{20261129};
  milliseconds time_{0};
  std::vector<std::string> folders_;
};

TEST_P(InterruptTest, AtAnyMomentIsTakenUpAgainByResume) {
  RUNRIG_NEED_PYTHON(python, "h5py");
  int in_the_middle = 0;
  for (int round = 0; round < rounds; ++round) {
    const std::string folder = "round-" + std::to_string(round);
    const std::string report = directory_ / (folder + ".json");
    fs::create_directory(directory_ / folder);
    Running command(arguments(folder, {"--report", report}), {}, directory_ / "errors");
    std::this_thread::sleep_for(milliseconds(random_() % static_cast<std::uint64_t>(time_.count())));
    const int number = std::array{SIGINT, SIGTERM, SIGKILL}[static_cast<std::size_t>(round % 3)];
    // To the process, or as a terminal does it: to all of them. The second of two ends it at once.
    const int target = round / 3 % 2 == 0 ? command.pid() : -command.pid();
    ::kill(target, number);
    if (round % 12 == 6) ::kill(target, number);
    const int code = command.join();
    EXPECT_THAT(code, ::testing::AnyOf(0, 130, -number));
    if (code == 130) expect_true_report(folder, report);
    std::size_t finished = 0;
    for (const auto& name : names_in(folder)) finished += name.front() == '.' ? 0 : 1;
    in_the_middle += finished > 0 && finished < files ? 1 : 0;
    resume(folder);
  }
  RecordProperty("in_the_middle", in_the_middle);
  compare(python);
}

TEST_P(InterruptTest, AtEachKillPointOfTheOutputPathIsTakenUpAgainByResume) {
  if (!killpoint::compiled_in()) GTEST_SKIP() << "this build has no kill points";
  RUNRIG_NEED_PYTHON(python, "h5py");
  int reached = 0;
  for (const std::string point :
       {"batch.map.tile_evaluated", "batch.map.tile_done", "batch.map.created", "batch.map.chunk_placed",
        "batch.map.closing", "batch.repack.created", "batch.repack.tile_done", "output.sealed", "output.synced",
        "output.former_kept", "output.renamed"}) {
    const std::string folder = point;
    fs::create_directory(directory_ / folder);
    // In the parent the third time is in the third file, but all are synced together. A worker dies again and again: so
    // do all files' outputs.
    const std::string nth = point == "output.synced" ? ":1" : ":3";
    Running command(arguments(folder), {"RUNRIG_KILLPOINT=" + point + nth}, directory_ / "errors");
    reached += command.join() != 0 ? 1 : 0;
    resume(folder);
  }
  EXPECT_GE(reached, 4);  // at the least those of the parent
  compare(python);
}

INSTANTIATE_TEST_SUITE_P(
    Commands, InterruptTest,
    ::testing::Values(Batch{"map", {"map", "x*2+1", "-i", "x=/x"}, "/result"},
                      Batch{"map_without_provenance", {"map", "x*2+1", "-i", "x=/x", "--no-provenance"}, "/result"},
                      Batch{"reduce", {"reduce", "mean", "-d", "/x", "--axis", "0"}, "/result"},
                      Batch{"repack", {"repack", "--filter", "shuffle,deflate:fast"}, "/x"}),
    [](const auto& each) { return each.param.label; });

}  // namespace
}  // namespace runrig::test
