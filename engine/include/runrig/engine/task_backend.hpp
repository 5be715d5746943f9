#pragma once

#include <atomic>
#include <cstddef>
#include <exception>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <utility>
#include <vector>

#include "runrig/sync/clock.hpp"

/// What futures and pools know of each other: the same for pools of processes and of threads.
namespace runrig::detail {

class ResultState;
class Callbacks;

/// What a thread waits for. Asked under the backend's mutex only.
class Awaited {
 public:
  [[nodiscard]] virtual bool satisfied() const noexcept = 0;
  /// How many more tasks must end at least; the waiter is left asleep until then. 0: it waits for something else.
  [[nodiscard]] virtual std::size_t missing() const noexcept { return 1; }

 protected:
  Awaited() = default;
  Awaited(const Awaited&) = default;
  Awaited& operator=(const Awaited&) = default;
  ~Awaited() = default;
};

/// Who runs tasks, as seen by the futures. All of it for any thread.
class TaskBackend {
 public:
  TaskBackend() = default;
  TaskBackend(const TaskBackend&) = delete;
  TaskBackend& operator=(const TaskBackend&) = delete;
  virtual ~TaskBackend() = default;

  /// Guards the backend's books and the contents of all result states that are not ready.
  [[nodiscard]] std::mutex& mutex() noexcept { return mutex_; }
  /// Waits until it is satisfied; false at the deadline.
  [[nodiscard]] virtual bool wait(const Awaited& awaited, Deadline deadline) = 0;
  /// Has all who wait look again. With or without the mutex.
  virtual void notify() noexcept = 0;
  [[nodiscard]] virtual Callbacks& callbacks() noexcept = 0;
  /// What the thread for callbacks holds on to.
  [[nodiscard]] virtual std::shared_ptr<void> keep_alive() = 0;

 private:
  std::mutex mutex_;
};

/// A result that is owed. Shared by the future and the tasks that make it.
class ResultState : public Awaited, public std::enable_shared_from_this<ResultState> {
 public:
  explicit ResultState(std::shared_ptr<TaskBackend> backend) noexcept : backend_(std::move(backend)) {}
  ResultState(const ResultState&) = delete;
  ResultState& operator=(const ResultState&) = delete;
  virtual ~ResultState() = default;

  [[nodiscard]] TaskBackend& backend() const noexcept { return *backend_; }
  /// Acquire: pairs with complete(). Then value and error are there, and do not change.
  [[nodiscard]] bool ready() const noexcept { return ready_.load(std::memory_order_acquire); }
  [[nodiscard]] bool satisfied() const noexcept override { return ready(); }
  [[nodiscard]] const std::exception_ptr& error() const noexcept { return error_; }
  [[nodiscard]] bool wait(Deadline deadline) { return ready() || backend_->wait(*this, deadline); }

  /// `call` is run by the backend's thread for callbacks, once, when the result is ready; where that thread has ended
  /// with its pool, by this one, now.
  void add_callback(std::function<void()> call);
  [[nodiscard]] bool has_callbacks();
  /// By that thread, with the mutex not held. Returns the first thing that one of them threw.
  [[nodiscard]] std::exception_ptr run_callbacks() noexcept;

 protected:
  /// With the mutex held, as its last change.
  void complete() noexcept;
  void set_error(std::exception_ptr error) noexcept { error_ = std::move(error); }

 private:
  const std::shared_ptr<TaskBackend> backend_;
  std::atomic<bool> ready_{false};
  std::exception_ptr error_;
  std::vector<std::function<void()>> callbacks_;  // guarded by the mutex
  bool has_callbacks_ = false;                    // or had
  bool expected_ = false;                         // it was announced that callbacks are to be run
};

}  // namespace runrig::detail
