// Files made by netCDF4, PyTables and filter plugins, and what their own tools see in what we made of them.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "reports.hpp"

namespace runrig::test {
namespace {

using namespace std::chrono_literals;
using ::testing::HasSubstr;

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

TEST_F(ForeignFilesTest, FilterPluginsThatAskTheHdf5LibraryAreTheSameToItsTools) {
  RUNRIG_NEED_PYTHON(python, "numpy, h5py");
  if (!has("h5repack")) GTEST_SKIP() << "no h5repack here (Debian package hdf5-tools)";
  const std::string plain = directory_ / "plain.h5";
  const std::string turned = directory_ / "turned.h5";
  const std::string again = directory_ / "again.h5";
  const auto run = [](const std::vector<std::string>& argv) {
    return run_command(argv, {}, 60s, {"HDF5_PLUGIN_PATH=" RUNRIG_FILTER_PLUGINS});
  };
  // A dataset of a named type is made anew by repack, not copied: its filter sets its parameters again.
  const auto made = run_python(python, R"(
import sys, h5py, numpy as np
with h5py.File(sys.argv[1], "w") as file:
    file["length"] = np.dtype("<f8")
    file.create_dataset("named", data=np.arange(5000.0), dtype=file["length"], chunks=(1000,))
    file.create_dataset("x", data=np.arange(5000.0), chunks=(1000,))
)",
                               {plain});
  ASSERT_EQ(made.exit_code, 0) << made.err;
  const auto turn = run({"h5repack", "-f", "UD=32100,0,1,0", plain, turned});
  ASSERT_EQ(turn.exit_code, 0) << turn.err;
  expect_one_line(runrig({"reduce", "sum", turned, "-d", "/x"}), 1, {"32100", "HDF5_PLUGIN_PATH"});

  const auto repack = [&](const std::vector<std::string>& options) {
    std::vector<std::string> argv{runrig_command(), "repack", turned, "-o", again, "--overwrite"};
    argv.insert(argv.end(), options.begin(), options.end());
    const auto result = run(argv);
    EXPECT_EQ(result.exit_code, 0) << result.err;
    const auto diff = run({"h5diff", "-v1", plain, again});
    EXPECT_EQ(diff.exit_code, 0) << diff.out << diff.err;
    return result.err;
  };
  const auto storage = [&](const std::string& dataset) { return run({"h5dump", "-pH", "-d", dataset, again}).out; };
  EXPECT_EQ(run({runrig_command(), "reduce", "sum", turned, "-d", "/x"}).out,
            run({runrig_command(), "reduce", "sum", plain, "-d", "/x"}).out);
  repack({});
  for (const std::string dataset : {"/named", "/x"}) {
    EXPECT_THAT(storage(dataset), AllOf(HasSubstr("FILTER_ID 32100"), HasSubstr("PARAMS { 255 8 }")));
  }
  EXPECT_THAT(repack({"--chunk", "777"}), HasSubstr("/x keeps its storage"));
  EXPECT_THAT(storage("/x"), AllOf(HasSubstr("CHUNKED ( 1000 )"), HasSubstr("FILTER_ID 32100")));
  repack({"--chunk", "777", "--filter", "shuffle,deflate:4"});
  EXPECT_THAT(storage("/x"), AllOf(HasSubstr("CHUNKED ( 777 )"), HasSubstr("DEFLATE"), Not(HasSubstr("32100"))));
}

}  // namespace
}  // namespace runrig::test
