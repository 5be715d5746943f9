#include "runrig/channel/wait.hpp"

#include <gmock/gmock.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <array>
#include <chrono>
#include <thread>
#include <vector>

#include "runrig/sync/error.hpp"
#include "support.hpp"

namespace runrig {
namespace {

using namespace std::chrono_literals;
using ::testing::ElementsAre;
using ::testing::IsEmpty;

UniqueFd sentinel_of(const test::Child& child) {
  return UniqueFd(static_cast<int>(::syscall(SYS_pidfd_open, child.pid(), 0)));
}

TEST(WaitTest, Wait_TakesConnectionsSocketsAndSentinelsTogether) {
  auto [reader, writer] = Pipe(Direction::receive);
  auto [near, far] = Pipe();
  std::array<int, 2> sockets{};
  ASSERT_EQ(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sockets.data()), 0);
  const UniqueFd ours(sockets[0]);
  const UniqueFd theirs(sockets[1]);
  test::Child child([] { std::this_thread::sleep_for(60s); });
  const UniqueFd sentinel = sentinel_of(child);
  const auto ready = [&, &reader = reader, &near = near](std::chrono::nanoseconds timeout) {
    return wait({reader, near, ours.get(), sentinel.get()}, timeout);
  };
  EXPECT_THAT(ready(0s), IsEmpty());
  far.send(1);
  EXPECT_THAT(ready(30s), ElementsAre(near.fileno()));
  child.signal(SIGKILL);
  EXPECT_THAT(wait({reader, sentinel.get()}, 30s), ElementsAre(sentinel.get()));
  ASSERT_EQ(::write(theirs.get(), "x", 1), 1);
  writer.close();
  EXPECT_THAT(ready(30s), ElementsAre(reader.fileno(), near.fileno(), ours.get(), sentinel.get()))
      << "the end is something to receive, too";
  EXPECT_EQ(near.recv<int>(), 1);
  EXPECT_THAT(ready(0s), ElementsAre(reader.fileno(), ours.get(), sentinel.get()));
}

TEST(WaitTest, Wait_TakesAnyRange) {
  std::vector<Connection> ends;
  Pipe pipe;
  ends.push_back(std::move(pipe.first));
  EXPECT_THAT(wait(ends, 1ms), IsEmpty());
  pipe.second.send(0);
  EXPECT_THAT(wait(ends), ElementsAre(ends[0].fileno()));
  EXPECT_THAT(wait(std::vector<int>{}, 1ms), IsEmpty());
  ends[0].close();
  EXPECT_THROW((void)wait(ends), std::logic_error);
  EXPECT_EQ(test::thrown_code([] { (void)wait({1'000'000}); }), std::errc::bad_file_descriptor);
}

}  // namespace
}  // namespace runrig
