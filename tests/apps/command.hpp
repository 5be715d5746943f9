#pragma once

#include <chrono>
#include <string>
#include <vector>

#include "support.hpp"

namespace runrig::test {

/// The path of the `runrig` command under test.
[[nodiscard]] std::string runrig_command();

/// Runs `runrig` with these arguments.
CommandResult runrig(std::vector<std::string> arguments, std::chrono::milliseconds limit = std::chrono::seconds(120),
                     const std::vector<std::string>& extra_environment = {});

/// Expects that a command failed with one line on stderr, nothing else, that has all of `parts` in it.
void expect_one_line(const CommandResult& result, int exit_code, const std::vector<std::string>& parts);

/// A small file made by this project's own generator: data/name.
[[nodiscard]] std::string sample(std::string_view name);

}  // namespace runrig::test
