#pragma once

#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <string_view>

#include "runrig/shm/anonymous_memory.hpp"
#include "runrig/sync/futex.hpp"
#include "runrig/sync/unique_fd.hpp"

namespace runrig::bench {

/// The sum of `values`, in eight lanes, so that memory is the limit and not the adder's latency.
[[nodiscard]] double sum_of(std::span<const double> values) noexcept;

/// A forked process that computes a sum each time it is asked to. Request and answer cross a page of shared memory and
/// a futex; how the array itself gets there is the task's affair.
class Worker {
 public:
  /// Forks. The child calls `prepare` once, and what that returns for each request; it ends with this object, or with
  /// its parent.
  explicit Worker(std::string name, const std::function<std::function<double()>()>& prepare,
                  std::function<bool()> cancelled);
  Worker(const Worker&) = delete;
  Worker& operator=(const Worker&) = delete;
  /// Kills and reaps it: there is nothing in it to lose.
  ~Worker();

  /// One sum. `hand_over` runs after the worker was woken: it sends what the worker is to receive.
  /// Throws Error if the worker failed or died, Cancelled.
  double ask(const std::function<void()>& hand_over = {});

  /// For polling beside another descriptor: readable when the worker is dead.
  [[nodiscard]] int pidfd() const noexcept { return pidfd_.get(); }
  /// Throws Error if the worker is dead or has failed, Cancelled if the caller wants an end.
  void check() const;

 private:
  struct Board;

  [[nodiscard]] Board& board() const noexcept;
  void check_answer() const;
  [[noreturn]] void work(int parent, const std::function<std::function<double()>()>& prepare) const noexcept;
  void answer(const std::function<double()>& task, std::uint32_t number) const noexcept;

  std::string name_;
  std::function<bool()> cancelled_;
  AnonymousMemory memory_;
  int pid_ = -1;
  UniqueFd pidfd_;
};

/// The longest that anything here waits without looking around.
inline constexpr std::chrono::seconds look_around{1};

}  // namespace runrig::bench
