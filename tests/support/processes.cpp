#include "processes.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <array>
#include <cstdio>
#include <filesystem>
#include <iterator>

#include "runrig/sync/error.hpp"
#include "runrig/sync/unique_fd.hpp"

namespace runrig::test {

std::string process_file(std::int64_t pid, const std::string& file) {
  const std::string path = "/proc/" + std::to_string(pid) + "/" + file;
  const UniqueFd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  std::string text;
  if (!fd) return text;
  std::array<char, 8192> piece{};
  for (;;) {
    const auto got = retry_on_eintr([&] { return ::read(fd.get(), piece.data(), piece.size()); });
    if (got == -1) return {};
    if (got == 0) return text;
    text.append(piece.data(), static_cast<std::size_t>(got));
  }
}

ProcessState process_state(std::int64_t pid) {
  const std::string text = process_file(pid, "stat");
  ProcessState found;
  const auto open = text.find('(');
  const auto close = text.rfind(')');  // the name may hold anything
  if (open == std::string::npos || close == std::string::npos) return found;
  if (std::sscanf(text.c_str() + close + 1, " %c %d", &found.state, &found.parent) != 2) return {};
  found.name = text.substr(open + 1, close - open - 1);
  return found;
}

std::map<pid_t, ProcessState> all_processes() {
  std::map<pid_t, ProcessState> found;
  for (const auto& each : std::filesystem::directory_iterator("/proc")) {
    const std::string name = each.path().filename();
    if (name.find_first_not_of("0123456789") != std::string::npos) continue;
    ProcessState state = process_state(std::stoi(name));
    if (state.state != '?') found.emplace(std::stoi(name), std::move(state));
  }
  return found;
}

std::vector<pid_t> children_of(pid_t parent) {
  std::vector<pid_t> children;
  for (const auto& [pid, state] : all_processes()) {
    if (state.parent == parent) children.push_back(pid);
  }
  return children;
}
std::vector<pid_t> own_children() { return children_of(::getpid()); }

std::size_t open_descriptors() {
  const auto all =
      std::distance(std::filesystem::directory_iterator("/proc/self/fd"), std::filesystem::directory_iterator());
  return static_cast<std::size_t>(all) - 1;  // the one that reads the directory
}

}  // namespace runrig::test
