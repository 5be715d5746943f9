#include "level.hpp"

#include <algorithm>
#include <array>
#include <cstdlib>
#include <string>

#include "loops.hpp"
#include "reduction_loops.hpp"
#include "runrig/engine/expression.hpp"
#include "runrig/sync/error.hpp"
#include "statistics_loops.hpp"

namespace runrig {
namespace detail {
namespace {

constexpr std::array<std::string_view, 4> level_names{"baseline", "v2", "v3", "v4"};

Level choose_level() {
  const Level machine = machine_level();
  const char* const wanted = std::getenv("RUNRIG_LEVEL");
  if (wanted == nullptr || *wanted == '\0') return machine;
  const auto* const found = std::find(level_names.begin(), level_names.end(), wanted);
  if (found == level_names.end()) {
    throw Error(std::errc::invalid_argument, "use the kernels' level named by RUNRIG_LEVEL (baseline, v2, v3 or v4)",
                wanted);
  }
  return std::min(machine, static_cast<Level>(found - level_names.begin()));
}

}  // namespace

std::string_view level_name(Level level) noexcept { return level_names[static_cast<std::size_t>(level)]; }

Level machine_level() noexcept {
#if defined(__x86_64__)
  // Exactly what the sources of each level are compiled for.
  __builtin_cpu_init();
  if (!__builtin_cpu_supports("sse4.2")) return Level::baseline;
  if (!__builtin_cpu_supports("avx2") || !__builtin_cpu_supports("fma")) return Level::v2;
  const bool avx512 = __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") &&
                      __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl");
  return avx512 ? Level::v4 : Level::v3;
#else
  return Level::baseline;
#endif
}

Level used_level() {
  static const Level level = choose_level();
  return level;
}

const LoopTable& loops_of_level(Level level) noexcept {
  switch (level) {
#if defined(__x86_64__)
    case Level::v4:
      return v4_loops();
    case Level::v3:
      return v3_loops();
    case Level::v2:
      return v2_loops();
#endif
    default:
      return baseline_loops();
  }
}

const StatisticsLoops& statistics_loops_of_level(Level level) noexcept {
  switch (level) {
#if defined(__x86_64__)
    case Level::v4:
      return v4_statistics_loops();
    case Level::v3:
      return v3_statistics_loops();
    case Level::v2:
      return v2_statistics_loops();
#endif
    default:
      return baseline_statistics_loops();
  }
}

const ReductionTable& reduction_loops_of_level(Level level) noexcept {
  switch (level) {
#if defined(__x86_64__)
    case Level::v4:
      return v4_reduction_loops();
    case Level::v3:
      return v3_reduction_loops();
    case Level::v2:
      return v2_reduction_loops();
#endif
    default:
      return baseline_reduction_loops();
  }
}

const LoopTable& best_loops() { return loops_of_level(used_level()); }
const StatisticsLoops& best_statistics_loops() { return statistics_loops_of_level(used_level()); }
const ReductionTable& best_reduction_loops() { return reduction_loops_of_level(used_level()); }

}  // namespace detail

std::string_view kernel_level() { return detail::level_name(detail::used_level()); }

}  // namespace runrig
