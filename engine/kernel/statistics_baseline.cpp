// Compiled for the level that the whole build has; see engine/kernel/files.cmake.
#include "statistics_body.hpp"

namespace runrig::detail {

const StatisticsLoops& baseline_statistics_loops() noexcept { return statistics_table; }

}  // namespace runrig::detail
