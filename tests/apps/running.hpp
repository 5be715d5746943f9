#pragma once

#include <chrono>
#include <map>
#include <string>
#include <vector>

/// The command while it runs.
namespace runrig::test {

/// The living descendants of `root`, and their names.
[[nodiscard]] std::map<int, std::string> descendants(int root);

/// The command, running in a process group of its own, which is killed at the end of the scope.
class Running {
 public:
  /// `environment` are further variables, as NAME=VALUE. Standard output goes nowhere; standard error to the file
  /// `error_file`, if it is named.
  explicit Running(std::vector<std::string> arguments, std::vector<std::string> environment = {},
                   const std::string& error_file = {});
  Running(const Running&) = delete;
  Running& operator=(const Running&) = delete;
  ~Running();
  [[nodiscard]] int pid() const { return pid_; }
  /// Exit code, or minus the signal. A command that does not end fails the test.
  int join(std::chrono::milliseconds limit = std::chrono::seconds(60));

 private:
  int pid_ = -1;
};

}  // namespace runrig::test
