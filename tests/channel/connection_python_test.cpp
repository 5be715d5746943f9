#include <map>
#include <thread>

#include "python_peer.hpp"
#include "runrig/channel/send_handle.hpp"
#include "samples.hpp"
#include "transfer_samples.hpp"

// Connections with a real Python at the other end.
namespace runrig {
namespace {

using pickle::NdBuffer;
using pickle::Object;
using test::PythonPeer;

constexpr const char* echo_objects = R"(
while True:
    try: c.send(c.recv())
    except EOFError: break
)";
constexpr const char* echo_bytes = R"(
while True:
    try: c.send_bytes(c.recv_bytes())
    except EOFError: break
)";

TEST(ConnectionPythonTest, SendBytes_MessagesOfAllSizesThereAndBack) {
  RUNRIG_FOR_EACH_PYTHON(python, "multiprocessing.connection") {
    PythonPeer peer(python, echo_bytes);
    for (const std::size_t size_bytes : {0UL, 1UL, 16383UL, 16384UL, 16385UL, 100000UL, 3UL << 20U}) {
      std::vector<std::byte> bytes(size_bytes, std::byte{0xA5});
      if (!bytes.empty()) bytes.back() = std::byte{1};
      std::thread sending([&] { peer.connection().send_bytes(bytes); });
      EXPECT_TRUE(peer.connection().recv_bytes() == bytes) << size_bytes;
      sending.join();
    }
  }
}

TEST(ConnectionPythonTest, Send_ObjectsThereAndBackAreEqual) {
  const std::vector<Object> all{
      Object(),
      true,
      -1,
      1.5,
      std::complex<double>(1, -2),
      "text \xe2\x82\xac",
      Object::bytes(std::vector<std::byte>(300, std::byte{0})),
      Object::bytearray({std::byte{1}}),
      Object::list({1, Object::tuple({2, Object::list()})}),
      Object::dict({{"a", 1}, {2, Object::set({1, "x"})}}),
      Object::frozenset({1.5}),
      Object::ordered_dict({{"z", 1}, {"a", 2}}),
      pickle::BigInt::from_bytes(std::vector<std::byte>(100, std::byte{0x55})),
  };
  RUNRIG_FOR_EACH_PYTHON(python, "multiprocessing.connection") {
    PythonPeer peer(python, echo_objects);
    for (const Object& each : all) {
      peer.connection().send(each);
      EXPECT_EQ(peer.connection().recv(), each);
    }
    using Table = std::map<std::string, std::vector<std::pair<int, double>>>;
    const Table table{{"one", {{1, 1.5}}}, {"none", {}}};
    peer.connection().send(table);
    EXPECT_EQ(peer.connection().recv<Table>(), table);
  }
}

TEST(ConnectionPythonTest, Send_LargeArraysThereAndBack) {
  RUNRIG_NEED_PYTHON(python, "numpy");
  constexpr std::int64_t elements = (std::int64_t{256} << 20) / 8;
  std::vector<std::byte> bytes(static_cast<std::size_t>(elements) * 8);
  for (std::size_t i = 0; i < bytes.size(); i += 4096) bytes[i] = static_cast<std::byte>(i >> 12U);
  const NdBuffer array(DType::float64, Shape{elements / 1024, 1024}, std::move(bytes));
  PythonPeer peer(python, echo_objects);
  std::thread sending([&] { peer.connection().send(array); });
  const NdBuffer back = peer.connection().recv<NdBuffer>();
  sending.join();
  EXPECT_EQ(back.shape(), array.shape());
  EXPECT_TRUE(back == array);
}

TEST(ConnectionPythonTest, Recv_PythonEndingIsTheEndOfTheStream) {
  RUNRIG_FOR_EACH_PYTHON(python, "multiprocessing.connection") {
    PythonPeer peer(python, "c.send('last')\nc.close()");
    EXPECT_EQ(peer.connection().recv<std::string>(), "last");
    EXPECT_THROW((void)peer.connection().recv(), EndOfStream);
  }
}

TEST(ConnectionPythonTest, Recv_PythonSeesOurEndAsEOFErrorAndATornMessageAsOSError) {
  RUNRIG_FOR_EACH_PYTHON(python, "multiprocessing.connection") {
    { PythonPeer peer(python, "try: c.recv()\nexcept EOFError: sys.exit(0)\nsys.exit(3)"); }
    PythonPeer torn(python, R"(
try: c.recv_bytes()
except EOFError: sys.exit(4)
except OSError as e: assert str(e) == 'got end of file during message', e
else: sys.exit(5)
)");
    ASSERT_EQ(::write(torn.connection().fileno(),
                      "\0\0\0\x09"
                      "four",
                      8),
              8);
  }
}

TEST(ConnectionPythonTest, Recv_PythonKilledInTheMiddleOfAMessageIsAnError) {
  RUNRIG_FOR_EACH_PYTHON(python, "multiprocessing.connection") {
    PythonPeer peer(python, R"(
import os, signal
os.write(c.fileno(), b'\0\0\1\0' + b'x' * 100)
os.kill(os.getpid(), signal.SIGKILL)
)");
    peer.expected_exit = -SIGKILL;
    EXPECT_EQ(test::thrown_code([&] { (void)peer.connection().recv_bytes(); }), std::errc::connection_aborted);
  }
}

TEST(ConnectionPythonTest, RecvBytes_PythonsMaxlengthHoldsForOurs) {
  RUNRIG_FOR_EACH_PYTHON(python, "multiprocessing.connection") {
    PythonPeer peer(python, R"(
assert c.recv_bytes(10) == b'0123456789'
b = bytearray(20)
assert c.recv_bytes_into(b, 5) == 10 and b[5:15] == b'0123456789'
try: c.recv_bytes(9)
except OSError: pass
else: sys.exit(3)
)");
    for (int i = 0; i < 3; ++i) peer.connection().send_bytes(pickle::test_samples::bytes_of("0123456789"));
  }
}

// multiprocessing.reduction, which is Python's own way to hand over a socket or a file.
TEST(ConnectionPythonTest, SendHandle_DescriptorsGoToPythonAndComeFromIt) {
  RUNRIG_FOR_EACH_PYTHON(python, "multiprocessing.connection") {
    PythonPeer peer(python, R"(
import os
from multiprocessing.reduction import recv_handle, send_handle
theirs = recv_handle(c)
os.write(theirs, b'through ours')
os.close(theirs)
assert c.recv() == 'then a message'
reading, writing = os.pipe()
send_handle(c, writing, None)
os.close(writing)
c.send(os.read(reading, 100))
)");
    auto [reading, writing] = Pipe(Direction::receive);
    send_handle(peer.connection(), writing.fileno());
    writing.close();
    std::array<char, 100> bytes{};
    EXPECT_EQ(::read(reading.fileno(), bytes.data(), bytes.size()), 12);
    EXPECT_STREQ(bytes.data(), "through ours");
    EXPECT_EQ(::read(reading.fileno(), bytes.data(), bytes.size()), 0) << "it has the only one";
    peer.connection().send("then a message");
    UniqueFd theirs = recv_handle(peer.connection());
    EXPECT_EQ(::write(theirs.get(), "through theirs", 14), 14);
    theirs.reset();
    EXPECT_EQ(peer.connection().recv<std::vector<std::byte>>().size(), 14U);
  }
}

TEST(ConnectionPythonTest, Pipe_OneWayPipesOfPythonAreUnderstood) {
  RUNRIG_FOR_EACH_PYTHON(python, "multiprocessing.connection") {
    Pipe pipe(Direction::receive);
    PythonPeer peer(
        python,
        "import os; c = Connection(os.dup(c.fileno()), readable=False)\nc.send([1, 2]); c.send_bytes(b'x' * 100000)",
        std::move(pipe));
    EXPECT_EQ(peer.connection().recv<std::vector<int>>(), (std::vector{1, 2}));
    EXPECT_EQ(peer.connection().recv_bytes().size(), 100000U);
  }
}

}  // namespace
}  // namespace runrig
