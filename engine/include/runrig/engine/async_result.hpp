#pragma once

#include <chrono>
#include <concepts>
#include <cstddef>
#include <exception>
#include <functional>
#include <iterator>
#include <memory>
#include <optional>
#include <stdexcept>
#include <type_traits>
#include <utility>
#include <variant>
#include <vector>

#include "runrig/engine/task_backend.hpp"
#include "runrig/sync/clock.hpp"
#include "runrig/sync/error.hpp"

namespace runrig {
namespace detail {

/// What stands for a result that may be void.
template <class R>
using Stored = std::conditional_t<std::is_void_v<R>, std::monostate, R>;

/// A state that holds a T in the end.
template <class T>
class ValueState : public ResultState {
 public:
  using ResultState::ResultState;
  /// Once it is ready without an error.
  [[nodiscard]] Stored<T>& value() noexcept { return *value_; }

 protected:
  std::optional<Stored<T>> value_;
};

/// The result of one call. One task, whose index means nothing.
template <class R>
class CallState : public ValueState<R> {
 public:
  using Valued = ValueState<R>;
  using Payload = Stored<R>;
  using ValueState<R>::ValueState;
  /// With the mutex held, as is fail().
  void set(std::size_t /*index*/, Payload&& payload) {
    this->value_.emplace(std::move(payload));
    this->complete();
  }
  void fail(std::size_t /*index*/, std::exception_ptr error) noexcept {
    this->set_error(std::move(error));
    this->complete();
  }
};

/// The results of one map, in order: of `items` calls in tasks of up to `chunk` each. The index of a task is that of
/// its first item.
template <class R>
class MapState : public ValueState<std::conditional_t<std::is_void_v<R>, void, std::vector<Stored<R>>>> {
  using Base = ValueState<std::conditional_t<std::is_void_v<R>, void, std::vector<Stored<R>>>>;
  static constexpr bool assigned = std::default_initializable<Stored<R>> && std::movable<Stored<R>>;
  using Place = std::conditional_t<assigned, Stored<R>, std::optional<Stored<R>>>;

 public:
  using Valued = Base;
  using Payload = std::conditional_t<std::is_void_v<R>, std::monostate, std::vector<Stored<R>>>;
  MapState(std::shared_ptr<TaskBackend> backend, std::size_t items, std::size_t chunk)
      : Base(std::move(backend)),
        tasks_(chunk == 0 ? 0 : items / chunk + (items % chunk == 0 ? 0 : 1)),
        tasks_left_(tasks_) {
    if constexpr (!std::is_void_v<R>) places_.resize(items);
    if (tasks_left_ == 0) end();
  }
  [[nodiscard]] std::size_t missing() const noexcept override { return tasks_left_; }
  [[nodiscard]] std::size_t tasks() const noexcept { return tasks_; }
  /// With the mutex held.
  [[nodiscard]] std::size_t tasks_left() const noexcept { return tasks_left_; }
  void set(std::size_t index, Payload&& payload) {
    if constexpr (!std::is_void_v<R>) {
      if (payload.size() > places_.size() - index) {
        throw FormatError("results of", "map", "they are more than were asked for");
      }
      for (std::size_t i = 0; i < payload.size(); ++i) places_[index + i] = std::move(payload[i]);
    }
    end_task();
  }
  void fail(std::size_t index, std::exception_ptr error) noexcept {
    // Of several errors, that of the first item: the same whoever is faster.
    if (index < first_failed_) {
      first_failed_ = index;
      this->set_error(std::move(error));
    }
    end_task();
  }

 private:
  void end_task() noexcept {
    if (--tasks_left_ == 0) end();
  }
  void end() noexcept {
    if (!this->error()) {
      if constexpr (std::is_void_v<R>) {
        this->value_.emplace();
      } else if constexpr (assigned) {
        this->value_.emplace(std::move(places_));
      } else {
        std::vector<Stored<R>> values;
        values.reserve(places_.size());
        for (auto& each : places_) values.push_back(std::move(*each));
        this->value_.emplace(std::move(values));
      }
    }
    places_ = {};
    this->complete();
  }

  std::vector<Place> places_;
  const std::size_t tasks_;
  std::size_t tasks_left_;
  std::size_t first_failed_ = SIZE_MAX;
};

[[noreturn]] void throw_no_call(const char* what);
[[noreturn]] void throw_not_ready();
[[noreturn]] void throw_timeout();
[[noreturn]] void throw_moved_from_callback();

}  // namespace detail

/// The result of a call that runs elsewhere: Python's AsyncResult. The value lives in it, for as long as it does.
///
/// For any thread, but one at a time for get() &&. May outlive its pool: a pool that ends makes every result ready,
/// with an error where there is none. Only the process that made the call may ask. Dropping it does not stop the task.
template <class T>
class AsyncResult {
 public:
  /// Of no call: everything but valid() throws std::logic_error.
  AsyncResult() noexcept = default;
  AsyncResult(AsyncResult&&) noexcept = default;
  AsyncResult& operator=(AsyncResult&&) noexcept = default;
  /// For the pools.
  explicit AsyncResult(std::shared_ptr<detail::ValueState<T>> state) noexcept : state_(std::move(state)) {}

  [[nodiscard]] bool valid() const noexcept { return state_ != nullptr; }
  /// Whether the call has completed. Does not wait, but for a killed template of the pool to be replaced.
  [[nodiscard]] bool ready() const {
    return checked("ask whether it is ready").ready() || state_->wait(Deadline::after(std::chrono::seconds(0)));
  }
  /// Whether it completed without an exception. Throws std::logic_error if it is not ready.
  [[nodiscard]] bool successful() const {
    if (!ready()) detail::throw_not_ready();
    return state_->error() == nullptr;
  }
  /// Waits until the result is there; false at the deadline.
  bool wait(Deadline deadline) const { return checked("wait").wait(deadline); }
  template <class Rep, class Period>
  bool wait(std::chrono::duration<Rep, Period> timeout) const {
    return wait(Deadline::after(timeout));
  }
  void wait() const { (void)wait(Deadline()); }

  /// The result, when it is there. Throws what the call threw: see Pool; WorkerLost if its worker died; TimeoutError at
  /// the deadline, and may be called again.
  decltype(auto) get(Deadline deadline = {}) const& {
    arrive(deadline);
    if constexpr (!std::is_void_v<T>) return std::as_const(state_->value());
  }
  /// As a temporary, it gives the value away.
  T get(Deadline deadline = {}) && {
    arrive(deadline);
    if constexpr (!std::is_void_v<T>) {
      // Callbacks may be looking at it.
      if (!state_->has_callbacks()) return std::move(state_->value());
      if constexpr (std::copy_constructible<T>) {
        return state_->value();
      } else {
        detail::throw_moved_from_callback();
      }
    }
  }
  template <class Rep, class Period>
  decltype(auto) get(std::chrono::duration<Rep, Period> timeout) const& {
    return get(Deadline::after(timeout));
  }
  template <class Rep, class Period>
  T get(std::chrono::duration<Rep, Period> timeout) && {
    return std::move(*this).get(Deadline::after(timeout));
  }

  /// `call(value)`, or `call()` for void, when the result is ready, unless the call failed; `error_callback` is called
  /// instead then, with the std::exception_ptr. May be given at any time, also after the result is ready, and several.
  ///
  /// Callbacks run in a thread of the pool's, one for all callbacks, one after the other, and should return soon. That
  /// thread is started by the first callback of a pool. What a callback throws is kept for Pool::join(), the first of
  /// each pool; it does not stop the others. A result may be ready a moment before its callbacks have run; join() waits
  /// for them.
  template <class F>
  AsyncResult& callback(F call) {
    detail::ValueState<T>& state = checked("register a callback");
    state.add_callback([&state, call = std::move(call)]() mutable {
      if (state.error()) return;
      if constexpr (std::is_void_v<T>) {
        call();
      } else {
        call(std::as_const(state.value()));
      }
    });
    return *this;
  }
  template <class F>
  AsyncResult& error_callback(F call) {
    detail::ValueState<T>& state = checked("register a callback");
    state.add_callback([&state, call = std::move(call)]() mutable {
      if (state.error()) call(state.error());
    });
    return *this;
  }

 private:
  detail::ValueState<T>& checked(const char* what) const {
    if (!state_) detail::throw_no_call(what);
    return *state_;
  }
  void arrive(Deadline deadline) const {
    if (!checked("get").wait(deadline)) detail::throw_timeout();
    if (state_->error()) std::rethrow_exception(state_->error());
  }
  std::shared_ptr<detail::ValueState<T>> state_;
};

/// The results of a map in the order of its input; of a map of void, nothing. It is ready when all calls have ended; if
/// some failed, the error is that of the first of them in the input.
template <class R>
using MapResult = AsyncResult<std::conditional_t<std::is_void_v<R>, void, std::vector<detail::Stored<R>>>>;

}  // namespace runrig
