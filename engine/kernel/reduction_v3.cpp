// Compiled for x86-64-v3; see engine/kernel/files.cmake.
#include "reduction_body.hpp"

namespace runrig::detail {

const ReductionTable& v3_reduction_loops() noexcept { return reduction_table; }

}  // namespace runrig::detail
