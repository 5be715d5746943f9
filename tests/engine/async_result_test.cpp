// Futures of tasks: Python's AsyncResult as documented, callbacks, and the ends of pools.

#include "runrig/engine/async_result.hpp"

#include <chrono>
#include <memory>
#include <mutex>
#include <stdexcept>
#include <string>
#include <thread>

#include "pool_test_support.hpp"
#include "runrig/engine/machine.hpp"
#include "runrig/engine/pool.hpp"
#include "runrig/engine/remote_exception.hpp"

namespace runrig {
namespace {

using namespace std::chrono_literals;
using test::ArenaArray;

class AsyncResultTest : public ::testing::Test {
 protected:
  void SetUp() override { RUNRIG_NEED_FORKS(); }
};

using test::square;
int fail(int number) { throw std::out_of_range("no such number: " + std::to_string(number)); }

// A task that waits until the test lets it go on.
class Gate {
 public:
  explicit Gate(Pool& pool) : open_(pool.arena(), 1) {}
  void open() { open_[0] = 1; }
  [[nodiscard]] auto task() const {
    return [flag = open_.data()] {
      while (flag->load() == 0) std::this_thread::sleep_for(1ms);
      return 7;
    };
  }

 private:
  ArenaArray<std::atomic<int>> open_;
};

TEST_F(AsyncResultTest, Get_ThrowsTimeoutErrorAtTheDeadlineAndReturnsTheResultWhenItArrives) {
  Pool pool(1);
  Gate gate(pool);
  auto result = pool.apply_async(gate.task());
  const auto start = Clock::now();
  EXPECT_THROW((void)result.get(50ms), TimeoutError);
  EXPECT_GE(Clock::now() - start, 50ms);
  EXPECT_THROW((void)result.get(-1s), TimeoutError);
  gate.open();
  EXPECT_EQ(result.get(10s), 7);
}

TEST_F(AsyncResultTest, Get_RethrowsTheExceptionOfTheCallAsItsOwnType) {
  Pool pool(1);
  auto result = pool.apply_async(fail, 3);
  for (int i = 0; i < 2; ++i) {
    try {
      (void)result.get();
      FAIL() << "must throw";
    } catch (const std::out_of_range& error) {
      const auto* const origin = dynamic_cast<const RemoteOrigin*>(&error);
      ASSERT_NE(origin, nullptr);
      EXPECT_STREQ(origin->text(), "no such number: 3");
      EXPECT_EQ(origin->worker_pid(), pool.worker_pids().at(0));
      EXPECT_NE(std::string(error.what()).find("ForkPoolWorker-1"), std::string::npos) << error.what();
    }
  }
}

TEST_F(AsyncResultTest, Get_OfATemporaryGivesTheValueAway) {
  Pool pool(1);
  const auto text = pool.apply_async([](std::string given) { return given + "!"; }, std::string(1000, 'x')).get();
  EXPECT_EQ(text, std::string(1000, 'x') + "!");
}

TEST_F(AsyncResultTest, Wait_ReturnsWhenTheResultIsThereOrTheTimeHasPassed) {
  Pool pool(1);
  Gate gate(pool);
  auto result = pool.apply_async(gate.task());
  EXPECT_FALSE(result.wait(20ms));
  gate.open();
  EXPECT_TRUE(result.wait(10s));
  result.wait();
  EXPECT_TRUE(result.ready());
}

TEST_F(AsyncResultTest, Ready_SaysWhetherTheCallHasCompleted) {
  Pool pool(1);
  Gate gate(pool);
  auto result = pool.apply_async(gate.task());
  EXPECT_FALSE(result.ready());
  gate.open();
  EXPECT_TRUE(test::eventually([&] { return result.ready(); })) << "also if nobody waits for it";
  auto failed = pool.apply_async(fail, 1);
  EXPECT_TRUE(test::eventually([&] { return failed.ready(); })) << "completed is not successful";
}

TEST_F(AsyncResultTest, Successful_TellsAndThrowsIfTheResultIsNotReady) {
  Pool pool(1);
  Gate gate(pool);
  auto result = pool.apply_async(gate.task());
  const std::string text = test::thrown_text([&] { (void)result.successful(); });
  EXPECT_NE(text.find("not ready"), std::string::npos) << text;
  EXPECT_THROW((void)result.successful(), std::logic_error);
  gate.open();
  result.wait();
  EXPECT_TRUE(result.successful());
  auto failed = pool.apply_async(fail, 1);
  failed.wait();
  EXPECT_FALSE(failed.successful());
}

TEST_F(AsyncResultTest, ResultOfNoCallSaysSo) {
  const AsyncResult<int> none;
  EXPECT_FALSE(none.valid());
  EXPECT_THROW(none.wait(), std::logic_error);
  EXPECT_THROW((void)none.get(), std::logic_error);
  EXPECT_THROW((void)none.ready(), std::logic_error);
}

TEST_F(AsyncResultTest, MapAsync_IsReadyWhenAllCallsHaveEndedAndThrowsForTheFirstInTheInput) {
  Pool pool(2);
  const ArenaArray<std::atomic<int>> calls(pool.arena(), 1);
  auto* const count = calls.data();
  std::vector<int> items(60);
  for (int i = 0; i < 60; ++i) items[static_cast<std::size_t>(i)] = i;
  auto result = pool.map_async(
      [count](int item) {
        std::this_thread::sleep_for(item < 30 ? 3ms : 0ms);
        count->fetch_add(1);
        if (item % 20 == 7) throw std::runtime_error("item " + std::to_string(item));
        return item;
      },
      items, {.chunk_size = 1});
  const std::string text = test::thrown_text([&] { (void)result.get(); });
  EXPECT_NE(text.find("item 7"), std::string::npos) << text;
  EXPECT_EQ(calls[0].load(), 60) << "the other calls are not given up for one that failed";
}

TEST_F(AsyncResultTest, Callback_IsCalledWithTheResultAndErrorCallbackWithTheException) {
  Pool pool(2);
  std::mutex mutex;
  std::vector<int> results;
  std::vector<std::string> errors;
  int wrong = 0;
  std::thread::id thread;
  const auto before = process_thread_count();
  for (int i = 0; i < 20; ++i) {
    auto result = pool.apply_async(i % 2 == 0 ? square : fail, i);
    result.callback([&, i](const int& value) {
      const std::lock_guard guard(mutex);
      thread = std::this_thread::get_id();
      if (value != i * i) ++wrong;
      results.push_back(value);
    });
    result.error_callback([&](const std::exception_ptr& error) {
      const std::lock_guard guard(mutex);
      errors.push_back(test::thrown_text([&] { std::rethrow_exception(error); }));
    });
  }
  EXPECT_EQ(process_thread_count(), before + 1) << "one thread for all callbacks";
  // Nobody waits for any result: the thread for callbacks does.
  EXPECT_TRUE(test::eventually([&] {
    const std::lock_guard guard(mutex);
    return results.size() == 10 && errors.size() == 10;
  }));
  EXPECT_EQ(wrong, 0);
  EXPECT_NE(thread, std::this_thread::get_id());
  EXPECT_NE(errors[0].find("no such number"), std::string::npos) << errors[0];
  pool.close();
  pool.join();
  // The kernel counts a thread for a moment after it was joined.
  EXPECT_TRUE(test::eventually([before] { return process_thread_count() == before; })) << process_thread_count();
}

TEST_F(AsyncResultTest, Callback_OfAResultThatIsReadyIsCalledAsWell) {
  Pool pool(1);
  auto result = pool.apply_async(square, 3);
  result.wait();
  std::atomic<int> seen{0};
  result.callback([&](int value) { seen = value; });
  EXPECT_TRUE(test::eventually([&] { return seen == 9; }));
  pool.close();
  pool.join();
  seen = 0;
  result.callback([&](int value) { seen = value; });
  EXPECT_EQ(seen, 9) << "at once where the pool, and its thread, has ended";
}

TEST_F(AsyncResultTest, Callback_MayUseThePool) {
  Pool pool(2);
  std::atomic<int> seen{0};
  auto first = pool.apply_async(square, 3);
  first.callback([&](int value) { seen = pool.apply(square, value); });
  EXPECT_TRUE(test::eventually([&] { return seen == 81; }));
}

TEST_F(AsyncResultTest, Callback_ThatThrowsIsReportedByJoinAndStopsNoOther) {
  Pool pool(1);
  std::atomic<int> seen{0};
  auto first = pool.apply_async(square, 3);
  first.callback([](int /*value*/) { throw std::runtime_error("from the callback"); });
  auto second = pool.apply_async(square, 4);
  second.callback([&](int value) { seen = value; });
  pool.close();
  const std::string text = test::thrown_text([&] { pool.join(); });
  EXPECT_EQ(text, "from the callback");
  EXPECT_EQ(seen, 16) << "join waits for callbacks";
  pool.join();  // reported once
}

TEST_F(AsyncResultTest, PoolsCanBeMadeAndTemplatesReplacedBesideTheThreadForCallbacks) {
  PoolOptions options;
  options.workers = 2;
  options.retries = 5;
  Pool pool(options);
  std::atomic<int> seen{0};
  auto result = pool.apply_async(square, 3);
  result.callback([&](int value) { seen = value; });
  ASSERT_TRUE(test::eventually([&] { return seen == 9; }));
  for (int i = 0; i < 20; ++i) {
    Pool other(1);
    EXPECT_EQ(other.apply(square, i), i * i);
  }
  const pid_t former = pool.template_pid();
  ::kill(former, SIGKILL);
  EXPECT_TRUE(test::eventually([&] {  // at first perhaps by a worker that outlived its template a little
    EXPECT_EQ(pool.apply_async(TaskOptions{.retries = 3}, square, 5).get(), 25);
    return pool.template_pid() != former;
  }));
}

TEST_F(AsyncResultTest, CallbacksAreCalledWithAnErrorWhenTheTemplateDiesAndOnlyTheirThreadLooks) {
  Pool pool(1);
  Gate gate(pool);
  auto result = pool.apply_async(gate.task());
  std::atomic<int> failed{0};
  result.error_callback([&](const std::exception_ptr& /*error*/) { failed = 1; });
  ::kill(pool.template_pid(), SIGKILL);
  // This thread sleeps, as a program may that waits for its callback.
  EXPECT_TRUE(test::eventually([&] { return failed == 1; }));
  EXPECT_THROW((void)result.get(), WorkerLost);
}

TEST_F(AsyncResultTest, PendingResultsFailPromptlyWhenThePoolIsDestroyed) {
  auto pool = std::make_unique<Pool>(1);
  std::vector<AsyncResult<int>> results;
  for (int i = 0; i < 2000; ++i) {
    results.push_back(pool->apply_async([] {
      std::this_thread::sleep_for(60s);
      return 1;
    }));
  }
  auto lazy = pool->imap(square, std::vector<int>(100, 2));
  const auto start = Clock::now();
  pool.reset();
  EXPECT_LT(Clock::now() - start, 5s);
  for (auto& each : results) {
    const std::string text = test::thrown_text([&] { (void)each.get(0s); });
    ASSERT_NE(text.find("the pool was destroyed"), std::string::npos) << text;
  }
  EXPECT_THROW((void)lazy.next(0s), WorkerLost);
}

TEST_F(AsyncResultTest, SeveralThreadsSubmitAndWaitAtOnce) {
  Pool pool(2);
  std::atomic<int> wrong{0};
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&, t] {
      for (int i = 0; i < 200; ++i) {
        if (pool.apply(square, t * 1000 + i) != (t * 1000 + i) * (t * 1000 + i)) ++wrong;
        auto later = pool.apply_async(square, i);
        const auto mapped = pool.map(square, std::vector<int>{i, i + 1, i + 2});
        if (mapped != std::vector<int>{i * i, (i + 1) * (i + 1), (i + 2) * (i + 2)}) ++wrong;
        if (later.get() != i * i) ++wrong;
      }
    });
  }
  for (auto& each : threads) each.join();
  EXPECT_EQ(wrong, 0);
}

}  // namespace
}  // namespace runrig
