// Sums and products of vectors, and operations fused with one another. Part of loops_body.hpp.
#pragma once

#include "program_format.hpp"
#include "vectors.hpp"

namespace runrig::detail {
namespace {

// Of two NaNs the machine gives the first, and the compiler exchanges the operands of sums and products as it likes, in
// one copy of an unrolled loop but not in the other. So these are the instructions themselves.
#if defined(__AVX__)
#define RUNRIG_ORDERED(name, Vector, instruction, op)                    \
  inline Vector name(Vector a, Vector b) {                               \
    Vector result;                                                       \
    asm("v" instruction " %2, %1, %0" : "=v"(result) : "v"(a), "vm"(b)); \
    return result;                                                       \
  }
#elif defined(__SSE2__)
#define RUNRIG_ORDERED(name, Vector, instruction, op) \
  inline Vector name(Vector a, Vector b) {            \
    asm(instruction " %1, %0" : "+x"(a) : "x"(b));    \
    return a;                                         \
  }
#else
#define RUNRIG_ORDERED(name, Vector, instruction, op) \
  inline Vector name(Vector a, Vector b) { return a op b; }
#endif
RUNRIG_ORDERED(ordered_sum, DoubleVector, "addpd", +)
RUNRIG_ORDERED(ordered_sum, FloatVector, "addps", +)
RUNRIG_ORDERED(ordered_product, DoubleVector, "mulpd", *)
RUNRIG_ORDERED(ordered_product, FloatVector, "mulps", *)
#undef RUNRIG_ORDERED
struct Sum {
  template <class V>
  static V of(V a, V b) {
    return ordered_sum(a, b);
  }
};
struct Product {
  template <class V>
  static V of(V a, V b) {
    return ordered_product(a, b);
  }
};

/// A fusion over vectors. Nothing here is contracted to one instruction that rounds once: see the flags in
/// cmake/runrig_targets.cmake.
template <Fusion fusion>
struct Fused {
  template <class V>
  static V of(V a, V b, V c) {
    const V inner = made<fusion.inner>(a, b);
    return last(fusion.form == Fusion::Form::left ? made<fusion.outer>(inner, c) : made<fusion.outer>(c, inner));
  }
  template <class V>
  static V of(V a, V b, V c, V d) {
    return last(made<fusion.outer>(made<fusion.inner>(a, b), made<fusion.inner>(c, d)));
  }

 private:
  template <Op op, class V>
  static V made(V a, V b) {
    if constexpr (op == Op::add) return Sum::of(a, b);
    if constexpr (op == Op::subtract) return a - b;
    if constexpr (op == Op::multiply) return Product::of(a, b);
    if constexpr (op == Op::divide) return a / b;
  }
  template <class V>
  static V last(V value) {
    if constexpr (fusion.root) return square_root(value);
    return value;
  }
};

}  // namespace
}  // namespace runrig::detail
