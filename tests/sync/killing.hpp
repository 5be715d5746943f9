#pragma once

#include <gtest/gtest.h>
#include <signal.h>

#include <functional>
#include <string_view>
#include <vector>

#include "killpoints.hpp"
#include "shared_object.hpp"

namespace runrig::test {

/// A child that does `role` with the kill point `point` armed.
class Victim {
 public:
  Victim(std::string_view point, const std::function<void()>& role)
      : child_([=] {
          killpoint::arm(point);
          role();
        }) {}
  /// True if it was killed there; false if it never came by, and ended well.
  [[nodiscard]] bool was_killed() {
    const auto ended = child_.join();
    EXPECT_TRUE(ended == 0 || ended == -SIGKILL) << "ended with " << ended.value_or(999);
    return ended == -SIGKILL;
  }
  [[nodiscard]] Child& child() noexcept { return child_; }

 private:
  Child child_;
};

/// Runs `once(point)`, which tells whether its victim was killed at the point, until it was: which of several processes
/// comes by first may change from run to run.
inline void kill_at(std::string_view point, const std::function<bool(std::string_view)>& once) {
  SCOPED_TRACE(point);
  for (int attempt = 0; attempt < 50; ++attempt) {
    if (once(point)) return;
    if (::testing::Test::HasFatalFailure()) return;
  }
  ADD_FAILURE() << point << " was never reached";
}

}  // namespace runrig::test
