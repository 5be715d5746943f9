// `runrig stats --histogram` and --plot: against numpy.histogram, and what is drawn.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <iterator>

#include "reports.hpp"

namespace runrig::test {
namespace {

using ::testing::HasSubstr;
using ::testing::MatchesRegex;

class HistogramTest : public ::testing::Test {
 protected:
  TemporaryDirectory directory_;
  const std::string month_ = sample("month-1.h5");
};

TEST_F(HistogramTest, CountsAndEdgesAreNumPysAndThePlotHasABarForEachBin) {
  RUNRIG_NEED_PYTHON(python, "numpy, h5py");
  expect_agreement(python, "check_histogram.py", {runrig_command(), directory_.path().string(), month_});
}

TEST_F(HistogramTest, BarsAreProportionalAndFewIsNotNone) {
  RUNRIG_NEED_PYTHON(python, "numpy, h5py");
  const std::string file = directory_ / "steps.h5";
  ASSERT_EQ(run_python(python, R"(
import sys, h5py, numpy as np
with h5py.File(sys.argv[1], "w") as file:
    file["x"] = np.repeat([0.0, 1, 3, 4], [1000, 500, 1, 250])
)",
                       {file})
                .exit_code,
            0);
  const auto shown = runrig({"stats", file, "--histogram", "--bins", "4"});
  EXPECT_EQ(shown.exit_code, 0) << shown.err;
  // Without a terminal 80 columns, of which 63 are left for bars: all of them, half, none, and 251 of 1000.
  std::string full;
  for (int i = 0; i < 63; ++i) full += "█";
  std::string half;
  for (int i = 0; i < 31; ++i) half += "█";
  std::string quarter;
  for (int i = 0; i < 15; ++i) quarter += "█";
  EXPECT_THAT(shown.out, HasSubstr("\n/x\n  0 .. 1  1000  " + full + "\n  1 .. 2   500  " + half +
                                   "▌\n  2 .. 3     0\n  3 .. 4   251  " + quarter + "▊\n"));
  const auto rare = runrig({"stats", file, "--histogram", "--bins", "4", "-d", "/x[:1501]"});
  EXPECT_THAT(rare.out, HasSubstr("     1  ▏\n"));
}

TEST_F(HistogramTest, WhatHasNoneIsSaidAndTheRestIsShown) {
  RUNRIG_NEED_PYTHON(python, "numpy, h5py");
  const std::string file = directory_ / "odd.h5";
  ASSERT_EQ(run_python(python, R"(
import sys, h5py, numpy as np
with h5py.File(sys.argv[1], "w") as file:
    file["empty"] = np.zeros((0, 3))
    file["nan"] = np.full(5, np.nan)
    file["infinite"] = np.array([1, np.inf, 2])
    file["one"] = np.float32(7)
)",
                       {file})
                .exit_code,
            0);
  const auto shown = runrig({"stats", file, "--histogram", "--bins", "2"});
  EXPECT_EQ(shown.exit_code, 0) << shown.err;
  EXPECT_THAT(shown.out, HasSubstr("/empty  no histogram: there are no elements\n"));
  EXPECT_THAT(shown.out, HasSubstr("/nan  no histogram: all elements are NaN\n"));
  EXPECT_THAT(shown.out, HasSubstr("/infinite  no histogram: there are infinities: give the range"));
  EXPECT_THAT(shown.out, HasSubstr("/one\n  6.5 ..   7  0\n    7 .. 7.5  1  █"));
  const auto ranged = runrig({"stats", file, "-d", "/infinite", "--histogram", "--bins", "2", "--range", "0,4"});
  EXPECT_THAT(ranged.out, HasSubstr("  0 .. 2  1  "));
  const std::string plot = directory_ / "none.svg";
  expect_one_line(runrig({"stats", file, "-d", "/nan", "--plot", plot, "--log-level", "off"}), 1, {});
}

TEST_F(HistogramTest, WhatMakesNoSenseIsRefusedBeforeAnyWork) {
  const auto stats = [&](std::vector<std::string> words) {
    words.insert(words.begin(), {"stats", month_});
    return runrig(words);
  };
  expect_one_line(stats({"--plot", "a.pdf"}), 2, {"--plot 'a.pdf'", ".png or .svg"});
  expect_one_line(stats({"--bins", "7"}), 2, {"--bins", "--histogram"});
  expect_one_line(stats({"--range", "0,1"}), 2, {"--range", "--histogram"});
  expect_one_line(stats({"--histogram", "--bins", "0"}), 2, {"--bins"});
  expect_one_line(stats({"--histogram", "--bins", "9999999"}), 2, {"1048576", "bins"});
  expect_one_line(stats({"--histogram", "--range", "2,1"}), 2, {"--range", "'2,1'"});
}

TEST_F(HistogramTest, AFailedPlotLeavesWhatWasThereAndNothingElse) {
  const std::string plot = directory_ / "plot.svg";
  std::ofstream(plot) << "before";
  const auto failed =
      run_command({runrig_command(), "stats", month_, "-d", "/wind/u", "--plot", plot}, {}, std::chrono::seconds(60),
                  {"LD_PRELOAD=" RUNRIG_FULL_DISK_SHIM, "RUNRIG_FULL_DISK=" + directory_.path().string(),
                   "RUNRIG_FULL_DISK_BYTES=100"});
  EXPECT_EQ(failed.exit_code, 1);
  EXPECT_THAT(failed.err, MatchesRegex("runrig: write '.*plot.svg': No space left on device\n"));
  std::ifstream file(plot);
  EXPECT_EQ(std::string(std::istreambuf_iterator<char>(file), {}), "before");
  std::filesystem::remove(plot);
  EXPECT_TRUE(std::filesystem::is_empty(directory_.path()));
}

TEST_F(HistogramTest, APlotThatCannotBeWrittenIsRefusedBeforeAnyWork) {
  const auto refused = runrig({"stats", month_, "-d", "/wind/u", "--plot", directory_ / "missing/plot.svg"});
  expect_one_line(refused, 2, {"--plot", "missing/plot.svg", "No such file or directory"});
  EXPECT_EQ(refused.out, "");
  EXPECT_TRUE(std::filesystem::is_empty(directory_.path()));
}

TEST_F(HistogramTest, APngWithoutCairoIsRefusedBeforeAnyWorkAndAnSvgIsDrawn) {
  std::ofstream(directory_ / "libcairo.so.2") << "no library\n";  // found before the real one
  const std::vector<std::string> environment = {"LD_LIBRARY_PATH=" + directory_.path().string()};
  const auto plot = [&](const std::string& name) {
    return run_command({runrig_command(), "stats", month_, "-d", "/wind/u", "--plot", directory_ / name}, {},
                       std::chrono::seconds(60), environment);
  };
  const auto refused = plot("plot.png");
  expect_one_line(refused, 2, {"draw 'a PNG'", "libcairo.so.2", "an SVG needs no library"});
  EXPECT_EQ(refused.out, "");
  EXPECT_FALSE(std::filesystem::exists(directory_ / "plot.png"));
  EXPECT_EQ(plot("plot.svg").exit_code, 0);
  EXPECT_TRUE(std::filesystem::exists(directory_ / "plot.svg"));
}

}  // namespace
}  // namespace runrig::test
