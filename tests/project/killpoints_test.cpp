// Every kill point of the sources is one that a test kills at.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <functional>
#include <iterator>
#include <regex>
#include <set>
#include <string>

#include "source_directory.hpp"
#include "support.hpp"

namespace runrig {
namespace {

namespace fs = std::filesystem;
using ::testing::ElementsAre;
using ::testing::IsEmpty;

void for_each_match(const std::string& text, const std::regex& what,
                    const std::function<void(const std::string&)>& use) {
  for (std::sregex_iterator each(text.begin(), text.end(), what), end; each != end; ++each) use((*each)[1]);
}

/// Calls `use` with the text of each C++ file below `folder`, but not with those below `left_out`.
void for_each_source(const fs::path& folder, const fs::path& left_out,
                     const std::function<void(const std::string&)>& use) {
  if (!fs::exists(folder)) return;
  for (auto entry = fs::recursive_directory_iterator(folder); entry != fs::recursive_directory_iterator(); ++entry) {
    if (entry->path() == left_out) entry.disable_recursion_pending();
    const auto extension = entry->path().extension();
    if (extension != ".cpp" && extension != ".hpp") continue;
    std::ifstream stream(entry->path());
    use({std::istreambuf_iterator<char>(stream), std::istreambuf_iterator<char>()});
  }
}

struct KillPoints {
  std::set<std::string> all;
  /// Those that no test names, neither itself nor by the beginning of its name.
  std::set<std::string> forgotten;
};

KillPoints find_kill_points(const fs::path& root) {
  KillPoints found;
  static const std::regex point(R"re(RUNRIG_KILLPOINT\("([a-z_.]+)"\))re");
  for (const char* const room : {"sync", "shm", "io", "engine", "apps"}) {
    for_each_source(root / room, {}, [&](const std::string& text) {
      for_each_match(text, point, [&](const std::string& name) { found.all.insert(name); });
    });
  }
  std::set<std::string> named;
  std::set<std::string> prefixes;
  static const std::regex name_in_test(R"re(["=]([a-z_]+\.[a-z_.]+)")re");
  static const std::regex sweep(R"re(killpoints_of\(\{([^}]+)\}\))re");
  static const std::regex prefix(R"re("([a-z_.]+)")re");
  for_each_source(root / "tests", root / "tests/project", [&](const std::string& text) {
    for_each_match(text, name_in_test, [&](const std::string& name) { named.insert(name); });
    for_each_match(text, sweep, [&](const std::string& list) {
      for_each_match(list, prefix, [&](const std::string& each) { prefixes.insert(each); });
    });
  });
  for (const std::string& each : found.all) {
    const bool swept = std::any_of(prefixes.begin(), prefixes.end(),
                                   [&](const std::string& beginning) { return each.rfind(beginning, 0) == 0; });
    if (!swept && named.count(each) == 0) found.forgotten.insert(each);
  }
  return found;
}

TEST(KillPointsTest, EachIsKilledAtByATest) {
  const auto found = find_kill_points(test::source_directory());
  EXPECT_THAT(found.forgotten, IsEmpty());
  EXPECT_GT(found.all.size(), 100U);
}

TEST(KillPointsTest, OneThatNoTestNamesIsFound) {
  const test::TemporaryDirectory root;
  const auto write = [&](const fs::path& name, const std::string& text) {
    fs::create_directories((root / name.string()).parent_path());
    std::ofstream(root / name.string()) << text;
  };
  write("shm/a.cpp", "RUNRIG_KILLPOINT(\"a.named\");\nRUNRIG_KILLPOINT(\"a.in_environment\");");
  write("shm/deep/b.hpp", "RUNRIG_KILLPOINT(\"b.one.swept\"); RUNRIG_KILLPOINT(\"b.two.forgotten\");");
  write("engine/c.cpp", "RUNRIG_KILLPOINT(\"c.forgotten\");");
  write("tests/a_test.cpp", R"(arm("a.named"); run({"RUNRIG_KILLPOINT=a.in_environment"}); arm("c.forgotten_too");)");
  write("tests/b_test.cpp", "killpoints_of({\n\"b.one.\", \"d.\"})");
  write("tests/project/c_test.cpp", "arm(\"c.forgotten\")");
  EXPECT_EQ(find_kill_points(root.path()).all.size(), 5U);
  EXPECT_THAT(find_kill_points(root.path()).forgotten, ElementsAre("b.two.forgotten", "c.forgotten"));
}

}  // namespace
}  // namespace runrig
