#pragma once

#include <sched.h>

#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "runrig/shm/anonymous_memory.hpp"
#include "runrig/sync/futex.hpp"
#include "runrig/sync/unique_fd.hpp"

namespace runrig::bench {

/// The sum of `values`, in eight lanes, so that memory is the limit and not the adder's latency.
[[nodiscard]] double sum_of(std::span<const double> values) noexcept;

/// Two CPUs to measure on: one for the process that asks, one for its worker. Left to the scheduler, both may land on
/// one CPU or on two, and a wake-up within a CPU takes a tenth of the time: routes could not be compared.
/// This thread stays on the first CPU while the object lives. With one usable CPU, or where the kernel refuses, nobody
/// is moved.
class Placement {
 public:
  Placement() noexcept;
  Placement(const Placement&) = delete;
  Placement& operator=(const Placement&) = delete;
  ~Placement();
  /// None if nobody is to be moved.
  [[nodiscard]] std::optional<int> asking_cpu() const noexcept { return asking_; }
  [[nodiscard]] std::optional<int> worker_cpu() const noexcept { return worker_; }

 private:
  cpu_set_t before_{};
  std::optional<int> asking_;
  std::optional<int> worker_;
};
/// Moves this thread there; false if the kernel refuses.
bool move_to_cpu(int cpu) noexcept;

/// A forked process that computes a sum each time it is asked to. Request and answer cross a page of shared memory and
/// a futex; how the array itself gets there is the task's affair.
class Worker {
 public:
  /// Forks. The child moves to `cpu`, if given, calls `prepare` once, and what that returns for each request; it ends
  /// with this object, or with its parent.
  Worker(std::string name, const std::function<std::function<double()>()>& prepare, std::function<bool()> cancelled,
         std::optional<int> cpu = std::nullopt);
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
  [[noreturn]] void work(int parent, std::optional<int> cpu,
                         const std::function<std::function<double()>()>& prepare) const noexcept;
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
