#include <gtest/gtest.h>
#include <unistd.h>

#include <mutex>
#include <type_traits>

#include "runrig/shm/value.hpp"
#include "runrig/sync/barrier.hpp"
#include "runrig/sync/condition.hpp"
#include "runrig/sync/event.hpp"
#include "runrig/sync/lock.hpp"
#include "runrig/sync/robust_semaphore.hpp"
#include "runrig/sync/semaphore.hpp"
#include "runrig/sync/unique_fd.hpp"
#include "support.hpp"

/// The primitives of sync in Shared<T>: they travel by handle to a process that did not inherit them.
namespace runrig {
namespace {

using std::chrono::seconds;

static_assert(Shareable<Lock> && Shareable<RLock> && Shareable<Semaphore> && Shareable<BoundedSemaphore> &&
              Shareable<RobustSemaphore> && Shareable<Event> && Shareable<Condition<Lock>> &&
              Shareable<Condition<RLock>> && Shareable<ConditionVariable> && Shareable<Barrier>);

// Forks a child, then makes a Shared<T> from the arguments, and sends its handle. The child attaches and does `there`,
// while this process does `here`.
template <class T, class Here, class There, class... Arguments>
void meet(Here here, There there, Arguments... arguments) {
  int ends[2];
  ASSERT_EQ(::pipe(ends), 0);
  const UniqueFd reader(ends[0]);
  const UniqueFd writer(ends[1]);
  test::Child child([&] {
    BlockHandle handle;
    ASSERT_EQ(::read(reader.get(), &handle, sizeof handle), static_cast<ssize_t>(sizeof handle));
    there(*Shared<T>::attach(handle));
  });
  const Shared<T> shared(std::in_place, arguments...);
  const BlockHandle handle = shared.handle();
  ASSERT_EQ(::write(writer.get(), &handle, sizeof handle), static_cast<ssize_t>(sizeof handle));
  here(*shared);
  EXPECT_EQ(child.join(), 0);
}

template <class L>
class SharedLockTest : public ::testing::Test {};
using LockTypes = ::testing::Types<Lock, RLock, Condition<Lock>, Condition<RLock>>;
TYPED_TEST_SUITE(SharedLockTest, LockTypes);

TYPED_TEST(SharedLockTest, KnowsTheProcessThatAttached) {
  meet<TypeParam>(
      [](TypeParam& lock) {
        EXPECT_TRUE(test::eventually([&] {
          try {
            if (lock.try_lock()) lock.unlock();
            return false;
          } catch (const OwnerDied&) {
            return true;
          }
        })) << "the other ends with it";
      },
      [](TypeParam& lock) { lock.lock(); });
}

template <class S>
class SharedSemaphoreTest : public ::testing::Test {};
using SemaphoreTypes = ::testing::Types<Semaphore, BoundedSemaphore>;
TYPED_TEST_SUITE(SharedSemaphoreTest, SemaphoreTypes);

TYPED_TEST(SharedSemaphoreTest, CountsForTheProcessThatAttached) {
  meet<TypeParam>(
      [](TypeParam& semaphore) {
        EXPECT_TRUE(test::eventually([&] { return semaphore.get_value() == 0; }));
        semaphore.release(2);
      },
      [](TypeParam& semaphore) {
        EXPECT_TRUE(semaphore.acquire(seconds(20)));
        EXPECT_TRUE(semaphore.acquire(seconds(20)));
        EXPECT_TRUE(semaphore.acquire(seconds(20))) << "what the other gave";
      },
      2);
}

TEST(SharedRobustSemaphoreTest, KnowsTheProcessThatAttached) {
  meet<RobustSemaphore>(
      [](RobustSemaphore& semaphore) {
        EXPECT_TRUE(test::eventually([&] { return semaphore.get_value() == 0; }));
        EXPECT_TRUE(semaphore.acquire(seconds(20))) << "when the other ended with it";
      },
      [](RobustSemaphore& semaphore) { semaphore.acquire(); }, 1);
}

TEST(SharedEventTest, IsSetForTheProcessThatAttached) {
  meet<Event>(
      [](Event& event) {
        event.set();
        EXPECT_TRUE(test::eventually([&] { return !event.is_set(); }));
      },
      [](Event& event) {
        EXPECT_TRUE(event.wait(seconds(20)));
        event.clear();
      });
}

TEST(SharedConditionTest, NotifiesTheProcessThatAttached) {
  meet<Condition<RLock>>(
      [](Condition<RLock>& condition) {
        EXPECT_TRUE(test::eventually([&] { return condition.waiting() == 1; }));
        const std::lock_guard guard(condition);
        condition.notify();
      },
      [](Condition<RLock>& condition) {
        const std::lock_guard guard(condition);
        EXPECT_TRUE(condition.wait(seconds(20)));
      });
}

TEST(SharedBarrierTest, MeetsTheProcessThatAttached) {
  meet<Barrier>([](Barrier& barrier) { EXPECT_LT(barrier.wait(seconds(20)), 2); },
                [](Barrier& barrier) { EXPECT_LT(barrier.wait(seconds(20)), 2); }, 2);
}

struct Mailbox {
  Lock lock;
  ConditionVariable filled;
  int letter = 0;
};

}  // namespace

// A program's own struct of primitives, said to be address-free.
template <>
inline constexpr bool is_address_free<Mailbox> = true;

namespace {

TEST(SharedStructTest, OfPrimitivesTravelsWhenItIsSaidToBeAddressFree) {
  meet<Mailbox>(
      [](Mailbox& box) {
        const std::lock_guard guard(box.lock);
        box.letter = 7;
        box.filled.notify();
      },
      [](Mailbox& box) {
        std::unique_lock guard(box.lock);
        EXPECT_TRUE(box.filled.wait_for(
            guard, [&] { return box.letter != 0; }, seconds(20)));
        EXPECT_EQ(box.letter, 7);
      });
}

}  // namespace
}  // namespace runrig
