#include <gmock/gmock.h>
#include <sched.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <memory>
#include <thread>
#include <vector>

#include "runrig/sync/lock.hpp"
#include "shared_object.hpp"

namespace runrig {
namespace {

using std::chrono::milliseconds;
using test::death_is_known_within;

/// What Lock and RLock promise when somebody dies.
template <class AnyLock>
class DeadHolderTest : public ::testing::Test {
 protected:
  struct Shared {
    AnyLock lock;
    std::atomic<int> arrived;
    std::atomic<int> go_on;
    std::atomic<int> repairs;
    std::atomic<int> outcomes[4];
  };
  AnyLock& lock() const { return shared_->lock; }

  // Leaves the lock to a dead holder.
  void orphan() const {
    ASSERT_EQ(test::run_in_child([&] {
                lock().lock();
                ::raise(SIGKILL);
              }),
              -SIGKILL);
  }
  // A process that takes the lock and holds it until it is killed.
  std::unique_ptr<test::Child> start_holder() const {
    auto child = std::make_unique<test::Child>([this] {
      lock().lock();
      shared_->go_on = 1;
      for (;;) ::pause();
    });
    EXPECT_TRUE(test::eventually([&] { return shared_->go_on == 1; }));
    return child;
  }
  // `count` processes that each do `work` with their number, once all have arrived.
  template <class Work>
  std::vector<std::unique_ptr<test::Child>> start(int count, Work work) const {
    std::vector<std::unique_ptr<test::Child>> children;
    for (int i = 0; i < count; ++i) {
      children.push_back(std::make_unique<test::Child>([this, work, i] {
        ++shared_->arrived;
        work(i);
      }));
    }
    EXPECT_TRUE(test::eventually([&] { return shared_->arrived == count; }));
    return children;
  }
  void repair_and_unlock() const {
    auto recovery = lock().recover();
    ASSERT_TRUE(recovery);
    recovery->commit();
    lock().unlock();
  }
  // The lock works again, for us and for others.
  void expect_healthy() const {
    EXPECT_TRUE(lock().try_lock());
    EXPECT_EQ(test::run_in_child([&] { EXPECT_FALSE(lock().try_lock()); }), 0);
    lock().unlock();
    EXPECT_EQ(test::run_in_child([&] {
                EXPECT_TRUE(lock().try_lock_for(death_is_known_within));
                lock().unlock();
              }),
              0);
  }
  const test::SharedObject<Shared> shared_;
};
using LockTypes = ::testing::Types<Lock, RLock>;
TYPED_TEST_SUITE(DeadHolderTest, LockTypes);

TYPED_TEST(DeadHolderTest, TheNextLearnsItAndRepairs) {
  this->orphan();
  EXPECT_LT(test::duration_of([&] { EXPECT_THROW(this->lock().lock(), OwnerDied); }), death_is_known_within);
  EXPECT_THROW((void)this->lock().try_lock(), OwnerDied);
  EXPECT_THROW((void)this->lock().try_lock_for(milliseconds(1)), OwnerDied);
  EXPECT_THROW(this->lock().unlock(), OwnerDied);
  const int dead = this->lock().holder();
  {
    auto recovery = this->lock().recover();
    ASSERT_TRUE(recovery);
    EXPECT_EQ(recovery->dead_holder(), dead);
    EXPECT_EQ(this->lock().holder(), ::getpid());
    EXPECT_THROW(this->lock().unlock(), std::logic_error) << "not before commit";
    recovery->commit();
    EXPECT_THROW(recovery->commit(), std::logic_error) << "once";
  }
  EXPECT_FALSE(this->lock().poisoned());
  EXPECT_EQ(test::run_in_child([&] { EXPECT_FALSE(this->lock().try_lock()); }), 0);
  this->lock().unlock();
  this->expect_healthy();
}

TYPED_TEST(DeadHolderTest, TryLockAndShortTimeoutsLearnItToo) {
  this->orphan();
  EXPECT_THROW((void)this->lock().try_lock(), OwnerDied);
  this->repair_and_unlock();
  this->orphan();
  EXPECT_THROW((void)this->lock().try_lock_for(std::chrono::microseconds(1)), OwnerDied);
  this->repair_and_unlock();
  this->orphan();
  EXPECT_THROW((void)this->lock().acquire(std::chrono::seconds(1)), OwnerDied);
  this->repair_and_unlock();
  this->orphan();
  this->repair_and_unlock();  // without asking first
  this->expect_healthy();
}

TYPED_TEST(DeadHolderTest, AnEndWithoutASignalIsADeathToo) {
  ASSERT_EQ(test::run_in_child([&] { this->lock().lock(); }), 0);
  EXPECT_THROW(this->lock().lock(), OwnerDied);
}

TYPED_TEST(DeadHolderTest, AllWhoWaitLearnItAndOneRepairs) {
  const auto holder = this->start_holder();
  auto waiters = this->start(3, [this](int) {
    const auto guard = lock_repairing(this->lock(), [&] { ++this->shared_->repairs; });
    ::usleep(1000);
  });
  ::usleep(20'000);
  holder->signal(SIGKILL);
  for (const auto& each : waiters) EXPECT_EQ(each->join(3 * death_is_known_within), 0);
  EXPECT_EQ(this->shared_->repairs, 1);
  this->expect_healthy();
}

TYPED_TEST(DeadHolderTest, WaitersAreToldWithinASecond) {
  const auto holder = this->start_holder();
  auto waiters = this->start(4, [this](int) { EXPECT_THROW(this->lock().lock(), OwnerDied); });
  ::usleep(20'000);
  holder->signal(SIGKILL);  // a zombie from now on: the test reaps it at the end only
  for (const auto& each : waiters) EXPECT_EQ(each->join(death_is_known_within), 0);
}

TYPED_TEST(DeadHolderTest, OfManyWhoRecoverOneRepairsAndTheOthersAreToldWhenItIsDone) {
  this->orphan();
  auto children = this->start(4, [this](int i) {
    EXPECT_THROW(this->lock().lock(), OwnerDied);
    ++this->shared_->go_on;  // all have been told before the first recovers
    while (this->shared_->go_on != 4) ::usleep(200);
    auto recovery = this->lock().recover();
    if (recovery) {
      ++this->shared_->repairs;
      ::usleep(30'000);
      EXPECT_EQ(this->shared_->outcomes[0] + this->shared_->outcomes[1] + this->shared_->outcomes[2] +
                    this->shared_->outcomes[3],
                0)
          << "the others wait for the outcome";
      recovery->commit();
      this->lock().unlock();
    } else {
      this->shared_->outcomes[i] = 1;
    }
  });
  for (const auto& each : children) EXPECT_EQ(each->join(), 0);
  EXPECT_EQ(this->shared_->repairs, 1);
  EXPECT_FALSE(this->lock().recover()) << "nothing to repair any more";
  this->expect_healthy();
}

TYPED_TEST(DeadHolderTest, WithoutCommitItIsPoisonedForAllPresentAndToCome) {
  this->orphan();
  {
    auto recovery = this->lock().recover();
    ASSERT_TRUE(recovery);
    auto waiters = this->start(4, [this](int i) {
      if (i == 0) {
        EXPECT_THROW((void)this->lock().recover(), Poisoned);
      } else {
        EXPECT_THROW(this->lock().lock(), Poisoned);
      }
      this->shared_->outcomes[i] = 1;
    });
    ::usleep(20'000);
    for (const auto& each : this->shared_->outcomes) EXPECT_EQ(each, 0) << "they wait while it is repaired";
    const auto given_up = Clock::now();
    recovery.reset();
    for (const auto& each : waiters) EXPECT_EQ(each->join(), 0);
    EXPECT_LT(Clock::now() - given_up, death_is_known_within);
  }
  EXPECT_TRUE(this->lock().poisoned());
  EXPECT_THROW(this->lock().lock(), Poisoned);
  EXPECT_THROW((void)this->lock().try_lock(), Poisoned);
  EXPECT_THROW((void)this->lock().try_lock_for(milliseconds(1)), Poisoned);
  EXPECT_THROW((void)this->lock().recover(), Poisoned);
  EXPECT_THROW(this->lock().unlock(), Poisoned);
}

TYPED_TEST(DeadHolderTest, ARepairThatThrowsPoisonsAndItsExceptionComesOut) {
  this->orphan();
  EXPECT_THROW((void)lock_repairing(this->lock(), [] { throw FormatError("repair", "counter", "torn"); }), FormatError);
  EXPECT_THROW((void)lock_repairing(this->lock(), [] {}), Poisoned);
}

TYPED_TEST(DeadHolderTest, WhenTheRepairerDiesTheNextRepairs) {
  this->orphan();
  test::Child repairer([&] {
    auto recovery = this->lock().recover();
    ASSERT_TRUE(recovery);
    this->shared_->go_on = 1;
    for (;;) ::pause();
  });
  ASSERT_TRUE(test::eventually([&] { return this->shared_->go_on == 1; }));
  test::Child waiter([&] { (void)lock_repairing(this->lock(), [] {}); });
  test::Child next([&] {
    if (auto recovery = this->lock().recover()) {
      EXPECT_EQ(recovery->dead_holder(), repairer.pid());
      recovery->commit();
      this->lock().unlock();
    }  // else the waiter was quicker
  });
  EXPECT_EQ(next.join(milliseconds(100)), std::nullopt) << "it waits for the repairer";
  EXPECT_EQ(waiter.join(milliseconds(0)), std::nullopt);
  repairer.signal(SIGKILL);
  EXPECT_EQ(next.join(death_is_known_within), 0);
  EXPECT_EQ(waiter.join(death_is_known_within), 0);
  this->expect_healthy();
}

TYPED_TEST(DeadHolderTest, AForkedChildNeitherCommitsNorPoisonsItsParentsRepair) {
  this->orphan();
  auto recovery = this->lock().recover();
  ASSERT_TRUE(recovery);
  EXPECT_EQ(test::run_in_child([&] {
              EXPECT_THROW(recovery->commit(), std::logic_error);
              recovery.reset();
              EXPECT_FALSE(this->lock().poisoned());
            }),
            0);
  recovery->commit();
  this->lock().unlock();
  this->expect_healthy();
}

TYPED_TEST(DeadHolderTest, AMovedTokenIsTheOneThatCounts) {
  this->orphan();
  auto first = this->lock().recover();
  ASSERT_TRUE(first);
  {
    Recovery second(std::move(*first));
    first.reset();
    EXPECT_FALSE(this->lock().poisoned());
    second.commit();
  }
  this->lock().unlock();
  this->expect_healthy();
}

TYPED_TEST(DeadHolderTest, ExecIsADeath) {
  test::Child child([&] {
    this->lock().lock();
    this->shared_->go_on = 1;
    ::execlp("sleep", "sleep", "30", static_cast<char*>(nullptr));
  });
  ASSERT_TRUE(test::eventually([&] { return this->shared_->go_on == 1; }));
  EXPECT_LT(test::duration_of([&] { EXPECT_THROW(this->lock().lock(), OwnerDied); }), death_is_known_within);
  EXPECT_EQ(child.join(milliseconds(0)), std::nullopt) << "the process lives, but is another program";
}

TYPED_TEST(DeadHolderTest, AHolderOfManyThreadsDiesAsAWhole) {
  for (int round = 0; round < 10; ++round) {
    this->shared_->go_on = 0;
    test::Child child([&] {
      std::vector<std::thread> threads;
      for (int i = 0; i < 8; ++i) {
        threads.emplace_back([] {
          for (;;) ::pause();
        });
      }
      this->lock().lock();
      this->shared_->go_on = 1;
      for (;;) ::pause();
    });
    ASSERT_TRUE(test::eventually([&] { return this->shared_->go_on == 1; }));
    EXPECT_FALSE(this->lock().try_lock());
    child.signal(SIGKILL);
    EXPECT_LT(test::duration_of([&] { EXPECT_THROW(this->lock().lock(), OwnerDied); }), death_is_known_within);
    this->repair_and_unlock();
  }
}

TYPED_TEST(DeadHolderTest, ACrashIsADeathAlsoWhileItDumpsItsCore) {
  const test::TemporaryDirectory directory;
  test::Child child([&] {
    check_errno(::chdir(directory.path().c_str()), "enter", directory.path().string());
    std::vector<char> big(128 << 20, 'x');  // takes a while to write, where cores are written
    this->lock().lock();
    this->shared_->go_on = big.back() == 'x' ? 1 : 2;
    ::raise(SIGABRT);
  });
  ASSERT_TRUE(test::eventually([&] { return this->shared_->go_on == 1; }));
  EXPECT_LT(test::duration_of([&] { EXPECT_THROW(this->lock().lock(), OwnerDied); }), death_is_known_within);
}

TYPED_TEST(DeadHolderTest, AStoppedHolderIsNotDead) {
  const auto holder = this->start_holder();
  holder->signal(SIGSTOP);
  siginfo_t info{};
  ASSERT_EQ(::waitid(P_PID, static_cast<id_t>(holder->pid()), &info, WSTOPPED | WNOWAIT), 0);
  bool taken = true;
  const auto took = test::duration_of([&] { taken = this->lock().try_lock_for(milliseconds(300)); });
  EXPECT_FALSE(taken);
  EXPECT_GE(took, milliseconds(300));
  EXPECT_LT(took, milliseconds(800));
  EXPECT_FALSE(this->lock().recover()) << "nothing to repair";
  EXPECT_THAT(test::thrown_text([&] { this->lock().lock_within(milliseconds(1)); }),
              ::testing::HasSubstr(" " + std::to_string(holder->pid())));
  holder->signal(SIGCONT);
  EXPECT_FALSE(this->lock().try_lock_for(milliseconds(60)));
  holder->signal(SIGKILL);
  EXPECT_THROW(this->lock().lock(), OwnerDied);
}

TYPED_TEST(DeadHolderTest, KilledWaitersTakeNoWakeUpWithThem) {
  for (int round = 0; round < 12; ++round) {
    this->shared_->arrived = 0;
    this->lock().lock();
    auto doomed = this->start(3, [this](int) {
      this->lock().lock();
      for (;;) ::pause();
    });
    // Repairing, for one of those who are killed may have got the lock first.
    test::Child survivor([&] { (void)lock_repairing(this->lock(), [] {}); });
    ::usleep(2000);
    if (round % 2 == 0) {
      for (const auto& each : doomed) each->signal(SIGKILL);
      this->lock().unlock();
    } else {
      this->lock().unlock();
      for (const auto& each : doomed) each->signal(SIGKILL);
    }
    ASSERT_EQ(survivor.join(death_is_known_within), 0) << "round " << round;
    (void)lock_repairing(this->lock(), [] {});
  }
}

// The machinery itself, with holders of namespaces that a test without privileges cannot make.
TEST(OwnerWordTest, AHolderInAnotherNamespaceIsWaitedForAndNotDeclaredDead) {
  detail::OwnerWord word;
  const Identity me = this_process_identity();
  if (me.domain == 0) GTEST_SKIP() << "no usable /proc";
  Identity dead_here = me;
  dead_here.mark ^= std::uint64_t{1} << 27;
  Identity stranger = dead_here;
  for (std::uint32_t other = 1; other <= 5; ++other) {  // more namespaces than a lock has room for
    stranger.domain = me.domain ^ other;
    const auto key = word.key_of(stranger);
    ASSERT_EQ(word.attempt(key), detail::OwnerWord::Attempt::taken);
    EXPECT_FALSE(word.take(me, word.key_of(me), Deadline::after(milliseconds(60))));
    int dead = 0;
    EXPECT_FALSE(word.recover(me, word.key_of(me), dead));
    word.release(stranger, key, detail::OwnerWord::Releaser::owner_only);
  }
}

TEST(OwnerWordTest, ADeathIsKnownInEveryNamespaceThatTheLockHasRoomFor) {
  const Identity me = this_process_identity();
  if (me.domain == 0) GTEST_SKIP() << "no usable /proc";
  for (std::uint32_t others = 0; others <= 2; ++others) {
    detail::OwnerWord word;
    for (std::uint32_t other = 1; other <= others; ++other) {
      (void)word.key_of({me.mark, me.domain ^ other, ParticipantKind::process});
    }
    Identity dead_here = me;
    dead_here.mark ^= std::uint64_t{1} << 27;
    ASSERT_EQ(word.attempt(word.key_of(dead_here)), detail::OwnerWord::Attempt::taken);
    EXPECT_THROW((void)word.take(me, word.key_of(me), Deadline()), OwnerDied);
  }
}

TEST(OwnerWordTest, AHolderInARealNamespaceOfItsOwnIsNotDeclaredDead) {
  struct Shared {
    Lock lock;
    std::atomic<int> step;
  };
  const test::SharedObject<Shared> shared;
  test::Child outer([&] {
    if (::unshare(CLONE_NEWPID) != 0) {
      shared->step = -1;
      return;
    }
    test::Child inner([&] {  // pid 1 over there, and /proc does not know it by that number
      shared->lock.lock();
      shared->step = 1;
      while (shared->step != 2) ::usleep(500);
      shared->lock.unlock();
    });
    EXPECT_EQ(inner.join(), 0);
  });
  ASSERT_TRUE(test::eventually([&] { return shared->step != 0; }));
  if (shared->step == -1) GTEST_SKIP() << "no right to make a PID namespace";
  EXPECT_FALSE(shared->lock.try_lock_for(milliseconds(150)));
  shared->step = 2;
  EXPECT_EQ(outer.join(), 0);
  EXPECT_TRUE(shared->lock.try_lock());
}

}  // namespace
}  // namespace runrig
