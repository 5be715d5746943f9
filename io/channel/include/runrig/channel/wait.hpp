#pragma once

#include <chrono>
#include <concepts>
#include <initializer_list>
#include <ranges>
#include <span>
#include <vector>

#include "runrig/channel/connection.hpp"
#include "runrig/sync/clock.hpp"

namespace runrig {

/// What wait() waits for: a connection, or a descriptor that one reads from, such as a process's sentinel or a socket.
class Waitable {
 public:
  Waitable(int descriptor) noexcept : descriptor_(descriptor) {}  // NOLINT(google-explicit-constructor)
  /// Throws std::logic_error if it is closed.
  Waitable(const Connection& connection) : descriptor_(connection.fileno()) {}  // NOLINT(google-explicit-constructor)
  [[nodiscard]] int fileno() const noexcept { return descriptor_; }

 private:
  int descriptor_;
};

/// The descriptors of those that are ready, in their order, as soon as there is one; none at `timeout`. Python's
/// `multiprocessing.connection.wait`.
///
///     const auto ready = runrig::wait({connection, process.sentinel()}, 10s);   // connection.fileno() may be in it
///
/// A connection is ready when there is something to receive, or its end; a process's sentinel when the process has
/// ended; a socket when it can be read from or accepts somebody. Throws Error bad_file_descriptor.
[[nodiscard]] std::vector<int> wait(std::span<const Waitable> waitables, std::chrono::nanoseconds timeout = forever);
[[nodiscard]] inline std::vector<int> wait(std::initializer_list<Waitable> waitables,
                                           std::chrono::nanoseconds timeout = forever) {
  return wait(std::span<const Waitable>(waitables.begin(), waitables.size()), timeout);
}
/// Any range of connections or descriptors.
template <std::ranges::input_range Range>
requires(std::convertible_to<std::ranges::range_reference_t<Range>, Waitable> &&
         !std::convertible_to<Range, std::span<const Waitable>>)
    [[nodiscard]] std::vector<int> wait(Range&& range, std::chrono::nanoseconds timeout = forever) {
  std::vector<Waitable> waitables;
  for (auto&& each : range) waitables.emplace_back(each);
  return wait(std::span<const Waitable>(waitables), timeout);
}

}  // namespace runrig
