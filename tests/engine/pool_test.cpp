#include "runrig/engine/pool.hpp"

#include <fcntl.h>
#include <sys/resource.h>
#include <sys/wait.h>

#include <algorithm>
#include <chrono>
#include <cstring>
#include <fstream>
#include <numeric>
#include <set>
#include <stdexcept>
#include <thread>

#include "pool_test_support.hpp"
#include "runrig/engine/machine.hpp"

namespace runrig {
namespace {

using namespace std::chrono_literals;
using test::ArenaArray;
using test::slices;

class PoolTest : public ::testing::Test {
 protected:
  void SetUp() override { RUNRIG_NEED_FORKS(); }
};

TEST_F(PoolTest, EverySliceRunsExactlyOnce) {
  Pool pool(3);
  const ArenaArray<std::atomic<int>> counts(pool.arena(), 1000);
  auto* const data = counts.data();
  for (int round = 1; round <= 20; ++round) {
    auto launch = pool.launch(slices(1000), [data](SliceContext& context) { data[context.slice()].fetch_add(1); });
    launch.get();
    EXPECT_EQ(launch.finished_slices(), 1000U);
    for (std::size_t i = 0; i < counts.size(); ++i) ASSERT_EQ(counts[i].load(), round);
  }
}

TEST_F(PoolTest, WorkIsSpreadOverAllWorkers) {
  Pool pool(3);
  const ArenaArray<std::atomic<int>> pids(pool.arena(), 3);
  const ArenaArray<std::atomic<int>> arrived(pool.arena(), 1);
  auto* const pid_data = pids.data();
  auto* const arrivals = arrived.data();
  pool.launch(slices(3),
              [=](SliceContext& context) {
                pid_data[context.worker()] = static_cast<int>(::getpid());
                // Nobody leaves before all three are at work: with fewer workers this would never end.
                arrivals->fetch_add(1);
                while (arrivals->load() < 3) std::this_thread::yield();
              })
      .get();
  const std::set<int> distinct{pids[0].load(), pids[1].load(), pids[2].load()};
  EXPECT_EQ(distinct.size(), 3U);
  const auto known = pool.worker_pids();
  EXPECT_EQ(distinct, std::set<int>(known.begin(), known.end()));
}

TEST_F(PoolTest, SizeDefaultsToTheUsableCpus) {
  const Pool pool;
  EXPECT_EQ(pool.size(), usable_cpu_count());
  EXPECT_EQ(pool.worker_pids().size(), static_cast<std::size_t>(pool.size()));
}

TEST_F(PoolTest, SlicesAreNumberedFromTheFirst) {
  Pool pool(2);
  const ArenaArray<std::atomic<int>> seen(pool.arena(), 10);
  auto* const data = seen.data();
  LaunchOptions options = slices(4);
  options.first_slice = 5;
  auto launch = pool.launch(options, [data](SliceContext& context) { data[context.slice()] = 1; });
  launch.get();
  for (std::size_t i = 0; i < 10; ++i) EXPECT_EQ(seen[i].load(), i >= 5 && i < 9 ? 1 : 0);
  EXPECT_EQ(launch.outcome(8).state, SliceState::done);
  EXPECT_EQ(launch.outcome(8).attempts, 1);
  EXPECT_EQ(launch.first_not_done(), 9U);
  EXPECT_THROW((void)launch.outcome(4), std::logic_error);
  EXPECT_THROW((void)launch.outcome(9), std::logic_error);
}

TEST_F(PoolTest, LaunchWithoutSlicesIsFinishedAtOnce) {
  Pool pool(1);
  auto launch = pool.launch(slices(0), [](SliceContext&) {});
  EXPECT_TRUE(launch.finished());
  EXPECT_TRUE(launch.wait(Deadline::after(0s)));
  launch.get();
}

TEST_F(PoolTest, MillionSlicesAreCounted) {
  Pool pool(2);
  const ArenaArray<std::atomic<std::uint64_t>> sum(pool.arena(), 1);
  auto* const total = sum.data();
  constexpr std::uint32_t count = (1U << 20) + 3;
  pool.launch(slices(count),
              [total](SliceContext& context) { total->fetch_add(context.slice(), std::memory_order_relaxed); })
      .get();
  EXPECT_EQ(total->load(), std::uint64_t{count} * (count - 1) / 2);
}

TEST_F(PoolTest, LargeClosureArrivesWhole) {
  Pool pool(2);
  struct Large {
    std::array<std::uint32_t, 1000> numbers;
    std::uint64_t* out;
    void operator()(SliceContext& context) const {
      std::uint64_t sum = 0;
      for (const std::uint32_t each : numbers) sum += each;
      out[context.slice()] = sum;
    }
  };
  const ArenaArray<std::uint64_t> sums(pool.arena(), 4);
  Large body{};
  std::iota(body.numbers.begin(), body.numbers.end(), 1U);
  body.out = sums.data();
  for (int round = 0; round < 50; ++round) {
    body.numbers[0] = static_cast<std::uint32_t>(round);
    pool.launch(slices(4), body).get();
    for (std::size_t i = 0; i < 4; ++i) EXPECT_EQ(sums[i], 500500U - 1 + static_cast<std::uint64_t>(round));
  }
}

TEST_F(PoolTest, SecondLaunchWhileOneIsUnderWayIsRefusedInWords) {
  Pool pool(1);
  const ArenaArray<std::atomic<int>> gate(pool.arena(), 1);
  auto* const open = gate.data();
  auto first = pool.launch(slices(1), [open](SliceContext&) {
    while (open->load() == 0) std::this_thread::sleep_for(1ms);
  });
  const std::string text = test::thrown_text([&] { (void)pool.launch(slices(1), [](SliceContext&) {}); });
  EXPECT_NE(text.find("another launch is under way"), std::string::npos) << text;
  EXPECT_FALSE(first.wait(Deadline::after(10ms)));
  *open = 1;
  first.get();
  pool.launch(slices(1), [](SliceContext&) {}).get();
  EXPECT_THROW((void)first.outcome(0), std::logic_error) << "the table is the newer launch's";
}

TEST_F(PoolTest, WorkerCannotUseAPool) {
  Pool pool(1);
  Pool* const outer = &pool;
  LaunchOptions options = slices(1);
  options.trust_captures = true;  // the Pool's address: what the test is about
  auto launch =
      pool.launch(options, [outer](SliceContext&) { (void)outer->launch(LaunchOptions{}, [](SliceContext&) {}); });
  launch.wait();
  EXPECT_EQ(launch.outcome(0).state, SliceState::failed);
  EXPECT_EQ(launch.outcome(0).exception_type, "std::logic_error");
  EXPECT_NE(launch.outcome(0).message.find("launches do not nest"), std::string::npos) << launch.outcome(0).message;
  auto second = pool.launch(slices(1), [](SliceContext&) { const Pool inner(1); });
  second.wait();
  EXPECT_NE(second.outcome(0).message.find("is a worker of another pool"), std::string::npos)
      << second.outcome(0).message;
  EXPECT_FALSE(in_worker_process());
}

TEST_F(PoolTest, ForkedChildCanOnlyDestroyThePool) {
  auto pool = std::make_unique<Pool>(2);
  EXPECT_EQ(test::run_in_child([&] {
              const std::string text = test::thrown_text([&] { (void)pool->launch(slices(1), [](SliceContext&) {}); });
              EXPECT_NE(text.find("only the process that made the pool may"), std::string::npos) << text;
              pool.reset();
            }),
            0);
  pool->launch(slices(4), [](SliceContext&) {}).get();  // not harmed
}

TEST_F(PoolTest, ScratchIsKeptAndGrows) {
  Pool pool(1);
  const ArenaArray<std::uint64_t> addresses(pool.arena(), 4);
  auto* const data = addresses.data();
  pool.launch(slices(4),
              [data](SliceContext& context) {
                std::byte* const memory = context.scratch(100'000);
                if (context.slice() == 0) memory[99'999] = std::byte{42};
                data[context.slice()] = memory[99'999] == std::byte{42} ? reinterpret_cast<std::uintptr_t>(memory) : 0;
              })
      .get();
  EXPECT_NE(addresses[0], 0U);
  EXPECT_EQ(addresses[3], addresses[0]) << "the pages should be the same, contents and all";
  pool.launch(slices(1), [](SliceContext& context) { std::memset(context.scratch(10'000'000), 1, 10'000'000); }).get();
}

TEST_F(PoolTest, ExceptionsAreKeptWithTypeAndText) {
  Pool pool(2);
  LaunchOptions options = slices(6);
  options.keep_going = true;
  auto launch = pool.launch(options, [](SliceContext& context) {
    switch (context.slice()) {
      case 0:
        throw std::runtime_error("no such thing");
      case 1:
        throw 42;
      case 2:
        throw std::string("a string");
      case 3:
        throw std::bad_alloc();
      case 4:
        std::throw_with_nested(std::runtime_error("outer"));
      default:
        return;
    }
  });
  launch.wait();
  EXPECT_EQ(launch.outcome(0).exception_type, "std::runtime_error");
  EXPECT_EQ(launch.outcome(0).message, "no such thing");
  EXPECT_EQ(launch.outcome(1).exception_type, "int");
  EXPECT_EQ(launch.outcome(1).message, "42");
  EXPECT_EQ(launch.outcome(2).message, "a string");
  EXPECT_TRUE(launch.outcome(3).likely_out_of_memory);
  EXPECT_EQ(launch.outcome(4).state, SliceState::failed);
  EXPECT_EQ(launch.outcome(5).state, SliceState::done);
  EXPECT_EQ(launch.first_not_done(4), 4U);
  EXPECT_EQ(pool.workers_lost(), 0U);
  try {
    launch.get();
    FAIL() << "must throw";
  } catch (const RemoteError& error) {
    EXPECT_EQ(error.type(), "std::runtime_error");
    EXPECT_EQ(error.text(), "no such thing");
    EXPECT_EQ(error.worker(), launch.outcome(0).worker);
    EXPECT_NE(std::string(error.what()).find("slice 0 in worker"), std::string::npos) << error.what();
  }
}

TEST_F(PoolTest, HugeAndBrokenMessagesAreCappedAndCleaned) {
  Pool pool(2);
  LaunchOptions options = slices(20'000);  // more than the log holds
  options.keep_going = true;
  auto launch = pool.launch(options, [](SliceContext& context) {
    throw std::runtime_error("\xff\x1b[31m" + std::string(context.slice() == 0 ? 1 << 20 : 8192, 'x'));
  });
  launch.wait();
  for (const std::uint32_t slice : {0U, 1U, 19'999U}) {
    const auto outcome = launch.outcome(slice);
    EXPECT_EQ(outcome.state, SliceState::failed);
    EXPECT_LE(outcome.message.size(), 4096U);
    if (!outcome.exception_type.empty()) {
      EXPECT_TRUE(outcome.message.starts_with("??[31mx"));
    }
  }
  // The log is free again for the next launch.
  auto next = pool.launch(slices(1), [](SliceContext&) { throw std::runtime_error("again"); });
  next.wait();
  EXPECT_EQ(next.outcome(0).message, "again");
  EXPECT_EQ(pool.workers_lost(), 0U);
}

TEST_F(PoolTest, FirstFailureCancelsTheRest) {
  Pool pool(2);
  auto launch = pool.launch(slices(10'000), [](SliceContext& context) {
    if (context.slice() == 3) throw std::runtime_error("three");
    std::this_thread::sleep_for(100us);
  });
  launch.wait();
  EXPECT_EQ(launch.outcome(3).state, SliceState::failed);
  EXPECT_EQ(launch.outcome(9'999).state, SliceState::cancelled);
  EXPECT_THROW(launch.get(), RemoteError) << "the reason, not one of the slices that it cancelled";
}

TEST_F(PoolTest, CancelLetsRunningSlicesSeeIt) {
  Pool pool(2);
  const ArenaArray<std::atomic<int>> state(pool.arena(), 2);
  auto* const data = state.data();
  auto launch = pool.launch(slices(100), [data](SliceContext& context) {
    data[0].fetch_add(1);
    while (!context.cancelled()) std::this_thread::sleep_for(1ms);
    data[1].fetch_add(1);
  });
  ASSERT_TRUE(test::eventually([&] { return data[0] == 2; }));
  launch.cancel();
  ASSERT_TRUE(launch.wait(Deadline::after(10s)));
  EXPECT_EQ(data[1].load(), 2);
  EXPECT_EQ(launch.outcome(99).state, SliceState::cancelled);
  EXPECT_EQ(launch.outcome(99).attempts, 1);
  EXPECT_THROW(launch.get(), Cancelled);
  EXPECT_EQ(pool.workers_lost(), 0U);
}

TEST_F(PoolTest, TerminateKillsWorkersThatDoNotListen) {
  Pool pool(2);
  const ArenaArray<std::atomic<int>> started(pool.arena(), 1);
  auto* const count = started.data();
  auto launch = pool.launch(slices(100), [count](SliceContext&) {
    count->fetch_add(1);
    for (;;) std::this_thread::sleep_for(1s);
  });
  ASSERT_TRUE(test::eventually([&] { return *count == 2; }));
  launch.terminate();
  ASSERT_TRUE(launch.wait(Deadline::after(5s)));
  EXPECT_THROW(launch.get(), Cancelled);
  EXPECT_EQ(count->load(), 2);
  pool.launch(slices(10), [](SliceContext&) {}).get();
}

TEST_F(PoolTest, DroppedLaunchCancelsAndWaits) {
  Pool pool(1);
  {
    auto launch = pool.launch(slices(1000), [](SliceContext& context) {
      while (!context.cancelled()) std::this_thread::sleep_for(1ms);
    });
    Launch moved = std::move(launch);
  }
  pool.launch(slices(1), [](SliceContext&) {}).get();
}

TEST_F(PoolTest, LaunchThatOutlivesItsPoolFindsItsSlicesLost) {
  auto pool = std::make_unique<Pool>(1);
  auto launch = pool->launch(slices(3), [](SliceContext&) { std::this_thread::sleep_for(10s); });
  const auto start = Clock::now();
  pool.reset();
  EXPECT_LT(Clock::now() - start, 5s);
  EXPECT_TRUE(launch.wait(Deadline::after(0s)));
  EXPECT_EQ(launch.outcome(2).state, SliceState::lost);
  EXPECT_NE(launch.outcome(2).message.find("the pool was destroyed"), std::string::npos) << launch.outcome(2).message;
  EXPECT_THROW(launch.get(), WorkerLost);
}

TEST_F(PoolTest, TerminatedPoolRefusesFurtherLaunches) {
  Pool pool(2);
  auto launch = pool.launch(slices(3), [](SliceContext&) { std::this_thread::sleep_for(10s); });
  pool.terminate();
  EXPECT_THROW(launch.get(), WorkerLost);
  EXPECT_THROW((void)pool.launch(slices(1), [](SliceContext&) {}), WorkerLost);
  EXPECT_TRUE(pool.worker_pids().empty());
}

TEST_F(PoolTest, DestructionLeavesNoProcessNoZombieAndNoDescriptor) {
  const auto before = test::open_descriptors();
  const auto children_before = test::children_of(::getpid()).size();
  std::vector<pid_t> pids;
  {
    Pool pool(4);
    pids = pool.worker_pids();
    pids.push_back(pool.template_pid());
    pool.launch(slices(100), [](SliceContext&) {}).get();
  }
  EXPECT_EQ(test::open_descriptors(), before);
  EXPECT_EQ(test::children_of(::getpid()).size(), children_before);
  for (const pid_t pid : pids) EXPECT_NE(::kill(pid, 0), 0) << pid;
}

TEST_F(PoolTest, ParentHasNoThreadAndNoSignalHandlerOfOurs) {
  struct sigaction before {};
  ASSERT_EQ(::sigaction(SIGCHLD, nullptr, &before), 0);
  const int threads = process_thread_count();
  Pool pool(2);
  pool.launch(slices(100), [](SliceContext&) {}).get();
  struct sigaction after {};
  ASSERT_EQ(::sigaction(SIGCHLD, nullptr, &after), 0);
  EXPECT_EQ(before.sa_handler, after.sa_handler);
  EXPECT_EQ(process_thread_count(), threads);
}

TEST_F(PoolTest, WorkersHaveOnlyTheDescriptorsTheyNeed) {
  int fds[2];
  ASSERT_EQ(::pipe(fds), 0);
  PoolOptions options;
  options.workers = 5;
  options.keep_fds = {fds[1]};
  {
    Pool pool(options);
    const int kept = fds[1];
    const int closed = fds[0];
    const ArenaArray<std::uint64_t> counts(pool.arena(), 5);
    auto* const data = counts.data();
    pool.launch(slices(5),
                [=](SliceContext& context) {
                  if (::fcntl(kept, F_GETFD) == -1) throw std::runtime_error("kept descriptor is closed");
                  if (::fcntl(closed, F_GETFD) != -1) throw std::runtime_error("descriptor was inherited");
                  data[context.slice()] = test::open_descriptors();
                })
        .get();
    // 0, 1, 2, the kept one, and the pipe that tells the parent that all are gone; no sibling's.
    for (std::size_t i = 0; i < 5; ++i) EXPECT_EQ(counts[i], 5U);
  }
  // With the pool gone nobody else has the writing end: its reader sees the end of the file at once.
  ::close(fds[1]);
  char byte = 0;
  EXPECT_EQ(::read(fds[0], &byte, 1), 0);
  ::close(fds[0]);
}

TEST_F(PoolTest, InitializerRunsInEachWorkerAndMayBeAnyCallable) {
  auto arena = std::make_shared<Arena>();
  const ArenaArray<std::atomic<int>> calls(*arena, 1);
  const std::vector<int> not_trivially_copyable(10, 1);
  PoolOptions options;
  options.workers = 3;
  options.arena = arena;
  options.initializer = [&calls, not_trivially_copyable] { calls[0].fetch_add(not_trivially_copyable[9]); };
  Pool pool(options);
  EXPECT_TRUE(test::eventually([&] { return calls[0] == 3; }));
}

TEST_F(PoolTest, TwoPoolsMayShareAnArena) {
  auto arena = std::make_shared<Arena>();
  PoolOptions options;
  options.workers = 1;
  options.arena = arena;
  Pool first(options);
  Pool second(options);
  const ArenaArray<int> values(*arena, 1);
  int* const value = values.data();
  first.launch(slices(1), [value](SliceContext&) { *value = 20; }).get();
  second.launch(slices(1), [value](SliceContext&) { *value += 1; }).get();
  EXPECT_EQ(*value, 21);
  // Each in flight at the same time as the other.
  auto a = first.launch(slices(10), [](SliceContext&) { std::this_thread::sleep_for(1ms); });
  auto b = second.launch(slices(10), [](SliceContext&) { std::this_thread::sleep_for(1ms); });
  b.get();
  a.get();
}

TEST_F(PoolTest, ProcessWithOtherThreadsIsRefusedInWordsUnlessAllowed) {
  std::atomic<bool> leave{false};
  std::thread other([&] {
    while (!leave) std::this_thread::sleep_for(1ms);
  });
  const std::string text = test::thrown_text([] { const Pool pool(1); });
  EXPECT_NE(text.find("this process has 2 threads"), std::string::npos) << text;
  EXPECT_NE(text.find("make the pool before the first thread is started"), std::string::npos) << text;
  PoolOptions options;
  options.workers = 1;
  options.other_threads = OtherThreads::allow;
  Pool pool(options);
  pool.launch(slices(3), [](SliceContext&) {}).get();
  leave = true;
  other.join();
}

TEST_F(PoolTest, WrongOptionsAreRefused) {
  EXPECT_THROW(Pool(-1), std::logic_error);
  Pool pool(1);
  LaunchOptions options = slices(max_slices + 1);
  EXPECT_THROW((void)pool.launch(options, [](SliceContext&) {}), std::logic_error);
  options = slices(1);
  options.max_kills = 0;
  EXPECT_THROW((void)pool.launch(options, [](SliceContext&) {}), std::logic_error);
  options = slices(2);
  options.first_slice = UINT32_MAX - 1;
  EXPECT_THROW((void)pool.launch(options, [](SliceContext&) {}), std::logic_error);
}

TEST_F(PoolTest, BufferedOutputAppearsOnce) {
  // In a child of its own, whose standard output is a file.
  const test::TemporaryDirectory directory;
  const std::string path = directory / "out";
  EXPECT_EQ(test::run_in_child([&] {
              ASSERT_NE(std::freopen(path.c_str(), "w", stdout), nullptr);
              std::printf("once\n");
              Pool pool(3);
              pool.launch(slices(9),
                          [](SliceContext& context) {
                            if (context.slice() == 0) std::printf("slice\n");
                          })
                  .get();
            }),
            0);
  std::ifstream file(path);
  const std::string text((std::istreambuf_iterator<char>(file)), {});
  EXPECT_EQ(text, "once\nslice\n");
}

TEST_F(PoolTest, LaunchNeedsNoMemoryAndIsQuick) {
  Pool pool(2);
  const auto body = [](SliceContext&) {};
  for (int warm = 0; warm < 100; ++warm) pool.launch(slices(4), body).get();
  rusage before{};
  ::getrusage(RUSAGE_SELF, &before);
  const auto start = Clock::now();
  constexpr int rounds = 1000;
  for (int round = 0; round < rounds; ++round) pool.launch(slices(4), body).get();
  const auto each = std::chrono::duration<double, std::micro>(Clock::now() - start).count() / rounds;
  rusage after{};
  ::getrusage(RUSAGE_SELF, &after);
  RecordProperty("microseconds_per_launch", std::to_string(each));
  EXPECT_LT(each, 5000) << "of a machine that may be busy; alone it is some tens";
  EXPECT_LT(after.ru_minflt - before.ru_minflt, 50) << "fresh pages are touched by each launch";
}

}  // namespace
}  // namespace runrig
