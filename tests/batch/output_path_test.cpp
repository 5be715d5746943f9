#include "output_path.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <fstream>

#include "support.hpp"

namespace runrig::batch {
namespace {

namespace fs = std::filesystem;

void put(const fs::path& path, std::string_view text) { std::ofstream(path) << text; }
std::string get(const fs::path& path) {
  std::ifstream file(path);
  return {std::istreambuf_iterator<char>(file), {}};
}
std::vector<std::string> names_in(const fs::path& directory) {
  std::vector<std::string> names;
  for (const auto& each : fs::directory_iterator(directory)) names.push_back(each.path().filename().string());
  return names;
}

TEST(OutputTemplateTest, FieldsComeFromTheInput) {
  EXPECT_EQ(expand_output("out/{stem}.h5", "in/a.b.nc"), "out/a.b.h5");
  EXPECT_EQ(expand_output("{dir}/{name}.new", "in/a.nc"), "in/a.nc.new");
  EXPECT_EQ(expand_output("{dir}/{stem}2{ext}", "a.nc"), "./a2.nc");
  EXPECT_EQ(expand_output("{{x}}", "a"), "{x}");
}

TEST(OutputTemplateTest, AnUnknownOrUnclosedFieldIsRefused) {
  EXPECT_THAT(test::thrown_text([] { (void)expand_output("{steam}.h5", "a.nc"); }), ::testing::HasSubstr("{stem}"));
  EXPECT_THAT(test::thrown_text([] { (void)expand_output("{stem", "a.nc"); }), ::testing::HasSubstr("close the '{'"));
}

class OutputPlanTest : public ::testing::Test {
 protected:
  std::string at(std::string_view name) { return (directory_ / name).string(); }
  test::TemporaryDirectory directory_;
};

TEST_F(OutputPlanTest, TwoInputsWithOneOutputAreRefusedAndNamed) {
  const std::vector<std::string> inputs{at("a.h5"), at("b.h5")};
  const auto text = test::thrown_text([&] { (void)plan_outputs(at("out.h5"), inputs, inputs); });
  EXPECT_THAT(text, ::testing::AllOf(::testing::HasSubstr("a.h5"), ::testing::HasSubstr("b.h5"),
                                     ::testing::HasSubstr("{stem}")));
  EXPECT_EQ(plan_outputs(at("{stem}.out"), inputs, inputs).size(), 2U);
}

TEST_F(OutputPlanTest, AnOutputThatIsAnInputUnderAnyNameIsRefused) {
  put(at("a.h5"), "x");
  fs::create_symlink("a.h5", at("alias.h5"));
  fs::create_directory(at("sub"));
  for (const auto& output : {at("a.h5"), at("alias.h5"), at("sub/../a.h5"), at("./a.h5")}) {
    EXPECT_THAT(test::thrown_text([&] { (void)plan_outputs(output, {at("a.h5")}, {at("a.h5")}); }),
                ::testing::HasSubstr("write over an input"))
        << output;
  }
}

TEST_F(OutputPlanTest, PublishingGivesTheFinalNameAndLeavesNothingElse) {
  PendingOutput output(at("out.h5"), false);
  put(output.temporary_path(), "new");
  EXPECT_FALSE(fs::exists(at("out.h5")));
  output.publish();
  EXPECT_EQ(get(at("out.h5")), "new");
  EXPECT_THAT(names_in(directory_.path()), ::testing::ElementsAre("out.h5"));
}

TEST_F(OutputPlanTest, WhatIsNotPublishedIsRemovedAndTheOldFileStays) {
  put(at("out.h5"), "old");
  {
    PendingOutput output(at("out.h5"), true);
    put(output.temporary_path(), "half");
  }
  EXPECT_EQ(get(at("out.h5")), "old");
  EXPECT_THAT(names_in(directory_.path()), ::testing::ElementsAre("out.h5"));
}

TEST_F(OutputPlanTest, AnExistingFileIsReplacedOnlyWithLeave) {
  put(at("out.h5"), "old");
  EXPECT_EQ(test::thrown_code([&] { PendingOutput output(at("out.h5"), false); }), std::errc::file_exists);
  PendingOutput output(at("out.h5"), true);
  put(output.temporary_path(), "new");
  output.publish();
  EXPECT_EQ(get(at("out.h5")), "new");
}

TEST_F(OutputPlanTest, AFileThatAppearsMeanwhileIsNotReplaced) {
  PendingOutput output(at("out.h5"), false);
  put(output.temporary_path(), "ours");
  put(at("out.h5"), "theirs");
  EXPECT_EQ(test::thrown_code([&] { output.publish(); }), std::errc::file_exists);
  EXPECT_EQ(get(at("out.h5")), "theirs");
}

TEST_F(OutputPlanTest, AMissingDirectoryIsNamed) {
  EXPECT_THAT(test::thrown_text([&] { PendingOutput output(at("nowhere/out.h5"), false); }),
              ::testing::AllOf(::testing::HasSubstr("nowhere"), ::testing::HasSubstr("No such file or directory")));
}

TEST_F(OutputPlanTest, TemporariesOfTheDeadGoAndThoseOfTheLivingStay) {
  const PendingOutput living(at("living.h5"), false);
  put(living.temporary_path(), "ours");
  EXPECT_EQ(test::run_in_child([&] {
              PendingOutput output(at("dead.h5"), false);
              put(output.temporary_path(), "half");
              ::raise(SIGKILL);
            }),
            -SIGKILL);
  put(at(".bystander.runrig-x.tmp"), "not ours");
  EXPECT_EQ(names_in(directory_.path()).size(), 3U);
  EXPECT_EQ(remove_dead_temporaries(directory_.path().string()), 1);
  EXPECT_TRUE(fs::exists(living.temporary_path()));
  EXPECT_TRUE(fs::exists(at(".bystander.runrig-x.tmp")));
}

}  // namespace
}  // namespace runrig::batch
