#include <gtest/gtest.h>

#include "python_peer.hpp"
#include "runrig/channel/transfer.hpp"
#include "samples.hpp"
#include "support.hpp"

// Arrays whose bytes travel beside the pickle, as with Python's buffer_callback and buffers=.
namespace runrig::pickle {
namespace {

using namespace std::string_literals;
using test_samples::bytes_of;
using test_samples::read_file;
using test_samples::write_file;

NdBuffer counted(std::string_view dtype, const Shape& shape, Order order) {
  std::vector<std::byte> content(*shape.checked_bytes(*numpy_item_bytes(dtype)));
  for (std::size_t i = 0; i < content.size(); ++i) content[i] = std::byte(dtype == "|b1" ? i % 2 : i % 60);
  return {dtype, shape, order, std::move(content)};
}

std::vector<NdBuffer> arrays() {
  std::vector<NdBuffer> all;
  for (const std::string_view dtype :
       {"|b1", "|i1", "|u1", "<i2", ">u2", "<i4", "<u4", ">i8", "<u8", "<f2", "<f4", ">f8", "<c8", ">c16", "<c16"}) {
    for (const Shape& shape : {Shape{}, Shape{6}, Shape{0}, Shape{2, 3}, Shape{0, 3}, Shape{2, 1, 3}}) {
      for (const Order order : {Order::c, Order::fortran}) all.push_back(counted(dtype, shape, order));
    }
  }
  return all;
}

TEST(PickleBuffersTest, TheBytesOfArraysAreNotCopiedIntoThePickle) {
  const NdBuffer large("<f8", {1000, 1000}, Order::c, std::vector<std::byte>(8'000'000));
  Buffers buffers;
  const auto bytes = dumps(Object::list({large, "x", large}), default_protocol, &buffers);
  EXPECT_LT(bytes.size(), 1000U);
  ASSERT_EQ(buffers.size(), 2U);
  EXPECT_EQ(buffers[0].bytes.data(), large.bytes().data());
  const Object copy = loads(bytes, {}, buffers);
  EXPECT_EQ(copy.at(0).as_array().bytes().data(), large.bytes().data()) << "nor on the way back";
  EXPECT_EQ(copy.at(2).as_array(), large);
}

TEST(PickleBuffersTest, WhatIsReadKeepsTheOwnerOfItsBytes) {
  auto memory = std::make_shared<std::vector<std::byte>>(48, std::byte{7});
  const std::weak_ptr<const void> watched = memory;
  Buffers buffers;
  const auto bytes = dumps(NdBuffer("<f8", {2, 3}, Order::fortran, std::span<const std::byte>(*memory), memory),
                           default_protocol, &buffers);
  memory.reset();
  {
    const Object copy = loads(bytes, {}, buffers);
    buffers.clear();
    EXPECT_FALSE(watched.expired());
    EXPECT_EQ(copy.as_array().order(), Order::fortran);
    EXPECT_EQ(copy.as_array().bytes()[47], std::byte{7});
  }
  EXPECT_TRUE(watched.expired());
}

TEST(PickleBuffersTest, EachArrayComesBackWhetherAsObjectOrTyped) {
  const auto all = arrays();
  for (const NdBuffer& each : all) {
    Buffers buffers;
    std::vector<std::byte> bytes;
    encode(bytes, std::pair(each, std::vector{each}), {.buffers = &buffers});
    ASSERT_EQ(buffers.size(), 2U);
    const auto [first, more] = decode<std::pair<NdBuffer, std::vector<NdBuffer>>>(bytes, {}, {}, buffers);
    EXPECT_EQ(first, each);
    EXPECT_EQ(more.at(0), each);
    EXPECT_EQ(loads(bytes, {}, buffers).at(0).as_array(), each);
    bytes.clear();
    encode(bytes, each);
    EXPECT_EQ(decode<NdBuffer>(bytes), each);
  }
}

TEST(PickleBuffersTest, MissingAndWrongBuffersAreRefused) {
  Buffers buffers;
  const auto bytes = dumps(counted("<f8", {2, 3}, Order::c), default_protocol, &buffers);
  EXPECT_NE(test::thrown_text([&] { (void)loads(bytes); }).find("out of band"), std::string::npos);
  EXPECT_THROW((void)decode<NdBuffer>(bytes), FormatError);
  for (const std::size_t size : {std::size_t{0}, std::size_t{40}, std::size_t{56}}) {
    const std::vector<std::byte> other(size);
    const Buffers wrong{{other}};
    EXPECT_THROW((void)loads(bytes, {}, wrong), FormatError) << size;
    EXPECT_THROW((void)decode<NdBuffer>(bytes, {}, {}, wrong), FormatError) << size;
  }
  EXPECT_THROW((void)loads(bytes_of("\x80\x05\x97."), {}, {}), FormatError);
  EXPECT_THROW((void)loads(bytes_of("\x80\x05]\x98."), {}, {}), FormatError);
  EXPECT_THROW((void)loads(bytes_of("\x80\x05\x98."), {}, {}), FormatError);
}

TEST(PickleBuffersTest, OlderProtocolsHaveNone) {
  Buffers buffers;
  std::vector<std::byte> out = bytes_of("kept");
  EXPECT_THROW((void)dumps(1, 4, &buffers), std::logic_error);
  EXPECT_THROW(encode(out, 1, {.protocol = 4, .buffers = &buffers}), std::logic_error);
  EXPECT_EQ(out, bytes_of("kept"));
}

TEST(PickleBuffersTest, AFailedWriteLeavesBufferAndBytesAsTheyWere) {
  Buffers buffers(1);
  std::vector<std::byte> out = bytes_of("kept");
  const Object bad = Object::list({counted("<f8", {2}, Order::c), "\xff"});
  EXPECT_THROW(dumps_to(out, bad, default_protocol, &buffers), Error);
  EXPECT_THROW(encode(out, bad, {.buffers = &buffers}), Error);
  EXPECT_EQ(buffers.size(), 1U);
  EXPECT_EQ(out, bytes_of("kept"));
}

TEST(PickleBuffersTest, ABufferByItselfIsBytes) {
  const auto content = bytes_of("abc");
  const Buffers buffers{{content}};
  EXPECT_EQ(loads(bytes_of("\x80\x05\x97."), {}, buffers), Object::bytearray(content));
  EXPECT_EQ(loads(bytes_of("\x80\x05\x97\x98."), {}, buffers), Object::bytes(content));
}

class PickleBuffersPythonTest : public ::testing::Test {
 protected:
  [[nodiscard]] std::filesystem::path file(const std::string& name) const { return directory_ / name; }
  void expect_python(const std::string& python, const std::string& program) const {
    const auto result = test::run_python(
        python, "import io, numpy, pickle, pickletools, sys, warnings\nwarnings.simplefilter('error')\n" + program,
        {directory_.path().string()});
    EXPECT_EQ(result.exit_code, 0) << result.out << result.err;
  }
  test::TemporaryDirectory directory_;
};

TEST_F(PickleBuffersPythonTest, NumpyTakesOurBuffersWithoutACopyOrAWarning) {
  for (const std::string& python : test::all_pythons("numpy")) {
    std::vector<Object> described;
    for (const NdBuffer& each : arrays()) {
      described.push_back(Object::tuple({each, each.dtype(), to_string(each.shape()),
                                         each.order() == Order::fortran ? "F" : "C", Object::bytes(each.bytes())}));
    }
    Buffers buffers;
    write_file(file("pickle"), dumps(Object::list(described), default_protocol, &buffers));
    std::vector<Object> contents;
    for (const Buffer& each : buffers) contents.push_back(Object::bytearray({each.bytes.begin(), each.bytes.end()}));
    write_file(file("buffers"), dumps(Object::list(contents)));
    expect_python(python, R"(
data = open(sys.argv[1] + '/pickle', 'rb').read()
pickletools.dis(data, out=io.StringIO())
buffers = pickle.load(open(sys.argv[1] + '/buffers', 'rb'))
arrays = pickle.loads(data, buffers=buffers)
assert len(arrays) == len(buffers) > 150
for (a, dtype, shape, order, content), buffer in zip(arrays, buffers):
    assert type(a) is numpy.ndarray and a.dtype.str == dtype and repr(a.shape) == shape, (a.dtype, dtype)
    assert a.tobytes('F' if order == 'F' else 'C') == content
    assert a.size == 0 or numpy.shares_memory(a, numpy.frombuffer(buffer, 'u1'))
    assert a.flags.f_contiguous if order == 'F' else a.flags.c_contiguous
)");
  }
}

TEST_F(PickleBuffersPythonTest, NumpysBuffersAreTaken) {
  for (const std::string& python : test::all_pythons("numpy")) {
    expect_python(python, R"(
out = []
for code in 'b1 i1 u1 i2 u2 i4 u4 i8 u8 f2 f4 f8 c8 c16'.split():
    for order in '<>':
        base = numpy.arange(24).astype(numpy.dtype(code).newbyteorder(order))
        out += [base, base.reshape(2, 3, 4), numpy.asfortranarray(base.reshape(4, 6)), base.reshape(6, 4)[::2],
                base[:0], base[:1].reshape(())]
fixed = numpy.arange(5.)
fixed.flags.writeable = False
out += [fixed, pickle.PickleBuffer(b'read-only'), pickle.PickleBuffer(bytearray(b'writable'))]
def describe(a):
    if isinstance(a, pickle.PickleBuffer): return (a, bytes(a))
    order = 'F' if a.flags.f_contiguous and not a.flags.c_contiguous else 'C'
    return a, a.dtype.str.encode(), order.encode(), repr(a.shape).encode(), a.tobytes(order)
buffers = []
data = pickle.dumps([describe(a) for a in out], 5, buffer_callback=buffers.append)
open(sys.argv[1] + '/pickle', 'wb').write(data)
pickle.dump([bytes(b.raw()) for b in buffers], open(sys.argv[1] + '/buffers', 'wb'))
)");
    const Object contents = loads(read_file(file("buffers")));
    Buffers buffers;
    for (const Object& each : contents.items()) buffers.push_back({each.as_bytes()});
    const Object all = loads(read_file(file("pickle")), {}, buffers);
    ASSERT_EQ(all.size(), 14U * 2 * 6 + 3);
    const auto text = [](const Object& bytes) {
      return std::string_view(reinterpret_cast<const char*>(bytes.as_bytes().data()), bytes.as_bytes().size());
    };
    for (const Object& each : all.items()) {
      if (each.size() == 2) {
        EXPECT_EQ(text(each.at(0)), text(each.at(1)));
        EXPECT_EQ(each.at(0).kind(), text(each.at(1)) == "read-only" ? Kind::bytes : Kind::bytearray);
        continue;
      }
      const NdBuffer& array = each.at(0).as_array();
      EXPECT_EQ(array.dtype(), text(each.at(1)));
      EXPECT_EQ(to_string(array.shape()), text(each.at(3)));
      EXPECT_EQ(array.order(), text(each.at(2)) == "F" ? Order::fortran : Order::c);
      EXPECT_TRUE(std::ranges::equal(array.bytes(), each.at(4).as_bytes())) << array.dtype();
    }
  }
}

// As NumPy 2.3 and later write arrays whose axes lie in another order. Written here by what any NumPy can do.
TEST_F(PickleBuffersPythonTest, TransposedArraysOfNewNumpyAreTaken) {
  RUNRIG_NEED_PYTHON(python, "numpy");
  expect_python(python, R"(
import copyreg
class Transposed:
    def __init__(self, array, axes, module): self.array, self.axes, self.module = array, axes, module
    def __reduce__(self):
        a = self.array
        return Named(self.module), (pickle.PickleBuffer(a), a.dtype, a.shape, 'K', self.axes)
class Named:
    def __init__(self, module): self.module = module
class Pickler(pickle._Pickler):
    def save(self, obj, save_persistent_id=True):
        if not isinstance(obj, Named): return super().save(obj, save_persistent_id)
        self.save(obj.module)
        self.save('_frombuffer')
        self.write(pickle.STACK_GLOBAL)
    def save_reduce(self, func, args, state=None, *rest, obj=None):
        if not isinstance(func, Named): return super().save_reduce(func, args, state, *rest, obj=obj)
        self.save(func)
        self.save(args)
        self.write(pickle.REDUCE)
rows = []
for module in 'numpy.core.numeric', 'numpy._core.numeric':
    for dtype in 'u1', '<i4', '>f8', 'c16':
        base = numpy.arange(24).astype(dtype)
        for shape, axes in ((2, 3, 4), (2, 0, 1)), ((2, 3, 4), (1, 0, 2)), ((4, 6), (1, 0)), ((24,), (0,)), ((2, 0, 3), (2, 1, 0)):
            a = base[:numpy.prod(shape)].reshape(shape)
            t = a.transpose(axes)
            rows.append((Transposed(a, axes, module), repr(t.shape), t.tobytes('C'), a.dtype.str))
with open(sys.argv[1] + '/pickle', 'wb') as file:
    pickler = Pickler(file, 5)
    pickler.fast = True  # its memo takes the bytes of one buffer for those of the next
    pickler.dump(rows)
)");
  const Object all = loads(read_file(file("pickle")));
  ASSERT_EQ(all.size(), 40U);
  for (const Object& each : all.items()) {
    const NdBuffer& array = each.at(0).as_array();
    EXPECT_EQ(to_string(array.shape()), each.at(1).as_string());
    EXPECT_TRUE(std::ranges::equal(array.bytes(), each.at(2).as_bytes())) << each.at(1).as_string();
    EXPECT_EQ(array.dtype(), each.at(3).as_string());
  }
}

TEST(PickleBuffersTest, OrdersOfAxesThatAreNoneAreRefused) {
  const std::string dtype = "cnumpy\ndtype\n(Vu1\nI00\nI01\ntR(I3\nV|\nNNNI-1\nI-1\nI0\ntb";
  const auto stream = [&](const std::string& axes) {
    return bytes_of(
        "cnumpy.core.numeric\n_frombuffer\n(C\x06"
        "abcdef" +
        dtype + "(I2\nI3\ntVK\n" + axes + "tR.");
  };
  EXPECT_EQ(loads(stream("(I1\nI0\nt")).as_array(), NdBuffer("|u1", {3, 2}, Order::c, bytes_of("adbecf")));
  for (const char* const axes : {"(I0\nt", "(I0\nI0\nt", "(I0\nI2\nt", "(I0\nI-1\nt", "(I0\nI1\nI2\nt", "N",
                                 "(I0\nL18446744073709551616L\nt", "(I0\nVx\nt", "t"}) {
    EXPECT_THROW((void)loads(stream(axes)), FormatError) << axes;
  }
}

}  // namespace
}  // namespace runrig::pickle
