#include "reduction_complex.hpp"

#include <cmath>
#include <cstring>
#include <limits>

#include "reduction_columns.hpp"
#include "reduction_states.hpp"

namespace runrig {
namespace detail {
namespace {

constexpr double nan = std::numeric_limits<double>::quiet_NaN();
constexpr double infinity = std::numeric_limits<double>::infinity();

/// A number in accumulators, and as it is computed with. NaN if either part is.
struct Wide {
  double re;
  double im;
  [[nodiscard]] bool is_nan() const { return re != re || im != im; }
};
bool equal(Wide a, Wide b) { return a.re == b.re && a.im == b.im; }
/// NumPy's order. Neither is NaN.
bool less(Wide a, Wide b) { return a.re < b.re || (a.re == b.re && a.im < b.im); }
/// Parts as they are, without a correction for infinities (C's Annex G): NumPy's product.
Wide product(Wide a, Wide b) { return {a.re * b.re - a.im * b.im, a.re * b.im + a.im * b.re}; }

template <class T>
struct ComplexElement {
  struct Stored {
    T re;
    T im;
  };
  static Wide load(Stored stored) { return {static_cast<double>(stored.re), static_cast<double>(stored.im)}; }
};

template <bool skip, bool counted>
struct ComplexSum {
  template <class E, class C>
  static void row(std::byte* states, std::size_t pitch, const typename E::Stored* x, C columns, std::uint64_t,
                  std::uint64_t) {
    auto* const re = plane<double>(states, pitch, 0);
    auto* const re_low = plane<double>(states, pitch, 1);
    auto* const im = plane<double>(states, pitch, 2);
    auto* const im_low = plane<double>(states, pitch, 3);
    auto* const count = plane<double>(states, pitch, counted ? 4 : 0);
    for_columns(columns, [=](std::size_t i) {
      const Wide value = E::load(x[i]);
      const bool missing = skip && value.is_nan();
      if constexpr (counted) count[i] += missing ? 0.0 : 1.0;
      PairSum::add(re[i], re_low[i], missing ? 0.0 : value.re);
      PairSum::add(im[i], im_low[i], missing ? 0.0 : value.im);
    });
  }
};

template <bool skip>
struct ComplexSpread {
  template <class E, class C>
  static void row(std::byte* states, std::size_t pitch, const typename E::Stored* x, C columns, std::uint64_t,
                  std::uint64_t) {
    const auto at = [=](std::size_t number) { return plane<double>(states, pitch, number); };
    for_columns(columns, [=](std::size_t i) {
      const Wide value = E::load(x[i]);
      const bool missing = skip && value.is_nan();
      const double re = missing ? 0.0 : value.re - at(0)[i];
      const double im = missing ? 0.0 : value.im - at(1)[i];
      PairSum::add(at(2)[i], at(3)[i], re);
      PairSum::add(at(4)[i], at(5)[i], im);
      for (const double part : {re, im}) {
        const double square = part * part;
        PairSum::add(at(6)[i], at(7)[i], square);
        at(7)[i] += square_rest(part, square);
      }
      if constexpr (skip) at(8)[i] += missing ? 0.0 : 1.0;
    });
  }
};

template <bool skip>
struct ComplexProduct {
  template <class E, class C>
  static void row(std::byte* states, std::size_t pitch, const typename E::Stored* x, C columns, std::uint64_t,
                  std::uint64_t) {
    auto* const re = plane<double>(states, pitch, 0);
    auto* const im = plane<double>(states, pitch, 1);
    for_columns(columns, [=](std::size_t i) {
      const Wide value = E::load(x[i]);
      if (skip && value.is_nan()) return;
      const Wide made = product({re[i], im[i]}, value);
      re[i] = made.re;
      im[i] = made.im;
    });
  }
};

/// Whether `value` is to take the place of `old`. Without `skip` a NaN is better than all and stays, with it the
/// reverse.
template <bool least, bool skip>
bool is_better(Wide value, Wide old) {
  if (value.is_nan() || old.is_nan()) return skip ? !value.is_nan() : !old.is_nan();
  return least ? less(value, old) : less(old, value);
}

template <bool least, bool skip>
struct ComplexExtreme {
  template <class E, class C>
  static void row(std::byte* states, std::size_t pitch, const typename E::Stored* x, C columns, std::uint64_t,
                  std::uint64_t) {
    auto* const re = plane<double>(states, pitch, 0);
    auto* const im = plane<double>(states, pitch, 1);
    for_columns(columns, [=](std::size_t i) {
      const Wide value = E::load(x[i]);
      if (!is_better<least, skip>(value, {re[i], im[i]})) return;
      re[i] = value.re;
      im[i] = value.im;
    });
  }
};

template <bool least, bool skip>
struct ComplexPlace {
  template <class E, class C>
  static void row(std::byte* states, std::size_t pitch, const typename E::Stored* x, C columns, std::uint64_t index,
                  std::uint64_t step) {
    auto* const re = plane<double>(states, pitch, 0);
    auto* const im = plane<double>(states, pitch, 1);
    auto* const place = plane<std::int64_t>(states, pitch, 2);
    for_columns(columns, [=](std::size_t i) {
      const Wide value = E::load(x[i]);
      if (skip && value.is_nan()) return;
      if (place[i] >= 0 && !is_better<least, skip>(value, {re[i], im[i]})) return;
      re[i] = value.re;
      im[i] = value.im;
      place[i] = static_cast<std::int64_t>(index + i * step);
    });
  }
};

/// `number` tells of each element whether it counts.
template <class Number>
struct ComplexCount {
  template <class E, class C>
  static void row(std::byte* states, std::size_t pitch, const typename E::Stored* x, C columns, std::uint64_t,
                  std::uint64_t) {
    auto* const number = plane<std::uint64_t>(states, pitch, 0);
    for_columns(columns, [=](std::size_t i) { number[i] = Number::next(number[i], E::load(x[i])); });
  }
};
struct Valid {
  static std::uint64_t next(std::uint64_t count, Wide value) { return count + (value.is_nan() ? 0U : 1U); }
};
/// A NaN is not zero, so it is true.
bool is_true(Wide value) { return value.re != 0 || value.im != 0; }
template <bool skip>
struct SomeTrue {
  static std::uint64_t next(std::uint64_t found, Wide value) {
    return found | (is_true(value) && !(skip && value.is_nan()) ? 1U : 0U);
  }
};
struct AllTrue {
  static std::uint64_t next(std::uint64_t all, Wide value) { return all & (is_true(value) ? 1U : 0U); }
};

template <class T>
constexpr ReductionLoops make_loops() {
  using E = ComplexElement<T>;
  ReductionLoops loops{};
  const auto set = [&loops](ReductionStep step, ReductionLoop loop) { loops[static_cast<std::size_t>(step)] = loop; };
  set(ReductionStep::real_sum, accumulate<E, ComplexSum<false, false>>);
  set(ReductionStep::real_sum_skip, accumulate<E, ComplexSum<true, false>>);
  set(ReductionStep::counted_sum_skip, accumulate<E, ComplexSum<true, true>>);
  set(ReductionStep::spread, accumulate<E, ComplexSpread<false>>);
  set(ReductionStep::spread_skip, accumulate<E, ComplexSpread<true>>);
  set(ReductionStep::real_prod, accumulate<E, ComplexProduct<false>>);
  set(ReductionStep::real_prod_skip, accumulate<E, ComplexProduct<true>>);
  set(ReductionStep::min, accumulate<E, ComplexExtreme<true, false>>);
  set(ReductionStep::min_skip, accumulate<E, ComplexExtreme<true, true>>);
  set(ReductionStep::max, accumulate<E, ComplexExtreme<false, false>>);
  set(ReductionStep::max_skip, accumulate<E, ComplexExtreme<false, true>>);
  set(ReductionStep::argmin, accumulate<E, ComplexPlace<true, false>>);
  set(ReductionStep::argmin_skip, accumulate<E, ComplexPlace<true, true>>);
  set(ReductionStep::argmax, accumulate<E, ComplexPlace<false, false>>);
  set(ReductionStep::argmax_skip, accumulate<E, ComplexPlace<false, true>>);
  set(ReductionStep::count, accumulate<E, ComplexCount<Valid>>);
  set(ReductionStep::any, accumulate<E, ComplexCount<SomeTrue<false>>>);
  set(ReductionStep::any_skip, accumulate<E, ComplexCount<SomeTrue<true>>>);
  set(ReductionStep::all, accumulate<E, ComplexCount<AllTrue>>);
  return loops;
}
constexpr ReductionLoops of_floats = make_loops<float>();
constexpr ReductionLoops of_doubles = make_loops<double>();

Wide get_wide(ReductionStates states, std::size_t i) noexcept {
  return {get<double>(states, 0, i), get<double>(states, 1, i)};
}
void put_wide(ReductionStates states, std::size_t i, Wide value) noexcept {
  put(states, 0, i, value.re);
  put(states, 1, i, value.im);
}
Wide element_of(DType dtype, const std::byte* at) noexcept {
  Wide value{};
  if (dtype == DType::complex128) {
    std::memcpy(&value, at, sizeof value);
  } else {
    std::array<float, 2> parts;
    std::memcpy(parts.data(), at, sizeof parts);
    value = {static_cast<double>(parts[0]), static_cast<double>(parts[1])};
  }
  return value;
}
void store_complex(DType dtype, Wide value, std::byte* out) noexcept {
  const DType part = part_dtype(dtype);
  store_real(part, value.re, out);
  store_real(part, value.im, out + item_bytes(part));
}

double settled(Pair sum) noexcept { return settle(sum).high; }

}  // namespace

const ReductionLoops& complex_reduction_loops(DType dtype) noexcept {
  return dtype == DType::complex64 ? of_floats : of_doubles;
}

}  // namespace detail

using detail::add;
using detail::divide;
using detail::equal;
using detail::get;
using detail::get_pair;
using detail::get_wide;
using detail::is_true;
using detail::mean_square;
using detail::Pair;
using detail::put;
using detail::put_wide;
using detail::settle;
using detail::square;
using detail::store_complex;
using detail::Wide;

void Reducer::begin_complex(ReductionStates states, std::size_t n, const std::byte* first,
                            std::size_t stride) const noexcept {
  const auto all = [&](Wide value) {
    for (std::size_t i = 0; i < n; ++i) put_wide(states, i, value);
  };
  switch (operation_) {
    case Reduction::prod:
      return all({1, 0});
    case Reduction::var:
    case Reduction::stddev:
      for (std::size_t i = 0; first != nullptr && i < n; ++i) {
        const Wide origin = detail::element_of(elements_, first + i * stride * item_bytes(elements_));
        put_wide(states, i, {std::isfinite(origin.re) ? origin.re : 0, std::isfinite(origin.im) ? origin.im : 0});
      }
      return;
    case Reduction::min:
      return all(skip_ ? Wide{detail::nan, detail::nan} : Wide{detail::infinity, detail::infinity});
    case Reduction::max:
      return all(skip_ ? Wide{detail::nan, detail::nan} : Wide{-detail::infinity, -detail::infinity});
    case Reduction::argmin:
    case Reduction::argmax:
      return detail::put_all(states, 2, n, std::int64_t{-1});
    case Reduction::all:
      return detail::put_all(states, 0, n, std::uint64_t{1});
    case Reduction::sum:
    case Reduction::mean:
    case Reduction::count:
    case Reduction::any:
      return;
  }
}

/// Whether one row of it does for all, with the rest of them counted here where they are.
bool Reducer::complex_is_once(ReductionStates states, std::size_t n, const std::byte* element,
                              std::uint64_t rows) const noexcept {
  const Wide value = detail::element_of(elements_, element);
  switch (operation_) {
    case Reduction::min:
    case Reduction::max:
    case Reduction::argmin:
    case Reduction::argmax:
    case Reduction::any:
    case Reduction::all:
      return true;
    case Reduction::count:
      for (std::size_t i = 0; !value.is_nan() && i < n; ++i) {
        put(states, 0, i, get<std::uint64_t>(states, 0, i) + (rows - 1));
      }
      return true;
    case Reduction::sum:
    case Reduction::mean:
      if (value.is_nan()) return skip_;  // where one part is NaN, the sum of the other may be none
      if (is_true(value)) return false;
      for (std::size_t i = 0; planes_ == 5 && i < n; ++i) {
        put(states, 4, i, get<double>(states, 4, i) + static_cast<double>(rows - 1));
      }
      return true;
    case Reduction::prod:
      return !is_true(value) || equal(value, {1, 0}) || value.is_nan();
    case Reduction::var:
    case Reduction::stddev:
      for (std::size_t i = 0; !value.is_nan() && i < n; ++i) {
        if (!equal(get_wide(states, i), value)) return false;
      }
      for (std::size_t i = 0; planes_ == 9 && !value.is_nan() && i < n; ++i) {
        put(states, 8, i, get<double>(states, 8, i) + static_cast<double>(rows - 1));
      }
      return true;
  }
  return false;
}

void Reducer::join_complex(ReductionStates states, ReductionStates next, std::size_t n) const noexcept {
  const bool least = operation_ == Reduction::min || operation_ == Reduction::argmin;
  const auto better = [&](Wide value, Wide old) {
    if (skip_) return least ? detail::is_better<true, true>(value, old) : detail::is_better<false, true>(value, old);
    return least ? detail::is_better<true, false>(value, old) : detail::is_better<false, false>(value, old);
  };
  for (std::size_t i = 0; i < n; ++i) {
    const Wide value = get_wide(next, i);
    switch (operation_) {
      case Reduction::sum:
      case Reduction::mean:
        for (const std::size_t plane : {0U, 2U}) detail::add_pairs(states, next, plane, i);
        if (planes_ == 5) detail::add_planes<double>(states, next, 4, i);
        break;
      case Reduction::prod:
        put_wide(states, i, product(get_wide(states, i), value));
        break;
      case Reduction::var:
      case Reduction::stddev:
        for (const std::size_t plane : {2U, 4U, 6U}) detail::add_pairs(states, next, plane, i);
        if (planes_ == 9) detail::add_planes<double>(states, next, 8, i);
        break;
      case Reduction::min:
      case Reduction::max:
        if (better(value, get_wide(states, i))) put_wide(states, i, value);
        break;
      case Reduction::argmin:
      case Reduction::argmax: {
        const auto place = get<std::int64_t>(states, 2, i);
        const auto next_place = get<std::int64_t>(next, 2, i);
        if (next_place < 0) break;
        const Wide old = get_wide(states, i);
        // Lanes are folded as well: what comes next may lie before.
        const bool same = equal(value, old) || (value.is_nan() && old.is_nan());
        if (place >= 0 && !better(value, old) && !(same && next_place < place)) break;
        put_wide(states, i, value);
        put(states, 2, i, next_place);
        break;
      }
      case Reduction::count:
        detail::add_planes<std::uint64_t>(states, next, 0, i);
        break;
      case Reduction::any:
        put(states, 0, i, get<std::uint64_t>(states, 0, i) | get<std::uint64_t>(next, 0, i));
        break;
      case Reduction::all:
        put(states, 0, i, get<std::uint64_t>(states, 0, i) & get<std::uint64_t>(next, 0, i));
        break;
    }
  }
}

bool Reducer::finish_complex(ReductionStates states, std::size_t n, std::uint64_t length,
                             std::byte* out) const noexcept {
  const DType dtype = result();
  bool all_found = true;
  for (std::size_t i = 0; i < n; ++i, out += item_bytes(dtype)) {
    switch (operation_) {
      case Reduction::sum:
        store_complex(dtype, {detail::settled(get_pair(states, 0, i)), detail::settled(get_pair(states, 2, i))}, out);
        break;
      case Reduction::mean: {
        const double count = planes_ == 5 ? get<double>(states, 4, i) : static_cast<double>(length);
        const auto mean = [&](std::size_t plane) {
          const Pair quotient = divide(settle(get_pair(states, plane, i)), count);
          return count == 0 ? detail::nan : quotient.high + quotient.low;
        };
        store_complex(dtype, {mean(0), mean(2)}, out);
        break;
      }
      case Reduction::var:
      case Reduction::stddev: {
        const double count = planes_ == 9 ? get<double>(states, 8, i) : static_cast<double>(length);
        const Pair re = settle(get_pair(states, 2, i));
        const Pair im = settle(get_pair(states, 4, i));
        const Pair squared = add(square(re), square(im));
        const double var = mean_square(settle(get_pair(states, 6, i)), squared, re.high + im.high, count);
        store_real(dtype, operation_ == Reduction::var ? var : std::sqrt(var), out);
        break;
      }
      case Reduction::min:
      case Reduction::max: {
        const Wide best = get_wide(states, i);  // of several NaNs any may have been the one: both parts are
        store_complex(dtype, best.is_nan() ? Wide{detail::nan, detail::nan} : best, out);
        break;
      }
      case Reduction::prod:
        store_complex(dtype, get_wide(states, i), out);
        break;
      case Reduction::argmin:
      case Reduction::argmax:
        all_found = all_found && get<std::int64_t>(states, 2, i) >= 0;
        detail::write_whole(dtype, get<std::uint64_t>(states, 2, i), out);
        break;
      case Reduction::count:
      case Reduction::any:
      case Reduction::all:
        detail::write_whole(dtype, get<std::uint64_t>(states, 0, i), out);
        break;
    }
  }
  return all_found;
}

}  // namespace runrig
