// Compiled for AVX2; see engine/kernel/files.cmake.
#include "statistics_body.hpp"

namespace runrig::detail {

const StatisticsLoops& avx2_statistics_loops() noexcept { return statistics_table; }

}  // namespace runrig::detail
