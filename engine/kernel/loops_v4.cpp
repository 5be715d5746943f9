// Compiled for x86-64-v4; see engine/kernel/files.cmake.
#include "loops_body.hpp"

namespace runrig::detail {

const LoopTable& v4_loops() noexcept { return table; }

}  // namespace runrig::detail
