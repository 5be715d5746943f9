#include "process/fork_server.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <pthread.h>
#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "process_support.hpp"
#include "runrig/engine/process.hpp"
#include "runrig/shm/value.hpp"
#include "runrig/sync/killpoint.hpp"

namespace runrig {
namespace {

using detail::fork_server_pid;
using testing::IsEmpty;
using namespace std::chrono_literals;

#ifdef RUNRIG_NIGHTLY
constexpr int children = 5'000;
#else
constexpr int children = 300;
#endif

class ForkServerTest : public testing::Test {
 protected:
  template <class... Args>
  [[nodiscard]] static Process make(Args... args) {
    return Process(test::with_method(StartMethod::forkserver), std::move(args)...);
  }
  static int run(Process process) {
    process.start();
    EXPECT_TRUE(process.join(30s));
    return process.exit_code().value_or(-1000);
  }
  static pid_t kill_server(int signal = SIGKILL) {
    const pid_t pid = fork_server_pid();
    EXPECT_GT(pid, 0);
    ::kill(pid, signal);
    return pid;
  }
};

TEST_F(ForkServerTest, OneServerIsStartedWhenItIsNeededAndServesAll) {
  EXPECT_EQ(test::run_in_child([] {
              EXPECT_EQ(fork_server_pid(), 0) << "the server of the parent is none of a forked child";
              for (int i = 0; i < 3; ++i) EXPECT_EQ(run(make([] { std::exit(3); })), 3);
              const pid_t server = fork_server_pid();
              EXPECT_GT(server, 0);
              EXPECT_EQ(run(make([] { std::exit(3); })), 3);
              EXPECT_EQ(fork_server_pid(), server);
              detail::stop_fork_server();
              EXPECT_EQ(fork_server_pid(), 0);
              EXPECT_THAT(test::own_children(), IsEmpty());
            }),
            0);
}

TEST_F(ForkServerTest, ServerIsSingleThreadedAndHoldsNoFilesOfTheParent) {
  const UniqueFd careless(::dup(0));  // without close-on-exec
  detail::stop_fork_server();
  EXPECT_EQ(run(make([] {})), 0);
  const std::string server = "/proc/" + std::to_string(fork_server_pid());
  const auto count = [](const std::string& folder) {
    return std::distance(std::filesystem::directory_iterator(folder), std::filesystem::directory_iterator());
  };
#if !defined(__SANITIZE_THREAD__)
  EXPECT_EQ(count(server + "/task"), 1);
#endif
  // stdin, stdout, stderr, its end of the connection, the parent.
  EXPECT_TRUE(test::eventually([&] { return count(server + "/fd") == 5; }, 2s)) << count(server + "/fd");
  EXPECT_EQ(std::filesystem::read_symlink(server + "/cwd"), "/");
}

TEST_F(ForkServerTest, ServerIgnoresWhatIsSentToTheWholeGroup) {
  EXPECT_EQ(run(make([] {})), 0);
  const pid_t server = fork_server_pid();
  for (const int signal : {SIGINT, SIGTERM, SIGHUP, SIGQUIT}) kill_server(signal);
  EXPECT_EQ(run(make([] { std::exit(4); })), 4);
  EXPECT_EQ(fork_server_pid(), server);
}

// P12
TEST_F(ForkServerTest, KilledServer_IsStartedAgainByTheNextStart) {
  EXPECT_EQ(run(make([] {})), 0);
  for (int i = 0; i < 5; ++i) {
    const pid_t killed = kill_server();
    EXPECT_EQ(run(make([] { std::exit(4); })), 4);
    EXPECT_NE(fork_server_pid(), killed);
  }
  EXPECT_EQ(test::own_children().size(), 1U) << "the dead servers must have been reaped";
}

// P12
TEST_F(ForkServerTest, KilledServer_IsNothingToRunningChildrenAndTheirExitCodesArrive) {
  test::Board board;
  const auto body = [](std::string name, int code) {
    const test::Board there(name);
    while (there[0] == 0) std::this_thread::sleep_for(1ms);
    std::exit(code);
  };
  std::vector<Process> processes;
  for (int i = 0; i < 4; ++i) {
    processes.push_back(make(body, board.name(), 10 + i));
    processes.back().start();
  }
  Process sleeper = make(test::sleep_long);
  sleeper.start();
  const pid_t killed = kill_server();
  EXPECT_TRUE(test::eventually([&] { return !test::process_lives(killed); }));
  for (const Process& each : processes) EXPECT_TRUE(each.is_alive());
  board[0] = 1;
  for (int i = 0; i < 4; ++i) {
    EXPECT_TRUE(processes[static_cast<std::size_t>(i)].join(30s));
    EXPECT_EQ(processes[static_cast<std::size_t>(i)].exit_code(), 10 + i);
  }
  sleeper.terminate();
  EXPECT_TRUE(sleeper.join(30s));
  EXPECT_EQ(sleeper.exit_code(), -SIGTERM);
}

TEST_F(ForkServerTest, StoppedServer_DelaysStartsOnly) {
  EXPECT_EQ(run(make([] {})), 0);
  const pid_t server = kill_server(SIGSTOP);
  std::thread waker([server] {
    std::this_thread::sleep_for(100ms);
    ::kill(server, SIGCONT);
  });
  ProcessOptions options = test::with_method(StartMethod::forkserver);
  EXPECT_EQ(run(Process(options, [] { std::exit(4); })), 4);
  waker.join();
}

class ForkServerKillpointTest : public testing::TestWithParam<const char*> {};

// Whatever step the server is killed at: the child runs once, and its end is known.
TEST_P(ForkServerKillpointTest, ServerKilledThere_TheChildRunsExactlyOnce) {
  if (!killpoint::compiled_in()) GTEST_SKIP() << "this build has no kill points";
  EXPECT_EQ(test::run_in_child([&] {
              test::Board board;
              const auto body = [](std::string name, int code) {
                test::Board{name}[0] += 1;
                std::exit(code);
              };
              // Each server reads it from its environment, serves once, and is killed when it serves again.
              ::setenv("RUNRIG_KILLPOINT", (std::string(GetParam()) + ":2").c_str(), 1);
              std::set<pid_t> servers;
              for (int i = 0; i < 10; ++i) {
                board[0] = 0;
                Process process(test::with_method(StartMethod::forkserver), body, board.name(), i);
                process.start();
                servers.insert(fork_server_pid());
                EXPECT_TRUE(process.join(30s));
                EXPECT_EQ(process.exit_code(), i);
                EXPECT_EQ(board[0], 1);
              }
              EXPECT_GE(servers.size(), 5U) << "none was killed";
              detail::stop_fork_server();
              EXPECT_THAT(test::own_children(), IsEmpty());
            }),
            0);
}

INSTANTIATE_TEST_SUITE_P(Points, ForkServerKillpointTest,
                         testing::Values("process.server.received", "process.server.forked"), [](const auto& each) {
                           std::string name = each.param;
                           std::replace(name.begin(), name.end(), '.', '_');
                           return name;
                         });

TEST_F(ForkServerTest, KilledAtRandomWhileItIsAtWork_EveryChildRunsExactlyOnce) {
  EXPECT_EQ(test::run_in_child(
                [&] {
                  test::Board board;
                  const auto body = [](std::string name, int code) {
                    test::Board{name}[0] += 1;
                    std::exit(code);
                  };
                  EXPECT_EQ(run(make([] {})), 0);
                  std::atomic<bool> stop{false};
                  std::atomic<int> kills{0};
                  std::atomic<int> starts{0};
                  std::thread killer([&] {
                    unsigned seed = 20261128;
                    for (int last = 0; !stop; last = starts) {
                      std::this_thread::sleep_for(std::chrono::milliseconds(5 + ::rand_r(&seed) % 60));
                      // A machine that is too busy to start a server between two kills would find that none can be.
                      while (starts == last && !stop) std::this_thread::sleep_for(1ms);
                      if (const pid_t server = fork_server_pid(); server != 0 && ::kill(server, SIGKILL) == 0) ++kills;
                    }
                  });
                  int failed_starts = 0;
                  for (int i = 0; i < children; ++i) {
                    board[0] = 0;
                    Process process = make(body, board.name(), i % 200);
                    try {
                      process.start();
                      ++starts;
                    } catch (const Error& error) {
                      ++starts;
                      // Killed five times in a row.
                      EXPECT_EQ(error.code(), std::errc::resource_unavailable_try_again);
                      EXPECT_EQ(board[0], 0);
                      ++failed_starts;
                      continue;
                    }
                    EXPECT_TRUE(process.join(30s));
                    EXPECT_EQ(process.exit_code(), i % 200);
                    EXPECT_EQ(board[0], 1);
                  }
                  stop = true;
                  killer.join();
                  EXPECT_GT(kills, 0);
                  EXPECT_LT(failed_starts, children / 2);
                  detail::stop_fork_server();
                  EXPECT_THAT(test::own_children(), IsEmpty());
                },
                300s),
            0);
}

// What libc knows of the first thread must hold in a child that was made without its fork().
TEST_F(ForkServerTest, LibcKnowsTheThreadOfAChild) {
  test::Board board;
  const auto body = [](std::string name) {
    const test::Board there(name);
    // Robust and checked mutexes go by the thread's number.
    auto* const mutex = reinterpret_cast<pthread_mutex_t*>(&there[16]);
    const int locked = ::pthread_mutex_lock(mutex);
    if (locked != 0) std::exit(10);
    if (::pthread_mutex_lock(mutex) != EDEADLK) std::exit(11);
    if (mutex->__data.__owner != ::gettid()) std::exit(12);
    ::raise(SIGKILL);
  };
  pthread_mutexattr_t attributes;
  ::pthread_mutexattr_init(&attributes);
  ::pthread_mutexattr_setpshared(&attributes, PTHREAD_PROCESS_SHARED);
  ::pthread_mutexattr_setrobust(&attributes, PTHREAD_MUTEX_ROBUST);
  ::pthread_mutexattr_settype(&attributes, PTHREAD_MUTEX_ERRORCHECK);
  auto* const mutex = reinterpret_cast<pthread_mutex_t*>(&board[16]);
  ASSERT_EQ(::pthread_mutex_init(mutex, &attributes), 0);
  EXPECT_EQ(run(make(body, board.name())), -SIGKILL);
  EXPECT_EQ(::pthread_mutex_trylock(mutex), EOWNERDEAD) << "the kernel must know the list of its robust mutexes";
  EXPECT_EQ(::pthread_mutex_consistent(mutex), 0);
  ::pthread_mutex_unlock(mutex);
  ::pthread_mutex_destroy(mutex);
  ::pthread_mutexattr_destroy(&attributes);
}

TEST_F(ForkServerTest, ChildrenMayHaveThreads) {
  const auto body = [] {
    int sum = 0;
    std::thread([&] { sum = 5; }).join();
    std::exit(sum);
  };
  EXPECT_EQ(run(make(body)), 5);
}

// Children allocate in heaps of their own, though libc did not tell them that they are copies.
TEST_F(ForkServerTest, ChildrenMayMakeSharedValues) {
  const auto body = [] {
    Value<int> value(41);
    value.with_lock([](int& each) { ++each; });
    std::exit(value.get());
  };
  EXPECT_EQ(run(make(body)), 42);
}

}  // namespace
}  // namespace runrig
