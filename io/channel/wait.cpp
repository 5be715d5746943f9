#include "runrig/channel/wait.hpp"

#include <poll.h>

#include <string>

#include "runrig/sync/error.hpp"
#include "runrig/sync/poll.hpp"

namespace runrig {

std::vector<int> wait(std::span<const Waitable> waitables, std::chrono::nanoseconds timeout) {
  std::vector<pollfd> entries;
  entries.reserve(waitables.size());
  for (const Waitable each : waitables) entries.push_back({each.fileno(), POLLIN, 0});
  detail::poll_until(entries, Deadline::after(timeout));
  std::vector<int> ready;
  for (const pollfd& each : entries) {
    if ((each.revents & POLLNVAL) != 0) {
      throw Error(std::errc::bad_file_descriptor, "wait for descriptor", std::to_string(each.fd));
    }
    if (each.revents != 0) ready.push_back(each.fd);
  }
  return ready;
}

}  // namespace runrig
