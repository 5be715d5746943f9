#include "runrig/sync/condition.hpp"

#include <gtest/gtest.h>
#include <signal.h>
#include <unistd.h>

#include <deque>
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

static_assert(std::is_same_v<decltype(Condition()), Condition<RLock>>, "Python's default");
static_assert(!std::is_copy_constructible_v<Condition<Lock>> && !std::is_copy_constructible_v<ConditionVariable>);

/// What Condition<Lock> and Condition<RLock> promise alike, while everybody lives.
template <class L>
class ConditionTest : public ::testing::Test {
 protected:
  struct Shared {
    Condition<L> condition;
    int items;  // plain: the condition's lock guards them
    int taken[8];
    std::atomic<int> returned;
  };
  const test::SharedObject<Shared> shared_;
  Condition<L>& condition() const { return shared_->condition; }

  // Children that wait once each, in the order of their numbers, and note when they came back.
  std::vector<std::unique_ptr<test::Child>> start_waiters(int count) const {
    std::vector<std::unique_ptr<test::Child>> waiters;
    for (int i = 0; i < count; ++i) {
      waiters.push_back(std::make_unique<test::Child>([this, i] {
        const std::lock_guard guard(condition());
        EXPECT_TRUE(condition().wait());
        shared_->taken[shared_->returned++] = i;
      }));
      EXPECT_TRUE(test::eventually([&] { return condition().waiting() == i + 1; }));
    }
    return waiters;
  }
  void notify(int count) const {
    const std::lock_guard guard(condition());
    condition().notify(count);
  }
};
using LockTypes = ::testing::Types<Lock, RLock>;
TYPED_TEST_SUITE(ConditionTest, LockTypes);

TYPED_TEST(ConditionTest, Acquire_AndRelease_AreThoseOfItsLock) {
  EXPECT_TRUE(this->condition().acquire());
  EXPECT_EQ(this->condition().get_lock().holder(), ::getpid());
  EXPECT_EQ(test::run_in_child([&] {
              EXPECT_FALSE(this->condition().acquire(milliseconds(0)));
              EXPECT_FALSE(this->condition().try_lock());
            }),
            0);
  this->condition().release();
  EXPECT_EQ(this->condition().get_lock().holder(), 0);
  EXPECT_THROW(this->condition().release(), std::logic_error);
}

TYPED_TEST(ConditionTest, WaitAndNotify_WithoutTheLockAreMistakes) {
  EXPECT_THROW(this->condition().wait(milliseconds(0)), std::logic_error);
  EXPECT_THROW(this->condition().notify(), std::logic_error);
  EXPECT_THROW(this->condition().notify_all(), std::logic_error);
  EXPECT_EQ(this->condition().waiting(), 0);
  const std::lock_guard guard(this->condition());
  EXPECT_THROW(this->condition().notify(-1), std::invalid_argument);
  this->condition().notify(0);
  this->condition().notify();  // nobody waits
  EXPECT_FALSE(this->condition().wait(milliseconds(5))) << "a notification is not kept for later";
}

TYPED_TEST(ConditionTest, Wait_ReleasesTheLockAndHasItAgainWhenNotified) {
  test::Child waiter([&] {
    const std::lock_guard guard(this->condition());
    EXPECT_TRUE(this->condition().wait());
    EXPECT_EQ(this->condition().get_lock().holder(), ::getpid());
    EXPECT_EQ(this->shared_->items, 1);
  });
  ASSERT_TRUE(test::eventually([&] { return this->condition().waiting() == 1; }));
  {
    const std::lock_guard guard(this->condition());
    this->condition().notify();
    EXPECT_EQ(waiter.join(milliseconds(60)), std::nullopt) << "it needs the lock first";
    this->shared_->items = 1;
  }
  EXPECT_EQ(waiter.join(), 0);
}

TYPED_TEST(ConditionTest, Wait_TimeoutReturnsFalseWithTheLockHeld) {
  const std::lock_guard guard(this->condition());
  for (const auto timeout : {milliseconds(5), milliseconds(120)}) {
    const auto took = test::duration_of([&] { EXPECT_FALSE(this->condition().wait(timeout)); });
    EXPECT_GE(took, timeout);
    EXPECT_LT(took, timeout + milliseconds(500));
    EXPECT_EQ(this->condition().get_lock().holder(), ::getpid());
    EXPECT_EQ(this->condition().waiting(), 0) << "it left its place";
  }
}

TYPED_TEST(ConditionTest, Wait_ExtremeTimeoutsAreDefined) {
  {
    const std::lock_guard guard(this->condition());
    for (const double each : test::at_once) {
      const auto took = test::duration_of([&] { EXPECT_FALSE(this->condition().wait(Seconds(each))) << each; });
      EXPECT_LT(took, milliseconds(500)) << each;
      EXPECT_FALSE(this->condition().wait_for([] { return false; }, Seconds(each))) << each;
      EXPECT_TRUE(this->condition().wait_for([] { return true; }, Seconds(each))) << each;
    }
  }
  test::Child waiter([&] {
    const std::lock_guard guard(this->condition());
    for (const double each : test::for_ever) EXPECT_TRUE(this->condition().wait(Seconds(each))) << each;
  });
  EXPECT_EQ(waiter.join(milliseconds(60)), std::nullopt);
  for (std::size_t i = 0; i < std::size(test::for_ever); ++i) {
    ASSERT_TRUE(test::eventually([&] { return this->condition().waiting() == 1; }));
    this->notify(1);
  }
  EXPECT_EQ(waiter.join(), 0);
}

TYPED_TEST(ConditionTest, Notify_WakesExactlySoManyTheLongestWaitingFirst) {
  const auto waiters = this->start_waiters(5);
  this->notify(1);
  EXPECT_EQ(waiters[0]->join(), 0);
  this->notify(2);
  EXPECT_EQ(waiters[1]->join(), 0);
  EXPECT_EQ(waiters[2]->join(), 0);
  ::usleep(120'000);  // two looks of those who sleep
  EXPECT_EQ(this->shared_->returned, 3) << "and no more";
  this->notify(100);
  for (const auto& each : waiters) EXPECT_EQ(each->join(), 0);
  EXPECT_EQ(this->shared_->taken[0], 0);
}

TYPED_TEST(ConditionTest, NotifyAll_WakesEverybodyWhoWaits) {
  const auto waiters = this->start_waiters(4);
  {
    const std::lock_guard guard(this->condition());
    this->condition().notify_all();
  }
  for (const auto& each : waiters) EXPECT_EQ(each->join(), 0);
  const std::lock_guard guard(this->condition());
  EXPECT_FALSE(this->condition().wait(milliseconds(60))) << "not those who come later";
}

TYPED_TEST(ConditionTest, WaitFor_ReturnsWhatThePredicateSaidLast) {
  test::Child waiter([&] {
    const std::lock_guard guard(this->condition());
    EXPECT_TRUE(this->condition().wait_for([&] { return this->shared_->items >= 3; }));
    EXPECT_EQ(this->shared_->items, 3);
    EXPECT_FALSE(this->condition().wait_for([&] { return this->shared_->items == 7; }, milliseconds(20)));
  });
  for (int i = 0; i < 3; ++i) {
    ASSERT_TRUE(test::eventually([&] { return this->condition().waiting() == 1; }));
    const std::lock_guard guard(this->condition());
    ++this->shared_->items;
    this->condition().notify();
  }
  EXPECT_EQ(waiter.join(), 0);
}

TYPED_TEST(ConditionTest, WaitFor_LooksOnceASecondAlsoWhenNobodyNotifies) {
  test::Child waiter([&] {
    const std::lock_guard guard(this->condition());
    EXPECT_TRUE(this->condition().wait_for([&] { return this->shared_->items == 1; }, std::chrono::seconds(20)));
  });
  ASSERT_TRUE(test::eventually([&] { return this->condition().waiting() == 1; }));
  {
    const std::lock_guard guard(this->condition());
    this->shared_->items = 1;
  }
  EXPECT_EQ(waiter.join(3 * test::death_is_known_within), 0);
}

TYPED_TEST(ConditionTest, ProcessesHandOnEveryItemOnce) {
  constexpr int items = 2000;
  struct Queue {
    Condition<TypeParam> condition;
    int stored, made, eaten;
  };
  const test::SharedObject<Queue> queue;
  const auto produce = [&] {
    for (int i = 0; i < items; ++i) {
      const std::lock_guard guard(queue->condition);
      queue->condition.wait_for([&] { return queue->stored < 4; });
      ++queue->stored;
      ++queue->made;
      queue->condition.notify_all();
    }
  };
  const auto consume = [&] {
    for (int i = 0; i < items; ++i) {
      const std::lock_guard guard(queue->condition);
      queue->condition.wait_for([&] { return queue->stored > 0; });
      --queue->stored;
      ++queue->eaten;
      queue->condition.notify_all();
    }
  };
  {
    test::Child p1(produce), p2(produce), c1(consume), c2(consume);
    for (auto* each : {&p1, &p2, &c1, &c2}) EXPECT_EQ(each->join(), 0);
  }
  std::thread p1(produce), p2(produce), c1(consume), c2(consume);  // for the thread sanitizer
  for (auto* each : {&p1, &p2, &c1, &c2}) each->join();
  EXPECT_EQ(queue->stored, 0);
  EXPECT_EQ(queue->made, 4 * items);
  EXPECT_EQ(queue->eaten, 4 * items);
}

TYPED_TEST(ConditionTest, MoreWaitersThanItCanTellApartAreAllWoken) {
  constexpr int many = ConditionVariable::waiter_slots + 6;
  std::atomic<int> woken{0}, entered{0};
  int released = 0;
  std::vector<std::thread> threads;
  for (int i = 0; i < many; ++i) {
    threads.emplace_back([&] {
      const std::lock_guard guard(this->condition());
      ++entered;
      this->condition().wait_for([&] { return released > 0; });
      --released;
      ++woken;
    });
  }
  ASSERT_TRUE(test::eventually([&] { return entered == many; }));
  for (int i = 1; i <= many; ++i) {
    const std::lock_guard guard(this->condition());
    ++released;
    this->condition().notify();
  }
  for (auto& each : threads) each.join();
  EXPECT_EQ(woken, many);
  EXPECT_EQ(released, 0);
}

TEST(ConditionRLockTest, Wait_ReleasesItFullyHoweverOftenItWasTakenAndRestoresThat) {
  const test::SharedObject<Condition<RLock>> condition;
  test::Child waiter([&] {
    const std::lock_guard outer(*condition);
    const std::lock_guard middle(*condition);
    const std::lock_guard inner(*condition);
    EXPECT_TRUE(condition->wait());
    condition->unlock();
    condition->unlock();
    EXPECT_TRUE(condition->get_lock().held_by_this_thread());
    condition->unlock();
    EXPECT_FALSE(condition->get_lock().held_by_this_thread());
    for (int i = 0; i < 3; ++i) condition->lock();
  });
  ASSERT_TRUE(test::eventually([&] { return condition->waiting() == 1; }));
  ASSERT_TRUE(condition->acquire(std::chrono::seconds(5))) << "it is released while the other waits";
  condition->notify();
  condition->release();
  EXPECT_EQ(waiter.join(), 0);
}

TEST(ConditionRLockTest, NotifyAndWait_ByAThreadThatDoesNotHoldItAreMistakes) {
  Condition condition;
  const std::lock_guard guard(condition);
  std::thread([&] {
    EXPECT_THROW(condition.notify(), std::logic_error);
    EXPECT_THROW(condition.wait(milliseconds(0)), std::logic_error);
  }).join();
}

TEST(ConditionVariableTest, SeveralShareOneLock) {
  struct Mailbox {
    Lock lock;
    ConditionVariable filled, emptied;
    int letter, sum;
  };
  const test::SharedObject<Mailbox> box;
  const auto read = [&] {
    for (int i = 0; i < 500; ++i) {
      std::unique_lock guard(box->lock);
      EXPECT_TRUE(box->filled.wait_for(guard, [&] { return box->letter != 0; }));
      box->sum += std::exchange(box->letter, 0);
      box->emptied.notify();
    }
  };
  const auto write = [&] {
    for (int i = 1; i <= 500; ++i) {
      std::unique_lock guard(box->lock);
      EXPECT_TRUE(box->emptied.wait_for(
          guard, [&] { return box->letter == 0; }, std::chrono::seconds(20)));
      box->letter = i;
      box->filled.notify();
    }
  };
  {
    test::Child reader(read);
    write();
    EXPECT_EQ(reader.join(), 0);
  }
  EXPECT_EQ(box->sum, 500 * 501 / 2);
  std::thread reader(read);  // for the thread sanitizer
  write();
  reader.join();
  EXPECT_EQ(box->sum, 500 * 501);
}

TEST(ConditionVariableTest, Wait_NeedsAGuardThatOwnsItsLock) {
  RLock lock;
  ConditionVariable variable;
  std::unique_lock guard(lock, std::defer_lock);
  EXPECT_THROW(variable.wait(guard), std::logic_error);
  guard.lock();
  EXPECT_FALSE(variable.wait(guard, milliseconds(3)));
  EXPECT_FALSE(variable.wait_before(guard, Deadline::after(milliseconds(3))));
  EXPECT_TRUE(guard.owns_lock());
  EXPECT_TRUE(lock.held_by_this_thread());
  EXPECT_THROW(variable.notify(-2), std::invalid_argument);
}

}  // namespace
}  // namespace runrig
