#include "client_processes.hpp"

#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <utility>

#include "../process/child.hpp"
#include "runrig/engine/log.hpp"
#include "runrig/sync/error.hpp"
#include "runrig/sync/poll.hpp"

namespace runrig::detail {

ClientProcesses::ClientProcesses(std::function<void(std::uint64_t)> ended)
    : ended_(std::move(ended)),
      changed_(check_errno(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK), "watch clients of", "manager")),
      watcher_([this] { watch(); }) {}

ClientProcesses::~ClientProcesses() {
  {
    const std::scoped_lock guard(mutex_);
    stopping_ = true;
  }
  const std::uint64_t one = 1;
  (void)retry_on_eintr([&] { return ::write(changed_.get(), &one, sizeof one); });
  watcher_.join();
}

std::uint64_t ClientProcesses::number_of(int socket) {
  ucred peer{};
  socklen_t size = sizeof peer;
  // Of TCP the kernel says nothing; of a process of another namespace the pid is 0.
  if (::getsockopt(socket, SOL_SOCKET, SO_PEERCRED, &peer, &size) != 0 || peer.pid == 0) return 0;
  const std::scoped_lock guard(mutex_);
  const auto known = known_.find(peer.pid);
  if (known != known_.end() && !wait_for_end(known->second.pidfd, Deadline::after(std::chrono::nanoseconds(0)))) {
    return known->second.number;
  }
  Known fresh;
  try {
    fresh.pidfd = open_pidfd(peer.pid);
  } catch (const Error& error) {
    if (error.code() != std::errc::no_such_process) return 0;
    fresh.pidfd = gone_process_fd("client");  // gone since: what it asked for is given back at once
  }
  fresh.number = ++last_number_;
  const std::uint64_t number = fresh.number;
  if (known != known_.end()) {
    // The former process of that pid has ended, and the watcher has not seen it yet.
    const std::uint64_t former = known->second.number;
    known->second = std::move(fresh);
    ended_(former);
  } else {
    known_.emplace(peer.pid, std::move(fresh));
  }
  const std::uint64_t one = 1;
  (void)retry_on_eintr([&] { return ::write(changed_.get(), &one, sizeof one); });
  return number;
}

std::uint64_t ClientProcesses::number_of_session(const std::string& session) {
  const std::scoped_lock guard(mutex_);
  const auto found = sessions_.find(session);
  return found == sessions_.end() ? 0 : found->second;
}

bool ClientProcesses::begin_session(const std::string& session) {
  const std::scoped_lock guard(mutex_);
  return sessions_.try_emplace(session, ++last_number_).second;
}

void ClientProcesses::end_session(const std::string& session) {
  std::uint64_t number = 0;
  {
    const std::scoped_lock guard(mutex_);
    const auto found = sessions_.find(session);
    if (found == sessions_.end()) return;
    number = found->second;
    sessions_.erase(found);
  }
  ended_(number);
}

bool ClientProcesses::has_ended(std::uint64_t number) {
  const std::scoped_lock guard(mutex_);
  return std::none_of(known_.begin(), known_.end(), [&](const auto& each) { return each.second.number == number; }) &&
         std::none_of(sessions_.begin(), sessions_.end(), [&](const auto& each) { return each.second == number; });
}

void ClientProcesses::watch() {
  for (;;) {
    std::vector<pollfd> entries{{changed_.get(), POLLIN, 0}};
    std::vector<std::pair<pid_t, std::uint64_t>> watched{{0, 0}};
    {
      const std::scoped_lock guard(mutex_);
      if (stopping_) return;
      for (const auto& [pid, process] : known_) {
        entries.push_back({process.pidfd.get(), POLLIN, 0});
        watched.emplace_back(pid, process.number);
      }
    }
    try {
      poll_until(entries, Deadline());
    } catch (const Error& error) {
      get_logger().warning(error.what());  // no memory: later
      std::this_thread::sleep_for(std::chrono::milliseconds(100));
      continue;
    }
    std::uint64_t count = 0;
    if (entries[0].revents != 0) (void)retry_on_eintr([&] { return ::read(changed_.get(), &count, sizeof count); });
    for (std::size_t i = 1; i < entries.size(); ++i) {
      if (entries[i].revents == 0) continue;
      {
        const std::scoped_lock guard(mutex_);
        const auto known = known_.find(watched[i].first);
        // Its place may have another process by now, whose former one was told of then.
        if (known == known_.end() || known->second.number != watched[i].second) continue;
        known_.erase(known);
      }
      ended_(watched[i].second);
    }
  }
}

}  // namespace runrig::detail
