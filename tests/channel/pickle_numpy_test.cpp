#include "runrig/channel/pickle.hpp"

#include <cstdlib>

#include "samples.hpp"
#include "support.hpp"

// Real Python with NumPy at the other end.
namespace runrig::pickle {
namespace {

using test_samples::read_file;
using test_samples::write_file;

class PickleNumpyTest : public ::testing::Test {
 protected:
  void expect_python(const std::string& python, const std::string& program) {
    const auto result = test::run_python(python, "import numpy, pickle, pickletools, sys, io, warnings\n" + program,
                                         {directory_.path().string()});
    EXPECT_EQ(result.exit_code, 0) << result.out << result.err;
  }
  test::TemporaryDirectory directory_;
};

TEST_F(PickleNumpyTest, ArraysOfEveryTypeOrderAndShapeAreRead) {
  RUNRIG_NEED_PYTHON(python, "numpy");
  expect_python(python, R"(
out = []
for code in 'b1 i1 u1 i2 u2 i4 u4 i8 u8 f2 f4 f8 g c8 c16 G'.split():
    for order in '<>':
        dtype = numpy.dtype(code).newbyteorder(order)
        base = numpy.arange(24).astype(dtype)
        for a in (base, base.reshape(2, 3, 4), numpy.asfortranarray(base.reshape(4, 6)), base.reshape(6, 4)[::2, 1:3],
                  base[:0], base[:0].reshape(0, 3), base[:1].reshape(()), base.reshape(4, 6).T, base[::-1]):
            if a.dtype.itemsize != 16 or code != 'g': out.append(a)
            else: out.append(a.copy(order='K') * 0)  # padding bytes of a long double are not defined
readonly = numpy.arange(5.)
readonly.flags.writeable = False
out.append(readonly)
def describe(a):
    order = 'F' if a.flags.f_contiguous and not a.flags.c_contiguous else 'C'
    return a.dtype.str.encode(), order.encode(), repr(a.shape).encode(), a.tobytes(order)
for protocol in range(6):
    pickle.dump([(a,) + describe(a) for a in out], open(f'{sys.argv[1]}/arrays.{protocol}', 'wb'), protocol)
)");
  for (int protocol = 0; protocol <= 5; ++protocol) {
    const Object all = loads(read_file(directory_ / ("arrays." + std::to_string(protocol))));
    ASSERT_EQ(all.size(), 16U * 2 * 9 + 1);
    const auto text = [](const Object& bytes) {
      return std::string_view(reinterpret_cast<const char*>(bytes.as_bytes().data()), bytes.as_bytes().size());
    };
    for (const Object& each : all.items()) {
      const NdBuffer& array = each.at(0).as_array();
      EXPECT_EQ(array.dtype(), text(each.at(1)));
      EXPECT_EQ(array.order(), text(each.at(2)) == "F" ? Order::fortran : Order::c) << array.dtype();
      EXPECT_EQ(to_string(array.shape()), text(each.at(3)));
      EXPECT_TRUE(std::ranges::equal(array.bytes(), each.at(4).as_bytes())) << array.dtype() << protocol;
    }
  }
}

TEST_F(PickleNumpyTest, ScalarsAndDtypesAreRead) {
  RUNRIG_NEED_PYTHON(python, "numpy");
  expect_python(python, R"(
scalars = [numpy.dtype(code).type(3) for code in 'b1 i1 u1 i2 u2 i4 u4 i8 u8 f2 f4 f8 c8 c16'.split()]
for protocol in range(6):
    pickle.dump([(s, s.dtype, s.dtype.str, s.tobytes()) for s in scalars] + [({numpy.int64(3): numpy.dtype('>f4')},)],
                open(f'{sys.argv[1]}/scalars.{protocol}', 'wb'), protocol)
)");
  for (int protocol = 0; protocol <= 5; ++protocol) {
    const Object all = loads(read_file(directory_ / ("scalars." + std::to_string(protocol))));
    ASSERT_EQ(all.size(), 15U);
    for (const Object& each : all.items().first(14)) {
      EXPECT_EQ(each.at(0).kind(), Kind::numpy_scalar);
      EXPECT_EQ(each.at(0).as_array().dtype(), each.at(2).as_string());
      EXPECT_EQ(each.at(1).as_dtype(), each.at(2).as_string());
      EXPECT_TRUE(std::ranges::equal(each.at(0).as_array().bytes(), each.at(3).as_bytes()));
    }
    EXPECT_EQ(all.at(14).at(0).find(3)->as_dtype(), ">f4");
  }
}

TEST_F(PickleNumpyTest, NumpyReadsOurArraysWithoutAWarning) {
  RUNRIG_NEED_PYTHON(python, "numpy");
  std::vector<Object> arrays;
  for (const std::string_view dtype :
       {"|b1", "|i1", "|u1", "<i2", ">u2", "<i4", "<u4", ">i8", "<u8", "<f2", "<f4", ">f8", "<c8", "<c16"}) {
    for (const Shape& shape : {Shape{}, Shape{6}, Shape{2, 3}, Shape{0, 3}, Shape{2, 1, 3}}) {
      std::vector<std::byte> content(*shape.checked_bytes(*numpy_item_bytes(dtype)));
      for (std::size_t i = 0; i < content.size(); ++i) content[i] = std::byte(dtype == "|b1" ? i % 2 : i % 60);
      for (const Order order : {Order::c, Order::fortran}) {
        const auto bytes = Object::bytes(content);
        arrays.push_back(Object::tuple({NdBuffer(dtype, shape, order, content), dtype, to_string(shape),
                                        order == Order::fortran ? "F" : "C", bytes}));
        if (shape.rank() == 0 && dtype.front() != '>') {
          arrays.push_back(Object::tuple({Object::numpy_scalar(NdBuffer(dtype, shape, order, content)), dtype,
                                          to_string(shape), "scalar", bytes}));
        }
      }
    }
  }
  for (int protocol = 2; protocol <= 5; ++protocol) {
    write_file(directory_ / ("ours." + std::to_string(protocol)), dumps(Object::list(arrays), protocol));
  }
  expect_python(python, R"(
warnings.simplefilter('error')
warnings.simplefilter('ignore', ResourceWarning)
for protocol in range(2, 6):
    data = open(f'{sys.argv[1]}/ours.{protocol}', 'rb').read()
    pickletools.dis(data, out=io.StringIO())
    arrays = pickle.loads(data)
    assert len(arrays) > 140
    for a, dtype, shape, order, content in arrays:
        if dtype[0] == '>': a = a.astype(dtype)  # NumPy turns what it reads into the machine's order
        assert type(a) is numpy.ndarray or order == 'scalar' and type(a) is numpy.dtype(dtype).type, type(a)
        assert a.dtype == numpy.dtype(dtype) and repr(a.shape) == shape, (a.dtype, dtype, a.shape, shape)
        assert a.tobytes('F' if order == 'F' else 'C') == content
        assert order == 'scalar' or a.flags.writeable and a.flags.c_contiguous or order == 'F'
        if order == 'F': assert a.flags.f_contiguous
)");
}

TEST_F(PickleNumpyTest, TypesThatAreNotNumericAreRefusedByName) {
  RUNRIG_NEED_PYTHON(python, "numpy");
  expect_python(python, R"(
for i, a in enumerate([numpy.array(['a']), numpy.array([b'a']), numpy.array([(1, 2.)], 'i4,f8'), numpy.array([None]),
                       numpy.array(['2026-01-01'], 'M8[ns]'), numpy.matrix([[1]])]):
    for protocol in 4, 5: open(f'{sys.argv[1]}/{i}.{protocol}', 'wb').write(pickle.dumps(a, protocol))
)");
  const std::vector<std::string> names{"'U1'", "'S1'", "'V12'", "'O8'", "'M8'", "matrix"};
  for (std::size_t i = 0; i < names.size(); ++i) {
    for (const char* protocol : {".4", ".5"}) {
      const auto message =
          test::thrown_text([&] { (void)loads(read_file(directory_ / (std::to_string(i) + protocol))); });
      EXPECT_NE(message.find(names[i]), std::string::npos) << message;
    }
  }
}

// What a property test writes: a hundred thousand objects, by turns in each protocol.
constexpr int random_objects = 100'000;
constexpr unsigned random_seed = 20261129;
test_samples::Generator random_generator() {
  return test_samples::Generator(random_seed, 2, test_samples::Generator::Sizes::small);
}
std::vector<std::byte> random_stream() {
  auto generate = random_generator();
  std::vector<std::byte> stream;
  for (int i = 0; i < random_objects; ++i) dumps_to(stream, generate(), 2 + i % 4);
  return stream;
}

// dis() takes 34 s for all of them, nearly all of it for lines that nobody reads. So what it demands is demanded here
// of each, of the operations as pickletools has them, and dis() itself looks at one in fifty.
TEST_F(PickleNumpyTest, PickletoolsAcceptsEachRandomObject) {
  RUNRIG_NEED_PYTHON(python, "numpy");
  write_file(directory_ / "there", random_stream());
  expect_python(python, R"(
import os
from pickletools import dis, genops, markobject, opcodes
effects = {}  # by code: what it pops below a mark, if it takes one, or else from the top; and what it pushes
for o in opcodes:
    takes_mark = markobject in o.stack_before
    pops = o.stack_before.index(markobject) if takes_mark else len(o.stack_before)
    effects[o.code] = takes_mark, pops, len(o.stack_after), o.proto
puts, gets, memoize, mark = 'pqr', 'ghj', '\x94', '('
def check(source, protocol):
    height, marks, memo = 0, [], set()
    for o, argument, _ in genops(source):
        code = o.code
        takes_mark, pops, pushes, since = effects[code]
        assert since <= protocol, code
        if takes_mark: height = marks.pop() - 1
        assert height - pops >= (marks[-1] if marks else 0), f'{code} finds too little on the stack'
        if code == memoize or code in puts:
            place = len(memo) if code == memoize else int(argument)
            assert place not in memo and height > (marks[-1] if marks else 0), 'nothing to remember'
            memo.add(place)
        elif code in gets:
            assert int(argument) in memo, 'never remembered'
        height += pushes - pops
        if code == mark: marks.append(height)
    assert code == '.' and height == 0 and not marks, 'something is left'
number = 0
with open(sys.argv[1] + '/there', 'rb') as source:
    size = os.fstat(source.fileno()).st_size
    while source.tell() < size:
        start = source.tell()
        check(source, 2 + number % 4)
        if number % 50 == number // 50 % 50:
            source.seek(start)
            dis(source, out=io.StringIO())
        number += 1
assert number == 100_000
)");
}

TEST_F(PickleNumpyTest, RandomObjectsSurviveTheWayThroughPython) {
  RUNRIG_NEED_PYTHON(python, "numpy");
  write_file(directory_ / "there", random_stream());
  expect_python(python, R"(
import os
warnings.simplefilter('error')
number = 0
with open(sys.argv[1] + '/there', 'rb') as source, open(sys.argv[1] + '/back', 'wb') as target:
    size = os.fstat(source.fileno()).st_size
    while source.tell() < size:
        pickle.dump(pickle.load(source), target, number % 6)
        number += 1
assert number == 100_000
)");
  const auto back = read_file(directory_ / "back");
  std::span<const std::byte> rest = back;
  auto generate_again = random_generator();
  for (int i = 0; i < random_objects; ++i) {
    const auto [object, length] = load_first(rest);
    ASSERT_EQ(object, generate_again()) << "object " << i << " of seed " << random_seed;
    rest = rest.subspan(length);
  }
  EXPECT_TRUE(rest.empty());
}

}  // namespace
}  // namespace runrig::pickle
