#pragma once

#include <array>
#include <compare>
#include <cstddef>
#include <cstdint>
#include <type_traits>

#include "runrig/shm/dtype.hpp"

/// The form in which a bound expression lies in memory, read by run_program().
namespace runrig::detail {

/// How elements lie in the registers of a program. Booleans are u8, 0 or 1; float16 is f32 that holds values of
/// float16 only, since every operation of it is computed in float32 and rounded. c64 and c128 are pairs of f32 and f64:
/// the real part, then the imaginary one.
enum class Lane : std::uint8_t { u8, i8, u16, i16, u32, i32, u64, i64, f32, f64, c64, c128 };
inline constexpr std::size_t lane_count = 12;
inline constexpr std::size_t real_lane_count = 10;
[[nodiscard]] constexpr std::size_t lane_bytes(Lane lane) noexcept {
  constexpr std::array<std::uint8_t, lane_count> sizes{1, 1, 2, 2, 4, 4, 8, 8, 4, 8, 8, 16};
  return sizes[static_cast<std::size_t>(lane)];
}
[[nodiscard]] constexpr Lane lane_of(DType dtype) noexcept {
  constexpr std::array<Lane, dtype_count> lanes{Lane::u8,  Lane::i8,  Lane::u8,  Lane::i16, Lane::u16,
                                                Lane::i32, Lane::u32, Lane::i64, Lane::u64, Lane::f32,
                                                Lane::f32, Lane::f64, Lane::c64, Lane::c128};
  return lanes[static_cast<std::size_t>(dtype)];
}

/// What an instruction does. "Lane" is Instruction::lane: of the arguments, unless said otherwise.
enum class Op : std::uint8_t {
  copy,  // by any lane of that width
  load_boolean,
  load_half,
  store_half,  // between memory and register; lane u8, f32, f32
  round_half,  // f32 to the nearest float16
  cast_u8,
  cast_i8,
  cast_u16,
  cast_i16,
  cast_u32,
  cast_i32,
  cast_u64,
  cast_i64,
  cast_f32,
  cast_f64,
  cast_c64,
  cast_c128,  // from; lane: to. Floats are cut to integers, larger integers modulo what fits; none from complex to real
  round_odd,  // f64 to f32, so that rounding it again to float16 is as rounding once; lane f32
  truth,      // not zero; to u8, as all comparisons
  add,
  subtract,
  multiply,
  divide,
  floor_divide,
  remainder,
  fmod,
  power,
  require_natural,  // throws if an argument is negative; no result
  negative,
  absolute,
  sign,
  bit_and,
  bit_or,
  bit_xor,
  bit_not,
  shift_left,
  shift_right,
  copysign,
  less,
  less_equal,
  equal,
  not_equal,
  less_iu,
  less_equal_iu,
  less_ui,
  less_equal_ui,
  equal_iu,
  not_equal_iu,  // of int64 with uint64, or the reverse
  minimum,
  maximum,
  select,  // first argument u8
  isnan,
  isinf,
  isfinite,
  real,
  imaginary,     // of c64, c128; to f32, f64
  conjugate,     // lane c64, c128
  make_complex,  // of two f32, f64; to c64, c128
  floor,
  ceil,
  trunc,
  rint,
  sqrt,
  cbrt,
  exp,
  exp2,
  expm1,
  log,
  log2,
  log10,
  log1p,
  sin,
  cos,
  tan,
  arcsin,
  arccos,
  arctan,
  sinh,
  cosh,
  tanh,
  arcsinh,
  arccosh,
  arctanh,
  arctan2,
  hypot,
  fused,  // and those behind it: fusions, in their order; lanes f32 and f64
};
inline constexpr std::size_t single_op_count = static_cast<std::size_t>(Op::fused);

/// Operations that one loop makes, so that what is between them need not go through the cache: `inner` of two
/// arguments, then `outer` of that and a third one, or of that and `inner` of two more, then the root. Each is rounded
/// by itself, as NumPy does.
struct Fusion {
  enum class Form : std::uint8_t {
    left,   // (a inner b) outer c
    right,  // c outer (a inner b)
    both,   // (a inner b) outer (c inner d)
  };
  Op inner = Op::copy;
  Op outer = Op::copy;
  Form form = Form::left;
  bool root = false;
  friend constexpr bool operator==(const Fusion&, const Fusion&) = default;
};
inline constexpr std::array fusions{
    Fusion{Op::multiply, Op::add, Fusion::Form::both, true},
    Fusion{Op::multiply, Op::add, Fusion::Form::both},
    Fusion{Op::multiply, Op::subtract, Fusion::Form::both, true},
    Fusion{Op::multiply, Op::subtract, Fusion::Form::both},
    Fusion{Op::multiply, Op::add, Fusion::Form::left, true},
    Fusion{Op::multiply, Op::add, Fusion::Form::right, true},
    Fusion{Op::multiply, Op::subtract, Fusion::Form::left, true},
    Fusion{Op::multiply, Op::subtract, Fusion::Form::right, true},
    Fusion{Op::multiply, Op::add, Fusion::Form::left},
    Fusion{Op::multiply, Op::add, Fusion::Form::right},
    Fusion{Op::multiply, Op::subtract, Fusion::Form::left},
    Fusion{Op::multiply, Op::subtract, Fusion::Form::right},
    Fusion{Op::multiply, Op::multiply, Fusion::Form::left},
    Fusion{Op::add, Op::multiply, Fusion::Form::left},
    Fusion{Op::add, Op::multiply, Fusion::Form::right},
    Fusion{Op::subtract, Op::multiply, Fusion::Form::left},
    Fusion{Op::subtract, Op::multiply, Fusion::Form::right},
    Fusion{Op::add, Op::divide, Fusion::Form::left},
    Fusion{Op::subtract, Op::divide, Fusion::Form::left},
    Fusion{Op::add, Op::divide, Fusion::Form::right},
    Fusion{Op::add, Op::add, Fusion::Form::left},
};
inline constexpr std::size_t op_count = single_op_count + fusions.size();
static_assert(op_count <= 256);
[[nodiscard]] constexpr Op fused_op(std::size_t fusion) noexcept { return static_cast<Op>(single_op_count + fusion); }

/// Elements are computed in packets of this many, whatever the number asked for: each lies at the same place in the
/// same vector instruction, so its bits do not depend on where a slice begins or ends.
inline constexpr std::size_t packet_elements = 64;
/// Elements of which the inputs are made ready at a time, and the inputs of the next are on their way.
inline constexpr std::size_t block_elements = 512;
/// What a register has of them while one instruction after the other runs: so little that the processor, which looks
/// some hundred operations ahead, is at the next tile's loads while this one's square roots and divisions are made.
inline constexpr std::size_t tile_bytes = 512;

inline constexpr std::size_t max_arguments = 4;

/// Register numbers count inputs first, then constants, then temporaries; the last one is the result.
struct Instruction {
  Op op = Op::copy;
  Lane lane = Lane::u8;
  std::uint16_t result = 0;
  std::array<std::uint16_t, max_arguments> arguments{};
  std::uint16_t argument_count = 0;
};
static_assert(sizeof(Instruction) == 14 && std::is_trivially_copyable_v<Instruction>);

/// An element of any lane, in the first bytes.
struct ElementBits {
  std::array<std::uint64_t, 2> words{};
  friend auto operator<=>(const ElementBits&, const ElementBits&) = default;
};

struct Constant {
  ElementBits bits;
  std::uint64_t bytes = 0;
};

/// The head of a program. Behind it: Constant[constants], Instruction[instructions], input item sizes as
/// std::uint8_t[inputs].
struct ProgramHead {
  std::uint32_t magic = 0x47525052;
  std::uint16_t inputs = 0;
  std::uint16_t constants = 0;
  std::uint16_t temporaries = 0;
  std::uint16_t instructions = 0;
  std::uint8_t result_bytes = 8;  // of an element
  std::uint8_t widest_bytes = 8;  // of an element of any register
  std::uint8_t tile_packets = 1;
  std::uint8_t unused = 0;
};
static_assert(sizeof(ProgramHead) == 16 && std::is_trivially_copyable_v<ProgramHead>);

}  // namespace runrig::detail
