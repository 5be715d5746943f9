// The command on every numeric dataset of the sample and of the user's real files, against h5py and NumPy.
#include <gtest/gtest.h>

#include <fstream>

#include "reports.hpp"

namespace runrig::test {
namespace {

using namespace std::chrono_literals;

class RealFilesTest : public ::testing::Test {
 protected:
  // Any error is one that h5py has as well: the Python side looks.
  void check_stats(const std::string& python, const std::vector<std::string>& files) const {
    std::vector<std::string> arguments{"stats", "--json"};
    arguments.insert(arguments.end(), files.begin(), files.end());
    const auto result = runrig(arguments);
    expect_errors_are_told(result, parse_stats(result).errors.size());
    const std::string report = directory_ / "report.json";
    std::ofstream(report) << result.out;
    arguments = {report};
    arguments.insert(arguments.end(), files.begin(), files.end());
    expect_agreement(python, "check_stats.py", arguments);
  }
  void check_map(const std::string& python, const std::vector<std::string>& files) const {
    std::vector<std::string> arguments{runrig_command(), directory_.path().string()};
    arguments.insert(arguments.end(), files.begin(), files.end());
    expect_agreement(python, "check_map.py", arguments, 280s);
  }
  TemporaryDirectory directory_;
};

TEST_F(RealFilesTest, StatisticsOfTheSampleAreNumPys) {
  RUNRIG_NEED_PYTHON(python, "numpy, h5py");
  check_stats(python, all_samples());
}

TEST_F(RealFilesTest, StatisticsOfRealFilesAreNumPys) {
  RUNRIG_NEED_PYTHON(python, "numpy, h5py");
  RUNRIG_NEED_SHARED_DATA(folder);
  check_stats(python, files_in(folder));
}

TEST_F(RealFilesTest, MapOfTheSampleIsNumPysAndKeepsChunksFiltersAttributesAndScales) {
  RUNRIG_NEED_PYTHON(python, "numpy, h5py");
  check_map(python, all_samples());
}

TEST_F(RealFilesTest, MapOfRealFilesIsNumPysAndKeepsChunksFiltersAttributesAndScales) {
  RUNRIG_NEED_PYTHON(python, "numpy, h5py");
  RUNRIG_NEED_SHARED_DATA(folder);
  check_map(python, files_in(folder));
}

}  // namespace
}  // namespace runrig::test
