// Files made by netCDF4 and PyTables, and what their own tools see in what we made of them.
#include <gtest/gtest.h>

#include "reports.hpp"

namespace runrig::test {
namespace {

using namespace std::chrono_literals;

class ForeignFilesTest : public ::testing::Test {
 protected:
  [[nodiscard]] static bool has(const std::string& program) {
    return run_command({"sh", "-c", "command -v " + program}).exit_code == 0;
  }
  void check(const std::string& python, const std::string& kind, const std::vector<std::string>& files = {}) const {
    std::vector<std::string> arguments{kind, runrig_command(), directory_.path().string()};
    arguments.insert(arguments.end(), files.begin(), files.end());
    expect_agreement(python, "check_foreign.py", arguments, 280s);
  }
  TemporaryDirectory directory_;
};

TEST_F(ForeignFilesTest, NetcdfFilesShowTheSameInNcdumpAfterRepackAndTheirDimensionsAfterMap) {
  RUNRIG_NEED_PYTHON(python, "numpy, netCDF4");
  if (!has("ncdump")) GTEST_SKIP() << "no ncdump here (Debian package netcdf-bin)";
  check(python, "netcdf");
}

TEST_F(ForeignFilesTest, RealNetcdfFilesShowTheSameInNcdumpAfterRepack) {
  RUNRIG_NEED_PYTHON(python, "numpy, netCDF4");
  RUNRIG_NEED_SHARED_DATA(folder);
  if (!has("ncdump")) GTEST_SKIP() << "no ncdump here (Debian package netcdf-bin)";
  std::vector<std::string> files;
  for (const std::string& each : files_in(folder)) {
    // Eleven million coastline points as text take ncdump long; RepackTest has that file.
    if (each.find(".nc") != std::string::npos && each.find("GSHHS") == std::string::npos) files.push_back(each);
  }
  ASSERT_GT(files.size(), 3U);
  check(python, "netcdf", files);
}

TEST_F(ForeignFilesTest, PyTablesFilesAreTheSameToPyTablesAfterRepack) {
  RUNRIG_NEED_PYTHON(python, "numpy, tables");
  check(python, "pytables");
}

}  // namespace
}  // namespace runrig::test
