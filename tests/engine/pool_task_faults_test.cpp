// What tasks promise when processes die or misbehave: pitfalls P1, P2, P4-P6, P8-P11.

#include <malloc.h>

#include <chrono>
#include <deque>
#include <memory>
#include <stdexcept>
#include <string>
#include <thread>

#include "pool_test_support.hpp"
#include "runrig/engine/pool.hpp"
#include "runrig/engine/remote_exception.hpp"

namespace runrig {
namespace {

using namespace std::chrono_literals;
using test::ArenaArray;

// Waits for one second of promise, with some for a busy machine.
using test::promised;

using test::square;

class PoolTaskFaults : public ::testing::Test {
 protected:
  void SetUp() override { RUNRIG_NEED_FORKS(); }
};

[[gnu::noinline]] int eat_stack(int depth) {
  volatile char page[4096];
  page[0] = static_cast<char>(depth);
  return depth == 1 << 30 ? 0 : eat_stack(depth + 1) + page[0];
}

struct Death {
  const char* label;
  void (*die)();
  int signal;
  const char* words;
};
void PrintTo(const Death& death, std::ostream* out) { *out << death.label; }

const Death deaths[] = {
    {"segv", [] { ::raise(SIGSEGV); }, SIGSEGV, "was killed by SIGSEGV"},
    {"abort", [] { std::abort(); }, SIGABRT, "was killed by SIGABRT"},
    {"underscore_exit", [] { ::_exit(3); }, 0, "left with exit code 3"},
    {"exit", [] { std::exit(4); }, 0, "left with exit code 4"},  // NOLINT(concurrency-mt-unsafe)
    {"stack_overflow", [] { ::_exit(eat_stack(0)); }, SIGSEGV, "was killed by SIGSEGV"},
    {"terminate", [] { std::terminate(); }, SIGABRT, "was killed by SIGABRT"},
    {"kill", [] { ::raise(SIGKILL); }, SIGKILL, "was killed by SIGKILL"},
    {"term", [] { ::raise(SIGTERM); }, SIGTERM, "was killed by SIGTERM"},
};

class PoolTaskDeaths : public ::testing::TestWithParam<Death> {
 protected:
  void SetUp() override { RUNRIG_NEED_FORKS(); }
};

TEST_P(PoolTaskDeaths, FailTheirTaskOnlyWithPidSignalAndWords) {
#if defined(__SANITIZE_ADDRESS__)
  GTEST_SKIP() << "the address sanitizer turns deaths into reports of its own";
#endif
  Pool pool(2);
  auto doomed = pool.apply_async(GetParam().die);
  std::vector<AsyncResult<int>> others;
  for (int i = 0; i < 100; ++i) others.push_back(pool.apply_async(square, i));
  try {
    doomed.get(promised);
    FAIL() << "must throw";
  } catch (const WorkerLost& lost) {
    EXPECT_EQ(lost.signal(), GetParam().signal);
    EXPECT_GT(lost.pid(), 0);
    EXPECT_NE(std::string(lost.what()).find(GetParam().words), std::string::npos) << lost.what();
    EXPECT_NE(std::string(lost.what()).find("task 1 "), std::string::npos) << lost.what();
  }
  for (int i = 0; i < 100; ++i) EXPECT_EQ(others[static_cast<std::size_t>(i)].get(promised), i * i);
  EXPECT_EQ(pool.workers_lost(), 1U);
  EXPECT_TRUE(test::eventually([&] { return pool.worker_pids().size() == 2; })) << "it is replaced";
}

INSTANTIATE_TEST_SUITE_P(Kinds, PoolTaskDeaths, ::testing::ValuesIn(deaths),
                         [](const auto& each) { return std::string(each.param.label); });

TEST_F(PoolTaskFaults, ThrownIntArrivesAsRemoteErrorAndTheWorkerLivesOn) {
  Pool pool(1);
  try {
    pool.apply([] { throw 42; });
    FAIL() << "must throw";
  } catch (const RemoteError& error) {
    EXPECT_EQ(error.type(), "int");
    EXPECT_EQ(error.text(), "42");
  }
  EXPECT_EQ(pool.workers_lost(), 0U);
}

TEST_F(PoolTaskFaults, TaskIsRunAgainAsOftenAsItsCallAllows) {
  Pool pool(2);
  const ArenaArray<std::atomic<int>> runs(pool.arena(), 3);
  auto* const count = runs.data();
  TaskOptions twice;
  twice.retries = 2;
  EXPECT_EQ(pool.apply(twice,
                       [count] {
                         if (count[0].fetch_add(1) < 2) ::raise(SIGKILL);
                         return 5;
                       }),
            5);
  EXPECT_EQ(runs[0].load(), 3);
  const std::string text = test::thrown_text([&] {
    pool.apply(twice, [count] {
      count[1].fetch_add(1);
      ::raise(SIGSEGV);
    });
  });
  EXPECT_EQ(runs[1].load(), 3) << "what kills every worker it meets is reported, not retried for ever";
  EXPECT_NE(text.find("as did those of 2 attempts before"), std::string::npos) << text;
  EXPECT_THROW(pool.apply([count] {
    count[2].fetch_add(1);
    ::raise(SIGKILL);
  }),
               WorkerLost);
  EXPECT_EQ(runs[2].load(), 1) << "not run again unless that is allowed";
  TaskOptions wrong;
  wrong.retries = -1;
  EXPECT_THROW(pool.apply(wrong, square, 1), std::logic_error);
}

TEST_F(PoolTaskFaults, RetriesOfThePoolHoldForCallsAndMapsThatSayNothing) {
  PoolOptions options;
  options.workers = 2;
  options.retries = 3;
  Pool pool(options);
  const ArenaArray<std::atomic<int>> runs(pool.arena(), 20);
  auto* const count = runs.data();
  const auto body = [count](int item) {
    if (count[item].fetch_add(1) == 0 && item % 5 == 2) ::raise(SIGKILL);
    return item * 10;
  };
  std::vector<int> items(20);
  for (int i = 0; i < 20; ++i) items[static_cast<std::size_t>(i)] = i;
  const auto results = pool.map(body, items, {.chunk_size = 1});
  for (int i = 0; i < 20; ++i) EXPECT_EQ(results[static_cast<std::size_t>(i)], i * 10);
  EXPECT_EQ(pool.workers_lost(), 4U);
  EXPECT_THROW((void)pool.map([](int) { ::raise(SIGKILL); }, items, {.retries = 0}), WorkerLost);
}

TEST_F(PoolTaskFaults, ReplacedWorkersServeLaterTasks) {
  Pool pool(2);
  for (int i = 0; i < 30; ++i) {
    EXPECT_THROW(pool.apply([] { ::raise(SIGKILL); }), WorkerLost);
    EXPECT_EQ(pool.apply(square, i), i * i);
  }
  EXPECT_EQ(pool.workers_lost(), 30U);
}

TEST_F(PoolTaskFaults, WorkerKilledWhileItWritesALargeResultIsNeverTakenForDone) {
  Pool pool(2);
  const ArenaArray<std::atomic<int>> pids(pool.arena(), 1);
  auto* const pid = pids.data();
  int lost = 0;
  for (int round = 0; round < 30; ++round) {
    pid->store(0);
    auto result = pool.apply_async(
        [pid](int value) {
          std::vector<int> numbers(std::size_t{4} << 20, value);  // 16 MiB
          pid->store(::getpid());
          return numbers;
        },
        round);
    while (pid->load() == 0) std::this_thread::yield();
    std::this_thread::sleep_for(std::chrono::microseconds(400 * round));  // while it is encoded, copied, or done
    ::kill(pid->load(), SIGKILL);
    try {
      const auto numbers = std::move(result).get(20s);
      ASSERT_EQ(numbers, std::vector<int>(std::size_t{4} << 20, round));
    } catch (const WorkerLost&) {
      ++lost;
    }
  }
  EXPECT_GT(lost, 0);
  EXPECT_EQ(pool.apply(square, 4), 16);
}

TEST_F(PoolTaskFaults, FloodOfHugeExceptionsIsCappedAndInOrder) {
  PoolOptions options;
  options.workers = 2;
  options.initializer = [] {
    // Or most of the time goes into fresh pages for the texts.
    ::mallopt(M_MMAP_THRESHOLD, 1 << 30);
    ::mallopt(M_TRIM_THRESHOLD, 1 << 30);
  };
  Pool pool(options);
  std::deque<AsyncResult<void>> results;
  int sent = 0;
  for (int i = 0; i < 10'000; ++i) {
    for (; sent < 10'000 && sent < i + 200; ++sent) {
      results.push_back(pool.apply_async(
          [](int number) { throw std::runtime_error(std::to_string(number) + " " + std::string(1 << 20, 'x')); },
          sent));
    }
    try {
      results.front().get(60s);
      FAIL() << "must throw";
    } catch (const std::runtime_error& error) {
      const auto* const origin = dynamic_cast<const RemoteOrigin*>(&error);
      ASSERT_NE(origin, nullptr);
      const std::string text = origin->text();
      ASSERT_EQ(text.substr(0, text.find(' ')), std::to_string(i));
      ASSERT_LE(text.size(), detail::max_exception_bytes);
    }
    results.pop_front();
  }
  EXPECT_EQ(pool.workers_lost(), 0U);
}

// A value that says, where it is encoded, that it cannot be.
struct Stubborn {
  bool refuses = true;
};

}  // namespace

template <>
struct Transfer<Stubborn> {
  static void write(pickle::Encoder& encoder, const Stubborn& value) {
    if (value.refuses) throw std::invalid_argument("it will not be written");
    encoder.none();
  }
  static Stubborn read(pickle::Decoder& decoder) {
    decoder.none();
    return {false};
  }
};

namespace {

TEST_F(PoolTaskFaults, ValueThatCannotBeEncodedIsAnErrorOfItsTaskAlone) {
  Pool pool(2);
  const auto before = pool.worker_pids();
  for (int i = 0; i < 20; ++i) {
    auto result = pool.apply_async([](bool refuses) { return Stubborn{refuses}; }, true);
    EXPECT_THROW((void)result.get(promised), std::invalid_argument);
    auto argument = pool.apply_async([](Stubborn) { return 1; }, Stubborn{true});
    EXPECT_THROW((void)argument.get(promised), std::invalid_argument);
    EXPECT_FALSE(pool.apply([](Stubborn given) { return given; }, Stubborn{false}).refuses);
  }
  const std::vector<Stubborn> items{{false}, {true}, {false}};
  auto lazy = pool.imap([](Stubborn) { return 7; }, items);
  EXPECT_EQ(lazy.next(promised), 7);
  EXPECT_THROW((void)lazy.next(promised), std::invalid_argument);
  EXPECT_EQ(lazy.next(promised), 7);
  EXPECT_EQ(pool.worker_pids(), before);
  EXPECT_EQ(pool.workers_lost(), 0U);
}

TEST_F(PoolTaskFaults, AllocationBeyondTheWorkersLimitIsBadAlloc) {
#if defined(__SANITIZE_ADDRESS__)
  GTEST_SKIP() << "the address sanitizer's allocator ends the process instead";
#endif
  PoolOptions options;
  options.workers = 1;
  options.worker_data_limit_bytes = std::size_t{64} << 20;
  Pool pool(options);
  EXPECT_THROW((void)pool.apply([] { return std::vector<char>(std::size_t{256} << 20).size(); }), std::bad_alloc);
  EXPECT_EQ(pool.apply(square, 2), 4);
  EXPECT_EQ(pool.workers_lost(), 0U);
}

TEST_F(PoolTaskFaults, WorkersThatAllDieAtStartFailTheTasksWithTheirFirstWords) {
  auto arena = std::make_shared<Arena>();
  const ArenaArray<std::atomic<int>> starts(*arena, 1);
  PoolOptions options;
  options.workers = 4;
  options.arena = arena;
  options.initializer = [&starts] {
    starts[0].fetch_add(1);
    throw std::runtime_error("cannot find the licence");
  };
  std::string text;
  try {
    Pool pool(options);
    text = test::thrown_text([&] { (void)pool.apply(square, 1); });
    EXPECT_THROW((void)pool.apply(square, 1), WorkerLost);
  } catch (const WorkerLost& lost) {
    text = lost.what();
  }
  EXPECT_NE(text.find("cannot find the licence"), std::string::npos) << text;
  EXPECT_LE(starts[0].load(), 12);
}

TEST_F(PoolTaskFaults, KilledTemplateIsReplacedAndWaitingTasksGoOn) {
  Pool pool(2);
  for (int round = 0; round < 3; ++round) {
    std::vector<AsyncResult<int>> results;
    for (int i = 0; i < 200; ++i) {
      results.push_back(pool.apply_async(
          [](int number) {
            std::this_thread::sleep_for(1ms);
            return number;
          },
          i));
    }
    ::kill(pool.template_pid(), SIGKILL);
    int lost = 0;
    for (int i = 0; i < 200; ++i) {
      try {
        EXPECT_EQ(results[static_cast<std::size_t>(i)].get(20s), i);
      } catch (const WorkerLost&) {
        ++lost;
      }
    }
    EXPECT_LE(lost, 2) << "only what was running";
  }
  TaskOptions again;
  again.retries = 5;
  auto slow = pool.apply_async(again, [] {
    std::this_thread::sleep_for(200ms);
    return 1;
  });
  std::this_thread::sleep_for(50ms);
  ::kill(pool.template_pid(), SIGKILL);
  EXPECT_EQ(slow.get(20s), 1) << "where it is allowed, what was running is run again";
}

TEST_F(PoolTaskFaults, TasksAndLaunchesShareTheWorkers) {
  Pool pool(2);
  const ArenaArray<std::atomic<int>> slices(pool.arena(), 2);
  auto* const count = slices.data();
  auto* const gate = &slices[1];
  LaunchOptions options;
  options.slices = 400;
  auto launch = pool.launch(options, [count, gate](SliceContext& context) {
    // The launch is not over before the gate opens; tasks come between the other worker's slices.
    if (count->fetch_add(1) == 0) {
      while (gate->load() == 0 && !context.cancelled()) std::this_thread::sleep_for(1ms);
    }
    std::this_thread::sleep_for(1ms);
  });
  for (int i = 0; i < 50; ++i) ASSERT_EQ(pool.apply(square, i), i * i);
  EXPECT_FALSE(launch.finished()) << "tasks do not wait for the end of a launch";
  *gate = 1;
  std::vector<AsyncResult<int>> results;
  for (int i = 0; i < 1500; ++i) results.push_back(pool.apply_async(square, i));
  launch.get();
  for (int i = 0; i < 1500; ++i) ASSERT_EQ(results[static_cast<std::size_t>(i)].get(promised), i * i);
  EXPECT_EQ(slices[0].load(), 400);
}

TEST_F(PoolTaskFaults, ResultsThatNobodyTakesHoldUpNeitherOtherTasksNorLaunches) {
  Pool pool(2);
  std::vector<AsyncResult<std::vector<int>>> results;
  for (int i = 0; i < 40; ++i) {
    results.push_back(pool.apply_async([](int value) { return std::vector<int>(1 << 18, value); }, i));  // 1 MiB each
  }
  LaunchOptions options;
  options.slices = 100;
  pool.launch(options, [](SliceContext&) {}).get();
  for (int i = 0; i < 40; ++i) {
    EXPECT_EQ(std::move(results[static_cast<std::size_t>(i)]).get(promised), std::vector<int>(1 << 18, i));
  }
}

}  // namespace
}  // namespace runrig
