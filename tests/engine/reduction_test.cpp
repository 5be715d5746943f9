#include "runrig/engine/reduction.hpp"

#include <gtest/gtest.h>

#include <cstring>
#include <limits>
#include <random>
#include <vector>

#include "reduction_loops.hpp"
#include "runrig/sync/error.hpp"
#include "support.hpp"

namespace runrig {
namespace {

std::vector<double> some_numbers(std::size_t count) {
  std::mt19937_64 random(7);
  std::normal_distribution<double> normal(1e6, 3);
  std::vector<double> numbers(count);
  for (double& each : numbers) each = normal(random);
  return numbers;
}
const std::byte* bytes_of(const std::vector<double>& numbers) {
  return reinterpret_cast<const std::byte*>(numbers.data());
}

TEST(ReductionTest, ARowMayBeCutAnywhereBetweenTwoCalls) {
  constexpr std::size_t count = 1000;
  const auto numbers = some_numbers(count);
  for (std::size_t i = 0; i < reduction_count; ++i) {
    const Reducer reducer(static_cast<Reduction>(i), DType::float64, NanPolicy::skip);
    std::vector<std::byte> memory(2 * reducer.state_bytes() * reduction_lanes);
    const ReductionStates whole{memory.data(), reduction_lanes};
    const ReductionStates cut{memory.data() + memory.size() / 2, reduction_lanes};
    reducer.begin(whole, reduction_lanes, bytes_of(numbers), 0);
    reducer.begin(cut, reduction_lanes, bytes_of(numbers), 0);
    reducer.add_row(whole, bytes_of(numbers), count, 0);
    std::size_t k = 0;
    for (const std::size_t part : {1U, 14U, 3U, 16U, 0U, 95U, 32U, 7U, 832U}) {
      reducer.add_row(cut, bytes_of(numbers) + k * sizeof(double), part, k);
      k += part;
    }
    ASSERT_EQ(k, count);
    EXPECT_EQ(std::memcmp(memory.data(), memory.data() + memory.size() / 2, memory.size() / 2), 0)
        << reduction_name(reducer.operation());
  }
}

TEST(ReductionTest, ConstantsTakenAtOnceGiveTheBitsOfEachByItself) {
  for (const double value : {0.0, 1.0, 2.5, -1e300, std::numeric_limits<double>::quiet_NaN()}) {
    const std::vector<double> numbers(777, value);
    for (std::size_t i = 0; i < reduction_count; ++i) {
      for (const NanPolicy nan : {NanPolicy::propagate, NanPolicy::skip}) {
        const Reducer reducer(static_cast<Reduction>(i), DType::float64, nan);
        std::vector<std::byte> memory(2 * reducer.state_bytes() * reduction_lanes);
        const ReductionStates each{memory.data(), reduction_lanes};
        const ReductionStates once{memory.data() + memory.size() / 2, reduction_lanes};
        reducer.begin(each, reduction_lanes, bytes_of(numbers), 0);
        reducer.begin(once, reduction_lanes, bytes_of(numbers), 0);
        reducer.add_row(each, bytes_of(numbers), numbers.size(), 0);
        reducer.add_constant_row(once, bytes_of(numbers), numbers.size(), 0);
        reducer.fold(each);
        reducer.fold(once);
        double results[2] = {};
        const bool found = reducer.finish(each, 1, numbers.size(), reinterpret_cast<std::byte*>(&results[0]));
        EXPECT_EQ(reducer.finish(once, 1, numbers.size(), reinterpret_cast<std::byte*>(&results[1])), found);
        const bool both_nan = results[0] != results[0] && results[1] != results[1];
        EXPECT_TRUE(both_nan || std::memcmp(&results[0], &results[1], sizeof(double)) == 0)
            << reduction_name(reducer.operation()) << " of " << value;
      }
    }
  }
}

TEST(ReductionTest, RepeatedSegmentsAreJoinedAsIfEachWereAdded) {
  const auto numbers = some_numbers(64);
  const Reducer reducer(Reduction::var, DType::float64, NanPolicy::propagate);
  std::vector<std::byte> memory(reducer.state_bytes() * 8);
  const ReductionStates states{memory.data(), 8};
  reducer.begin(states, 8, bytes_of(numbers), 1);
  reducer.add_columns(states, 8, bytes_of(numbers), 8, 8, 0);
  for (const std::uint64_t before : {0U, 1U, 3U, 5U}) {
    for (std::uint64_t times = 1; times < 20; ++times) {
      ReductionTree one_by_one(reducer, 8);
      ReductionTree at_once(reducer, 8);
      for (std::uint64_t i = 0; i < before; ++i) at_once.add(states);
      at_once.add_repeated(states, times);
      for (std::uint64_t i = 0; i < before + times; ++i) one_by_one.add(states);
      const auto a = one_by_one.result();
      const auto b = at_once.result();
      EXPECT_EQ(std::memcmp(a.memory, b.memory, reducer.state_bytes() * 8), 0) << before << " and " << times;
    }
  }
}

/// Any bits are integers; of floats, what a NaN carries need not be the same.
std::vector<std::byte> some_elements(DType dtype, std::size_t count) {
  const auto numbers = some_numbers(count);
  const std::size_t item = item_bytes(dtype);
  std::vector<std::byte> bytes(count * item);
  for (std::size_t i = 0; i < count; ++i) {
    if (is_floating(dtype)) {
      store_real(dtype, numbers[i] - 1e6, bytes.data() + i * item);
    } else {
      std::memcpy(bytes.data() + i * item, &numbers[i], item);
    }
  }
  return bytes;
}

TEST(ReductionTest, EveryLevelOfInstructionsHasTheSameBits) {
  std::vector<const detail::ReductionTable*> tables;
  for (std::size_t level = 0; level <= static_cast<std::size_t>(detail::machine_level()); ++level) {
    tables.push_back(&detail::reduction_loops_of_level(static_cast<detail::Level>(level)));
  }
  if (tables.size() == 1) GTEST_SKIP() << "this machine has one level";
  for (std::size_t dtype = 0; dtype < real_dtype_count; ++dtype) {
    const auto elements = some_elements(static_cast<DType>(dtype), 17 * 37);
    for (std::size_t step = 0; step < detail::reduction_step_count; ++step) {
      std::vector<std::vector<std::byte>> found;
      for (const auto* table : tables) {
        const auto loop = table->loops[dtype][step];
        ASSERT_EQ(loop == nullptr, tables[0]->loops[dtype][step] == nullptr);
        if (loop == nullptr) continue;
        std::vector<std::byte> states(8 * 8 * 37);
        loop(states.data(), 37, {elements.data(), 17, 37, 37, 0, 1, 0});
        found.push_back(states);
      }
      for (const auto& each : found) EXPECT_EQ(each, found[0]) << "dtype " << dtype << ", step " << step;
    }
  }
}

TEST(ReductionTest, AxesThatAreNotThereOrNamedTwiceAreRefused) {
  const Shape shape{3, 4};
  EXPECT_EQ(ReductionAxes::resolve(shape, std::vector<std::int64_t>{-1}).kept, Shape{3});
  EXPECT_EQ(ReductionAxes::resolve(shape, std::nullopt).length, 12U);
  EXPECT_THROW((void)ReductionAxes::resolve(shape, std::vector<std::int64_t>{2}), FormatError);
  EXPECT_THROW((void)ReductionAxes::resolve(shape, std::vector<std::int64_t>{-3}), FormatError);
  EXPECT_THROW((void)ReductionAxes::resolve(shape, std::vector<std::int64_t>{1, -1}), FormatError);
}

}  // namespace
}  // namespace runrig
