// Results do not depend on how the work is divided, on the memory there is for it, nor on the way through HDF5.
#include <gtest/gtest.h>

#include <algorithm>
#include <fstream>

#include "reports.hpp"

namespace runrig::test {
namespace {

using namespace std::chrono_literals;

using Options = std::vector<std::string>;

/// Numbers of workers, sizes of memory and both ways of reading; the first is what the others are compared with.
const std::vector<Options>& ways() {
  static const std::vector<Options> all{{"--workers", "1"},
                                        {"--workers", "2"},
                                        {"--workers", "3"},
                                        {"--workers", "8"},
                                        {"--workers", "1", "--memory", "16M"},
                                        {"--workers", "3", "--memory", "16M"},
                                        {"--workers", "2", "--memory", "64M"},
                                        {"--workers", "8", "--memory", "64M"},
                                        {"--workers", "2", "--force-library"},
                                        {"--workers", "3", "--memory", "16M", "--force-library"}};
  return all;
}

std::string text_of(const Options& options) {
  std::string text;
  for (const auto& each : options) text += each + " ";
  return text;
}

CommandResult run_with(Options arguments, const Options& options) {
  arguments.insert(arguments.end(), options.begin(), options.end());
  return runrig(arguments, 100s);
}

void expect_same_output(const Options& arguments) {
  const auto first = run_with(arguments, ways().front());
  EXPECT_EQ(first.exit_code, 0) << first.err;
  for (const auto& options : ways()) {
    const auto result = run_with(arguments, options);
    EXPECT_EQ(result.exit_code, 0) << result.err;
    EXPECT_EQ(result.out, first.out) << "with " << text_of(options);
  }
}

class SameBitsTest : public ::testing::Test {
 protected:
  void make_large(const std::string& python) const { expect_agreement(python, "make_large.py", {large_}); }
  /// `arguments` as for `runrig map`, without the output.
  void expect_same_map(const std::string& python, const Options& arguments) const {
    std::vector<std::string> outputs{"/result"};
    for (std::size_t i = 0; i < ways().size(); ++i) {
      outputs.push_back(directory_ / (std::to_string(i) + ".h5"));
      Options all{"map", "--overwrite", "-o", outputs.back()};
      all.insert(all.end(), arguments.begin(), arguments.end());
      const auto result = run_with(all, ways()[i]);
      ASSERT_EQ(result.exit_code, 0) << text_of(ways()[i]) << result.err;
    }
    expect_agreement(python, "compare_outputs.py", outputs);
  }
  TemporaryDirectory directory_;
  const std::string large_ = directory_ / "large.h5";
};

TEST_F(SameBitsTest, StatisticsOfTheSample) {
  Options arguments{"stats", "--json"};
  for (const auto& each : all_samples()) arguments.push_back(each);
  expect_same_output(arguments);
}

TEST_F(SameBitsTest, StatisticsOfAFileLargerThanItsMemory) {
  RUNRIG_NEED_PYTHON(python, "numpy, h5py");
  make_large(python);
  expect_same_output({"stats", "--json", large_});
  expect_same_output({"stats", "--json", large_, "-d", "/field[::-2, 5:300, 1::3]", "-d", "/series[17::7]", "-d",
                      "/sparse[::-3, 100:]"});
  // And they are right.
  const std::string report = directory_ / "report.json";
  std::ofstream(report) << run_with({"stats", "--json", large_}, ways().front()).out;
  expect_agreement(python, "check_stats.py", {report, large_});
}

TEST_F(SameBitsTest, MapOfTheSample) {
  RUNRIG_NEED_PYTHON(python, "numpy, h5py");
  const std::string wind = "sqrt(u*u + v*v) + sin(t)";
  expect_same_map(python, {wind, sample("month-1.h5"), "-i", "u=/wind/u", "-i", "v=/wind/v", "-i", "t=/temperature"});
  expect_same_map(python, {"x // 3", sample("frames.h5"), "-i", "x=/detector/frames[::2, ::-1, 7:99]"});
}

TEST_F(SameBitsTest, MapOfAFileLargerThanItsMemory) {
  RUNRIG_NEED_PYTHON(python, "numpy, h5py");
  make_large(python);
  expect_same_map(python, {"exp(x / 300) * 2 - 1", large_, "-i", "x=/field"});
  expect_same_map(python, {"log1p(x) % 0.7", large_, "-i", "x=/series"});
}

TEST_F(SameBitsTest, MapOfEveryLayoutAndFilterThroughTheLibrary) {
  RUNRIG_NEED_PYTHON(python, "numpy, h5py");
  const std::string zoo = directory_ / "zoo.h5";
  expect_agreement(python, "make_zoo.py", {zoo});
  for (const std::string dataset : {"/zebra/x", "/zebra/x[::-2, 3:, ::3]", "/big", "/big[5:80:7, ::-1]", "/checked",
                                    "/lzf", "/offset", "/sparse", "/never", "/never_contiguous", "/empty", "/flags"}) {
    const std::string fast = directory_ / "fast.h5";
    const std::string slow = directory_ / "slow.h5";
    const Options common{"map", "x", zoo, "-i", "x=" + dataset, "--overwrite", "--workers", "2", "-o"};
    const auto ours = run_with(common, {fast});
    const auto library = run_with(common, {slow, "--force-library"});
    ASSERT_EQ(ours.exit_code, 0) << dataset << ours.err;
    ASSERT_EQ(library.exit_code, 0) << dataset << library.err;
    expect_agreement(python, "compare_outputs.py", {"/result", fast, slow});
  }
}

TEST_F(SameBitsTest, MapStoresTheSameChunksForEveryFilter) {
  RUNRIG_NEED_PYTHON(python, "numpy, h5py");
  for (const std::string filter : {"none", "shuffle,deflate:4", "shuffle,deflate:fast", "lzf,fletcher32"}) {
    expect_same_map(python, {"x * 2", sample("month-1.h5"), "-i", "x=/wind/u", "--filter", filter, "--chunk", "auto"});
  }
}

TEST_F(SameBitsTest, RepackStoresTheSameChunks) {
  RUNRIG_NEED_PYTHON(python, "numpy, h5py");
  const std::string zoo = directory_ / "zoo.h5";
  expect_agreement(python, "make_zoo.py", {zoo});
  for (const std::string filter : {"none", "shuffle,fletcher32", "shuffle,deflate:4"}) {
    const std::string datasets = "/zebra/x,/big,/checked,/lzf,/offset,/records,/painted";
    Options chunks{datasets + ",/sparse,/never"};
    Options library_chunks{datasets};  // it stores chunks of fill values, which we leave out
    Options elements{"--elements", chunks[0]};
    for (const auto& options : ways()) {
      const std::string output = directory_ / (std::to_string(elements.size()) + ".h5");
      elements.push_back(output);
      const bool library = std::ranges::find(options, "--force-library") != options.end();
      if (!library) chunks.push_back(output);
      // Its deflate is zlib's: other bytes for the same elements.
      if (filter.find("deflate") == std::string::npos) library_chunks.push_back(output);
      const auto result =
          run_with({"repack", zoo, "-o", output, "--overwrite", "--filter", filter, "--chunk", "auto"}, options);
      ASSERT_EQ(result.exit_code, 0) << text_of(options) << result.err;
    }
    expect_agreement(python, "compare_outputs.py", chunks);
    if (library_chunks.size() > 1) expect_agreement(python, "compare_outputs.py", library_chunks);
    expect_agreement(python, "compare_outputs.py", elements);
  }
}

}  // namespace
}  // namespace runrig::test
