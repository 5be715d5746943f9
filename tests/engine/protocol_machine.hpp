#pragma once

#include <sys/types.h>

#include <atomic>
#include <cstddef>
#include <random>
#include <thread>
#include <vector>

#include "pool/control_memory.hpp"

/// What the tests of the pool's protocols share.
namespace runrig::test {

/// A pool with threads in the place of processes, so that the thread sanitizer can see all sides: the test is the
/// parent; a template; workers that may "die" at any step by returning from work(), and are followed by others.
class ProtocolMachine {
 public:
  [[nodiscard]] int deaths() const { return deaths_; }

 protected:
  ProtocolMachine(int workers, unsigned seed)
      : memory_(workers), random_(seed), workers_(count_of(workers)), ended_(count_of(workers)) {}
  ~ProtocolMachine() = default;
  ProtocolMachine(const ProtocolMachine&) = delete;
  ProtocolMachine& operator=(const ProtocolMachine&) = delete;

  /// The life of a worker, until the pool stops. By `random` it dies.
  virtual void work(int index, pid_t pid, std::mt19937& random) = 0;
  /// What the template does about a dead one, before its successor is started.
  virtual void settle(int index, pid_t pid) = 0;

  /// For the head of a constructor and a destructor of whoever has the functions above.
  void begin() {
    for (std::size_t i = 0; i < workers_.size(); ++i) start(i);
    template_ = std::thread([this] { watch(); });
  }
  void end() {
    view().control->stopping.store(1);
    detail::ring(*view().control);
    template_.join();
  }
  [[nodiscard]] const detail::ControlView& view() const noexcept { return memory_.view(); }
  [[nodiscard]] bool stopping() const noexcept { return view().control->stopping.load() != 0; }

 private:
  static std::size_t count_of(int workers) { return static_cast<std::size_t>(workers); }

  void start(std::size_t i) {
    const int index = static_cast<int>(i);
    const pid_t pid = 1000 + next_pid_++;
    ended_[i].store(false);
    view().slots[index].pid.store(pid);
    workers_[i] = std::thread([this, i, index, pid, random = std::mt19937(static_cast<unsigned>(random_()))]() mutable {
      work(index, pid, random);
      ended_[i].store(true);
    });
  }

  void watch() {
    while (!stopping()) {
      for (std::size_t i = 0; i < workers_.size(); ++i) {
        if (!ended_[i].load() || stopping()) continue;
        workers_[i].join();  // in the place of the kernel's notice
        ++deaths_;
        settle(static_cast<int>(i), view().slots[i].pid.load());
        start(i);
      }
      std::this_thread::yield();
    }
    for (std::thread& each : workers_) each.join();
  }

  detail::ControlMemory memory_;
  std::mt19937 random_;
  int next_pid_ = 0;
  std::atomic<int> deaths_{0};
  std::vector<std::thread> workers_;
  std::vector<std::atomic<bool>> ended_;
  std::thread template_;
};

}  // namespace runrig::test
