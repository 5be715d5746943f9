// What the operations do to complex numbers. Part of loops_body.hpp.
#pragma once

#include "loops_operations.hpp"

namespace runrig::detail {
namespace {

/// An element of the lanes c64 and c128. std::complex is not used: its products and quotients are calls.
template <class T>
struct Complex {
  T re;
  T im;
};

template <class T>
struct ComplexOf {
  template <class From>
  Complex<T> operator()(From a) const {
    return {static_cast<T>(a), T{0}};
  }
  template <class From>
  Complex<T> operator()(Complex<From> a) const {
    return {static_cast<T>(a.re), static_cast<T>(a.im)};
  }
};
struct MakeComplex {
  template <class T>
  Complex<T> operator()(T a, T b) const {
    return {a, b};
  }
};
struct RealPart {
  template <class T>
  T operator()(Complex<T> a) const {
    return a.re;
  }
};
struct ImaginaryPart {
  template <class T>
  T operator()(Complex<T> a) const {
    return a.im;
  }
};
struct ComplexTruth {
  template <class T>
  bool operator()(Complex<T> a) const {
    return (a.re != 0) | (a.im != 0);
  }
};

/// Any function of reals, of both parts.
template <class F>
struct OfParts {
  template <class T>
  Complex<T> operator()(Complex<T> a) const {
    return {F{}(a.re), F{}(a.im)};
  }
  template <class T>
  Complex<T> operator()(Complex<T> a, Complex<T> b) const {
    return {F{}(a.re, b.re), F{}(a.im, b.im)};
  }
};
struct Conjugate {
  template <class T>
  Complex<T> operator()(Complex<T> a) const {
    return {a.re, -a.im};
  }
};
struct ComplexMultiply {
  template <class T>
  Complex<T> operator()(Complex<T> a, Complex<T> b) const {
    return {a.re * b.re - a.im * b.im, a.re * b.im + a.im * b.re};
  }
};
/// Smith's method, which does not overflow where the result does not, with NumPy's roundings.
/// R. L. Smith, Algorithm 116, Communications of the ACM 5 (1962).
struct ComplexDivide {
  template <class T>
  Complex<T> operator()(Complex<T> a, Complex<T> b) const {
    const T re = std::fabs(b.re);
    const T im = std::fabs(b.im);
    const bool of_real = re >= im;
    const T large = of_real ? b.re : b.im;
    const T small = of_real ? b.im : b.re;
    const T ratio = small / large;
    const T scale = T{1} / (large + small * ratio);
    const T first = of_real ? a.re : a.im;   // beside the larger part
    const T second = of_real ? a.im : a.re;  // beside the smaller one
    const T sum = (first + second * ratio) * scale;
    const T difference = of_real ? (second - first * ratio) * scale : (first * ratio - second) * scale;
    const bool by_zero = (re == 0) & (im == 0);
    return {by_zero ? a.re / re : sum, by_zero ? a.im / re : difference};
  }
};

/// NumPy's order: by the real part, then the imaginary one; with a NaN in it nothing is less.
struct ComplexLess {
  template <class T>
  bool operator()(Complex<T> a, Complex<T> b) const {
    return ((a.re < b.re) & (a.im == a.im) & (b.im == b.im)) | ((a.re == b.re) & (a.im < b.im));
  }
};
struct ComplexLessEqual {
  template <class T>
  bool operator()(Complex<T> a, Complex<T> b) const {
    return ((a.re < b.re) & (a.im == a.im) & (b.im == b.im)) | ((a.re == b.re) & (a.im <= b.im));
  }
};
struct ComplexEqual {
  template <class T>
  bool operator()(Complex<T> a, Complex<T> b) const {
    return (a.re == b.re) & (a.im == b.im);
  }
};
struct ComplexNotEqual {
  template <class T>
  bool operator()(Complex<T> a, Complex<T> b) const {
    return (a.re != b.re) | (a.im != b.im);
  }
};
struct ComplexIsNan {
  template <class T>
  bool operator()(Complex<T> a) const {
    return (a.re != a.re) | (a.im != a.im);
  }
};
struct ComplexIsInf {
  template <class T>
  bool operator()(Complex<T> a) const {
    return IsInf{}(a.re) | IsInf{}(a.im);
  }
};
struct ComplexIsFinite {
  template <class T>
  bool operator()(Complex<T> a) const {
    return IsFinite{}(a.re) & IsFinite{}(a.im);
  }
};
/// The first one where it is a NaN.
struct ComplexMinimum {
  template <class T>
  Complex<T> operator()(Complex<T> a, Complex<T> b) const {
    const bool first = ComplexIsNan{}(a) | ComplexLessEqual{}(a, b);
    return {first ? a.re : b.re, first ? a.im : b.im};
  }
};
struct ComplexMaximum {
  template <class T>
  Complex<T> operator()(Complex<T> a, Complex<T> b) const {
    const bool first = ComplexIsNan{}(a) | ComplexLessEqual{}(b, a);
    return {first ? a.re : b.re, first ? a.im : b.im};
  }
};
struct ComplexSelect {
  template <class T>
  Complex<T> operator()(std::uint8_t condition, Complex<T> a, Complex<T> b) const {
    return {condition != 0 ? a.re : b.re, condition != 0 ? a.im : b.im};
  }
};

}  // namespace
}  // namespace runrig::detail
