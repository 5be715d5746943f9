// Reductions and statistics of complex numbers. What they are NumPy tells, in tests/apps/check_complex_reduce.py.
#include <gtest/gtest.h>

#include <algorithm>
#include <complex>
#include <cstring>
#include <limits>
#include <random>
#include <vector>

#include "runrig/engine/reduction.hpp"
#include "runrig/engine/statistics.hpp"
#include "runrig/shm/complex.hpp"

namespace runrig {
namespace {

using complex64 = std::complex<float>;
using complex128 = std::complex<double>;
constexpr double nan = std::numeric_limits<double>::quiet_NaN();

/// Few different real parts, so that imaginary ones decide, and some NaNs.
template <class C>
std::vector<C> some_numbers(std::size_t count) {
  using T = typename C::value_type;
  std::mt19937_64 random(7);
  std::normal_distribution<double> normal(0, 1);
  std::vector<C> numbers(count);
  for (C& each : numbers) {
    each = {static_cast<T>(random() % 3), static_cast<T>(random() % 40 == 0 ? nan : normal(random))};
  }
  return numbers;
}
template <class C>
const std::byte* bytes_of(const std::vector<C>& numbers) {
  return reinterpret_cast<const std::byte*>(numbers.data());
}

template <class C>
class ComplexReduction : public ::testing::Test {};
using Types = ::testing::Types<complex64, complex128>;
TYPED_TEST_SUITE(ComplexReduction, Types);

/// The result of one sequence that `add` gives to the accumulators.
template <class Add>
std::vector<std::byte> reduced(const Reducer& reducer, const std::byte* first, std::uint64_t length, Add add) {
  std::vector<std::byte> memory(reducer.state_bytes() * reduction_lanes);
  const ReductionStates lanes{memory.data(), reduction_lanes};
  reducer.begin(lanes, reduction_lanes, first, 0);
  add(lanes);
  reducer.fold(lanes);
  std::vector<std::byte> result(item_bytes(reducer.result()) + 1);
  result.back() = static_cast<std::byte>(reducer.finish(lanes, 1, length, result.data()));
  return result;
}

TYPED_TEST(ComplexReduction, ARowMayBeCutAnywhereBetweenTwoCalls) {
  const auto numbers = some_numbers<TypeParam>(1000);
  for (std::size_t i = 0; i < reduction_count; ++i) {
    for (const NanPolicy policy : {NanPolicy::propagate, NanPolicy::skip}) {
      const Reducer reducer(static_cast<Reduction>(i), dtype_of<TypeParam>, policy);
      const auto whole = reduced(reducer, bytes_of(numbers), numbers.size(), [&](ReductionStates lanes) {
        reducer.add_row(lanes, bytes_of(numbers), numbers.size(), 0);
      });
      const auto cut = reduced(reducer, bytes_of(numbers), numbers.size(), [&](ReductionStates lanes) {
        std::size_t k = 0;
        for (const std::size_t part : {1U, 14U, 3U, 16U, 0U, 95U, 32U, 7U, 832U}) {
          reducer.add_row(lanes, bytes_of(numbers) + k * sizeof(TypeParam), part, k);
          k += part;
        }
      });
      EXPECT_EQ(whole, cut) << reduction_name(reducer.operation());
    }
  }
}

TYPED_TEST(ComplexReduction, ConstantsTakenAtOnceGiveTheBitsOfEachByItself) {
  using T = typename TypeParam::value_type;
  const T missing = std::numeric_limits<T>::quiet_NaN();
  for (const TypeParam value : {TypeParam(0, 0), TypeParam(1, 0), TypeParam(0, 1), TypeParam(T(0.5), -2),
                                TypeParam(missing, 1), TypeParam(1, missing)}) {
    const std::vector<TypeParam> numbers(777, value);
    for (std::size_t i = 0; i < reduction_count; ++i) {
      for (const NanPolicy policy : {NanPolicy::propagate, NanPolicy::skip}) {
        const Reducer reducer(static_cast<Reduction>(i), dtype_of<TypeParam>, policy);
        const auto each = reduced(reducer, bytes_of(numbers), numbers.size(), [&](ReductionStates lanes) {
          reducer.add_row(lanes, bytes_of(numbers), numbers.size(), 0);
        });
        const auto once = reduced(reducer, bytes_of(numbers), numbers.size(), [&](ReductionStates lanes) {
          reducer.add_constant_row(lanes, bytes_of(numbers), numbers.size(), 0);
        });
        const bool nan_product = reducer.operation() == Reduction::prod && value != value;  // whose signs say nothing
        EXPECT_TRUE(nan_product || each == once) << reduction_name(reducer.operation()) << " of " << value;
      }
    }
  }
}

TYPED_TEST(ComplexReduction, ExtremesAreThoseOfTheRealPartsFirst) {
  const std::vector<TypeParam> numbers{{1, 5}, {0, 3}, {0, -2}, {1, 7}, {1, 6}, {0, 9}};
  const auto found = [&](Reduction operation) {
    const Reducer reducer(operation, dtype_of<TypeParam>, NanPolicy::propagate);
    TypeParam result;
    EXPECT_TRUE(reduce_sequences(reducer, ReductionAxes::resolve(Shape{6}, std::nullopt), bytes_of(numbers), 1, 6,
                                 reinterpret_cast<std::byte*>(&result)));
    return result;
  };
  EXPECT_EQ(found(Reduction::min), TypeParam(0, -2));
  EXPECT_EQ(found(Reduction::max), TypeParam(1, 7));
  const Statistics statistics = summarize_block(dtype_of<TypeParam>, bytes_of(numbers), numbers.size());
  EXPECT_EQ(statistics.min(Part::real), Number(0.0));
  EXPECT_EQ(statistics.min(Part::imaginary), Number(-2.0));
  EXPECT_EQ(statistics.max(Part::real), Number(1.0));
  EXPECT_EQ(statistics.max(Part::imaginary), Number(7.0));
}

TYPED_TEST(ComplexReduction, StatisticsLeaveOutWhatIsNanInEitherPart) {
  const auto numbers = some_numbers<TypeParam>(3 * 2048 + 77);
  std::vector<TypeParam> valid;
  std::copy_if(numbers.begin(), numbers.end(), std::back_inserter(valid), [](TypeParam each) { return each == each; });
  ASSERT_GT(numbers.size() - valid.size(), 50U);
  complex128 sum = 0;
  for (const TypeParam each : valid) sum += complex128(each);
  const complex128 mean = sum / static_cast<double>(valid.size());
  double squares = 0;
  for (const TypeParam each : valid) squares += std::norm(complex128(each) - mean);
  const Statistics found = summarize_block(dtype_of<TypeParam>, bytes_of(numbers), numbers.size());
  EXPECT_EQ(found.count, numbers.size());
  EXPECT_EQ(found.valid(), valid.size());
  EXPECT_NEAR(found.mean(Part::real), mean.real(), 1e-12);
  EXPECT_NEAR(found.mean(Part::imaginary), mean.imag(), 1e-12);
  EXPECT_NEAR(found.sum(Part::imaginary), sum.imag(), 1e-9);
  EXPECT_NEAR(found.stddev(), std::sqrt(squares / static_cast<double>(valid.size())), 1e-12);
}

TEST(ComplexStatistics, OfNothingAndOfNansAloneHaveNoExtremes) {
  const std::vector<complex128> nans(5, complex128(1, nan));
  for (const std::size_t count : {0U, 5U}) {
    const Statistics found = summarize_block(DType::complex128, bytes_of(nans), count);
    EXPECT_EQ(found.count, count);
    EXPECT_EQ(found.valid(), 0U);
    EXPECT_EQ(found.min(Part::imaginary), std::nullopt);
    EXPECT_TRUE(std::isnan(found.mean(Part::imaginary)));
    EXPECT_EQ(found.sum(Part::imaginary), 0);
  }
}

TEST(ComplexStatistics, KeepInfinitiesInOnePartFromTheOther) {
  const double infinity = std::numeric_limits<double>::infinity();
  const std::vector<complex128> numbers{{1, infinity}, {2, 5}};
  const Statistics found = summarize_block(DType::complex128, bytes_of(numbers), numbers.size());
  EXPECT_EQ(found.nan, 0U);
  EXPECT_EQ(found.mean(Part::real), 1.5);
  EXPECT_EQ(found.mean(Part::imaginary), infinity);
  EXPECT_EQ(found.max(Part::imaginary), Number(5.0));
}

}  // namespace
}  // namespace runrig
