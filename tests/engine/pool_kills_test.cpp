// Pools under kills at every step, and at random.

#include <chrono>
#include <random>
#include <thread>

#include "pool_test_support.hpp"
#include "runrig/engine/pool.hpp"
#include "runrig/sync/killpoint.hpp"

namespace runrig {
namespace {

using namespace std::chrono_literals;
using test::ArenaArray;

class PoolKills : public ::testing::Test {
 protected:
  void SetUp() override { RUNRIG_NEED_FORKS(); }
};

LaunchOptions slices(std::uint32_t count) {
  LaunchOptions options;
  options.slices = count;
  options.keep_going = true;
  return options;
}

// A worker killed at each step of taking and booking a slice, again and again: every slice is done, once in effect.
TEST_F(PoolKills, NoKillPointOfAWorkerLosesASlice) {
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
TEST_F(PoolKills, NoKillPointOfTheTemplateLosesASlice) {
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
TEST_F(PoolKills, StormOfKillsLosesNothing) {
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
