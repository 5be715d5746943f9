#include "runrig/sync/poll.hpp"

#include <algorithm>
#include <cerrno>
#include <chrono>

#include "runrig/sync/error.hpp"

namespace runrig::detail {
namespace {

bool wait_for(int fd, short events, Deadline deadline) {
  pollfd entry{fd, events, 0};
  poll_until({&entry, 1}, deadline);
  return entry.revents != 0;
}

}  // namespace

void poll_until(std::span<pollfd> entries, Deadline deadline) {
  for (;;) {
    const auto left = std::chrono::ceil<std::chrono::milliseconds>(
        std::min<std::chrono::nanoseconds>(deadline.remaining(), std::chrono::hours(1)));
    const int ready = ::poll(entries.data(), entries.size(), static_cast<int>(left.count()));
    if (ready > 0) return;
    if (ready == -1 && errno != EINTR) check_errno(ready, "poll", "descriptors");
    if (deadline.passed()) return;
  }
}

bool wait_readable(int fd, Deadline deadline) { return wait_for(fd, POLLIN, deadline); }
bool wait_writable(int fd, Deadline deadline) { return wait_for(fd, POLLOUT, deadline); }

}  // namespace runrig::detail
