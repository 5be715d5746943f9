#pragma once

#include <utility>

namespace runrig {

/// A callable that cannot cross to other processes as it is (with strings, pointers or references among its captures),
/// for children made by fork, which have a copy of all memory. By other start methods it is refused with
/// std::logic_error.
template <class F>
struct ForkOnly {
  F callable;
};
template <class F>
[[nodiscard]] ForkOnly<F> fork_only(F callable) {
  return {std::move(callable)};
}

}  // namespace runrig
