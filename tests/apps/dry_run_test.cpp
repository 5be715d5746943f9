// --dry-run: what it tells is what the work then does, and it leaves nothing.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>

#include "reports.hpp"

namespace runrig::test {
namespace {

namespace fs = std::filesystem;

struct DryCase {
  std::string label;
  std::vector<std::string> arguments;
  std::vector<std::string> reads;  // datasets, as they are named
};
std::ostream& operator<<(std::ostream& out, const DryCase& each) { return out << each.label; }

class DryRunTest : public ::testing::Test {
 protected:
  std::string output(const std::string& name = "{name}") const { return directory_ / name; }
  CommandResult run(std::vector<std::string> arguments, const std::vector<std::string>& more = {}) const {
    for (const auto& each : {sample("month-1.h5"), sample("month-2.h5")}) arguments.push_back(each);
    arguments.insert(arguments.end(), {"-o", output()});
    arguments.insert(arguments.end(), more.begin(), more.end());
    return runrig(arguments);
  }
  std::vector<std::string> names() const {
    std::vector<std::string> found;
    for (const auto& each : fs::directory_iterator(directory_.path())) found.push_back(each.path().filename());
    return found;
  }
  // The object of a file that `runrig info` tells of.
  static nlohmann::json object_in(const std::string& file, const std::string& path) {
    const auto info = nlohmann::json::parse(runrig({"info", "--json", file}).out);
    for (const auto& each : info["files"][0]["objects"]) {
      if (each["path"] == path) return each;
    }
    return {};
  }
  TemporaryDirectory directory_;
};

class DryRunEachTest : public DryRunTest, public ::testing::WithParamInterface<DryCase> {};

TEST_P(DryRunEachTest, TellsWhatIsThenMadeAndLeavesNothing) {
  const auto dry = run(GetParam().arguments, {"--dry-run", "--json"});
  ASSERT_EQ(dry.exit_code, 0) << dry.err;
  EXPECT_THAT(names(), ::testing::IsEmpty());
  const auto text = run(GetParam().arguments, {"--dry-run"});
  EXPECT_EQ(text.exit_code, 0);
  EXPECT_THAT(text.out, ::testing::HasSubstr("nothing was written"));
  EXPECT_THAT(names(), ::testing::IsEmpty());

  ASSERT_EQ(run(GetParam().arguments).exit_code, 0);
  const auto plan = nlohmann::json::parse(dry.out);
  ASSERT_EQ(plan["files"].size(), 2U);
  std::uint64_t read_bytes = 0;
  std::uint64_t written_bytes = 0;
  for (const auto& file : plan["files"]) {
    EXPECT_EQ(file["file_bytes"], fs::file_size(file["file"].get<std::string>()));
    EXPECT_FALSE(file["up_to_date"]);
    std::vector<std::string> reads;
    for (const auto& each : file["reads"]) {
      reads.push_back(each["dataset"]);
      read_bytes += each["bytes"].get<std::uint64_t>();
    }
    EXPECT_EQ(reads, GetParam().reads);
    EXPECT_FALSE(file["writes"].empty());
    for (const auto& each : file["writes"]) {
      EXPECT_EQ(each["file"], file["output"]);
      const auto made = object_in(file["output"], each["dataset"]);
      EXPECT_EQ(each["shape"], made["shape"]) << each;
      EXPECT_EQ(each["dtype"], made["dtype"]) << each;
      EXPECT_EQ(each["chunks"], made["chunks"]) << each;
      EXPECT_EQ(each["bytes"], made["size_bytes"]) << each;
      std::vector<std::string> filters;
      for (const auto& filter : made["filters"]) filters.push_back(filter["name"]);
      EXPECT_EQ(each["filters"], filters) << each;
      written_bytes += each["bytes"].get<std::uint64_t>();
    }
  }
  EXPECT_EQ(plan["totals"]["files"], 2);
  EXPECT_EQ(plan["totals"]["outputs"], 2);
  EXPECT_EQ(plan["totals"]["read_bytes"], read_bytes);
  EXPECT_EQ(plan["totals"]["written_bytes"], written_bytes);

  // What is there is not touched, nor left out of account.
  const auto again = run(GetParam().arguments, {"--dry-run"});
  expect_one_line(again, 2, {output("month-1.h5"), "File exists"});
  const auto resumed = nlohmann::json::parse(run(GetParam().arguments, {"--dry-run", "--json", "--resume"}).out);
  for (const auto& file : resumed["files"]) EXPECT_TRUE(file["up_to_date"]);
  EXPECT_EQ(resumed["totals"]["up_to_date"], 2);
}

INSTANTIATE_TEST_SUITE_P(
    Commands, DryRunEachTest,
    ::testing::Values(
        DryCase{"map", {"map", "u*2", "-i", "u=/wind/u[0:2]", "--filter", "shuffle,deflate:5"}, {"/wind/u[0:2]"}},
        DryCase{"map_of_several",
                {"map", "--to", "/a=u+v", "--to", "/b=v>0", "-i", "u=/wind/u", "-i", "v=/wind/v", "--chunk", "auto"},
                {"/wind/u", "/wind/v"}},
        DryCase{"map_with_a_reduction", {"map", "u - mean(u, axis=0)", "-i", "u=/wind/u"}, {"/wind/u"}},
        DryCase{"reduce", {"reduce", "mean", "-d", "/wind/u", "--axis", "0"}, {"/wind/u"}},
        DryCase{"histogram", {"reduce", "histogram:12", "-d", "/wind/u[1]"}, {"/wind/u[1]"}},
        DryCase{"repack",
                {"repack", "--filter", "shuffle,deflate:1", "--chunk", "auto"},
                {"/time", "/lat", "/lon", "/wind/u", "/wind/v", "/temperature"}}),
    [](const auto& each) { return each.param.label; });

TEST_F(DryRunTest, HasTheErrorsOfTheWork) {
  const std::vector<std::vector<std::string>> wrong{
      {"map", "u*", "-i", "u=/wind/u"},
      {"map", "u*2", "-i", "u=/wind/w"},
      {"map", "u+v", "-i", "u=/wind/u", "-i", "v=/wind/v[0:5]"},
      {"map", "u*2", "-i", "u=/wind/u", "--chunk", "4x4"},
      {"reduce", "mean", "-d", "/wind/u", "--axis", "7"},
      {"reduce", "min", "-d", "/wind/u[0:0]"},
      {"repack", "-d", "/wind/w", "--filter", "none"},
      {"repack", "-d", "/wind/u", "--chunk", "7x7"},
  };
  for (const auto& arguments : wrong) {
    SCOPED_TRACE(arguments[0] + " " + arguments[1]);
    const auto dry = run(arguments, {"--dry-run"});
    const auto real = run(arguments);
    EXPECT_NE(real.exit_code, 0);
    EXPECT_EQ(dry.exit_code, real.exit_code);
    EXPECT_EQ(dry.err, real.err);
    EXPECT_THAT(names(), ::testing::IsEmpty());
  }
}

TEST_F(DryRunTest, OfStatsIsOfTheDatasetsThatItWouldRead) {
  const auto result =
      runrig({"stats", sample("month-1.h5"), "-d", "/wind/u[0:2]", "-d", "/lat", "--dry-run", "--json"});
  EXPECT_EQ(result.exit_code, 0) << result.err;
  const auto plan = nlohmann::json::parse(result.out);
  const auto& reads = plan["files"][0]["reads"];
  ASSERT_EQ(reads.size(), 2U);
  EXPECT_EQ(reads[0]["dataset"], "/wind/u[0:2]");
  EXPECT_EQ(reads[0]["bytes"], 2 * 37 * 72 * 4);
  EXPECT_TRUE(plan["files"][0]["output"].is_null());
  expect_one_line(runrig({"stats", sample("month-1.h5"), "-d", "/nope", "--dry-run"}), 1, {"/nope"});
}

TEST_F(DryRunTest, HasNoReport) {
  expect_one_line(runrig({"stats", sample("month-1.h5"), "--dry-run", "--report", output("r.json")}), 2, {"--report"});
}

}  // namespace
}  // namespace runrig::test
