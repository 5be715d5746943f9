// Compiled for AVX2 and FMA; see engine/kernel/files.cmake.
#include "reduction_body.hpp"

namespace runrig::detail {

const ReductionTable& avx2_reduction_loops() noexcept { return reduction_table; }

}  // namespace runrig::detail
