#include <filesystem>
#include <set>
#include <tuple>

#include "samples.hpp"
#include "support.hpp"
#include "transfer_samples.hpp"
#include "transfer_typed_samples.hpp"

// C++ values on one side, Python's own pickle module on the other. Nothing here needs NumPy, unless it says so.
namespace runrig::pickle {
namespace {

using namespace test_samples;

class TransferPythonTest : public ::testing::Test {
 protected:
  void write_expressions(const std::vector<TypedSample>& all) const {
    std::string text;
    for (const auto& each : all) text += each.python + "\n";
    write_file(directory_ / "expressions", bytes_of(text));
  }
  [[nodiscard]] std::filesystem::path file(const std::string& name) const { return directory_ / name; }
  void expect_python(const std::string& python, const std::string& program) const {
    const auto result = test::run_python(python, program, {directory_.path().string()});
    EXPECT_EQ(result.exit_code, 0) << result.out << result.err;
  }

 private:
  test::TemporaryDirectory directory_;
};

TEST_F(TransferPythonTest, PythonReadsWhatWeSend) {
  RUNRIG_NEED_PYTHON(python, "pickle");
  const auto all = typed_samples();
  write_expressions(all);
  for (std::size_t i = 0; i < all.size(); ++i) {
    write_file(file(std::to_string(i)), all[i].encoded);
    for (int protocol = 2; protocol <= 5; ++protocol) {
      const auto bytes = all[i].encode_in(protocol);
      EXPECT_EQ(bytes[1], std::byte(protocol));
      all[i].expect_decoded(bytes, all[i].python + " in protocol " + std::to_string(protocol));
      write_file(file(std::to_string(i) + ".ours." + std::to_string(protocol)), bytes);
    }
  }
  expect_python(python, R"(
import io, os, pickle, pickletools, sys
def same(a, b):
    if type(a) is not type(b): return False
    if isinstance(a, (float, complex)): return repr(a) == repr(b)
    if isinstance(a, (list, tuple)): return len(a) == len(b) and all(map(same, a, b))
    if isinstance(a, dict): return len(a) == len(b) and all(k in b and same(a[k], b[k]) for k in a)
    return a == b
for index, line in enumerate(open(sys.argv[1] + '/expressions')):
    for name in [f'{index}'] + [f'{index}.ours.{protocol}' for protocol in range(2, 6)]:
        data = open(f'{sys.argv[1]}/{name}', 'rb').read()
        pickletools.dis(data, out=io.StringIO())
        for load in pickle.loads, pickle._loads:
            value = load(data)
            assert same(value, eval(line)), (line, name, value)
)");
}

TEST_F(TransferPythonTest, PickletoolsReadsArguments) {
  RUNRIG_NEED_PYTHON(python, "pickle");
  std::vector<std::byte> bytes;
  encode_tuple(bytes, 1, "two", Point{3, 4});
  write_file(file("arguments"), bytes);
  const auto result = test::run_command({python, "-m", "pickletools", file("arguments").string()});
  EXPECT_EQ(result.exit_code, 0) << result.err;
  EXPECT_NE(result.out.find("highest protocol among opcodes = 4"), std::string::npos) << result.out;
}

TEST_F(TransferPythonTest, WhatPythonWritesInEachProtocolIsRead) {
  RUNRIG_NEED_PYTHON(python, "pickle");
  const auto all = typed_samples();
  write_expressions(all);
  expect_python(python, R"(
import os, pickle, pickletools, sys
for index, line in enumerate(open(sys.argv[1] + '/expressions')):
    value = eval(line)
    for protocol in range(6):
        data = pickle.dumps(value, protocol)
        open(f'{sys.argv[1]}/{index}.{protocol}.c', 'wb').write(data)
        open(f'{sys.argv[1]}/{index}.{protocol}.python', 'wb').write(pickle._dumps(value, protocol))
        open(f'{sys.argv[1]}/{index}.{protocol}.optimised', 'wb').write(pickletools.optimize(data))
)");
  for (std::size_t i = 0; i < all.size(); ++i) {
    for (int protocol = 0; protocol <= 5; ++protocol) {
      for (const char* const how : {"c", "python", "optimised"}) {
        const std::string name = std::to_string(i) + "." + std::to_string(protocol) + "." + how;
        all[i].expect_decoded(read_file(file(name)), all[i].python + " in " + name);
      }
    }
  }
}

TEST_F(TransferPythonTest, ListsPassForTuplesAndTuplesForLists) {
  RUNRIG_NEED_PYTHON(python, "pickle");
  expect_python(python, R"(
import pickle, sys
open(sys.argv[1] + '/list', 'wb').write(pickle.dumps([1.5, 2]))
open(sys.argv[1] + '/tuple', 'wb').write(pickle.dumps((1, 2)))
open(sys.argv[1] + '/frozenset', 'wb').write(pickle.dumps(frozenset([1, 2])))
open(sys.argv[1] + '/bytearray', 'wb').write(pickle.dumps(bytearray(b'ab')))
)");
  EXPECT_EQ(decode<Point>(read_file(file("list"))), (Point{1.5, 2}));
  EXPECT_EQ(decode<std::vector<int>>(read_file(file("tuple"))), (std::vector{1, 2}));
  EXPECT_EQ(decode<std::set<int>>(read_file(file("frozenset"))), (std::set{1, 2}));
  EXPECT_EQ(decode<std::vector<std::byte>>(read_file(file("bytearray"))), bytes_of("ab"));
}

TEST_F(TransferPythonTest, NumPysScalarsAreNumbers) {
  RUNRIG_NEED_PYTHON(python, "numpy");
  expect_python(python, R"(
import numpy, pickle, sys
row = (numpy.int32(-7), numpy.float64(0.1), numpy.bool_(True), numpy.float16(0.5), numpy.uint64(2**64 - 1))
open(sys.argv[1] + '/row', 'wb').write(pickle.dumps(row, 4))
open(sys.argv[1] + '/array', 'wb').write(pickle.dumps(numpy.arange(4, dtype='f4').reshape(2, 2), 4))
)");
  using Row = std::tuple<int, double, bool, float, std::uint64_t>;
  EXPECT_EQ(decode<Row>(read_file(file("row"))), Row(-7, 0.1, true, 0.5F, ~std::uint64_t{0}));
  const NdBuffer array = decode<NdBuffer>(read_file(file("array")));
  EXPECT_EQ(array.shape(), (Shape{2, 2}));
  EXPECT_EQ(array.native_dtype(), DType::float32);
}

}  // namespace
}  // namespace runrig::pickle
