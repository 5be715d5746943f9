#pragma once

#include "expression_tree.hpp"
#include "program_format.hpp"

namespace runrig::detail {

/// The instruction that does what the operation says, for those that one instruction does.
[[nodiscard]] Op op_of(Operation operation) noexcept;
/// Whether its float16 result may have more bits than float16 when computed in float32. The others choose or cut.
[[nodiscard]] bool rounds(Op op) noexcept;

}  // namespace runrig::detail
