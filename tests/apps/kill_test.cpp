#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <fstream>
#include <random>
#include <set>
#include <thread>

#include "big_file.hpp"
#include "command.hpp"
#include "processes.hpp"
#include "running.hpp"
#include "runrig/sync/clock.hpp"
#include "runrig/sync/killpoint.hpp"

namespace runrig::test {
namespace {

namespace fs = std::filesystem;
using std::chrono::milliseconds;

class KillTest : public ::testing::Test {
 protected:
#ifdef RUNRIG_NIGHTLY
  static constexpr int rounds = 500;
#else
  static constexpr int rounds = 50;
#endif
  static constexpr std::uint64_t rows = 4096;  // 16 MiB

  void SetUp() override { make_big_file(directory_ / "in.h5", rows); }

  std::vector<std::string> map_arguments() const {
    return {"map", "x*2+1", (directory_ / "in.h5").string(), "-i", "x=/x", "-o", output().string(), "--workers", "3"};
  }
  fs::path output() const { return directory_ / "out.h5"; }

  milliseconds undisturbed_time() {
    const auto begin = Clock::now();
    Running command(map_arguments());
    EXPECT_EQ(command.join(), 0);
    EXPECT_TRUE(is_right_result(output(), rows));
    fs::remove(output());
    return std::chrono::duration_cast<milliseconds>(Clock::now() - begin);
  }

  // What the runs left beside the input, but for a complete output.
  std::vector<std::string> leftovers() const {
    std::vector<std::string> names;
    for (const auto& each : fs::directory_iterator(directory_.path())) {
      const auto name = each.path().filename().string();
      if (name != "in.h5" && name != "out.h5") names.push_back(name);
    }
    return names;
  }

  TemporaryDirectory directory_;
  std::mt19937_64 random_{20261121};
};

TEST_F(KillTest, AKilledReaderOrWriterOrTemplateCostsNothingButTime) {
  const auto time = undisturbed_time();
  int killed = 0;
  for (int round = 0; round < rounds; ++round) {
    Running command(map_arguments());
    std::this_thread::sleep_for(milliseconds(random_() % static_cast<std::uint64_t>(time.count())));
    const auto family = descendants(command.pid());
    std::vector<int> workers;
    for (const auto& [pid, name] : family) {
      if (name.starts_with("rr-")) workers.push_back(pid);
    }
    if (!workers.empty()) {
      ::kill(workers[random_() % workers.size()], SIGKILL);
      ++killed;
    }
    ASSERT_EQ(command.join(), 0) << "round " << round;
    ASSERT_TRUE(is_right_result(output(), rows)) << "round " << round;
    ASSERT_THAT(leftovers(), ::testing::IsEmpty());
    fs::remove(output());
  }
  EXPECT_GT(killed, rounds / 4);
}

// Workers wait for memory that only the writer frees, and that it will never free they have to be told.
TEST_F(KillTest, AKilledTemplateOfTheWriterCostsNothingButTimeWhereTilesWaitForIt) {
  auto arguments = map_arguments();
  arguments.insert(arguments.end(), {"--memory", "16M"});  // room for a few of its tiles
  int killed = 0;
  for (int round = 0; round < 10; ++round) {
    Running command(arguments);
    int writer = 0;
    const auto begun = [&] {
      for (const auto& [pid, name] : descendants(command.pid())) {
        if (name == "rr-writer/tpl") writer = pid;
      }
      return writer != 0 && !leftovers().empty();  // its output is being written
    };
    const bool in_time = eventually(begun, std::chrono::seconds(5));  // else it has ended before we looked
    std::this_thread::sleep_for(milliseconds(random_() % 50));
    if (in_time && ::kill(writer, SIGKILL) == 0) ++killed;
    ASSERT_EQ(command.join(), 0) << "round " << round;
    ASSERT_TRUE(is_right_result(output(), rows)) << "round " << round;
    fs::remove(output());
  }
  EXPECT_GT(killed, 3);
}

TEST_F(KillTest, AfterTheWholeGroupIsKilledNothingPartialIsThereAndTheNextStartCleansUp) {
  const auto time = undisturbed_time();
  for (int round = 0; round < rounds; ++round) {
    std::map<int, std::string> family;
    {
      Running command(map_arguments());
      std::this_thread::sleep_for(milliseconds(random_() % static_cast<std::uint64_t>(time.count() + 20)));
      family = descendants(command.pid());
      ::kill(-command.pid(), SIGKILL);
      (void)command.join();
    }
    EXPECT_TRUE(eventually([&] {
      const auto all = all_processes();
      return std::none_of(family.begin(), family.end(), [&](const auto& each) {
        const auto found = all.find(each.first);
        return found != all.end() && found->second.lives() && found->second.name == each.second;
      });
    })) << "a process outlived its group";
    if (fs::exists(output())) {
      ASSERT_TRUE(is_right_result(output(), rows)) << "round " << round;
      fs::remove(output());
    }
  }
  Running command(map_arguments());
  EXPECT_EQ(command.join(), 0);
  EXPECT_TRUE(is_right_result(output(), rows));
  EXPECT_THAT(leftovers(), ::testing::IsEmpty());
}

TEST_F(KillTest, KilledAtEachPointOfTheOutputPathTheFileIsAbsentOrComplete) {
  if (!killpoint::compiled_in()) GTEST_SKIP() << "this build has no kill points";
  for (const std::string point :
       {"batch.map.tile_evaluated", "batch.map.tile_done", "batch.map.created", "batch.map.chunk_placed",
        "batch.map.closing", "output.sealed", "output.synced", "output.former_kept", "output.renamed"}) {
    for (const int nth : {1, 7}) {
      Running command(map_arguments(), {"RUNRIG_KILLPOINT=" + point + ":" + std::to_string(nth)});
      const int code = command.join();
      // In a worker the kill repeats in its successors, until the slice or the output is given up; in the parent it is
      // the end.
      EXPECT_TRUE(nth > 1 || code != 0) << point << " was not reached";
      if (fs::exists(output())) {
        EXPECT_TRUE(is_right_result(output(), rows)) << point;
        fs::remove(output());
      } else {
        EXPECT_NE(code, 0) << point;
      }
    }
  }
  Running command(map_arguments());
  EXPECT_EQ(command.join(), 0);
  EXPECT_THAT(leftovers(), ::testing::IsEmpty());
}

TEST_F(KillTest, AWorkerThatDiesOnceItsTileIsToldCostsNothingButTime) {
  if (!killpoint::compiled_in()) GTEST_SKIP() << "this build has no kill points";
  Running command(map_arguments(), {"RUNRIG_KILLPOINT=" + std::string("batch.queue.told") + ":5"});
  EXPECT_EQ(command.join(), 0);
  EXPECT_TRUE(is_right_result(output(), rows));
}

TEST_F(KillTest, KilledAtEachPointOfARepackTheFileIsAbsentOrComplete) {
  if (!killpoint::compiled_in()) GTEST_SKIP() << "this build has no kill points";
  const std::string input = directory_ / "in.h5";
  const std::vector<std::string> arguments{
      "repack", input, "-o", output().string(), "--filter", "shuffle,deflate:fast", "--workers", "3"};
  const auto is_complete = [&] { return run_command({"h5diff", "-q", input, output().string()}).exit_code == 0; };
  for (const std::string point :
       {"batch.repack.created", "batch.repack.tile_done", "batch.map.chunk_placed", "batch.map.closing",
        "output.sealed", "output.synced", "output.former_kept", "output.renamed"}) {
    Running command(arguments, {"RUNRIG_KILLPOINT=" + point + ":1"});
    const int code = command.join();
    EXPECT_NE(code, 0) << point << " was not reached";
    if (fs::exists(output())) {
      EXPECT_TRUE(is_complete()) << point;
      fs::remove(output());
    }
  }
  Running command(arguments);
  EXPECT_EQ(command.join(), 0);
  EXPECT_TRUE(is_complete());
  EXPECT_THAT(leftovers(), ::testing::IsEmpty());
}

TEST_F(KillTest, AnInterruptRemovesTheTemporaryFileAndExitsWith130) {
  const auto time = undisturbed_time();
  int interrupted = 0;
  for (int round = 0; round < 20; ++round) {
    Running command(map_arguments());
    std::this_thread::sleep_for(milliseconds(random_() % static_cast<std::uint64_t>(time.count())));
    ::kill(-command.pid(), round % 2 == 0 ? SIGINT : SIGTERM);
    const int code = command.join(std::chrono::seconds(10));
    // Before main watches for it, the signal has its default action; at the end, the work may be done.
    EXPECT_THAT(code, ::testing::AnyOf(130, 0, -SIGINT, -SIGTERM));
    interrupted += code == 130 ? 1 : 0;
    if (code == 0) {
      EXPECT_TRUE(is_right_result(output(), rows));
    } else {
      EXPECT_FALSE(fs::exists(output()));
    }
    EXPECT_THAT(leftovers(), ::testing::IsEmpty());
    fs::remove(output());
  }
  EXPECT_GT(interrupted, 0);
}

}  // namespace
}  // namespace runrig::test
