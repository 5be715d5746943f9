// The inner loops of reductions for one level of instructions; included by one source for each, like loops_body.hpp.
#pragma once

#include "loops_half.hpp"
#include "reduction_columns.hpp"

namespace runrig::detail {
namespace {

// How elements lie in memory (Stored), and what they are computed with (Wide).
template <class T, class W>
struct PlainElement {
  using Stored = T;
  using Wide = W;
  static constexpr bool real = false;
  static Wide load(Stored stored) { return static_cast<Wide>(stored); }
};
struct BooleanElement : PlainElement<std::uint8_t, std::uint64_t> {
  static Wide load(Stored stored) { return stored != 0 ? 1 : 0; }
};
struct HalfElement : PlainElement<std::uint16_t, double> {
  static constexpr bool real = true;
  static Wide load(Stored stored) { return static_cast<double>(LoadHalf{}(stored)); }
};
template <class T>
struct RealElement : PlainElement<T, double> {
  static constexpr bool real = true;
};

// Each has row(): takes one row of elements. `index` is that of the first, `step` that from one to the next.

struct WholeSum {
  template <class E, class C>
  static void row(std::byte* states, std::size_t pitch, const typename E::Stored* x, C columns, std::uint64_t,
                  std::uint64_t) {
    auto* const sum = plane<std::uint64_t>(states, pitch, 0);
    for_columns(columns, [=](std::size_t i) { sum[i] += static_cast<std::uint64_t>(E::load(x[i])); });
  }
};

template <bool skip, bool counted>
struct RealSum {
  template <class E, class C>
  static void row(std::byte* states, std::size_t pitch, const typename E::Stored* x, C columns, std::uint64_t,
                  std::uint64_t) {
    auto* const high = plane<double>(states, pitch, 0);
    auto* const low = plane<double>(states, pitch, 1);
    auto* const count = plane<double>(states, pitch, counted ? 2 : 0);
    for_columns(columns, [=](std::size_t i) {
      auto value = static_cast<double>(E::load(x[i]));
      if constexpr (counted) count[i] += value == value ? 1.0 : 0.0;
      if constexpr (skip) value = value == value ? value : 0.0;
      PairSum::add(high[i], low[i], value);
    });
  }
};

template <bool skip>
struct Spread {
  template <class E, class C>
  static void row(std::byte* states, std::size_t pitch, const typename E::Stored* x, C columns, std::uint64_t,
                  std::uint64_t) {
    const auto* const origin = plane<double>(states, pitch, 0);
    auto* const high = plane<double>(states, pitch, 1);
    auto* const low = plane<double>(states, pitch, 2);
    auto* const square_high = plane<double>(states, pitch, 3);
    auto* const square_low = plane<double>(states, pitch, 4);
    auto* const count = plane<double>(states, pitch, skip ? 5 : 1);
    for_columns(columns, [=](std::size_t i) {
      const auto value = static_cast<double>(E::load(x[i]));
      double difference = value - origin[i];
      if constexpr (skip) {
        count[i] += value == value ? 1.0 : 0.0;
        difference = value == value ? difference : 0.0;
      }
      const double square = difference * difference;
      PairSum::add(high[i], low[i], difference);
      PairSum::add(square_high[i], square_low[i], square);
      square_low[i] += square_rest(difference, square);
    });
  }
};

struct WholeProduct {
  template <class E, class C>
  static void row(std::byte* states, std::size_t pitch, const typename E::Stored* x, C columns, std::uint64_t,
                  std::uint64_t) {
    auto* const product = plane<std::uint64_t>(states, pitch, 0);
    for_columns(columns, [=](std::size_t i) { product[i] *= static_cast<std::uint64_t>(E::load(x[i])); });
  }
};

template <bool skip>
struct RealProduct {
  template <class E, class C>
  static void row(std::byte* states, std::size_t pitch, const typename E::Stored* x, C columns, std::uint64_t,
                  std::uint64_t) {
    auto* const product = plane<double>(states, pitch, 0);
    for_columns(columns, [=](std::size_t i) {
      const double value = E::load(x[i]);
      product[i] *= skip && value != value ? 1.0 : value;
    });
  }
};

struct Less {
  template <class W>
  static bool better(W a, W b) {
    return a < b;
  }
};
struct Greater {
  template <class W>
  static bool better(W a, W b) {
    return a > b;
  }
};

/// Without `skip` a NaN is taken and stays, since nothing is better than it; with it, what has a NaN takes anything.
template <class Order, bool skip>
struct Extreme {
  template <class E, class C>
  static void row(std::byte* states, std::size_t pitch, const typename E::Stored* x, C columns, std::uint64_t,
                  std::uint64_t) {
    using Wide = typename E::Wide;
    auto* const best = plane<Wide>(states, pitch, 0);
    for_columns(columns, [=](std::size_t i) {
      const Wide value = E::load(x[i]);
      const Wide old = best[i];
      const Wide nan = skip ? old : value;
      best[i] = (Order::better(value, old) | (nan != nan)) ? value : old;
    });
  }
};

/// The first of the best. Without `skip` the first NaN is the best of all.
template <class Order, bool skip>
struct Place {
  template <class E, class C>
  static void row(std::byte* states, std::size_t pitch, const typename E::Stored* x, C columns, std::uint64_t index,
                  std::uint64_t step) {
    using Wide = typename E::Wide;
    auto* const best = plane<Wide>(states, pitch, 0);
    auto* const place = plane<std::int64_t>(states, pitch, 1);
    for_columns(columns, [=](std::size_t i) {
      const Wide value = E::load(x[i]);
      const Wide old = best[i];
      const std::int64_t at = place[i];
      bool take = Order::better(value, old) | (at < 0);
      if constexpr (E::real) {
        take = skip ? take & (value == value) : take | ((value != value) & (old == old));
      }
      best[i] = take ? value : old;
      place[i] = take ? static_cast<std::int64_t>(index + i * step) : at;
    });
  }
};

struct Count {
  template <class E, class C>
  static void row(std::byte* states, std::size_t pitch, const typename E::Stored* x, C columns, std::uint64_t,
                  std::uint64_t) {
    auto* const count = plane<std::uint64_t>(states, pitch, 0);
    for_columns(columns, [=](std::size_t i) {
      const auto value = E::load(x[i]);
      count[i] += value == value ? 1U : 0U;
    });
  }
};

/// A NaN is not zero, so it is true.
template <bool skip>
struct Any {
  template <class E, class C>
  static void row(std::byte* states, std::size_t pitch, const typename E::Stored* x, C columns, std::uint64_t,
                  std::uint64_t) {
    auto* const found = plane<std::uint64_t>(states, pitch, 0);
    for_columns(columns, [=](std::size_t i) {
      const auto value = E::load(x[i]);
      found[i] |= ((value != 0) & (!skip | (value == value))) ? 1U : 0U;
    });
  }
};
struct All {
  template <class E, class C>
  static void row(std::byte* states, std::size_t pitch, const typename E::Stored* x, C columns, std::uint64_t,
                  std::uint64_t) {
    auto* const missed = plane<std::uint64_t>(states, pitch, 0);
    for_columns(columns, [=](std::size_t i) { missed[i] &= E::load(x[i]) != 0 ? 1U : 0U; });
  }
};

using Loops = ReductionLoop[reduction_step_count];
constexpr ReductionLoop& at(Loops& loops, ReductionStep step) { return loops[static_cast<std::size_t>(step)]; }

template <class E>
constexpr void fill(Loops& loops) {
  at(loops, ReductionStep::real_sum) = accumulate<E, RealSum<false, false>>;
  at(loops, ReductionStep::spread) = accumulate<E, Spread<false>>;
  at(loops, ReductionStep::min) = accumulate<E, Extreme<Less, false>>;
  at(loops, ReductionStep::max) = accumulate<E, Extreme<Greater, false>>;
  at(loops, ReductionStep::argmin) = accumulate<E, Place<Less, false>>;
  at(loops, ReductionStep::argmax) = accumulate<E, Place<Greater, false>>;
  at(loops, ReductionStep::count) = accumulate<E, Count>;
  at(loops, ReductionStep::any) = accumulate<E, Any<false>>;
  at(loops, ReductionStep::all) = accumulate<E, All>;
  if constexpr (E::real) {
    at(loops, ReductionStep::real_sum_skip) = accumulate<E, RealSum<true, false>>;
    at(loops, ReductionStep::counted_sum_skip) = accumulate<E, RealSum<true, true>>;
    at(loops, ReductionStep::spread_skip) = accumulate<E, Spread<true>>;
    at(loops, ReductionStep::real_prod) = accumulate<E, RealProduct<false>>;
    at(loops, ReductionStep::real_prod_skip) = accumulate<E, RealProduct<true>>;
    at(loops, ReductionStep::min_skip) = accumulate<E, Extreme<Less, true>>;
    at(loops, ReductionStep::max_skip) = accumulate<E, Extreme<Greater, true>>;
    at(loops, ReductionStep::argmin_skip) = accumulate<E, Place<Less, true>>;
    at(loops, ReductionStep::argmax_skip) = accumulate<E, Place<Greater, true>>;
    at(loops, ReductionStep::any_skip) = accumulate<E, Any<true>>;
  } else {
    at(loops, ReductionStep::whole_sum) = accumulate<E, WholeSum>;
    at(loops, ReductionStep::whole_prod) = accumulate<E, WholeProduct>;
  }
}

constexpr ReductionTable make_table() {
  ReductionTable table{};
  const auto of = [&table](DType dtype) -> Loops& { return table.loops[static_cast<std::size_t>(dtype)]; };
  fill<BooleanElement>(of(DType::boolean));
  fill<PlainElement<std::int8_t, std::int64_t>>(of(DType::int8));
  fill<PlainElement<std::uint8_t, std::uint64_t>>(of(DType::uint8));
  fill<PlainElement<std::int16_t, std::int64_t>>(of(DType::int16));
  fill<PlainElement<std::uint16_t, std::uint64_t>>(of(DType::uint16));
  fill<PlainElement<std::int32_t, std::int64_t>>(of(DType::int32));
  fill<PlainElement<std::uint32_t, std::uint64_t>>(of(DType::uint32));
  fill<PlainElement<std::int64_t, std::int64_t>>(of(DType::int64));
  fill<PlainElement<std::uint64_t, std::uint64_t>>(of(DType::uint64));
  fill<HalfElement>(of(DType::float16));
  fill<RealElement<float>>(of(DType::float32));
  fill<RealElement<double>>(of(DType::float64));
  return table;
}
constexpr ReductionTable reduction_table = make_table();

}  // namespace
}  // namespace runrig::detail
