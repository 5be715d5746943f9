// The examples of Python's documentation, as programs of docs/examples: they print what they say that they print, by
// every start method, and leave nothing behind.
#include <algorithm>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <string>
#include <tuple>
#include <vector>

#include "runrig/engine/start_method.hpp"
#include "support.hpp"

namespace runrig::test {
namespace {

namespace fs = std::filesystem;

/// What the end of an example's source says.
struct Expected {
  std::vector<std::string> lines;
  bool in_any_order = false;
};

Expected expected_of(const fs::path& source) {
  static const std::string exact = "// prints: ";
  static const std::string unordered = "// prints in any order: ";
  Expected expected;
  std::ifstream file(source);
  for (std::string line; std::getline(file, line);) {
    if (line.rfind(exact, 0) == 0) expected.lines.push_back(line.substr(exact.size()));
    if (line.rfind(unordered, 0) == 0) {
      expected.lines.push_back(line.substr(unordered.size()));
      expected.in_any_order = true;
    }
  }
  return expected;
}

std::vector<std::string> lines_of(const std::string& text) {
  std::vector<std::string> lines;
  std::istringstream stream(text);
  for (std::string line; std::getline(stream, line);) lines.push_back(line);
  return lines;
}

std::vector<std::string> example_names() {
  std::vector<std::string> names;
  for (const auto& entry : fs::directory_iterator(RUNRIG_EXAMPLE_SOURCES)) {
    if (entry.path().extension() == ".cpp") names.push_back(entry.path().stem());
  }
  std::sort(names.begin(), names.end());
  return names;
}

class ExampleTest : public ::testing::TestWithParam<std::tuple<std::string, StartMethod>> {};

TEST_P(ExampleTest, PrintsWhatItSays) {
  const auto& [name, method] = GetParam();
  Expected expected = expected_of(fs::path(RUNRIG_EXAMPLE_SOURCES) / (name + ".cpp"));
  ASSERT_FALSE(expected.lines.empty()) << "the source does not say what it prints";
  const fs::path program = fs::path(RUNRIG_EXAMPLE_PROGRAMS) / name;
  const auto result = run_command({program, std::string(to_string(method))});
  auto printed = lines_of(result.out);
  if (expected.in_any_order) {
    std::sort(printed.begin(), printed.end());
    std::sort(expected.lines.begin(), expected.lines.end());
  }
  EXPECT_EQ(result.exit_code, 0);
  EXPECT_EQ(printed, expected.lines);
  EXPECT_EQ(result.err, "");
}

INSTANTIATE_TEST_SUITE_P(
    All, ExampleTest,
    ::testing::Combine(::testing::ValuesIn(example_names()),
                       ::testing::Values(StartMethod::fork, StartMethod::spawn, StartMethod::forkserver)),
    [](const auto& each) { return std::get<0>(each.param) + "_" + std::string(to_string(std::get<1>(each.param))); });

}  // namespace
}  // namespace runrig::test
