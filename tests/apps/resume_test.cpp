// --resume: what is made again, what is left alone, and what is refused.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/stat.h>

#include <fstream>
#include <map>

#include "big_file.hpp"
#include "reports.hpp"
#include "running.hpp"

namespace runrig::test {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;

struct Command {
  std::string label;
  std::vector<std::string> arguments;  // before the files
};
std::ostream& operator<<(std::ostream& out, const Command& command) { return out << command.label; }

const std::vector<Command> commands{
    {"map", {"map", "u*2", "-i", "u=/wind/u"}},
    {"map_without_provenance", {"map", "u*2", "-i", "u=/wind/u", "--no-provenance"}},
    {"map_contiguous", {"map", "u*2", "-i", "u=/wind/u[0:8]", "--filter", "none", "--chunk", "auto"}},
    {"map_of_several", {"map", "--to", "/a=u+1", "--to", "/b=v+1", "-i", "u=/wind/u", "-i", "v=/wind/v"}},
    {"reduce", {"reduce", "mean", "-d", "/wind/u", "--axis", "0"}},
    {"repack", {"repack", "--filter", "shuffle,deflate:1"}}};

class ResumeTest : public ::testing::Test {
 protected:
  void SetUp() override {
    fs::create_directory(directory_ / "in");
    fs::create_directory(directory_ / "out");
    for (const std::string& name : names_) fs::copy(sample(name), input(name));
  }
  std::string input(const std::string& name) const { return directory_ / ("in/" + name); }
  std::string output(const std::string& name) const { return directory_ / ("out/" + name); }
  CommandResult run(std::vector<std::string> arguments, const std::vector<std::string>& more = {"--resume"}) const {
    for (const std::string& name : names_) arguments.push_back(input(name));
    arguments.insert(arguments.end(), {"-o", output("{name}")});
    arguments.insert(arguments.end(), more.begin(), more.end());
    return runrig(arguments);
  }
  // Another file with every publication.
  std::map<std::string, ino_t> outputs() const {
    std::map<std::string, ino_t> found;
    for (const auto& each : fs::directory_iterator(directory_ / "out")) {
      struct stat status {};
      EXPECT_EQ(::stat(each.path().c_str(), &status), 0);
      found[each.path().filename().string()] = status.st_ino;
    }
    return found;
  }
  // Keeps them from being freed, and their numbers from being given to their successors.
  void keep_inodes() const {
    for (const std::string& name : names_) fs::create_hard_link(output(name), directory_ / ("kept-" + name));
  }
  // What was made anew since.
  std::vector<std::string> renewed(const std::map<std::string, ino_t>& before) const {
    std::vector<std::string> names;
    for (const auto& [name, inode] : outputs()) {
      if (!before.contains(name) || before.at(name) != inode) names.push_back(name);
    }
    return names;
  }

  const std::vector<std::string> names_{"month-1.h5", "month-2.h5", "month-3.h5"};
  TemporaryDirectory directory_;
};

class ResumeEachTest : public ResumeTest, public ::testing::WithParamInterface<Command> {};

TEST_P(ResumeEachTest, LeavesWhatIsUpToDateAndMakesWhatIsMissing) {
  // The first run need not have been told.
  ASSERT_EQ(run(GetParam().arguments, {}).exit_code, 0);
  keep_inodes();
  const auto first = outputs();
  const auto nothing = run(GetParam().arguments);
  EXPECT_EQ(nothing.exit_code, 0) << nothing.err;
  EXPECT_EQ(nothing.err, "");
  for (const std::string& name : names_) EXPECT_THAT(nothing.out, HasSubstr(output(name) + "  is up to date\n"));
  EXPECT_THAT(renewed(first), ::testing::IsEmpty());

  fs::remove(output("month-2.h5"));
  EXPECT_EQ(run(GetParam().arguments).exit_code, 0);
  EXPECT_THAT(renewed(first), ::testing::ElementsAre("month-2.h5"));
}

TEST_P(ResumeEachTest, MakesAnewWhatIsOfAnInputThatWasChanged) {
  ASSERT_EQ(run(GetParam().arguments).exit_code, 0);
  keep_inodes();
  const auto first = outputs();
  fs::copy(sample("month-1.h5"), directory_ / "fresh");
  fs::last_write_time(directory_ / "fresh", fs::last_write_time(input("month-3.h5")));
  fs::rename(directory_ / "fresh", input("month-3.h5"));  // another file with the time of the former
  EXPECT_EQ(run(GetParam().arguments).exit_code, 0);
  EXPECT_THAT(renewed(first), ::testing::ElementsAre("month-3.h5"));
  const auto numbers = [this](const std::string& name) {
    return parse_stats(runrig({"stats", "--json", output(name)})).of(output(name));
  };
  EXPECT_EQ(numbers("month-3.h5"), numbers("month-1.h5"));
}

TEST_P(ResumeEachTest, RefusesAForeignFileUnlessItMayBeReplaced) {
  ASSERT_EQ(run(GetParam().arguments).exit_code, 0);
  fs::copy_file(sample("month-2.h5"), output("month-2.h5"), fs::copy_options::overwrite_existing);
  expect_one_line(run(GetParam().arguments), 2, {output("month-2.h5"), "as runrig wrote it", "--overwrite"});
  EXPECT_EQ(fs::file_size(output("month-2.h5")), fs::file_size(sample("month-2.h5")));
  keep_inodes();
  const auto first = outputs();
  EXPECT_EQ(run(GetParam().arguments, {"--resume", "--overwrite"}).exit_code, 0);
  EXPECT_THAT(renewed(first), ::testing::ElementsAre("month-2.h5"));
}

TEST_P(ResumeEachTest, RefusesWhatOnceWasItsOutputAndWasOpenedForWriting) {
  RUNRIG_NEED_PYTHON(python, "h5py");
  ASSERT_EQ(run(GetParam().arguments).exit_code, 0);
  ASSERT_EQ(run_python(python, "import h5py, sys; h5py.File(sys.argv[1], 'r').close()", {output("month-1.h5")}).err,
            "");
  EXPECT_EQ(run(GetParam().arguments).exit_code, 0);
  ASSERT_EQ(run_python(python, "import h5py, sys; h5py.File(sys.argv[1], 'r+').close()", {output("month-1.h5")}).err,
            "");
  expect_one_line(run(GetParam().arguments), 2, {output("month-1.h5"), "as runrig wrote it"});
}

INSTANTIATE_TEST_SUITE_P(Commands, ResumeEachTest, ::testing::ValuesIn(commands),
                         [](const auto& each) { return each.param.label; });

TEST_F(ResumeTest, RefusesWhatAnotherCommandMade) {
  for (const Command& first : commands) {
    ASSERT_EQ(run(first.arguments, {"--overwrite"}).exit_code, 0);
    for (const Command& second : commands) {
      if (first.label == second.label) continue;
      expect_one_line(run(second.arguments), 2, {output("month-1.h5"), "another command", "--overwrite"});
    }
  }
}

TEST_F(ResumeTest, MakesAnewWhatIsOfAnotherFileThatWasChanged) {
  const std::string offset = directory_ / "offset.h5";
  fs::copy(sample("month-1.h5"), offset);
  const std::vector<std::string> arguments{"map", "u - u0", "-i", "u=/wind/u[0]", "-i", "u0=" + offset + ":/wind/u[0]"};
  ASSERT_EQ(run(arguments).exit_code, 0);
  keep_inodes();
  const auto first = outputs();
  fs::last_write_time(offset, fs::last_write_time(offset) + std::chrono::seconds(1));
  EXPECT_EQ(run(arguments).exit_code, 0);
  EXPECT_EQ(renewed(first), names_);
}

TEST_F(ResumeTest, AnInputThatIsGoneIsReportedAndItsOutputStays) {
  const auto& arguments = commands[0].arguments;
  ASSERT_EQ(run(arguments).exit_code, 0);
  const auto first = outputs();
  fs::remove(input("month-1.h5"));
  expect_one_line(run(arguments), 1, {input("month-1.h5"), "No such file or directory"});
  EXPECT_THAT(renewed(first), ::testing::IsEmpty());
  EXPECT_EQ(outputs(), first);
}

TEST_F(ResumeTest, WhatIsOfAVirtualDatasetIsMadeAgainForItsSourcesAreNotKnown) {
  RUNRIG_NEED_PYTHON(python, "h5py");
  const std::string path = directory_ / "virtual.h5";
  ASSERT_EQ(run_python(python, R"(
import h5py, sys
layout = h5py.VirtualLayout(shape=(62, 37, 72), dtype='f4')
layout[:] = h5py.VirtualSource(sys.argv[2], 'wind/u', shape=(62, 37, 72))
h5py.File(sys.argv[1], 'w').create_virtual_dataset('u', layout)
)",
                       {path, input("month-1.h5")})
                .err,
            "");
  for (const std::vector<std::string>& each :
       {std::vector<std::string>{"map", "u*2", "-i", "u=/u"}, std::vector<std::string>{"reduce", "mean", "-d", "/u"}}) {
    auto words = each;
    words.insert(words.end(), {path, "-o", output(each[0] + ".h5"), "--resume"});
    ASSERT_EQ(runrig(words).exit_code, 0);
    EXPECT_THAT(runrig(words).out, ::testing::Not(HasSubstr("up to date")));
  }
}

TEST_F(ResumeTest, NeedsAnOutput) {
  expect_one_line(runrig({"reduce", "mean", sample("month-1.h5"), "--resume"}), 2, {"--resume", "-o"});
}

TEST_F(ResumeTest, AnInputThatChangesWhileItIsReadGivesNoOutput) {
  const std::string big = directory_ / "in/big.h5";
  make_big_file(big, 8192);
  const std::vector<std::string> arguments{"map", "x*2+1", big, "-i", "x=/x", "-o", output("big.h5")};
  const std::string errors = directory_ / "errors";
  int changed = 0;
  for (int attempt = 0; attempt < 20 && changed < 2; ++attempt) {
    Running command(arguments, {}, errors);
    // Its temporary file is there: it reads. Whether it still does when the input is changed is seen by how it ends.
    EXPECT_TRUE(eventually([&] { return !fs::is_empty(directory_ / "out"); }));
    fs::last_write_time(big, fs::last_write_time(big) + std::chrono::seconds(1));
    const int code = command.join();
    if (code == 0) {
      fs::remove(output("big.h5"));
      continue;
    }
    ++changed;
    std::ifstream file(errors);
    const std::string text((std::istreambuf_iterator<char>(file)), {});
    EXPECT_EQ(code, 1);
    EXPECT_EQ(text, "runrig: " + big + ": it was changed meanwhile\n");
    EXPECT_TRUE(fs::is_empty(directory_ / "out"));
  }
  EXPECT_EQ(changed, 2) << "no run was caught while it read";
}

}  // namespace
}  // namespace runrig::test
