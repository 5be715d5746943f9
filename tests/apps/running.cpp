#include "running.hpp"

#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <map>
#include <set>

#include "command.hpp"
#include "processes.hpp"

namespace runrig::test {

std::map<int, std::string> descendants(int root) {
  std::map<pid_t, ProcessState> all = all_processes();
  std::erase_if(all, [](const auto& each) { return !each.second.lives(); });
  std::set<int> family{root};
  for (bool grown = true; grown;) {
    grown = false;
    for (const auto& [pid, process] : all) {
      if (family.contains(process.parent)) grown = family.insert(pid).second || grown;
    }
  }
  std::map<int, std::string> result;
  for (const int pid : family) {
    if (pid != root && all.contains(pid)) result[pid] = all.at(pid).name;
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
