#pragma once

#include <atomic>
#include <cstdint>

#include "runrig/sync/clock.hpp"

namespace runrig {

/// The size that keeps two values from sharing a cache line. Our own constant: the library's may vary with flags,
/// and separately built processes must agree.
inline constexpr std::size_t cache_line = 64;

static_assert(std::atomic<std::uint32_t>::is_always_lock_free, "a locking atomic locks per process");
static_assert(sizeof(std::atomic<std::uint32_t>) == sizeof(std::uint32_t), "the kernel reads the bare word");

/// How a futex wait ended. `woken` includes spurious ends (a signal, a changed word): callers look again.
enum class FutexWait { woken, timed_out };

/// Sleeps while `word` holds `expected`, until woken or until `deadline`. The word may lie in memory shared between
/// processes, at a different address in each (never the private kind of futex).
FutexWait futex_wait(const std::atomic<std::uint32_t>& word, std::uint32_t expected, Deadline deadline) noexcept;

/// Wakes at most `count` sleepers of all processes; returns how many there were.
int futex_wake(const std::atomic<std::uint32_t>& word, int count) noexcept;
int futex_wake_all(const std::atomic<std::uint32_t>& word) noexcept;

}  // namespace runrig
