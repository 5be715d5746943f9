#pragma once

#include <dirent.h>
#include <signal.h>
#include <unistd.h>

#include <atomic>
#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include "runrig/engine/arena.hpp"
#include "runrig/engine/pool.hpp"
#include "support.hpp"

/// What the tests of pools share.
namespace runrig::test {

/// An array in the pool's arena, at one address in all processes.
template <class T>
class ArenaArray {
 public:
  ArenaArray(Arena& arena, std::size_t count) : block_(arena.allocate(count * sizeof(T))), count_(count) {
    for (std::size_t i = 0; i < count; ++i) new (data() + i) T{};
  }
  [[nodiscard]] T* data() const { return reinterpret_cast<T*>(block_.data()); }
  [[nodiscard]] T& operator[](std::size_t i) const { return data()[i]; }
  [[nodiscard]] std::size_t size() const { return count_; }

 private:
  ArenaBlock block_;
  std::size_t count_;
};

/// False for a process that is gone, or a zombie.
inline bool process_lives(pid_t pid) {
  std::ifstream file("/proc/" + std::to_string(pid) + "/stat");
  std::string text;
  if (!std::getline(file, text)) return false;
  const auto end = text.rfind(')');
  return end != std::string::npos && end + 2 < text.size() && text[end + 2] != 'Z' && text[end + 2] != 'X';
}

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

inline std::size_t open_descriptors(const std::string& pid = "self") {
  std::size_t count = 0;
  for (const auto& entry : std::filesystem::directory_iterator("/proc/" + pid + "/fd")) {
    (void)entry;
    ++count;
  }
  return pid == "self" ? count - 1 : count;  // the one that reads the directory
}

}  // namespace runrig::test

#if defined(__SANITIZE_THREAD__)
// The thread sanitizer keeps a thread of its own in each process, and sees nothing across processes anyway.
#define RUNRIG_NEED_FORKS() GTEST_SKIP() << "pools fork, which the thread sanitizer does not follow"
#else
#define RUNRIG_NEED_FORKS() static_cast<void>(0)
#endif
