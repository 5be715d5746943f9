#pragma once

#include <mutex>

namespace runrig::detail {

/// The two mutexes of this room, held across every fork so that no child finds one locked by a thread that it does not
/// have. Order: the listeners' first, because a listener may create segments.
[[nodiscard]] std::recursive_mutex& listener_mutex();
[[nodiscard]] std::mutex& participation_mutex();

/// While it exists, forks by this thread leave the mutexes alone: the tracker is forked with one of them held.
class ForkWithoutHooks {
 public:
  ForkWithoutHooks() noexcept;
  ForkWithoutHooks(const ForkWithoutHooks&) = delete;
  ForkWithoutHooks& operator=(const ForkWithoutHooks&) = delete;
  ~ForkWithoutHooks();
};

}  // namespace runrig::detail
