#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <type_traits>

#include "runrig/sync/address_free.hpp"
#include "runrig/sync/clock.hpp"

namespace runrig {

/// A flag that processes and threads set, clear and wait for: Python's multiprocessing.Event.
///
/// Lies in memory shared between processes, at any address; all-zero bytes are an Event that is not set. 4 bytes, no
/// destructor to run, neither copied nor moved.
///
/// set() releases everybody who waits at that moment, also if clear() follows at once. An Event has no owner, so nobody
/// notices when the process dies that should set it: give wait() a timeout. A process killed while it waits leaves
/// nothing behind; one killed in set() has set it or not, and if it has, all who wait know within 50 ms.
/// What was written before set() is seen by who waited for it, or found it set. Timeouts as in Lock.
class Event {
 public:
  constexpr Event() noexcept = default;
  Event(const Event&) = delete;
  Event& operator=(const Event&) = delete;

  [[nodiscard]] bool is_set() const noexcept;
  void set() noexcept;
  void clear() noexcept;

  /// Waits until it is set, or was set meanwhile. Returns true, as Python's does.
  bool wait() const noexcept { return wait_before(Deadline()); }
  /// False if it was not set within `timeout`.
  template <class Rep, class Period>
  bool wait(std::chrono::duration<Rep, Period> timeout) const {
    return wait_before(Deadline::after(timeout));
  }
  bool wait_before(Deadline deadline) const noexcept;

 private:
  // Bit 0: set. Bit 1: there may be sleepers. Above: how often it was set, so that a sleeper does not miss a set()
  // that clear() followed. Mutable: who waits raises the flag.
  mutable std::atomic<std::uint32_t> word_{0};
};

template <>
inline constexpr bool is_address_free<Event> = true;

static_assert(std::is_standard_layout_v<Event> && sizeof(Event) == 4, "separately built processes share it");
static_assert(std::is_trivially_destructible_v<Event>, "the memory may go without notice");

}  // namespace runrig
