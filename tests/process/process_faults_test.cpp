// What goes wrong around processes, and what must not be left then.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/sched.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <functional>
#include <string>
#include <thread>
#include <vector>

#include "process_support.hpp"
#include "runrig/engine/pool.hpp"
#include "runrig/engine/process.hpp"
#include "runrig/sync/error.hpp"

namespace runrig {
namespace {

using testing::HasSubstr;
using testing::IsEmpty;
using namespace std::chrono_literals;

class ProcessFaultsTest : public test::EachStartMethod {};

#if defined(RUNRIG_NIGHTLY)
constexpr int many = 10'000;
#elif defined(__SANITIZE_THREAD__) || defined(__SANITIZE_ADDRESS__)
constexpr int many = 100;  // each begins with the sanitizer's 100 ms
#else
constexpr int many = 1'000;
#endif

TEST_P(ProcessFaultsTest, ManyProcessesInARowLeaveNothing) {
  const auto start_some = [&](int count) {
    for (int i = 0; i < count; ++i) {
      Process process = make([](int code) { std::exit(code); }, i % 100);
      process.start();
      ASSERT_TRUE(process.join(60s));
      ASSERT_EQ(process.exit_code(), i % 100);
    }
  };
  start_some(many / 10);  // the server runs, and buffers have their size
  const std::size_t descriptors = test::open_descriptors();
  [[maybe_unused]] const std::size_t memory = test::own_memory_kib();
  const std::size_t children = test::own_children().size();
  start_some(many);
  EXPECT_EQ(test::open_descriptors(), descriptors);
  EXPECT_EQ(test::own_children().size(), children) << "zombies";
#if !defined(__SANITIZE_ADDRESS__)  // which keeps what is freed for a while
  EXPECT_LE(test::own_memory_kib(), memory + 256);
#endif
  EXPECT_THAT(active_children(), IsEmpty());
}

TEST_P(ProcessFaultsTest, ProcessesThatNobodyJoinsAreJoinedByTheNextStart) {
  for (int i = 0; i < 50; ++i) {
    Process process = make([] {});
    process.start();
    (void)wait({process.sentinel()}, 30s);
  }
  Process last = make([] {});
  last.start();
  last.join();
  EXPECT_THAT(active_children(), IsEmpty());
  // A fork server that another test has started is the one child there may be.
  EXPECT_LE(test::own_children().size(), 1U);
}

// O7
TEST_P(ProcessFaultsTest, SigchldIgnored_TheStatusIsUnknownAndNothingHangs) {
  EXPECT_EQ(test::run_in_child([&] {
              ::signal(SIGCHLD, SIG_IGN);
              for (int i = 0; i < 20; ++i) {
                Process process = make([] { std::exit(3); });
                process.start();
                EXPECT_TRUE(process.join(30s));
                EXPECT_FALSE(process.is_alive());
                EXPECT_FALSE(process.exit_code_is_known());
                EXPECT_EQ(process.exit_code(), 255);
                EXPECT_THAT(wait({process.sentinel()}, 0s), testing::SizeIs(1));
              }
              Process slow = make(test::sleep_long);
              slow.start();
              EXPECT_FALSE(slow.join(50ms));
              EXPECT_EQ(slow.exit_code(), std::nullopt);
              slow.terminate();
              EXPECT_TRUE(slow.join(30s));
              EXPECT_EQ(slow.exit_code(), 255);
              EXPECT_THAT(active_children(), IsEmpty());
            }),
            0);
}

TEST_P(ProcessFaultsTest, SigchldWithoutZombies_TheStatusIsUnknownAndNothingHangs) {
  EXPECT_EQ(test::run_in_child([&] {
              struct sigaction action {};
              action.sa_handler = SIG_DFL;
              action.sa_flags = SA_NOCLDWAIT;
              ASSERT_EQ(::sigaction(SIGCHLD, &action, nullptr), 0);
              Process process = make([] { std::exit(3); });
              process.start();
              EXPECT_TRUE(process.join(30s));
              EXPECT_FALSE(process.exit_code_is_known());
              EXPECT_EQ(process.exit_code(), 255);
              EXPECT_THAT(active_children(), IsEmpty());
            }),
            0);
}

TEST_P(ProcessFaultsTest, SomebodyElseWaitsForAllChildren_TheStatusIsUnknown) {
  EXPECT_EQ(test::run_in_child([&] {
              Process process = make([] { std::exit(3); });
              process.start();
              const auto pid = *process.pid();
              while (::waitpid(-1, nullptr, 0) != pid) {
              }
              EXPECT_TRUE(process.join(30s));
              EXPECT_FALSE(process.exit_code_is_known());
              EXPECT_EQ(process.exit_code(), 255);
            }),
            0);
}

constexpr int not_permitted = 77;

// In a PID namespace of our own, where a process can be made under a number of our choice.
int in_own_pid_namespace(const std::function<void()>& body) {
  return test::run_in_child([&] {
    if (::unshare(CLONE_NEWUSER | CLONE_NEWPID) != 0) ::_exit(not_permitted);
    ::_exit(test::run_in_child(body));
  });
}

pid_t fork_as(pid_t number) {
  clone_args arguments{};
  arguments.exit_signal = SIGCHLD;
  arguments.set_tid = reinterpret_cast<std::uint64_t>(&number);
  arguments.set_tid_size = 1;
  return static_cast<pid_t>(::syscall(SYS_clone3, &arguments, sizeof arguments));
}

// O6
TEST_P(ProcessFaultsTest, PidReused_TheStrangerIsNotSignalledNorTakenForTheProcess) {
  const int code = in_own_pid_namespace([&] {
    ::signal(SIGCHLD, SIG_IGN);  // so that the number is free at once
    Process process = make([] {});
    process.start();
    EXPECT_THAT(wait({process.sentinel()}, 30s), testing::SizeIs(1));
    const pid_t stranger = fork_as(*process.pid());
    if (stranger == 0) {
      for (;;) ::pause();
    }
    if (stranger == -1) ::_exit(not_permitted);
    ASSERT_EQ(stranger, process.pid());
    process.terminate();
    process.kill();
    EXPECT_FALSE(process.is_alive());
    EXPECT_TRUE(process.join(0s));
    EXPECT_FALSE(test::eventually([&] { return ::kill(stranger, 0) == -1; }, 200ms));
    EXPECT_THAT(active_children(), IsEmpty());
    ::kill(stranger, SIGKILL);
  });
  if (code == not_permitted) GTEST_SKIP() << "no PID namespace can be made here";
  EXPECT_EQ(code, 0);
}

// F4
TEST_P(ProcessFaultsTest, NoDescriptorsLeft_IsACleanErrorAndPasses) {
#if defined(__SANITIZE_ADDRESS__)
  GTEST_SKIP() << "the sanitizer of undefined behaviour needs descriptors itself, and reports what is right without";
#endif
  EXPECT_EQ(test::run_in_child(
                [&] {
                  Process first = make([] {});
                  first.start();
                  first.join();
                  first.close();
                  const std::size_t before = test::open_descriptors();
                  rlimit former{};
                  ::getrlimit(RLIMIT_NOFILE, &former);
                  // Each number of descriptors that are left, up to where it works.
                  int failures = 0;
                  for (rlim_t left = 0;; ++left) {
                    std::vector<int> taken;
                    const rlimit limit{static_cast<rlim_t>(before + 64), former.rlim_max};
                    ::setrlimit(RLIMIT_NOFILE, &limit);
                    for (int fd = ::dup(0); fd != -1; fd = ::dup(0)) taken.push_back(fd);
                    for (rlim_t i = 0; i < left; ++i) {
                      ::close(taken.back());
                      taken.pop_back();
                    }
                    bool worked = false;
                    Process process(options({.name = "starved"}), [] { std::exit(3); });
                    try {
                      process.start();
                      worked = true;
                    } catch (const Error& error) {
                      ++failures;
                      EXPECT_EQ(error.code(), std::errc::too_many_files_open) << error.what();
                    }
                    for (const int fd : taken) ::close(fd);
                    ::setrlimit(RLIMIT_NOFILE, &former);
                    if (!worked) {
                      EXPECT_EQ(process.pid(), std::nullopt);
                      process.start();  // the same object, once there is room
                    }
                    EXPECT_TRUE(process.join(30s));
                    EXPECT_EQ(process.exit_code(), 3);
                    process.close();
                    EXPECT_EQ(test::open_descriptors(), before);
                    if (worked || left > 40) break;
                  }
                  EXPECT_GT(failures, 0);
                },
                120s),
            0);
}

// From now on, in this process and what it starts, clones with one of these flags (or with none of them) fail. The
// means of an unprivileged test: the kernel itself says that there can be no more processes.
void refuse_clones(StartMethod method) {
#if defined(__x86_64__)
  // The low word of the first argument is tested. glibc falls back to clone where clone3 is not known.
  const std::uint32_t mark = method == StartMethod::forkserver ? CLONE_PARENT : CLONE_VFORK;
  const bool marked = method != StartMethod::fork;
  const std::array filter{
      sock_filter BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, nr)),
      sock_filter BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_clone3, 4, 0),
      sock_filter BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_clone, 0, 4),
      sock_filter BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, args)),
      sock_filter BPF_JUMP(BPF_JMP | BPF_JSET | BPF_K, mark, static_cast<std::uint8_t>(marked ? 0 : 2),
                           static_cast<std::uint8_t>(marked ? 2 : 0)),
      sock_filter BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EAGAIN),
      sock_filter BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | ENOSYS),
      sock_filter BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
  };
  const sock_fprog program{static_cast<unsigned short>(filter.size()), const_cast<sock_filter*>(filter.data())};
  check_errno(::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), "set", "no_new_privs");
  check_errno(::prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program), "install", "filter");
#else
  (void)method;
#endif
}

// P13
TEST_P(ProcessFaultsTest, NoMoreProcesses_IsTheOriginalErrorAndLeavesNothing) {
#if !defined(__x86_64__)
  GTEST_SKIP() << "the filter that refuses new processes is written for x86-64";
#endif
  EXPECT_EQ(test::run_in_child([&] {
              Process earlier(options({.daemon = true}), test::sleep_long);
              // A fork server would be made before the filter, and not be bound by it.
              if (GetParam() != StartMethod::forkserver) earlier.start();
              const std::size_t before = test::open_descriptors();
              refuse_clones(GetParam());
              Process process(options({.name = "one too many"}), [] {});
              for (int i = 0; i < 3; ++i) {
                EXPECT_EQ(test::thrown_code([&] { process.start(); }), std::errc::resource_unavailable_try_again);
              }
              EXPECT_THAT(test::thrown_text([&] { process.start(); }), HasSubstr("'one too many'"));
              EXPECT_EQ(process.pid(), std::nullopt);
              EXPECT_FALSE(process.is_alive());
              const bool has_server = GetParam() == StartMethod::forkserver;
              EXPECT_EQ(active_children().size(), has_server ? 0U : 1U);
              EXPECT_EQ(test::own_children().size(), 1U);
              EXPECT_EQ(test::open_descriptors(), before + (has_server ? 2 : 0))
                  << "connection and sentinel of the server";
              if (!has_server) {
                earlier.kill();
                EXPECT_TRUE(earlier.join(30s));
              }
            }),
            0);
}

// F1
TEST_P(ProcessFaultsTest, BesideOtherThreads_ForkIsRefusedInWordsAndTheOthersWork) {
  std::atomic<bool> stop{false};
  std::thread other([&] {
    while (!stop) std::this_thread::sleep_for(1ms);
  });
  ProcessOptions given;
  given.start_method = GetParam();
  Process process(given, [] { std::exit(3); });
  if (GetParam() == StartMethod::fork) {
    const std::string text = test::thrown_text([&] { process.start(); });
    EXPECT_THAT(text, HasSubstr("threads, and a fork would copy the locks that they hold"));
    EXPECT_THAT(text, HasSubstr("spawn or forkserver"));
    EXPECT_EQ(process.pid(), std::nullopt);
    given.other_threads = OtherThreads::allow;
    process = Process(given, [] { std::exit(3); });
  }
  process.start();
  EXPECT_TRUE(process.join(30s));
  EXPECT_EQ(process.exit_code(), 3);
  stop = true;
  other.join();
}

// F1
TEST_P(ProcessFaultsTest, BesideBusyThreads_AllowedChildrenNeverHang) {
  std::atomic<bool> stop{false};
  std::vector<std::thread> others;
  for (int i = 0; i < 8; ++i) {
    others.emplace_back([&] {
      while (!stop) {
        const std::string text(100 + static_cast<std::size_t>(::rand()) % 1000, 'x');
        Process unstarted(
            ProcessOptions{}, [](std::string) {}, text);
        (void)unstarted.name();
        std::this_thread::sleep_for(1ms);
      }
    });
  }
  ProcessOptions given;
  given.start_method = GetParam();
  given.other_threads = OtherThreads::allow;
#ifdef RUNRIG_NIGHTLY
  constexpr int rounds = 1'000;
#else
  constexpr int rounds = 100;
#endif
  int right = 0;
  for (int i = 0; i < rounds; ++i) {
    Process process(
        given, [](std::string text) { std::exit(static_cast<int>((text + text).size())); }, std::string("abc"));
    process.start();
    if (!process.join(30s)) {
      process.kill();
      process.join();
    }
    right += process.exit_code() == 6 ? 1 : 0;
  }
  stop = true;
  for (auto& each : others) each.join();
  EXPECT_EQ(right, rounds);
}

TEST_P(ProcessFaultsTest, ProcessesAreStartedByManyThreadsAtATime) {
  std::atomic<int> right{0};
  std::vector<std::thread> starters;
  for (int i = 0; i < 4; ++i) {
    starters.emplace_back([&, i] {
      for (int k = 0; k < 10; ++k) {
        ProcessOptions given;
        given.start_method = GetParam();
        given.other_threads = OtherThreads::allow;
        Process process(
            given, [](int code) { std::exit(code); }, 10 * i + k);
        process.start();
        if (process.join(60s) && process.exit_code() == 10 * i + k) ++right;
        (void)active_children();
      }
    });
  }
  for (auto& each : starters) each.join();
  EXPECT_EQ(right, 40);
}

TEST_P(ProcessFaultsTest, SeveralThreadsMayJoinOneProcess) {
  Process process = make([] {
    std::this_thread::sleep_for(50ms);
    std::exit(7);
  });
  process.start();
  std::vector<std::thread> joiners;
  std::atomic<int> right{0};
  for (int i = 0; i < 4; ++i) {
    joiners.emplace_back([&] {
      if (process.join(30s) && process.exit_code() == 7) ++right;
    });
  }
  for (auto& each : joiners) each.join();
  EXPECT_EQ(right, 4);
}

TEST_P(ProcessFaultsTest, BesideAPoolAndSegments) {
#if defined(__SANITIZE_THREAD__)
  GTEST_SKIP() << "pools fork, which the thread sanitizer does not follow";
#endif
  Pool pool(1);
  test::Board board;
  const auto body = [](std::string name) { test::Board{name}[0] += 1; };
  for (int i = 1; i <= 3; ++i) {
    EXPECT_EQ(run(body, board.name()), 0);
    EXPECT_EQ(board[0], i);
    LaunchOptions launch_options;
    launch_options.slices = 2;
    pool.launch(launch_options, [](SliceContext&) {}).wait();
  }
  EXPECT_EQ(pool.workers_lost(), 0U);
}

TEST_P(ProcessFaultsTest, PoolWorkersMayNotHaveChildren) {
#if defined(__SANITIZE_THREAD__)
  GTEST_SKIP() << "pools fork, which the thread sanitizer does not follow";
#endif
  Pool pool(1);
  LaunchOptions launch_options;
  launch_options.slices = 1;
  const StartMethod method = GetParam();
  Launch launch =
      pool.launch(launch_options, [method](SliceContext&) { Process(test::with_method(method), [] {}).start(); });
  EXPECT_THAT(test::thrown_text([&] { launch.get(); }), HasSubstr("worker"));
}

RUNRIG_FOR_EACH_START_METHOD(ProcessFaultsTest);

}  // namespace
}  // namespace runrig
