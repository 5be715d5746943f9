#include "readme_examples.hpp"

#include <charconv>
#include <regex>
#include <stdexcept>

namespace runrig::test {
namespace {

constexpr std::string_view separator = "\x01 runrig example ";  // no command prints this by chance

std::vector<std::string> lines_of(std::string_view text) {
  std::vector<std::string> lines;
  while (!text.empty()) {
    const std::size_t end = text.find('\n');
    lines.emplace_back(text.substr(0, end));
    text.remove_prefix(end == std::string_view::npos ? text.size() : end + 1);
  }
  return lines;
}

[[noreturn]] void complain(std::size_t line, const std::string& what) {
  throw std::runtime_error("line " + std::to_string(line) + ": " + what);
}

std::vector<ShownCommand> commands_of(const std::vector<std::string>& block, std::size_t first_line) {
  std::vector<ShownCommand> commands;
  for (std::size_t i = 0; i < block.size(); ++i) {
    const std::string& line = block[i];
    if (line.rfind("$ ", 0) == 0) {
      commands.push_back({line.substr(2), {}});
    } else if (commands.empty()) {
      complain(first_line + i, "a block of commands begins with \"$ \"");
    } else if (line.rfind("> ", 0) == 0 && commands.back().expected.empty()) {
      commands.back().text += "\n" + line.substr(2);
    } else {
      commands.back().expected.push_back(line);
    }
  }
  if (commands.empty()) complain(first_line, "no command in the block");
  // An empty line between two commands is for the reader.
  for (auto& each : commands) {
    while (!each.expected.empty() && each.expected.back().empty()) each.expected.pop_back();
  }
  return commands;
}

/// The same for lines that mean the same.
std::string normalised(const std::string& line) {
  static const std::regex measured(
      "[0-9]+(\\.[0-9]+)?(e[+-]?[0-9]+)?(\\s?(ns|us|\xc2\xb5s|ms|s|min|h|([kMGT]i?)?B/s|/s|%)|x)(?![A-Za-z0-9])");
  static const std::regex spaces("\\s+");
  std::string text = std::regex_replace(line, measured, "#");
  text = std::regex_replace(text, spaces, " ");
  if (!text.empty() && text.back() == ' ') text.pop_back();
  return text;
}

/// Shell-like matching with "..." as the only wildcard.
bool line_matches(std::string_view expected, std::string_view actual) {
  const std::size_t dots = expected.find("...");
  if (dots == std::string_view::npos) return expected == actual;
  if (actual.substr(0, dots) != expected.substr(0, dots)) return false;
  const std::string_view rest = expected.substr(dots + 3);
  for (std::size_t i = dots; i <= actual.size(); ++i) {
    if (line_matches(rest, actual.substr(i))) return true;
  }
  return false;
}

using Lines = std::vector<std::string>;

/// How many leading lines of the two agree, up to the end of both; `agree` tells whether they agree to the end.
struct Comparison {
  bool agree = false;
  std::size_t expected_at = 0, actual_at = 0;  ///< where the furthest attempt failed
};
Comparison compare(const Lines& expected, std::size_t i, const Lines& actual, std::size_t j) {
  for (; i < expected.size(); ++i, ++j) {
    if (expected[i] == "...") {
      Comparison best{false, i, j};
      for (std::size_t k = j; k <= actual.size(); ++k) {
        const Comparison tried = compare(expected, i + 1, actual, k);
        if (tried.agree) return tried;
        if (tried.expected_at > best.expected_at) best = tried;
      }
      return best;
    }
    if (j >= actual.size() || !line_matches(expected[i], actual[j])) return {false, i, j};
  }
  return {j == actual.size(), i, j};
}

}  // namespace

std::vector<Example> parse_examples(std::string_view page) {
  static const std::regex mark("<!-- (example: run|example: file (\\S+)|not run: .+) -->");
  static const std::regex fence("```(\\S*)\\s*");
  std::vector<Example> examples;
  const auto lines = lines_of(page);
  std::smatch marked;
  std::string pending;  // the mark that waits for its block
  for (std::size_t i = 0; i < lines.size(); ++i) {
    std::smatch match;
    if (std::regex_match(lines[i], match, mark)) {
      if (!pending.empty()) complain(i + 1, "two marks and no block between them");
      pending = match[1];
    } else if (std::regex_match(lines[i], match, fence)) {
      const std::size_t first = i + 1;
      std::size_t end = first;
      while (end < lines.size() && lines[end] != "```") ++end;
      if (end == lines.size()) complain(i + 1, "the block does not end");
      if (pending.empty() && match[1] == "console") complain(i + 1, "a console block without a mark");
      const std::vector<std::string> block(lines.begin() + static_cast<std::ptrdiff_t>(first),
                                           lines.begin() + static_cast<std::ptrdiff_t>(end));
      if (pending == "example: run") {
        examples.push_back({i + 1, {}, {}, commands_of(block, first + 1)});
      } else if (pending.rfind("example: file ", 0) == 0) {
        Example example{i + 1, pending.substr(14), {}, {}};
        for (const auto& line : block) example.file_text += line + "\n";
        examples.push_back(std::move(example));
      }
      pending.clear();
      i = end;
    } else if (!pending.empty() && !lines[i].empty()) {
      complain(i + 1, "a mark stands directly before its block");
    } else if (lines[i].rfind("<!-- example", 0) == 0) {
      complain(i + 1, "there is no such mark");
    }
  }
  if (!pending.empty()) complain(lines.size(), "the last mark has no block");
  return examples;
}

std::string script_of(const std::vector<ShownCommand>& commands) {
  std::string script = "exec 2>&1 </dev/null\n";
  for (const auto& each : commands) {
    // $? of the command; a newline first only in effect, as output need not end with one.
    script += each.text + "\nprintf '\\n" + std::string(separator) + "%d\\n' $?\n";
  }
  return script;
}

std::vector<CommandOutput> separate_outputs(std::string_view output) {
  std::vector<CommandOutput> outputs(1);
  for (auto& line : lines_of(output)) {
    if (line.rfind(separator, 0) != 0) {
      outputs.back().lines.push_back(std::move(line));
      continue;
    }
    const std::string_view code = std::string_view(line).substr(separator.size());
    std::from_chars(code.data(), code.data() + code.size(), outputs.back().exit_code);
    auto& lines = outputs.back().lines;
    while (!lines.empty() && lines.back().empty()) lines.pop_back();
    outputs.emplace_back();
  }
  outputs.pop_back();  // what follows the last separator
  return outputs;
}

std::string difference(const std::vector<std::string>& expected, const std::vector<std::string>& actual) {
  Lines left, right;
  for (const auto& line : expected) left.push_back(normalised(line));
  for (const auto& line : actual) right.push_back(normalised(line));
  const Comparison result = compare(left, 0, right, 0);
  if (result.agree) return {};
  const auto shown = [](const Lines& lines, std::size_t at) { return at < lines.size() ? lines[at] : "(the end)"; };
  return "expected: " + shown(expected, result.expected_at) + "\n  actual: " + shown(actual, result.actual_at);
}

}  // namespace runrig::test
