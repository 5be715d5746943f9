// Compiled for the level that the whole build has; see engine/kernel/files.cmake.
#include "loops_body.hpp"

namespace runrig::detail {

const LoopTable& baseline_loops() noexcept { return table; }

}  // namespace runrig::detail
