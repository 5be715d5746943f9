// Complex numbers in expressions, against real NumPy.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <complex>
#include <fstream>
#include <limits>
#include <random>
#include <sstream>
#include <string>
#include <vector>

#include "expression_support.hpp"
#include "runrig/engine/evaluate.hpp"
#include "runrig/engine/threads.hpp"
#include "runrig/shm/complex.hpp"
#include "support.hpp"

namespace runrig {
namespace {

using test::Column;
using test::column_of;
using test::Columns;
using test::evaluate;
using test::numbers_of;
using ::testing::HasSubstr;
using complex64 = std::complex<float>;
using complex128 = std::complex<double>;

/// All as complex128, which holds each of ours but large integers.
std::vector<complex128> as_complex(const Column& column) {
  return visit_any_dtype(column.dtype, [&]<class T>(std::type_identity<T>) {
    std::vector<complex128> result;
    if constexpr (std::is_same_v<T, complex64> || std::is_same_v<T, complex128>) {
      for (const T each : numbers_of<T>(column)) result.emplace_back(each);
    } else {
      for (const double each : test::as_doubles(column)) result.emplace_back(each, 0);
    }
    return result;
  });
}

bool is_nan(complex128 value) { return std::isnan(value.real()) || std::isnan(value.imag()); }

/// Within `tolerance` of the larger part, or `least`; infinities and signs of zero parts are as NumPy has them.
bool agree(complex128 ours, complex128 numpy, double tolerance, double least = 0) {
  if (is_nan(ours) || is_nan(numpy)) return is_nan(ours) == is_nan(numpy);
  const auto close = [&](double a, double b, double scale) {
    if (std::isinf(a) || std::isinf(b)) return a == b;
    return a == b || std::fabs(a - b) <= std::max(tolerance * scale, least);
  };
  const double scale = std::max(std::fabs(numpy.real()), std::fabs(numpy.imag()));
  return close(ours.real(), numpy.real(), scale) && close(ours.imag(), numpy.imag(), scale);
}

struct ComplexCase {
  std::string ours;
  std::string python;    // empty: the same
  double tolerance = 0;  // in units of the type's epsilon
};

const char* const complex_program = R"(
import struct, sys, warnings
import numpy as np
warnings.simplefilter('ignore')
folder = sys.argv[1]
scope = {name: getattr(np, name) for name in dir(np) if not name.startswith('_')}
names = 'b i1 u1 i2 u2 i4 u4 i8 u8 f2 f4 f8 c8 d8 c16 d16'.split()
for name in names:
    scope[name] = np.fromfile(f'{folder}/{name}', dtype={'b': '?', 'd8': 'c8', 'd16': 'c16'}.get(name, name))
def mul(a, b):  # where NumPy's own may multiply and add in one step
    t = np.result_type(a, b); a = a.astype(t); b = b.astype(t)
    r = np.empty(a.shape, t); r.real = a.real * b.real - a.imag * b.imag; r.imag = a.real * b.imag + a.imag * b.real
    return r
def sign2(a):  # NumPy 2's
    m = np.hypot(a.real, a.imag)
    r = np.empty(a.shape, a.dtype); r.real = np.where(m == 0, 0, a.real / m); r.imag = np.where(m == 0, 0, a.imag / m)
    one = lambda x: np.where(np.isinf(x), np.sign(x), 0)
    far = np.isinf(m); both = np.isinf(a.real) & np.isinf(a.imag)
    r.real[far] = one(a.real)[far]; r.imag[far] = one(a.imag)[far]; r[both] = np.nan
    return r
def log1p2(a):  # NumPy's own loses the digits of small numbers
    w = a.astype('clongdouble'); r = np.empty(a.shape, a.dtype)
    near = np.log1p(w.real * (2 + w.real) + w.imag * w.imag) / 2
    r.real = np.where((abs(w.real) < .5) & (abs(w.imag) < .5), near, np.log(np.hypot(w.real + 1, w.imag)))
    r.imag = np.arctan2(w.imag, w.real + 1)
    return r
def make(x, y):
    t = np.result_type(x, y, 'f4')
    r = np.empty(x.shape, 'c8' if t == 'f4' else 'c16'); r.real = x; r.imag = y
    return r
scope.update(log1p2=log1p2, mul=mul, sign2=sign2, make=make)
with open(f'{folder}/results', 'wb') as out:
    for line in open(f'{folder}/cases'):
        try:
            result = np.broadcast_to(np.asarray(eval(line, scope)), scope['b'].shape)
            wide = np.ascontiguousarray(result.astype('c16')).tobytes()
            out.write(struct.pack('<16sI', result.dtype.name.encode(), len(wide)) + wide)
        except Exception as error:
            out.write(struct.pack('<16sI', b'error', 0))
            print(line.strip(), error, file=sys.stderr)
)";

struct ComplexAnswer {
  std::string dtype;  // or "error"
  std::vector<complex128> values;
};

std::vector<ComplexAnswer> ask_numpy(const std::string& python, const Columns& inputs,
                                     const std::vector<ComplexCase>& cases) {
  const test::TemporaryDirectory folder;
  std::vector<std::string> lines;
  for (const ComplexCase& each : cases) lines.push_back(each.python.empty() ? each.ours : each.python);
  std::ifstream file = test::ask_python(python, complex_program, folder.path(), inputs, lines);
  std::vector<ComplexAnswer> answers;
  std::array<char, 20> head{};
  while (file.read(head.data(), head.size())) {
    std::uint32_t bytes = 0;
    std::memcpy(&bytes, head.data() + 16, 4);
    ComplexAnswer answer{std::string(head.data(), 16), std::vector<complex128>(bytes / sizeof(complex128))};
    answer.dtype.resize(answer.dtype.find('\0'));
    file.read(reinterpret_cast<char*>(answer.values.data()), bytes);
    answers.push_back(std::move(answer));
  }
  return answers;
}

template <class T>
Column complex_column(std::mt19937_64& random, std::size_t elements) {
  std::vector<T> parts = test::difficult_numbers<T>(random, 40);
  std::vector<std::complex<T>> numbers;
  for (std::size_t i = 0; i < elements; ++i) {
    // Ordinary ones mostly: with a wild part there is little to compare.
    const auto part = [&] {
      const T ordinary = static_cast<T>(static_cast<double>(static_cast<std::int64_t>(random())) * 0x1p-61);
      return random() % 4 == 0 ? parts[random() % parts.size()] : ordinary;
    };
    numbers.emplace_back(part(), part());
  }
  return column_of(numbers);
}

Columns complex_inputs(std::size_t elements) {
  std::mt19937_64 random(31);
  Columns columns = test::random_inputs(random, elements);
  for (const char* name : {"c8", "d8"}) columns[name] = complex_column<float>(random, elements);
  for (const char* name : {"c16", "d16"}) columns[name] = complex_column<double>(random, elements);
  return columns;
}

std::vector<ComplexCase> all_cases() {
  std::vector<ComplexCase> cases;
  const auto add = [&](const std::string& ours, const std::string& python = {}, double tolerance = 0) {
    cases.push_back({ours, python, tolerance});
  };
  for (const std::string a : {"c8", "c16"}) {
    const std::string other = a == "c8" ? "d8" : "d16";
    for (const char* function : {"sqrt", "exp", "exp2", "expm1", "log", "log2", "log10", "sin", "cos", "tan", "arcsin",
                                 "arccos", "arctan", "sinh", "cosh", "tanh", "arcsinh", "arccosh", "arctanh"}) {
      add(function + ("(" + a + ")"), {}, 16);
    }
    for (const char* function : {"real", "imag", "conj", "conjugate", "negative", "positive", "rint", "isnan", "isinf",
                                 "isfinite", "logical_not", "ones_like", "complex64", "complex128"}) {
      add(function + ("(" + a + ")"));
    }
    add("log1p(" + a + ")", "log1p2(" + a + ")", 4);
    add("round(" + a + ")", "rint(" + a + ")");
    add("bool(" + a + ")", a + ".astype(bool)");
    add("abs(" + a + ")", {}, 2);
    add("angle(" + a + ")", {}, 2);
    add("sign(" + a + ")", "sign2(" + a + ")", 4);
    add("square(" + a + ")", "mul(" + a + ", " + a + ")");
    add(a + "**2", "mul(" + a + ", " + a + ")");
    add(a + "**3", "mul(mul(" + a + ", " + a + "), " + a + ")");
    add(a + "**0");
    add(a + "**1");
    add(a + "**0.5", "sqrt(" + a + ")", 16);
    add(a + "**-1", "1 / " + a, 4);
    add(a + "*" + other, "mul(" + a + ", " + other + ")");
    for (const char* sign : {"+", "-", "/", "==", "!=", "<", "<=", ">", ">="}) add(a + sign + other);
    for (const char* function : {"minimum", "maximum", "fmin", "fmax"}) add(function + ("(" + a + ", " + other + ")"));
    add("where(b, " + a + ", " + other + ")");
    add("where(" + a + ", 1, 2)");
    add("clip(" + a + ", f4, 2)", "minimum(maximum(" + a + ", f4), 2)");
    add(a + " && b", "logical_and(" + a + ", b)");
    add(a + " || b", "logical_or(" + a + ", b)");
    for (const char* literal : {"2", "-1.5", "2j", "(1+2j)", "True"}) {
      add(a + "+" + literal);
      add(std::string(literal) + "-" + a);
      add(a + "/" + literal, {}, 4);
    }
  }
  for (const std::string a : {"b", "i1", "u1", "i2", "u2", "i4", "u4", "i8", "u8", "f2", "f4", "f8"}) {
    for (const std::string c : {"c8", "c16"}) {
      add(a + "+" + c);
      add(c + "-" + a);
      add("where(b, " + a + ", " + c + ")");
      add(a + "==" + c);
      add("complex64(" + a + ")");
      add("complex128(" + a + ")");
    }
    if (a != "b") add("real(" + a + ")");
    if (a != "b") add("imag(" + a + ")", "imag(" + a + ")");
    add("conj(" + a + ")");
    add("angle(" + a + ")", {}, a == "f2" ? 1 : 2);
    for (const char* literal : {"2j", "(1+2j)"}) {
      add(a + "+" + literal);
      add(a + "*" + literal, "mul(asarray(" + a + ", result_type(" + a + ", 'c8' if " + a +
                                 ".dtype in ('f2', 'f4') else 'c16')), full(" + a + ".shape, " + literal +
                                 ", 'c8' if " + a + ".dtype in ('f2', 'f4') else 'c16'))");
    }
    for (const std::string b : {"i1", "i4", "f2", "f4", "f8"}) {
      add("complex(" + a + ", " + b + ")", "make(" + a + ", " + b + ")");
    }
  }
  // Of literals alone: Python's.
  for (const char* text : {"(1+2j)*(3-4j)", "(1+2j)/(3-4j)", "-2j", "1j**2", "2j == 2j", "2j != 1", "1_0.5j", "0e3j"}) {
    add(text, {}, 4);
  }
  return cases;
}

TEST(ComplexTest, EveryOperationHasNumPysTypeAndValues) {
  RUNRIG_NEED_PYTHON(python, "numpy");
  const Columns inputs = complex_inputs(3000);
  const std::vector<ComplexCase> cases = all_cases();
  const std::vector<ComplexAnswer> answers = ask_numpy(python, inputs, cases);
  ASSERT_EQ(answers.size(), cases.size());
  std::size_t compared = 0;
  for (std::size_t k = 0; k < cases.size(); ++k) {
    const ComplexCase& each = cases[k];
    SCOPED_TRACE(each.ours);
    ASSERT_NE(answers[k].dtype, "error");
    const Column ours = evaluate(each.ours, inputs);
    EXPECT_EQ(dtype_name(ours.dtype), answers[k].dtype);
    const DType part = part_dtype(ours.dtype);
    const double least = each.tolerance == 0      ? 0
                         : part == DType::float64 ? 0x1p-1073
                         : part == DType::float32 ? 0x1p-148
                                                  : 0x1p-23;
    const double epsilon = part == DType::float64   ? std::numeric_limits<double>::epsilon()
                           : part == DType::float32 ? std::numeric_limits<float>::epsilon()
                                                    : 0x1p-10;
    const std::vector<complex128> values = as_complex(ours);
    for (std::size_t i = 0; i < values.size(); ++i) {
      const complex128 numpy = answers[k].values[i];
      if (agree(values[i], numpy, each.tolerance * epsilon, least)) continue;
      std::ostringstream inputs_text;
      inputs_text.precision(17);
      for (const char* name : {"c8", "d8", "c16", "d16"})
        inputs_text << name << '=' << as_complex(inputs.at(name))[i] << ' ';
      ADD_FAILURE() << "element " << i << ": " << values[i] << ", NumPy has " << numpy << "; " << inputs_text.str();
      break;
    }
    ++compared;
  }
  EXPECT_GT(compared, 200U);
}

TEST(ComplexTest, PowersAreNumPysWhereNothingIsInfinite) {
  RUNRIG_NEED_PYTHON(python, "numpy");
  std::mt19937_64 random(7);
  std::uniform_real_distribution<double> part(-2, 2);
  Columns inputs = test::random_inputs(random, 1000);
  std::vector<complex128> a{{0, 0}, {0, 0}, {0, 0}, {1, 2}, {-1, 0}};
  std::vector<complex128> b{{0, 0}, {2, 0}, {-1, 0}, {-3, 0}, {0.5, 0}};
  while (a.size() < 1000) {
    a.emplace_back(part(random), part(random));
    b.emplace_back(random() % 3 == 0 ? complex128(static_cast<double>(random() % 20) - 10, 0)
                                     : complex128(part(random), part(random)));
  }
  inputs["c16"] = column_of(a);
  inputs["d16"] = column_of(b);
  inputs["c8"] = column_of(std::vector<complex64>(1000, {1, 1}));
  inputs["d8"] = inputs["c8"];
  const std::vector<ComplexCase> cases{
      {"c16**d16", {}, 0}, {"c16**5", {}, 0}, {"c16**2.5", {}, 0}, {"c16**(1+1j)", {}, 0}};
  const std::vector<ComplexAnswer> answers = ask_numpy(python, inputs, cases);
  ASSERT_EQ(answers.size(), cases.size());
  for (std::size_t k = 0; k < cases.size(); ++k) {
    const std::vector<complex128> values = as_complex(evaluate(cases[k].ours, inputs));
    for (std::size_t i = 0; i < values.size(); ++i) {
      ASSERT_TRUE(agree(values[i], answers[k].values[i], 1e-13))
          << cases[k].ours << " of " << a[i] << ", " << b[i] << ": " << values[i] << " and " << answers[k].values[i];
    }
  }
}

TEST(ComplexTest, SmallNumbersKeepTheirDigitsInLog1pAndExpm1) {
  const complex128 small(1e-12, -3e-13);
  const Columns inputs{{"z", column_of<complex128>({small})}};
  EXPECT_TRUE(agree(numbers_of<complex128>(evaluate("log1p(z)", inputs))[0], small - small * small / 2.0, 1e-15));
  EXPECT_TRUE(agree(numbers_of<complex128>(evaluate("expm1(z)", inputs))[0], small + small * small / 2.0, 1e-15));
}

TEST(ComplexTest, AnySliceOfAnyInputHasTheSameBits) {
  const Columns inputs = complex_inputs(1500);
  const std::string text = "c16*conj(d16) + exp(c8)/2j - where(b, f4, d8)";
  const Column whole = evaluate(text, inputs);
  for (const std::size_t first : {std::size_t{0}, std::size_t{1}, std::size_t{511}, std::size_t{700}}) {
    for (const std::size_t count : {std::size_t{1}, std::size_t{63}, std::size_t{600}}) {
      const Column slice = test::evaluate_slice(text, inputs, first, count);
      EXPECT_EQ(std::memcmp(slice.bytes.data(), whole.bytes.data() + first * 16, count * 16), 0);
    }
  }
}

struct ErrorCase {
  const char* text;
  std::size_t column;
  const char* why;
};
class ComplexErrorTest : public ::testing::TestWithParam<ErrorCase> {};

TEST_P(ComplexErrorTest, SaysWhatIsNotDefined) {
  const auto expression = Expression::parse(GetParam().text);
  const std::vector<DType> types(expression.variables().size(), DType::complex64);
  try {
    (void)expression.with_real_reductions(types).bind(types);
    FAIL() << "it was accepted";
  } catch (const ExpressionError& error) {
    EXPECT_EQ(error.column(), GetParam().column) << error.what();
    EXPECT_THAT(std::string(error.why()), HasSubstr(GetParam().why));
  }
}
INSTANTIATE_TEST_SUITE_P(
    All, ComplexErrorTest,
    ::testing::Values(ErrorCase{"1 + floor(z)", 5, "'floor' is not defined for complex numbers; take abs()"},
                      ErrorCase{"z // 2", 3, "'//' is not defined for complex numbers"},
                      ErrorCase{"z % 2", 3, "not defined for complex"},
                      ErrorCase{"3 % 2j", 3, "not defined for complex"},
                      ErrorCase{"arctan2(z, 1)", 1, "not defined for complex"},
                      ErrorCase{"hypot(1, z)", 1, "not defined for complex"}, ErrorCase{"cbrt(z)", 1, "not defined"},
                      ErrorCase{"z & 1", 3, "not defined for complex"}, ErrorCase{"~z", 1, "not defined for complex"},
                      ErrorCase{"signbit(z)", 1, "not defined for complex"}, ErrorCase{"fabs(z)", 1, "not defined"},
                      ErrorCase{"deg2rad(z)", 1, "not defined"}, ErrorCase{"complex(z, 1)", 1, "not defined"},
                      ErrorCase{"float32(z)", 1, "lose its imaginary part; write float32(real(...))"},
                      ErrorCase{"int8(2j)", 1, "lose its imaginary part"}, ErrorCase{"2j < 3", 4, "not defined"},
                      ErrorCase{"1j / 0", 4, "division by zero"}, ErrorCase{"1 + max(z)", 5, "write max(abs(...))"},
                      ErrorCase{"argmin(z)", 1, "'argmin' is not defined"}));

TEST(ComplexTest, ReductionsWithinReductionsEndInTime) {
  const auto nested = [](std::size_t depth) {
    std::string text = "z";
    for (std::size_t i = 0; i < depth; ++i) text = "sum(" + text + ")";
    return Expression::parse(text);
  };
  const auto depth_of = [](Expression each) {
    std::size_t depth = 0;
    for (; !each.reductions().empty(); ++depth) each = each.reductions()[0].argument;
    return depth;
  };
  constexpr std::size_t many = Expression::max_nesting / 2;
  EXPECT_EQ(depth_of(nested(many).with_real_reductions(std::array{DType::float64})), many);
  constexpr std::size_t most = Expression::max_complex_nesting;
  EXPECT_EQ(depth_of(nested(most).with_real_reductions(std::array{DType::complex64})), most);
  const auto text =
      test::thrown_text([&] { (void)nested(most + 1).with_real_reductions(std::array{DType::complex64}); });
  EXPECT_THAT(text, HasSubstr("nested more than 8 deep"));
}

TEST(ComplexTest, ReductionsAreThoseOfTheParts) {
  std::mt19937_64 random(3);
  std::normal_distribution<double> normal;
  std::vector<complex128> z(60);
  for (complex128& each : z) each = {normal(random), normal(random)};
  z[17] = {std::numeric_limits<double>::quiet_NaN(), 2};
  z[40] = {1, std::numeric_limits<double>::quiet_NaN()};
  complex128 sum = 0;
  double squares = 0;
  std::size_t count = 0;
  for (const complex128 each : z) {
    if (is_nan(each)) continue;
    sum += each;
    ++count;
  }
  const complex128 mean = sum / static_cast<double>(count);
  for (const complex128 each : z) squares += is_nan(each) ? 0 : std::norm(each - mean);

  Threads threads(2);
  const Shape shape{6, 10};
  const std::array inputs{NdView<complex128>(z.data(), shape).ref()};
  const auto value = [&]<class T>(const char* text, T) {
    std::array<T, 60> out{};
    runrig::evaluate(threads, Expression::parse(text), NdView<T>(out.data(), shape).ref(), inputs);
    return out[0];
  };
  EXPECT_TRUE(agree(value("nansum(z) + 0*where(isnan(z), 0, z)", complex128{}), sum, 1e-14));
  EXPECT_TRUE(agree(value("nanmean(z) + 0*where(isnan(z), 0, z)", complex128{}), mean, 1e-14));
  EXPECT_NEAR(value("nanvar(z) + 0.0*isnan(z)", double{}), squares / static_cast<double>(count), 1e-14);
  EXPECT_NEAR(value("nanstd(z) + 0.0*isnan(z)", double{}), std::sqrt(squares / static_cast<double>(count)), 1e-14);
  EXPECT_EQ(value("count(z) + int64(isnan(z))", std::int64_t{}), static_cast<std::int64_t>(count));
  EXPECT_TRUE(is_nan(value("sum(z) + z", complex128{})));
  EXPECT_EQ(value("any(z) & !isnan(z)", bool{}), true);
  EXPECT_EQ(value("all(z - z) | isnan(z)", bool{}), false);
  // One within the other, along an axis, beside what is read for itself.
  std::vector<complex128> out(60);
  runrig::evaluate(threads, Expression::parse("z - nanmean(z - nanmean(z), axis=1, keepdims=True)"),
                   NdView<complex128>(out.data(), shape).ref(), inputs);
  complex128 row = 0;
  for (std::size_t i = 0; i < 10; ++i) row += z[i] - mean;
  EXPECT_TRUE(agree(out[3], z[3] - row / 10.0, 1e-13));
}

}  // namespace
}  // namespace runrig
