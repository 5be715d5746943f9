// Compiled for AVX-512; see engine/kernel/files.cmake.
#include "statistics_body.hpp"

namespace runrig::detail {

const StatisticsLoops& avx512_statistics_loops() noexcept { return statistics_table; }

}  // namespace runrig::detail
