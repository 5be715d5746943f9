#pragma once

#include <cstdint>
#include <string_view>

namespace runrig::detail {

/// The levels of instructions that kernels are compiled for: those of the x86-64 psABI, and what the whole build has.
enum class Level : std::uint8_t { baseline, v2, v3, v4 };
[[nodiscard]] std::string_view level_name(Level level) noexcept;
/// The highest that this machine can run.
[[nodiscard]] Level machine_level() noexcept;
/// The one that is used in this process: the machine's, or a lower one that the environment's RUNRIG_LEVEL names
/// ("baseline", "v2", "v3", "v4"). Read once. Throws Error invalid_argument if it names none.
[[nodiscard]] Level used_level();

}  // namespace runrig::detail
