#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <fstream>
#include <iterator>

#include "command.hpp"
#include "runrig/engine/expression.hpp"
#include "source_directory.hpp"

namespace runrig::test {
namespace {

using ::testing::HasSubstr;

TEST(UsageTest, HelpFitsOneScreenAndLeadsToAnExampleForEachCommand) {
  const auto help = runrig({"--help"});
  EXPECT_EQ(help.exit_code, 0);
  EXPECT_LE(std::count(help.out.begin(), help.out.end(), '\n'), 32);
  for (const std::string command : {"info", "stats", "map", "reduce", "repack", "serve", "shm", "bench"}) {
    EXPECT_THAT(help.out, HasSubstr("runrig " + command));
    const auto own = runrig({command, "--help"});
    EXPECT_EQ(own.exit_code, 0);
    EXPECT_THAT(own.out, HasSubstr("Example:\n  runrig " + command));
  }
}

TEST(UsageTest, EveryFunctionOfExpressionsIsExplained) {
  std::ifstream file(source_directory() / "docs/expressions.md");
  const std::string page{std::istreambuf_iterator<char>(file), {}};
  const auto names = Expression::function_names();
  EXPECT_GT(names.size(), 100U);
  for (const std::string_view each : names) EXPECT_THAT(page, HasSubstr("`" + std::string(each))) << each;
}

TEST(UsageTest, VersionIsOneLine) {
  EXPECT_THAT(runrig({"--version"}).out, ::testing::MatchesRegex("runrig [0-9.]+\n"));
}

// Every start waits for what the loader has to bring in.
TEST(UsageTest, TheCommandLoadsNothingThatHardlyAnyRunNeeds) {
  const auto loaded = run_command({runrig_command()}, {}, std::chrono::seconds(60), {"LD_TRACE_LOADED_OBJECTS=1"});
  EXPECT_THAT(loaded.out, HasSubstr("libc.so"));
  for (const std::string each : {"libcairo", "libX11", "libcurl", "libssl", "not found"}) {
    EXPECT_THAT(loaded.out, Not(HasSubstr(each)));
  }
}

TEST(UsageTest, WrongWordsGetOneLineAndExitCodeTwo) {
  expect_one_line(runrig({}), 2, {"runrig --help"});
  expect_one_line(runrig({"frobnicate"}), 2, {"frobnicate"});
  expect_one_line(runrig({"stats"}), 2, {"no input files"});
  expect_one_line(runrig({"stats", "--memory", "lots", "x.h5"}), 2, {"--memory", "lots"});
  expect_one_line(runrig({"stats", "--memory", "1K", "x.h5"}), 2, {"16M"});
  expect_one_line(runrig({"stats", "--workers", "-3", "x.h5"}), 2, {"--workers"});
  expect_one_line(runrig({"stats", "--progress", "maybe", "x.h5"}), 2, {"auto, always or never"});
  expect_one_line(runrig({"stats", "--log-level", "loud", "x.h5"}), 2, {"debug"});
  expect_one_line(runrig({"stats", "--files-from", "/nowhere/list", "x.h5"}), 2, {"/nowhere/list"});
  expect_one_line(runrig({"map", "x", "x.h5", "-i", "x=/x"}), 2, {"--output"});
}

TEST(UsageTest, AWrongLevelOfKernelsIsOneLineBeforeAnyWork) {
  for (const std::vector<std::string>& words :
       {std::vector<std::string>{"stats"}, {"reduce", "sum", "-d", "/wind/u"}, {"info"}}) {
    std::vector<std::string> command{runrig_command()};
    command.insert(command.end(), words.begin(), words.end());
    command.push_back(sample("month-1.h5"));
    const auto result = run_command(command, {}, std::chrono::seconds(60), {"RUNRIG_LEVEL=avx2"});
    expect_one_line(result, 2, {"RUNRIG_LEVEL", "'avx2'", "v2, v3 or v4"});
  }
}

TEST(UsageTest, FilesComeFromAListAsWell) {
  const auto result = run_command({runrig_command(), "info", "--files-from", "-"}, "/nowhere/a.h5\n/nowhere/b.h5\n");
  EXPECT_EQ(result.exit_code, 1);
  EXPECT_THAT(result.err, ::testing::AllOf(HasSubstr("a.h5"), HasSubstr("b.h5"), HasSubstr("2 inputs failed")));
}

}  // namespace
}  // namespace runrig::test
