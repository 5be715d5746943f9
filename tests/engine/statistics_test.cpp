#include "runrig/engine/statistics.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <fstream>
#include <limits>
#include <random>
#include <sstream>
#include <string>
#include <vector>

#include "expression_support.hpp"
#include "support.hpp"

namespace runrig {
namespace {

using test::Column;
using test::column_of;

/// The blocks of a column, each copied to memory that is aligned to the items and no better.
std::vector<Statistics> blocks_of(const Column& column) {
  const std::size_t item = item_bytes(column.dtype);
  std::vector<Statistics> blocks;
  for (std::size_t first = 0; first < column.elements(); first += statistics_block_elements) {
    const std::size_t count = std::min(statistics_block_elements, column.elements() - first);
    std::vector<std::byte> copy(item * (1 + first / statistics_block_elements % 3) + count * item);
    std::byte* const data = copy.data() + copy.size() - count * item;
    std::memcpy(data, column.bytes.data() + first * item, count * item);
    blocks.push_back(summarize_block(column.dtype, data, count));
  }
  return blocks;
}
Statistics statistics_of(const Column& column) {
  StatisticsTree tree(column.dtype);
  for (const Statistics& each : blocks_of(column)) tree.add(each);
  return tree.result();
}

TEST(Statistics, SummarisesNumbersWithoutNaN) {
  const auto found = statistics_of(column_of<float>({1, 2, NAN, 3, 6}));
  EXPECT_EQ(found.count, 5U);
  EXPECT_EQ(found.nan, 1U);
  EXPECT_EQ(found.min(), Number(1.0));
  EXPECT_EQ(found.max(), Number(6.0));
  EXPECT_EQ(found.mean(), 3);
  EXPECT_DOUBLE_EQ(found.stddev(), std::sqrt(3.5));
  EXPECT_EQ(found.sum_text(), "12");
}

TEST(Statistics, HaveNothingToSayOfNothing) {
  for (const Column& column : {column_of<double>({}), column_of<double>({NAN, NAN}), column_of<half>({half(NAN)})}) {
    const auto found = statistics_of(column);
    EXPECT_EQ(found.count, column.elements());
    EXPECT_EQ(found.valid(), 0U);
    EXPECT_EQ(found.min(), std::nullopt);
    EXPECT_EQ(found.max(), std::nullopt);
    EXPECT_TRUE(std::isnan(found.mean()));
    EXPECT_TRUE(std::isnan(found.stddev()));
    EXPECT_EQ(found.sum_text(), "0");
  }
  EXPECT_EQ(statistics_of(column_of<std::int8_t>({})).sum_text(), "0");
}

TEST(Statistics, OneElementIsItsOwnMean) {
  const auto found = statistics_of(column_of<double>({0.1}));
  EXPECT_EQ(found.mean(), 0.1);
  EXPECT_EQ(found.stddev(), 0);
  EXPECT_EQ(number_text(*found.min()), "0.1");
}

TEST(Statistics, InfinitiesActAsInNumPy) {
  const auto one = statistics_of(column_of<double>({1, HUGE_VAL, 2}));
  EXPECT_EQ(one.mean(), HUGE_VAL);
  EXPECT_TRUE(std::isnan(one.stddev()));
  EXPECT_EQ(one.max(), Number(HUGE_VAL));
  EXPECT_EQ(one.nan, 0U);
  const auto both = statistics_of(column_of<double>({-HUGE_VAL, HUGE_VAL, NAN}));
  EXPECT_TRUE(std::isnan(both.mean()));
  EXPECT_EQ(both.nan, 1U);
  EXPECT_EQ(both.min(), Number(-HUGE_VAL));
}

TEST(Statistics, SumsOfIntegersAreExactBeyond64Bits) {
  const std::vector<std::uint64_t> large(3 * statistics_block_elements, std::numeric_limits<std::uint64_t>::max());
  EXPECT_EQ(statistics_of(column_of(large)).sum_text(), "3626777458843887523921920");
  EXPECT_EQ(statistics_of(column_of(large)).stddev(), 0);
  const std::vector<std::int64_t> small(4, std::numeric_limits<std::int64_t>::min());
  EXPECT_EQ(statistics_of(column_of(small)).sum_text(), "-36893488147419103232");
}

TEST(Statistics, LargeIntegersKeepTheirSmallDifferences) {
  std::vector<std::int64_t> numbers;
  const std::int64_t base = (std::int64_t{1} << 62) + 12345;
  for (std::size_t i = 0; i < 2 * statistics_block_elements + 77; ++i)
    numbers.push_back(base + static_cast<std::int64_t>(i % 3));
  std::vector<double> plain;
  for (const std::int64_t each : numbers) plain.push_back(static_cast<double>(each - base));
  const auto found = statistics_of(column_of(numbers));
  EXPECT_NEAR(found.stddev(), statistics_of(column_of(plain)).stddev(), 1e-12);
  EXPECT_EQ(found.min(), Number(base));
  const auto extremes = statistics_of(
      column_of<std::int64_t>({std::numeric_limits<std::int64_t>::min(), std::numeric_limits<std::int64_t>::max()}));
  EXPECT_EQ(extremes.mean(), -0.5);
  EXPECT_DOUBLE_EQ(extremes.stddev(), 0x1p63);
}

TEST(Statistics, AnOffsetDoesNotDrownTheSpread) {
  std::mt19937_64 random(3);
  std::normal_distribution<double> normal(1e9, 1e-3);
  std::vector<double> numbers(200000);
  for (double& each : numbers) each = normal(random);
  long double mean = 0;
  for (const double each : numbers) mean += each - 1e9;  // exactly
  mean /= static_cast<long double>(numbers.size());
  long double squares = 0;
  for (const double each : numbers) squares += (each - 1e9 - mean) * (each - 1e9 - mean);
  const auto expected = static_cast<double>(std::sqrt(squares / static_cast<long double>(numbers.size())));
  EXPECT_NEAR(statistics_of(column_of(numbers)).stddev() / expected, 1, 1e-12);
}

TEST(Statistics, TheBitsOfABlockDoNotDependOnItsPlace) {
  std::mt19937_64 random(5);
  for (const auto& [name, column] : test::random_inputs(random, 40007)) {
    const std::size_t item = item_bytes(column.dtype);
    const Statistics first = summarize_block(column.dtype, column.bytes.data(), column.elements());
    for (std::size_t shift = 1; shift < 17; shift += 5) {
      std::vector<std::byte> moved(column.bytes.size() + shift * item);
      std::memcpy(moved.data() + shift * item, column.bytes.data(), column.bytes.size());
      const Statistics again = summarize_block(column.dtype, moved.data() + shift * item, column.elements());
      EXPECT_EQ(again.sum_low, first.sum_low) << name;
      EXPECT_EQ(again.sum_high, first.sum_high) << name;
      EXPECT_EQ(again.min_bits, first.min_bits) << name;
      EXPECT_EQ(again.max_bits, first.max_bits) << name;
      EXPECT_EQ(again.nan, first.nan) << name;
      EXPECT_EQ(std::memcmp(&again.squares, &first.squares, sizeof again.squares), 0) << name;
    }
  }
}

TEST(Statistics, NaNsFoundLateChangeNothingButTheirCount) {
  std::vector<double> numbers(10000);
  for (std::size_t i = 0; i < numbers.size(); ++i) numbers[i] = 1.0 / (1.0 + static_cast<double>(i));
  for (const std::size_t at : {std::size_t{0}, std::size_t{2047}, std::size_t{9999}}) {
    std::vector<double> with_nan = numbers;
    with_nan.insert(with_nan.begin() + static_cast<std::ptrdiff_t>(at), NAN);
    const auto plain = statistics_of(column_of(numbers));
    const auto found = statistics_of(column_of(with_nan));
    EXPECT_EQ(found.nan, 1U);
    EXPECT_EQ(found.min(), plain.min());
    EXPECT_EQ(found.max(), plain.max());
    EXPECT_NEAR(found.sum() / plain.sum(), 1, 1e-15);
    EXPECT_NEAR(found.stddev() / plain.stddev(), 1, 1e-14);
  }
}

TEST(Statistics, TreesGrowBlockByBlock) {
  // Asking in between changes nothing, and the shape is that of a binary counter.
  const std::vector<double> numbers(7 * statistics_block_elements + 5, 0.1);
  StatisticsTree asked(DType::float64);
  for (const Statistics& each : blocks_of(column_of(numbers))) {
    asked.add(each);
    EXPECT_NEAR(asked.result().mean(), 0.1, 1e-15);
  }
  const auto whole = statistics_of(column_of(numbers));
  EXPECT_EQ(asked.result().sum(), whole.sum());
  EXPECT_EQ(whole.count, numbers.size());
}

TEST(Statistics, RefuseBlocksThatAreTooLongOrOfAnotherType) {
  const std::vector<std::byte> bytes(statistics_block_elements + 1);
  EXPECT_THROW((void)summarize_block(DType::int8, bytes.data(), bytes.size()), std::logic_error);
  StatisticsTree tree(DType::int8);
  EXPECT_THROW(tree.add(summarize_block(DType::uint8, bytes.data(), 5)), std::logic_error);
}

TEST(Statistics, NumbersAreTextWithAllDigits) {
  EXPECT_EQ(number_text(0.1), "0.1");
  EXPECT_EQ(number_text(-1e300), "-1e+300");
  EXPECT_EQ(number_text(-std::numeric_limits<double>::quiet_NaN()), "nan");
  EXPECT_EQ(number_text(std::numeric_limits<std::uint64_t>::max()), "18446744073709551615");
  EXPECT_EQ(number_text(std::numeric_limits<std::int64_t>::min()), "-9223372036854775808");
}

const char* const statistics_program = R"(
import sys, warnings
import numpy as np
warnings.simplefilter('ignore')
for name in sys.argv[2:]:
    a = np.fromfile(f'{sys.argv[1]}/{name}', dtype='?' if name.startswith('b') else name[:2])
    nan = 0
    if a.dtype.kind == 'f':
        nan = int(np.isnan(a).sum())
        a = a[~np.isnan(a)].astype('f8')
        total, low, high = float(a.sum()), float(a.min()), float(a.max())
    else:
        total = sum(a.tolist())
        low, high = int(a.min()), int(a.max())
    # In extended precision, so that what differs is ours.
    wide = a.astype('longdouble')
    mean = wide.mean()
    print(name, nan, repr(low), repr(high), repr(total), repr(float(mean)), repr(float(np.sqrt(((wide - mean) ** 2).mean()))))
)";

/// Numbers as they occur, not at the edges: with a spread that is not lost in an offset.
Column ordinary_column(DType dtype, std::mt19937_64& random, std::size_t elements) {
  return visit_dtype(dtype, [&]<class T>(std::type_identity<T>) {
    std::normal_distribution<double> normal(20, 35);
    if constexpr (std::is_same_v<T, bool>) {
      Column column{dtype, std::vector<std::byte>(elements)};
      for (std::byte& each : column.bytes) each = static_cast<std::byte>(random() % 3 == 0);
      return column;
    } else if constexpr (std::is_integral_v<T>) {
      std::vector<T> numbers(elements);
      for (T& each : numbers) each = static_cast<T>(random());
      return column_of(numbers);
    } else {
      std::vector<T> numbers(elements);
      for (T& each : numbers) each = static_cast<T>(static_cast<float>(random() % 50 == 0 ? NAN : normal(random)));
      return column_of(numbers);
    }
  });
}

TEST(StatisticsNumPy, AgreesForAllTypes) {
  RUNRIG_NEED_PYTHON(python, "numpy");
  std::mt19937_64 random(17);
  const test::TemporaryDirectory folder;
  std::vector<std::string> command{python, "-c", statistics_program, folder.path().string()};
  std::vector<Statistics> ours;
  for (std::size_t i = 0; i < real_dtype_count; ++i) {
    const auto dtype = static_cast<DType>(i);
    for (const std::size_t elements :
         {std::size_t{1}, std::size_t{17}, std::size_t{3 * statistics_block_elements + 1234}}) {
      const Column column = ordinary_column(dtype, random, elements);
      const std::string name = std::string(dtype_string(dtype).substr(1)) + "-" + std::to_string(elements);
      std::ofstream(folder / name, std::ios::binary)
          .write(reinterpret_cast<const char*>(column.bytes.data()), static_cast<std::streamsize>(column.bytes.size()));
      command.push_back(name);
      ours.push_back(statistics_of(column));
    }
  }
  const auto run = test::run_command(command);
  ASSERT_EQ(run.exit_code, 0) << run.err;
  std::istringstream lines(run.out);
  for (const Statistics& each : ours) {
    std::string name;
    std::uint64_t nan = 0;
    std::string min, max, sum;
    double mean = 0;
    double stddev = 0;
    ASSERT_TRUE(lines >> name >> nan >> min >> max >> sum >> mean >> stddev) << run.out;
    EXPECT_EQ(each.nan, nan) << name;
    if (is_floating(each.dtype)) {
      EXPECT_EQ(std::get<double>(*each.min()), std::stod(min)) << name;
      EXPECT_EQ(std::get<double>(*each.max()), std::stod(max)) << name;
      EXPECT_NEAR(each.sum(), std::stod(sum), 1e-12 * std::fabs(std::stod(sum))) << name;
    } else {
      EXPECT_EQ(number_text(*each.min()), min) << name;
      EXPECT_EQ(number_text(*each.max()), max) << name;
      EXPECT_EQ(each.sum_text(), sum) << name;
    }
    EXPECT_NEAR(each.mean(), mean, 1e-13 * std::fabs(mean)) << name;
    EXPECT_NEAR(each.stddev(), stddev, 1e-13 * stddev) << name;
  }
}

TEST(Statistics, RepeatedBlocksHaveTheBitsOfAddingThemOneByOne) {
  std::vector<float> values(statistics_block_elements);
  for (std::size_t i = 0; i < values.size(); ++i) values[i] = 0.1F * static_cast<float>(i % 1000);
  const auto bytes = reinterpret_cast<const std::byte*>(values.data());
  const Statistics block = summarize_block(DType::float32, bytes, values.size());
  const Statistics other = summarize_block(DType::float32, bytes, 1000);
  for (const std::uint64_t before : {0U, 1U, 2U, 3U, 5U, 8U, 13U}) {
    for (std::uint64_t times = 0; times < 40; ++times) {
      StatisticsTree one_by_one(DType::float32);
      StatisticsTree at_once(DType::float32);
      for (std::uint64_t i = 0; i < before; ++i) {
        one_by_one.add(other);
        at_once.add(other);
      }
      for (std::uint64_t i = 0; i < times; ++i) one_by_one.add(block);
      at_once.add_repeated(block, times);
      one_by_one.add(other);
      at_once.add(other);
      const Statistics a = one_by_one.result();
      const Statistics b = at_once.result();
      ASSERT_EQ(std::memcmp(&a, &b, sizeof a), 0) << before << ' ' << times;
    }
  }
}

}  // namespace
}  // namespace runrig
