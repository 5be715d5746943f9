// Whether all levels of instructions agree: those that this machine can run, against the baseline.
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <bit>
#include <chrono>
#include <cmath>
#include <cstring>
#include <iostream>
#include <limits>
#include <random>
#include <string>
#include <vector>

#include "expression_support.hpp"
#include "level.hpp"
#include "loops.hpp"
#include "statistics_loops.hpp"
#include "support.hpp"

namespace runrig {
namespace {

using detail::Lane;
using detail::Level;
using detail::Op;
using test::Columns;
using test::difficult_numbers;

/// Runs one loop of a table on bytes that have the form of whatever it reads.
std::vector<std::byte> run_loop(detail::Loop loop, const std::vector<std::uint64_t>& data) {
  constexpr std::size_t packets = 40;
  std::vector<std::byte> out(packets * detail::packet_elements * 16);
  const auto* const first = reinterpret_cast<const std::byte*>(data.data());
  const std::array arguments{first, first + 8, first + 16, first + 24};
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
  if (lane == Lane::f32 || lane == Lane::c64) unify(float{});
  if (lane == Lane::f64 || lane == Lane::c128) unify(double{});
}

/// Whose results are near the truth on each level, and no more; see AllTestsPassOnEveryLevel below.
bool is_transcendental(Op op, Lane lane) {
  const bool of_floats = lane >= Lane::f32;
  return (op >= Op::cbrt && op <= Op::hypot) || (op == Op::power && of_floats);
}

class Levels : public ::testing::TestWithParam<Level> {
 protected:
  void SetUp() override {
    if (GetParam() > detail::machine_level()) GTEST_SKIP() << "this machine cannot run it";
  }
};

TEST_P(Levels, HaveTheLoopsOfTheBaselineWithTheSameBits) {
  const detail::LoopTable& table = detail::loops_of_level(GetParam());
  std::mt19937_64 random(96);
  std::vector<std::uint64_t> data;
  for (const double each : difficult_numbers<double>(random, 300)) data.push_back(std::bit_cast<std::uint64_t>(each));
  std::shuffle(data.begin(), data.end(), random);
  std::size_t compared = 0;
  for (std::size_t i = 0; i < detail::op_count; ++i) {
    for (std::size_t j = 0; j < detail::lane_count; ++j) {
      const auto op = static_cast<Op>(i);
      const auto lane = static_cast<Lane>(j);
      const detail::Loop baseline = detail::baseline_loops().at(op, lane);
      ASSERT_EQ(baseline == nullptr, table.at(op, lane) == nullptr);
      if (baseline == nullptr || is_transcendental(op, lane)) continue;
      auto expected = run_loop(baseline, data);
      auto found = run_loop(table.at(op, lane), data);
      unify_nans(expected, lane);
      unify_nans(found, lane);
      EXPECT_EQ(expected, found) << "operation " << i << ", lane " << j;
      ++compared;
    }
  }
  EXPECT_GT(compared, 240U);
}

// Also which of two NaNs decides: a result must not depend on whether it went past the caches.
TEST_P(Levels, HaveStreamedLoopsWithTheBitsOfTheOthers) {
  const detail::LoopTable& table = detail::loops_of_level(GetParam());
  std::mt19937_64 random(94);
  const auto fill = [&]<class T>(T) {
    std::vector<T> numbers = difficult_numbers<T>(random, 300);
    for (int i = 0; i < 2000; ++i) {  // NaNs of all payloads, often side by side
      const T nan = std::numeric_limits<T>::quiet_NaN();
      using Bits = std::conditional_t<sizeof(T) == 8, std::uint64_t, std::uint32_t>;
      numbers.push_back(std::bit_cast<T>(std::bit_cast<Bits>(nan) | static_cast<Bits>(random() % 1000)));
    }
    std::shuffle(numbers.begin(), numbers.end(), random);
    std::vector<std::uint64_t> data(numbers.size() * sizeof(T) / 8);
    std::memcpy(data.data(), numbers.data(), data.size() * 8);
    return data;
  };
  const std::array data{fill(float{}), fill(double{})};
  constexpr std::size_t packets = 12;
  std::size_t compared = 0;
  for (std::size_t i = 0; i < detail::op_count; ++i) {
    for (const Lane lane : {Lane::f32, Lane::f64}) {
      const auto op = static_cast<Op>(i);
      const detail::Loop streamed = table.streamed_at(op, lane);
      if (streamed == nullptr) continue;
      const auto* const first = reinterpret_cast<const std::byte*>(data[lane == Lane::f64 ? 1 : 0].data());
      // All of them, by loops on parts that overlap.
      for (std::size_t part = 0; part < 6; ++part) {
        const std::byte* const at = first + part * 4096;
        const std::array arguments{at, at + 8, at + 16, at + 24};
        std::array<std::byte, packets * detail::packet_elements * 8> expected{};
        alignas(64) std::array<std::byte, packets * detail::packet_elements * 8> found{};
        table.at(op, lane)(expected.data(), arguments.data(), packets);
        streamed(found.data(), arguments.data(), packets);
        EXPECT_EQ(expected, found) << "operation " << i << ", lane " << static_cast<int>(lane);
      }
      ++compared;
    }
  }
  EXPECT_GT(compared, 100U);
}

/// All summaries of one level, NaNs made one.
std::vector<double> run_statistics(const detail::StatisticsLoops& loops) {
  std::mt19937_64 random(95);
  std::vector<double> found;
  const auto add = [&](double number) { found.push_back(std::isnan(number) ? NAN : number); };
  const auto add_floats = [&](const auto& summary, const auto& numbers, std::size_t count) {
    constexpr double centre = 0.25;
    for (const double* const each : {static_cast<const double*>(nullptr), &centre}) {
      const detail::FloatSummary found_here = summary(numbers, count, each);
      for (const double number : {found_here.centre, found_here.sum, found_here.squares, found_here.min, found_here.max,
                                  static_cast<double>(found_here.nan)}) {
        add(number);
      }
    }
  };
  const Columns columns = test::random_inputs(random, 5000);
  std::vector<double> ordinary;
  for (int i = 0; i < 5000; ++i) ordinary.push_back(static_cast<double>(random()) * 0x1p-64 - (i % 70 == 3 ? NAN : 0));
  for (const std::size_t count : {1U, 15U, 16U, 2048U, 2049U, 5000U}) {
    const auto bytes_of = [&](const char* name) { return columns.at(name).bytes.data(); };
    add_floats(loops.half_summary, reinterpret_cast<const std::uint16_t*>(bytes_of("f2")), count);
    add_floats(loops.float_summary, reinterpret_cast<const float*>(bytes_of("f4")), count);
    add_floats(loops.double_summary, reinterpret_cast<const double*>(bytes_of("f8")), count);
    add_floats(loops.double_summary, ordinary.data(), count);
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

TEST_P(Levels, HaveTheStatisticsOfTheBaseline) {
  const std::vector<double> expected = run_statistics(detail::baseline_statistics_loops());
  const std::vector<double> found = run_statistics(detail::statistics_loops_of_level(GetParam()));
  ASSERT_EQ(found.size(), expected.size());
  EXPECT_EQ(std::memcmp(found.data(), expected.data(), found.size() * sizeof(double)), 0);
}

// The whole of this program's other tests again: functions within 2 units in the last place, the bits of NumPy, and
// the same bits however work is cut.
TEST_P(Levels, PassAllTestsOfExpressionsAndStatistics) {
  const std::string level(detail::level_name(GetParam()));
  const auto run = test::run_command({"/proc/self/exe", "--gtest_filter=-*Level*:*RandomTexts*:*Hostile*"}, {},
                                     std::chrono::seconds(300), {"RUNRIG_LEVEL=" + level});
  EXPECT_EQ(run.exit_code, 0) << run.out << run.err;
}

TEST_P(Levels, AreNamedByTheEnvironment) {
  const std::string level(detail::level_name(GetParam()));
  const auto run = test::run_command(
      {"/proc/self/exe", "--gtest_also_run_disabled_tests", "--gtest_filter=LevelsInChild.DISABLED_Print"}, {},
      std::chrono::seconds(100), {"RUNRIG_LEVEL=" + level});
  EXPECT_NE(run.out.find("level=" + level + "\n"), std::string::npos) << run.out;
}
TEST(LevelsInChild, DISABLED_Print) { std::cout << "level=" << kernel_level() << '\n'; }

TEST(LevelsOfTheEnvironment, AreRefusedWhereThereAreNone) {
  const auto run = test::run_command(
      {"/proc/self/exe", "--gtest_also_run_disabled_tests", "--gtest_filter=LevelsInChild.DISABLED_Print"}, {},
      std::chrono::seconds(100), {"RUNRIG_LEVEL=avx2"});
  EXPECT_NE(run.exit_code, 0);
  EXPECT_NE(run.out.find("use the kernels' level named by RUNRIG_LEVEL (baseline, v2, v3 or v4) 'avx2'"),
            std::string::npos)
      << run.out;
}

INSTANTIATE_TEST_SUITE_P(All, Levels, ::testing::Values(Level::baseline, Level::v2, Level::v3, Level::v4),
                         [](const auto& each) { return std::string(detail::level_name(each.param)); });

}  // namespace
}  // namespace runrig
