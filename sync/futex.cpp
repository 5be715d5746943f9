#include "runrig/sync/futex.hpp"

#include <linux/futex.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <climits>
#include <ctime>

namespace runrig {

FutexWait futex_wait(const std::atomic<std::uint32_t>& word, std::uint32_t expected, Deadline deadline) noexcept {
  timespec until{};
  const timespec* limit = nullptr;
  if (const auto when = deadline.when()) {
    const auto since_boot = std::chrono::duration_cast<std::chrono::nanoseconds>(when->time_since_epoch()).count();
    until.tv_sec = static_cast<time_t>(since_boot / 1'000'000'000);
    until.tv_nsec = static_cast<long>(since_boot % 1'000'000'000);
    limit = &until;
  }
  // FUTEX_WAIT_BITSET takes an absolute time on CLOCK_MONOTONIC, so a wait repeated after a signal ends on time.
  const long result = ::syscall(SYS_futex, &word, FUTEX_WAIT_BITSET, expected, limit, nullptr, FUTEX_BITSET_MATCH_ANY);
  return result == -1 && errno == ETIMEDOUT ? FutexWait::timed_out : FutexWait::woken;
}

int futex_wake(const std::atomic<std::uint32_t>& word, int count) noexcept {
  const long woken = ::syscall(SYS_futex, &word, FUTEX_WAKE, count, nullptr, nullptr, 0);
  return woken > 0 ? static_cast<int>(woken) : 0;
}

int futex_wake_all(const std::atomic<std::uint32_t>& word) noexcept { return futex_wake(word, INT_MAX); }

}  // namespace runrig
