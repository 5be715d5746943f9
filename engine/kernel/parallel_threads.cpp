#include <algorithm>
#include <atomic>
#include <exception>
#include <mutex>
#include <stdexcept>
#include <string>

#if defined(__SANITIZE_THREAD__)
#include <sanitizer/tsan_interface.h>
#endif

#include "parallel_arena.hpp"
#include "runrig/engine/machine.hpp"
#include "runrig/engine/pool.hpp"
#include "runrig/engine/threads.hpp"
#include "runrig/sync/error.hpp"

namespace runrig {
namespace {

int checked_size(int threads) {
  if (threads < 0) throw std::logic_error("make Threads: " + std::to_string(threads) + " of them");
  return threads == 0 ? usable_cpu_count() : threads;
}

// oneTBB orders what comes before run() before the loops, and the loops before what follows it. Its library is not
// built with the thread sanitizer, which has to be told.
#if defined(__SANITIZE_THREAD__)
void tell_released(void* at) { __tsan_release(at); }
void tell_acquired(void* at) { __tsan_acquire(at); }
#else
void tell_released(void* /*at*/) {}
void tell_acquired(void* /*at*/) {}
#endif

// One call of run(). Threads take slices from a counter, so none waits for another's slow slice. Its atomics are all
// relaxed: oneTBB does the ordering.
class Job {
 public:
  Job(std::uint32_t slices, void (*body)(const void*, std::uint32_t), const void* closure, const std::stop_token& stop)
      : slices_(slices), body_(body), closure_(closure), stop_(stop) {}

  void work() noexcept {
    for (;;) {
      const std::uint32_t slice = next_.fetch_add(1, std::memory_order_relaxed);
      if (slice >= slices_) break;
      // A slice that was taken and is not begun is missing from done_.
      if (ended_.load(std::memory_order_relaxed) || stop_.stop_requested()) break;
      try {
        body_(closure_, slice);
      } catch (...) {
        keep(slice, std::current_exception());
      }
      done_.fetch_add(1, std::memory_order_relaxed);
    }
  }
  void finish() {
    if (thrown_) std::rethrow_exception(thrown_);
    if (done_.load(std::memory_order_relaxed) != slices_) throw Cancelled("run a kernel on threads");
  }

 private:
  void keep(std::uint32_t slice, std::exception_ptr thrown) noexcept {
    const std::lock_guard guard(mutex_);
    if (!thrown_ || slice < thrown_by_) {
      thrown_ = std::move(thrown);
      thrown_by_ = slice;
    }
    ended_.store(true, std::memory_order_relaxed);
  }

  const std::uint32_t slices_;
  void (*const body_)(const void*, std::uint32_t);
  const void* const closure_;
  const std::stop_token& stop_;
  std::atomic<std::uint32_t> next_{0};
  std::atomic<std::uint32_t> done_{0};
  std::atomic<bool> ended_{false};
  std::mutex mutex_;  // guards the two below, among the loops
  std::exception_ptr thrown_;
  std::uint32_t thrown_by_ = 0;
};

}  // namespace

struct Threads::Impl {
  explicit Impl(int threads) : arena(threads) {}
  detail::ThreadArena arena;
};

Threads::Threads(int threads) : impl_(std::make_unique<Impl>(checked_size(threads))), size_(checked_size(threads)) {}
Threads::Threads(Threads&&) noexcept = default;
Threads& Threads::operator=(Threads&&) noexcept = default;
Threads::~Threads() = default;

void Threads::run(std::uint32_t slices, void (*body)(const void* closure, std::uint32_t slice), const void* closure,
                  const std::stop_token& stop) {
  if (in_worker_process()) {
    throw std::logic_error("run a kernel on threads: a pool's worker has one thread; kernels do not nest there");
  }
  Job job(slices, body, closure, stop);
  const int loops = static_cast<int>(std::min<std::uint32_t>(static_cast<std::uint32_t>(size_), slices));
  if (loops <= 1) {
    job.work();  // no thread need be started for it
  } else {
    const auto loop = [](void* context) noexcept {
      tell_acquired(context);
      static_cast<Job*>(context)->work();
      tell_released(context);
    };
    tell_released(&job);
    impl_->arena.run(loops, loop, &job);
    tell_acquired(&job);
  }
  job.finish();
}

}  // namespace runrig
