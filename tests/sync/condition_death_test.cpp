#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <memory>
#include <mutex>
#include <thread>
#include <vector>

#include "killing.hpp"
#include "runrig/sync/condition.hpp"

namespace runrig {
namespace {

using std::chrono::milliseconds;
using test::death_is_known_within;

/// What a Condition promises when somebody dies.
template <class L>
class DeadAtConditionTest : public ::testing::Test {
 protected:
  struct Shared {
    Condition<L> condition;
    std::atomic<int> began;  // to wait, with the lock held
    std::atomic<int> woken;
    std::atomic<int> told;
  };
  const test::SharedObject<Shared> shared_;
  Condition<L>& condition() const { return shared_->condition; }

  // One more child that waits; it has begun to when this returns.
  std::unique_ptr<test::Child> start_waiter() const {
    const int before = condition().waiting();
    auto child = std::make_unique<test::Child>([this] { wait_once(*shared_); });
    EXPECT_TRUE(test::eventually([&] { return condition().waiting() == before + 1; }));
    return child;
  }
  // Waits; where the lock's holder died, makes the lock whole.
  static void wait_once(Shared& shared) {
    auto guard = lock_repairing(shared.condition, [] {});
    ++shared.began;
    try {
      if (shared.condition.wait(std::chrono::seconds(20))) ++shared.woken;
    } catch (const OwnerDied&) {
      ++shared.told;
      if (auto recovery = shared.condition.recover()) recovery->commit();
    }
  }
  void notify(int count = 1) const {
    const auto guard = lock_repairing(condition(), [] {});
    condition().notify(count);
  }
  void notify_all() const {
    const auto guard = lock_repairing(condition(), [] {});
    condition().notify_all();
  }
  static void notify_as_a_victim(Shared& shared) {
    shared.condition.lock();
    shared.condition.notify(1);
    shared.condition.unlock();
  }

  // A waiter is killed at `point` of its wait, another waits behind it: one notification must reach the other.
  static bool kill_first_waiter(std::string_view point) {
    const test::SharedObject<Shared> shared;
    test::Victim victim(point, [&] { wait_once(*shared); });
    EXPECT_TRUE(test::eventually(
        [&] { return shared->condition.waiting() == 1 || victim.child().join(milliseconds(0)) == -SIGKILL; }));
    // Not by waiting(): a victim that died with the lock is no longer counted once the other has recovered.
    const int before = shared->began;
    test::Child other([&] { wait_once(*shared); });
    EXPECT_TRUE(test::eventually([&] { return shared->began == before + 1; }));
    ::usleep(3000);  // so that both sleep, mostly
    const auto took = test::duration_of([&] {
      const auto guard = lock_repairing(shared->condition, [] {});
      shared->condition.notify();
    });
    EXPECT_LT(took, death_is_known_within);
    // The victim may be killed only when it was notified, or after it had the lock back: then the other learns that.
    const auto ended = other.join(death_is_known_within);
    const bool killed = victim.was_killed();
    EXPECT_TRUE(ended == 0 || !killed) << point;
    return killed;
  }
};
using LockTypes = ::testing::Types<Lock, RLock>;
TYPED_TEST_SUITE(DeadAtConditionTest, LockTypes);

TYPED_TEST(DeadAtConditionTest, NotifyPassesOverWaitersThatWereKilled) {
  for (int dead = 1; dead <= 3; ++dead) {
    this->shared_->woken = 0;
    std::vector<std::unique_ptr<test::Child>> doomed;
    for (int i = 0; i < dead; ++i) doomed.push_back(this->start_waiter());
    const auto survivor = this->start_waiter();
    for (const auto& each : doomed) {
      each->signal(SIGKILL);
      EXPECT_EQ(each->join(), -SIGKILL);
    }
    const auto took = test::duration_of([&] { this->notify(); });
    EXPECT_LT(took, milliseconds(500));
    EXPECT_EQ(survivor->join(death_is_known_within), 0);
    EXPECT_EQ(this->shared_->woken, 1);
  }
}

TYPED_TEST(DeadAtConditionTest, NotifyAllWakesTheSurvivors) {
  std::vector<std::unique_ptr<test::Child>> waiters;
  for (int i = 0; i < 4; ++i) waiters.push_back(this->start_waiter());
  waiters[0]->signal(SIGKILL);
  waiters[2]->signal(SIGKILL);
  this->notify_all();
  EXPECT_EQ(waiters[1]->join(death_is_known_within), 0);
  EXPECT_EQ(waiters[3]->join(death_is_known_within), 0);
}

TYPED_TEST(DeadAtConditionTest, AWaiterKilledJustAfterItWasNotifiedTakesNoWakeUpWithIt) {
  for (int round = 0; round < 12; ++round) {
    this->shared_->woken = 0;
    const auto doomed = this->start_waiter();
    const auto other = this->start_waiter();
    {
      const auto guard = lock_repairing(this->condition(), [] {});
      this->condition().notify();
      if (round % 3 == 0) doomed->signal(SIGKILL);  // it cannot have the lock back
    }
    doomed->signal(SIGKILL);
    const auto ended = doomed->join();
    if (this->shared_->woken == 0 || round % 3 == 0) {
      EXPECT_EQ(other->join(death_is_known_within), 0) << "round " << round << ", the first " << ended.value_or(999);
    }
  }
}

TYPED_TEST(DeadAtConditionTest, SlotsOfKilledWaitersAreUsedAgain) {
  for (int round = 0; round < ConditionVariable::waiter_slots + 10; ++round) {
    const auto doomed = this->start_waiter();
    doomed->signal(SIGKILL);
    ASSERT_EQ(doomed->join(), -SIGKILL);
    if (this->condition().waiting() == ConditionVariable::waiter_slots) break;
  }
  EXPECT_EQ(this->condition().waiting(), ConditionVariable::waiter_slots) << "nobody has looked";
  test::Child waiter([&] { TestFixture::wait_once(*this->shared_); });
  ASSERT_TRUE(test::eventually([&] { return this->condition().waiting() == 1; })) << "who finds it full looks";
  this->notify();
  EXPECT_EQ(waiter.join(death_is_known_within), 0);
}

TYPED_TEST(DeadAtConditionTest, AllWhoWaitLearnThatTheHolderDiedWhoMayHaveOwedThemANotification) {
  const auto first = this->start_waiter();
  const auto second = this->start_waiter();
  ASSERT_EQ(test::run_in_child([&] {
              this->condition().lock();
              ::raise(SIGKILL);  // between changing what the predicates look at and notify()
            }),
            -SIGKILL);
  EXPECT_EQ(first->join(death_is_known_within), 0);
  EXPECT_EQ(second->join(death_is_known_within), 0);
  EXPECT_GE(this->shared_->told, 1);
  EXPECT_EQ(this->shared_->told + this->shared_->woken, 2) << "told, or woken by who recovered";
}

TYPED_TEST(DeadAtConditionTest, RecoverWakesAllWhoWaitWhenItIsDone) {
  const auto waiter = this->start_waiter();
  waiter->signal(SIGSTOP);  // or it might look and recover itself
  siginfo_t info{};
  ASSERT_EQ(::waitid(P_PID, static_cast<id_t>(waiter->pid()), &info, WSTOPPED | WNOWAIT), 0);
  ASSERT_EQ(test::run_in_child([&] {
              this->condition().lock();
              ::raise(SIGKILL);
            }),
            -SIGKILL);
  EXPECT_THROW(this->condition().lock(), OwnerDied);
  auto recovery = this->condition().recover();
  ASSERT_TRUE(recovery);
  waiter->signal(SIGCONT);
  EXPECT_EQ(waiter->join(milliseconds(100)), std::nullopt) << "it waits for the outcome";
  recovery->commit();
  this->condition().unlock();
  EXPECT_EQ(waiter->join(death_is_known_within), 0);
  EXPECT_EQ(this->shared_->woken, 1);
}

TYPED_TEST(DeadAtConditionTest, WaitersOfAPoisonedLockAreTold) {
  test::Child waiter([&] {
    const std::lock_guard guard(this->condition());
    try {
      this->condition().wait();
      ADD_FAILURE() << "woken";
    } catch (const OwnerDied&) {
      (void)this->condition().recover();  // gives up: poisoned
      EXPECT_THROW(this->condition().lock(), Poisoned);
    }
  });
  test::Child other([&] {
    const std::lock_guard guard(this->condition());
    EXPECT_THROW(this->condition().wait_for([] { return false; }), Error);
  });
  ASSERT_TRUE(test::eventually([&] { return this->condition().waiting() == 2; }));
  ASSERT_EQ(test::run_in_child([&] {
              this->condition().lock();
              ::raise(SIGKILL);
            }),
            -SIGKILL);
  EXPECT_EQ(waiter.join(2 * death_is_known_within), 0);
  if (!this->condition().get_lock().poisoned()) (void)this->condition().recover();
  EXPECT_EQ(other.join(2 * death_is_known_within), 0);
}

// The guards of the standard library unlock whatever happened; if that threw, the program would end.
TYPED_TEST(DeadAtConditionTest, AGuardMayUnwindAfterAWaitThatThrew) {
  test::Child waiter([&] {
    const auto wait = [&] {
      const std::lock_guard guard(this->condition());
      this->condition().wait();
    };
    EXPECT_THROW(wait(), OwnerDied);
    EXPECT_TRUE(this->condition().get_lock().abandoned()) << "and left it as it was";
    auto recovery = this->condition().recover();
    ASSERT_TRUE(recovery);
    recovery->commit();
    this->condition().unlock();
    EXPECT_EQ(this->condition().get_lock().holder(), 0);
    EXPECT_THROW(this->condition().unlock(), std::logic_error) << "all as usual again";
  });
  ASSERT_TRUE(test::eventually([&] { return this->condition().waiting() == 1; }));
  (void)test::run_in_child([&] { this->condition().lock(); });
  EXPECT_EQ(waiter.join(2 * death_is_known_within), 0);
}

TYPED_TEST(DeadAtConditionTest, AGuardUnlocksWhatWasRecoveredInItsScope) {
  test::Child waiter([&] {
    {
      const std::lock_guard guard(this->condition());
      EXPECT_THROW(this->condition().wait(), OwnerDied);
      auto recovery = this->condition().recover();
      ASSERT_TRUE(recovery);
      recovery->commit();
      EXPECT_FALSE(this->condition().wait(milliseconds(5))) << "go on waiting";
      EXPECT_EQ(this->condition().get_lock().holder(), ::getpid());
    }
    EXPECT_EQ(this->condition().get_lock().holder(), 0);
  });
  ASSERT_TRUE(test::eventually([&] { return this->condition().waiting() == 1; }));
  (void)test::run_in_child([&] { this->condition().lock(); });
  EXPECT_EQ(waiter.join(2 * death_is_known_within), 0);
}

TYPED_TEST(DeadAtConditionTest, AUniqueLockDoesNotOwnWhatAWaitAtAVariableLost) {
  struct Pair {
    TypeParam lock;
    ConditionVariable variable;
  };
  const test::SharedObject<Pair> pair;
  test::Child waiter([&] {
    std::unique_lock guard(pair->lock);
    EXPECT_THROW(pair->variable.wait(guard), OwnerDied);
    EXPECT_FALSE(guard.owns_lock());
  });
  ASSERT_TRUE(test::eventually([&] { return pair->variable.waiting() == 1; }));
  (void)test::run_in_child([&] { pair->lock.lock(); });
  EXPECT_EQ(waiter.join(2 * death_is_known_within), 0);
}

TYPED_TEST(DeadAtConditionTest, KilledAtEachStepOfAWaitTheNextIsNotified) {
  RUNRIG_NEED_KILLPOINTS();
  for (const auto* point : {"condition.claimed", "condition.entered", "condition.waiting", "condition.woken",
                            "condition.relocking", "condition.left"}) {
    test::kill_at(point, TestFixture::kill_first_waiter);
  }
}

TYPED_TEST(DeadAtConditionTest, KilledAtEachStepOfANotifyAllWhoWaitAreTold) {
  RUNRIG_NEED_KILLPOINTS();
  using State = typename TestFixture::Shared;
  for (const auto* point : {"condition.choosing", "condition.notified", "condition.all_notified"}) {
    test::kill_at(point, [](std::string_view at) {
      const test::SharedObject<State> shared;
      test::Child first([&] { TestFixture::wait_once(*shared); }), second([&] { TestFixture::wait_once(*shared); });
      EXPECT_TRUE(test::eventually([&] { return shared->condition.waiting() == 2; }));
      test::Victim victim(at, [&] {
        shared->condition.lock();
        shared->condition.notify(1);
        shared->condition.notify_all();
        shared->condition.unlock();
      });
      const bool killed = victim.was_killed();
      EXPECT_EQ(first.join(death_is_known_within), 0);
      EXPECT_EQ(second.join(death_is_known_within), 0);
      EXPECT_EQ(shared->told + shared->woken, 2);
      return killed;
    });
  }
}

TYPED_TEST(DeadAtConditionTest, KilledWhileItNotifiesThoseWithoutASlot) {
  RUNRIG_NEED_KILLPOINTS();
  using State = typename TestFixture::Shared;
  test::kill_at("condition.overflow_notified", [](std::string_view at) {
    const test::SharedObject<State> shared;
    constexpr int many = ConditionVariable::waiter_slots + 1;
    test::Child waiters([&] {
      std::vector<std::thread> threads;
      for (int i = 0; i < many; ++i) threads.emplace_back([&] { TestFixture::wait_once(*shared); });
      for (auto& each : threads) each.join();
    });
    EXPECT_TRUE(test::eventually([&] { return shared->condition.waiting() == ConditionVariable::waiter_slots; }));
    ::usleep(20'000);  // for the one that has no slot; if it has not come yet, it is not reached, and tried again
    test::Victim victim(at, [&] { TestFixture::notify_as_a_victim(*shared); });
    const bool killed = victim.was_killed();
    if (killed) {
      EXPECT_EQ(waiters.join(3 * death_is_known_within), 0);
    } else {
      EXPECT_TRUE(test::eventually([&] {
        const auto guard = lock_repairing(shared->condition, [] {});
        shared->condition.notify_all();
        return waiters.join(milliseconds(1)) == 0;
      }));
    }
    return killed;
  });
}

TYPED_TEST(DeadAtConditionTest, KilledWhileItPassesOnWhatADeadWaiterHadGot) {
  RUNRIG_NEED_KILLPOINTS();
  using State = typename TestFixture::Shared;
  for (const auto* point : {"condition.inherited", "condition.passed_on"}) {
    // Who looks for the dead first depends on when the waits began: the victim dies at another moment each time.
    unsigned wait_ms = 0;
    test::kill_at(point, [&wait_ms](std::string_view at) {
      const test::SharedObject<State> shared;
      const auto wait_for = [&](int waiting) {
        EXPECT_TRUE(test::eventually([&] { return shared->condition.waiting() == waiting; }));
      };
      test::Victim notified("condition.relocking", [&] { TestFixture::wait_once(*shared); });
      wait_for(1);
      test::Victim heir(at, [&] { TestFixture::wait_once(*shared); });
      wait_for(2);
      test::Child last([&] { TestFixture::wait_once(*shared); });
      wait_for(3);
      wait_ms = (wait_ms + 7) % 60;
      ::usleep(1000 * wait_ms);
      {
        const std::lock_guard guard(shared->condition);
        shared->condition.notify();
      }
      EXPECT_TRUE(notified.was_killed());
      EXPECT_TRUE(test::eventually([&] { return shared->woken > 0 || heir.child().join(milliseconds(0)).has_value(); },
                                   death_is_known_within));
      // Only if the heir was the first to look, and was killed for it, is the rest the last one's.
      const bool killed = heir.child().join(milliseconds(20)) == -SIGKILL;
      if (killed) {
        EXPECT_EQ(last.join(death_is_known_within), 0);
      }
      return killed;
    });
  }
}

TEST(ConditionKillpointNames, EveryPointIsKilledAt) {
  RUNRIG_NEED_KILLPOINTS();
  EXPECT_EQ(test::killpoints_of({"condition."}),
            (std::set<std::string_view>{"condition.claimed", "condition.entered", "condition.waiting",
                                        "condition.woken", "condition.relocking", "condition.left",
                                        "condition.choosing", "condition.notified", "condition.all_notified",
                                        "condition.overflow_notified", "condition.inherited", "condition.passed_on"}));
}

}  // namespace
}  // namespace runrig
