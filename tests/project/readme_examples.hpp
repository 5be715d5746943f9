#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

/// The examples of a Markdown page that a test can run, so that they cannot rot.
///
/// A comment line before a fenced block says what it is:
///
///     <!-- example: run -->             commands after "$ " (continued after "> "), each followed by what it prints
///     <!-- example: file NAME -->       the block is the file NAME, used by later commands
///     <!-- not run: REASON -->          the block is left alone
///
/// A block in the language `console` without such a line is an error: somebody forgot.
namespace runrig::test {

struct ShownCommand {
  std::string text;                   ///< what is typed; several lines if continued
  std::vector<std::string> expected;  ///< the lines shown below it
};

struct Example {
  std::size_t line = 0;   ///< of the block's fence, from 1
  std::string file_name;  ///< a file to be written; empty for commands
  std::string file_text;
  std::vector<ShownCommand> commands;
};

/// The marked blocks in order. Throws std::runtime_error that names the line if the marks make no sense.
[[nodiscard]] std::vector<Example> parse_examples(std::string_view page);

/// A bash program that runs the commands one after another in one shell, standard error among the output, and after
/// each writes a line that separate_outputs() finds.
[[nodiscard]] std::string script_of(const std::vector<ShownCommand>& commands);

struct CommandOutput {
  std::vector<std::string> lines;
  int exit_code = 0;
};
/// What each command of script_of() printed; fewer than commands if the shell ended early.
[[nodiscard]] std::vector<CommandOutput> separate_outputs(std::string_view output);

/// Empty if `actual` is what is shown, else the first difference. The rules:
/// - a line "..." stands for any number of lines, "..." within a line for any text;
/// - numbers before a unit of time, rate or ratio (3.1 ms, 2 GB/s, 12x) are not compared, nor those in a percentage;
/// - spaces are compared as one, and those at the end of a line not at all.
[[nodiscard]] std::string difference(const std::vector<std::string>& expected, const std::vector<std::string>& actual);

}  // namespace runrig::test
