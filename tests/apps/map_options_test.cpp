// What `runrig map` can be told about its outputs.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "reports.hpp"

namespace runrig::test {
namespace {

class MapOptionsTest : public ::testing::Test {
 protected:
  [[nodiscard]] CommandResult map(std::vector<std::string> options) const {
    std::vector<std::string> arguments{"map", "-o", output_, "-i", "u=/wind/u", "-i", "v=/wind/v", "--overwrite"};
    arguments.insert(arguments.end(), options.begin(), options.end());
    return runrig(arguments);
  }
  TemporaryDirectory directory_;
  const std::string month_ = sample("month-1.h5");
  const std::string output_ = directory_ / "out.h5";
};

TEST_F(MapOptionsTest, OutputsAreStoredAndLabelledAsAskedFor) {
  RUNRIG_NEED_PYTHON(python, "numpy, h5py");
  expect_agreement(python, "check_map_options.py", {runrig_command(), directory_.path().string(), month_});
}

TEST_F(MapOptionsTest, ShapesAreBroadcastAndReductionsComputedAsNumPyDoes) {
  RUNRIG_NEED_PYTHON(python, "numpy, h5py");
  expect_agreement(python, "check_broadcast.py", {runrig_command(), directory_.path().string()});
}

TEST_F(MapOptionsTest, WhatMakesNoSenseIsRefusedInOneLineBeforeAnyWork) {
  expect_one_line(map({"u", month_, "--filter", "shuffle,zip"}), 2, {"zip", "known are"});
  expect_one_line(map({"u", month_, "--filter", "deflate:10"}), 2, {"deflate:10"});
  expect_one_line(map({"u", month_, "--chunk", "64x"}), 2, {"--chunk", "64x"});
  expect_one_line(map({"u", month_, "--chunk", "0x64"}), 2, {"--chunk", "0x64"});
  expect_one_line(map({"u", month_, "--dtype", "float99"}), 2, {"--dtype", "float99"});
  expect_one_line(map({"u", month_, "--to", "/a", "--to", "/b"}), 2, {"--to", "NAME=EXPR"});
  expect_one_line(map({month_, "--to", "/a=u", "--to", "/b"}), 2, {"--to", "NAME=EXPR"});
  expect_one_line(map({month_, "--to", "a=u", "--to", "/a=v"}), 2, {"two outputs", "/a"});
  expect_one_line(map({month_, "--to", "a=u+w"}), 2, {"w"});
  EXPECT_FALSE(std::filesystem::exists(output_));
}

TEST_F(MapOptionsTest, AChunkShapeOfAnotherRankIsTheFilesFailure) {
  expect_one_line(map({"u", month_, "--chunk", "64x64"}), 1, {"month-1.h5", "(64, 64)", "number of axes"});
  EXPECT_TRUE(std::filesystem::is_empty(directory_.path()));
}

}  // namespace
}  // namespace runrig::test
