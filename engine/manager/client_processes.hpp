#pragma once

#include <sys/types.h>

#include <cstdint>
#include <functional>
#include <map>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "runrig/sync/unique_fd.hpp"

namespace runrig::detail {

/// The processes at the other ends of connections, each known by a number that no other ever gets. Of a Unix socket the
/// kernel says whose it is, and a thread waits for the processes' ends; of another one our own clients say it: each
/// names its *session*, which ends with a connection that it keeps for that.
class ClientProcesses {
 public:
  explicit ClientProcesses(std::function<void(std::uint64_t process)> ended);
  ClientProcesses(const ClientProcesses&) = delete;
  ClientProcesses& operator=(const ClientProcesses&) = delete;
  ~ClientProcesses();
  /// The number of the process that has connected; 0 if that cannot be known.
  [[nodiscard]] std::uint64_t number_of(int socket);
  /// The number of the process of that session; 0 if there is none. Begun once, ended once.
  [[nodiscard]] std::uint64_t number_of_session(const std::string& session);
  /// False if there is one of that name.
  [[nodiscard]] bool begin_session(const std::string& session);
  void end_session(const std::string& session);
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
  std::map<std::string, std::uint64_t> sessions_;
  std::thread watcher_;
};

}  // namespace runrig::detail
