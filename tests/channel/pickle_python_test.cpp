#include "runrig/channel/pickle.hpp"

#include <limits>

#include "python_peer.hpp"
#include "samples.hpp"
#include "support.hpp"

// Python's own pickle module at the other end. Nothing here needs NumPy.
namespace runrig::pickle {
namespace {

using test_samples::read_file;
using test_samples::write_file;

struct Sample {
  std::string python;  // an expression
  Object object;
  int first_protocol = 0;  // in which Python itself does not lose something of it
};

std::vector<std::byte> counted_bytes(std::size_t count) {
  std::vector<std::byte> result;
  for (std::size_t i = 0; i < count; ++i) result.push_back(static_cast<std::byte>(i % 256));
  return result;
}

std::vector<Sample> datetime_samples() {
  const TimeZone west{TimeDelta::of(std::chrono::minutes(-210)), "west"};
  const Time late{.hour = 23, .minute = 59, .second = 58, .microsecond = 987'654};
  return {
      {"datetime.date(2026, 11, 29)", Date{2026, 11, 29}},
      {"datetime.date.min", Date{}},
      {"datetime.date.max", Date{9999, 12, 31}},
      {"datetime.time(23, 59, 58, 987654)", late},
      {"datetime.time(1, fold=1)", Time{.hour = 1, .fold = 1}, 4},
      {"datetime.time(7, tzinfo=datetime.timezone.utc)", Time{.hour = 7, .zone = TimeZone{}}},
      {"datetime.datetime(2026, 11, 29, 23, 59, 58, 987654)", DateTime{{2026, 11, 29}, late}},
      {"datetime.datetime(2024, 2, 29, 1, fold=1)", DateTime{{2024, 2, 29}, {.hour = 1, .fold = 1}}, 4},
      {"datetime.datetime(1, 1, 1, tzinfo=datetime.timezone(datetime.timedelta(minutes=-210), 'west'))",
       DateTime{{}, {.zone = west}}},
      {"datetime.timedelta(0)", TimeDelta{}},
      {"datetime.timedelta(microseconds=-1)", TimeDelta{-1, 86'399, 999'999}},
      {"datetime.timedelta.min", TimeDelta{-999'999'999, 0, 0}},
      {"datetime.timedelta.max", TimeDelta{999'999'999, 86'399, 999'999}},
      {"datetime.timezone.utc", TimeZone{}},
      {"datetime.timezone(datetime.timedelta(hours=5), '')", TimeZone{{0, 18'000, 0}, ""}},
      {"datetime.timezone(datetime.timedelta(minutes=-210), 'west')", west},
      {"{datetime.date(2026, 1, 1): 1, datetime.time(): 2, datetime.timedelta(1): datetime.timezone.utc}",
       Object::dict({{Date{2026, 1, 1}, 1}, {Time{}, 2}, {TimeDelta{1}, TimeZone{}}})},
  };
}

std::vector<Sample> exception_samples() {
  const auto exception = [](std::string_view type, std::vector<Object> arguments = {}, Object attributes = {}) {
    return Object::exception(type, std::move(arguments), std::move(attributes));
  };
  return {
      {"Exception()", exception("Exception")},
      {"ValueError('x')", exception("ValueError", {"x"})},
      {"KeyError((1, 'a'))", exception("KeyError", {Object::tuple({1, "a"})})},
      {"RuntimeError(1, 2, 3, 4)", exception("RuntimeError", {1, 2, 3, 4})},
      {"[ZeroDivisionError('division by zero')]", Object::list({exception("ZeroDivisionError", {"division by zero"})})},
      {"OSError(2, 'No such file', 'name')", exception("FileNotFoundError", {2, "No such file", "name"})},
      {"OSError(22, 'Invalid')", exception("OSError", {22, "Invalid"})},
      {"OSError('no number')", exception("OSError", {"no number"})},
      {"ConnectionResetError(104, 'reset')", exception("OSError", {104, "reset"})},
      {"PermissionError('no number')", exception("PermissionError", {"no number"}), 3},
      {"UnicodeDecodeError('utf-8', b'\\xff', 0, 1, 'bad')",
       exception("UnicodeDecodeError", {"utf-8", Object::bytes({std::byte{0xFF}}), 0, 1, "bad"})},
      {"StopIteration([1])", exception("StopIteration", {Object::list({1})})},
      {"SystemExit(3)", exception("SystemExit", {3})},
      {"KeyboardInterrupt()", exception("KeyboardInterrupt")},
      {"RecursionError('deep')", exception("RecursionError", {"deep"})},
      {"UserWarning('w')", exception("UserWarning", {"w"})},
      {"ModuleNotFoundError('m')", exception("ModuleNotFoundError", {"m"}), 3},
      {"ImportError('x', name='m')", exception("ImportError", {"x"}, Object::dict({{"name", "m"}}))},
      {"noted(ValueError('x'), 'a', 'b')",
       exception("ValueError", {"x"}, Object::dict({{"__notes__", Object::list({"a", "b"})}}))},
      {"queue.Empty()", exception("queue.Empty")},
      {"queue.Full('f')", exception("queue.Full", {"f"})},
      {"multiprocessing.TimeoutError('late')", exception("multiprocessing.context.TimeoutError", {"late"})},
      {"multiprocessing.AuthenticationError('key')", exception("multiprocessing.context.AuthenticationError", {"key"})},
      {"threading.BrokenBarrierError()", exception("threading.BrokenBarrierError")},
      {"pickle.PicklingError('p')", exception("pickle.PicklingError", {"p"})},
  };
}

std::vector<Sample> samples() {
  std::vector<Sample> all{
      {"None", {}},
      {"True", true},
      {"False", false},
      {"0.1", 0.1},
      {"-0.0", -0.0},
      {"float('inf')", std::numeric_limits<double>::infinity()},
      {"float('nan')", std::numeric_limits<double>::quiet_NaN()},
      {"5e-324", 5e-324},
      {"complex(1.5, -0.0)", std::complex<double>(1.5, -0.0)},
      {"''", ""},
      {"'x' * 255", std::string(255, 'x')},
      {"'x' * 256", std::string(256, 'x')},
      {"'x' * 100000", std::string(100000, 'x')},
      {R"('a\n\r\x00\x1a\\u\xfc\u20ac\U0001f600')",
       std::string("a\n\r\0\x1a\\u\xc3\xbc\xe2\x82\xac\xf0\x9f\x98\x80", 16)},
      {R"('\udcff')", "\xed\xb3\xbf"},
      {"b''", Object::bytes(std::vector<std::byte>())},
      {"bytes(range(256)) * 3", Object::bytes(counted_bytes(768))},
      {"bytes(range(256)) * 400", Object::bytes(counted_bytes(102400))},
      {"bytearray()", Object::bytearray({})},
      {"bytearray(range(256))", Object::bytearray(counted_bytes(256))},
      {"[]", Object::list()},
      {"[None]", Object::list({Object()})},
      {"list(range(2500))",
       [] {
         Object list = Object::list();
         for (int i = 0; i < 2500; ++i) list.append(i);
         return list;
       }()},
      {"()", Object::tuple()},
      {"(1,)", Object::tuple({1})},
      {"(1, 2)", Object::tuple({1, 2})},
      {"(1, 2, 3)", Object::tuple({1, 2, 3})},
      {"(1, 2, 3, (4, [5]))", Object::tuple({1, 2, 3, Object::tuple({4, Object::list({5})})})},
      {"{}", Object::dict()},
      {"{'a': 1}", Object::dict({{"a", 1}})},
      {"{'a': {1: 2, None: 3, (1, 'x'): []}, 1.5: 'y'}",
       Object::dict(
           {{"a", Object::dict({{1, 2}, {Object(), 3}, {Object::tuple({1, "x"}), Object::list()}})}, {1.5, "y"}})},
      {"{str(i): i for i in range(2001)}",
       [] {
         Object dict = Object::dict();
         for (int i = 0; i < 2001; ++i) dict.insert_or_assign(std::to_string(i), i);
         return dict;
       }()},
      {"set()", Object::set()},
      {"{1, 'a', (2, 3)}", Object::set({1, "a", Object::tuple({2, 3})})},
      {"frozenset()", Object::frozenset()},
      {"frozenset([b'x', frozenset([1.0])])",
       Object::frozenset({Object::bytes({std::byte{'x'}}), Object::frozenset({1.0})})},
      {"collections.OrderedDict([('z', 1), ('a', [])])", Object::ordered_dict({{"z", 1}, {"a", Object::list()}})},
  };
  for (auto& each : datetime_samples()) all.push_back(std::move(each));
  for (auto& each : exception_samples()) all.push_back(std::move(each));
  // Around every change of an integer's encoding.
  for (const int bits : {0, 7, 8, 15, 16, 31, 32, 62, 63, 64, 127, 128, 2039, 2040, 3000}) {
    for (const int off : {-1, 0, 1}) {
      for (const int sign : {-1, 1}) {
        std::vector<std::byte> power(static_cast<std::size_t>(bits) / 8 + 1, std::byte{0});
        const auto magnitude = [&] {
          power.back() = std::byte(1U << (bits % 8));
          power.push_back(std::byte{0});
          int carry = off;
          for (std::byte& each : power) {  // the power of two, plus `off`, times `sign`, in base 256
            const int sum = std::to_integer<int>(each) + carry;
            each = std::byte(sum & 0xFF);
            carry = sum >> 8;
          }
          if (sign > 0) return;
          unsigned add = 1;
          for (std::byte& each : power) {
            add += 0xFFU & ~std::to_integer<unsigned>(each);
            each = std::byte(add & 0xFFU);
            add >>= 8;
          }
        };
        magnitude();
        all.push_back({std::to_string(sign) + " * (2**" + std::to_string(bits) + " + " + std::to_string(off) + ")",
                       BigInt::from_bytes(power)});
      }
    }
  }
  return all;
}

constexpr const char* python_common = R"(
import builtins, collections, datetime, io, multiprocessing, pickle, pickletools, queue, sys, threading
def noted(error, *notes):
    error.__notes__ = list(notes)
    return error
def same(a, b):
    if type(a) is not type(b): return False
    if isinstance(a, (datetime.date, datetime.time, datetime.timezone)): return repr(a) == repr(b)
    if isinstance(a, BaseException):
        names = 'name', 'filename', 'filename2', 'errno', 'reason', 'code'
        return (same(a.args, b.args) and same(a.__dict__, b.__dict__)
                and all(same(getattr(a, name, None), getattr(b, name, None)) for name in names))
    if isinstance(a, float): return repr(a) == repr(b)
    if isinstance(a, complex): return repr(a) == repr(b)
    if isinstance(a, (list, tuple)): return len(a) == len(b) and all(map(same, a, b))
    if isinstance(a, dict): return len(a) == len(b) and all(same(x, y) for x, y in zip(a.items(), b.items()))
    return a == b
def check_form(data):
    pickletools.dis(data, out=io.StringIO())
)";

class PicklePythonTest : public ::testing::Test {
 protected:
  void expect_python(const std::string& python, const std::string& program, const std::vector<std::string>& arguments) {
    const auto result = test::run_python(python, python_common + program, arguments);
    EXPECT_EQ(result.exit_code, 0) << result.out << result.err;
  }
  [[nodiscard]] std::string folder() const { return directory_.path().string(); }
  [[nodiscard]] std::filesystem::path file(std::size_t index, int protocol) const {
    return directory_ / (std::to_string(index) + "." + std::to_string(protocol));
  }
  void write_expressions(const std::vector<Sample>& all) const {
    std::string text;
    for (const Sample& each : all) text += each.python + "\n";
    write_file(directory_ / "expressions", test_samples::bytes_of(text));
  }

 private:
  test::TemporaryDirectory directory_;
};

TEST_F(PicklePythonTest, WhatPythonWritesInEachProtocolIsRead) {
  RUNRIG_NEED_PYTHON(python, "pickle");
  const auto all = samples();
  write_expressions(all);
  expect_python(python, R"(
for index, line in enumerate(open(sys.argv[1] + '/expressions')):
    value = eval(line)
    for protocol in range(6):
        open(f'{sys.argv[1]}/{index}.{protocol}', 'wb').write(pickle.dumps(value, protocol))
        open(f'{sys.argv[1]}/{index}.{protocol + 10}', 'wb').write(pickle._dumps(value, protocol))
)",
                {folder()});
  for (std::size_t i = 0; i < all.size(); ++i) {
    for (int protocol = all[i].first_protocol; protocol <= 5; ++protocol) {
      EXPECT_EQ(loads(read_file(file(i, protocol))), all[i].object) << all[i].python << ", protocol " << protocol;
      EXPECT_EQ(loads(read_file(file(i, protocol + 10))), all[i].object) << all[i].python << ", protocol " << protocol;
    }
  }
}

TEST_F(PicklePythonTest, PythonReadsWhatWeWriteInEachProtocol) {
  RUNRIG_NEED_PYTHON(python, "pickle");
  const auto all = samples();
  write_expressions(all);
  for (std::size_t i = 0; i < all.size(); ++i) {
    for (int protocol = 2; protocol <= 5; ++protocol) write_file(file(i, protocol), dumps(all[i].object, protocol));
  }
  expect_python(python, R"(
for index, line in enumerate(open(sys.argv[1] + '/expressions')):
    for protocol in range(2, 6):
        data = open(f'{sys.argv[1]}/{index}.{protocol}', 'rb').read()
        check_form(data)
        for load in pickle.loads, pickle._loads:
            value = load(data)
            assert same(value, eval(line)), (line, protocol, value)
)",
                {folder()});
}

TEST_F(PicklePythonTest, RecursiveStructuresCrossBothWays) {
  RUNRIG_NEED_PYTHON(python, "pickle");
  Object list = Object::list({1});
  list.append(Object::back_reference(list));
  Object dict = Object::dict({{"list", list}});
  dict.insert_or_assign("self", Object::back_reference(dict));
  Object through = Object::list();
  const Object tuple = Object::tuple({through, 2});
  through.append(Object::back_reference(tuple));
  const Object all = Object::tuple({list, dict, tuple, list});
  for (int protocol = 2; protocol <= 5; ++protocol) write_file(file(0, protocol), dumps(all, protocol));
  expect_python(python, R"(
for protocol in range(2, 6):
    data = open(f'{sys.argv[1]}/0.{protocol}', 'rb').read()
    check_form(data)
    l, d, t, again = pickle.loads(data)
    assert l[0] == 1 and l[1] is l and len(l) == 2 and again is l
    assert d['list'] is l and d['self'] is d
    assert type(t) is tuple and t[0][0] is t and t[1] == 2
for protocol in range(6):
    open(f'{sys.argv[1]}/1.{protocol}', 'wb').write(pickle.dumps((l, d, t, l), protocol))
)",
                {folder()});
  for (int protocol = 0; protocol <= 5; ++protocol) {
    const Object copy = loads(read_file(file(1, protocol)));
    EXPECT_EQ(copy, all) << protocol;
    EXPECT_EQ(loads(dumps(copy)), all);
  }
}

// What Python has, whatever its version: all of it goes through us and comes back as it was.
TEST_F(PicklePythonTest, EveryExceptionOfPythonsModulesComesBackInEachProtocol) {
  for (const std::string& python : test::all_pythons("pickle, multiprocessing")) {
    const ::testing::ScopedTrace trace(__FILE__, __LINE__, python);
    const std::string make = R"(
import multiprocessing.managers, multiprocessing.pool
place = ('file', 1, 2, 'text') + ((3, 4) if sys.version_info >= (3, 10) else ())
special = {
    'UnicodeDecodeError': ('utf-8', b'\xff', 0, 1, 'bad'), 'UnicodeEncodeError': ('ascii', '\xff', 0, 1, 'bad'),
    'UnicodeTranslateError': ('\xff', 0, 1, 'bad'), 'BaseExceptionGroup': ('g', [ValueError(1), KeyboardInterrupt()]),
    'ExceptionGroup': ('g', [ValueError(1), OSError(2, 'x')]),
}
def arguments(c): return ('s', place) if issubclass(c, SyntaxError) else special.get(c.__name__, ('text', 5))
def is_exception(value): return isinstance(value, type) and issubclass(value, BaseException)
classes = [getattr(builtins, n) for n in sorted(dir(builtins)) if is_exception(getattr(builtins, n))]
classes += [queue.Empty, queue.Full, threading.BrokenBarrierError, multiprocessing.ProcessError,
            multiprocessing.BufferTooShort, multiprocessing.AuthenticationError, multiprocessing.TimeoutError,
            multiprocessing.managers.RemoteError, pickle.PickleError, pickle.PicklingError, pickle.UnpicklingError]
errors = [c(*arguments(c)) for c in classes]
errors += [OSError(n, 'x', 'f', None, 'g') for n in range(1, 133)]
)";
    const auto run = [&](const std::string& program) { expect_python(python, make + program, {folder()}); };
    run("for p in 3, 4, 5: pickle.dump(errors, open(f'{sys.argv[1]}/0.{p}', 'wb'), p)");
    for (int protocol = 2; protocol <= 5; ++protocol) {
      const auto from = read_file(file(0, std::max(protocol, 3)));
      write_file(file(1, protocol), dumps(loads(from), protocol));
    }
    run(R"(
for p in range(2, 6):
    data = open(f'{sys.argv[1]}/1.{p}', 'rb').read()
    check_form(data)
    back = pickle.loads(data)
    assert len(back) == len(errors) > 190
    for a, b in zip(errors, back): assert str(a) == str(b) and (same(a, b) or 'Group' in type(a).__name__), (p, a, b)
)");
  }
}

TEST_F(PicklePythonTest, PythonsOtherObjectsAreRefusedByName) {
  RUNRIG_NEED_PYTHON(python, "pickle");
  const std::vector<std::pair<std::string, std::string>> refused{
      {"len", "builtins len"},
      {"int", "builtins int"},
      {"collections.deque([1])", "collections deque"},
      {"collections.Counter('a')", "collections Counter"},
      {"__import__('decimal').InvalidOperation('x')", "decimal InvalidOperation"},
      {"[ValueError]", "builtins ValueError"},
      {"[range]", "builtins range"},
      {"enumerate([1])", "builtins enumerate"},
      {"type('C', (), {})", "global"},
      {"[datetime.date]", "datetime date"},
      {"__import__('fractions').Fraction(1, 3)", "fractions Fraction"},
      {"[set]", "builtins set"},
      {"{'f': frozenset}", "builtins frozenset"},
  };
  std::string text;
  for (const auto& [expression, name] : refused) text += expression + "\n";
  write_file(std::filesystem::path(folder()) / "expressions", test_samples::bytes_of(text));
  expect_python(python, R"(
for index, line in enumerate(open(sys.argv[1] + '/expressions')):
    for protocol in range(3, 6):
        try: data = pickle.dumps(eval(line), protocol)
        except pickle.PicklingError: data = b'cno\nglobal\n.'
        open(f'{sys.argv[1]}/{index}.{protocol}', 'wb').write(data)
)",
                {folder()});
  for (std::size_t i = 0; i < refused.size(); ++i) {
    for (int protocol = 3; protocol <= 5; ++protocol) {
      const auto message = test::thrown_text([&] { (void)loads(read_file(file(i, protocol))); });
      EXPECT_NE(message.find(refused[i].second), std::string::npos) << refused[i].first << ": " << message;
    }
  }
}

}  // namespace
}  // namespace runrig::pickle
