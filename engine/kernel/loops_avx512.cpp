// Compiled for AVX-512; see engine/kernel/files.cmake.
#include "loops_body.hpp"

namespace runrig::detail {

const LoopTable& avx512_loops() noexcept { return table; }

}  // namespace runrig::detail
