#include "runrig/engine/expression.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/mman.h>

#include <array>
#include <bit>
#include <cmath>
#include <cstring>
#include <limits>
#include <random>
#include <string>
#include <vector>

#include "expression_support.hpp"
#include "support.hpp"

namespace runrig {
namespace {

using test::Column;
using test::column_of;
using test::Columns;
using test::evaluate;
using test::numbers_of;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

double value_of(std::string_view text) {
  const Column result = evaluate(text, {});
  return test::as_doubles(result).at(0);
}

TEST(Expression, EvaluatesArithmeticOnArrays) {
  const auto result =
      evaluate("sqrt(a*a + b*b)", {{"a", column_of<double>({3, 5, 8})}, {"b", column_of<double>({4, 12, 15})}});
  EXPECT_EQ(result.dtype, DType::float64);
  EXPECT_THAT(numbers_of<double>(result), ElementsAre(5, 13, 17));
}

TEST(Expression, ListsVariablesInOrderOfAppearance) {
  const auto expression = Expression::parse("where(z > 1, pi * b, z + np.abs(a)) + b");
  EXPECT_THAT(expression.variables(), ElementsAre("z", "b", "a"));
  EXPECT_EQ(expression.text(), "where(z > 1, pi * b, z + np.abs(a)) + b");
}

TEST(Expression, TakesNamesInAnyLanguage) {
  EXPECT_THAT(Expression::parse("température*2").variables(), ElementsAre("température"));
}

struct PrecedenceCase {
  const char* text;
  double value;
};
class ExpressionPrecedence : public ::testing::TestWithParam<PrecedenceCase> {};
TEST_P(ExpressionPrecedence, IsThatOfPythonAndC) {
  EXPECT_EQ(value_of(GetParam().text), GetParam().value) << GetParam().text;
}
INSTANTIATE_TEST_SUITE_P(
    All, ExpressionPrecedence,
    ::testing::Values(PrecedenceCase{"1 + 2 * 3", 7}, PrecedenceCase{"(1 + 2) * 3", 9}, PrecedenceCase{"-2**2", -4},
                      PrecedenceCase{"2**-1", 0.5}, PrecedenceCase{"2**3**2", 512}, PrecedenceCase{"7 // 2", 3},
                      PrecedenceCase{"-7 // 2", -4}, PrecedenceCase{"-7 % 3", 2}, PrecedenceCase{"7 % -3", -2},
                      PrecedenceCase{"8 / 4 / 2", 1}, PrecedenceCase{"10 - 3 - 2", 5}, PrecedenceCase{"1 | 6 & 3", 3},
                      PrecedenceCase{"5 ^ 1 | 2", 6}, PrecedenceCase{"2 + 1 & 3", 3}, PrecedenceCase{"~5", -6},
                      PrecedenceCase{"1 < 2", 1}, PrecedenceCase{"(1 < 2) + 1", 2}, PrecedenceCase{"1 || 0 && 0", 1},
                      PrecedenceCase{"!1 == 0", 1}, PrecedenceCase{"!(1 == 0)", 1}, PrecedenceCase{"1 < 2 && 3 < 2", 0},
                      PrecedenceCase{"0xff + 0b11 + 0o7", 265}, PrecedenceCase{"1_000 * .5e1", 5000},
                      PrecedenceCase{"1e400", std::numeric_limits<double>::infinity()}, PrecedenceCase{"1e-400", 0},
                      PrecedenceCase{"0.000000001e+9", 1}, PrecedenceCase{"2**100 // 2**98", 4},
                      PrecedenceCase{"True + True", 2}, PrecedenceCase{"1 / 4", 0.25},
                      PrecedenceCase{"-inf", -HUGE_VAL}, PrecedenceCase{"2**63 == 2.0**63", 1},
                      PrecedenceCase{"2**53 + 1 > 2.0**53", 1}, PrecedenceCase{"1.5 // 0.5 % 2", 1},
                      PrecedenceCase{"+-+1", -1}, PrecedenceCase{"1 << 3 + 1", 16}, PrecedenceCase{"1 << 3 & 8", 8},
                      PrecedenceCase{"-17 >> 2", -5}, PrecedenceCase{"1 << 2 << 3", 32},
                      PrecedenceCase{"1 < 1 << 2", 1}));

TEST(Expression, ComputesFloat16InFloat32AndRounds) {
  // 2049 is no float16; 2048 + 1 rounds back to 2048, before the next 1 is added.
  const auto result = evaluate("a + 1 + 1", {{"a", column_of<half>({half(2048.0F)})}});
  EXPECT_EQ(result.dtype, DType::float16);
  EXPECT_EQ(numbers_of<half>(result)[0].bits, half(2048.0F).bits);
}

TEST(Expression, TakesBooleansThatAreNotZeroAsTrue) {
  Column column{DType::boolean, std::vector<std::byte>{std::byte{0}, std::byte{1}, std::byte{7}}};
  EXPECT_THAT(numbers_of<std::uint8_t>(evaluate("a", {{"a", column}})), ElementsAre(0, 1, 1));
  EXPECT_THAT(numbers_of<std::uint8_t>(evaluate("~a", {{"a", column}})), ElementsAre(1, 0, 0));
}

TEST(Expression, SignbitSeesTheSignOfZeroAndNan) {
  constexpr float nan = std::numeric_limits<float>::quiet_NaN();
  const Column signs =
      evaluate("signbit(x)", {{"x", column_of<float>({-0.0F, 0.0F, -2.0F, 3.0F, -nan, nan, -1e-45F})}});
  EXPECT_EQ(signs.dtype, DType::boolean);
  EXPECT_THAT(numbers_of<std::uint8_t>(signs), ElementsAre(1, 0, 1, 0, 1, 0, 1));
  EXPECT_THAT(numbers_of<std::uint8_t>(evaluate("signbit(x)", {{"x", column_of<std::int16_t>({-3, 0, 3})}})),
              ElementsAre(1, 0, 0));
  EXPECT_THAT(numbers_of<std::uint8_t>(evaluate("signbit(x)", {{"x", column_of<std::uint8_t>({255, 0})}})),
              ElementsAre(0, 0));
  EXPECT_THAT(numbers_of<std::uint8_t>(evaluate("signbit(x > 0)", {{"x", column_of<std::int8_t>({1, 0})}})),
              ElementsAre(0, 0));
}

TEST(Expression, HypotDoesNotOverflow) {
  const auto result = evaluate("hypot(a, b)", {{"a", column_of<double>({3e300, 3e-320, HUGE_VAL})},
                                               {"b", column_of<double>({4e300, 4e-320, NAN})}});
  const auto numbers = numbers_of<double>(result);
  EXPECT_DOUBLE_EQ(numbers[0], 5e300);
  EXPECT_NEAR(numbers[1] / 5e-320, 1, 1e-3);
  EXPECT_EQ(numbers[2], HUGE_VAL);
}

TEST(Expression, IntegersToANegativePowerFailAsInNumPy) {
  const auto text = test::thrown_text([] { (void)evaluate("2**a", {{"a", column_of<std::int32_t>({1, -1})}}); });
  EXPECT_THAT(text, HasSubstr("negative integer power"));
  // Elements that were not asked for do not count: 70 elements, and what fills the last packet is 0 - 1.
  const std::vector<std::int32_t> ones(70, 1);
  EXPECT_NO_THROW((void)evaluate("2**(a - 1)", {{"a", column_of<std::int32_t>(ones)}}));
}

TEST(Expression, RunsFromACopyInSharedMemoryInAnotherProcess) {
  const auto expression = Expression::parse("sin(a)*b + 1");
  const Program program = expression.bind(std::array{DType::float32, DType::int16});
  const std::vector<float> a(3000, 0.5F);
  const std::vector<std::int16_t> b(3000, 2);
  const std::size_t code_bytes = program.code().size();
  const std::size_t out_bytes = a.size() * sizeof(float);
  auto* const shared = static_cast<std::byte*>(
      ::mmap(nullptr, code_bytes + out_bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0));
  ASSERT_NE(static_cast<void*>(shared), MAP_FAILED);
  std::memcpy(shared, program.code().data(), code_bytes);
  const int code = test::run_in_child([&] {
    std::vector<std::byte> scratch(program.scratch_bytes());
    const std::array inputs{Operand{std::as_bytes(std::span(a)).data(), false},
                            Operand{std::as_bytes(std::span(b)).data(), false}};
    run_program({shared, code_bytes}, inputs, shared + code_bytes, a.size(), scratch.data());
  });
  EXPECT_EQ(code, 0);
  const auto expected = evaluate("sin(a)*b + 1", {{"a", column_of<float>(a)}, {"b", column_of<std::int16_t>(b)}});
  EXPECT_EQ(std::memcmp(shared + code_bytes, expected.bytes.data(), out_bytes), 0);
  ::munmap(shared, code_bytes + out_bytes);
}

TEST(Expression, MayWriteOverAnInput) {
  std::vector<double> a(5000);
  for (std::size_t i = 0; i < a.size(); ++i) a[i] = static_cast<double>(i);
  const auto expected = evaluate("exp(-a) + a*a", {{"a", column_of<double>(a)}});
  const Program program = Expression::parse("exp(-a) + a*a").bind(std::array{DType::float64});
  std::vector<std::byte> scratch(program.scratch_bytes());
  auto* const data = std::as_writable_bytes(std::span(a)).data();
  run_program(program.code(), std::array{Operand{data, false}}, data, a.size(), scratch.data());
  EXPECT_EQ(std::memcmp(a.data(), expected.bytes.data(), expected.bytes.size()), 0);
}

// Whole tiles and a rest, results that have a loop for it and others, memory at the start of a line and elsewhere.
TEST(Expression, GivesTheSamePastTheCaches) {
  std::mt19937_64 random(97);
  constexpr std::size_t elements = 3 * 512 + 77;
  const Columns columns = test::random_inputs(random, elements);
  for (const char* const text : {"sqrt(f8*f8 + f8)", "f8", "f4*2 - f4", "exp(f4)", "f8 < f4", "i1 + u1", "i4 // 3",
                                 "f2 + 1", "u8 * u8", "where(b, f8, f4)", "f8 + 2j*f8", "sin(f8 + 2j)"}) {
    SCOPED_TRACE(text);
    const Expression expression = Expression::parse(text);
    std::vector<DType> types;
    std::vector<Operand> operands;
    for (const std::string& name : expression.variables()) {
      types.push_back(columns.at(name).dtype);
      operands.push_back({columns.at(name).bytes.data(), false});
    }
    const Program program = expression.bind(types);
    const std::size_t item = item_bytes(program.result());
    std::vector<std::byte> scratch(program.scratch_bytes());
    std::vector<std::byte> memory(elements * item + 128);
    auto* const line = memory.data() + (64 - reinterpret_cast<std::uintptr_t>(memory.data()) % 64) % 64;
    const auto run = [&](std::byte* out, Storing storing) {
      std::fill(memory.begin(), memory.end(), std::byte{0xA5});
      run_program(program.code(), operands, out, elements, scratch.data(), storing);
      EXPECT_EQ(out[elements * item], std::byte{0xA5});
      return std::vector<std::byte>(out, out + elements * item);
    };
    const auto expected = run(line, Storing::cached);
    EXPECT_EQ(run(line, Storing::streamed), expected);
    EXPECT_EQ(run(line + item, Storing::streamed), expected);
  }
}

TEST(Expression, OneElementStandsForAll) {
  const std::vector<float> many(2500, 3);
  const float two = 2;
  const Program program = Expression::parse("a*b").bind(std::array{DType::float32, DType::float32});
  std::vector<float> out(many.size());
  std::vector<std::byte> scratch(program.scratch_bytes());
  const std::array inputs{Operand{std::as_bytes(std::span(many)).data(), false},
                          Operand{std::as_bytes(std::span(&two, 1)).data(), true}};
  run_program(program.code(), inputs, std::as_writable_bytes(std::span(out)).data(), out.size(), scratch.data());
  EXPECT_THAT(out, ::testing::Each(6.0F));
}

TEST(Expression, NoElementsAreFine) {
  EXPECT_EQ(evaluate("sqrt(a) + 1", {{"a", column_of<float>({})}}).bytes.size(), 0U);
}

TEST(Expression, RefusesAWrongNumberOfInputs) {
  const auto expression = Expression::parse("a + b");
  EXPECT_THROW((void)expression.bind(std::array{DType::int8}), std::logic_error);
  const Program program = expression.bind(std::array{DType::int8, DType::int8});
  std::vector<std::byte> scratch(program.scratch_bytes());
  EXPECT_THROW(run_program(program.code(), {}, nullptr, 0, scratch.data()), std::logic_error);
}

TEST(Expression, ComparesLiteralsBeyondTheTypeAsTheNumbersTheyAre) {
  const Column a = column_of<std::uint8_t>({0, 200, 255});
  EXPECT_THAT(numbers_of<std::uint8_t>(evaluate("a < 300", {{"a", a}})), ElementsAre(1, 1, 1));
  EXPECT_THAT(numbers_of<std::uint8_t>(evaluate("-1 >= a", {{"a", a}})), ElementsAre(0, 0, 0));
  EXPECT_THAT(numbers_of<std::uint8_t>(evaluate("a != 10**30", {{"a", a}})), ElementsAre(1, 1, 1));
}

/// The bits of an element may not depend on how a stream was cut.
TEST(Expression, GivesTheSameBitsHoweverTheWorkIsCut) {
  std::mt19937_64 random(7);
  constexpr std::size_t elements = 3001;
  const auto inputs = test::random_inputs(random, elements);
  for (const char* text :
       {"exp(-f8*f8)*sin(f8) + log1p(f8)", "sinh(f4) + arcsinh(f4*1e30) - tan(f4)", "f2*f2 + sqrt(f2)",
        "i4 // i2 + u1 % i1", "where(b, cosh(f8), f4)", "hypot(f8, f4) ** f4", "arctan2(f4, f2)", "i8 < u8",
        "round(f8) + floor(f4)", "arccosh(f8) + expm1(f8) * log10(f8)", "~(b & (i1 > 3))"}) {
    const Column whole = evaluate(text, inputs);
    const std::size_t item = item_bytes(whole.dtype);
    for (int repeat = 0; repeat < 3; ++repeat) {
      std::vector<std::byte> pieces(whole.bytes.size());
      for (std::size_t first = 0; first < elements;) {
        const std::size_t count = std::min<std::size_t>(elements - first, 1 + random() % 1500);
        const Column piece = test::evaluate_slice(text, inputs, first, count);
        std::memcpy(pieces.data() + first * item, piece.bytes.data(), count * item);
        first += count;
      }
      EXPECT_EQ(std::memcmp(pieces.data(), whole.bytes.data(), pieces.size()), 0) << text;
    }
  }
}

// Errors.

struct SyntaxCase {
  const char* text;
  std::size_t column;
  const char* why;
};
class ExpressionSyntax : public ::testing::TestWithParam<SyntaxCase> {};
TEST_P(ExpressionSyntax, ErrorPointsAtItsColumn) {
  const auto& [text, column, why] = GetParam();
  try {
    (void)Expression::parse(text);
    ADD_FAILURE() << text << " was accepted";
  } catch (const ExpressionError& error) {
    EXPECT_EQ(error.column(), column) << error.what();
    EXPECT_THAT(error.what(), HasSubstr(why));
    EXPECT_THAT(error.what(), HasSubstr("column " + std::to_string(column) + ": "));
    EXPECT_EQ(std::string_view(error.what()).find('\n'), std::string_view::npos);
    EXPECT_EQ(error.code(), make_error_code(ErrorKind::format));
  }
}
INSTANTIATE_TEST_SUITE_P(
    All, ExpressionSyntax,
    ::testing::Values(
        SyntaxCase{"x +* 2", 4, "expected a value, found '*'"}, SyntaxCase{"", 1, "empty"},
        SyntaxCase{"   ", 1, "empty"}, SyntaxCase{"x +", 4, "expected a value, found the end"},
        SyntaxCase{"x y", 3, "expected an operator, found 'y'"},
        SyntaxCase{"(x + 1", 7, "missing ')' for the '(' in column 1"}, SyntaxCase{"x + 1)", 6, "closes nothing"},
        SyntaxCase{"sqrt(x", 7, "missing ')' for the '(' in column 5"}, SyntaxCase{"sqrt + 1", 1, "write sqrt(...)"},
        SyntaxCase{"sqrt()", 1, "takes 1 argument, not 0"}, SyntaxCase{"1 + clip(x, 2)", 5, "takes 3 arguments, not 2"},
        SyntaxCase{"2 * sqr(x)", 5, "did you mean sqrt?"}, SyntaxCase{"arcsine(x)", 1, "did you mean arcsin?"},
        SyntaxCase{"frobnicate(x)", 1, "there are abs absolute"}, SyntaxCase{"np.foo", 1, "unknown name 'np.foo'"},
        SyntaxCase{"pi(2)", 1, "is a number"}, SyntaxCase{"a < b < c", 7, "cannot be chained"},
        SyntaxCase{"a == b != c", 8, "cannot be chained"}, SyntaxCase{"a = 2", 3, "write =="},
        SyntaxCase{"a and b", 3, "write &&"}, SyntaxCase{"not a", 1, "write !"}, SyntaxCase{"a or b", 3, "write ||"},
        SyntaxCase{"a if b", 3, "where(condition"}, SyntaxCase{"a ? b : c", 3, "where(condition"},
        SyntaxCase{"x[0]", 2, "selected where the dataset is named"}, SyntaxCase{"1.2.3", 1, "'1.2.3' is not a number"},
        SyntaxCase{"x + 12abc", 5, "'12abc' is not a number"}, SyntaxCase{"0x", 1, "is not a number"},
        SyntaxCase{"012", 1, "leading zero"}, SyntaxCase{"1e", 1, "is not a number"},
        SyntaxCase{"2jj", 1, "is not a number"}, SyntaxCase{"1__0", 1, "is not a number"},
        SyntaxCase{"x <> 2", 3, "write !="}, SyntaxCase{"x @ y", 3, "found '@'"},
        SyntaxCase{"x\n+\x01", 4, "found '\\x01'"}, SyntaxCase{"sqrt(,)", 6, "expected a value"},
        SyntaxCase{"sqrt(1,)", 8, "expected a value, found ')'"}, SyntaxCase{"x + \xff", 5, "not UTF-8"},
        SyntaxCase{"99999999999999999999999999999999999999999", 1, "beyond 128 bits"},
        SyntaxCase{"()", 2, "expected a value"}));

struct TypeCase {
  const char* text;
  std::size_t column;
  const char* why;
};
class ExpressionTypes : public ::testing::TestWithParam<TypeCase> {};
TEST_P(ExpressionTypes, ErrorPointsAtItsColumn) {
  std::mt19937_64 random(1);
  const auto& [text, column, why] = GetParam();
  try {
    (void)evaluate(text, test::random_inputs(random, 3));
    ADD_FAILURE() << text << " was accepted";
  } catch (const ExpressionError& error) {
    EXPECT_EQ(error.column(), column) << error.what();
    EXPECT_THAT(error.what(), HasSubstr(why));
  }
}
INSTANTIATE_TEST_SUITE_P(
    All, ExpressionTypes,
    ::testing::Values(TypeCase{"b - b", 3, "not defined between bools"}, TypeCase{"1 + -b", 5, "write ~"},
                      TypeCase{"sign(b)", 1, "not defined for bool"}, TypeCase{"f8 & 1", 4, "write (a < b) & (c < d)"},
                      TypeCase{"i8 & u8", 4, "no common integer type"}, TypeCase{"~f4", 1, "not float32"},
                      TypeCase{"u1 + 300", 4, "the integer 300 does not fit uint8 (0 to 255)"},
                      TypeCase{"u8 - -1", 4, "does not fit uint64"}, TypeCase{"i4 ** -2", 4, "a ** -2.0"},
                      TypeCase{"1 / 0 + i1", 3, "division by zero"}, TypeCase{"i1 + 7 % 0", 8, "division by zero"},
                      TypeCase{"(-8) ** 0.5", 6, "broken power"}, TypeCase{"2.5 & 1", 5, "not a float"},
                      TypeCase{"2**200", 2, "beyond 128 bits"}, TypeCase{"10**30", 3, "neither int64 nor uint64"},
                      TypeCase{"where(b, u1, 256)", 1, "does not fit uint8"}, TypeCase{"f4 << 1", 4, "needs"},
                      TypeCase{"1 << -1", 3, "a negative shift"}, TypeCase{"1 << 200", 3, "beyond 128 bits"},
                      TypeCase{"i8 >> u8", 4, "no common integer type"},
                      TypeCase{"int8(300) + i1", 1, "does not fit int8"}, TypeCase{"int8(nan)", 1, "has no int8"}));

TEST(Expression, CastsFloatsToIntegersByCutting) {
  const Columns columns{{"x", column_of<double>({1.9, -1.9, 300.5, -0.5, 4294967297.0, 1e19, NAN, -HUGE_VAL})}};
  constexpr auto least = std::numeric_limits<std::int64_t>::min();
  EXPECT_THAT(numbers_of<std::int64_t>(evaluate("int64(x)", columns)),
              ElementsAre(1, -1, 300, 0, 4294967297, least, least, least));
  EXPECT_THAT(numbers_of<std::int8_t>(evaluate("int8(x)", columns)), ElementsAre(1, -1, 44, 0, 1, 0, 0, 0));
  EXPECT_THAT(numbers_of<std::uint64_t>(evaluate("uint64(x)", columns)),
              ElementsAre(1U, static_cast<std::uint64_t>(-1), 300U, 0U, 4294967297U, 10000000000000000000U,
                          std::uint64_t{1} << 63U, std::uint64_t{1} << 63U));
  EXPECT_THAT(numbers_of<std::int32_t>(evaluate("int32(float32(x))", columns)), ElementsAre(1, -1, 300, 0, 0, 0, 0, 0));
}

TEST(Expression, CastsOfLiteralsAreOfTheirTypeEver) {
  EXPECT_EQ(evaluate("float32(2.5) * i", {{"i", column_of<std::int8_t>({2})}}).dtype, DType::float32);
  EXPECT_EQ(evaluate("x + int16(2)", {{"x", column_of<std::int8_t>({2})}}).dtype, DType::int16);
  EXPECT_EQ(value_of("int32(2.9)"), 2);
}

TEST(Expression, NamesTheNearestVariable) {
  const std::vector<std::string> known{"temperature", "u10"};
  const auto text_of = [&](std::string_view text) {
    return test::thrown_text([&] { Expression::parse(text).check_variables(known); });
  };
  EXPECT_EQ(text_of("u10 + temprature*2"),
            "expression 'u10 + temprature*2': column 7: unknown name 'temprature'; did you mean temperature?");
  EXPECT_THAT(text_of("q"), HasSubstr("there are temperature u10"));
  EXPECT_EQ(text_of("u10*temperature"), "");
}

TEST(Expression, CutsLongTextsAroundTheError) {
  const std::string text = std::string(500, '1') + "é $ " + std::string(500, '2');
  const auto what = test::thrown_text([&] { (void)Expression::parse("x + " + text); });
  EXPECT_LT(what.size(), 300U);
  EXPECT_THAT(what, HasSubstr("..."));
}

TEST(Expression, HostileTextsAreErrorsNotCrashes) {
  const auto repeated = [](std::string_view piece, std::size_t times) {
    std::string text;
    for (std::size_t i = 0; i < times; ++i) text += piece;
    return text;
  };
  for (const std::string& text :
       {repeated("(", 10000), repeated("-", 10000), repeated("a**", 9000), repeated("sqrt(", 5000),
        repeated("a+", 3000), repeated("x", 40000), repeated("!", 201) + "a",
        repeated("(", 201) + "a" + repeated(")", 201), repeated("1,", 3000), "sqrt(" + repeated("1,", 3000) + "1)"}) {
    EXPECT_THROW((void)Expression::parse(text), ExpressionError) << text.substr(0, 20);
  }
  EXPECT_NO_THROW((void)Expression::parse(repeated("(", 150) + "a" + repeated(")", 150)));
  // The longest that is allowed, with a constant each: binds and runs.
  std::string longest = "a";
  for (int i = 0; i < 2000; ++i) longest += "+" + std::to_string(i);
  EXPECT_EQ(test::as_doubles(evaluate(longest, {{"a", column_of<std::int32_t>({1})}})).at(0), 1999001);
}

TEST(Expression, RandomTextsNeverCrash) {
  std::mt19937_64 random(11);
  constexpr std::array<std::string_view, 40> pieces{
      "a",  "b",     "1",      "2.5",   "0",    "1e3",  "300", "(",  ")",        ",",      "+",     "-",   "*", "/",
      "//", "%",     "**",     "<",     "<=",   ">",    "==",  "!=", "&",        "|",      "^",     "~",   "!", "&&",
      "||", "sqrt(", "where(", "clip(", "abs(", "True", "nan", " ",  "minimum(", "round(", "2**70", "\x80"};
  const auto inputs = test::random_inputs(random, 5);
  std::size_t accepted = 0;
  for (int i = 0; i < 20000; ++i) {
    std::string text;
    const std::size_t length = 1 + random() % 12;
    for (std::size_t j = 0; j < length; ++j) {
      if (i % 4 == 0)
        text += static_cast<char>(random());
      else
        text += pieces[random() % pieces.size()];
    }
    try {
      const auto expression = Expression::parse(text);
      std::vector<DType> types;
      for (std::size_t j = 0; j < expression.variables().size(); ++j)
        types.push_back(static_cast<DType>(random() % dtype_count));
      const Program program = expression.bind(types);
      std::vector<std::byte> scratch(program.scratch_bytes());
      const std::vector<std::uint64_t> data(2 * 70, 0x0101010101010101U);  // of the widest items
      const std::vector<Operand> operands(types.size(), Operand{std::as_bytes(std::span(data)).data(), false});
      std::vector<std::byte> out(70 * item_bytes(program.result()));
      run_program(program.code(), operands, out.data(), 70, scratch.data());
      ++accepted;
    } catch (const Error&) {
    }
  }
  EXPECT_GT(accepted, 300U);
}

}  // namespace
}  // namespace runrig
