#pragma once

#include <gtest/gtest.h>
#include <sys/mman.h>

#include <chrono>
#include <limits>
#include <new>
#include <utility>

#include "runrig/sync/clock.hpp"
#include "runrig/sync/error.hpp"
#include "runrig/sync/unique_fd.hpp"
#include "support.hpp"

namespace runrig::test {

/// What the promise "the dead never hang the living" means in a test.
inline constexpr std::chrono::milliseconds death_is_known_within{1000};

/// A T in zeroed memory shared with the children forked afterwards. No constructor runs: zero bytes must do.
template <class T>
class SharedObject {
 public:
  SharedObject() : fd_(check_errno(::memfd_create("runrig-test", MFD_CLOEXEC), "make", "memfd")) {
    check_errno(::ftruncate(fd_.get(), sizeof(T)), "size", "memfd");
    object_ = map();
  }
  /// Made in place from the arguments instead.
  template <class... Arguments>
  explicit SharedObject(std::in_place_t, Arguments&&... arguments) : SharedObject() {
    ::new (static_cast<void*>(object_)) T(std::forward<Arguments>(arguments)...);
  }
  SharedObject(const SharedObject&) = delete;
  SharedObject& operator=(const SharedObject&) = delete;
  ~SharedObject() { ::munmap(static_cast<void*>(object_), sizeof(T)); }
  T& operator*() const noexcept { return *object_; }
  T* operator->() const noexcept { return object_; }
  /// The same memory at one more address, which stays mapped until the process ends.
  [[nodiscard]] T& another_mapping() const { return *map(); }

 private:
  [[nodiscard]] T* map() const {
    void* memory = ::mmap(nullptr, sizeof(T), PROT_READ | PROT_WRITE, MAP_SHARED, fd_.get(), 0);
    if (memory == MAP_FAILED) check_errno(-1, "map", "memfd");
    return std::launder(static_cast<T*>(memory));
  }
  UniqueFd fd_;
  T* object_ = nullptr;
};

/// Timeouts that mean "do not wait", and such that mean "for ever", in seconds.
inline constexpr double at_once[] = {-1, 0, std::numeric_limits<double>::quiet_NaN(), -1e300,
                                     -std::numeric_limits<double>::infinity()};
inline constexpr double for_ever[] = {1e300, std::numeric_limits<double>::infinity(), 1e10};

/// How long `call` took.
template <class Call>
Clock::duration duration_of(Call&& call) {
  const auto start = Clock::now();
  call();
  return Clock::now() - start;
}

}  // namespace runrig::test
