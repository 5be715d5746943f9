#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <vector>

#include "processes.hpp"
#include "runrig/engine/arena.hpp"
#include "runrig/engine/pool.hpp"
#include "support.hpp"

/// What the tests of pools share.
namespace runrig::test {

/// An array in the pool's arena, at one address in all processes.
template <class T>
class ArenaArray {
 public:
  ArenaArray(Arena& arena, std::size_t count) : block_(arena.allocate(count * sizeof(T))), count_(count) {
    for (std::size_t i = 0; i < count; ++i) new (data() + i) T{};
  }
  [[nodiscard]] T* data() const { return reinterpret_cast<T*>(block_.data()); }
  [[nodiscard]] T& operator[](std::size_t i) const { return data()[i]; }
  [[nodiscard]] std::size_t size() const { return count_; }

 private:
  ArenaBlock block_;
  std::size_t count_;
};

[[nodiscard]] inline LaunchOptions slices(std::uint32_t count) {
  LaunchOptions options;
  options.slices = count;
  return options;
}

inline int square(int number) { return number * number; }

/// Within what a killed worker is noticed and what hangs on it ends.
inline constexpr std::chrono::seconds promised{5};

}  // namespace runrig::test

#if defined(__SANITIZE_THREAD__)
// The thread sanitizer keeps a thread of its own in each process, and sees nothing across processes anyway.
#define RUNRIG_NEED_FORKS() GTEST_SKIP() << "pools fork, which the thread sanitizer does not follow"
#else
#define RUNRIG_NEED_FORKS() static_cast<void>(0)
#endif
