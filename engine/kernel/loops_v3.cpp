// Compiled for x86-64-v3; see engine/kernel/files.cmake.
#include "loops_body.hpp"

namespace runrig::detail {

const LoopTable& v3_loops() noexcept { return table; }

}  // namespace runrig::detail
