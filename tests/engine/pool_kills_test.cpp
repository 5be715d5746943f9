// Pools whose processes are killed at each step that matters. Kills at random: tests/process/pool_storm_test.cpp.

#include <chrono>
#include <deque>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "killpoints.hpp"
#include "pool_test_support.hpp"
#include "runrig/engine/pool.hpp"
#include "runrig/sync/killpoint.hpp"

namespace runrig {
namespace {

using namespace std::chrono_literals;
using test::ArenaArray;

class PoolKills : public ::testing::Test {
 protected:
  void SetUp() override {
    RUNRIG_NEED_FORKS();
    RUNRIG_NEED_KILLPOINTS();
  }

  static constexpr std::uint64_t doomed = 10;
  // Two workers. The first ten are killed at `point`, each when it comes by for another time, `latest` at most.
  [[nodiscard]] PoolOptions with_doomed_workers(const char* point, int latest) {
    PoolOptions options = two_workers();
    starts_.emplace(*options.arena, 1);
    options.initializer = [starts = starts_->data(), point, latest] {
      const int turn = starts->fetch_add(1);
      if (turn < int{doomed}) killpoint::arm(point, 1 + turn % latest);
    };
    return options;
  }
  [[nodiscard]] static PoolOptions two_workers() {
    PoolOptions options;
    options.workers = 2;
    options.retries = 20;
    options.arena = std::make_shared<Arena>();
    return options;
  }
  // Calls `once(round)` until all of them have died: who gets how much to do is the scheduler's business.
  template <class Once>
  static void repeat_until_all_died(Pool& pool, int rounds, const Once& once) {
    for (int round = 0; round < rounds || (pool.workers_lost() < doomed && round < 500); ++round) {
      once(round);
      if (HasFatalFailure()) return;
      if (round % 10 == 0) std::this_thread::sleep_for(1ms);  // some die when they have nothing to do
    }
    EXPECT_EQ(pool.workers_lost(), doomed);
  }

 private:
  std::optional<ArenaArray<std::atomic<int>>> starts_;
};

LaunchOptions for_kills(std::uint32_t count) {
  LaunchOptions options = test::slices(count);
  options.keep_going = true;
  options.max_kills = 20;
  return options;
}

// A small result and, now and then, one for the region.
std::vector<int> numbers_from(int first) {
  std::vector<int> numbers(first % 4 == 0 ? 3000 : 5);
  for (std::size_t i = 0; i < numbers.size(); ++i) numbers[i] = first + static_cast<int>(i);
  return numbers;
}

TEST_F(PoolKills, NoKillPointOfAWorkerLosesASlice) {
  for (const char* const point : {"pool.claim.counted", "pool.claim.intended", "pool.claim.claimed",
                                  "pool.finish.prepared", "pool.finish.booked", "pool.finish.counted"}) {
    SCOPED_TRACE(point);
    Pool pool(with_doomed_workers(point, 10));
    const ArenaArray<std::uint64_t> values(pool.arena(), 200);
    auto* const data = values.data();
    repeat_until_all_died(pool, 5, [&](int round) {
      const auto value = static_cast<std::uint64_t>(round) + 1;
      auto launch = pool.launch(for_kills(200), [=](SliceContext& context) { data[context.slice()] = value; });
      ASSERT_TRUE(launch.wait(Deadline::after(60s)));
      launch.get();
      for (std::size_t i = 0; i < values.size(); ++i) ASSERT_EQ(values[i], value);
    });
  }
}

// Taking, running and finishing a task: every one is done, once in effect, as all may be run again.
TEST_F(PoolKills, NoKillPointOfAWorkerLosesATask) {
  for (const char* const point :
       {"pool.task.taken", "pool.task.intended", "pool.task.claimed", "pool.task.called", "pool.task.answered",
        "pool.task.answer_written", "pool.task.final", "pool.task.noting", "pool.task.noted", "pool.task.counted",
        "pool.task.idle", "pool.task.region_restarted"}) {
    SCOPED_TRACE(point);
    Pool pool(with_doomed_workers(point, 5));
    repeat_until_all_died(pool, 3, [&](int round) {
      std::deque<AsyncResult<std::vector<int>>> results;
      for (int i = 0; i < 60; ++i) results.push_back(pool.apply_async(numbers_from, round + i));
      for (int i = 0; i < 60; ++i) {
        ASSERT_EQ(std::move(results.front()).get(60s), numbers_from(round + i));
        results.pop_front();
      }
    });
  }
}

// Ten workers in a row that never get to do anything are bad luck, if others do: see most_strikes.
TEST_F(PoolKills, WorkersKilledAtTheirStartAreReplaced) {
  killpoint::arm("pool.worker.starting");  // each worker of this template
  Pool pool(two_workers());
  killpoint::disarm();
  const pid_t first = pool.template_pid();
  auto result = pool.apply_async(numbers_from, 7);
  ASSERT_TRUE(test::eventually([&] { return pool.workers_lost() >= doomed; }));
  ::kill(first, SIGKILL);  // the workers of the next are not killed
  EXPECT_EQ(std::move(result).get(60s), numbers_from(7));
  EXPECT_NE(pool.template_pid(), first);
}

// Without leave to run tasks again: each is done or reported, and nothing else is.
TEST_F(PoolKills, KilledTaskIsDoneOrReportedNeverBothNorNeither) {
  struct Case {
    const char* point;
    bool lost;
  };
  for (const Case each :
       {Case{"pool.task.taken", false}, Case{"pool.task.intended", false}, Case{"pool.task.claimed", true},
        Case{"pool.task.answered", true}, Case{"pool.task.final", false}, Case{"pool.task.noted", false}}) {
    SCOPED_TRACE(each.point);
    PoolOptions options = two_workers();
    options.workers = 1;
    options.retries = 0;
    const ArenaArray<std::atomic<int>> counters(*options.arena, 2);
    options.initializer = [starts = &counters[0], each] {
      if (starts->fetch_add(1) == 0) killpoint::arm(each.point, 3);
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
        ASSERT_EQ(results[static_cast<std::size_t>(i)].get(60s), i);
      } catch (const WorkerLost&) {
        EXPECT_EQ(i, 2);
        ++lost;
      }
    }
    EXPECT_EQ(lost, each.lost ? 1 : 0);
    EXPECT_EQ(counters[1].load(), std::string(each.point) == "pool.task.claimed" ? 9 : 10);
  }
}

// The template, while it books the death of a worker that had a slice, or a task.
TEST_F(PoolKills, NoKillPointOfTheTemplateLosesASliceOrATask) {
  for (const char* const point :
       {"pool.template.reaped", "pool.template.booked", "pool.template.task_pending", "pool.template.task_booked"}) {
    SCOPED_TRACE(point);
    killpoint::arm(point);
    Pool pool(two_workers());
    killpoint::disarm();  // the next template is not killed
    const pid_t first = pool.template_pid();
    const ArenaArray<std::uint64_t> values(pool.arena(), 200);
    const ArenaArray<std::atomic<int>> kills(pool.arena(), 2);
    auto* const data = values.data();
    auto* const killed = kills.data();
    auto launch = pool.launch(for_kills(200), [=](SliceContext& context) {
      data[context.slice()] = context.slice() + 1;
      if (context.slice() == 100 && killed[0].exchange(1) == 0) ::raise(SIGKILL);
    });
    std::vector<AsyncResult<int>> results;
    for (int i = 0; i < 200; ++i) {
      results.push_back(pool.apply_async(
          [killed](int number) {
            if (number == 100 && killed[1].exchange(1) == 0) ::raise(SIGKILL);
            return number;
          },
          i));
    }
    for (int i = 0; i < 200; ++i) ASSERT_EQ(results[static_cast<std::size_t>(i)].get(60s), i);
    ASSERT_TRUE(launch.wait(Deadline::after(60s)));
    launch.get();
    for (std::size_t i = 0; i < values.size(); ++i) ASSERT_EQ(values[i], i + 1);
    EXPECT_NE(pool.template_pid(), first);
  }
}

TEST_F(PoolKills, TemplateKilledAtItsStartIsFollowedByAnother) {
  Pool pool(two_workers());
  killpoint::arm("pool.template.starting");  // in each that is forked from now on
  const pid_t first = pool.template_pid();
  ::kill(first, SIGKILL);
  auto result = pool.apply_async(numbers_from, 7);
  EXPECT_TRUE(test::eventually([&] {  // the first may not be dead yet, and has workers
    if (result.wait(20ms)) result = pool.apply_async(numbers_from, 7);
    return pool.template_pid() != first;
  }));
  EXPECT_TRUE(test::eventually([&] { return !test::process_lives(pool.template_pid()); }));
  killpoint::disarm();
  EXPECT_EQ(std::move(result).get(60s), numbers_from(7));
}

TEST_F(PoolKills, TemplatesThatAreAllKilledAtTheirStartEndThePoolInWords) {
  PoolOptions options = two_workers();
  options.initializer = [] { std::this_thread::sleep_for(100ms); };  // their workers get nothing done before they end
  Pool pool(options);
  killpoint::arm("pool.template.starting");
  ::kill(pool.template_pid(), SIGKILL);
  std::string why;
  EXPECT_TRUE(test::eventually([&] {  // at first perhaps by a worker that outlived its template a little
    why = test::thrown_text([&] { (void)pool.apply(numbers_from, 7); });
    return !why.empty();
  }));
  killpoint::disarm();
  EXPECT_NE(why.find("again and again"), std::string::npos) << why;
  EXPECT_EQ(pool.worker_pids().size(), 0U);
}

}  // namespace
}  // namespace runrig
