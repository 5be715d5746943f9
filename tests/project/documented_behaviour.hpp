#pragma once

#include <cstddef>
#include <filesystem>
#include <set>
#include <string>
#include <string_view>
#include <vector>

/// docs/multiprocessing.md: what Python documents, what ours is, and which tests hold it. Its tables are read here, so
/// that they cannot name a test that is not there.
///
/// A row is `| member | behaviour | ours | difference | tests |`. Its tests are names in backticks, "Suite.Name" as in
/// the sources (without parameters); or "to come" for what is not built yet; or "not here", and then the difference
/// says why.
namespace runrig::test {

struct DocumentedBehaviour {
  std::size_t line = 0;  ///< in the page, from 1
  std::string member;
  std::string difference;
  std::vector<std::string> tests;
  enum class State { tested, to_come, not_here } state = State::tested;
};

/// All rows of all tables. Throws std::runtime_error that names the line of a row that is none.
[[nodiscard]] std::vector<DocumentedBehaviour> parse_behaviours(std::string_view page);

/// The tests in the sources below `folder`: "Suite.Name" for GoogleTest's, and the names that CMakeLists.txt give to
/// add_test().
[[nodiscard]] std::set<std::string> tests_in(const std::filesystem::path& folder);

/// What is wrong with the rows, each with its line: tests that are not there, a difference that is not explained.
[[nodiscard]] std::vector<std::string> find_contradictions(const std::vector<DocumentedBehaviour>& rows,
                                                           const std::set<std::string>& tests);

}  // namespace runrig::test
