// Compiled for x86-64-v4; see engine/kernel/files.cmake.
#include "statistics_body.hpp"

namespace runrig::detail {

const StatisticsLoops& v4_statistics_loops() noexcept { return statistics_table; }

}  // namespace runrig::detail
