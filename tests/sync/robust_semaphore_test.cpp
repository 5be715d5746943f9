#include "runrig/sync/robust_semaphore.hpp"

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
using test::death_is_known_within;
using Seconds = std::chrono::duration<double>;

class RobustSemaphoreTest : public ::testing::Test {
 protected:
  struct Shared {
    RobustSemaphore semaphore{2};
    std::atomic<int> step{0};
    std::atomic<int> inside{0};
    std::atomic<int> most{0};
  };
  const test::SharedObject<Shared> shared_{std::in_place};
  RobustSemaphore& semaphore() const { return shared_->semaphore; }

  // A process that takes `tokens` and holds them until it is killed.
  std::unique_ptr<test::Child> start_holder(int tokens) const {
    shared_->step = 0;
    auto child = std::make_unique<test::Child>([this, tokens] {
      for (int i = 0; i < tokens; ++i) semaphore().acquire();
      shared_->step = 1;
      for (;;) ::pause();
    });
    EXPECT_TRUE(test::eventually([&] { return shared_->step == 1; }));
    return child;
  }
};

TEST_F(RobustSemaphoreTest, GivesEachTokenToOneProcessAtATime) {
  EXPECT_EQ(semaphore().get_value(), 2);
  EXPECT_EQ(semaphore().bound(), 2);
  EXPECT_TRUE(semaphore().acquire());
  EXPECT_TRUE(semaphore().try_acquire());
  EXPECT_EQ(semaphore().get_value(), 0);
  EXPECT_EQ(semaphore().held_by_this_process(), 2);
  EXPECT_FALSE(semaphore().try_acquire());
  EXPECT_EQ(test::run_in_child([&] {
              EXPECT_EQ(semaphore().held_by_this_process(), 0);
              EXPECT_FALSE(semaphore().acquire(milliseconds(20)));
            }),
            0);
  semaphore().release();
  EXPECT_EQ(test::run_in_child([&] {
              EXPECT_TRUE(semaphore().try_acquire());
              semaphore().release();
            }),
            0);
  semaphore().release();
  EXPECT_EQ(semaphore().get_value(), 2);
}

TEST_F(RobustSemaphoreTest, RefusesValuesThatItsTableCannotHold) {
  EXPECT_EQ(RobustSemaphore().get_value(), 1);
  EXPECT_EQ(RobustSemaphore(RobustSemaphore::max_value).get_value(), 124);
  EXPECT_THROW(RobustSemaphore(-1), std::invalid_argument);
  EXPECT_THROW(RobustSemaphore(RobustSemaphore::max_value + 1), std::invalid_argument);
  const test::SharedObject<RobustSemaphore> zeroed;
  EXPECT_EQ(zeroed->get_value(), 0);
  EXPECT_FALSE(zeroed->acquire(milliseconds(3)));
}

TEST_F(RobustSemaphoreTest, ReleasingWhatThisProcessDoesNotHoldIsAMistake) {
  EXPECT_THROW(semaphore().release(), std::logic_error);
  semaphore().acquire();
  EXPECT_EQ(test::run_in_child([&] { EXPECT_THROW(semaphore().release(), std::logic_error); }), 0);
  EXPECT_EQ(semaphore().get_value(), 1);
  std::thread([&] { semaphore().release(); }).join();  // but any thread of it may
  EXPECT_THROW(semaphore().release(), std::logic_error);
  EXPECT_EQ(semaphore().get_value(), 2);
}

TEST_F(RobustSemaphoreTest, TheTokensOfADeadHolderComeBack) {
  auto holder = start_holder(2);
  EXPECT_FALSE(semaphore().acquire(milliseconds(60)));
  test::Child waiter([&] {
    semaphore().acquire();
    semaphore().acquire();
    EXPECT_FALSE(semaphore().try_acquire()) << "not more than there were";
    semaphore().release();
    semaphore().release();
  });
  EXPECT_EQ(waiter.join(milliseconds(30)), std::nullopt) << "it waits";
  holder->signal(SIGKILL);  // a zombie from now on
  EXPECT_EQ(waiter.join(death_is_known_within), 0);
  EXPECT_EQ(semaphore().get_value(), 2);
}

TEST_F(RobustSemaphoreTest, WhoOnlyTriesFindsTheTokensOfTheDeadToo) {
  for (int round = 0; round < 3; ++round) {
    ASSERT_EQ(test::run_in_child([&] {
                semaphore().acquire();
                semaphore().acquire();
              }),
              0)
        << "an end without a signal is a death, too";
    ASSERT_TRUE(test::eventually([&] { return semaphore().try_acquire(); }, death_is_known_within));
    EXPECT_EQ(semaphore().get_value(), 1) << "both came back";
    semaphore().release();
  }
}

TEST_F(RobustSemaphoreTest, AStoppedHolderIsNotDead) {
  auto holder = start_holder(2);
  holder->signal(SIGSTOP);
  EXPECT_FALSE(semaphore().acquire(milliseconds(150)));
  EXPECT_EQ(semaphore().get_value(), 0);
  holder->signal(SIGKILL);
  EXPECT_TRUE(semaphore().acquire(death_is_known_within));
}

TEST_F(RobustSemaphoreTest, ReleaseWakesASleeper) {
  semaphore().acquire();
  semaphore().acquire();
  test::Child first([&] { semaphore().acquire(); });
  test::Child second([&] { semaphore().acquire(); });
  EXPECT_EQ(first.join(milliseconds(20)), std::nullopt);
  EXPECT_EQ(second.join(milliseconds(0)), std::nullopt);
  semaphore().release();
  semaphore().release();
  EXPECT_EQ(first.join(), 0);
  EXPECT_EQ(second.join(), 0);
}

TEST_F(RobustSemaphoreTest, TimeoutsEndOnTimeAndExtremeOnesAreDefined) {
  const auto took = test::duration_of([&] {
    semaphore().acquire();
    semaphore().acquire();
    EXPECT_FALSE(semaphore().acquire(milliseconds(80)));
  });
  EXPECT_GE(took, milliseconds(80));
  EXPECT_LT(took, milliseconds(600));
  for (const double each : test::at_once) {
    EXPECT_LT(test::duration_of([&] { EXPECT_FALSE(semaphore().acquire(Seconds(each))) << each; }), milliseconds(500));
  }
  test::Child waiter([&] {
    for (const double each : test::for_ever) {
      EXPECT_TRUE(semaphore().acquire(Seconds(each))) << each;
      semaphore().release();
    }
  });
  EXPECT_EQ(waiter.join(milliseconds(60)), std::nullopt) << "it waits";
  semaphore().release();
  EXPECT_EQ(waiter.join(), 0);
  for (const double each : test::at_once) {
    EXPECT_TRUE(semaphore().acquire(Seconds(each))) << "what is there is taken: " << each;
    semaphore().release();
  }
}

TEST_F(RobustSemaphoreTest, NeverMoreInsideThanItHasTokens) {
  const auto work = [&] {
    for (int round = 0; round < 3000; ++round) {
      const std::lock_guard guard(semaphore());
      const int now = ++shared_->inside;
      int most = shared_->most;
      while (now > most && !shared_->most.compare_exchange_weak(most, now)) {
      }
      --shared_->inside;
    }
  };
  {
    test::Child first(work), second(work), third(work);
    for (auto* each : {&first, &second, &third}) EXPECT_EQ(each->join(), 0);
  }
  std::thread first(work), second(work), third(work);  // for the thread sanitizer
  for (auto* each : {&first, &second, &third}) each->join();
  EXPECT_LE(shared_->most, 2);
  EXPECT_EQ(semaphore().get_value(), 2);
}

TEST_F(RobustSemaphoreTest, WhatWasWrittenBeforeReleaseIsSeenAfterAcquire) {
  RobustSemaphore one(1);
  int count = 0;  // plain: the thread sanitizer watches it
  const auto work = [&] {
    for (int i = 0; i < 2000; ++i) {
      const std::lock_guard guard(one);
      ++count;
    }
  };
  std::thread other(work);
  work();
  other.join();
  EXPECT_EQ(count, 4000);
}

}  // namespace
}  // namespace runrig
