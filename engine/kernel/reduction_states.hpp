#pragma once

#include <bit>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <limits>

#include "runrig/engine/reduction.hpp"

/// The accumulators of reductions, read and written one by one.
namespace runrig::detail {

template <class T>
[[nodiscard]] T get(ReductionStates states, std::size_t plane, std::size_t i) noexcept {
  T value;
  std::memcpy(&value, states.memory + (plane * states.pitch + i) * 8, 8);
  return value;
}
template <class T>
void put(ReductionStates states, std::size_t plane, std::size_t i, T value) noexcept {
  static_assert(sizeof(T) == 8);
  std::memcpy(states.memory + (plane * states.pitch + i) * 8, &value, 8);
}
template <class T>
void put_all(ReductionStates states, std::size_t plane, std::size_t n, T value) noexcept {
  for (std::size_t i = 0; i < n; ++i) put(states, plane, i, value);
}

/// A sum: the nearest double, and what it lacks.
struct Pair {
  double high = 0;
  double low = 0;
};
[[nodiscard]] inline Pair get_pair(ReductionStates states, std::size_t plane, std::size_t i) noexcept {
  return {get<double>(states, plane, i), get<double>(states, plane + 1, i)};
}
/// Knuth's exact addition, with the small parts on top.
[[nodiscard]] inline Pair add(Pair a, Pair b) noexcept {
  const double high = a.high + b.high;
  const double part = high - a.high;
  return {high, (a.high - (high - part)) + (b.high - part) + (a.low + b.low)};
}
/// So that `high` alone is the nearest double. What is infinite or NaN has no rest.
[[nodiscard]] inline Pair settle(Pair sum) noexcept {
  if (!std::isfinite(sum.high)) return {sum.high, 0};
  const double high = sum.high + sum.low;
  return {high, sum.low - (high - sum.high)};
}
[[nodiscard]] inline Pair divide(Pair sum, double count) noexcept {
  const double high = sum.high / count;
  if (!std::isfinite(high)) return {high, 0};
  return {high, (std::fma(-high, count, sum.high) + sum.low) / count};
}
[[nodiscard]] inline Pair square(Pair a) noexcept {
  const double high = a.high * a.high;
  return {high, std::fma(a.high, a.high, -high) + 2 * a.high * a.low};
}
inline void add_pairs(ReductionStates states, ReductionStates next, std::size_t plane, std::size_t i) noexcept {
  const Pair sum = add(get_pair(states, plane, i), get_pair(next, plane, i));
  put(states, plane, i, sum.high);
  put(states, plane + 1, i, sum.low);
}
template <class T>
void add_planes(ReductionStates states, ReductionStates next, std::size_t plane, std::size_t i) noexcept {
  put(states, plane, i, get<T>(states, plane, i) + get<T>(next, plane, i));
}

/// The mean square of the deviations from the mean of `count` elements, from the sum of squared differences to the
/// origin, and the sum of differences, squared and as it is.
[[nodiscard]] inline double mean_square(Pair squares, Pair squared_sum, double sum, double count) noexcept {
  if (count == 0 || !std::isfinite(sum)) return std::numeric_limits<double>::quiet_NaN();
  if (!std::isfinite(squares.high)) return squares.high;
  // Around the origin, less what the mean's distance from it adds.
  const Pair beside = divide(squared_sum, count);
  const Pair deviations = settle(add(squares, {-beside.high, -beside.low}));
  return deviations.high > 0 ? deviations.high / count : deviations.high == deviations.high ? 0 : deviations.high;
}

inline void write_whole(DType dtype, std::uint64_t value, std::byte* out) noexcept {
  std::memcpy(out, &value, item_bytes(dtype));  // the low bytes
}
static_assert(std::endian::native == std::endian::little);

}  // namespace runrig::detail
