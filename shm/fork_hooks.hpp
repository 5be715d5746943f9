#pragma once

#include <mutex>

namespace runrig::detail {

/// The two mutexes of this room are held across every fork, so that no child finds one locked by a thread that it does
/// not have. Order: the listeners' first, because a listener may create segments.
[[nodiscard]] std::mutex& participation_mutex();

/// Guards the listeners, and may be taken again by the thread that has it: a listener may close segments. Not a
/// std::recursive_mutex, which belongs to a thread id, so that the forked child of its owner could not release it.
class ListenerLock {
 public:
  ListenerLock();
  ListenerLock(const ListenerLock&) = delete;
  ListenerLock& operator=(const ListenerLock&) = delete;
  ~ListenerLock();
};

}  // namespace runrig::detail
