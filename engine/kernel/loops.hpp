#pragma once

#include <array>
#include <cstddef>

#include "program_format.hpp"

namespace runrig::detail {

/// One instruction over whole packets: `result` and each of `arguments` are contiguous lanes, aligned to their item
/// size. `result` may be an argument whose lanes are as wide.
using Loop = void (*)(std::byte* result, const std::byte* const* arguments, std::size_t packets);

/// A loop for each operation and lane; null where there is none.
struct LoopTable {
  std::array<std::array<Loop, lane_count>, op_count> loops{};
  [[nodiscard]] Loop at(Op op, Lane lane) const noexcept {
    return loops[static_cast<std::size_t>(op)][static_cast<std::size_t>(lane)];
  }
};

/// The same loops compiled for several levels of instructions. All give the same numbers: arithmetic is rounded once
/// everywhere (no fused multiplications), and of SLEEF those functions are used whose results do not depend on the
/// width of vectors. Only the sign and payload of a NaN may differ.
[[nodiscard]] const LoopTable& baseline_loops() noexcept;
#if defined(__x86_64__)
[[nodiscard]] const LoopTable& avx2_loops() noexcept;
[[nodiscard]] const LoopTable& avx512_loops() noexcept;
#endif

/// The widest that this machine can run.
[[nodiscard]] const LoopTable& best_loops() noexcept;

}  // namespace runrig::detail
