// Compiled for AVX-512; see engine/kernel/files.cmake.
#include "reduction_body.hpp"

namespace runrig::detail {

const ReductionTable& avx512_reduction_loops() noexcept { return reduction_table; }

}  // namespace runrig::detail
