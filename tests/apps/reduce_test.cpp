// `runrig reduce` against NumPy, and what it says of what cannot be.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>

#include "big_file.hpp"
#include "reports.hpp"

namespace runrig::test {
namespace {

using namespace std::chrono_literals;

class ReduceTest : public ::testing::Test {
 protected:
  [[nodiscard]] std::string at(const std::string& name) const { return (directory_.path() / name).string(); }
  void check(const std::string& python, const std::string& what) const {
    expect_agreement(python, "check_reduce.py", {what, runrig_command(), directory_.path().string()}, 280s);
  }
  TemporaryDirectory directory_;
};

TEST_F(ReduceTest, EveryOperationOnEveryDtypeIsNumPys) {
  RUNRIG_NEED_PYTHON(python, "numpy, h5py");
  check(python, "values1");
}

TEST_F(ReduceTest, EveryOperationAlongEachOfTwoAxesIsNumPys) {
  RUNRIG_NEED_PYTHON(python, "numpy, h5py");
  check(python, "values2");
}

TEST_F(ReduceTest, EveryOperationAlongEachAndSeveralOfThreeAxesIsNumPys) {
  RUNRIG_NEED_PYTHON(python, "numpy, h5py");
  check(python, "values3");
}

TEST_F(ReduceTest, WhatHasNoElementsHasNumPysResultOrNone) {
  RUNRIG_NEED_PYTHON(python, "numpy, h5py");
  check(python, "empty");
}

TEST_F(ReduceTest, BitsDependOnNeitherChunksNorMemoryNorWorkersNorPath) {
  RUNRIG_NEED_PYTHON(python, "numpy, h5py");
  check(python, "layouts");
}

TEST_F(ReduceTest, WhatWasNeverWrittenGivesTheBitsOfItsFillValue) {
  RUNRIG_NEED_PYTHON(python, "numpy, h5py");
  check(python, "sparse");
}

TEST_F(ReduceTest, QuantilesAreNumPysHoweverLongTheSequence) {
  RUNRIG_NEED_PYTHON(python, "numpy, h5py");
  check(python, "quantiles");
}

TEST_F(ReduceTest, HistogramsHaveNumPysEdgesAndCountWhatLiesBetween) {
  RUNRIG_NEED_PYTHON(python, "numpy, h5py");
  check(python, "histograms");
}

TEST_F(ReduceTest, AnOutputKeepsWhatBelongsToTheAxesThatAreLeft) {
  RUNRIG_NEED_PYTHON(python, "numpy, h5py");
  check(python, "outputs");
}

TEST_F(ReduceTest, ResultsThatDoNotFitTheMemoryHaveTheBitsOfThoseThatDo) {
  RUNRIG_NEED_PYTHON(python, "numpy, h5py");
  check(python, "pieces");
}

TEST_F(ReduceTest, SeveralFilesAreATableWithARowForEach) {
  make_big_file(at("a.h5"), 16);
  make_big_file(at("b.h5"), 16);
  const auto result = runrig({"reduce", "count", at("a.h5"), at("b.h5"), "-d", "/x"});
  EXPECT_EQ(result.exit_code, 0) << result.err;
  EXPECT_THAT(result.out, ::testing::MatchesRegex("file +dataset +shape +dtype +count\n.*a.h5 .*\n.*b.h5 .*\n"));
}

TEST_F(ReduceTest, WhatCannotBeGetsOneLine) {
  make_big_file(at("a.h5"), 64);
  const auto reduce = [&](std::vector<std::string> words) {
    words.insert(words.begin(), "reduce");
    words.push_back(at("a.h5"));
    return runrig(words);
  };
  expect_one_line(reduce({"total"}), 2, {"'total'", "sum", "argmax"});
  for (const std::string each :
       {"quantile", "quantile:", "quantile:1.5", "quantile:-0.1", "quantile:nan", "quantile:1x"}) {
    expect_one_line(reduce({each}), 2, {"'" + each + "'", "from 0 to 1"});
  }
  for (const std::string each : {"histogram", "histogram:0", "histogram:-3", "histogram:1e9", "histogram:9999999"}) {
    expect_one_line(reduce({each}), 2, {"'" + each + "'", "bins"});
  }
  expect_one_line(reduce({"histogram:4", "--range", "2,1"}), 2, {"--range", "'2,1'"});
  expect_one_line(reduce({"histogram:4", "--axis", "0"}), 2, {"--axis", "histogram"});
  expect_one_line(reduce({"sum", "--range", "0,1"}), 2, {"--range"});
  expect_one_line(reduce({"sum", "--axis", "x"}), 2, {"--axis", "'x'"});
  expect_one_line(reduce({"sum", "--axis", "0,"}), 2, {"--axis", "'0,'"});
  expect_one_line(reduce({"sum", "--axis", "0,0"}), 2, {"--axis", "twice"});
  expect_one_line(reduce({"argmin", "--axis", "0,1"}), 2, {"argmin", "one axis"});
  expect_one_line(reduce({"sum", "-d", "/x", "--axis", "7"}), 1, {"a.h5:/x", "--axis '7'", "axes"});
  expect_one_line(reduce({"sum", "-d", "/x", "--axis", "-9"}), 1, {"--axis '-9'"});
  expect_one_line(reduce({"sum", "-d", "/nothing"}), 1, {"/nothing"});
  expect_one_line(reduce({"sum", "-o", at("o.h5")}), 2, {"-d"});
  expect_one_line(reduce({"sum", "-d", "/x", "-o", at("a.h5")}), 2, {"input"});
  expect_one_line(reduce({"sum", "-d", "/x", "--axis", "0", "-o", at("missing/o.h5")}), 1, {"missing"});
  EXPECT_FALSE(std::filesystem::exists(at("o.h5")));
}

}  // namespace
}  // namespace runrig::test
