#include "documented_behaviour.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <fstream>
#include <iterator>

#include "source_directory.hpp"
#include "support.hpp"

namespace runrig {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

std::vector<test::DocumentedBehaviour> page() {
  std::ifstream stream(test::source_directory() / "docs" / "multiprocessing.md");
  const std::string text{std::istreambuf_iterator<char>(stream), std::istreambuf_iterator<char>()};
  return test::parse_behaviours(text);
}

TEST(DocumentedBehaviourTest, EachTestThatThePageNamesIsThere) {
  EXPECT_THAT(test::find_contradictions(page(), test::tests_in(test::source_directory() / "tests")), IsEmpty());
}

TEST(DocumentedBehaviourTest, ThePageWasReallyRead) {
  const auto rows = page();
  EXPECT_GT(rows.size(), 150U);
  const auto has = [&](const std::string& member) {
    return std::any_of(rows.begin(), rows.end(), [&](const auto& row) {
      return row.member.find(member) != std::string::npos && row.state == test::DocumentedBehaviour::State::tested;
    });
  };
  for (const char* const member : {"Lock.acquire", "Barrier.wait", "Value", "log_to_stderr"}) {
    EXPECT_TRUE(has(member)) << member;
  }
}

/// The test of the test: pages and sources of its own.
std::vector<test::DocumentedBehaviour> rows_of(const std::string& row) {
  return test::parse_behaviours("# A page\n\n| a | b | c | d | e |\n|---|---|---|---|---|\n" + row +
                                "\nText.\n| no | row |\n");
}

TEST(DocumentedBehaviourTest, RowsAreParsed) {
  const auto rows = rows_of(
      "| `Lock.acquire` | blocks \\| waits | `Lock::lock` | | `LockTest.Blocks`, `LockTest.Waits` |\n"
      "| `Queue` | | | | to come |\n"
      "| `freeze_support` | | | no need | not here |");
  ASSERT_EQ(rows.size(), 3U);
  EXPECT_EQ(rows[0].line, 5U);
  EXPECT_EQ(rows[0].member, "`Lock.acquire`");
  EXPECT_THAT(rows[0].tests, ElementsAre("LockTest.Blocks", "LockTest.Waits"));
  EXPECT_EQ(rows[1].state, test::DocumentedBehaviour::State::to_come);
  EXPECT_EQ(rows[2].state, test::DocumentedBehaviour::State::not_here);
  EXPECT_THROW((void)rows_of("| too | few |"), std::runtime_error);
  EXPECT_THROW((void)rows_of("| a | b | c | d | |"), std::runtime_error) << "neither tests nor a reason";
}

TEST(DocumentedBehaviourTest, ATestThatIsNotThereIsNamed) {
  const std::set<std::string> tests{"LockTest.Blocks"};
  EXPECT_THAT(test::find_contradictions(rows_of("| Lock | | | | `LockTest.Blocks`, `LockTest.Waits` |"), tests),
              ElementsAre(HasSubstr("line 5, Lock: there is no test LockTest.Waits")));
  EXPECT_THAT(test::find_contradictions(rows_of("| Lock | | | | not here |"), tests),
              ElementsAre(HasSubstr("not said why")));
}

TEST(DocumentedBehaviourTest, TestsOfAllSortsAreFound) {
  const test::TemporaryDirectory directory;
  std::filesystem::create_directory(directory / "room");
  std::ofstream(directory / "room" / "a_test.cpp") << "TE"
                                                      "ST(A, One) {}\nTE"
                                                      "ST_F(A, Two) {}\nTE"
                                                      "ST_P(\n    B, Three) {}\nTYPED_TE"
                                                      "ST(C, Four) {}\n";
  std::ofstream(directory / "room" / "CMakeLists.txt") << "add_test(NAME example.point COMMAND point)\n";
  EXPECT_THAT(test::tests_in(directory.path()), ElementsAre("A.One", "A.Two", "B.Three", "C.Four", "example.point"));
}

}  // namespace
}  // namespace runrig
