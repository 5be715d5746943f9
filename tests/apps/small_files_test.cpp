// Many small files: made many at a time, and as sure as one by one.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <fstream>

#include "big_file.hpp"
#include "command.hpp"
#include "reports.hpp"
#include "running.hpp"
#include "runrig/sync/killpoint.hpp"

namespace runrig::test {
namespace {

namespace fs = std::filesystem;

class SmallFilesTest : public ::testing::Test {
 protected:
  static constexpr std::uint64_t rows = 16;  // 64 KiB
  static constexpr int count = 150;          // more than two groups of them

  void SetUp() override {
    fs::create_directory(directory_ / "in");
    fs::create_directory(directory_ / "out");
    make_big_file(directory_ / "in/000.h5", rows);
    for (int i = 1; i < count; ++i) fs::copy_file(directory_ / "in/000.h5", input(i));
  }
  std::string input(int i) const {
    std::string name = std::to_string(i);
    name.insert(0, 3 - name.size(), '0');
    return directory_ / ("in/" + name + ".h5");
  }
  std::vector<std::string> arguments() const {
    std::vector<std::string> all{"map",       "x*2+1", "-i", "x=/x", "-o", (directory_ / "out").string() + "/{name}",
                                 "--workers", "3"};
    for (int i = 0; i < count; ++i) all.push_back(input(i));
    return all;
  }
  // The names in the folder of outputs; every output among them is right.
  std::vector<std::string> outputs() const {
    std::vector<std::string> names;
    for (const auto& each : fs::directory_iterator(directory_ / "out")) {
      names.push_back(each.path().filename());
      if (names.back().starts_with(".")) continue;
      EXPECT_TRUE(is_right_result(each.path(), rows)) << names.back();
    }
    std::ranges::sort(names);
    return names;
  }
  std::size_t complete_outputs() const {
    const auto names = outputs();
    EXPECT_TRUE(std::ranges::none_of(names, [](const std::string& each) { return each.starts_with("."); }));
    return names.size();
  }
  TemporaryDirectory directory_;
};

TEST_F(SmallFilesTest, EachIsMadeAndTheBadAmongThemAreNamed) {
  std::ofstream(input(7)) << "no HDF5";
  fs::resize_file(input(100), fs::file_size(input(100)) / 2);
  const auto result = runrig(arguments());
  EXPECT_EQ(result.exit_code, 1);
  EXPECT_THAT(result.err, ::testing::HasSubstr("007.h5"));
  EXPECT_THAT(result.err, ::testing::HasSubstr("100.h5"));
  EXPECT_EQ(std::ranges::count(result.err, '\n'), 3);  // and how many there were
  EXPECT_EQ(complete_outputs(), count - 2U);
}

TEST_F(SmallFilesTest, AreTheSameAsOneByOne) {
  RUNRIG_NEED_PYTHON(python, "numpy, h5py");
  if (!killpoint::compiled_in()) GTEST_SKIP() << "this build has no kill points";
  ASSERT_EQ(runrig(arguments()).exit_code, 0);
  // A worker that dies over a small file leaves it to all of them together.
  const std::string alone = directory_ / "alone.h5";
  const auto result = runrig({"map", "x*2+1", "-i", "x=/x", "-o", alone, input(3)}, std::chrono::seconds(100),
                             {"RUNRIG_KILLPOINT=" + std::string("batch.map.small_made") + ":1"});
  ASSERT_EQ(result.exit_code, 0) << result.err;
  expect_agreement(python, "compare_outputs.py",
                   {"/result", alone, directory_ / "out/003.h5", directory_ / "out/149.h5"});
}

TEST_F(SmallFilesTest, AWorkerThatDiesOverOneCostsNothingButTime) {
  if (!killpoint::compiled_in()) GTEST_SKIP() << "this build has no kill points";
  for (const std::string point : {"batch.map.small_made:3", "batch.map.tile_done:20"}) {
    Running command(arguments(), {"RUNRIG_KILLPOINT=" + point});
    EXPECT_EQ(command.join(std::chrono::seconds(100)), 0) << point;
    EXPECT_EQ(complete_outputs(), static_cast<std::size_t>(count)) << point;
    fs::remove_all(directory_ / "out");
    fs::create_directory(directory_ / "out");
  }
}

TEST_F(SmallFilesTest, KilledWhileTheyGetTheirNamesEachIsAbsentOrCompleteAndTheNextRunMakesAll) {
  if (!killpoint::compiled_in()) GTEST_SKIP() << "this build has no kill points";
  for (const std::string point : {"output.sealed:1", "output.sealed:100", "output.synced:2", "output.former_kept:10",
                                  "output.renamed:1", "output.renamed:70"}) {
    {
      Running command(arguments(), {"RUNRIG_KILLPOINT=" + point});
      EXPECT_NE(command.join(std::chrono::seconds(100)), 0) << point << " was not reached";
    }
    (void)outputs();
    auto again = arguments();
    again.emplace_back("--resume");
    const auto result = runrig(again);
    EXPECT_EQ(result.exit_code, 0) << point << result.err;
    EXPECT_EQ(complete_outputs(), static_cast<std::size_t>(count)) << point;
    fs::remove_all(directory_ / "out");
    fs::create_directory(directory_ / "out");
  }
}

}  // namespace
}  // namespace runrig::test
