// What pools promise when processes die: pitfalls P1-P7, P13, O7. See also pool_kills_test.cpp, pool_orphans_test.cpp.

#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/time.h>
#include <sys/wait.h>

#include <chrono>
#include <stdexcept>
#include <thread>

#include "pool_test_support.hpp"
#include "runrig/engine/pool.hpp"

namespace runrig {
namespace {

using namespace std::chrono_literals;
using test::ArenaArray;

class PoolFaults : public ::testing::Test {
 protected:
  void SetUp() override { RUNRIG_NEED_FORKS(); }
};

LaunchOptions going_on(std::uint32_t count) {
  LaunchOptions options = test::slices(count);
  options.keep_going = true;
  return options;
}

// Waits for one second of promise, with some for a busy machine.
using test::promised;

[[gnu::noinline]] int eat_stack(int depth) {
  volatile char page[4096];
  page[0] = static_cast<char>(depth);
  return depth == 1 << 30 ? 0 : eat_stack(depth + 1) + page[0];
}

struct Death {
  const char* label;
  int kind;
  int signal;
  int exit_code;
};
void PrintTo(const Death& death, std::ostream* out) { *out << death.label; }

void die(int kind) {
  switch (kind) {
    case 0:
      ::raise(SIGSEGV);
      break;
    case 1:
      std::abort();
    case 2:
      ::_exit(3);
    case 3:
      std::exit(4);  // NOLINT(concurrency-mt-unsafe)
    case 4:
      ::exit(eat_stack(0));
    case 5:
      std::terminate();
    case 6:
      ::raise(SIGKILL);
      break;
    default:
      ::raise(SIGTERM);
  }
}

class PoolDeaths : public ::testing::TestWithParam<Death> {
 protected:
  void SetUp() override { RUNRIG_NEED_FORKS(); }
};

TEST_P(PoolDeaths, AreReportedWithSliceAndReasonAndTheOthersGoOn) {
#if defined(__SANITIZE_ADDRESS__)
  if (GetParam().kind == 4) GTEST_SKIP() << "the address sanitizer reports the overflow and leaves by itself";
#endif
  Pool pool(2);
  const ArenaArray<std::atomic<int>> runs(pool.arena(), 20);
  auto* const count = runs.data();
  const int kind = GetParam().kind;
  auto launch = pool.launch(going_on(20), [=](SliceContext& context) {
    count[context.slice()].fetch_add(1);
    if (context.slice() == 7) die(kind);
  });
  ASSERT_TRUE(launch.wait(Deadline::after(promised)));
  const SliceOutcome outcome = launch.outcome(7);
  EXPECT_EQ(outcome.state, SliceState::lost);
  EXPECT_EQ(outcome.attempts, 2);
  EXPECT_EQ(runs[7].load(), 2);
  EXPECT_GT(outcome.worker, 0);
#if !defined(__SANITIZE_ADDRESS__)  // which turns a SIGSEGV into a report and an exit
  EXPECT_EQ(outcome.signal, GetParam().signal);
  EXPECT_EQ(outcome.exit_code, GetParam().exit_code);
#endif
  EXPECT_FALSE(outcome.message.empty());
  for (std::uint32_t i = 0; i < 20; ++i) {
    if (i != 7) {
      EXPECT_EQ(launch.outcome(i).state, SliceState::done) << i;
    }
  }
  EXPECT_EQ(pool.workers_lost(), 2U);
  pool.launch(going_on(50), [](SliceContext&) {}).get();
}

INSTANTIATE_TEST_SUITE_P(Kinds, PoolDeaths,
                         ::testing::Values(Death{"segv", 0, SIGSEGV, 0}, Death{"abort", 1, SIGABRT, 0},
                                           Death{"underscore_exit", 2, 0, 3}, Death{"exit", 3, 0, 4},
                                           Death{"stack_overflow", 4, SIGSEGV, 0}, Death{"terminate", 5, SIGABRT, 0},
                                           Death{"kill", 6, SIGKILL, 0}, Death{"term", 7, SIGTERM, 0}),
                         [](const auto& each) { return std::string(each.param.label); });

TEST_F(PoolFaults, CrashIsFinalAtOnceWhereRetriesAreOffAndAKillIsNot) {
  Pool pool(2);
  const ArenaArray<std::atomic<int>> runs(pool.arena(), 3);
  auto* const count = runs.data();
  LaunchOptions options = going_on(3);
  options.retry_crashes = false;
  auto launch = pool.launch(options, [count](SliceContext& context) {
    const int before = count[context.slice()].fetch_add(1);
    if (context.slice() == 0) ::raise(SIGFPE);
    if (context.slice() == 1 && before == 0) ::raise(SIGKILL);
    if (context.slice() == 2) ::_exit(9);
  });
  launch.wait();
  EXPECT_EQ(launch.outcome(0).state, SliceState::lost);
  EXPECT_EQ(launch.outcome(0).attempts, 1);
  EXPECT_EQ(launch.outcome(0).message, "was killed by SIGFPE");
  EXPECT_EQ(launch.outcome(1).state, SliceState::done);
  EXPECT_EQ(launch.outcome(1).attempts, 2);
  EXPECT_EQ(launch.outcome(2).message, "left with exit code 9");
  EXPECT_EQ(launch.outcome(2).attempts, 1);
}

TEST_F(PoolFaults, ExitInASliceRunsNoExitHandlerOfTheParent) {
  EXPECT_EQ(test::run_in_child([&] {
              Pool pool(1);
              const ArenaArray<std::atomic<int>> calls(pool.arena(), 1);
              static std::atomic<int>* handler_calls = nullptr;
              handler_calls = calls.data();
              std::atexit([] { handler_calls->fetch_add(1); });
              Pool later(1);  // forked with the handler registered
              LaunchOptions options = going_on(1);
              options.max_kills = 1;
              auto launch = later.launch(options, [](SliceContext&) {
                std::exit(5);  // NOLINT(concurrency-mt-unsafe)
              });
              launch.wait();
              EXPECT_EQ(launch.outcome(0).exit_code, 5);
              EXPECT_EQ(calls[0].load(), 0);
            }),
            0);
}

TEST_F(PoolFaults, PoisonSliceIsReportedAfterAsManyKillsAsAllowed) {
  Pool pool(3);
  LaunchOptions options = going_on(100);
  options.max_kills = 3;
  auto launch = pool.launch(options, [](SliceContext& context) {
    if (context.slice() % 50 == 1) ::raise(SIGKILL);
  });
  launch.wait();
  for (std::uint32_t i = 0; i < 100; ++i) {
    EXPECT_EQ(launch.outcome(i).state, i % 50 == 1 ? SliceState::lost : SliceState::done) << i;
  }
  EXPECT_EQ(launch.outcome(51).attempts, 3);
  EXPECT_EQ(pool.workers_lost(), 6U);
  EXPECT_THROW(launch.get(), WorkerLost);
}

TEST_F(PoolFaults, IdleWorkersThatAreKilledAreReplaced) {
  Pool pool(3);
  for (const pid_t pid : pool.worker_pids()) ::kill(pid, SIGKILL);
  ASSERT_TRUE(test::eventually([&] { return pool.workers_lost() == 3 && pool.worker_pids().size() == 3; }));
  for (const pid_t pid : pool.worker_pids()) EXPECT_TRUE(test::process_lives(pid));
  const ArenaArray<std::atomic<int>> sum(pool.arena(), 1);
  auto* const total = sum.data();
  pool.launch(going_on(100), [total](SliceContext&) { total->fetch_add(1); }).get();
  EXPECT_EQ(total->load(), 100);
}

TEST_F(PoolFaults, EndlessLoopIsStoppedByTheCpuLimit) {
  Pool pool(2);
  LaunchOptions options = going_on(10);
  options.cpu_limit = 100ms;
  const auto start = Clock::now();
  auto launch = pool.launch(options, [](SliceContext& context) {
    volatile std::uint64_t spins = 0;
    while (context.slice() == 4) spins = spins + 1;
  });
  ASSERT_TRUE(launch.wait(Deadline::after(20s)));
  EXPECT_GE(Clock::now() - start, 100ms);
  EXPECT_EQ(launch.outcome(4).state, SliceState::stalled);
  EXPECT_EQ(launch.outcome(4).attempts, 1);
  EXPECT_EQ(launch.outcome(4).message, "used more than 0.1 s of CPU time");
  EXPECT_EQ(launch.outcome(9).state, SliceState::done);
}

TEST_F(PoolFaults, SleepingSliceIsStoppedByTheWallLimitOnly) {
  Pool pool(2);
  LaunchOptions options = going_on(6);
  options.cpu_limit = 10s;
  options.wall_limit = 100ms;
  auto launch = pool.launch(options, [](SliceContext& context) {
    if (context.slice() == 4) std::this_thread::sleep_for(60s);
  });
  ASSERT_TRUE(launch.wait(Deadline::after(10s)));
  EXPECT_EQ(launch.outcome(4).state, SliceState::stalled);
  EXPECT_EQ(launch.outcome(4).message, "took longer than 0.1 s");
  options = going_on(2);
  options.cpu_limit = 50ms;
  auto slow = pool.launch(options, [](SliceContext&) { std::this_thread::sleep_for(200ms); });  // slow is not stalled
  slow.get();
  // Nor is time that an earlier slice took.
  options = going_on(8);
  options.wall_limit = 500ms;
  pool.launch(options, [](SliceContext&) { std::this_thread::sleep_for(150ms); }).get();
}

TEST_F(PoolFaults, TimeInWhichEverybodyIsStoppedDoesNotCount) {
  PoolOptions pool_options;
  pool_options.workers = 1;
  Pool pool(pool_options);
  LaunchOptions options = going_on(1);
  options.wall_limit = 1500ms;
  auto launch = pool.launch(options, [](SliceContext&) { std::this_thread::sleep_for(300ms); });
  std::this_thread::sleep_for(50ms);
  std::vector<pid_t> all = pool.worker_pids();
  all.push_back(pool.template_pid());
  for (const pid_t pid : all) ::kill(pid, SIGSTOP);
  std::this_thread::sleep_for(2s);
  for (const pid_t pid : all) ::kill(pid, SIGCONT);
  launch.get();
}

TEST_F(PoolFaults, StoppedWorkerIsNotTakenForDead) {
  Pool pool(2);
  const pid_t stopped = pool.worker_pids()[0];
  ::kill(stopped, SIGSTOP);
  auto launch = pool.launch(going_on(20), [](SliceContext&) {});
  launch.get();  // the other one does it all
  EXPECT_EQ(pool.workers_lost(), 0U);
  ::kill(stopped, SIGCONT);
  pool.launch(going_on(20), [](SliceContext&) {}).get();
}

TEST_F(PoolFaults, WorkersThatAllDieAtStartAreAnErrorWithItsReasonAndFewForks) {
  auto arena = std::make_shared<Arena>();
  const ArenaArray<std::atomic<int>> starts(*arena, 1);
  PoolOptions options;
  options.workers = 4;
  options.arena = arena;
  options.initializer = [&starts] {
    starts[0].fetch_add(1);
    throw std::runtime_error("cannot find the licence");
  };
  const auto begin = Clock::now();
  std::string text;
  try {
    Pool pool(options);
    auto launch = pool.launch(going_on(3), [](SliceContext&) {});
    ASSERT_TRUE(launch.wait(Deadline::after(10s)));
    EXPECT_EQ(launch.outcome(0).state, SliceState::lost);
    text = test::thrown_text([&] { launch.get(); });
    EXPECT_THROW((void)pool.launch(going_on(1), [](SliceContext&) {}), WorkerLost);
  } catch (const WorkerLost& lost) {
    text = lost.what();
  }
  EXPECT_NE(text.find("each new worker dies at its start"), std::string::npos) << text;
  EXPECT_NE(text.find("the initializer threw std::runtime_error: cannot find the licence"), std::string::npos) << text;
  EXPECT_LE(starts[0].load(), 12);
  EXPECT_LT(Clock::now() - begin, 10s);
}

TEST_F(PoolFaults, CrashingInitializerIsNamedBySignal) {
  PoolOptions options;
  options.workers = 2;
  options.initializer = [] { ::raise(SIGKILL); };
  Pool pool(options);
  auto launch = pool.launch(going_on(1), [](SliceContext&) {});
  ASSERT_TRUE(launch.wait(Deadline::after(10s)));
  EXPECT_NE(launch.outcome(0).message.find("the last one was killed by SIGKILL"), std::string::npos)
      << launch.outcome(0).message;
}

TEST_F(PoolFaults, ForkThatFailsMidwayLeavesNothing) {
  if (::geteuid() != 0) GTEST_SKIP() << "needs root, to become a user with few processes";
  EXPECT_EQ(test::run_in_child([] {
              // A user that nobody has; the limit counts all processes of it.
              ASSERT_EQ(::setresgid(54321, 54321, 54321), 0);
              ASSERT_EQ(::setresuid(54321, 54321, 54321), 0);
              ::prctl(PR_SET_DUMPABLE, 1);
              const rlimit limit{4, 4};
              ASSERT_EQ(::setrlimit(RLIMIT_NPROC, &limit), 0);
              const auto before = test::open_descriptors();
              EXPECT_EQ(test::thrown_code([] { const Pool pool(8); }), std::errc::resource_unavailable_try_again);
              EXPECT_EQ(test::children_of(::getpid()).size(), 0U);
              EXPECT_EQ(test::open_descriptors(), before);
              Pool small(2);
              small.launch(going_on(4), [](SliceContext&) {}).get();
              // Nor can there be another template with all its workers now.
              const rlimit lower{3, 3};
              ASSERT_EQ(::setrlimit(RLIMIT_NPROC, &lower), 0);
              ::kill(small.template_pid(), SIGKILL);
              std::string why;
              EXPECT_TRUE(test::eventually([&] {  // at first perhaps by a worker that outlived its template a little
                why = test::thrown_text([&] { small.apply([] {}); });
                return why.find("there cannot be another") != std::string::npos;
              })) << why;
              EXPECT_EQ(test::children_of(::getpid()).size(), 0U);
              EXPECT_NE(test::thrown_text([&] { small.apply([] {}); }).find("there cannot be another"),
                        std::string::npos);
            }),
            0);
}

TEST_F(PoolFaults, KilledTemplateIsReplacedAndTheLaunchGoesOn) {
  Pool pool(2);
  const ArenaArray<std::atomic<int>> done(pool.arena(), 200);
  const ArenaArray<std::atomic<int>> gate(pool.arena(), 2);
  auto* const data = done.data();
  auto* const opened = &gate[0];
  auto* const came = &gate[1];
  for (int round = 0; round < 3; ++round) {
    *opened = *came = 0;
    const pid_t former = pool.template_pid();
    auto launch = pool.launch(going_on(200), [=](SliceContext& context) {
      came->fetch_add(1);
      while (opened->load() == 0 && context.slice() >= 50) std::this_thread::sleep_for(1ms);
      data[context.slice()].fetch_add(1);
    });
    ASSERT_TRUE(test::eventually([&] { return came->load() == 52; }));
    ::kill(former, SIGKILL);
    ASSERT_TRUE(test::eventually([&] { return !test::process_lives(former); }));  // nor runs any worker of it
    *opened = 1;
    ASSERT_TRUE(launch.wait(Deadline::after(20s)));
    launch.get();
    EXPECT_NE(pool.template_pid(), former);
  }
  for (std::size_t i = 0; i < done.size(); ++i) EXPECT_GE(done[i].load(), 3) << i;
}

TEST_F(PoolFaults, TemplateKilledWhileIdleIsNoticedByTheNextLaunch) {
  Pool pool(2);
  ::kill(pool.template_pid(), SIGKILL);
  const ArenaArray<std::atomic<int>> sum(pool.arena(), 1);
  auto* const total = sum.data();
  auto launch = pool.launch(going_on(10), [total](SliceContext&) { total->fetch_add(1); });
  ASSERT_TRUE(launch.wait(Deadline::after(promised)));
  launch.get();
  EXPECT_GE(total->load(), 10);
}

TEST_F(PoolFaults, KilledTemplateIsNoticedByWhoOnlyAsks) {
  Pool pool(1);
  const ArenaArray<std::atomic<int>> begun(pool.arena(), 1);
  auto* const count = begun.data();
  const auto stay = [count] {
    count->fetch_add(1);
    std::this_thread::sleep_for(60s);
  };
  // Killed before a worker has it, a slice is not lost with the template, but done by the next.
  LaunchOptions options = going_on(1);
  options.max_kills = 1;
  auto launch = pool.launch(options, [stay](SliceContext&) { stay(); });
  ASSERT_TRUE(test::eventually([&] { return count->load() == 1; }));
  ::kill(pool.template_pid(), SIGKILL);
  EXPECT_TRUE(test::eventually([&] { return launch.wait(Deadline::after(0s)); }));
  EXPECT_EQ(launch.outcome(0).state, SliceState::lost);
  auto result = pool.apply_async(stay);
  ASSERT_TRUE(test::eventually([&] { return count->load() == 2; }));
  ::kill(pool.template_pid(), SIGKILL);
  EXPECT_TRUE(test::eventually([&] { return result.ready(); }));
  EXPECT_THROW(result.get(), WorkerLost);
}

TEST_F(PoolFaults, TemplateDeathInANonRepeatableSliceIsReported) {
  Pool pool(1);
  const ArenaArray<std::atomic<int>> begun(pool.arena(), 1);
  auto* const count = begun.data();
  LaunchOptions options = going_on(2);
  options.max_kills = 1;
  auto launch = pool.launch(options, [count](SliceContext& context) {
    count->fetch_add(1);
    if (context.slice() == 0) std::this_thread::sleep_for(60s);
  });
  ASSERT_TRUE(test::eventually([&] { return count->load() == 1; }));
  ::kill(pool.template_pid(), SIGKILL);
  ASSERT_TRUE(launch.wait(Deadline::after(promised)));
  EXPECT_EQ(launch.outcome(0).state, SliceState::lost);
  EXPECT_NE(launch.outcome(0).message.find("was killed"), std::string::npos) << launch.outcome(0).message;
  EXPECT_EQ(launch.outcome(1).state, SliceState::done);
}

TEST_F(PoolFaults, PrivateMemoryOfAWorkerIsLimited) {
#if defined(__SANITIZE_ADDRESS__)
  GTEST_SKIP() << "the address sanitizer's allocator ends the process instead";
#endif
  PoolOptions options;
  options.workers = 1;
  options.worker_data_limit_bytes = std::size_t{64} << 20;
  Pool pool(options);
  auto launch = pool.launch(going_on(1), [](SliceContext&) {
    std::vector<char> much(std::size_t{256} << 20);
    much[much.size() / 2] = 1;
  });
  launch.wait();
  EXPECT_EQ(launch.outcome(0).state, SliceState::failed);
  EXPECT_EQ(launch.outcome(0).exception_type, "std::bad_alloc");
  EXPECT_TRUE(launch.outcome(0).likely_out_of_memory);
  pool.launch(going_on(1), [](SliceContext&) { const std::vector<char> little(1 << 20); }).get();
  EXPECT_EQ(pool.workers_lost(), 0U);
}

TEST_F(PoolFaults, HostThatIgnoresSigchldIsNoTrouble) {
  EXPECT_EQ(test::run_in_child([] {
              ::signal(SIGCHLD, SIG_IGN);
              Pool pool(2);
              auto launch = pool.launch(going_on(10), [](SliceContext& context) {
                if (context.slice() == 3) ::raise(SIGKILL);
              });
              launch.wait();
              EXPECT_EQ(launch.outcome(3).signal, SIGKILL);
              ::kill(pool.template_pid(), SIGKILL);
              pool.launch(going_on(10), [](SliceContext&) {}).get();
            }),
            0);
}

TEST_F(PoolFaults, InterruptsOfTheWholeGroupAreTheParentsToDecide) {
  Pool pool(2);
  auto launch = pool.launch(going_on(50), [](SliceContext&) { std::this_thread::sleep_for(1ms); });
  for (const pid_t pid : pool.worker_pids()) {
    for (const int signal : {SIGINT, SIGHUP, SIGQUIT}) ::kill(pid, signal);
  }
  for (const int signal : {SIGINT, SIGTERM, SIGHUP}) ::kill(pool.template_pid(), signal);
  launch.get();
  EXPECT_EQ(pool.workers_lost(), 0U);
}

TEST_F(PoolFaults, TimerSignalsInTheParentDisturbNothing) {
  struct sigaction action {};
  struct sigaction former {};
  action.sa_handler = [](int) {};
  ASSERT_EQ(::sigaction(SIGALRM, &action, &former), 0);
  const itimerval every_millisecond{{0, 1000}, {0, 1000}};
  ::setitimer(ITIMER_REAL, &every_millisecond, nullptr);
  {
    Pool pool(2);
    const ArenaArray<std::atomic<int>> sum(pool.arena(), 1);
    auto* const total = sum.data();
    for (int round = 0; round < 50; ++round) {
      pool.launch(going_on(20), [total](SliceContext&) { total->fetch_add(1); }).get();
    }
    EXPECT_EQ(total->load(), 1000);
    auto launch = pool.launch(going_on(1), [](SliceContext& context) {
      while (!context.cancelled()) std::this_thread::sleep_for(1ms);
    });
    const auto start = Clock::now();
    EXPECT_FALSE(launch.wait(Deadline::after(100ms)));
    EXPECT_GE(Clock::now() - start, 100ms);
    EXPECT_LT(Clock::now() - start, 600ms);
  }
  const itimerval off{};
  ::setitimer(ITIMER_REAL, &off, nullptr);
  ::sigaction(SIGALRM, &former, nullptr);
}

}  // namespace
}  // namespace runrig
