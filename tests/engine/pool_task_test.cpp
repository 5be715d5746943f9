// Tasks on a Pool: Python's documented behaviour, and what we say beyond it.

#include <chrono>
#include <map>
#include <numeric>
#include <stdexcept>
#include <string>
#include <thread>

#include "pool_test_support.hpp"
#include "runrig/engine/pool.hpp"
#include "runrig/engine/process.hpp"

namespace runrig {
namespace {

using namespace std::chrono_literals;
using test::ArenaArray;

class PoolTaskTest : public ::testing::Test {
 protected:
  void SetUp() override { RUNRIG_NEED_FORKS(); }
};

using test::square;
int own_pid() { return static_cast<int>(::getpid()); }
int subtract(int from, int number) { return from - number; }

TEST_F(PoolTaskTest, Apply_CallsInAWorkerAndReturnsTheResult) {
  Pool pool(2);
  EXPECT_EQ(pool.apply(square, 7), 49);
  EXPECT_EQ(pool.apply([](int a, const std::string& text) { return text + std::to_string(a); }, 5, "five "), "five 5");
  const int pid = pool.apply(own_pid);
  EXPECT_NE(pid, ::getpid());
  const auto pids = pool.worker_pids();
  EXPECT_NE(std::find(pids.begin(), pids.end(), pid), pids.end()) << "executed in one of the workers of the pool";
}

TEST_F(PoolTaskTest, WorkersHaveNamesAndAParentAsInPython) {
  Pool pool(1);
  EXPECT_EQ(pool.apply([] { return current_process().name(); }), "ForkPoolWorker-1");
  EXPECT_TRUE(pool.apply([] { return current_process().daemon(); }));
  EXPECT_EQ(pool.apply([] { return static_cast<int>(parent_process()->pid().value_or(0)); }), ::getpid());
  EXPECT_EQ(pool.apply([] { return parent_process()->name(); }), "MainProcess");
}

TEST_F(PoolTaskTest, Apply_OfVoidReturnsWhenTheCallHasEnded) {
  Pool pool(1);
  const ArenaArray<std::atomic<int>> done(pool.arena(), 1);
  auto* const flag = done.data();
  pool.apply([flag] {
    std::this_thread::sleep_for(20ms);
    flag->store(1);
  });
  EXPECT_EQ(done[0].load(), 1);
}

TEST_F(PoolTaskTest, Apply_CarriesContainersBothWaysOfAnySize) {
  Pool pool(2);
  for (const std::size_t size : {0U, 1U, 30U, 100U, 1000U, 100'000U, 3'000'000U}) {
    std::vector<double> numbers(size);
    std::iota(numbers.begin(), numbers.end(), 0.5);
    const auto back = pool.apply(
        [](std::vector<double> received) {
          for (double& each : received) each *= 2;
          return received;
        },
        numbers);
    for (double& each : numbers) each *= 2;
    ASSERT_EQ(back, numbers) << size;
  }
  const std::map<std::string, std::vector<int>> table{{"a", {1, 2}}, {"b", {}}};
  EXPECT_EQ(pool.apply([](std::map<std::string, std::vector<int>> given) { return given; }, table), table);
}

TEST_F(PoolTaskTest, Apply_ThrowsWhatTheCallThrew) {
  Pool pool(2);
  const std::string text = test::thrown_text([&] { pool.apply([] { throw std::out_of_range("index 7"); }); });
  EXPECT_NE(text.find("index 7"), std::string::npos) << text;
  EXPECT_EQ(pool.apply(square, 3), 9);
  EXPECT_EQ(pool.workers_lost(), 0U);
}

TEST_F(PoolTaskTest, ApplyAsync_ReturnsAtOnceAndGetsTheResultLater) {
  Pool pool(2);
  const ArenaArray<std::atomic<int>> gate(pool.arena(), 1);
  auto* const open = gate.data();
  auto slow = pool.apply_async([open] {
    while (open->load() == 0) std::this_thread::sleep_for(1ms);
    return 5;
  });
  EXPECT_FALSE(slow.ready());
  *open = 1;
  EXPECT_EQ(slow.get(), 5);
  EXPECT_TRUE(slow.ready());
  EXPECT_TRUE(slow.successful());
  EXPECT_EQ(slow.get(), 5) << "as often as one likes";
}

TEST_F(PoolTaskTest, ApplyAsync_ManyMoreThanThereAreSlotsAllComeBack) {
  Pool pool(2);
  std::vector<AsyncResult<int>> results;
  for (int i = 0; i < 5000; ++i) results.push_back(pool.apply_async(square, i));
  for (int i = 0; i < 5000; ++i) ASSERT_EQ(results[static_cast<std::size_t>(i)].get(), i * i);
}

TEST_F(PoolTaskTest, Map_ReturnsTheResultsInOrderWhateverTheChunkSize) {
  Pool pool(3);
  std::vector<int> items(2500);
  std::iota(items.begin(), items.end(), -3);
  std::vector<int> expected;
  for (const int each : items) expected.push_back(square(each));
  EXPECT_EQ(pool.map(square, items), expected);
  for (const std::size_t chunk : {1U, 7U, 2500U, 9999U}) {
    EXPECT_EQ(pool.map(square, items, {.chunk_size = chunk}), expected) << chunk;
  }
  EXPECT_TRUE(pool.map(square, std::vector<int>{}).empty());
}

TEST_F(PoolTaskTest, Starmap_UnpacksEachItemIntoArguments) {
  Pool pool(2);
  const std::vector<std::tuple<int, int>> items{{5, 2}, {9, 1}};
  EXPECT_EQ(pool.starmap(subtract, items), (std::vector<int>{3, 8}));
  const std::vector<std::pair<int, int>> pairs{{1, 1}, {4, 1}};
  EXPECT_EQ(pool.starmap_async(subtract, pairs).get(), (std::vector<int>{0, 3}));
}

TEST_F(PoolTaskTest, WorkerThatIsKilledFailsItsTaskOnlyAndNamesTheSignal) {
  Pool pool(2);
  auto doomed = pool.apply_async([] { ::raise(SIGKILL); });
  std::vector<AsyncResult<int>> others;
  for (int i = 0; i < 50; ++i) others.push_back(pool.apply_async(square, i));
  try {
    doomed.get(5s);
    FAIL() << "must throw";
  } catch (const WorkerLost& lost) {
    EXPECT_EQ(lost.signal(), SIGKILL);
    EXPECT_GT(lost.pid(), 0);
    EXPECT_NE(std::string(lost.what()).find("task 1 on pool 'runrig'"), std::string::npos) << lost.what();
    EXPECT_NE(std::string(lost.what()).find("was killed by SIGKILL"), std::string::npos) << lost.what();
  }
  for (int i = 0; i < 50; ++i) EXPECT_EQ(others[static_cast<std::size_t>(i)].get(5s), i * i);
  EXPECT_EQ(pool.workers_lost(), 1U);
}

}  // namespace
}  // namespace runrig
