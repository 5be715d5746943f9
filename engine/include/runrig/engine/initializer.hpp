#pragma once

#include <concepts>
#include <functional>
#include <tuple>
#include <type_traits>
#include <utility>

#include "runrig/engine/call.hpp"

namespace runrig {

namespace detail {

/// Whether a call can be made of it that crosses to a process which executes the program anew.
template <class F, class... Args>
constexpr bool can_cross() {
  if constexpr (std::is_trivially_copyable_v<F> && !std::is_member_pointer_v<F> && (Transferable<Args> && ...)) {
    if constexpr (std::is_invocable_v<F&, Received<Args>...>) {
      using Result = CallResult<F, Args...>;
      if constexpr (std::is_void_v<Result>)
        return true;
      else
        return Transferable<Result>;
    }
  }
  return false;
}

}  // namespace detail

/// What each new worker of a pool calls first.
///
/// Any callable, with any arguments, where workers are forked from this process. Under spawn and forkserver it crosses
/// as a task does: a function, or a lambda whose captures are plain values (and pointers into the pool's arena), with
/// Transferable arguments; another is refused when the pool is made, in words. Callable and arguments are copied now.
class Initializer {
 public:
  /// None.
  Initializer() noexcept = default;
  template <class F, class... Args>
  requires(!std::same_as<std::decay_t<F>, Initializer> && std::invocable<std::decay_t<F>&, std::decay_t<Args>&...>)
      Initializer(F&& callable, Args&&... args)
      : call_(make<std::decay_t<F>, std::decay_t<Args>...>(std::forward<F>(callable), std::forward<Args>(args)...)) {}

  [[nodiscard]] explicit operator bool() const noexcept { return bool(call_); }
  void operator()() const { call_.run_here(); }
  [[nodiscard]] const detail::Call& call() const noexcept { return call_; }

 private:
  template <class F, class... Args>
  [[nodiscard]] static detail::Call make(F callable, Args... args) {
    if constexpr (std::is_constructible_v<bool, F> && !std::is_empty_v<F>) {
      if (!static_cast<bool>(callable)) return {};  // an empty std::function, a null pointer
    }
    if constexpr (detail::can_cross<F, Args...>()) {
      return detail::Call::make(std::move(callable), std::move(args)...);
    } else {
      return detail::Call::fork_only(
          [callable = std::move(callable), all = std::make_tuple(std::move(args)...)]() mutable {
            std::apply(callable, all);
          });
    }
  }
  detail::Call call_;
};

}  // namespace runrig
