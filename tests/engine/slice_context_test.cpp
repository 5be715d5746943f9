#include <gtest/gtest.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <ctime>
#include <new>

#include "runrig/engine/pool.hpp"

namespace runrig {
namespace {

using namespace std::chrono_literals;

void burn_cpu(std::chrono::milliseconds time) {
  const auto end = std::clock() + time.count() * CLOCKS_PER_SEC / 1000;
  while (std::clock() < end) {
  }
}

TEST(SliceContextTest, AHeartbeatRestartsTheClocksOfTheLimits) {
  Pool pool(1);
  LaunchOptions options;
  options.slices = 1;
  options.cpu_limit = 400ms;
  Launch beating = pool.launch(options, [](SliceContext& context) {
    for (int i = 0; i < 10; ++i) {
      burn_cpu(80ms);
      context.heartbeat();
    }
  });
  beating.wait();
  EXPECT_EQ(beating.outcome(0).state, SliceState::done);
  Launch silent = pool.launch(options, [](SliceContext&) { burn_cpu(20s); });
  silent.wait();
  EXPECT_EQ(silent.outcome(0).state, SliceState::stalled);
}

TEST(SliceContextTest, ARetiredWorkerIsReplacedAfterItsSliceAndCountsAsNoDeath) {
  Pool pool(1);
  const ArenaBlock memory = pool.arena().allocate(4096);
  auto* pids = new (memory.data()) std::atomic<int>[8];
  LaunchOptions options;
  options.slices = 8;
  Launch launch = pool.launch(options, [pids](SliceContext& context) {
    // Relaxed: the launch's end publishes it.
    pids[context.slice()].store(::getpid(), std::memory_order_relaxed);
    if (context.slice() % 2 == 1) context.retire();
  });
  launch.get();
  for (int i = 0; i < 8; i += 2) EXPECT_EQ(pids[i].load(), pids[i + 1].load());
  for (int i = 1; i < 7; i += 2) EXPECT_NE(pids[i].load(), pids[i + 1].load());
  EXPECT_EQ(pool.workers_lost(), 0U);
}

TEST(SliceContextTest, ASliceThatThrowsAndRetiresHasFailedWithItsText) {
  Pool pool(2);
  LaunchOptions options;
  options.slices = 6;
  options.keep_going = true;
  Launch launch = pool.launch(options, [](SliceContext& context) {
    context.retire();
    throw std::runtime_error("damaged");
  });
  launch.wait();
  for (std::uint32_t slice = 0; slice < 6; ++slice) {
    EXPECT_EQ(launch.outcome(slice).state, SliceState::failed);
    EXPECT_EQ(launch.outcome(slice).message, "damaged");
  }
  EXPECT_EQ(pool.workers_lost(), 0U);
}

}  // namespace
}  // namespace runrig
