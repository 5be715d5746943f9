// How far the transcendental functions are from the truth, and whether all levels of instructions agree.
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
#include "loops.hpp"
#include "statistics_loops.hpp"
#include "support.hpp"

namespace runrig {
namespace {

using detail::Lane;
using detail::Op;
using test::column_of;
using test::Columns;
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

/// Numbers of every magnitude and sign, dense where the functions do something.
template <class T>
std::vector<T> difficult_numbers(std::mt19937_64& random, std::size_t each) {
  using Bits = std::conditional_t<sizeof(T) == 8, std::uint64_t, std::uint32_t>;
  using Limits = std::numeric_limits<T>;
  std::vector<T> numbers{
      0,  -T{0},         Limits::infinity(), -Limits::infinity(), Limits::quiet_NaN(),  1,
      -1, Limits::max(), -Limits::max(),     Limits::min(),       Limits::denorm_min(), -Limits::denorm_min()};
  const auto unit = [&] { return static_cast<T>(static_cast<double>(static_cast<std::int64_t>(random())) * 0x1p-63); };
  for (std::size_t i = 0; i < 2 * each; ++i) numbers.push_back(std::bit_cast<T>(static_cast<Bits>(random())));
  for (const double scale : {1e-30, 1e-8, 0.1, 1.0, 2.0, 10.0, 89.5, 105.0, 711.0, 746.0, 1e4, 1e7, 1e12, 1e20}) {
    for (std::size_t i = 0; i < each; ++i) numbers.push_back(unit() * static_cast<T>(scale));
  }
  for (std::size_t i = 0; i < each; ++i) {
    numbers.push_back(1 + unit() * static_cast<T>(1e-4));
    numbers.push_back(static_cast<T>(static_cast<double>(i) * 1.5707963267948966));
    numbers.push_back(Limits::min() * unit());
    numbers.push_back(Limits::max() * unit());
  }
  return numbers;
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

#if defined(__x86_64__)
/// Runs one loop of a table on bytes that have the form of whatever it reads.
std::vector<std::byte> run_loop(detail::Loop loop, const std::vector<std::uint64_t>& data) {
  constexpr std::size_t packets = 40;
  std::vector<std::byte> out(packets * detail::packet_elements * 8);
  const auto* const first = reinterpret_cast<const std::byte*>(data.data());
  const std::array arguments{first, first + 8, first + 16};
  loop(out.data(), arguments.data(), packets);
  return out;
}

/// NaNs may differ in sign and payload, so they are made one.
void unify_nans(std::vector<std::byte>& bytes, Lane lane) {
  const auto unify = [&]<class T>(T) {
    auto* const numbers = reinterpret_cast<T*>(bytes.data());
    for (std::size_t i = 0; i < bytes.size() / sizeof(T); ++i) {
      if (std::isnan(numbers[i])) numbers[i] = std::numeric_limits<T>::quiet_NaN();
    }
  };
  if (lane == Lane::f32) unify(float{});
  if (lane == Lane::f64) unify(double{});
}

void expect_same_as_baseline(const detail::LoopTable& table) {
  std::mt19937_64 random(96);
  std::vector<std::uint64_t> data;
  for (const double each : difficult_numbers<double>(random, 200)) data.push_back(std::bit_cast<std::uint64_t>(each));
  std::shuffle(data.begin(), data.end(), random);
  for (std::size_t i = 0; i < detail::op_count; ++i) {
    for (std::size_t j = 0; j < detail::lane_count; ++j) {
      const auto op = static_cast<Op>(i);
      const auto lane = static_cast<Lane>(j);
      const detail::Loop baseline = detail::baseline_loops().at(op, lane);
      ASSERT_EQ(baseline == nullptr, table.at(op, lane) == nullptr);
      if (baseline == nullptr) continue;
      auto expected = run_loop(baseline, data);
      auto found = run_loop(table.at(op, lane), data);
      const bool from_float = op == Op::cast_f32;
      unify_nans(expected, from_float ? Lane::f64 : lane);
      unify_nans(found, from_float ? Lane::f64 : lane);
      EXPECT_EQ(expected, found) << "operation " << i << ", lane " << j;
    }
  }
}

/// All summaries of one level, NaNs made one.
std::vector<double> run_statistics(const detail::StatisticsLoops& loops) {
  std::mt19937_64 random(95);
  std::vector<double> found;
  const auto add = [&](double number) { found.push_back(std::isnan(number) ? NAN : number); };
  const auto add_floats = [&](const auto& summary, const auto& deviations, const auto& numbers, std::size_t count) {
    const detail::FloatSummary sums = summary(numbers, count);
    for (const double each : {sums.sum, sums.min, sums.max, static_cast<double>(sums.nan)}) add(each);
    const detail::Deviations spread = deviations(numbers, count, 0.25);
    add(spread.sum);
    add(spread.squares);
  };
  const Columns columns = test::random_inputs(random, 5000);
  std::vector<double> ordinary;
  for (int i = 0; i < 5000; ++i) ordinary.push_back(static_cast<double>(random()) * 0x1p-64 - (i % 70 == 3 ? NAN : 0));
  for (const std::size_t count : {1U, 15U, 16U, 2048U, 2049U, 5000U}) {
    const auto bytes_of = [&](const char* name) { return columns.at(name).bytes.data(); };
    add_floats(loops.half_summary, loops.half_deviations, reinterpret_cast<const std::uint16_t*>(bytes_of("f2")),
               count);
    add_floats(loops.float_summary, loops.float_deviations, reinterpret_cast<const float*>(bytes_of("f4")), count);
    add_floats(loops.double_summary, loops.double_deviations, reinterpret_cast<const double*>(bytes_of("f8")), count);
    add_floats(loops.double_summary, loops.double_deviations, ordinary.data(), count);
    constexpr std::array names{"i1", "u1", "i2", "u2", "i4", "u4", "i8", "u8"};
    for (std::size_t i = 0; i < names.size(); ++i) {
      const detail::IntegerSummary sums = loops.integers[i].summary(bytes_of(names[i]), count);
      for (const auto each : {sums.min_bits, sums.max_bits, sums.squares}) add(static_cast<double>(each));
      add(static_cast<double>(sums.sum));
      add(static_cast<double>(sums.upper_sum));
      if (i >= 4) add(loops.integers[i].squares(bytes_of(names[i]), count, 7, i == 6));
    }
  }
  return found;
}

void expect_same_as_baseline(const detail::StatisticsLoops& loops) {
  const std::vector<double> expected = run_statistics(detail::baseline_statistics_loops());
  const std::vector<double> found = run_statistics(loops);
  ASSERT_EQ(found.size(), expected.size());
  EXPECT_EQ(std::memcmp(found.data(), expected.data(), found.size() * sizeof(double)), 0);
}

TEST(Levels, GiveTheSameNumbers) {
  bool any = false;
  if (__builtin_cpu_supports("avx2")) {
    expect_same_as_baseline(detail::avx2_loops());
    expect_same_as_baseline(detail::avx2_statistics_loops());
    any = true;
  }
  if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512bw") &&
      __builtin_cpu_supports("avx512vl")) {
    expect_same_as_baseline(detail::avx512_loops());
    expect_same_as_baseline(detail::avx512_statistics_loops());
    any = true;
  }
  if (!any) GTEST_SKIP() << "this machine has the baseline only";
}
#endif

}  // namespace
}  // namespace runrig
