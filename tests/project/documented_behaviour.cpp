#include "documented_behaviour.hpp"

#include <fstream>
#include <iterator>
#include <regex>
#include <stdexcept>

namespace runrig::test {
namespace {

constexpr std::size_t columns = 5;

std::string trimmed(std::string_view text) {
  const auto first = text.find_first_not_of(' ');
  if (first == std::string_view::npos) return {};
  return std::string(text.substr(first, text.find_last_not_of(' ') - first + 1));
}

/// A bar inside a cell is written \| in Markdown.
std::vector<std::string> cells_of(std::string_view line) {
  std::vector<std::string> cells;
  std::string cell;
  for (std::size_t i = 1; i < line.size(); ++i) {
    if (line[i] == '\\' && i + 1 < line.size() && line[i + 1] == '|') {
      cell.push_back(line[++i]);
    } else if (line[i] == '|') {
      cells.push_back(trimmed(cell));
      cell.clear();
    } else {
      cell.push_back(line[i]);
    }
  }
  return cells;
}

bool is_rule(std::string_view line) { return line.find_first_not_of("|-: ") == std::string_view::npos; }

DocumentedBehaviour parse_row(std::string_view line, std::size_t number) {
  const auto cells = cells_of(line);
  if (cells.size() != columns) {
    throw std::runtime_error("line " + std::to_string(number) + ": a row of " + std::to_string(cells.size()) +
                             " cells, not " + std::to_string(columns));
  }
  DocumentedBehaviour row{.line = number, .member = cells[0], .difference = cells[3], .tests = {}};
  if (cells[4] == "to come") {
    row.state = DocumentedBehaviour::State::to_come;
  } else if (cells[4] == "not here") {
    row.state = DocumentedBehaviour::State::not_here;
  } else {
    static const std::regex name("`([^`]+)`");
    const std::string list = cells[4];
    for (auto each = std::sregex_iterator(list.begin(), list.end(), name); each != std::sregex_iterator(); ++each) {
      row.tests.push_back((*each)[1]);
    }
    if (row.tests.empty()) {
      throw std::runtime_error("line " + std::to_string(number) + ": no tests, nor \"to come\" or \"not here\"");
    }
  }
  return row;
}

void add_matches(std::set<std::string>& names, const std::filesystem::path& file, const std::regex& pattern) {
  std::ifstream stream(file);
  const std::string text{std::istreambuf_iterator<char>(stream), std::istreambuf_iterator<char>()};
  for (auto each = std::sregex_iterator(text.begin(), text.end(), pattern); each != std::sregex_iterator(); ++each) {
    names.insert(each->size() > 2 ? (*each)[1].str() + "." + (*each)[2].str() : (*each)[1].str());
  }
}

}  // namespace

std::vector<DocumentedBehaviour> parse_behaviours(std::string_view page) {
  std::vector<DocumentedBehaviour> rows;
  bool in_table = false;
  std::size_t number = 0;
  while (!page.empty()) {
    const std::size_t end = page.find('\n');
    const std::string_view line = page.substr(0, end);
    page.remove_prefix(end == std::string_view::npos ? page.size() : end + 1);
    ++number;
    if (!line.starts_with('|')) {
      in_table = false;
    } else if (is_rule(line)) {
      in_table = true;
    } else if (in_table) {  // not the heads
      rows.push_back(parse_row(line, number));
    }
  }
  return rows;
}

std::set<std::string> tests_in(const std::filesystem::path& folder) {
  static const std::regex google(R"(\b(?:TEST|TEST_F|TEST_P|TYPED_TEST|TYPED_TEST_P)\(\s*(\w+)\s*,\s*(\w+)\s*\))");
  static const std::regex ctest(R"(add_test\(\s*NAME\s+([\w.]+))");
  std::set<std::string> names;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(folder)) {
    if (entry.path().extension() == ".cpp") add_matches(names, entry.path(), google);
    if (entry.path().filename() == "CMakeLists.txt") add_matches(names, entry.path(), ctest);
  }
  return names;
}

std::vector<std::string> find_contradictions(const std::vector<DocumentedBehaviour>& rows,
                                             const std::set<std::string>& tests) {
  std::vector<std::string> found;
  for (const auto& row : rows) {
    const std::string where = "line " + std::to_string(row.line) + ", " + row.member + ": ";
    for (const std::string& test : row.tests) {
      if (tests.count(test) == 0) found.push_back(where + "there is no test " + test);
    }
    if (row.state == DocumentedBehaviour::State::not_here && row.difference.empty()) {
      found.push_back(where + "not here, but not said why");
    }
  }
  return found;
}

}  // namespace runrig::test
