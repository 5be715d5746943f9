// Expressions against real NumPy: the same dtype and the same bits for all that is not transcendental.
#include <gtest/gtest.h>

#include <array>
#include <bit>
#include <cmath>
#include <fstream>
#include <iterator>
#include <optional>
#include <random>
#include <sstream>
#include <string>
#include <vector>

#include "expression_support.hpp"
#include "support.hpp"

namespace runrig {
namespace {

using test::Column;
using test::Columns;

/// One expression as we write it, and as calls of the functions that the Python side defines.
struct Case {
  std::string ours;
  std::string python;
  bool zeros_may_differ = false;  // minimum(0.0, -0.0) is either, depending on the machine that NumPy runs on
  double tolerance = 0;           // relative, where NumPy's own pow() is off
};

constexpr std::array<const char*, 12> variables{"b", "i1", "u1", "i2", "u2", "i4", "u4", "i8", "u8", "f2", "f4", "f8"};
struct Operator {
  const char* ours;
  const char* python;
};
constexpr std::array<Operator, 20> binary_operators{
    {{"+", "add"},           {"-", "subtract"},       {"*", "multiply"},    {"/", "divide"},
     {"//", "floor_divide"}, {"%", "remainder"},      {"<", "less"},        {"<=", "less_equal"},
     {">", "greater"},       {">=", "greater_equal"}, {"==", "equal"},      {"!=", "not_equal"},
     {"&", "bit_and"},       {"|", "bit_or"},         {"^", "bit_xor"},     {"<<", "left_shift"},
     {">>", "right_shift"},  {"&&", "logical_and"},   {"||", "logical_or"}, {"**", "integer_power"}}};
constexpr std::array<Operator, 4> unary_operators{
    {{"-", "negative"}, {"+", "positive"}, {"~", "invert"}, {"!", "logical_not"}}};
constexpr std::array<const char*, 28> unary_functions{
    "abs",     "sqrt",     "square",  "floor",   "ceil",    "trunc",   "rint",      "round",   "sign",      "isnan",
    "isinf",   "isfinite", "fabs",    "abs",     "deg2rad", "rad2deg", "radians",   "degrees", "ones_like", "bool",
    "float16", "float32",  "float64", "float16", "float32", "float64", "ones_like", "bool"};
/// Of integers only, here: NumPy leaves to the machine what a float beyond an integer type becomes.
constexpr std::array<const char*, 8> integer_casts{"int8",  "uint8",  "int16", "uint16",
                                                   "int32", "uint32", "int64", "uint64"};
constexpr std::array<const char*, 16> literals{"0",       "1",        "2",   "-1",  "3",     "100",  "300", "70000",
                                               "(2**40)", "(-2**63)", "0.5", "2.5", "1e300", "True", "nan", "-0.0"};

Case binary(const Operator& of, const Case& a, const Case& b) {
  return {"(" + a.ours + " " + of.ours + " " + b.ours + ")",
          std::string(of.python) + "(" + a.python + ", " + b.python + ")", a.zeros_may_differ || b.zeros_may_differ};
}
Case call(const std::string& name, const std::vector<Case>& arguments) {
  Case result{name + "(", name + "(", false};
  for (std::size_t i = 0; i < arguments.size(); ++i) {
    result.ours += (i == 0 ? "" : ", ") + arguments[i].ours;
    result.python += (i == 0 ? "" : ", ") + arguments[i].python;
  }
  result.ours += ")";
  result.python += ")";
  return result;
}
Case leaf(const std::string& name) { return {name, name, false}; }

/// Each operation with each pair of types, and with each literal on either side.
std::vector<Case> all_pairs() {
  std::vector<Case> cases;
  for (const Operator& each : binary_operators) {
    for (const char* a : variables) {
      for (const char* b : variables) {
        const bool real_power = each.ours == std::string("**") && (a[0] == 'f' || b[0] == 'f');
        if (real_power) continue;
        cases.push_back(binary(each, leaf(a), leaf(b)));
        if (each.ours == std::string("**")) cases.back().tolerance = 4e-16;  // int64 and uint64 meet as floats
      }
      if (each.ours == std::string("**")) continue;
      for (const char* b : literals) {
        cases.push_back(binary(each, leaf(a), leaf(b)));
        cases.push_back(binary(each, leaf(b), leaf(a)));
      }
    }
  }
  for (const char* a : variables) {
    for (const char* exponent : {"0", "1", "2", "0.5", "-1.0", "2.0", "0.0", "1.0"}) {
      cases.push_back(binary({"**", "power"}, leaf(a), leaf(exponent)));
      // Ours is the exact root or quotient; some versions of NumPy take those of integers by pow().
      if (a[0] != 'f') cases.back().tolerance = 4e-16;
    }
    if (a[0] != 'f') {
      for (const char* exponent : {"3", "7", "300", "-1"})
        cases.push_back(binary({"**", "power"}, leaf(a), leaf(exponent)));
    }
    for (const Operator& each : unary_operators) {
      cases.push_back({std::string(each.ours) + a, std::string(each.python) + "(" + a + ")", false});
    }
    for (const char* each : unary_functions) cases.push_back(call(each, {leaf(a)}));
    for (const char* each : integer_casts) {
      const Case whole = a[0] == 'f' ? call("clip", {call("where", {call("isnan", {leaf(a)}), leaf("0.5"), leaf(a)}),
                                                     leaf("0.0"), leaf("100.0")})
                                     : leaf(a);
      cases.push_back(call(each, {whole}));
      cases.push_back(call(each, {call("negative", {call("int16", {whole})})}));
    }
    for (const char* b : variables) {
      cases.push_back(call("fmod", {leaf(a), leaf(b)}));
      cases.push_back(call("copysign", {leaf(a), leaf(b)}));
      for (const char* each : {"minimum", "maximum", "fmin", "fmax"}) {
        cases.push_back(call(each, {leaf(a), leaf(b)}));
        cases.back().zeros_may_differ = true;
      }
      cases.push_back(call("where", {leaf("b"), leaf(a), leaf(b)}));
      cases.push_back(call("where", {leaf(b), leaf(a), leaf("i1")}));
      cases.push_back(call("clip", {leaf(a), leaf("i1"), leaf(b)}));
      cases.back().zeros_may_differ = true;
    }
    for (const char* b : literals) {
      cases.push_back(call("where", {leaf("b"), leaf(a), leaf(b)}));
      cases.push_back(call("minimum", {leaf(b), leaf(a)}));
      cases.back().zeros_may_differ = true;
      cases.push_back(call("clip", {leaf(a), leaf("1"), leaf(b)}));
      cases.back().zeros_may_differ = true;
    }
  }
  return cases;
}

Case random_case(std::mt19937_64& random, int depth) {
  if (depth == 0 || random() % 8 == 0) {
    return leaf(random() % 5 == 0 ? literals[random() % literals.size()] : variables[random() % variables.size()]);
  }
  const auto argument = [&] { return random_case(random, depth - 1); };
  switch (random() % 6) {
    case 0: {
      const Operator& each = unary_operators[random() % unary_operators.size()];
      const Case a = argument();
      return {"(" + std::string(each.ours) + a.ours + ")", std::string(each.python) + "(" + a.python + ")", false};
    }
    case 1:
      return call(unary_functions[random() % unary_functions.size()], {argument()});
    case 2:
      return call("where", {argument(), argument(), argument()});
    default: {
      const Operator& each = binary_operators[random() % (binary_operators.size() - 1)];
      const Case a = argument();
      return binary(each, a, argument());
    }
  }
}

const char* const program = R"(
import operator, struct, sys, warnings
import numpy as np
warnings.simplefilter('ignore')
folder = sys.argv[1]
old = tuple(int(x) for x in np.__version__.split('.')[:2]) < (2, 1)
names = 'b i1 u1 i2 u2 i4 u4 i8 u8 f2 f4 f8'.split()
scope = {}
for name in names:
    scope[name] = np.fromfile(f'{folder}/{name}', dtype='?' if name == 'b' else name)

literal = lambda x: type(x) in (int, float, bool)
def kind(x): return np.asarray(x).dtype.kind
def weak(x, beside):
    """What NumPy 2 makes of a literal beside an array, for the functions where older ones do not."""
    if not literal(x) or type(x) is bool: return np.asarray(x)
    dtype = beside.dtype
    if type(x) is float: return np.asarray(x, dtype=dtype if dtype.kind == 'f' else 'f8')
    if dtype.kind == 'b': dtype = np.dtype('i8')
    if dtype.kind in 'iu' and not np.iinfo(dtype).min <= x <= np.iinfo(dtype).max: raise OverflowError(x)
    return np.asarray(x, dtype=dtype)
def pair(a, b):
    if literal(a) and literal(b): return np.asarray(a), np.asarray(b)
    if literal(a): return weak(a, np.asarray(b)), np.asarray(b)
    if literal(b): return np.asarray(a), weak(b, np.asarray(a))
    return np.asarray(a), np.asarray(b)
def folding(python, numpy):
    return lambda a, b: python(a, b) if literal(a) and literal(b) else numpy(a, b)
def lshift(a, b):
    if a == 0 and b >= 0: return 0
    if b > 1000 or not -2**127 <= a << b < 2**127: raise OverflowError(b)  # as ours
    return a << b
def comparing(python, numpy):
    def compare(a, b):
        if literal(a) and literal(b): return python(a, b)
        for x, y, swapped in ((a, b, False), (b, a, True)):
            if type(x) is int and kind(y) in 'iu':
                info = np.iinfo(y.dtype)
                if not info.min <= x <= info.max:
                    return np.full(y.shape, python(x, 0) if not swapped else python(0, x))
        if not literal(a) and not literal(b) and {kind(a), kind(b)} == {'i', 'u'}:
            return numpy(a.astype(object), b.astype(object)).astype(bool)
        return numpy(a, b)
    return compare
for name, python, numpy in [
        ('add', operator.add, np.add), ('subtract', operator.sub, np.subtract), ('multiply', operator.mul, np.multiply),
        ('divide', operator.truediv, np.divide), ('floor_divide', operator.floordiv, np.floor_divide),
        ('remainder', operator.mod, np.remainder), ('bit_and', operator.and_, np.bitwise_and),
        ('bit_or', operator.or_, np.bitwise_or), ('bit_xor', operator.xor, np.bitwise_xor),
        ('integer_power', operator.pow, np.power), ('left_shift', lshift, np.left_shift),
        ('right_shift', operator.rshift, np.right_shift)]:
    scope[name] = folding(python, numpy)
for name in 'less less_equal greater greater_equal equal not_equal'.split():
    python = getattr(operator, {'less': 'lt', 'less_equal': 'le', 'greater': 'gt', 'greater_equal': 'ge', 'equal': 'eq',
                                'not_equal': 'ne'}[name])
    scope[name] = comparing(python, getattr(np, name))
truth = lambda x: bool(x) if literal(x) else np.asarray(x).astype(bool)
scope['logical_and'] = lambda a, b: truth(a) and truth(b) if literal(a) and literal(b) else np.logical_and(truth(a), truth(b))
scope['logical_or'] = lambda a, b: truth(a) or truth(b) if literal(a) and literal(b) else np.logical_or(truth(a), truth(b))
scope['logical_not'] = lambda a: not a if literal(a) else np.logical_not(a)
scope['negative'] = lambda a: -a if literal(a) else np.negative(a)
scope['positive'] = lambda a: +a if literal(a) else np.positive(a)
scope['invert'] = lambda a: (not a if type(a) is bool else ~a) if literal(a) else np.invert(a)
def power(a, b):
    if kind(a) == 'b' and type(b) is float: a = a.astype('f8')
    return a ** b
scope['power'] = power
for name in ('abs sqrt square rint round sign isnan isinf isfinite fabs minimum maximum fmin fmax fmod copysign '
             'deg2rad rad2deg radians degrees ones_like').split():
    scope[name] = getattr(np, name)
for name in 'bool int8 uint8 int16 uint16 int32 uint32 int64 uint64 float16 float32 float64'.split():
    def cast(a, dtype=np.dtype(name)):
        if type(a) in (int, float) and dtype.kind in 'iu':
            if not np.iinfo(dtype).min <= int(a) <= np.iinfo(dtype).max: raise OverflowError(a)
            return np.asarray(int(a), dtype=dtype)
        return np.asarray(a).astype(dtype)
    scope[name] = cast
def whole(function):
    return lambda a: np.asarray(a) if kind(a) in 'biu' else function(a)
for name in 'floor ceil trunc'.split():
    scope[name] = whole(getattr(np, name)) if old else getattr(np, name)
scope['where'] = lambda c, a, b: np.where(c, *pair(a, b))
def clip(a, low, high):
    a = np.asarray(a)
    if a.dtype.kind in 'iu':
        if type(low) is int and low <= np.iinfo(a.dtype).min: low = None
        if type(high) is int and high >= np.iinfo(a.dtype).max: high = None
    if low is None and high is None: return a
    types = [np.asarray(x).dtype for x in (a, low, high) if x is not None and not literal(x)]
    beside = np.empty(0, np.result_type(*types))
    low, high = (x if x is None else weak(x, beside) for x in (low, high))
    # Not np.clip, which forgets NaN limits in some versions.
    if low is not None and high is not None:
        common = np.result_type(a, low, high)
        a, low, high = a.astype(common), low.astype(common), high.astype(common)
    if low is not None: a = np.maximum(a, low)
    if high is not None: a = np.minimum(a, high)
    return a
scope['clip'] = clip
scope['nan'] = float('nan')

with open(f'{folder}/results', 'wb') as out:
    for line in open(f'{folder}/cases'):
        try:
            result = np.asarray(eval(line, scope))
            if result.dtype == object: raise TypeError(line)
            result = np.broadcast_to(result, scope['b'].shape)
            data = np.ascontiguousarray(result).tobytes()
            out.write(struct.pack('<8sI', (result.dtype.str + ' ' * 8)[:8].encode(), len(data)) + data)
        except Exception as error:
            data = f'{type(error).__name__}: {error}'.replace('\n', ' ').encode()
            out.write(struct.pack('<8sI', b'error   ', len(data)) + data)
)";

struct Answer {
  std::string dtype;  // or "error"
  std::string data;
};

std::vector<Answer> ask_numpy(const std::string& python, const Columns& inputs, const std::vector<Case>& cases) {
  const test::TemporaryDirectory folder;
  std::vector<std::string> lines;
  for (const Case& each : cases) lines.push_back(each.python);
  std::ifstream file = test::ask_python(python, program, folder.path(), inputs, lines);
  std::vector<Answer> answers;
  std::array<char, 12> head{};
  while (file.read(head.data(), head.size())) {
    std::uint32_t bytes = 0;
    std::memcpy(&bytes, head.data() + 8, 4);
    Answer answer{std::string(head.data(), 8), std::string(bytes, '\0')};
    answer.dtype.erase(answer.dtype.find_last_not_of(' ') + 1);
    file.read(answer.data.data(), bytes);
    answers.push_back(std::move(answer));
  }
  return answers;
}

/// The first element that differs, as text; none if all are equal. A NaN is any NaN.
std::optional<std::string> first_difference(const Column& ours, const Column& theirs, const Case& of) {
  const std::size_t item = item_bytes(ours.dtype);
  const std::vector<double> a = test::as_doubles(ours);
  const std::vector<double> b = test::as_doubles(theirs);
  for (std::size_t i = 0; i < a.size(); ++i) {
    if (std::memcmp(ours.bytes.data() + i * item, theirs.bytes.data() + i * item, item) == 0) continue;
    if (std::isnan(a[i]) && std::isnan(b[i])) continue;
    if (of.zeros_may_differ && a[i] == 0 && b[i] == 0) continue;
    if (of.tolerance != 0 && std::fabs(a[i] - b[i]) <= of.tolerance * std::fabs(b[i])) continue;
    std::ostringstream text;
    text.precision(17);
    text << "element " << i << ": " << a[i] << ", NumPy has " << b[i];
    return text.str();
  }
  return std::nullopt;
}

class Comparison {
 public:
  Comparison(const Columns& inputs) : inputs_(inputs) {}

  void check(const Case& each, const Answer& numpy) {
    const std::size_t elements = inputs_.at("b").elements();
    Column ours;
    try {
      ours = test::evaluate(each.ours, inputs_);
    } catch (const Error& error) {
      ++errors_;
      if (numpy.dtype != "error") report(each, std::string(error.what()) + "; NumPy has " + numpy.dtype);
      return;
    }
    if (numpy.dtype == "error") return report(each, std::string(dtype_name(ours.dtype)) + "; NumPy: " + numpy.data);
    if (dtype_string(ours.dtype) != numpy.dtype) {
      return report(each, std::string(dtype_string(ours.dtype)) + "; NumPy has " + numpy.dtype);
    }
    Column theirs{ours.dtype, std::vector<std::byte>(numpy.data.size())};
    std::memcpy(theirs.bytes.data(), numpy.data.data(), numpy.data.size());
    if (ours.elements() == 1)
      theirs.bytes.resize(item_bytes(ours.dtype));
    else if (ours.elements() != elements)
      return report(each, "wrong number of elements");
    if (const auto difference = first_difference(ours, theirs, each)) report(each, *difference);
    ++equal_;
  }

  std::size_t equal_ = 0;
  std::size_t errors_ = 0;
  std::size_t wrong_ = 0;

 private:
  void report(const Case& each, const std::string& what) {
    if (++wrong_ <= 25) ADD_FAILURE() << each.ours << "  [" << each.python << "]\n  " << what;
  }
  const Columns& inputs_;
};

TEST(ExpressionNumPy, HasTheSameTypesAndBits) {
  RUNRIG_NEED_PYTHON(python, "numpy");
  std::mt19937_64 random(20261121);
  const Columns inputs = test::random_inputs(random, 163);
  std::vector<Case> cases = all_pairs();
  for (int i = 0; i < 3000; ++i) cases.push_back(random_case(random, 2 + i % 2));
  const std::vector<Answer> answers = ask_numpy(python, inputs, cases);
  ASSERT_EQ(answers.size(), cases.size());
  Comparison comparison(inputs);
  for (std::size_t i = 0; i < cases.size(); ++i) comparison.check(cases[i], answers[i]);
  EXPECT_EQ(comparison.wrong_, 0U);
  EXPECT_GT(comparison.equal_, 7000U);
  EXPECT_GT(comparison.errors_, 300U);
}

}  // namespace
}  // namespace runrig
