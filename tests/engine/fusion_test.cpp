// Operations that one loop makes: the same bits as by one loop each, and in the programs where they are meant to be.
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>
#include <limits>
#include <random>
#include <string>
#include <vector>

#include "expression_support.hpp"
#include "level.hpp"
#include "loops.hpp"
#include "runrig/engine/expression.hpp"

namespace runrig {
namespace {

using detail::Fusion;
using detail::Lane;
using detail::Level;
using detail::LoopTable;
using detail::Op;
using detail::packet_elements;

constexpr std::size_t packets = 9;
constexpr std::size_t elements = packets * packet_elements;
template <class T>
struct alignas(64) Lanes {
  std::array<T, elements> numbers{};
  [[nodiscard]] std::byte* data() { return reinterpret_cast<std::byte*>(numbers.data()); }
  [[nodiscard]] const std::byte* data() const { return reinterpret_cast<const std::byte*>(numbers.data()); }
};

template <class T>
constexpr Lane lane = sizeof(T) == 8 ? Lane::f64 : Lane::f32;

/// Difficult numbers, and NaNs of many payloads, often side by side.
template <class T>
Lanes<T> random_lanes(std::mt19937_64& random) {
  std::vector<T> numbers = test::difficult_numbers<T>(random, 30);
  for (int i = 0; i < 300; ++i) {
    using Bits = std::conditional_t<sizeof(T) == 8, std::uint64_t, std::uint32_t>;
    const auto nan = std::bit_cast<Bits>(std::numeric_limits<T>::quiet_NaN());
    numbers.push_back(std::bit_cast<T>(static_cast<Bits>(nan | static_cast<Bits>(random() % 1000))));
  }
  Lanes<T> lanes;
  for (T& each : lanes.numbers) each = numbers[random() % numbers.size()];
  return lanes;
}

template <class T>
Lanes<T> run_single(const LoopTable& table, Op op, const std::vector<const Lanes<T>*>& of) {
  std::array<const std::byte*, 2> arguments{};
  for (std::size_t i = 0; i < of.size(); ++i) arguments[i] = of[i]->data();
  Lanes<T> result;
  table.at(op, lane<T>)(result.data(), arguments.data(), packets);
  return result;
}

template <class T>
Lanes<T> one_by_one(const LoopTable& table, const Fusion& fusion, const std::array<Lanes<T>, 4>& in) {
  const Lanes<T> inner = run_single<T>(table, fusion.inner, {&in[0], &in[1]});
  Lanes<T> result;
  switch (fusion.form) {
    case Fusion::Form::left:
      result = run_single<T>(table, fusion.outer, {&inner, &in[2]});
      break;
    case Fusion::Form::right:
      result = run_single<T>(table, fusion.outer, {&in[2], &inner});
      break;
    case Fusion::Form::both: {
      const Lanes<T> other = run_single<T>(table, fusion.inner, {&in[2], &in[3]});
      result = run_single<T>(table, fusion.outer, {&inner, &other});
      break;
    }
  }
  return fusion.root ? run_single<T>(table, Op::sqrt, {&result}) : result;
}

class Fusions : public ::testing::TestWithParam<Level> {
 protected:
  void SetUp() override {
    if (GetParam() > detail::machine_level()) GTEST_SKIP() << "this machine cannot run it";
  }
  template <class T>
  void compare() {
    const LoopTable& table = detail::loops_of_level(GetParam());
    std::mt19937_64 random(81);
    for (int turn = 0; turn < 8; ++turn) {
      const std::array in{random_lanes<T>(random), random_lanes<T>(random), random_lanes<T>(random),
                          random_lanes<T>(random)};
      const std::array<const std::byte*, 4> arguments{in[0].data(), in[1].data(), in[2].data(), in[3].data()};
      for (std::size_t i = 0; i < detail::fusions.size(); ++i) {
        const Lanes<T> expected = one_by_one<T>(table, detail::fusions[i], in);
        for (const detail::Loop loop :
             {table.at(detail::fused_op(i), lane<T>), table.streamed_at(detail::fused_op(i), lane<T>)}) {
          ASSERT_NE(loop, nullptr);
          Lanes<T> found;
          loop(found.data(), arguments.data(), packets);
          EXPECT_EQ(std::memcmp(found.data(), expected.data(), sizeof(T) * elements), 0) << "fusion " << i;
        }
      }
    }
  }
};

TEST_P(Fusions, OfFloat64GiveTheBitsOfOneOperationAfterTheOther) { compare<double>(); }
TEST_P(Fusions, OfFloat32GiveTheBitsOfOneOperationAfterTheOther) { compare<float>(); }

INSTANTIATE_TEST_SUITE_P(All, Fusions, ::testing::Values(Level::baseline, Level::v2, Level::v3, Level::v4),
                         [](const auto& each) { return std::string(detail::level_name(each.param)); });

struct ProgramCase {
  const char* name;
  const char* text;
  std::size_t instructions;
  DType type = DType::float64;
};

class FusedPrograms : public ::testing::TestWithParam<ProgramCase> {};

TEST_P(FusedPrograms, HaveSoManyInstructions) {
  const Expression expression = Expression::parse(GetParam().text);
  const Program program = expression.bind(std::vector<DType>(expression.variables().size(), GetParam().type));
  detail::ProgramHead head;
  std::memcpy(&head, program.code().data(), sizeof head);
  EXPECT_EQ(head.instructions, GetParam().instructions);
}

INSTANTIATE_TEST_SUITE_P(
    Of, FusedPrograms,
    ::testing::Values(ProgramCase{"magnitude", "sqrt(a*a + b*b)", 1}, ProgramCase{"squares", "sqrt(a**2 + b**2)", 1},
                      ProgramCase{"float32", "sqrt(a*a + b*b)", 1, DType::float32},
                      ProgramCase{"rounded_between", "sqrt(a*a + b*b)", 11, DType::float16},
                      ProgramCase{"root_of_one_input", "sqrt(x*x + 1)", 1}, ProgramCase{"from_the_right", "1 - x*x", 1},
                      ProgramCase{"standardised", "(x - m) / s", 1}, ProgramCase{"line", "x*2 + 1", 1},
                      ProgramCase{"logistic", "1 / (1 + x)", 1},
                      ProgramCase{"polynomial", "((a*x + b)*x + c)*x + d", 3},
                      ProgramCase{"used_twice", "a*b + exp(a*b)", 3}, ProgramCase{"in_itself", "(a + b)*(a + b)", 2},
                      ProgramCase{"root_used_twice", "sqrt(a*a + b*b) + (a*a + b*b)", 3},
                      ProgramCase{"two_sums", "(a + b)*(c + d)", 2}, ProgramCase{"nothing", "exp(a) * 2", 2},
                      ProgramCase{"integers", "a*2 + 1", 2, DType::int32}),
    [](const auto& each) { return std::string(each.param.name); });

// Each form, with literals and the same variable at several places, against its parts computed by programs of their
// own.
TEST(FusedPrograms, GiveTheBitsOfTheirPartsOneByOne) {
  struct PartsCase {
    const char* whole;
    std::vector<const char*> parts;  // each is a variable of the next: p, q; the last is the whole
  };
  std::mt19937_64 random(82);
  for (const char* const type : {"f4", "f8"}) {
    const auto inputs = test::random_inputs(random, 1777);
    const test::Column& numbers = inputs.at(type);
    test::Columns columns{{"x", numbers}, {"y", numbers}};
    std::rotate(columns["y"].bytes.begin(), columns["y"].bytes.begin() + 64, columns["y"].bytes.end());
    const std::vector<PartsCase> cases{{"sqrt(x*x + y*y)", {"x*x", "y*y", "p + q", "sqrt(r)"}},
                                       {"x*y - y*y", {"x*y", "y*y", "p - q"}},
                                       {"x*2 + 1", {"x*2", "p + 1"}},
                                       {"sqrt(1 - x*x)", {"x*x", "1 - p", "sqrt(q)"}},
                                       {"(x - y) / y", {"x - y", "p / y"}},
                                       {"x / (x + 1)", {"x + 1", "x / p"}},
                                       {"3 * (y - x)", {"y - x", "3 * p"}},
                                       {"(x*x + 2)*x + y", {"x*x", "p + 2", "q*x", "r + y"}},
                                       {"x*y*3 + x + y", {"x*y", "p*3", "q + x", "r + y"}}};
    for (const PartsCase& each : cases) {
      test::Columns known = columns;
      test::Column last;
      char name = 'p';
      for (const char* part : each.parts) {
        last = test::evaluate(part, known);
        known[std::string(1, name++)] = last;
      }
      EXPECT_EQ(test::evaluate(each.whole, columns).bytes, last.bytes) << each.whole << " of " << type;
    }
  }
}

}  // namespace
}  // namespace runrig
