#pragma once

#include <cstddef>
#include <deque>
#include <exception>
#include <memory>
#include <mutex>
#include <thread>
#include <utility>

#include "runrig/engine/task_backend.hpp"

namespace runrig::detail {

/// The thread of a pool that runs callbacks, and what is to be run. All with the backend's mutex held, but where it
/// says otherwise.
class Callbacks {
 public:
  Callbacks() = default;
  Callbacks(const Callbacks&) = delete;
  Callbacks& operator=(const Callbacks&) = delete;
  /// After stop(). In a forked child, where there is no such thread, it is left alone.
  ~Callbacks() = default;

  /// A result has callbacks that are to be run some time. Starts the thread, if there is none. False if it has ended.
  [[nodiscard]] bool expect(TaskBackend& backend);
  /// They are to be run now.
  void add(TaskBackend& backend, std::shared_ptr<ResultState> state) noexcept;
  /// Results whose callbacks have not been run.
  [[nodiscard]] std::size_t outstanding() const noexcept { return outstanding_; }
  /// The first thing that a callback threw; none the second time.
  [[nodiscard]] std::exception_ptr take_error() noexcept { return std::exchange(error_, nullptr); }

  /// With the mutex not held: has what is due run, ends the thread and waits for that, unless it is the one that calls.
  void stop(TaskBackend& backend) noexcept;

 private:
  /// What the thread waits for.
  struct Work final : Awaited {
    explicit Work(const Callbacks& callbacks) : of(callbacks) {}
    [[nodiscard]] bool satisfied() const noexcept override { return !of.due_.empty() || of.stopping_; }
    [[nodiscard]] std::size_t missing() const noexcept override { return of.outstanding_ > 0 ? 1 : 0; }
    const Callbacks& of;
  };
  void run(TaskBackend& backend);

  std::thread* thread_ = nullptr;  // leaked in a forked child: the thread is not there, and must not be waited for
  bool stopping_ = false;
  std::size_t outstanding_ = 0;
  std::deque<std::shared_ptr<ResultState>> due_;
  std::exception_ptr error_;
};

}  // namespace runrig::detail
