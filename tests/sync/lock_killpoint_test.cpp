#include <gtest/gtest.h>
#include <signal.h>
#include <unistd.h>

#include <optional>
#include <set>
#include <string_view>
#include <vector>

#include "killpoints.hpp"
#include "runrig/sync/lock.hpp"
#include "shared_object.hpp"

namespace runrig {
namespace {

using test::death_is_known_within;

/// A victim goes through each thing that one can do with a lock and is killed at each point on the way, while a
/// bystander waits for the same lock.
template <class AnyLock>
class LockKillpointTest : public ::testing::Test {
 protected:
  struct Shared {
    AnyLock lock;
    std::atomic<int> step;
    std::atomic<bool> begun;  // the victim's role
    // The guarded data: equal except in a critical section.
    std::atomic<int> first;
    std::atomic<int> second;
  };
  using Role = void (*)(Shared&);

  static void change(Shared& shared) {
    ++shared.first;
    ++shared.second;
  }
  static void repair(Shared& shared) { shared.second = shared.first.load(); }

  // The victim's roles, and with which state of the lock they start.
  static void take_and_release(Shared& shared) {
    shared.lock.lock();
    change(shared);
    shared.lock.unlock();
  }
  static void repair_what_the_dead_left(Shared& shared) {
    const auto guard = lock_repairing(shared.lock, [&] { repair(shared); });
    change(shared);
  }
  static void give_up_what_the_dead_left(Shared& shared) {
    try {
      shared.lock.lock();
    } catch (const OwnerDied&) {
      (void)shared.lock.recover();  // destroyed at once: poisons
    }
  }
  enum class Start { free, held, left_by_the_dead, being_repaired };

  static void leave_to_the_dead(Shared& shared) {
    EXPECT_EQ(test::run_in_child([&] {
                shared.lock.lock();
                ++shared.first;
                ::raise(SIGKILL);
              }),
              -SIGKILL);
  }

  // Another living process that holds or repairs the lock long enough for the victim to sleep, mostly. A victim may
  // take its time to come, on a busy machine or under a sanitizer.
  static void hold_for_a_while(Shared& shared, Start start) {
    const auto say_and_wait = [&] {
      shared.step = 1;
      (void)test::eventually([&] { return shared.begun.load(); });
      ::usleep(6000);
    };
    if (start == Start::being_repaired) {
      auto recovery = shared.lock.recover();
      ASSERT_TRUE(recovery);
      say_and_wait();
      repair(shared);
      recovery->commit();
    } else {
      shared.lock.lock();
      say_and_wait();
    }
    shared.lock.unlock();
  }

  // Uses the lock `times`, as a good citizen.
  static void use(Shared& shared, int times, bool may_poison) {
    try {
      for (int i = 0; i < times; ++i) {
        const auto guard = lock_repairing(shared.lock, [&] { repair(shared); });
        EXPECT_EQ(shared.first, shared.second);
        change(shared);
      }
    } catch (const Poisoned&) {
      EXPECT_TRUE(may_poison);
    }
  }

  // Runs `role` with `point` armed; true if the victim was killed there. Whatever happened, the lock must be usable
  // at once, or poisoned where `role` may poison it.
  static bool survive(Start start, Role role, std::string_view point, bool may_poison) {
    SCOPED_TRACE(point);
    const test::SharedObject<Shared> shared;
    if (start == Start::left_by_the_dead || start == Start::being_repaired) leave_to_the_dead(*shared);
    std::optional<test::Child> other;
    if (start == Start::held || start == Start::being_repaired) {
      other.emplace([&] { hold_for_a_while(*shared, start); });
      EXPECT_TRUE(test::eventually([&] { return shared->step == 1; }));
    }
    test::Child victim([&] {
      killpoint::arm(point);
      shared->begun = true;
      role(*shared);
    });
    test::Child bystander([&] { use(*shared, 20, may_poison); });
    const auto ended = victim.join();
    EXPECT_TRUE(ended == 0 || ended == -SIGKILL);
    const auto recovered_in = test::duration_of([&] {
      EXPECT_EQ(bystander.join(), 0);
      if (other) {
        EXPECT_EQ(other->join(), 0);
      }
      use(*shared, 1, may_poison);
    });
    EXPECT_LT(recovered_in, death_is_known_within);
    return ended == -SIGKILL;
  }

  // Kills `role` at each of `points`, which it must reach.
  void kill_at_each(Start start, Role role, const std::vector<std::string_view>& points, bool may_poison = false) {
    RUNRIG_NEED_KILLPOINTS();
    for (const auto point : points) {
      bool killed = false;
      // With a bystander about, a step may be the bystander's in one run and the victim's in the next.
      for (int attempt = 0; attempt < 50 && !killed; ++attempt) killed = survive(start, role, point, may_poison);
      EXPECT_TRUE(killed) << point << " was never reached";
    }
  }
};
using LockTypes = ::testing::Types<Lock, RLock>;
TYPED_TEST_SUITE(LockKillpointTest, LockTypes);

const std::vector<std::string_view> uncontended{"lock.domain_entered", "lock.taken", "lock.releasing", "lock.released"};
const std::vector<std::string_view> contended{"lock.waiting", "lock.woken", "lock.taken", "lock.releasing",
                                              "lock.released"};
const std::vector<std::string_view> recovered{"lock.orphaned",  "recovery.taken", "recovery.ending",
                                              "recovery.ended", "lock.releasing", "lock.released"};
const std::vector<std::string_view> given_up{"lock.orphaned", "recovery.taken", "recovery.ending", "recovery.ended"};
const std::vector<std::string_view> beside_a_repair{"lock.waiting", "lock.woken", "lock.taken"};
const std::vector<std::string_view> waiting_to_repair{"recovery.waiting"};

TYPED_TEST(LockKillpointTest, WhoeverTakesAndReleases) {
  this->kill_at_each(TestFixture::Start::free, TestFixture::take_and_release, uncontended);
}

TYPED_TEST(LockKillpointTest, WhoeverWaits) {
  this->kill_at_each(TestFixture::Start::held, TestFixture::take_and_release, contended);
}

TYPED_TEST(LockKillpointTest, WhoeverRepairs) {
  this->kill_at_each(TestFixture::Start::left_by_the_dead, TestFixture::repair_what_the_dead_left, recovered);
}

TYPED_TEST(LockKillpointTest, WhoeverGivesUp) {
  this->kill_at_each(TestFixture::Start::left_by_the_dead, TestFixture::give_up_what_the_dead_left, given_up, true);
}

TYPED_TEST(LockKillpointTest, WhoeverWaitsForARepair) {
  this->kill_at_each(TestFixture::Start::being_repaired, TestFixture::take_and_release, beside_a_repair);
}

TYPED_TEST(LockKillpointTest, WhoeverWantsToRepairToo) {
  this->kill_at_each(
      TestFixture::Start::being_repaired, [](auto& shared) { (void)shared.lock.recover(); }, waiting_to_repair);
}

TEST(LockKillpointNames, EveryPointOfTheLocksIsKilledAt) {
  RUNRIG_NEED_KILLPOINTS();
  std::set<std::string_view> tested;
  for (const auto* points : {&uncontended, &contended, &recovered, &given_up, &beside_a_repair, &waiting_to_repair}) {
    tested.insert(points->begin(), points->end());
  }
  EXPECT_EQ(tested, (test::killpoints_of({"lock.", "recovery."})));
}

}  // namespace
}  // namespace runrig
