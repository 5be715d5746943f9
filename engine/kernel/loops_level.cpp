#include "loops.hpp"
#include "statistics_loops.hpp"

namespace runrig::detail {
namespace {

enum class Level { baseline, avx2, avx512 };

Level machine_level() noexcept {
#if defined(__x86_64__)
  __builtin_cpu_init();
  const bool avx512 = __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") &&
                      __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl");
  if (avx512) return Level::avx512;
  if (__builtin_cpu_supports("avx2")) return Level::avx2;
#endif
  return Level::baseline;
}

const Level level = machine_level();

}  // namespace

const LoopTable& best_loops() noexcept {
#if defined(__x86_64__)
  if (level == Level::avx512) return avx512_loops();
  if (level == Level::avx2) return avx2_loops();
#endif
  return baseline_loops();
}

const StatisticsLoops& best_statistics_loops() noexcept {
#if defined(__x86_64__)
  if (level == Level::avx512) return avx512_statistics_loops();
  if (level == Level::avx2) return avx2_statistics_loops();
#endif
  return baseline_statistics_loops();
}

}  // namespace runrig::detail
