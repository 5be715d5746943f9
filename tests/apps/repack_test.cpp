// `runrig repack`: whole files, stored anew, against h5diff and h5py.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>

#include "reports.hpp"

namespace runrig::test {
namespace {

using namespace std::chrono_literals;

class RepackTest : public ::testing::Test {
 protected:
  void check(const std::string& python, const std::vector<std::string>& files) const {
    std::vector<std::string> arguments{runrig_command(), directory_.path().string()};
    arguments.insert(arguments.end(), files.begin(), files.end());
    expect_agreement(python, "check_repack.py", arguments, 280s);
  }
  TemporaryDirectory directory_;
};

TEST_F(RepackTest, KeepsAllOfTheSample) {
  RUNRIG_NEED_PYTHON(python, "numpy, h5py");
  check(python, all_samples());
}

TEST_F(RepackTest, KeepsAllOfRealFiles) {
  RUNRIG_NEED_PYTHON(python, "numpy, h5py");
  RUNRIG_NEED_SHARED_DATA(folder);
  check(python, files_in(folder));
}

TEST_F(RepackTest, KeepsEveryKindOfObjectLinkAndReference) {
  RUNRIG_NEED_PYTHON(python, "numpy, h5py");
  const std::string made = directory_ / "made.h5";
  expect_agreement(python, "make_zoo.py", {made});
  check(python, {made});
}

TEST_F(RepackTest, WhatMakesNoSenseIsOneLineAndNoFile) {
  const std::string output = directory_ / "out.h5";
  const std::string month = sample("month-1.h5");
  expect_one_line(runrig({"repack", month, "-o", output, "--filter", "zip"}), 2, {"zip", "known are"});
  expect_one_line(runrig({"repack", month, "-o", month, "--overwrite"}), 2, {"month-1.h5"});
  expect_one_line(runrig({"repack", month, "-o", output, "-d", "/wind/w"}), 1, {"/wind/w", "no dataset of that name"});
  expect_one_line(runrig({"repack", month, "-o", output, "-d", "/wind/u", "--chunk", "7x7"}), 1,
                  {"/wind/u", "(7, 7)", "number of axes"});
  const std::string other = directory_ / "other.h5";
  std::ofstream(other) << "no HDF5";
  expect_one_line(runrig({"repack", other, "-o", output}), 1, {"other.h5", "not an HDF5 file"});
  EXPECT_FALSE(std::filesystem::exists(output));
}

TEST_F(RepackTest, ABadFileAmongOthersIsReportedAndTheRestDone) {
  const std::string bad = directory_ / "bad.h5";
  std::ofstream(bad) << "no HDF5";
  const auto result = runrig({"repack", bad, sample("series.h5"), "-o", directory_ / "packed-{name}"});
  EXPECT_EQ(result.exit_code, 1);
  EXPECT_THAT(result.err, ::testing::HasSubstr("bad.h5"));
  EXPECT_TRUE(std::filesystem::exists(directory_ / "packed-series.h5"));
  EXPECT_FALSE(std::filesystem::exists(directory_ / "packed-bad.h5"));
}

}  // namespace
}  // namespace runrig::test
