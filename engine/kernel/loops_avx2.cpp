// Compiled for AVX2; see engine/kernel/files.cmake.
#include "loops_body.hpp"

namespace runrig::detail {

const LoopTable& avx2_loops() noexcept { return table; }

}  // namespace runrig::detail
