// The interface of Pool on threads.

#include "runrig/engine/thread_pool.hpp"

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <memory>
#include <mutex>
#include <numeric>
#include <ranges>
#include <set>
#include <stdexcept>
#include <string>
#include <thread>

#include "pool_test_support.hpp"
#include "runrig/engine/machine.hpp"
#include "support.hpp"

namespace runrig {
namespace {

using namespace std::chrono_literals;

using test::square;

TEST(ThreadPoolTest, Apply_CallsInAThreadOfThePool) {
  ThreadPool pool(2);
  EXPECT_EQ(pool.apply(square, 7), 49);
  EXPECT_NE(pool.apply([] { return std::this_thread::get_id(); }), std::this_thread::get_id());
  int seen = 0;
  pool.apply([&seen](int number) { seen = number; }, 3);
  EXPECT_EQ(seen, 3) << "memory is shared, also by reference";
}

TEST(ThreadPoolTest, Apply_MovesWhatCannotBeCopied) {
  ThreadPool pool(1);
  auto result = pool.apply_async(
      [extra = std::make_unique<int>(2)](std::unique_ptr<int> number) {
        *number += *extra;
        return number;
      },
      std::make_unique<int>(40));
  EXPECT_EQ(*std::move(result).get(), 42);
}

struct OwnError : std::runtime_error {
  OwnError(const std::string& text, int number_) : std::runtime_error(text), number(number_) {}
  int number;
};

TEST(ThreadPoolTest, Get_RethrowsTheExceptionAsItIs) {
  ThreadPool pool(1);
  auto result = pool.apply_async([]() -> int { throw OwnError("broken", 5); });
  result.wait();
  EXPECT_FALSE(result.successful());
  try {
    (void)result.get();
    FAIL() << "must throw";
  } catch (const OwnError& error) {
    EXPECT_EQ(error.number, 5);
    EXPECT_STREQ(error.what(), "broken");
  }
  EXPECT_THROW(pool.apply([] { throw 42; }), int);
}

TEST(ThreadPoolTest, Map_StarmapAndImapGiveWhatAPoolGives) {
  ThreadPool pool(3);
  std::vector<int> items(1500);
  std::iota(items.begin(), items.end(), 0);
  std::vector<int> expected;
  for (const int each : items) expected.push_back(each * each);
  for (const std::size_t chunk : {0U, 1U, 7U, 5000U}) {
    EXPECT_EQ(pool.map(square, items, {.chunk_size = chunk}), expected) << chunk;
  }
  EXPECT_EQ(pool.map_async(square, items).get(), expected);
  const std::vector<std::pair<int, int>> pairs{{5, 2}, {9, 1}};
  EXPECT_EQ(pool.starmap([](int a, int b) { return a - b; }, pairs), (std::vector<int>{3, 8}));
  auto lazy = pool.imap(square, std::views::iota(0), {.chunk_size = 3});
  for (int i = 0; i < 500; ++i) ASSERT_EQ(lazy.next(10s), i * i);
  std::set<int> seen;
  for (const int each : pool.imap_unordered(square, std::views::iota(0, 100))) seen.insert(each);
  EXPECT_EQ(seen.size(), 100U);
  std::atomic<int> sum{0};
  pool.map([&sum](int item) { sum += item; }, std::vector<int>{1, 2, 3});
  EXPECT_EQ(sum, 6);
}

TEST(ThreadPoolTest, TasksMayBlockOnEachOther) {
  ThreadPool pool(3);
  std::mutex mutex;
  std::condition_variable changed;
  int arrived = 0;
  pool.map(
      [&](int /*item*/) {
        std::unique_lock lock(mutex);
        ++arrived;
        changed.notify_all();
        changed.wait(lock, [&] { return arrived == 3; });
      },
      std::vector<int>{0, 1, 2}, {.chunk_size = 1});
  EXPECT_EQ(arrived, 3);
}

TEST(ThreadPoolTest, TasksMaySubmitTasksAndWaitForThem) {
  ThreadPool pool(2);
  EXPECT_EQ(pool.apply([&pool](int number) { return pool.apply(square, number) + 1; }, 4), 17);
}

TEST(ThreadPoolTest, Get_ThrowsTimeoutErrorAtTheDeadline) {
  ThreadPool pool(1);
  std::atomic<bool> open{false};
  auto result = pool.apply_async([&open] {
    while (!open) std::this_thread::sleep_for(1ms);
    return 3;
  });
  EXPECT_THROW((void)result.get(20ms), TimeoutError);
  EXPECT_FALSE(result.ready());
  open = true;
  EXPECT_EQ(result.get(10s), 3);
}

TEST(ThreadPoolTest, Callback_IsCalledInOneThreadForAll) {
  ThreadPool pool(3);
  std::mutex mutex;
  std::set<std::thread::id> threads;
  int sum = 0;
  int failed = 0;
  for (int i = 0; i < 100; ++i) {
    auto result = pool.apply_async([](int number) { return number % 10 == 3 ? throw OwnError("x", 1) : number; }, i);
    result.callback([&](int value) {
      const std::lock_guard guard(mutex);
      threads.insert(std::this_thread::get_id());
      sum += value;
    });
    result.error_callback([&](const std::exception_ptr&) {
      const std::lock_guard guard(mutex);
      ++failed;
    });
  }
  pool.close();
  pool.join();
  EXPECT_EQ(sum, 4950 - 480);
  EXPECT_EQ(failed, 10);
  EXPECT_EQ(threads.size(), 1U);
}

TEST(ThreadPoolTest, Join_ThrowsIfThePoolWasNotClosedAndWaitsForAllTasks) {
  std::thread([] {}).join();  // with the first one, the thread sanitizer makes one of its own
  // The kernel counts a thread for a moment after it was joined.
  (void)test::eventually([] { return process_thread_count() == 1; }, 1s);
  const int before = process_thread_count();
  ThreadPool pool(2);
  EXPECT_THROW(pool.join(), std::logic_error);
  std::atomic<int> done{0};
  for (int i = 0; i < 20; ++i) {
    (void)pool.apply_async([&done] {
      std::this_thread::sleep_for(1ms);
      ++done;
    });
  }
  pool.close();
  EXPECT_THROW((void)pool.apply_async(square, 1), std::logic_error);
  EXPECT_THROW((void)pool.map(square, std::vector<int>{1}), std::logic_error);
  pool.join();
  EXPECT_EQ(done, 20);
  pool.join();
  EXPECT_TRUE(test::eventually([before] { return process_thread_count() == before; })) << process_thread_count();
}

TEST(ThreadPoolTest, Terminate_DropsWhatWasNotBegun) {
  ThreadPool pool(1);
  std::atomic<bool> begun{false};
  std::atomic<bool> open{false};
  auto first = pool.apply_async([&] {
    begun = true;
    while (!open) std::this_thread::sleep_for(1ms);
    return 1;
  });
  auto second = pool.apply_async(square, 2);
  while (!begun) std::this_thread::yield();
  pool.terminate();
  EXPECT_THROW((void)second.get(1s), Cancelled);
  open = true;
  EXPECT_EQ(first.get(10s), 1);
  pool.join();
}

TEST(ThreadPoolTest, PendingResultsFailWhenThePoolIsDestroyed) {
  std::vector<AsyncResult<int>> results;
  {
    ThreadPool pool(1);
    for (int i = 0; i < 100; ++i) {
      results.push_back(pool.apply_async([i] {
        std::this_thread::sleep_for(5ms);
        return i;
      }));
    }
  }
  int dropped = 0;
  for (auto& each : results) {
    ASSERT_TRUE(each.ready());
    if (!each.successful()) ++dropped;
  }
  EXPECT_GT(dropped, 50);
}

TEST(ThreadPoolTest, InitializerIsCalledInEachThreadAndWhatItThrowsEndsTheConstructor) {
  std::atomic<int> calls{0};
  ThreadPoolOptions options;
  options.workers = 3;
  options.initializer = [&calls] { ++calls; };
  {
    const ThreadPool pool(options);
    EXPECT_EQ(calls, 3);
  }
  options.initializer = [] { throw OwnError("no licence", 2); };
  EXPECT_THROW(const ThreadPool pool(options), OwnError);
  options.workers = -1;
  EXPECT_THROW(const ThreadPool pool(options), std::logic_error);
}

TEST(ThreadPoolTest, ForkedChildCanOnlyDestroyThePool) {
#if defined(__SANITIZE_THREAD__)
  GTEST_SKIP() << "the thread sanitizer does not follow forks";
#endif
  auto pool = std::make_unique<ThreadPool>(2);
  EXPECT_EQ(pool->apply(square, 2), 4);
  EXPECT_EQ(test::run_in_child([&] {
              EXPECT_THROW((void)pool->apply(square, 2), std::logic_error);
              pool.reset();
            }),
            0);
  EXPECT_EQ(pool->apply(square, 3), 9);
}

TEST(ThreadPoolTest, ManyThreadsSubmitWaitAndCloseAtOnce) {
  for (int round = 0; round < 20; ++round) {
    ThreadPool pool(3);
    std::atomic<int> wrong{0};
    std::vector<std::thread> threads;
    for (int t = 0; t < 4; ++t) {
      threads.emplace_back([&, t] {
        try {
          for (int i = 0; i < 100; ++i) {
            auto later = pool.apply_async(square, i);
            if (t == 0 && i == 50) pool.close();
            if (later.get() != i * i) ++wrong;
          }
        } catch (const std::logic_error&) {
          // closed by another
        }
      });
    }
    for (auto& each : threads) each.join();
    EXPECT_EQ(wrong, 0);
    pool.join();
  }
}

}  // namespace
}  // namespace runrig
