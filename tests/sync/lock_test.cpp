#include "runrig/sync/lock.hpp"

#include <gmock/gmock.h>
#include <signal.h>
#include <sys/time.h>
#include <unistd.h>

#include <algorithm>
#include <limits>
#include <mutex>
#include <thread>
#include <vector>

#include "shared_object.hpp"

namespace runrig {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

template <class AnyLock>
concept LocksUntilTimeOfDay = requires(AnyLock& lock) {
  lock.try_lock_until(std::chrono::system_clock::time_point());
};
static_assert(!LocksUntilTimeOfDay<Lock> && !LocksUntilTimeOfDay<RLock>, "setting the clock must not move a timeout");
static_assert(!std::is_copy_constructible_v<Lock> && !std::is_move_constructible_v<Lock> &&
              !std::is_copy_assignable_v<Lock> && !std::is_move_assignable_v<Lock>);
static_assert(!std::is_copy_constructible_v<RLock> && !std::is_move_constructible_v<RLock>);

/// What Lock and RLock promise alike, while everybody lives.
template <class AnyLock>
class AnyLockTest : public ::testing::Test {
 protected:
  struct Shared {
    AnyLock lock;
    std::uint64_t count;  // plain: the lock guards it
    std::atomic<int> step;
    std::atomic<std::int64_t> moment;
  };
  AnyLock& lock() const { return shared_->lock; }
  // A child that takes the lock, says so by step 1, and holds it until step 2.
  auto holder_until_told() const {
    return [this] {
      const std::lock_guard guard(shared_->lock);
      shared_->step = 1;
      while (shared_->step != 2) ::usleep(500);
    };
  }
  void wait_for_step(int step) const {
    ASSERT_TRUE(test::eventually([&] { return shared_->step == step; }));
  }
  const test::SharedObject<Shared> shared_;
};
using LockTypes = ::testing::Types<Lock, RLock>;
TYPED_TEST_SUITE(AnyLockTest, LockTypes);

TYPED_TEST(AnyLockTest, ZeroedMemoryIsAnUnlockedLock) {
  EXPECT_EQ(this->lock().holder(), 0);
  EXPECT_FALSE(this->lock().poisoned());
  EXPECT_TRUE(this->lock().try_lock());
  EXPECT_EQ(this->lock().holder(), ::getpid());
  this->lock().unlock();
  EXPECT_EQ(this->lock().holder(), 0);
}

TYPED_TEST(AnyLockTest, ItExcludesAnotherProcessUntilItIsUnlocked) {
  this->lock().lock();
  EXPECT_EQ(test::run_in_child([&] { EXPECT_FALSE(this->lock().try_lock()); }), 0);
  this->lock().unlock();
  EXPECT_EQ(test::run_in_child([&] {
              EXPECT_TRUE(this->lock().try_lock());
              this->lock().unlock();
            }),
            0);
}

TYPED_TEST(AnyLockTest, ProcessesCountRight) {
  constexpr int rounds = 20'000;
  {
    std::vector<std::unique_ptr<test::Child>> children;
    for (int i = 0; i < 4; ++i) {
      children.push_back(std::make_unique<test::Child>([&] {
        for (int round = 0; round < rounds; ++round) {
          const std::lock_guard guard(this->lock());
          ++this->shared_->count;
        }
      }));
    }
    for (const auto& each : children) EXPECT_EQ(each->join(), 0);
  }
  EXPECT_EQ(this->shared_->count, 4u * rounds);
}

TYPED_TEST(AnyLockTest, ThreadsOfOneProcessCountRight) {
  constexpr int rounds = 10'000;
  TypeParam local;
  std::uint64_t count = 0;
  std::vector<std::thread> threads;
  for (int i = 0; i < 4; ++i) {
    threads.emplace_back([&] {
      for (int round = 0; round < rounds; ++round) {
        const std::lock_guard guard(local);
        ++count;
      }
    });
  }
  for (auto& each : threads) each.join();
  EXPECT_EQ(count, 4u * rounds);
}

TYPED_TEST(AnyLockTest, OneLockIsUsedThroughTwoAddresses) {
  auto& elsewhere = this->shared_.another_mapping();
  ASSERT_NE(&elsewhere.lock, &this->lock());
  test::Child child(this->holder_until_told());
  this->wait_for_step(1);
  EXPECT_FALSE(elsewhere.lock.try_lock());
  test::Child waiter([&] {
    elsewhere.lock.lock();
    elsewhere.count = 42;
    this->lock().unlock();
  });
  this->shared_->step = 2;
  EXPECT_EQ(child.join(), 0);
  EXPECT_EQ(waiter.join(), 0);
  EXPECT_EQ(this->shared_->count, 42u);
  EXPECT_TRUE(this->lock().try_lock());
  elsewhere.lock.unlock();
}

TYPED_TEST(AnyLockTest, AnUnlockWakesASleeperRatherThanLeavingItToTheNextLook) {
  std::vector<std::int64_t> delays;
  for (int round = 0; round < 9; ++round) {
    this->shared_->step = 0;
    this->lock().lock();
    test::Child waiter([&] {
      this->shared_->step = 1;
      this->lock().lock();
      this->shared_->moment = Clock::now().time_since_epoch().count();
      this->lock().unlock();
    });
    this->wait_for_step(1);
    ::usleep(3000);  // long enough that it sleeps for the second time, for 50 ms if nobody wakes it
    const auto unlocked = Clock::now().time_since_epoch().count();
    this->lock().unlock();
    ASSERT_EQ(waiter.join(), 0);
    delays.push_back(this->shared_->moment - unlocked);
  }
  std::sort(delays.begin(), delays.end());
  EXPECT_LT(delays[4], 20'000'000) << "the median, in ns";
}

TYPED_TEST(AnyLockTest, ATimeoutEndsOnTime) {
  test::Child child(this->holder_until_told());
  this->wait_for_step(1);
  for (const auto timeout : {milliseconds(5), milliseconds(120)}) {
    bool taken = true;
    const auto took = test::duration_of([&] { taken = this->lock().try_lock_for(timeout); });
    EXPECT_FALSE(taken);
    EXPECT_GE(took, timeout);
    EXPECT_LT(took, timeout + milliseconds(500));
  }
  const auto when = Clock::now() + milliseconds(20);
  EXPECT_FALSE(this->lock().try_lock_until(when));
  EXPECT_GE(Clock::now(), when);
  this->shared_->step = 2;
  EXPECT_EQ(child.join(), 0);
}

TYPED_TEST(AnyLockTest, ATimeoutCanNameTheHolder) {
  test::Child child(this->holder_until_told());
  this->wait_for_step(1);
  const std::string text = test::thrown_text([&] { this->lock().lock_within(milliseconds(10)); });
  EXPECT_THAT(text, ::testing::HasSubstr(" " + std::to_string(child.pid())));
  EXPECT_EQ(test::thrown_code([&] { this->lock().lock_within(milliseconds(0)); }), ErrorKind::timeout);
  this->shared_->step = 2;
  EXPECT_EQ(child.join(), 0);
}

TYPED_TEST(AnyLockTest, ExtremeTimeoutsAreDefined) {
  using Seconds = std::chrono::duration<double>;
  const Seconds at_once[] = {Seconds(-1), Seconds(0), Seconds(std::numeric_limits<double>::quiet_NaN()),
                             Seconds(-1e300), Seconds(-std::numeric_limits<double>::infinity())};
  const Seconds for_ever[] = {Seconds(1e300), Seconds(std::numeric_limits<double>::infinity()), Seconds(1e10)};
  test::Child child(this->holder_until_told());
  this->wait_for_step(1);
  for (const auto each : at_once) {
    const auto took = test::duration_of([&] { EXPECT_FALSE(this->lock().try_lock_for(each)) << each.count(); });
    EXPECT_LT(took, milliseconds(500)) << each.count();
  }
  EXPECT_FALSE(this->lock().try_lock_until(Clock::time_point::min()));
  EXPECT_FALSE(this->lock().acquire(seconds(-3)));
  test::Child waiter([&] {
    for (const auto each : for_ever) {
      EXPECT_TRUE(this->lock().try_lock_for(each)) << each.count();
      this->lock().unlock();
    }
    EXPECT_TRUE(this->lock().try_lock_for(std::chrono::hours::max()));
    this->lock().unlock();
    EXPECT_TRUE(this->lock().try_lock_until(Clock::time_point::max()));
    this->lock().unlock();
    EXPECT_TRUE(this->lock().acquire());
    this->lock().release();
  });
  EXPECT_EQ(waiter.join(milliseconds(100)), std::nullopt) << "it waits";
  this->shared_->step = 2;
  EXPECT_EQ(waiter.join(), 0);
  for (const auto each : at_once) {
    EXPECT_TRUE(this->lock().try_lock_for(each)) << "what is free is taken without waiting";
    this->lock().unlock();
  }
}

TYPED_TEST(AnyLockTest, AFloodOfSignalsNeitherCutsNorProlongsAWait) {
  test::Child child(this->holder_until_told());
  this->wait_for_step(1);
  EXPECT_EQ(test::run_in_child([&] {
              struct sigaction action {};
              action.sa_handler = [](int) {};
              ASSERT_EQ(::sigaction(SIGALRM, &action, nullptr), 0);
              const itimerval every_millisecond{{0, 1000}, {0, 1000}};
              ASSERT_EQ(::setitimer(ITIMER_REAL, &every_millisecond, nullptr), 0);
              const auto took = test::duration_of([&] { EXPECT_FALSE(this->lock().try_lock_for(milliseconds(300))); });
              EXPECT_GE(took, milliseconds(300));
              EXPECT_LT(took, milliseconds(600));
              child.signal(SIGKILL);
              const auto noticed = test::duration_of([&] { EXPECT_THROW(this->lock().lock(), OwnerDied); });
              EXPECT_LT(noticed, test::death_is_known_within);
            }),
            0);
}

TYPED_TEST(AnyLockTest, UnlockingWhatIsNotLockedIsTheCallersMistake) {
  EXPECT_THROW(this->lock().unlock(), std::logic_error);
  this->lock().lock();
  this->lock().unlock();
  EXPECT_THROW(this->lock().release(), std::logic_error);
  EXPECT_TRUE(this->lock().try_lock());
  this->lock().unlock();
}

TYPED_TEST(AnyLockTest, TheStandardsGuardsWork) {
  TypeParam first, second;
  {
    const std::scoped_lock both(first, second);
    std::thread([&] {
      const std::unique_lock other(first, std::try_to_lock);
      EXPECT_FALSE(other.owns_lock());
      const std::unique_lock timed(second, milliseconds(1));
      EXPECT_FALSE(timed.owns_lock());
    }).join();
  }
  const std::unique_lock again(first, Clock::now() + seconds(1));
  EXPECT_TRUE(again.owns_lock());
}

TYPED_TEST(AnyLockTest, AForkedChildDoesNotHoldWhatItsParentHolds) {
  this->lock().lock();
  test::Child child([&] {
    EXPECT_FALSE(this->lock().try_lock());
    EXPECT_EQ(this->lock().holder(), ::getppid());
    this->shared_->step = 1;
    this->lock().lock();
    ++this->shared_->count;
    this->lock().unlock();
  });
  this->wait_for_step(1);
  EXPECT_EQ(child.join(milliseconds(30)), std::nullopt) << "it waits for its parent";
  EXPECT_EQ(this->shared_->count, 0u);
  EXPECT_EQ(this->lock().holder(), ::getpid());
  this->lock().unlock();
  EXPECT_EQ(child.join(), 0);
  EXPECT_EQ(this->shared_->count, 1u);
}

TYPED_TEST(AnyLockTest, AProcessMayHoldAnyNumberOfLocks) {
  constexpr std::size_t many = 3000;  // robust pthread mutexes end at 2048
  const test::SharedObject<std::array<TypeParam, many>> locks;
  EXPECT_EQ(test::run_in_child([&] {
              for (auto& each : *locks) each.lock();
            }),
            0);
  for (auto& each : *locks) ASSERT_THROW((void)each.try_lock(), OwnerDied);
}

class LockTest : public ::testing::Test {
 protected:
  const test::SharedObject<Lock> lock_;
};

TEST_F(LockTest, AnotherProcessMayReleaseIt) {
  lock_->lock();
  EXPECT_TRUE(lock_->held_by_this_process());
  EXPECT_EQ(test::run_in_child([&] {
              EXPECT_FALSE(lock_->held_by_this_process());
              lock_->unlock();
            }),
            0);
  EXPECT_TRUE(lock_->try_lock());
}

TEST_F(LockTest, WhatTheDeadHeldIsNotReleasedByAnother) {
  ASSERT_EQ(test::run_in_child([&] { lock_->lock(); }), 0);
  EXPECT_THROW(lock_->unlock(), OwnerDied);
  EXPECT_THROW(lock_->lock(), OwnerDied);
}

TEST_F(LockTest, ItIsNotRecursive) {
  lock_->lock();
  EXPECT_FALSE(lock_->try_lock());
  EXPECT_FALSE(lock_->try_lock_for(milliseconds(5)));
  lock_->unlock();
}

TEST_F(LockTest, ItBelongsToTheProcessAndOutlivesTheThreadThatTookIt) {
  std::thread([&] { lock_->lock(); }).join();
  EXPECT_FALSE(lock_->try_lock_for(milliseconds(70)));
  EXPECT_TRUE(lock_->held_by_this_process());
  std::thread([&] { lock_->unlock(); }).join();
  EXPECT_TRUE(lock_->try_lock());
}

class RLockTest : public ::testing::Test {
 protected:
  const test::SharedObject<RLock> lock_;
};

TEST_F(RLockTest, ItsThreadMayTakeItAgainAndMustUnlockAsOften) {
  lock_->lock();
  EXPECT_TRUE(lock_->try_lock());
  EXPECT_TRUE(lock_->try_lock_for(milliseconds(0)));
  for (int held = 3; held > 0; --held) {
    EXPECT_TRUE(lock_->held_by_this_thread());
    EXPECT_EQ(test::run_in_child([&] { EXPECT_FALSE(lock_->try_lock()); }), 0);
    lock_->unlock();
  }
  EXPECT_FALSE(lock_->held_by_this_thread());
  EXPECT_EQ(test::run_in_child([&] {
              EXPECT_TRUE(lock_->try_lock());
              lock_->unlock();
            }),
            0);
}

TEST_F(RLockTest, OnlyItsOwnerMayUnlock) {
  lock_->lock();
  lock_->lock();
  std::thread([&] { EXPECT_THROW(lock_->unlock(), std::logic_error); }).join();
  EXPECT_EQ(test::run_in_child([&] { EXPECT_THROW(lock_->unlock(), std::logic_error); }), 0);
  EXPECT_TRUE(lock_->held_by_this_thread());
  lock_->unlock();
  EXPECT_TRUE(lock_->held_by_this_thread());
  lock_->unlock();
  EXPECT_EQ(lock_->holder(), 0);
}

TEST_F(RLockTest, TheEndOfTheThreadIsTheDeathOfTheHolder) {
  std::thread([&] {
    lock_->lock();
    lock_->lock();
  }).join();
  EXPECT_LT(test::duration_of([&] { EXPECT_THROW(lock_->lock(), OwnerDied); }), test::death_is_known_within);
  auto recovery = lock_->recover();
  ASSERT_TRUE(recovery);
  EXPECT_THROW(lock_->lock(), std::logic_error) << "not while repairing";
  EXPECT_THROW((void)lock_->recover(), std::logic_error);
  std::thread([&] { EXPECT_THROW(recovery->commit(), std::logic_error); }).join();
  recovery->commit();
  EXPECT_TRUE(lock_->held_by_this_thread());
  lock_->unlock();
  EXPECT_EQ(lock_->holder(), 0) << "held once, however often the dead had taken it";
}

}  // namespace
}  // namespace runrig
