// `runrig info`: everything in a file, against h5py.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>

#include "reports.hpp"

namespace runrig::test {
namespace {

using ::testing::ContainsRegex;
using ::testing::HasSubstr;

class InfoTest : public ::testing::Test {
 protected:
  void check_info(const std::string& python, const std::vector<std::string>& files) const {
    std::vector<std::string> arguments{"info", "--json"};
    arguments.insert(arguments.end(), files.begin(), files.end());
    const auto result = runrig(arguments);
    EXPECT_EQ(result.exit_code, 0) << result.err;
    const std::string report = directory_ / "report.json";
    std::ofstream(report) << result.out;
    arguments = {report};
    arguments.insert(arguments.end(), files.begin(), files.end());
    expect_agreement(python, "check_info.py", arguments);
  }
  TemporaryDirectory directory_;
};

TEST_F(InfoTest, ListsAllThatIsInTheSample) {
  RUNRIG_NEED_PYTHON(python, "numpy, h5py");
  check_info(python, all_samples());
}

TEST_F(InfoTest, ListsAllThatIsInRealFiles) {
  RUNRIG_NEED_PYTHON(python, "numpy, h5py");
  RUNRIG_NEED_SHARED_DATA(folder);
  check_info(python, files_in(folder));
}

TEST_F(InfoTest, IsStrictJsonWhateverNamesAndAttributesHold) {
  RUNRIG_NEED_PYTHON(python, "numpy, h5py");
  const std::string file = directory_ / "odd \"name\".h5";
  expect_agreement(python, "make_attributes.py", {file});
  check_info(python, {file});
  // In text a name or a value stays on its line.
  const auto text = runrig({"info", file});
  EXPECT_THAT(text.out, HasSubstr(R"(/quote " newline \n percent % colon : bracket [)"));
  EXPECT_THAT(text.out, HasSubstr(R"(@name with " and \n and \ = 1)"));
}

TEST_F(InfoTest, TextShowsTypeShapeLayoutFiltersSizesAndAttributes) {
  const auto result = runrig({"info", sample("month-1.h5"), sample("survey.h5"), sample("frames.h5")});
  EXPECT_EQ(result.exit_code, 0);
  EXPECT_EQ(result.err, "");
  EXPECT_THAT(result.out, ContainsRegex("month-1\\.h5  \\([0-9.]+ KiB\\)"));
  EXPECT_THAT(result.out, ContainsRegex("  /wind/u +<f4 +\\(62, 37, 72\\).* chunked \\(16, 16, 32\\) "
                                        "shuffle,deflate-4  645\\.2 KiB, [0-9.]+ KiB stored"));
  EXPECT_THAT(result.out, HasSubstr("      @units = \"K\"\n"));
  EXPECT_THAT(result.out, HasSubstr("  /dangling -> /nowhere\n"));
  EXPECT_THAT(result.out, ContainsRegex("  /planned .* 3\\.8 MiB, 0 B stored"));
  EXPECT_THAT(result.out,
              ContainsRegex("  /detector/frames +>u2 +\\(9, 100, 120\\) +chunked \\(4, 48, 64\\) fletcher32"));
  EXPECT_THAT(result.out, ContainsRegex("  /ship/waypoints +<f8 +\\(0, 2\\) of \\(inf, 2\\)"));
}

}  // namespace
}  // namespace runrig::test
