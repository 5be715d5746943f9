#include "runrig/sync/semaphore.hpp"

#include <gtest/gtest.h>
#include <signal.h>
#include <unistd.h>

#include <memory>
#include <mutex>
#include <stdexcept>
#include <thread>
#include <vector>

#include "shared_object.hpp"

namespace runrig {
namespace {

using std::chrono::milliseconds;
using Seconds = std::chrono::duration<double>;

static_assert(!std::is_copy_constructible_v<Semaphore> && !std::is_copy_constructible_v<BoundedSemaphore>);

/// What Semaphore and BoundedSemaphore promise alike.
template <class AnySemaphore>
class AnySemaphoreTest : public ::testing::Test {};
using SemaphoreTypes = ::testing::Types<Semaphore, BoundedSemaphore>;
TYPED_TEST_SUITE(AnySemaphoreTest, SemaphoreTypes);

TYPED_TEST(AnySemaphoreTest, Acquire_TakesATokenAndRelease_GivesItBack) {
  const test::SharedObject<TypeParam> semaphore(std::in_place, 3);
  EXPECT_EQ(semaphore->get_value(), 3);
  EXPECT_TRUE(semaphore->acquire());
  EXPECT_TRUE(semaphore->acquire(std::chrono::seconds(0)));
  EXPECT_TRUE(semaphore->try_acquire());
  EXPECT_EQ(semaphore->get_value(), 0);
  EXPECT_FALSE(semaphore->try_acquire());
  semaphore->release();
  EXPECT_EQ(semaphore->get_value(), 1);
  EXPECT_EQ(test::run_in_child([&] { EXPECT_TRUE(semaphore->try_acquire()); }), 0);
  EXPECT_FALSE(semaphore->try_acquire());
  semaphore->release(3);
  EXPECT_EQ(semaphore->get_value(), 3);
}

TYPED_TEST(AnySemaphoreTest, Constructor_BeginsWithOneAndRefusesWhatIsNoCount) {
  EXPECT_EQ(TypeParam().get_value(), 1);
  EXPECT_EQ(TypeParam(0).get_value(), 0);
  EXPECT_EQ(TypeParam(TypeParam::max_value).get_value(), 2147483647);
  EXPECT_THROW(TypeParam(-1), std::invalid_argument);
  EXPECT_THROW(TypeParam(TypeParam::max_value + 1), std::invalid_argument);
}

TYPED_TEST(AnySemaphoreTest, Release_RefusesCountsBelowOne) {
  TypeParam semaphore(5);
  EXPECT_THROW(semaphore.release(0), std::invalid_argument);
  EXPECT_THROW(semaphore.release(-1), std::invalid_argument);
  EXPECT_EQ(semaphore.get_value(), 5);
}

TYPED_TEST(AnySemaphoreTest, Acquire_BlocksUntilAnotherProcessReleases) {
  const test::SharedObject<TypeParam> semaphore(std::in_place, 1);
  semaphore->acquire();
  test::Child waiter([&] { semaphore->acquire(); });
  EXPECT_EQ(waiter.join(milliseconds(60)), std::nullopt) << "it waits";
  EXPECT_EQ(test::run_in_child([&] { semaphore->release(); }), 0) << "by who did not acquire";
  EXPECT_EQ(waiter.join(), 0);
  EXPECT_EQ(semaphore->get_value(), 0);
}

TYPED_TEST(AnySemaphoreTest, Acquire_TimeoutEndsOnTime) {
  TypeParam semaphore(0);
  for (const auto timeout : {milliseconds(5), milliseconds(120)}) {
    const auto took = test::duration_of([&] { EXPECT_FALSE(semaphore.acquire(timeout)); });
    EXPECT_GE(took, timeout);
    EXPECT_LT(took, timeout + milliseconds(500));
  }
  EXPECT_FALSE(semaphore.acquire_before(Deadline::after(milliseconds(3))));
}

TYPED_TEST(AnySemaphoreTest, Acquire_ExtremeTimeoutsAreDefined) {
  const test::SharedObject<TypeParam> semaphore(std::in_place, 3);
  for (const double each : test::at_once) {
    EXPECT_TRUE(semaphore->acquire(Seconds(each))) << "what is there is taken: " << each;
    semaphore->release();
  }
  while (semaphore->try_acquire()) {
  }
  for (const double each : test::at_once) {
    const auto took = test::duration_of([&] { EXPECT_FALSE(semaphore->acquire(Seconds(each))) << each; });
    EXPECT_LT(took, milliseconds(500)) << each;
  }
  test::Child waiter([&] {
    for (const double each : test::for_ever) EXPECT_TRUE(semaphore->acquire(Seconds(each))) << each;
  });
  EXPECT_EQ(waiter.join(milliseconds(60)), std::nullopt) << "it waits";
  semaphore->release(3);
  EXPECT_EQ(waiter.join(), 0);
}

TYPED_TEST(AnySemaphoreTest, WorksWithTheStandardsGuards) {
  TypeParam semaphore(1);
  {
    const std::lock_guard guard(semaphore);
    EXPECT_EQ(semaphore.get_value(), 0);
    const std::unique_lock other(semaphore, std::try_to_lock);
    EXPECT_FALSE(other.owns_lock());
  }
  EXPECT_EQ(semaphore.get_value(), 1);
}

TYPED_TEST(AnySemaphoreTest, Release_WakesAsManySleepersAsItGives) {
  const test::SharedObject<TypeParam> semaphore(std::in_place, 4);
  for (int i = 0; i < 4; ++i) semaphore->acquire();
  std::vector<std::unique_ptr<test::Child>> waiters;
  for (int i = 0; i < 4; ++i) waiters.push_back(std::make_unique<test::Child>([&] { semaphore->acquire(); }));
  ::usleep(20'000);
  semaphore->release(3);
  int awake = 0;
  EXPECT_TRUE(test::eventually([&] {
    awake = 0;
    for (const auto& each : waiters) awake += each->join(milliseconds(0)) == 0 ? 1 : 0;
    return awake == 3;
  }));
  ::usleep(70'000);
  EXPECT_EQ(awake, 3);
  semaphore->release();
  for (const auto& each : waiters) EXPECT_EQ(each->join(), 0);
}

TYPED_TEST(AnySemaphoreTest, NeverMoreInsideThanItHasTokens) {
  struct Shared {
    TypeParam semaphore{2};
    std::atomic<int> inside{0};
    std::atomic<int> most{0};
    std::atomic<int> rounds{0};
  };
  const test::SharedObject<Shared> shared(std::in_place);
  const auto work = [&] {
    for (int round = 0; round < 3000; ++round) {
      shared->semaphore.acquire();
      const int now = ++shared->inside;
      int most = shared->most;
      while (now > most && !shared->most.compare_exchange_weak(most, now)) {
      }
      ++shared->rounds;
      --shared->inside;
      shared->semaphore.release();
    }
  };
  {
    std::vector<std::unique_ptr<test::Child>> children;
    for (int i = 0; i < 3; ++i) children.push_back(std::make_unique<test::Child>(work));
    for (const auto& each : children) EXPECT_EQ(each->join(), 0);
  }
  {
    std::vector<std::thread> threads;  // for the thread sanitizer
    for (int i = 0; i < 3; ++i) threads.emplace_back(work);
    for (auto& each : threads) each.join();
  }
  EXPECT_LE(shared->most, 2);
  EXPECT_EQ(shared->rounds, 18'000);
  EXPECT_EQ(shared->semaphore.get_value(), 2);
}

TYPED_TEST(AnySemaphoreTest, WhatWasWrittenBeforeReleaseIsSeenAfterAcquire) {
  TypeParam full(1);
  TypeParam empty(1);
  full.acquire();
  int box = 0;  // plain: the thread sanitizer watches it
  std::thread producer([&] {
    for (int i = 1; i <= 2000; ++i) {
      empty.acquire();
      box = i;
      full.release();
    }
  });
  for (int i = 1; i <= 2000; ++i) {
    full.acquire();
    EXPECT_EQ(box, i);
    empty.release();
  }
  producer.join();
}

TYPED_TEST(AnySemaphoreTest, KilledWaitersTakeNeitherTokensNorWakeUpsWithThem) {
  for (int round = 0; round < 10; ++round) {
    const test::SharedObject<TypeParam> semaphore(std::in_place, 1);
    semaphore->acquire();
    std::vector<std::unique_ptr<test::Child>> doomed;
    for (int i = 0; i < 3; ++i) {
      doomed.push_back(std::make_unique<test::Child>([&] {
        semaphore->acquire();
        semaphore->release();  // or it would take the token with it
        for (;;) ::pause();
      }));
    }
    test::Child survivor([&] { semaphore->acquire(); });
    ::usleep(3000);
    if (round % 2 == 0) semaphore->release();
    for (const auto& each : doomed) each->signal(SIGKILL);
    if (round % 2 != 0) semaphore->release();
    const auto ended = survivor.join(test::death_is_known_within);
    if (ended != 0) {  // one of them was killed between its two calls, with the token
      ASSERT_EQ(semaphore->get_value(), 0) << "round " << round;
      continue;
    }
    EXPECT_EQ(semaphore->get_value(), 0);
  }
}

TEST(SemaphoreTest, ZeroedMemoryIsASemaphoreWithoutTokens) {
  const test::SharedObject<Semaphore> semaphore;
  EXPECT_EQ(semaphore->get_value(), 0);
  EXPECT_FALSE(semaphore->try_acquire());
  semaphore->release();
  EXPECT_TRUE(semaphore->try_acquire());
}

TEST(SemaphoreTest, Release_MayGoAboveWhereItBegan) {
  Semaphore semaphore(1);
  semaphore.release(2);
  EXPECT_EQ(semaphore.get_value(), 3);
}

TEST(SemaphoreTest, Release_AboveTheLargestValueIsAMistake) {
  Semaphore semaphore(Semaphore::max_value - 1);
  EXPECT_THROW(semaphore.release(2), std::logic_error);
  EXPECT_THROW(semaphore.release(std::int64_t{1} << 40), std::logic_error);
  semaphore.release();
  EXPECT_THROW(semaphore.release(), std::logic_error);
  EXPECT_EQ(semaphore.get_value(), Semaphore::max_value);
}

TEST(SemaphoreTest, TheTokenOfADeadHolderIsLostAsDocumented) {
  const test::SharedObject<Semaphore> semaphore(std::in_place, 1);
  EXPECT_EQ(test::run_in_child([&] {
              semaphore->acquire();
              ::raise(SIGKILL);
            }),
            -SIGKILL);
  EXPECT_FALSE(semaphore->acquire(milliseconds(120)));
  semaphore->release();  // by hand, by who knows
  EXPECT_TRUE(semaphore->try_acquire());
}

TEST(SemaphoreTest, OneSemaphoreIsUsedThroughTwoAddresses) {
  const test::SharedObject<Semaphore> semaphore;
  Semaphore& elsewhere = semaphore.another_mapping();
  test::Child waiter([&] { elsewhere.acquire(); });
  EXPECT_EQ(waiter.join(milliseconds(30)), std::nullopt);
  semaphore->release();
  EXPECT_EQ(waiter.join(), 0);
}

TEST(BoundedSemaphoreTest, Release_MoreOftenThanAcquiredIsAMistakeAndChangesNothing) {
  BoundedSemaphore semaphore(2);
  EXPECT_EQ(semaphore.bound(), 2);
  EXPECT_THROW(semaphore.release(), std::logic_error);
  EXPECT_EQ(semaphore.get_value(), 2);
  EXPECT_TRUE(semaphore.try_acquire());
  EXPECT_THROW(semaphore.release(2), std::logic_error);
  EXPECT_EQ(semaphore.get_value(), 1);
  semaphore.release();
  EXPECT_THROW(semaphore.release(), std::logic_error);
}

TEST(BoundedSemaphoreTest, Release_MistakesAreFoundWhileOthersWaitToo) {
  const test::SharedObject<BoundedSemaphore> semaphore(std::in_place, 0);
  test::Child waiter([&] { (void)semaphore->acquire(std::chrono::seconds(20)); });
  ::usleep(10'000);
  EXPECT_THROW(semaphore->release(), std::logic_error);
  EXPECT_EQ(waiter.join(milliseconds(60)), std::nullopt) << "nobody was woken for it";
  waiter.signal(SIGKILL);
}

}  // namespace
}  // namespace runrig
