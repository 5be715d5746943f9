#pragma once

#include <memory>

namespace runrig::detail {

/// oneTBB's threads. Apart from the rest because this source alone is never compiled with the thread sanitizer:
/// oneTBB's library is not, so how its templates hand a task from thread to thread would look like races. What is
/// called has to order its own memory accesses.
class ThreadArena {
 public:
  explicit ThreadArena(int threads);
  ~ThreadArena();
  /// Calls `loop(context)` `loops` times, on several threads if there are any free; returns when all have returned.
  void run(int loops, void (*loop)(void* context) noexcept, void* context);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace runrig::detail
