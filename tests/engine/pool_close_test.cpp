// The ends of pools: Python's close, terminate, join, scope; maxtasksperchild and initializer; pitfalls P10, P11, O1.

#include <sys/wait.h>

#include <chrono>
#include <memory>
#include <random>
#include <set>
#include <stdexcept>
#include <string>
#include <thread>

#include "pool_test_support.hpp"
#include "runrig/engine/pool.hpp"

namespace runrig {
namespace {

using namespace std::chrono_literals;
using test::ArenaArray;

using test::square;

class PoolCloseTest : public ::testing::Test {
 protected:
  void SetUp() override { RUNRIG_NEED_FORKS(); }
};

TEST_F(PoolCloseTest, Close_PreventsFurtherTasksAndLaunchesAndLetsTheSubmittedOnesEnd) {
  Pool pool(2);
  std::vector<AsyncResult<int>> results;
  for (int i = 0; i < 1500; ++i) results.push_back(pool.apply_async(square, i));
  pool.close();
  const std::string text = test::thrown_text([&] { (void)pool.apply(square, 1); });
  EXPECT_NE(text.find("the pool was closed"), std::string::npos) << text;
  EXPECT_THROW((void)pool.apply_async(square, 1), std::logic_error);
  EXPECT_THROW((void)pool.map(square, std::vector<int>{1}), std::logic_error);
  EXPECT_THROW((void)pool.map_async(square, std::vector<int>{1}), std::logic_error);
  EXPECT_THROW((void)pool.imap(square, std::vector<int>{1}), std::logic_error);
  EXPECT_THROW((void)pool.launch(LaunchOptions{}, [](SliceContext&) {}), std::logic_error);
  for (int i = 0; i < 1500; ++i) EXPECT_EQ(results[static_cast<std::size_t>(i)].get(10s), i * i);
  pool.close();
}

TEST_F(PoolCloseTest, Join_WaitsForTheWorkerProcessesToExit) {
  Pool pool(2);
  auto result = pool.apply_async([] {
    std::this_thread::sleep_for(50ms);
    return 5;
  });
  const auto pids = pool.worker_pids();
  EXPECT_THROW(pool.join(), std::logic_error) << "one must close or terminate it first";
  pool.close();
  pool.join();
  EXPECT_TRUE(result.ready());
  EXPECT_EQ(result.get(), 5);
  for (const pid_t pid : pids) EXPECT_FALSE(test::process_lives(pid));
  EXPECT_EQ(test::children_of(::getpid()).size(), 0U);
  pool.join();
}

TEST_F(PoolCloseTest, Close_EndsTheWorkersWhenTheLastResultHasBeenTaken) {
  Pool pool(2);
  auto result = pool.apply_async(square, 3);
  const auto pids = pool.worker_pids();
  pool.close();
  EXPECT_EQ(result.get(10s), 9);
  EXPECT_TRUE(result.ready());
  for (const pid_t pid : pids) EXPECT_FALSE(test::process_lives(pid));
}

TEST_F(PoolCloseTest, Terminate_StopsTheWorkersWithoutCompletingOutstandingWork) {
  Pool pool(2);
  std::vector<AsyncResult<void>> results;
  for (int i = 0; i < 2000; ++i) results.push_back(pool.apply_async([] { std::this_thread::sleep_for(60s); }));
  const auto pids = pool.worker_pids();
  const auto start = Clock::now();
  pool.terminate();
  pool.join();
  EXPECT_LT(Clock::now() - start, 5s);
  for (const pid_t pid : pids) EXPECT_FALSE(test::process_lives(pid));
  for (auto& each : results) {
    ASSERT_TRUE(each.ready());
    const std::string text = test::thrown_text([&] { each.get(0s); });
    ASSERT_NE(text.find("the pool was terminated"), std::string::npos) << text;
  }
  EXPECT_THROW((void)pool.apply(square, 1), WorkerLost);
}

TEST_F(PoolCloseTest, ScopeEndsAllProcesses) {
  std::vector<pid_t> pids;
  {
    Pool pool(3);
    pids = pool.worker_pids();
    (void)pool.apply_async([] { std::this_thread::sleep_for(60s); });
  }
  ASSERT_EQ(pids.size(), 3U);
  for (const pid_t pid : pids) EXPECT_FALSE(test::process_lives(pid));
}

TEST_F(PoolCloseTest, MaxTasksPerChild_ReplacesAWorkerAfterThatManyTasksAndCallsItNoLoss) {
  PoolOptions options;
  options.workers = 2;
  options.max_tasks_per_child = 3;
  Pool pool(options);
  std::map<int, int> tasks_of;
  for (int i = 0; i < 60; ++i) ++tasks_of[pool.apply([] { return static_cast<int>(::getpid()); })];
  EXPECT_GE(tasks_of.size(), 20U);
  for (const auto& [pid, tasks] : tasks_of) EXPECT_LE(tasks, 3) << pid;
  EXPECT_EQ(pool.workers_lost(), 0U);
  std::vector<int> items(300);
  EXPECT_EQ(pool.map(square, items, {.chunk_size = 1}), items);
  options.max_tasks_per_child = -1;
  EXPECT_THROW(const Pool wrong(options), std::logic_error);
}

int secret = 0;

TEST_F(PoolCloseTest, Initializer_IsCalledWithItsArgumentsInEachWorker) {
  PoolOptions options;
  options.workers = 2;
  options.max_tasks_per_child = 2;
  options.initialize_with([](int number, const std::string& text) { secret = number + std::stoi(text); }, 40,
                          std::string("2"));
  Pool pool(options);
  for (int i = 0; i < 20; ++i) EXPECT_EQ(pool.apply([] { return secret; }), 42);
  EXPECT_EQ(secret, 0);
}

TEST_F(PoolCloseTest, EndsRaceWithDeathsAndSubmissionsAndReturnInTime) {
  const unsigned seed = std::random_device{}();
  SCOPED_TRACE("seed " + std::to_string(seed));
  std::mt19937 random(seed);
  const auto descriptors = test::open_descriptors();
  for (int round = 0; round < 30; ++round) {
    auto pool = std::make_unique<Pool>(2);
    std::atomic<bool> stop{false};
    std::thread submitter([&] {
      try {
        for (int i = 0; !stop; ++i) {
          auto result = pool->apply_async(square, i);
          if (i % 3 == 0) (void)result.get();
        }
      } catch (const WorkerLost&) {
        // terminated, or killed
      } catch (const std::logic_error&) {
        // closed
      }
    });
    std::this_thread::sleep_for(std::chrono::microseconds(random() % 3000));
    const auto pids = pool->worker_pids();
    if (!pids.empty()) ::kill(pids[random() % pids.size()], SIGKILL);
    std::this_thread::sleep_for(std::chrono::microseconds(random() % 2000));
    const auto start = Clock::now();
    switch (random() % 3) {
      case 0:
        pool->close();
        pool->join();
        break;
      case 1:
        pool->terminate();
        pool->join();
        break;
      default:
        pool->close();
        pool->terminate();
    }
    EXPECT_LT(Clock::now() - start, 5s);
    stop = true;
    submitter.join();
    pool.reset();
    ASSERT_EQ(test::children_of(::getpid()).size(), 0U);
  }
  EXPECT_EQ(test::open_descriptors(), descriptors);
}

TEST_F(PoolCloseTest, WorkersThatAreBusyWithTasksEndWithTheirParent) {
  int pipe_fds[2];
  ASSERT_EQ(::pipe(pipe_fds), 0);
  test::Child parent([&] {
    Pool pool(4);
    std::vector<AsyncResult<void>> results;
    for (int i = 0; i < 8; ++i) results.push_back(pool.apply_async([] { std::this_thread::sleep_for(60s); }));
    const auto pids = pool.worker_pids();
    ASSERT_EQ(::write(pipe_fds[1], pids.data(), sizeof(pid_t) * 4), static_cast<ssize_t>(sizeof(pid_t) * 4));
    results[0].wait();
  });
  std::array<pid_t, 4> pids{};
  ASSERT_EQ(::read(pipe_fds[0], pids.data(), sizeof pids), static_cast<ssize_t>(sizeof pids));
  ::close(pipe_fds[0]);
  ::close(pipe_fds[1]);
  parent.signal(SIGKILL);
  ASSERT_EQ(parent.join(), -SIGKILL);
  for (const pid_t pid : pids) EXPECT_TRUE(test::eventually([&] { return !test::process_lives(pid); }));
}

}  // namespace
}  // namespace runrig
