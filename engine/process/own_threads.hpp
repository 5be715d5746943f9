#pragma once

/// The library's own threads, which call callbacks, and forks beside them.
///
/// A fork copies only the thread that forks; what another one was doing at that moment stays half-done in the child. Of
/// the program's threads we cannot know what they do, and forks are refused beside them unless the caller allows it.
/// Our own have a gate: each is *inside* whenever it may hold anything (a lock, memory being allocated, a callback
/// under way), and outside only where it sleeps in the kernel. Who forks closes the gate while nobody is inside.
namespace runrig::detail {

/// For the life of a thread of ours; begins inside the gate.
class OwnThread {
 public:
  OwnThread() noexcept;
  OwnThread(const OwnThread&) = delete;
  OwnThread& operator=(const OwnThread&) = delete;
  ~OwnThread();
};

/// Around a sleep of the calling thread: if it is one of ours, outside the gate. Nothing may be held there.
class OutsideGate {
 public:
  OutsideGate() noexcept;
  OutsideGate(const OutsideGate&) = delete;
  OutsideGate& operator=(const OutsideGate&) = delete;
  ~OutsideGate();
};

/// Holds the gate closed around a fork.
class GateClosed {
 public:
  /// Waits until nobody is inside. Throws std::logic_error in a thread of ours, which is.
  GateClosed();
  struct Try {};
  /// Does not wait: see operator bool.
  explicit GateClosed(Try) noexcept;
  GateClosed(const GateClosed&) = delete;
  GateClosed& operator=(const GateClosed&) = delete;
  ~GateClosed();
  [[nodiscard]] explicit operator bool() const noexcept { return closed_; }

 private:
  bool closed_ = false;
};

/// Whether the calling thread is one of ours.
[[nodiscard]] bool in_own_thread() noexcept;

/// How many threads this process has that are not ours, the calling one included (as is one of ours if it calls).
[[nodiscard]] int program_thread_count();

}  // namespace runrig::detail
