#pragma once

#include <sys/types.h>
#include <unistd.h>

#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

/// What the kernel says of processes.
namespace runrig::test {

/// False for a process that is gone, or a zombie.
inline bool process_lives(std::int64_t pid) {
  std::ifstream file("/proc/" + std::to_string(pid) + "/stat");
  std::string text;
  if (!std::getline(file, text)) return false;
  const auto end = text.rfind(')');
  return end != std::string::npos && end + 2 < text.size() && text[end + 2] != 'Z' && text[end + 2] != 'X';
}

/// Zombies as well.
inline std::vector<pid_t> children_of(pid_t parent) {
  std::vector<pid_t> children;
  for (const auto& entry : std::filesystem::directory_iterator("/proc")) {
    const std::string name = entry.path().filename();
    if (name.find_first_not_of("0123456789") != std::string::npos) continue;
    std::ifstream file(entry.path() / "stat");
    std::string text;
    if (!std::getline(file, text)) continue;
    pid_t found = 0;
    char state = 0;
    const auto end = text.rfind(')');
    if (end == std::string::npos || std::sscanf(text.c_str() + end + 1, " %c %d", &state, &found) != 2) continue;
    if (found == parent) children.push_back(std::stoi(name));
  }
  return children;
}
inline std::vector<pid_t> own_children() { return children_of(::getpid()); }

/// Of this process.
inline std::size_t open_descriptors() {
  std::size_t count = 0;
  for (const auto& entry : std::filesystem::directory_iterator("/proc/self/fd")) {
    (void)entry;
    ++count;
  }
  return count - 1;  // the one that reads the directory
}

}  // namespace runrig::test
