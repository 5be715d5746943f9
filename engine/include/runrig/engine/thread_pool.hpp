#pragma once

#include <cstddef>
#include <cstdint>
#include <exception>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <tuple>
#include <type_traits>
#include <utility>
#include <variant>
#include <vector>

#include "runrig/engine/tasks.hpp"

namespace runrig {
namespace detail {

class ThreadTeam;

/// A task of a ThreadPool.
class ThreadJob {
 public:
  ThreadJob() = default;
  ThreadJob(const ThreadJob&) = delete;
  ThreadJob& operator=(const ThreadJob&) = delete;
  virtual ~ThreadJob() = default;
  /// Calls, in a thread of the pool, with the mutex not held.
  virtual void run() noexcept = 0;
  /// After run(), with the mutex held: the result is there.
  virtual void deliver() noexcept = 0;
  /// Instead of both, with the mutex held.
  virtual void drop(std::exception_ptr error) noexcept = 0;
};

/// The state is told of what `Call`, which takes nothing, returns.
template <class State, class Call>
class ThreadTask final : public ThreadJob {
 public:
  ThreadTask(std::shared_ptr<State> state, std::uint64_t index, Call call)
      : state_(std::move(state)), index_(index), call_(std::move(call)) {}
  void run() noexcept override {
    try {
      payload_.emplace((*call_)());
      call_.reset();  // the arguments end before the result is seen
    } catch (...) {
      error_ = std::current_exception();
    }
  }
  void deliver() noexcept override {
    if (error_) return drop(std::move(error_));
    try {
      state_->set(index_, std::move(*payload_));
    } catch (...) {
      drop(std::current_exception());
    }
  }
  void drop(std::exception_ptr error) noexcept override { state_->fail(index_, std::move(error)); }

 private:
  std::shared_ptr<State> state_;
  std::uint64_t index_;
  std::optional<Call> call_;
  std::optional<typename State::Payload> payload_;
  std::exception_ptr error_;
};

/// `f(item)`, or `f` with the elements of `item`.
template <Star star, class F, class T>
decltype(auto) call_item(F& f, T&& item) {
  if constexpr (star == Star::yes) {
    return std::apply(f, std::forward<T>(item));
  } else {
    return std::invoke(f, std::forward<T>(item));
  }
}

/// How the calls of a ThreadPool get to its threads. See TaskInterface.
class ThreadCalls {
 public:
  template <class F, class... Args>
  using Value = std::decay_t<std::invoke_result_t<F&, Args...>>;
  template <Star star, class F, class T>
  using ItemValue = std::decay_t<decltype(call_item<star>(std::declval<F&>(), std::declval<T>()))>;
  template <class State>
  using StateFor = State;

  explicit ThreadCalls(std::shared_ptr<ThreadTeam> team) noexcept : team_(std::move(team)) {}
  [[nodiscard]] std::shared_ptr<TaskBackend> backend() const noexcept;
  [[nodiscard]] int workers() const noexcept;
  [[nodiscard]] std::shared_ptr<void> admit();

  template <class F, class... Args>
  auto apply(const TaskOptions& options, F&& f, Args&&... args) {
    return apply_async(options, std::forward<F>(f), std::forward<Args>(args)...).get();
  }
  template <class F, class... Args>
  auto apply_async(const TaskOptions& /*options*/, F&& f, Args&&... args) {
    using R = Value<std::decay_t<F>, std::decay_t<Args>...>;
    const auto state = std::make_shared<CallState<R>>(backend());
    auto call = [f = std::decay_t<F>(std::forward<F>(f)),
                 args = std::tuple<std::decay_t<Args>...>(std::forward<Args>(args)...)]() mutable -> Stored<R> {
      if constexpr (std::is_void_v<R>) {
        std::apply(f, std::move(args));
        return {};
      } else {
        return std::apply(f, std::move(args));
      }
    };
    submit(std::make_unique<ThreadTask<CallState<R>, decltype(call)>>(state, 0, std::move(call)), false);
    return AsyncResult<R>(state);
  }
  template <Star star, class State, class F, class T>
  void submit_chunk(const std::shared_ptr<State>& state, std::uint64_t index, std::optional<int> /*retries*/,
                    const F& f, std::vector<T>& items) {
    auto call = [f = F(f), items = std::move(items)]() mutable {
      typename State::Payload values{};
      if constexpr (!std::is_same_v<typename State::Payload, std::monostate>) values.reserve(items.size());
      for (std::size_t i = 0; i < items.size(); ++i) {
        T item = std::move(items[i]);
        if constexpr (std::is_same_v<typename State::Payload, std::monostate>) {
          call_item<star>(f, std::move(item));
        } else {
          values.push_back(call_item<star>(f, std::move(item)));
        }
      }
      return values;
    };
    items = {};
    submit(std::make_unique<ThreadTask<State, decltype(call)>>(state, index, std::move(call)), true);
  }

 private:
  void submit(std::unique_ptr<ThreadJob> job, bool admitted);
  std::shared_ptr<ThreadTeam> team_;
};

}  // namespace detail

struct ThreadPoolOptions {
  /// Threads; 0 takes usable_cpu_count(). Tasks that block on each other need one each.
  int workers = 0;
  /// Stands in error messages.
  std::string name = "runrig";
  /// Called first in each thread. What it throws, the constructor throws.
  std::function<void()> initializer = nullptr;
};

/// The interface of Pool on threads of this process: for tasks that need no isolation, or that block on each other.
///
/// Nothing is copied to other processes: callables, arguments and results may be of any type, are moved where they can
/// be, and may refer to whatever outlives them. Exceptions arrive as they are. The callable of a map is copied for each
/// chunk. Tasks begin in the order of submission; `retries` mean nothing here, as a crash is that of the whole process.
///
/// For any threads at once, also for its own: a task may submit tasks and wait for them, as long as there are threads
/// enough. While it lives, this process has threads of the program's: Pools are made before (see
/// PoolOptions::other_threads). Signals are left to the other threads. In a forked child it can only be destroyed,
/// which does nothing there.
class ThreadPool : public detail::TaskInterface<ThreadPool, detail::ThreadCalls> {
 public:
  /// Throws Error, with no thread left, if there cannot be so many; logic_error for a negative number.
  explicit ThreadPool(int workers = 0);
  explicit ThreadPool(const ThreadPoolOptions& options);
  ThreadPool(ThreadPool&&) noexcept;
  ThreadPool& operator=(ThreadPool&&) noexcept;
  /// As terminate() and join(); what callbacks threw is dropped. Not to be called by a task of its own.
  ~ThreadPool();

  [[nodiscard]] int size() const noexcept;
  /// No further task is accepted: they throw std::logic_error. What was submitted goes on; so do maps that were begun.
  void close();
  /// Drops the tasks that were not begun: their futures get Cancelled. Those that run cannot be stopped, and go on.
  void terminate() noexcept;
  /// Waits for all tasks and their callbacks, and for the end of the threads. Throws std::logic_error if the pool was
  /// neither closed nor terminated, or in a task of its own; what a callback threw.
  void join();

 private:
  friend class detail::TaskInterface<ThreadPool, detail::ThreadCalls>;
  [[nodiscard]] detail::ThreadCalls calls(const char* what);
  std::shared_ptr<detail::ThreadTeam> team_;
};

}  // namespace runrig
