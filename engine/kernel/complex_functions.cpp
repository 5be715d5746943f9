#include <array>
#include <cmath>
#include <complex>
#include <cstdint>
#include <limits>
#include <numbers>

#include "loops.hpp"

/// Functions of complex numbers are the C library's, element by element, as NumPy's are. They are slow beside those of
/// reals, but right at the edges: infinities, branch cuts, what would overflow on the way (C99, annex G).
namespace runrig::detail {
namespace {

template <class T>
using Number = std::complex<T>;

template <class T>
constexpr Number<T> not_a_number{std::numeric_limits<T>::quiet_NaN(), std::numeric_limits<T>::quiet_NaN()};

/// Without the recovery of infinities that operator* does, as NumPy multiplies.
template <class T>
Number<T> product(Number<T> a, Number<T> b) {
  return {a.real() * b.real() - a.imag() * b.imag(), a.real() * b.imag() + a.imag() * b.real()};
}

struct Exp {
  template <class T>
  Number<T> operator()(Number<T> a) const {
    return std::exp(a);
  }
};
struct Exp2 {
  template <class T>
  Number<T> operator()(Number<T> a) const {
    return std::exp(a * std::numbers::ln2_v<T>);
  }
};
/// The real part without its 1 - cos, which would lose the digits of small numbers.
struct Expm1 {
  template <class T>
  Number<T> operator()(Number<T> a) const {
    const T half_sine = std::sin(a.imag() / 2);
    return {std::expm1(a.real()) * std::cos(a.imag()) - 2 * half_sine * half_sine,
            std::exp(a.real()) * std::sin(a.imag())};
  }
};
struct Log {
  template <class T>
  Number<T> operator()(Number<T> a) const {
    return std::log(a);
  }
};
struct Log2 {
  template <class T>
  Number<T> operator()(Number<T> a) const {
    const Number<T> natural = std::log(a);
    return {natural.real() * std::numbers::log2e_v<T>, natural.imag() * std::numbers::log2e_v<T>};
  }
};
struct Log10 {
  template <class T>
  Number<T> operator()(Number<T> a) const {
    const Number<T> natural = std::log(a);
    return {natural.real() * std::numbers::log10e_v<T>, natural.imag() * std::numbers::log10e_v<T>};
  }
};
struct Log1p {
  template <class T>
  Number<T> operator()(Number<T> a) const {
    const T angle = std::atan2(a.imag(), a.real() + 1);
    // |1 + a|^2 - 1, without the 1 that would swallow a small number.
    const bool small = std::fabs(a.real()) < T{0.5} && std::fabs(a.imag()) < T{0.5};
    if (small) return {std::log1p(a.real() * (2 + a.real()) + a.imag() * a.imag()) / 2, angle};
    return {std::log(std::hypot(a.real() + 1, a.imag())), angle};
  }
};
struct Sqrt {
  template <class T>
  Number<T> operator()(Number<T> a) const {
    return std::sqrt(a);
  }
};
/// NumPy 2's: the number divided by its magnitude.
struct Sign {
  template <class T>
  Number<T> operator()(Number<T> a) const {
    const T magnitude = std::hypot(a.real(), a.imag());
    if (magnitude == 0) return {0, 0};
    if (!std::isinf(magnitude)) return {a.real() / magnitude, a.imag() / magnitude};
    const bool real = std::isinf(a.real());
    const bool imaginary = std::isinf(a.imag());
    if (real && imaginary) return not_a_number<T>;
    return {real ? std::copysign(T{1}, a.real()) : 0, imaginary ? std::copysign(T{1}, a.imag()) : 0};
  }
};
struct Sin {
  template <class T>
  Number<T> operator()(Number<T> a) const {
    return std::sin(a);
  }
};
struct Cos {
  template <class T>
  Number<T> operator()(Number<T> a) const {
    return std::cos(a);
  }
};
struct Tan {
  template <class T>
  Number<T> operator()(Number<T> a) const {
    return std::tan(a);
  }
};
struct Arcsin {
  template <class T>
  Number<T> operator()(Number<T> a) const {
    return std::asin(a);
  }
};
struct Arccos {
  template <class T>
  Number<T> operator()(Number<T> a) const {
    return std::acos(a);
  }
};
struct Arctan {
  template <class T>
  Number<T> operator()(Number<T> a) const {
    return std::atan(a);
  }
};
struct Sinh {
  template <class T>
  Number<T> operator()(Number<T> a) const {
    return std::sinh(a);
  }
};
struct Cosh {
  template <class T>
  Number<T> operator()(Number<T> a) const {
    return std::cosh(a);
  }
};
struct Tanh {
  template <class T>
  Number<T> operator()(Number<T> a) const {
    return std::tanh(a);
  }
};
struct Arcsinh {
  template <class T>
  Number<T> operator()(Number<T> a) const {
    return std::asinh(a);
  }
};
struct Arccosh {
  template <class T>
  Number<T> operator()(Number<T> a) const {
    return std::acosh(a);
  }
};
struct Arctanh {
  template <class T>
  Number<T> operator()(Number<T> a) const {
    return std::atanh(a);
  }
};

/// Small whole exponents by multiplication, as NumPy does it; 0 to a power that is not positive is not a number.
struct Power {
  template <class T>
  Number<T> operator()(Number<T> base, Number<T> exponent) const {
    if (exponent.real() == 0 && exponent.imag() == 0) return {1, 0};
    if (base.real() == 0 && base.imag() == 0) {
      if (exponent.real() > 0 && exponent.imag() == 0) return {0, 0};
      return not_a_number<T>;
    }
    const bool whole =
        exponent.imag() == 0 && std::fabs(exponent.real()) < 100 && std::trunc(exponent.real()) == exponent.real();
    if (!whole) return std::pow(base, exponent);
    auto left = static_cast<unsigned>(std::fabs(exponent.real()));
    Number<T> result = (left & 1U) != 0 ? base : Number<T>{1, 0};
    for (Number<T> squared = base; (left >>= 1U) != 0;) {
      squared = product(squared, squared);
      if ((left & 1U) != 0) result = product(result, squared);
    }
    return exponent.real() < 0 ? Number<T>{1, 0} / result : result;
  }
};

template <class F, class T>
void unary(std::byte* result, const std::byte* const* arguments, std::size_t packets) {
  auto* const out = reinterpret_cast<Number<T>*>(result);
  const auto* const in = reinterpret_cast<const Number<T>*>(arguments[0]);
  for (std::size_t i = 0; i < packets * packet_elements; ++i) out[i] = F{}(in[i]);
}
template <class T>
void power(std::byte* result, const std::byte* const* arguments, std::size_t packets) {
  auto* const out = reinterpret_cast<Number<T>*>(result);
  const auto* const bases = reinterpret_cast<const Number<T>*>(arguments[0]);
  const auto* const exponents = reinterpret_cast<const Number<T>*>(arguments[1]);
  for (std::size_t i = 0; i < packets * packet_elements; ++i) out[i] = Power{}(bases[i], exponents[i]);
}

using Row = std::array<Loop, 2>;
template <class F>
constexpr Row both{unary<F, float>, unary<F, double>};

class Table {
 public:
  constexpr Table() {
    of(Op::sign) = both<Sign>;
    of(Op::sqrt) = both<Sqrt>;
    of(Op::exp) = both<Exp>;
    of(Op::exp2) = both<Exp2>;
    of(Op::expm1) = both<Expm1>;
    of(Op::log) = both<Log>;
    of(Op::log2) = both<Log2>;
    of(Op::log10) = both<Log10>;
    of(Op::log1p) = both<Log1p>;
    of(Op::sin) = both<Sin>;
    of(Op::cos) = both<Cos>;
    of(Op::tan) = both<Tan>;
    of(Op::arcsin) = both<Arcsin>;
    of(Op::arccos) = both<Arccos>;
    of(Op::arctan) = both<Arctan>;
    of(Op::sinh) = both<Sinh>;
    of(Op::cosh) = both<Cosh>;
    of(Op::tanh) = both<Tanh>;
    of(Op::arcsinh) = both<Arcsinh>;
    of(Op::arccosh) = both<Arccosh>;
    of(Op::arctanh) = both<Arctanh>;
    of(Op::power) = {power<float>, power<double>};
  }
  [[nodiscard]] Loop at(Op op, Lane lane) const noexcept {
    return loops_[static_cast<std::size_t>(op)][lane == Lane::c64 ? 0 : 1];
  }

 private:
  constexpr Row& of(Op op) { return loops_[static_cast<std::size_t>(op)]; }
  std::array<Row, op_count> loops_{};
};
constexpr Table table;

}  // namespace

Loop complex_function(Op op, Lane lane) noexcept { return lane < Lane::c64 ? nullptr : table.at(op, lane); }

}  // namespace runrig::detail
