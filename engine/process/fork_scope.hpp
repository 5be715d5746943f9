#pragma once

#include <optional>
#include <string_view>

#include "child.hpp"
#include "own_threads.hpp"
#include "runrig/engine/start_method.hpp"

namespace runrig::detail {

/// All that has to be seen to around a fork of this process: other threads, signals, what is buffered for stdout and
/// stderr.
class ForkScope {
 public:
  /// `attempted` is the head of the message, such as "start process 'Process-1'"; `instead` says what else could be
  /// done. Throws std::logic_error in a thread of the library, and beside threads of the program unless
  /// `other_threads` allows it. Waits until no thread of the library is at work.
  ForkScope(std::string_view attempted, std::string_view instead, OtherThreads other_threads);
  ForkScope(const ForkScope&) = delete;
  ForkScope& operator=(const ForkScope&) = delete;
  /// In the parent. A child never gets there.
  ~ForkScope() = default;

  /// ::fork, with all signals blocked in parent and child: the child lets them through when it has made its own
  /// arrangements. Returns 0 in the child, -1 with errno on failure.
  [[nodiscard]] int fork() noexcept;

 private:
  std::optional<GateClosed> gate_;
  std::optional<SignalsBlocked> signals_;  // declared last, so let through first
};

/// What is buffered for stdout and stderr would be printed by a forked child as well.
void flush_standard_streams() noexcept;

}  // namespace runrig::detail
