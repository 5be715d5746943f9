#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <thread>

namespace runrig::test {

/// Watches the processes that this one starts, and those that they start, while it lives: for tests that bound what a
/// command may use. One at a time.
class ResourceWatch {
 public:
  ResourceWatch();
  ResourceWatch(const ResourceWatch&) = delete;
  ResourceWatch& operator=(const ResourceWatch&) = delete;
  ~ResourceWatch() = default;  // the thread is stopped and joined first: it is the last member

  /// The most private and shared memory (no file's pages) that all of them had at once, as seen every few
  /// milliseconds.
  [[nodiscard]] std::uint64_t peak_bytes() const;
  /// The most resident memory that any one process of those waited for had, in this process's whole life: the
  /// kernel's own number, so no moment is missed.
  [[nodiscard]] static std::uint64_t largest_process_bytes();
  /// CPU time of those waited for since the watch began.
  [[nodiscard]] std::chrono::duration<double> cpu_time() const;

 private:
  std::chrono::duration<double> cpu_before_;
  std::atomic<std::uint64_t> peak_bytes_{0};
  std::jthread sampler_;
};

}  // namespace runrig::test
