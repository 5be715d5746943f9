// How far the transcendental functions are from the truth.
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <cstring>
#include <functional>
#include <limits>
#include <random>
#include <string>
#include <vector>

#include "expression_support.hpp"
#include "support.hpp"

namespace runrig {
namespace {

using test::column_of;
using test::difficult_numbers;
using test::evaluate;
using test::numbers_of;

/// The distance of `found` from `exact` in units of the last place that `exact` has as a T.
template <class T>
double distance(T found, long double exact) {
  const auto rounded = static_cast<T>(exact);
  if (std::isnan(found) || std::isnan(rounded)) return std::isnan(found) && std::isnan(rounded) ? 0 : HUGE_VAL;
  if (std::isinf(found) || std::isinf(rounded)) {
    // Just below overflow either side is within rounding.
    const bool near = std::fabs(exact) > static_cast<long double>(std::numeric_limits<T>::max()) * (1 - 1e-7L / 1e8L);
    return found == rounded || (near && std::signbit(found) == std::signbit(rounded)) ? 0 : HUGE_VAL;
  }
  if (exact == 0) return found == 0 && std::signbit(found) == std::signbit(exact) ? 0 : HUGE_VAL;
  const int unit = std::max(std::ilogb(exact) - (std::numeric_limits<T>::digits - 1),
                            std::numeric_limits<T>::min_exponent - std::numeric_limits<T>::digits);
  return static_cast<double>(std::fabs(static_cast<long double>(found) - exact) / std::ldexp(1.0L, unit));
}

struct UnaryCase {
  const char* name;
  long double (*exact)(long double);
};
void PrintTo(const UnaryCase& each, std::ostream* out) { *out << each.name; }
class Transcendental : public ::testing::TestWithParam<UnaryCase> {};

template <class T>
void expect_near(const UnaryCase& function, std::size_t each) {
  std::mt19937_64 random(99);
  const std::vector<T> x = difficult_numbers<T>(random, each);
  const auto found = numbers_of<T>(evaluate(std::string(function.name) + "(x)", {{"x", column_of(x)}}));
  double worst = 0;
  T where = 0;
  for (std::size_t i = 0; i < x.size(); ++i) {
    const double here = distance(found[i], function.exact(static_cast<long double>(x[i])));
    if (here > worst) {
      worst = here;
      where = x[i];
    }
  }
  EXPECT_LE(worst, 2) << function.name << " at " << where << " (" << sizeof(T) * 8 << " bits)";
}

TEST_P(Transcendental, IsWithinTwoUnitsInTheLastPlace) {
  if (std::numeric_limits<long double>::digits < 64) GTEST_SKIP() << "long double is no more exact than double here";
  expect_near<double>(GetParam(), 4000);
  expect_near<float>(GetParam(), 4000);
}

template <class T>
void expect_at_most_one(const char* text) {
  // Odd multiples of a right angle, and what lies around them.
  std::vector<T> x;
  for (int i = 1; i < 9000; i += 2) {
    T near = static_cast<T>(i * 1.5707963267948966L);
    for (int k = 0; k < 3; ++k) near = std::nextafter(near, T{0});
    for (int k = 0; k < 7; ++k, near = std::nextafter(near, std::numeric_limits<T>::max())) x.push_back(near);
  }
  for (int i = 1; i < 9000; ++i) x.push_back(static_cast<T>(i) * static_cast<T>(0.0001) - static_cast<T>(0.45));
  for (const T each : numbers_of<T>(evaluate(text, {{"x", column_of(x)}}))) ASSERT_LE(std::fabs(each), 1);
}
TEST(Sine, IsNeverMoreThanOne) {
  for (const char* const text : {"sin(x)", "cos(x)"}) {
    expect_at_most_one<double>(text);
    expect_at_most_one<float>(text);
  }
}

/// All of float16, rounded from float32 once more.
TEST_P(Transcendental, OfFloat16IsTheNearestOrNextToIt) {
  std::vector<half> x(65536);
  for (std::size_t i = 0; i < x.size(); ++i) x[i].bits = static_cast<std::uint16_t>(i);
  const auto found = numbers_of<half>(evaluate(std::string(GetParam().name) + "(x)", {{"x", column_of(x)}}));
  std::size_t wrong = 0;
  for (std::size_t i = 0; i < x.size(); ++i) {
    const auto exact = GetParam().exact(static_cast<long double>(static_cast<float>(x[i])));
    const half nearest(static_cast<float>(exact));
    if (std::isnan(static_cast<float>(nearest)) && std::isnan(static_cast<float>(found[i]))) continue;
    wrong += std::abs(static_cast<int>(found[i].bits) - static_cast<int>(nearest.bits)) > 1 ? 1U : 0U;
  }
  EXPECT_EQ(wrong, 0U);
}

INSTANTIATE_TEST_SUITE_P(
    All, Transcendental,
    ::testing::Values(UnaryCase{"sqrt", std::sqrt}, UnaryCase{"cbrt", std::cbrt}, UnaryCase{"exp", std::exp},
                      UnaryCase{"exp2", std::exp2}, UnaryCase{"expm1", std::expm1}, UnaryCase{"log", std::log},
                      UnaryCase{"log2", std::log2}, UnaryCase{"log10", std::log10}, UnaryCase{"log1p", std::log1p},
                      UnaryCase{"sin", std::sin}, UnaryCase{"cos", std::cos}, UnaryCase{"tan", std::tan},
                      UnaryCase{"arcsin", std::asin}, UnaryCase{"arccos", std::acos}, UnaryCase{"arctan", std::atan},
                      UnaryCase{"sinh", std::sinh}, UnaryCase{"cosh", std::cosh}, UnaryCase{"tanh", std::tanh},
                      UnaryCase{"arcsinh", std::asinh}, UnaryCase{"arccosh", std::acosh},
                      UnaryCase{"arctanh", std::atanh}),
    [](const auto& each) { return std::string(each.param.name); });

struct BinaryCase {
  const char* text;
  long double (*exact)(long double, long double);
};
void PrintTo(const BinaryCase& each, std::ostream* out) { *out << each.text; }
class Transcendental2 : public ::testing::TestWithParam<BinaryCase> {};

template <class T>
void expect_near(const BinaryCase& function) {
  std::mt19937_64 random(98);
  const std::vector<T> numbers = difficult_numbers<T>(random, 3000);
  std::vector<T> x;
  std::vector<T> y;
  for (std::size_t i = 0; i < 60000; ++i) {
    x.push_back(numbers[random() % numbers.size()]);
    // Near enough to each other, now and then, for sums of squares and quotients that are neither huge nor nothing.
    const T other = numbers[random() % numbers.size()];
    y.push_back(i % 3 == 0 ? x.back() * (1 + std::fmod(other, T{3})) : other);
  }
  // Powers that neither overflow nor vanish.
  for (std::size_t i = 0; i < 30000; ++i) {
    x.push_back(std::fabs(numbers[random() % numbers.size()]));
    const T magnitude = std::log(x.back());
    const T exponent = static_cast<T>(static_cast<double>(static_cast<std::int64_t>(random())) * 0x1p-63) *
                       (sizeof(T) == 8 ? 700 : 85);
    y.push_back(exponent / magnitude);
  }
  const auto found = numbers_of<T>(evaluate(function.text, {{"x", column_of(x)}, {"y", column_of(y)}}));
  double worst = 0;
  std::size_t where = 0;
  for (std::size_t i = 0; i < x.size(); ++i) {
    const double here =
        distance(found[i], function.exact(static_cast<long double>(x[i]), static_cast<long double>(y[i])));
    if (here > worst) {
      worst = here;
      where = i;
    }
  }
  EXPECT_LE(worst, 2) << function.text << " at " << x[where] << ", " << y[where] << ": " << found[where];
}

TEST_P(Transcendental2, IsWithinTwoUnitsInTheLastPlace) {
  if (std::numeric_limits<long double>::digits < 64) GTEST_SKIP() << "long double is no more exact than double here";
  expect_near<double>(GetParam());
  expect_near<float>(GetParam());
}

INSTANTIATE_TEST_SUITE_P(All, Transcendental2,
                         ::testing::Values(BinaryCase{"arctan2(x, y)", std::atan2},
                                           BinaryCase{"hypot(x, y)", std::hypot}, BinaryCase{"x ** y", std::pow}),
                         [](const auto& each) { return "Case" + std::to_string(each.index); });

TEST(Transcendental3, CubesAreNearToo) {
  std::mt19937_64 random(97);
  const auto x = difficult_numbers<double>(random, 3000);
  const auto found = numbers_of<double>(evaluate("x ** 3", {{"x", column_of(x)}}));
  for (std::size_t i = 0; i < x.size(); ++i) {
    const auto wide = static_cast<long double>(x[i]);
    EXPECT_LE(distance(found[i], wide * wide * wide), 2) << x[i];
  }
}

}  // namespace
}  // namespace runrig
