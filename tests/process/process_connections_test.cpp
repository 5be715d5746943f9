#include <gmock/gmock.h>

#include <chrono>
#include <string>
#include <tuple>
#include <utility>

#include "process_support.hpp"
#include "runrig/channel/connection.hpp"
#include "runrig/channel/listener.hpp"
#include "runrig/channel/wait.hpp"

/// Connections of processes: given to them, and waited for together with them.
namespace runrig {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;
using namespace std::chrono_literals;

class ProcessConnectionsTest : public test::EachStartMethod {};
RUNRIG_FOR_EACH_START_METHOD(ProcessConnectionsTest);

void answer(Connection connection, int extra) {
  for (;;) {
    const int question = connection.recv<int>();
    if (question < 0) return;
    connection.send(question + extra);
  }
}

TEST_P(ProcessConnectionsTest, Arguments_AConnectionGoesToTheNewProcessAndThisOneHasItNoMore) {
  auto [ours, theirs] = Pipe();
  Process process = make(answer, std::move(theirs), 100);
  process.start();
  ours.send(1);
  ASSERT_TRUE(ours.poll(30s));
  EXPECT_EQ(ours.recv<int>(), 101);
  ours.send(-1);
  // Nobody has the other end once the process is gone, though its object is still here.
  ASSERT_TRUE(ours.poll(30s));
  EXPECT_EQ(test::thrown_code([&, &end = ours] { (void)end.recv(); }), ErrorKind::end_of_stream);
  process.join();
  EXPECT_EQ(process.exit_code(), 0);
}

TEST_P(ProcessConnectionsTest, Arguments_WhatTheChildClosesIsClosed) {
  auto [ours, theirs] = Pipe(Direction::receive);
  Process process = make(
      [](Connection connection) {
        connection.send(std::string("last"));
        connection.close();
        test::sleep_long();
      },
      std::move(theirs));
  process.start();
  EXPECT_EQ(ours.recv<std::string>(), "last");
  ASSERT_TRUE(ours.poll(30s));
  EXPECT_EQ(test::thrown_code([&, &end = ours] { (void)end.recv(); }), ErrorKind::end_of_stream);
  EXPECT_TRUE(process.is_alive());
  process.kill();
  process.join();
}

TEST_P(ProcessConnectionsTest, Arguments_SeveralConnectionsKeepTheirPlaces) {
  Pipe one;
  Pipe two(Direction::send);
  Process process = make(
      [](std::tuple<int, Connection> first, Connection second) {
        std::get<1>(first).send(std::string("one"));
        if (second.direction() != Direction::receive || second.recv<std::string>() != "two") std::exit(3);
      },
      std::tuple(1, std::move(one.second)), std::move(two.second));
  process.start();
  two.first.send(std::string("two"));
  EXPECT_EQ(one.first.recv<std::string>(), "one");
  process.join();
  EXPECT_EQ(process.exit_code(), 0);
}

TEST_P(ProcessConnectionsTest, Arguments_AProcessThatIsNotStartedKeepsTheConnection) {
  auto [ours, theirs] = Pipe();
  {
    const Process process = make(answer, std::move(theirs), 1);
    EXPECT_FALSE(ours.poll());
  }
  EXPECT_TRUE(ours.poll(30s)) << "and lets go of it with the object";
}

TEST_P(ProcessConnectionsTest, Wait_TakesConnectionsSocketsAndSentinelsTogether) {
  auto [ours, theirs] = Pipe();
  Listener listener(Address::abstract(test::unique_segment_name()));
  Process process = make(answer, std::move(theirs), 7);
  process.start();
  const int sentinel = process.sentinel();
  EXPECT_THAT(wait({ours, sentinel}, 10ms), IsEmpty());
  ours.send(1);
  EXPECT_THAT(wait({ours, sentinel}, 30s), ElementsAre(ours.fileno()));
  EXPECT_EQ(ours.recv<int>(), 8);
  Client client(listener.address());
  Connection accepted = listener.accept(30s);
  client.send(0);
  EXPECT_THAT(wait({ours, accepted, Waitable(sentinel)}, 30s), ElementsAre(accepted.fileno()));
  EXPECT_EQ(accepted.recv<int>(), 0);
  process.kill();
  EXPECT_THAT(wait({accepted, Waitable(sentinel)}, 30s), ElementsAre(sentinel));
  process.join();
  EXPECT_THAT(wait({ours, accepted, Waitable(sentinel)}, 30s), ElementsAre(ours.fileno(), sentinel));
}

}  // namespace
}  // namespace runrig
