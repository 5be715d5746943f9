#pragma once

#include <array>
#include <cstddef>

#include "level.hpp"
#include "program_format.hpp"

namespace runrig::detail {

/// One instruction over whole packets: `result` and each of `arguments` are contiguous lanes, aligned to their item
/// size. `result` may be an argument whose lanes are as wide.
using Loop = void (*)(std::byte* result, const std::byte* const* arguments, std::size_t packets);

/// A loop for each operation and lane; null where there is none.
struct LoopTable {
  std::array<std::array<Loop, lane_count>, op_count> loops{};
  /// The same for some with results of f32 and f64, which go past the caches; they are aligned to lines of 64 bytes.
  std::array<std::array<Loop, 2>, op_count> streamed{};
  [[nodiscard]] Loop streamed_at(Op op, Lane lane) const noexcept {
    return lane == Lane::f32 || lane == Lane::f64 ? streamed[static_cast<std::size_t>(op)][lane == Lane::f64] : nullptr;
  }
  [[nodiscard]] Loop at(Op op, Lane lane) const noexcept {
    return loops[static_cast<std::size_t>(op)][static_cast<std::size_t>(lane)];
  }
};

/// The same loops compiled for several levels of instructions. All give the same numbers (arithmetic is rounded once
/// everywhere) but for the sign and payload of a NaN, and for transcendental functions, which are within 2 units in the
/// last place on each: from v3 on they multiply and add in one step.
[[nodiscard]] const LoopTable& baseline_loops() noexcept;
#if defined(__x86_64__)
[[nodiscard]] const LoopTable& v2_loops() noexcept;
[[nodiscard]] const LoopTable& v3_loops() noexcept;
[[nodiscard]] const LoopTable& v4_loops() noexcept;
#endif
/// Functions of complex numbers: the C library's, and so the same on each level. Null where there is none.
[[nodiscard]] Loop complex_function(Op op, Lane lane) noexcept;
/// From a level's table, or the complex function.
[[nodiscard]] inline Loop loop_of(const LoopTable& table, Op op, Lane lane) noexcept {
  const Loop loop = table.at(op, lane);
  return loop != nullptr || lane < Lane::c64 ? loop : complex_function(op, lane);
}

/// To be run on machines of that level and above only.
[[nodiscard]] const LoopTable& loops_of_level(Level level) noexcept;
/// Those of used_level().
[[nodiscard]] const LoopTable& best_loops();

}  // namespace runrig::detail
