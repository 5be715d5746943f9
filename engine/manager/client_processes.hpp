#pragma once

#include <sys/types.h>

#include <cstdint>
#include <functional>
#include <map>
#include <mutex>
#include <thread>
#include <vector>

#include "runrig/sync/unique_fd.hpp"

namespace runrig::detail {

/// The processes at the other ends of Unix sockets, each known by a number that no other ever gets. A thread waits for
/// their ends.
class ClientProcesses {
 public:
  explicit ClientProcesses(std::function<void(std::uint64_t process)> ended);
  ClientProcesses(const ClientProcesses&) = delete;
  ClientProcesses& operator=(const ClientProcesses&) = delete;
  ~ClientProcesses();
  /// The number of the process that has connected; 0 if that cannot be known.
  [[nodiscard]] std::uint64_t number_of(int socket);
  /// Whether the process of that number has ended, and that was told.
  [[nodiscard]] bool has_ended(std::uint64_t number);

 private:
  struct Known {
    std::uint64_t number = 0;
    UniqueFd pidfd;
  };
  void watch();

  std::function<void(std::uint64_t)> ended_;
  UniqueFd changed_;  // an eventfd: there is another process, or an end of all
  std::mutex mutex_;
  bool stopping_ = false;
  std::uint64_t last_number_ = 0;
  std::map<pid_t, Known> known_;
  std::thread watcher_;
};

}  // namespace runrig::detail
