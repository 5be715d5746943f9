// Tasks under kills at every step, and at random.

#include <chrono>
#include <deque>
#include <memory>
#include <mutex>
#include <random>
#include <string>
#include <thread>

#include "pool_test_support.hpp"
#include "runrig/engine/pool.hpp"
#include "runrig/shm/shared.hpp"
#include "runrig/sync/barrier.hpp"
#include "runrig/sync/condition.hpp"
#include "runrig/sync/killpoint.hpp"
#include "runrig/sync/lock.hpp"

namespace runrig {
namespace {

using namespace std::chrono_literals;
using test::ArenaArray;

class PoolTaskKills : public ::testing::Test {
 protected:
  void SetUp() override { RUNRIG_NEED_FORKS(); }
};

// Makes a small result and, now and then, one for the region.
std::vector<int> numbers_from(int first) {
  std::vector<int> numbers(first % 4 == 0 ? 3000 : 5);
  for (std::size_t i = 0; i < numbers.size(); ++i) numbers[i] = first + static_cast<int>(i);
  return numbers;
}

// A worker killed at each step of taking, running and finishing a task, again and again: every task is done, once in
// effect, as all may be run again.
TEST_F(PoolTaskKills, NoKillPointOfAWorkerLosesATask) {
  if (!killpoint::compiled_in()) GTEST_SKIP() << "this build has no kill points";
  const char* const points[] = {"pool.task.taken",   "pool.task.intended", "pool.task.claimed",
                                "pool.task.called",  "pool.task.answered", "pool.task.answer_written",
                                "pool.task.final",   "pool.task.noting",   "pool.task.noted",
                                "pool.task.counted", "pool.task.idle",     "pool.task.region_restarted"};
  for (const char* const point : points) {
    SCOPED_TRACE(point);
    auto arena = std::make_shared<Arena>();
    const ArenaArray<std::atomic<int>> armed(*arena, 1);
    PoolOptions options;
    options.workers = 2;
    options.arena = arena;
    options.retries = 20;
    options.initializer = [&armed, point] {
      const int turn = armed[0].fetch_add(1);
      if (turn < 10) killpoint::arm(point, 1 + turn % 5);  // each worker dies at another task
    };
    Pool pool(options);
    // Until all have died: who gets how many tasks is the scheduler's business.
    for (int round = 0; round < 3 || (pool.workers_lost() < 10 && round < 500); ++round) {
      std::deque<AsyncResult<std::vector<int>>> results;
      for (int i = 0; i < 60; ++i) results.push_back(pool.apply_async(numbers_from, round + i));
      for (int i = 0; i < 60; ++i) {
        ASSERT_EQ(std::move(results.front()).get(20s), numbers_from(round + i));
        results.pop_front();
      }
      if (round % 10 == 0) std::this_thread::sleep_for(1ms);  // some die when they have nothing to do
    }
    EXPECT_EQ(pool.workers_lost(), 10U);
  }
}

// Without leave to run tasks again: each is done or reported, and nothing else is.
TEST_F(PoolTaskKills, KilledTaskIsDoneOrReportedNeverBothNorNeither) {
  if (!killpoint::compiled_in()) GTEST_SKIP() << "this build has no kill points";
  struct Case {
    const char* point;
    bool lost;
  };
  for (const Case each :
       {Case{"pool.task.taken", false}, Case{"pool.task.intended", false}, Case{"pool.task.claimed", true},
        Case{"pool.task.answered", true}, Case{"pool.task.final", false}, Case{"pool.task.noted", false}}) {
    SCOPED_TRACE(each.point);
    auto arena = std::make_shared<Arena>();
    const ArenaArray<std::atomic<int>> counters(*arena, 2);
    PoolOptions options;
    options.workers = 1;
    options.arena = arena;
    options.initializer = [&counters, each] {
      if (counters[0].fetch_add(1) == 0) killpoint::arm(each.point, 3);
    };
    Pool pool(options);
    auto* const runs = &counters[1];
    std::vector<AsyncResult<int>> results;
    for (int i = 0; i < 10; ++i) {
      results.push_back(pool.apply_async(
          [runs](int number) {
            runs->fetch_add(1);
            return number;
          },
          i));
    }
    int lost = 0;
    for (int i = 0; i < 10; ++i) {
      try {
        ASSERT_EQ(results[static_cast<std::size_t>(i)].get(20s), i);
      } catch (const WorkerLost&) {
        EXPECT_EQ(i, 2);
        ++lost;
      }
    }
    EXPECT_EQ(lost, each.lost ? 1 : 0);
    EXPECT_EQ(counters[1].load(), std::string(each.point) == "pool.task.claimed" ? 9 : 10);
  }
}

// The template killed at each of its steps, while it books a worker's death.
TEST_F(PoolTaskKills, NoKillPointOfTheTemplateLosesATask) {
  if (!killpoint::compiled_in()) GTEST_SKIP() << "this build has no kill points";
  for (const char* const point : {"pool.template.reaped", "pool.template.task_pending", "pool.template.task_booked"}) {
    SCOPED_TRACE(point);
    auto arena = std::make_shared<Arena>();
    const ArenaArray<std::atomic<int>> killed(*arena, 1);
    PoolOptions options;
    options.workers = 2;
    options.arena = arena;
    options.retries = 5;
    killpoint::arm(point);
    Pool pool(options);
    killpoint::disarm();  // the next template is not killed
    const pid_t first = pool.template_pid();
    auto* const once = killed.data();
    std::vector<AsyncResult<int>> results;
    for (int i = 0; i < 200; ++i) {
      results.push_back(pool.apply_async(
          [once](int number) {
            if (number == 100 && once->exchange(1) == 0) ::raise(SIGKILL);
            return number;
          },
          i));
    }
    for (int i = 0; i < 200; ++i) ASSERT_EQ(results[static_cast<std::size_t>(i)].get(20s), i);
    EXPECT_NE(pool.template_pid(), first);
  }
}

std::uint64_t hash(int number) {
  auto value = static_cast<std::uint64_t>(number);
  for (int i = 0; i < 2000; ++i) value = value * 6364136223846793005ULL + 1442695040888963407ULL;
  return value;
}

// Holds the lock, also if its last holder died: there is nothing to repair.
std::unique_lock<Lock> hold(Lock& lock) {
  for (;;) {
    try {
      return std::unique_lock<Lock>(lock);
    } catch (const OwnerDied&) {
      if (auto recovery = lock.recover()) {
        recovery->commit();
        return {lock, std::adopt_lock};
      }
    }
  }
}

// Tasks of the storm. Each uses a primitive that others, who may be killed at any moment, use as well.

std::uint64_t under_lock(int number, const Shared<Lock>& lock) {
  const auto guard = hold(*lock);
  return hash(number);
}

std::uint64_t at_barrier(int number, const Shared<Barrier>& barrier) {
  try {
    (void)barrier->wait(20ms);
  } catch (const BrokenBarrier&) {
    if (number % 3 == 0) barrier->reset();  // nobody came, or a party died
  }
  return hash(number);
}

std::uint64_t at_condition(int number, const Shared<Lock>& lock, const Shared<ConditionVariable>& condition) {
  auto guard = hold(*lock);
  if (number % 2 == 0) {
    condition->notify(1);
    return hash(number);
  }
  try {
    (void)condition->wait(guard, 5ms);
  } catch (const OwnerDied&) {
    guard.release();  // it is not held; the next one repairs it
  }
  return hash(number);
}

// 20 seconds, or ten minutes at night: a pool under load has a worker, and now and then the template, killed every few
// milliseconds.
TEST_F(PoolTaskKills, StormOfKillsNeverHangsAndNeverGivesAWrongAnswer) {
#ifdef RUNRIG_NIGHTLY
  constexpr auto length = 600s;
#else
  constexpr auto length = 20s;
#endif
  const unsigned seed = std::random_device{}();
  SCOPED_TRACE("seed " + std::to_string(seed));
  std::mt19937 random(seed);
  const Shared<Lock> lock;  // the first shared object of a process opens its heap, which stays
  const auto descriptors = test::open_descriptors();
  std::uint64_t kills = 0;
  std::uint64_t template_kills = 0;
  std::uint64_t done = 0;
  std::uint64_t lost = 0;
  {
    PoolOptions options;
    options.workers = 3;
    options.retries = 2;
    Pool pool(options);
    const Shared<Barrier> barrier(std::in_place, 2);
    const Shared<ConditionVariable> condition;
    // In a process of its own: a thread beside would forbid to replace the template.
    const ArenaArray<std::atomic<std::uint64_t>> counters(pool.arena(), 2);
    auto* const kill_count = &counters[0];
    auto* const begun = &counters[1];
    test::Child killer([&pool, kill_count, begun, seed] {
      std::mt19937 killers_random(seed);
      for (std::uint64_t last = 0;; last = begun->load()) {
        std::this_thread::sleep_for(std::chrono::microseconds(1000 + killers_random() % 8000));
        // A machine that is too busy to start a worker between two kills would find that none can be started.
        while (begun->load() == last) std::this_thread::sleep_for(200us);
        const auto pids = pool.worker_pids();  // which lie in memory that all share
        if (pids.empty()) continue;
        ::kill(pids[killers_random() % pids.size()], SIGKILL);
        kill_count->fetch_add(1);
      }
    });
    struct Sent {
      int number;
      AsyncResult<std::uint64_t> result;
    };
    std::deque<Sent> sent;
    const auto end = Clock::now() + length;
    auto next_kill = Clock::now() + 300ms;
    for (int number = 0; Clock::now() < end || !sent.empty(); ++number) {
      if (Clock::now() < end) {
        switch (random() % 8) {
          case 0:
            sent.push_back({number, pool.apply_async(under_lock, number, lock)});
            break;
          case 1:
            sent.push_back({number, pool.apply_async(at_condition, number, lock, condition)});
            break;
          case 2:
            if (number % 8 == 0) sent.push_back({number, pool.apply_async(at_barrier, number, barrier)});
            break;
          default:
            sent.push_back({number, pool.apply_async(
                                        [begun](int value) {
                                          begun->fetch_add(1);
                                          return hash(value);
                                        },
                                        number)});
        }
        if (Clock::now() >= next_kill) {
          next_kill = Clock::now() + std::chrono::milliseconds(500 + random() % 1000);
          ::kill(pool.template_pid(), SIGKILL);
          ++template_kills;
        }
      }
      while (sent.size() > 100 || (Clock::now() >= end && !sent.empty())) {
        try {
          ASSERT_EQ(sent.front().result.get(20s), hash(sent.front().number));
          ++done;
        } catch (const WorkerLost&) {
          ++lost;
        }
        sent.pop_front();
      }
    }
    killer.signal(SIGKILL);
    (void)killer.join();
    kills = counters[0];
    EXPECT_EQ(pool.apply([](int a) { return a + 1; }, 1), 2);
  }
  EXPECT_GT(kills, 100U);
  EXPECT_GT(template_kills, 0U);
  EXPECT_GT(done, 100U);
  EXPECT_EQ(test::children_of(::getpid()).size(), 0U);
  EXPECT_EQ(test::open_descriptors(), descriptors);
  RecordProperty("kills", std::to_string(kills));
  RecordProperty("template_kills", std::to_string(template_kills));
  RecordProperty("done", std::to_string(done));
  RecordProperty("lost", std::to_string(lost));
}

}  // namespace
}  // namespace runrig
