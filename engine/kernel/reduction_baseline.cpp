// Compiled for the level that the whole build has; see engine/kernel/files.cmake.
#include "reduction_body.hpp"

namespace runrig::detail {

const ReductionTable& baseline_reduction_loops() noexcept { return reduction_table; }

}  // namespace runrig::detail
