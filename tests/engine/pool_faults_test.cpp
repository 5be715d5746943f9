// What pools promise when processes die: pitfalls P1-P7, P13, O1, O3-O5, O7 and the kill points.

#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/time.h>
#include <sys/wait.h>

#include <chrono>
#include <random>
#include <stdexcept>
#include <thread>

#include "pool_test_support.hpp"
#include "runrig/engine/pool.hpp"
#include "runrig/sync/killpoint.hpp"

namespace runrig {
namespace {

using namespace std::chrono_literals;
using test::ArenaArray;

class PoolFaults : public ::testing::Test {
 protected:
  void SetUp() override { RUNRIG_NEED_FORKS(); }
};

LaunchOptions slices(std::uint32_t count) {
  LaunchOptions options;
  options.slices = count;
  options.keep_going = true;
  return options;
}

// Waits for one second of promise, with some for a busy machine.
constexpr auto promised = 5s;

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
  auto launch = pool.launch(slices(20), [=](SliceContext& context) {
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
  pool.launch(slices(50), [](SliceContext&) {}).get();
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
  LaunchOptions options = slices(3);
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
  const ArenaArray<std::atomic<int>>* shared = nullptr;
  EXPECT_EQ(test::run_in_child([&] {
              Pool pool(1);
              const ArenaArray<std::atomic<int>> calls(pool.arena(), 1);
              shared = &calls;
              static std::atomic<int>* handler_calls = nullptr;
              handler_calls = calls.data();
              std::atexit([] { handler_calls->fetch_add(1); });
              Pool later(1);  // forked with the handler registered
              LaunchOptions options = slices(1);
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
  LaunchOptions options = slices(100);
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
  pool.launch(slices(100), [total](SliceContext&) { total->fetch_add(1); }).get();
  EXPECT_EQ(total->load(), 100);
}

TEST_F(PoolFaults, EndlessLoopIsStoppedByTheCpuLimit) {
  Pool pool(2);
  LaunchOptions options = slices(10);
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
  LaunchOptions options = slices(6);
  options.cpu_limit = 10s;
  options.wall_limit = 100ms;
  auto launch = pool.launch(options, [](SliceContext& context) {
    if (context.slice() == 4) std::this_thread::sleep_for(60s);
  });
  ASSERT_TRUE(launch.wait(Deadline::after(10s)));
  EXPECT_EQ(launch.outcome(4).state, SliceState::stalled);
  EXPECT_EQ(launch.outcome(4).message, "took longer than 0.1 s");
  options = slices(2);
  options.cpu_limit = 50ms;
  auto slow = pool.launch(options, [](SliceContext&) { std::this_thread::sleep_for(200ms); });  // slow is not stalled
  slow.get();
  // Nor is time that an earlier slice took.
  options = slices(8);
  options.wall_limit = 500ms;
  pool.launch(options, [](SliceContext&) { std::this_thread::sleep_for(150ms); }).get();
}

TEST_F(PoolFaults, TimeInWhichEverybodyIsStoppedDoesNotCount) {
  PoolOptions pool_options;
  pool_options.workers = 1;
  Pool pool(pool_options);
  LaunchOptions options = slices(1);
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
  auto launch = pool.launch(slices(20), [](SliceContext&) {});
  launch.get();  // the other one does it all
  EXPECT_EQ(pool.workers_lost(), 0U);
  ::kill(stopped, SIGCONT);
  pool.launch(slices(20), [](SliceContext&) {}).get();
}

TEST_F(PoolFaults, WorkersThatAllDieAtStartAreAnErrorWithItsReasonAndFewForks) {
  const ArenaArray<std::atomic<int>>* none = nullptr;
  (void)none;
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
    auto launch = pool.launch(slices(3), [](SliceContext&) {});
    ASSERT_TRUE(launch.wait(Deadline::after(10s)));
    EXPECT_EQ(launch.outcome(0).state, SliceState::lost);
    text = test::thrown_text([&] { launch.get(); });
    EXPECT_THROW((void)pool.launch(slices(1), [](SliceContext&) {}), WorkerLost);
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
  auto launch = pool.launch(slices(1), [](SliceContext&) {});
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
              small.launch(slices(4), [](SliceContext&) {}).get();
            }),
            0);
}

TEST_F(PoolFaults, KilledTemplateIsReplacedAndTheLaunchGoesOn) {
  Pool pool(2);
  const ArenaArray<std::atomic<int>> done(pool.arena(), 200);
  auto* const data = done.data();
  for (int round = 0; round < 3; ++round) {
    const pid_t former = pool.template_pid();
    auto launch = pool.launch(slices(200), [data](SliceContext& context) {
      std::this_thread::sleep_for(2ms);
      data[context.slice()].fetch_add(1);
    });
    std::this_thread::sleep_for(50ms);
    ::kill(former, SIGKILL);
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
  auto launch = pool.launch(slices(10), [total](SliceContext&) { total->fetch_add(1); });
  ASSERT_TRUE(launch.wait(Deadline::after(promised)));
  launch.get();
  EXPECT_GE(total->load(), 10);
}

TEST_F(PoolFaults, TemplateDeathInANonRepeatableSliceIsReported) {
  Pool pool(1);
  LaunchOptions options = slices(2);
  options.max_kills = 1;
  auto launch = pool.launch(options, [](SliceContext& context) {
    if (context.slice() == 0) std::this_thread::sleep_for(500ms);
  });
  std::this_thread::sleep_for(100ms);
  ::kill(pool.template_pid(), SIGKILL);
  ASSERT_TRUE(launch.wait(Deadline::after(promised)));
  EXPECT_EQ(launch.outcome(0).state, SliceState::lost);
  EXPECT_NE(launch.outcome(0).message.find("was killed"), std::string::npos) << launch.outcome(0).message;
  EXPECT_EQ(launch.outcome(1).state, SliceState::done);
}

// Forks a process that makes a pool, starts it, and writes its processes' ids to a pipe.
struct ParentCase {
  std::vector<pid_t> pids;
  std::unique_ptr<test::Child> parent;
};

template <class Body>
ParentCase start_parent(int workers, const Body& body) {
  int fds[2];
  EXPECT_EQ(::pipe(fds), 0);
  ParentCase started;
  started.parent = std::make_unique<test::Child>([&] {
    ::close(fds[0]);
    Pool pool(workers);
    std::vector<pid_t> pids = pool.worker_pids();
    pids.push_back(pool.template_pid());
    const auto bytes = static_cast<ssize_t>(pids.size() * sizeof(pid_t));
    ASSERT_EQ(::write(fds[1], pids.data(), static_cast<std::size_t>(bytes)), bytes);
    body(pool);
  });
  ::close(fds[1]);
  started.pids.resize(static_cast<std::size_t>(workers) + 1);
  const auto bytes = static_cast<ssize_t>(started.pids.size() * sizeof(pid_t));
  EXPECT_EQ(::read(fds[0], started.pids.data(), static_cast<std::size_t>(bytes)), bytes);
  ::close(fds[0]);
  return started;
}

bool all_gone(const std::vector<pid_t>& pids) {
  return std::none_of(pids.begin(), pids.end(), [](pid_t pid) { return test::process_lives(pid); });
}

TEST_F(PoolFaults, KilledParentTakesAllItsProcessesWithIt) {
  auto started = start_parent(8, [](Pool& pool) {
    auto launch = pool.launch(slices(1000), [](SliceContext&) {
      for (;;) std::this_thread::sleep_for(1s);
    });
    launch.wait();
  });
  std::this_thread::sleep_for(50ms);
  started.parent->signal(SIGKILL);
  const auto killed = Clock::now();
  EXPECT_TRUE(test::eventually([&] { return all_gone(started.pids); }, promised));
  RecordProperty("milliseconds",
                 std::to_string(std::chrono::duration<double, std::milli>(Clock::now() - killed).count()));
}

TEST_F(PoolFaults, ParentWhoseOwnForkedChildLivesOnStillEndsItsPool) {
  int fds[2];
  ASSERT_EQ(::pipe(fds), 0);
  auto started = start_parent(3, [&](Pool&) {
    const pid_t child = ::fork();  // inherits every descriptor of the pool
    if (child == 0) {
      char byte = 0;
      ::close(fds[1]);
      ::_exit(static_cast<int>(::read(fds[0], &byte, 1)));
    }
    for (;;) std::this_thread::sleep_for(1s);
  });
  std::this_thread::sleep_for(50ms);
  started.parent->signal(SIGKILL);
  EXPECT_TRUE(test::eventually([&] { return all_gone(started.pids); }, promised));
  ::close(fds[0]);
  ::close(fds[1]);
}

TEST_F(PoolFaults, WorkersOutliveTheThreadThatMadeThePool) {
  std::unique_ptr<Pool> pool;
  std::thread([&] {
    PoolOptions options;
    options.workers = 2;
    options.other_threads = OtherThreads::allow;
    pool = std::make_unique<Pool>(options);
  }).join();
  std::this_thread::sleep_for(100ms);
  pool->launch(slices(10), [](SliceContext&) {}).get();
  EXPECT_EQ(pool->workers_lost(), 0U);
}

TEST_F(PoolFaults, StoppedParentDoesNotMakeWorkersQuit) {
  auto started = start_parent(2, [](Pool& pool) {
    for (int i = 0; i < 100; ++i) {
      pool.launch(slices(4), [](SliceContext&) {}).get();
      std::this_thread::sleep_for(10ms);
    }
    EXPECT_EQ(pool.workers_lost(), 0U);
  });
  started.parent->signal(SIGSTOP);
  std::this_thread::sleep_for(1500ms);
  for (const pid_t pid : started.pids) EXPECT_TRUE(test::process_lives(pid));
  started.parent->signal(SIGCONT);
  EXPECT_EQ(started.parent->join(), 0);
}

TEST_F(PoolFaults, HostThatIgnoresSigchldIsNoTrouble) {
  EXPECT_EQ(test::run_in_child([] {
              ::signal(SIGCHLD, SIG_IGN);
              Pool pool(2);
              auto launch = pool.launch(slices(10), [](SliceContext& context) {
                if (context.slice() == 3) ::raise(SIGKILL);
              });
              launch.wait();
              EXPECT_EQ(launch.outcome(3).signal, SIGKILL);
              ::kill(pool.template_pid(), SIGKILL);
              pool.launch(slices(10), [](SliceContext&) {}).get();
            }),
            0);
}

TEST_F(PoolFaults, InterruptsOfTheWholeGroupAreTheParentsToDecide) {
  Pool pool(2);
  auto launch = pool.launch(slices(50), [](SliceContext&) { std::this_thread::sleep_for(1ms); });
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
      pool.launch(slices(20), [total](SliceContext&) { total->fetch_add(1); }).get();
    }
    EXPECT_EQ(total->load(), 1000);
    auto launch = pool.launch(slices(1), [](SliceContext& context) {
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

// A worker killed at each step of taking and booking a slice, again and again: every slice is done, once in effect.
TEST_F(PoolFaults, NoKillPointOfAWorkerLosesASlice) {
  if (!killpoint::compiled_in()) GTEST_SKIP() << "this build has no kill points";
  const char* const points[] = {"pool.claim.counted",   "pool.claim.intended", "pool.claim.claimed",
                                "pool.finish.prepared", "pool.finish.booked",  "pool.finish.counted"};
  for (const char* const point : points) {
    SCOPED_TRACE(point);
    auto arena = std::make_shared<Arena>();
    const ArenaArray<std::atomic<int>> armed(*arena, 1);
    PoolOptions options;
    options.workers = 2;
    options.arena = arena;
    options.initializer = [&armed, point] {
      const int turn = armed[0].fetch_add(1);
      if (turn < 10) killpoint::arm(point, 1 + turn);  // each worker dies at another slice
    };
    Pool pool(options);
    const ArenaArray<std::uint64_t> values(*arena, 200);
    auto* const data = values.data();
    LaunchOptions launch_options = slices(200);
    launch_options.max_kills = 20;
    // Until all have died: who gets how many slices is the scheduler's business.
    for (std::uint64_t round = 1; round <= 5 || (pool.workers_lost() < 10 && round < 500); ++round) {
      auto launch = pool.launch(launch_options, [=](SliceContext& context) { data[context.slice()] = round; });
      ASSERT_TRUE(launch.wait(Deadline::after(20s)));
      launch.get();
      for (std::size_t i = 0; i < values.size(); ++i) ASSERT_EQ(values[i], round);
    }
    EXPECT_EQ(pool.workers_lost(), 10U);
  }
}

// The template killed at each of its steps, while it books a worker's death.
TEST_F(PoolFaults, NoKillPointOfTheTemplateLosesASlice) {
  if (!killpoint::compiled_in()) GTEST_SKIP() << "this build has no kill points";
  for (const char* const point : {"pool.template.reaped", "pool.template.booked"}) {
    SCOPED_TRACE(point);
    auto arena = std::make_shared<Arena>();
    const ArenaArray<std::atomic<int>> killed(*arena, 1);
    PoolOptions options;
    options.workers = 2;
    options.arena = arena;
    killpoint::arm(point);
    Pool pool(options);
    killpoint::disarm();  // the next template is not killed
    const ArenaArray<std::uint64_t> values(*arena, 200);
    auto* const data = values.data();
    auto* const once = killed.data();
    LaunchOptions launch_options = slices(200);
    launch_options.max_kills = 5;
    auto launch = pool.launch(launch_options, [=](SliceContext& context) {
      data[context.slice()] = context.slice() + 1;
      if (context.slice() == 100 && once->exchange(1) == 0) ::raise(SIGKILL);
    });
    ASSERT_TRUE(launch.wait(Deadline::after(20s)));
    launch.get();
    for (std::size_t i = 0; i < values.size(); ++i) ASSERT_EQ(values[i], i + 1);
  }
}

// Workers killed at random moments during many launches.
TEST_F(PoolFaults, StormOfKillsLosesNothing) {
#ifdef RUNRIG_NIGHTLY
  constexpr auto length = 120s;
#else
  constexpr auto length = 3s;
#endif
  const unsigned seed = std::random_device{}();
  SCOPED_TRACE("seed " + std::to_string(seed));
  std::mt19937 random(seed);
  Pool pool(3);
  constexpr std::uint32_t count = 300;
  const ArenaArray<std::uint64_t> values(pool.arena(), count);
  auto* const data = values.data();
  LaunchOptions options = slices(count);
  options.max_kills = 60;
  const auto end = Clock::now() + length;
  std::uint64_t round = 0;
  while (Clock::now() < end) {
    ++round;
    auto launch = pool.launch(options, [=](SliceContext& context) {
      std::uint64_t hash = round * 1'000'003 + context.slice();
      for (int i = 0; i < 500; ++i) hash = hash * 6364136223846793005ULL + 1442695040888963407ULL;
      // Lets the killer have a CPU while slices are claimed, running and booked.
      if (context.slice() % 16 == 0) std::this_thread::sleep_for(100us);
      data[context.slice()] = hash;
    });
    while (!launch.wait(Deadline::after(std::chrono::microseconds(random() % 1000)))) {
      const auto pids = pool.worker_pids();
      if (!pids.empty() && pool.workers_lost() < 20'000) ::kill(pids[random() % pids.size()], SIGKILL);
    }
    launch.get();
    for (std::uint32_t slice = 0; slice < count; ++slice) {
      std::uint64_t hash = round * 1'000'003 + slice;
      for (int i = 0; i < 500; ++i) hash = hash * 6364136223846793005ULL + 1442695040888963407ULL;
      ASSERT_EQ(values[slice], hash) << "round " << round << " slice " << slice;
    }
  }
  EXPECT_GT(pool.workers_lost(), 20U);
  RecordProperty("kills", std::to_string(pool.workers_lost()));
  RecordProperty("launches", std::to_string(round));
}

}  // namespace
}  // namespace runrig
