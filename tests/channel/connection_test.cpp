#include "runrig/channel/connection.hpp"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include <array>
#include <csignal>
#include <cstring>
#include <fstream>
#include <map>
#include <thread>

#include "frame.hpp"
#include "processes.hpp"
#include "runrig/channel/passed_descriptors.hpp"
#include "runrig/channel/send_handle.hpp"
#include "samples.hpp"
#include "support.hpp"

namespace runrig {
namespace {

using namespace std::chrono_literals;
using pickle::Object;
using pickle::test_samples::bytes_of;

std::vector<std::byte> pattern(std::size_t size_bytes) {
  std::vector<std::byte> bytes(size_bytes);
  for (std::size_t i = 0; i < size_bytes; ++i) bytes[i] = static_cast<std::byte>((i * 31 + i / 251) & 0xFFU);
  return bytes;
}

// Bytes as a foreign program writes them.
void write_raw(const Connection& connection, std::span<const std::byte> bytes) {
  while (!bytes.empty()) {
    const auto sent = ::write(connection.fileno(), bytes.data(), bytes.size());
    ASSERT_GT(sent, 0);
    bytes = bytes.subspan(static_cast<std::size_t>(sent));
  }
}
void write_raw(const Connection& connection, std::string_view bytes) {
  write_raw(connection, std::as_bytes(std::span(bytes)));
}

std::size_t resident_bytes() {
  std::size_t pages = 0;
  std::size_t resident = 0;
  std::ifstream("/proc/self/statm") >> pages >> resident;
  return resident * static_cast<std::size_t>(::sysconf(_SC_PAGESIZE));
}

// Both kinds of pipe, messages from `sender` to `receiver`.
class ConnectionKindTest : public ::testing::TestWithParam<Direction> {
 protected:
  ConnectionKindTest() {
    Pipe pipe(GetParam());
    receiver = std::move(pipe.first);
    sender = std::move(pipe.second);
  }
  Connection receiver;
  Connection sender;
};
INSTANTIATE_TEST_SUITE_P(Kinds, ConnectionKindTest, ::testing::Values(Direction::duplex, Direction::receive),
                         [](const auto& each) {
                           return std::string(each.param == Direction::duplex ? "socket" : "pipe");
                         });

TEST_P(ConnectionKindTest, SendRecv_ValuesOfManyTypesArriveAsTheyWere) {
  sender.send(42);
  EXPECT_EQ(receiver.recv<int>(), 42);
  sender.send(std::string("text"));
  EXPECT_EQ(receiver.recv<std::string>(), "text");
  const std::map<std::string, std::vector<double>> map{{"a", {1.5, -0.0}}, {"b", {}}};
  sender.send(map);
  EXPECT_EQ((receiver.recv<std::map<std::string, std::vector<double>>>()), map);
  const Object object = Object::dict({{"x", Object::list({1, "two", Object()})}});
  sender.send(object);
  EXPECT_EQ(receiver.recv(), object);
  sender.send("a literal");
  EXPECT_EQ(receiver.recv().as_string(), "a literal");
}

TEST_P(ConnectionKindTest, SendBytes_AnyNumberArrivesAsOneMessage) {
  for (const std::size_t size_bytes : {0UL, 1UL, 4UL, 16383UL, 16384UL, 16385UL, 65536UL, 70001UL, 5UL << 20U}) {
    SCOPED_TRACE(size_bytes);
    const auto bytes = pattern(size_bytes);
    std::thread thread([&] {
      sender.send_bytes(bytes);
      sender.send_bytes(bytes);
      sender.send_bytes(bytes);
    });
    EXPECT_TRUE(receiver.recv_bytes() == bytes);
    std::vector<std::byte> buffer(size_bytes + 1, std::byte{7});
    EXPECT_EQ(receiver.recv_bytes_into(buffer), size_bytes);
    EXPECT_EQ(buffer.back(), std::byte{7});
    buffer.pop_back();
    EXPECT_TRUE(buffer == bytes);
    EXPECT_TRUE(receiver.recv_bytes(size_bytes) == bytes);
    thread.join();
  }
}

TEST_P(ConnectionKindTest, RecvBytes_LongerThanMaxlengthIsAnErrorAndTheEndNoLongerReadable) {
  sender.send_bytes(pattern(101));
  sender.send_bytes(pattern(1));
  EXPECT_EQ(test::thrown_code([&] { (void)receiver.recv_bytes(100); }), std::errc::message_size);
  EXPECT_EQ(test::thrown_code([&] { (void)receiver.recv_bytes(); }), std::errc::connection_aborted);
  EXPECT_EQ(test::thrown_code([&] { (void)receiver.recv(); }), std::errc::connection_aborted);
}

TEST_P(ConnectionKindTest, Recv_LimitsHoldBeforeMemoryIsTaken) {
  sender.send(std::string(1000, 'x'));
  const auto text = test::thrown_text([&] { (void)receiver.recv<std::string>({.max_bytes = 999}); });
  EXPECT_NE(text.find("more than the limit of 999"), std::string::npos) << text;
}

TEST_P(ConnectionKindTest, RecvBytesInto_BufferTooShortHasTheWholeMessageAndTheNextFollows) {
  sender.send_bytes(pattern(100));
  sender.send_bytes(pattern(3));
  std::array<std::byte, 99> buffer{};
  try {
    (void)receiver.recv_bytes_into(buffer);
    FAIL() << "it was too long";
  } catch (const BufferTooShort& error) {
    EXPECT_EQ(error.message(), pattern(100));
    EXPECT_THAT(error.what(), ::testing::HasSubstr("a message of 100 bytes into a buffer of 99"));
  }
  EXPECT_EQ(receiver.recv_bytes_into(buffer), 3U);
  sender.send_bytes(pattern(100));
  EXPECT_EQ(test::thrown_code([&] { (void)receiver.recv_bytes_into(buffer, 10); }), std::errc::message_size);
}

TEST_P(ConnectionKindTest, Recv_EndOfStreamWhenNothingIsLeftAndTheOtherEndClosed) {
  sender.send(1);
  sender.send_bytes({});
  sender.close();
  EXPECT_EQ(receiver.recv<int>(), 1);
  EXPECT_TRUE(receiver.recv_bytes().empty());
  for (int i = 0; i < 2; ++i) {
    EXPECT_THROW((void)receiver.recv(), EndOfStream);
    EXPECT_THROW((void)receiver.recv_bytes(), EndOfStream);
  }
}

TEST_P(ConnectionKindTest, Recv_PeerKilledInTheMiddleOfAMessageIsAnErrorAndNoHang) {
  const std::string whole("\0\0\0\x20 thirty-two bytes are announced", 36);
  for (const std::size_t cut : {1UL, 3UL, 4UL, 5UL, 35UL}) {
    SCOPED_TRACE(cut);
    Pipe pipe(GetParam());
    test::Child child([&] {
      pipe.first.close();
      write_raw(pipe.second, whole.substr(0, cut));
      ::raise(SIGKILL);
    });
    pipe.second.close();
    const auto text = test::thrown_text([&] { (void)pipe.first.recv_bytes(); });
    EXPECT_NE(text.find("receive the rest of a message"), std::string::npos) << text;
    EXPECT_EQ(test::thrown_code([&] { (void)pipe.first.recv_bytes(); }), std::errc::connection_aborted);
    EXPECT_EQ(child.join(), -SIGKILL);
  }
}

TEST_P(ConnectionKindTest, Recv_PeerKilledWhileItSendsALargeMessageIsAnError) {
  test::Child child([&] {
    receiver.close();
    sender.send_bytes(pattern(64UL << 20U));
  });
  sender.close();
  std::array<std::byte, 1000> first{};
  ASSERT_EQ(::read(receiver.fileno(), first.data(), 4), 4);  // the length
  ASSERT_GT(::read(receiver.fileno(), first.data(), first.size()), 0);
  child.signal(SIGKILL);
  EXPECT_EQ(child.join(), -SIGKILL);
  // From here on, what lies in the pipe is taken for messages until it is used up or makes no sense.
  EXPECT_NE(test::thrown_code([&] {
              for (;;) (void)receiver.recv_bytes(1UL << 20U);
            }),
            std::error_code());
}

TEST_P(ConnectionKindTest, Send_ToAnEndThatIsGoneIsAnErrorAndNoSignal) {
  receiver.close();
  // In children with the default of SIGPIPE, which kills.
  EXPECT_EQ(test::run_in_child([&] {
              ::signal(SIGPIPE, SIG_DFL);
              for (int i = 0; i < 2; ++i) {
                EXPECT_EQ(test::thrown_code([&] { sender.send_bytes(pattern(10)); }), std::errc::broken_pipe);
                EXPECT_EQ(test::thrown_code([&] { sender.send(1); }), std::errc::broken_pipe);
              }
            }),
            0);
  // And it is as before for others.
  EXPECT_EQ(test::run_in_child([&] {
              ::signal(SIGPIPE, SIG_DFL);
              (void)test::thrown_code([&] { sender.send(1); });
              (void)!::write(sender.fileno(), "x", 1);
            }),
            -SIGPIPE);
}

TEST_P(ConnectionKindTest, Poll_TellsWhetherThereIsSomethingToReceive) {
  EXPECT_FALSE(receiver.poll());
  EXPECT_FALSE(receiver.poll(1ms));
  EXPECT_FALSE(receiver.poll(-1s));
  sender.send(1);
  EXPECT_TRUE(receiver.poll());
  EXPECT_TRUE(receiver.poll(forever));
  (void)receiver.recv();
  EXPECT_FALSE(receiver.poll());
  std::thread thread([&] { sender.send(2); });
  EXPECT_TRUE(receiver.poll(30s));
  thread.join();
  (void)receiver.recv();
  sender.close();
  EXPECT_TRUE(receiver.poll());  // the end is something to receive
}

TEST_P(ConnectionKindTest, LengthsThatNoneHasAreRefusedWithoutTakingMemory) {
  const auto refused = [&](std::string_view head, std::size_t max_bytes) {
    Pipe pipe(GetParam());
    write_raw(pipe.second, head);
    pipe.second.close();
    return test::thrown_code([&] { (void)pipe.first.recv_bytes(max_bytes); });
  };
  using namespace std::string_view_literals;
  const std::size_t before = resident_bytes();
  EXPECT_EQ(refused("\xff\xff\xff\xfe"sv, SIZE_MAX), ErrorKind::format);    // -2
  EXPECT_EQ(refused("\x80\x00\x00\x00"sv, SIZE_MAX), ErrorKind::format);    // -2^31
  EXPECT_EQ(refused("\x7f\xff\xff\xff"sv, 1000), std::errc::message_size);  // 2^31 - 1
  EXPECT_EQ(refused("\x7f\xff\xff\xff short"sv, SIZE_MAX), std::errc::connection_aborted);
  EXPECT_EQ(refused("\xff\xff\xff\xff\x80\0\0\0\0\0\0\0"sv, 1UL << 62U), std::errc::message_size);  // 2^63
  EXPECT_EQ(refused("\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff and bytes"sv, SIZE_MAX),
            std::errc::connection_aborted);
  EXPECT_EQ(refused("\xff\xff\xff\xff\x80\0"sv, SIZE_MAX), std::errc::connection_aborted);
  EXPECT_LT(resident_bytes(), before + (16U << 20U));
}

TEST_P(ConnectionKindTest, LongHeadsOfShortMessagesAreTaken) {
  write_raw(sender, std::string_view("\xff\xff\xff\xff\0\0\0\0\0\0\0\2hi", 14));
  EXPECT_EQ(receiver.recv_bytes(), bytes_of("hi"));
}

TEST_P(ConnectionKindTest, MessagesInTheSmallestPiecesAreTaken) {
  std::thread thread([&] {
    for (const char each : std::string_view("\0\0\0\3abc\0\0\0\0\0\0\0\1d", 16)) write_raw(sender, {&each, 1});
  });
  EXPECT_EQ(receiver.recv_bytes(), bytes_of("abc"));
  EXPECT_TRUE(receiver.recv_bytes().empty());
  EXPECT_EQ(receiver.recv_bytes(), bytes_of("d"));
  thread.join();
}

TEST_P(ConnectionKindTest, NonblockingDescriptorsWorkAsOthers) {
  for (const int fd : {sender.fileno(), receiver.fileno()}) {
    ASSERT_EQ(::fcntl(fd, F_SETFL, ::fcntl(fd, F_GETFL) | O_NONBLOCK), 0);
  }
  const auto bytes = pattern(3UL << 20U);
  std::thread thread([&] { sender.send_bytes(bytes); });
  EXPECT_TRUE(receiver.recv_bytes() == bytes);
  thread.join();
}

TEST_P(ConnectionKindTest, SignalsInterruptNothing) {
  EXPECT_EQ(test::run_in_child([&] {
              struct sigaction action {};
              action.sa_handler = [](int) {};  // no SA_RESTART
              ::sigaction(SIGALRM, &action, nullptr);
              const auto bytes = pattern(8UL << 20U);
              test::Child child([&] { sender.send_bytes(bytes); });
              const itimerval often{{0, 500}, {0, 500}};
              ::setitimer(ITIMER_REAL, &often, nullptr);
              EXPECT_TRUE(receiver.recv_bytes() == bytes);
              EXPECT_FALSE(receiver.poll(20ms));
              const itimerval never{};
              ::setitimer(ITIMER_REAL, &never, nullptr);
              EXPECT_EQ(child.join(), 0);
            }),
            0);
}

TEST_P(ConnectionKindTest, AMalformedPickleIsAnErrorAndTheNextMessageFollows) {
  sender.send_bytes(bytes_of("cos\nsystem\n."));
  sender.send(5);
  EXPECT_THROW((void)receiver.recv(), FormatError);
  EXPECT_THROW((void)receiver.recv<std::string>(), FormatError);  // it is no str
  sender.send(6);
  EXPECT_EQ(receiver.recv<int>(), 6);
}

TEST(ConnectionTest, Pipe_IsDuplexUnlessSaidOtherwise) {
  auto [first, second] = Pipe();
  EXPECT_EQ(first.direction(), Direction::duplex);
  first.send(1);
  second.send(2);
  EXPECT_EQ(second.recv<int>(), 1);
  EXPECT_EQ(first.recv<int>(), 2);
  for (const Connection* each : {&first, &second}) {
    EXPECT_EQ(::fcntl(each->fileno(), F_GETFD) & FD_CLOEXEC, FD_CLOEXEC);
  }
}

TEST(ConnectionTest, Pipe_OneWayTheFirstReceivesAndTheSecondSends) {
  auto [receiver, sender] = Pipe(Direction::receive);
  EXPECT_THROW(receiver.send(1), std::logic_error);
  EXPECT_THROW(receiver.send_bytes({}), std::logic_error);
  EXPECT_THROW((void)sender.recv(), std::logic_error);
  EXPECT_THROW((void)sender.poll(), std::logic_error);
  sender.send(1);
  EXPECT_EQ(receiver.recv<int>(), 1);
  auto [first, second] = Pipe(Direction::send);
  first.send(3);
  EXPECT_EQ(second.recv<int>(), 3);
}

TEST(ConnectionTest, Close_EndsTheUseOfTheObjectAndMayBeRepeated) {
  auto [first, second] = Pipe();
  EXPECT_FALSE(first.closed());
  first.close();
  first.close();
  EXPECT_TRUE(first.closed());
  EXPECT_THROW(first.send(1), std::logic_error);
  EXPECT_THROW((void)first.recv(), std::logic_error);
  EXPECT_THROW((void)first.fileno(), std::logic_error);
  EXPECT_THROW((void)second.recv(), EndOfStream);
  Connection moved = std::move(second);
  EXPECT_THROW((void)second.fileno(), std::logic_error);  // NOLINT(bugprone-use-after-move): that is the question
  EXPECT_FALSE(moved.closed());
  EXPECT_TRUE(Connection().closed());
}

TEST(ConnectionTest, Close_IsDoneByTheDestructorAndByAssignment) {
  auto [first, second] = Pipe();
  const std::size_t before = test::open_descriptors();
  { const Connection ending = std::move(first); }
  EXPECT_EQ(test::open_descriptors(), before - 1);
  second = Connection();
  EXPECT_EQ(test::open_descriptors(), before - 2);
}

TEST(ConnectionTest, Fileno_IsWhatOnePollsAndWhatOthersRead) {
  auto [first, second] = Pipe();
  first.send_bytes(bytes_of("abc"));
  std::array<char, 8> found{};
  EXPECT_EQ(::read(second.fileno(), found.data(), found.size()), 7);
  EXPECT_EQ(std::string_view(found.data(), 7), std::string_view("\0\0\0\3abc", 7));
}

TEST(ConnectionTest, Duplicate_IsAnotherHolderOfTheSameEnd) {
  auto [first, second] = Pipe();
  Connection copy = first.duplicate();
  first.close();
  copy.send(1);
  EXPECT_EQ(second.recv<int>(), 1);
  copy.close();
  EXPECT_THROW((void)second.recv(), EndOfStream);
}

TEST(ConnectionTest, OnlyPipesAndStreamSocketsMakeOne) {
  std::array<int, 2> datagrams{};
  ASSERT_EQ(::socketpair(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0, datagrams.data()), 0);
  const UniqueFd other(datagrams[1]);
  EXPECT_EQ(test::thrown_code([&] { (void)Connection{UniqueFd(datagrams[0])}; }), std::errc::invalid_argument);
  EXPECT_EQ(test::thrown_code([&] { (void)Connection{UniqueFd(::open("/dev/null", O_RDWR | O_CLOEXEC))}; }),
            std::errc::invalid_argument);
  EXPECT_EQ(test::thrown_code([&] { (void)Connection{UniqueFd()}; }), std::errc::bad_file_descriptor);
}

TEST(ConnectionTest, OneThreadMaySendWhileAnotherReceives) {
  auto [first, second] = Pipe();
  std::thread echo([&other = second] {
    try {
      for (;;) other.send(other.recv<std::string>());
    } catch (const EndOfStream&) {
    }
  });
  std::thread sending([&ours = first] {
    for (int i = 0; i < 1000; ++i) ours.send(std::string(static_cast<std::size_t>(i * 37), 'x'));
  });
  for (int i = 0; i < 1000; ++i) ASSERT_EQ(first.recv<std::string>().size(), static_cast<std::size_t>(i * 37));
  sending.join();
  first.close();
  echo.join();
}

TEST(ConnectionTest, MemoryOfALargeMessageIsGivenBack) {
#if defined(__SANITIZE_THREAD__)
  GTEST_SKIP() << "the sanitizer's own memory would be measured";
#endif
  auto [first, second] = Pipe();
  const std::string large(256UL << 20U, 'x');
  std::thread thread([&ours = first, &large] { ours.send(large); });
  EXPECT_TRUE(second.recv<std::string>({.max_bytes = 1UL << 30U}) == large);
  thread.join();
  const std::size_t resident = resident_bytes();
  EXPECT_LT(resident, large.size() + (200U << 20U));
}

// A process that is at both ends of nothing but short messages, as a byte of the wire's description.
TEST(FrameTest, HeadsAreThoseOfCPython) {
  const auto head = [](std::uint64_t body_bytes) {
    const detail::FrameHead made(body_bytes);
    return std::vector<std::byte>(made.bytes().begin(), made.bytes().end());
  };
  EXPECT_EQ(head(0), bytes_of(std::string(4, '\0')));
  EXPECT_EQ(head(0x01020304), bytes_of("\1\2\3\4"));
  EXPECT_EQ(head(0x7fffffff), bytes_of("\x7f\xff\xff\xff"));
  EXPECT_EQ(head(0x80000000), bytes_of(std::string("\xff\xff\xff\xff\0\0\0\0\x80\0\0\0", 12)));
  EXPECT_EQ(head(0x0102030405060708), bytes_of("\xff\xff\xff\xff\1\2\3\4\5\6\7\10"));
}

TEST(ConnectionTest, Send_AConnectionGoesThroughAUnixSocketAndBothEndsHaveIt) {
  auto [ours, theirs] = Pipe();
  auto [inner, travelling] = Pipe();
  auto [reading, writing] = Pipe(Direction::receive);
  ours.send(travelling);
  ours.send(std::pair<int, Connection>(7, writing.duplicate()));
  auto received = theirs.recv<Connection>();
  EXPECT_EQ(received.direction(), Direction::duplex);
  EXPECT_NE(received.fileno(), travelling.fileno());
  EXPECT_TRUE((::fcntl(received.fileno(), F_GETFD) & FD_CLOEXEC) != 0);
  travelling.close();  // the receiver's is another
  received.send(std::string("from the receiver"));
  EXPECT_EQ(inner.recv<std::string>(), "from the receiver");
  received.close();
  EXPECT_THROW((void)inner.recv(), EndOfStream);

  auto pair = theirs.recv<std::pair<int, Connection>>();
  EXPECT_EQ(pair.first, 7);
  EXPECT_EQ(pair.second.direction(), Direction::send);
  writing.close();
  pair.second.send(1.5);
  EXPECT_EQ(reading.recv<double>(), 1.5);
  ours.send(2);  // what travels beside a message is of that message only
  EXPECT_EQ(theirs.recv<int>(), 2);
}

TEST(ConnectionTest, Send_AConnectionToAnotherProcessOutlivesTheSender) {
  auto [ours, theirs] = Pipe();
  auto [first, second] = Pipe();
  const int code = test::run_in_child([&] {
    theirs.send(second);
    second.send(std::string("from a process that ends"));
  });
  ASSERT_EQ(code, 0);
  theirs.close();
  second.close();
  auto received = ours.recv<Connection>();
  EXPECT_EQ(first.recv<std::string>(), "from a process that ends");
  received.send(3);
  EXPECT_EQ(first.recv<int>(), 3);
}

TEST(ConnectionTest, Send_AConnectionThroughWhatTakesNoDescriptorsIsTheCallersMistake) {
  auto [reading, writing] = Pipe(Direction::receive);
  auto [inner, other] = Pipe();
  EXPECT_THROW(writing.send(other), std::logic_error);
  writing.send(4);  // nothing of it went out
  EXPECT_EQ(reading.recv<int>(), 4);
  std::vector<std::byte> bytes;
  EXPECT_THROW(pickle::encode(bytes, other), std::logic_error);
}

TEST(ConnectionTest, SendHandle_TheOtherEndHasADescriptorOfItsOwn) {
  auto [first, second] = Pipe();
  auto [reading, writing] = Pipe(Direction::receive);
  send_handle(first, writing.fileno());
  writing.close();
  UniqueFd arrived = recv_handle(second);
  EXPECT_NE(::fcntl(arrived.get(), F_GETFD) & FD_CLOEXEC, 0);
  ASSERT_EQ(::write(arrived.get(), "\0\0\0\1x", 5), 5);
  EXPECT_EQ(reading.recv_bytes().size(), 1U);
  arrived.reset();
  EXPECT_THROW((void)reading.recv_bytes(), EndOfStream);
  first.send(1);
  EXPECT_EQ(second.recv<int>(), 1) << "messages go on behind it";
}

TEST(ConnectionTest, SendHandle_ASocketThatDoesNotBlockIsWaitedFor) {
  auto [first, second] = Pipe();
  for (const int fd : {first.fileno(), second.fileno()}) ASSERT_EQ(::fcntl(fd, F_SETFL, O_NONBLOCK), 0);
  constexpr int count = 2000;  // more than the kernel keeps
  std::thread sending([&, &from = first] {
    for (int i = 0; i < count; ++i) send_handle(from, from.fileno());
  });
  for (int i = 0; i < count; ++i) EXPECT_TRUE(recv_handle(second));
  sending.join();
}

TEST(ConnectionTest, RecvHandle_WhatIsNoDescriptorIsAnError) {
  const auto received = [](const auto& send) {
    auto [first, second] = Pipe();
    send(first);
    first.close();
    return test::thrown_code([&, &from = second] { (void)recv_handle(from); });
  };
  EXPECT_EQ(received([](Connection&) {}), ErrorKind::end_of_stream);
  EXPECT_EQ(received([](Connection& to) { write_raw(to, bytes_of("\x01")); }), ErrorKind::format);
  EXPECT_EQ(received([](Connection& to) {
              const std::array two{to.fileno(), to.fileno()};
              const std::byte count{2};
              ASSERT_EQ(detail::send_with_descriptors(to.fileno(), {&count, 1}, {}, two), 1);
            }),
            ErrorKind::format);
  auto [reading, writing] = Pipe(Direction::receive);
  EXPECT_THROW(send_handle(writing, 0), std::logic_error);
  EXPECT_THROW((void)recv_handle(reading), std::logic_error);
  auto [first, second] = Pipe();
  EXPECT_EQ(test::thrown_code([&, &to = first] { send_handle(to, -1); }), std::errc::bad_file_descriptor);
  second.close();
  EXPECT_EQ(test::thrown_code([&, &to = first] { send_handle(to, 0); }), std::errc::broken_pipe);
}

TEST(ConnectionTest, Recv_AConnectionThatDidNotComeAlongIsAnError) {
  auto [ours, theirs] = Pipe();
  ours.send(std::pair<int, int>(0, 0));  // the pickle of one: the place of its descriptor, and its direction
  EXPECT_EQ(test::thrown_code([&] { (void)theirs.recv<Connection>(); }), ErrorKind::format);
  auto [inner, other] = Pipe();
  ours.send(other);  // received as what it is not: what came along is closed
  EXPECT_EQ((theirs.recv<std::pair<int, int>>()), (std::pair<int, int>(0, 0)));
  other.close();
  EXPECT_THROW((void)inner.recv(), EndOfStream);
}

}  // namespace
}  // namespace runrig
