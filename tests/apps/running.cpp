#include "running.hpp"

#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <set>

#include "command.hpp"

namespace runrig::test {

namespace fs = std::filesystem;

std::map<int, std::pair<int, std::string>> all_processes() {
  std::map<int, std::pair<int, std::string>> found;
  for (const auto& each : fs::directory_iterator("/proc")) {
    const std::string name = each.path().filename().string();
    if (name.find_first_not_of("0123456789") != std::string::npos) continue;
    std::ifstream file(each.path() / "stat");
    const std::string text((std::istreambuf_iterator<char>(file)), {});
    const auto open = text.find('(');
    const auto close = text.rfind(')');
    if (open == std::string::npos || close == std::string::npos || close + 4 > text.size()) continue;
    if (text[close + 2] == 'Z') continue;
    found[std::stoi(name)] = {std::atoi(text.c_str() + close + 4), text.substr(open + 1, close - open - 1)};
  }
  return found;
}

std::map<int, std::string> descendants(int root) {
  const auto all = all_processes();
  std::set<int> family{root};
  for (bool grown = true; grown;) {
    grown = false;
    for (const auto& [pid, parent_and_name] : all) {
      if (family.contains(parent_and_name.first)) grown = family.insert(pid).second || grown;
    }
  }
  std::map<int, std::string> result;
  for (const int pid : family) {
    if (pid != root && all.contains(pid)) result[pid] = all.at(pid).second;
  }
  return result;
}

Running::Running(std::vector<std::string> arguments, std::vector<std::string> environment,
                 const std::string& error_file) {
  arguments.insert(arguments.begin(), runrig_command());
  std::vector<char*> argv;
  for (auto& each : arguments) argv.push_back(each.data());
  argv.push_back(nullptr);
  pid_ = check_errno(::fork(), "fork", "runrig");
  if (pid_ == 0) {
    ::setpgid(0, 0);
    for (auto& each : environment) ::putenv(each.data());
    if (::freopen("/dev/null", "w", stdout) == nullptr) ::_exit(126);
    if (!error_file.empty() && ::freopen(error_file.c_str(), "w", stderr) == nullptr) ::_exit(126);
    ::execv(argv[0], argv.data());
    ::_exit(127);
  }
  ::setpgid(pid_, pid_);
}

Running::~Running() {
  if (pid_ > 0) {
    ::kill(-pid_, SIGKILL);
    ::waitpid(pid_, nullptr, 0);
  }
}

int Running::join(std::chrono::milliseconds limit) {
  int status = 0;
  if (!eventually([&] { return ::waitpid(pid_, &status, WNOHANG) == pid_; }, limit)) {
    ADD_FAILURE() << "runrig hangs";
    return -999;
  }
  pid_ = -1;
  return WIFSIGNALED(status) ? -WTERMSIG(status) : WEXITSTATUS(status);
}

}  // namespace runrig::test
