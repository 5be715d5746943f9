// --cf: netCDF's conventions, against netCDF4's own masked and scaled arrays.
#include <gtest/gtest.h>

#include "reports.hpp"

namespace runrig::test {
namespace {

using namespace std::chrono_literals;

class ConventionsTest : public ::testing::Test {
 protected:
  TemporaryDirectory directory_;
};

TEST_F(ConventionsTest, MapStatsAndReduceAgreeWithNetcdf4OnEveryRule) {
  RUNRIG_NEED_PYTHON(python, "numpy, h5py, netCDF4");
  expect_agreement(python, "check_cf.py", {runrig_command(), directory_.path().string()}, 280s);
}

TEST_F(ConventionsTest, RealNetcdfFilesAreReadAsNetcdf4ReadsThem) {
  RUNRIG_NEED_PYTHON(python, "numpy, h5py, netCDF4");
  RUNRIG_NEED_SHARED_DATA(folder);
  std::vector<std::string> arguments{runrig_command(), directory_.path().string()};
  for (const std::string& each : files_in(folder)) {
    // The coastlines are a file of GMT's, whose 11 million points take netCDF4 long.
    if (each.find(".nc") != std::string::npos && each.find("GSHHS") == std::string::npos) arguments.push_back(each);
  }
  ASSERT_GT(arguments.size(), 5U);
  expect_agreement(python, "check_cf.py", arguments, 280s);
}

}  // namespace
}  // namespace runrig::test
