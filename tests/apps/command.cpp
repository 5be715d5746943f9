#include "command.hpp"

#include <algorithm>

#include "source_directory.hpp"

namespace runrig::test {

std::string runrig_command() { return RUNRIG_COMMAND; }

CommandResult runrig(std::vector<std::string> arguments, std::chrono::milliseconds limit,
                     const std::vector<std::string>& extra_environment) {
  arguments.insert(arguments.begin(), runrig_command());
  return run_command(arguments, {}, limit, extra_environment);
}

void expect_one_line(const CommandResult& result, int exit_code, const std::vector<std::string>& parts) {
  EXPECT_EQ(result.exit_code, exit_code) << result.err;
  EXPECT_EQ(std::count(result.err.begin(), result.err.end(), '\n'), 1) << result.err;
  EXPECT_TRUE(result.err.starts_with("runrig: ")) << result.err;
  for (const auto& part : parts) EXPECT_NE(result.err.find(part), std::string::npos) << part << " in: " << result.err;
}

std::string sample(std::string_view name) { return (data_directory() / name).string(); }

}  // namespace runrig::test
