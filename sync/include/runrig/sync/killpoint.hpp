#pragma once

/// Kill points: named places in the code where a test kills the process, to see what survives it.
///
/// `RUNRIG_KILLPOINT("lock.taken");` does nothing and costs nothing unless the build has RUNRIG_KILLPOINTS (the
/// test presets do). There, the process is killed by SIGKILL when it reaches an armed point for the n-th time.
/// A point is armed by the environment variable RUNRIG_KILLPOINT=NAME[:N] (N from 1; read once, at start), or by
/// killpoint::arm(), which holds for this process and the children that it forks afterwards.
/// All names compiled into a binary are listed by killpoint::names().

#ifdef RUNRIG_KILLPOINTS
#define RUNRIG_KILLPOINT(name)                                                                          \
  do {                                                                                                  \
    [[gnu::section("runrig_killpoints"), gnu::used]] static const char* const runrig_killpoint_ = name; \
    ::runrig::killpoint::detail::reach(runrig_killpoint_);                                              \
  } while (false)
#else
#define RUNRIG_KILLPOINT(name) static_cast<void>(0)
#endif

#include <string_view>
#include <vector>

namespace runrig::killpoint {

/// True if this build of the library has kill points.
[[nodiscard]] bool compiled_in() noexcept;
/// Every name that is compiled into this program, sorted, each once. Empty in builds without kill points.
[[nodiscard]] std::vector<std::string_view> names();
/// From now on this process, and each child forked from it, is killed at its `nth` reaching of `name`.
void arm(std::string_view name, int nth = 1);
void disarm() noexcept;

namespace detail {
void reach(const char* name) noexcept;
}

}  // namespace runrig::killpoint
