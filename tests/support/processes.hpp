#pragma once

#include <sys/types.h>

#include <cstdint>
#include <map>
#include <string>
#include <vector>

/// What the kernel says of processes, which come and go while they are looked at.
namespace runrig::test {

/// The file /proc/PID/`file`; empty if the process is gone, before the file was opened or after. (A std::ifstream
/// throws where a read fails with ESRCH.)
[[nodiscard]] std::string process_file(std::int64_t pid, const std::string& file);

struct ProcessState {
  char state = '?';  // as proc(5) says
  pid_t parent = 0;
  std::string name{};
  [[nodiscard]] bool lives() const noexcept { return state != 'Z' && state != 'X' && state != '?'; }
};
/// A zombie's as well; the state '?' if there is no such process.
[[nodiscard]] ProcessState process_state(std::int64_t pid);
/// Every process, zombies as well.
[[nodiscard]] std::map<pid_t, ProcessState> all_processes();

/// False for a process that is gone, or a zombie.
[[nodiscard]] inline bool process_lives(std::int64_t pid) { return process_state(pid).lives(); }

/// Zombies as well.
[[nodiscard]] std::vector<pid_t> children_of(pid_t parent);
[[nodiscard]] std::vector<pid_t> own_children();

/// Of this process.
[[nodiscard]] std::size_t open_descriptors();

}  // namespace runrig::test
