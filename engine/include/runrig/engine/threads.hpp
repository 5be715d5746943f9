#pragma once

#include <cstdint>
#include <memory>
#include <stop_token>

namespace runrig {

/// Threads of this process that run parallel_*: a oneTBB arena. The same results, bit for bit, as a Pool gives, without
/// isolation: a kernel that crashes takes the process with it, and one that throws passes its own exception on.
///
/// The threads start with the first parallel_* and stay with the process. From then on no Pool is made in it unless the
/// caller insists (see PoolOptions::other_threads): make pools first. Thread-safe; a kernel may use the same
/// Threads again.
class Threads {
 public:
  /// At most this many threads at work at a time, the calling one among them; 0 takes usable_cpu_count(). oneTBB never
  /// uses more than the machine has CPUs. Throws logic_error for a negative number.
  explicit Threads(int threads = 0);
  Threads(Threads&&) noexcept;
  Threads& operator=(Threads&&) noexcept;
  ~Threads();

  [[nodiscard]] int size() const noexcept { return size_; }

  /// Calls `body(closure, slice)` for each slice below `slices`, and returns when all is done. Throws what the lowest
  /// of the slices that threw has thrown, once all that had begun are done; the others are not begun then. Throws
  /// Cancelled if `stop` was requested before all were begun; logic_error in a worker process.
  void run(std::uint32_t slices, void (*body)(const void* closure, std::uint32_t slice), const void* closure,
           const std::stop_token& stop = {});

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
  int size_ = 0;
};

}  // namespace runrig
