#pragma once

#include <cstddef>
#include <cstdint>
#include <exception>
#include <memory>
#include <optional>
#include <span>
#include <tuple>
#include <type_traits>
#include <utility>
#include <variant>
#include <vector>

#include "runrig/channel/transfer.hpp"
#include "runrig/engine/call.hpp"
#include "runrig/engine/tasks.hpp"

/// How the calls of a Pool get to its worker processes: by the name of their code, as bytes, and back.
namespace runrig::detail {

/// What became of a task: an error, or a pickle of its value.
struct TaskAnswer {
  std::exception_ptr error;
  std::span<const std::byte> value;
};

/// Who is told. With the backend's mutex held, once for each task.
class Receiver {
 public:
  virtual void deliver(std::uint64_t index, const TaskAnswer& answer) noexcept = 0;

 protected:
  ~Receiver() = default;
};

/// A call, ready to be sent. Owns nothing.
struct TaskCall {
  const Trampoline* trampoline = nullptr;
  std::uintptr_t function = 0;  ///< for a function pointer
  std::span<const std::byte> closure;
  std::span<const std::byte> arguments;
  std::optional<int> retries = std::nullopt;
  bool admitted = false;  ///< part of a map that was begun before, perhaps, the pool was closed
};

class ProcessBackend : public TaskBackend {
 public:
  /// The bytes are copied. `keep` lives until the receiver was told. Throws WorkerLost if the pool can run nothing any
  /// more; logic_error if it was closed, and in words for captures or code that the workers do not have; Error if there
  /// is no memory for the arguments.
  virtual void submit(const TaskCall& call, Receiver& receiver, std::shared_ptr<void> keep, std::uint64_t index) = 0;
  /// The receiver is going away: what comes for it is dropped.
  virtual void forget(const Receiver& receiver) noexcept = 0;
  [[nodiscard]] virtual int workers() const noexcept = 0;
  /// A map begins, and goes on for as long as this lives. Throws as submit() does.
  [[nodiscard]] virtual std::shared_ptr<void> admit() = 0;
};

/// A result state that is told by pickles.
template <class State>
class Decoding final : public State, public Receiver {
 public:
  using State::State;
  void deliver(std::uint64_t index, const TaskAnswer& answer) noexcept override {
    if (answer.error) return this->fail(index, answer.error);
    try {
      if constexpr (std::is_same_v<typename State::Payload, std::monostate>) {
        this->set(index, {});
      } else {
        this->set(index, pickle::decode<typename State::Payload>(answer.value));
      }
    } catch (...) {
      this->fail(index, std::current_exception());
    }
  }
};

/// The type that a call of `f` with one item, or with the elements of a tuple, returns in the worker.
template <Star star, class F, class T>
struct ItemCall {
  using Result = CallResult<F, T>;
  static constexpr void check() { check_can_cross<F, T>(); }
};
template <class F, class... Args>
struct ItemCall<Star::yes, F, std::tuple<Args...>> {
  using Result = CallResult<F, Args...>;
  static constexpr void check() { check_can_cross<F, std::decay_t<Args>...>(); }
};
template <class F, class A, class B>
struct ItemCall<Star::yes, F, std::pair<A, B>> : ItemCall<Star::yes, F, std::tuple<A, B>> {};
template <class F, class T, std::size_t size>
struct ItemCall<Star::yes, F, std::array<T, size>>
    : ItemCall<Star::yes, F, decltype(std::tuple_cat(std::declval<std::array<T, size>>()))> {};

/// Calls `f` with each of the items of a chunk. The result is a pickle of a list, or of None for void.
template <Star star, class F, class T>
void invoke_chunk(const InvokeInput& input, std::vector<std::byte>& result) {
  F callable = callable_from<F>(input);
  auto items = pickle::decode<std::vector<T>>(input.arguments);
  using Item = typename decltype(items)::value_type;
  using R = typename ItemCall<star, F, T>::Result;
  const auto call = [&callable](Item item) -> decltype(auto) {
    if constexpr (star == Star::yes) {
      return std::apply(callable, std::move(item));
    } else {
      return std::invoke(callable, std::move(item));
    }
  };
  if constexpr (std::is_void_v<R>) {
    for (std::size_t i = 0; i < items.size(); ++i) call(std::move(items[i]));
    result.insert(result.end(), none_pickle.begin(), none_pickle.end());
  } else {
    std::vector<R> values;
    values.reserve(items.size());
    for (std::size_t i = 0; i < items.size(); ++i) values.push_back(call(std::move(items[i])));
    pickle::encode<std::vector<R>>(result, values);
  }
}

template <Star star, class F, class T>
struct ChunkTrampolineOf {
  static constinit inline Trampoline trampoline{&invoke_chunk<star, F, T>};
  static inline const CodeRegistration registration{trampoline};
};
template <Star star, class F, class T>
[[nodiscard]] const Trampoline& chunk_trampoline_for() noexcept {
  ItemCall<star, F, T>::check();
  (void)&ChunkTrampolineOf<star, F, T>::registration;  // odr-used, so that the module has it
  return ChunkTrampolineOf<star, F, T>::trampoline;
}

/// Memory of the calling thread for arguments that are being encoded; empty, with what capacity it had.
[[nodiscard]] std::vector<std::byte>& encoding_buffer() noexcept;

/// See TaskInterface.
class ProcessCalls {
 public:
  template <class R>
  using Arrived = typename std::conditional_t<std::is_void_v<R>, std::type_identity<void>,
                                              std::type_identity<Received<Stored<R>>>>::type;
  template <class F, class... Args>
  using Value = Arrived<CallResult<F, Args...>>;
  template <Star star, class F, class T>
  using ItemValue = Arrived<typename ItemCall<star, F, T>::Result>;
  template <class State>
  using StateFor = Decoding<State>;

  explicit ProcessCalls(std::shared_ptr<ProcessBackend> backend) noexcept : backend_(std::move(backend)) {}
  [[nodiscard]] std::shared_ptr<TaskBackend> backend() const noexcept { return backend_; }
  [[nodiscard]] int workers() const noexcept { return backend_->workers(); }
  [[nodiscard]] std::shared_ptr<void> admit() { return backend_->admit(); }

  template <class F, class... Args>
  auto apply(const TaskOptions& options, const F& f, const Args&... args) {
    using R = Value<std::decay_t<const F&>, std::decay_t<const Args&>...>;
    // On the stack, as nobody else asks for it. Should waiting for it throw, it is forgotten before it goes.
    Decoding<CallState<R>> state(backend_);
    const Forget forget(*backend_, state);
    submit(state, nullptr, options.retries, f, args...);
    (void)state.wait(Deadline());
    if (state.error()) std::rethrow_exception(state.error());
    if constexpr (!std::is_void_v<R>) return std::move(state.value());
  }
  template <class F, class... Args>
  auto apply_async(const TaskOptions& options, const F& f, const Args&... args) {
    using R = Value<std::decay_t<const F&>, std::decay_t<const Args&>...>;
    const auto state = std::make_shared<Decoding<CallState<R>>>(backend_);
    submit(*state, state, options.retries, f, args...);
    return AsyncResult<R>(state);
  }
  /// `index` is the state's name for this task. What cannot be encoded is an error of that task.
  template <Star star, class State, class F, class T>
  void submit_chunk(const std::shared_ptr<State>& state, std::uint64_t index, std::optional<int> retries, const F& f,
                    std::vector<T>& items) {
    const ClosureBytes closure(f);
    TaskCall call = call_of(chunk_trampoline_for<star, F, T>(), f, closure, retries);
    auto& buffer = encoding_buffer();
    try {
      pickle::encode<std::vector<T>>(buffer, items);
    } catch (...) {
      const std::lock_guard guard(backend_->mutex());
      state->fail(index, std::current_exception());
      return;
    }
    call.arguments = buffer;
    call.admitted = true;
    backend_->submit(call, *state, state, index);
  }

 private:
  template <class State>
  struct Forget {
    Forget(ProcessBackend& backend_given, const State& state_given) : backend(backend_given), state(state_given) {}
    Forget(const Forget&) = delete;
    Forget& operator=(const Forget&) = delete;
    ~Forget() {
      if (!state.ready()) backend.forget(state);
    }
    ProcessBackend& backend;
    const State& state;
  };

  template <class F>
  [[nodiscard]] static TaskCall call_of(const Trampoline& trampoline, const F& f, const ClosureBytes<F>& closure,
                                        std::optional<int> retries) {
    TaskCall call;
    call.trampoline = &trampoline;
    call.function = function_address(f);
    call.closure = closure.get();
    call.retries = retries;
    return call;
  }
  template <class State, class F, class... Args>
  void submit(State& state, std::shared_ptr<void> keep, std::optional<int> retries, const F& f, const Args&... args) {
    const std::decay_t<const F&> callable(f);  // a function becomes a pointer to it
    const ClosureBytes closure(callable);
    TaskCall call =
        call_of(trampoline_for<std::decay_t<const F&>, std::decay_t<const Args&>...>(), callable, closure, retries);
    auto& buffer = encoding_buffer();
    try {
      pickle::encode_tuple<std::decay_t<const Args&>...>(buffer, args...);
    } catch (...) {
      const std::lock_guard guard(backend_->mutex());
      state.fail(0, std::current_exception());
      return;
    }
    call.arguments = buffer;
    backend_->submit(call, state, std::move(keep), 0);
  }

  std::shared_ptr<ProcessBackend> backend_;
};

}  // namespace runrig::detail
