#pragma once

#include <cstdint>
#include <optional>
#include <span>

#include "expression_literal.hpp"
#include "expression_tree.hpp"
#include "program_format.hpp"
#include "runrig/shm/dtype.hpp"

/// NumPy 2's rules of which type an operation is computed in, and which it gives.
namespace runrig::detail {

/// A set of dtypes.
using TypeSet = std::uint16_t;
[[nodiscard]] constexpr TypeSet set_of(DType dtype) noexcept {
  return static_cast<TypeSet>(1U << static_cast<unsigned>(dtype));
}
inline constexpr TypeSet booleans = set_of(DType::boolean);
inline constexpr TypeSet floats = 0b1110'0000'0000;
inline constexpr TypeSet integers = 0b0001'1111'1110;
inline constexpr TypeSet complexes = 0b11'0000'0000'0000;
inline constexpr TypeSet real_numbers = integers | floats;
inline constexpr TypeSet numbers = real_numbers | complexes;
inline constexpr TypeSet all_types = numbers | booleans;

/// NumPy's casting='safe'.
[[nodiscard]] bool can_cast(DType from, DType to) noexcept;
/// The first type of the set, in NumPy's order, that all of `types` can be cast to safely.
[[nodiscard]] std::optional<DType> loop_type(TypeSet loops, std::span<const DType> types) noexcept;
/// np.result_type of types. There is one for all.
[[nodiscard]] DType common_type(std::span<const DType> types) noexcept;

[[nodiscard]] constexpr bool is_integer(DType dtype) noexcept { return (set_of(dtype) & integers) != 0; }

/// The types that the function of this name has loops for; empty for those with rules of their own (where, clip, ...).
[[nodiscard]] TypeSet loops_of(Operation operation) noexcept;

/// The type that a literal takes when it meets an array of `type` (NEP 50: it is weak).
[[nodiscard]] DType type_beside(const Literal& literal, DType type) noexcept;
/// The type of a literal by itself: bool, int64 (uint64 if only that fits), float64, complex128. None for larger
/// integers.
[[nodiscard]] std::optional<DType> type_alone(const Literal& literal) noexcept;
/// Does it fit? Everything fits floats, where it may become infinite.
[[nodiscard]] bool fits(const Literal& literal, DType type) noexcept;
/// The least and largest of an integer type.
[[nodiscard]] Literal least(DType integer) noexcept;
[[nodiscard]] Literal largest(DType integer) noexcept;
/// The literal as a lane of `type` (float16: the float32 of the same value). It fits.
[[nodiscard]] ElementBits bits_of(const Literal& literal, DType type) noexcept;

}  // namespace runrig::detail
