#include <gtest/gtest.h>
#include <signal.h>
#include <unistd.h>

#include "killing.hpp"
#include "runrig/sync/event.hpp"
#include "runrig/sync/robust_semaphore.hpp"
#include "runrig/sync/semaphore.hpp"

/// Kills at each step of the semaphores and of Event, and what the others are left with.
namespace runrig {
namespace {

using std::chrono::milliseconds;
using test::death_is_known_within;

class SemaphoreKillpointTest : public ::testing::Test {
 protected:
  void SetUp() override { RUNRIG_NEED_KILLPOINTS(); }
};

TEST_F(SemaphoreKillpointTest, WhoTakesLosesTheTokenAndNothingElse) {
  test::kill_at("semaphore.taken", [](std::string_view point) {
    const test::SharedObject<Semaphore> semaphore(std::in_place, 2);
    test::Victim victim(point, [&] { semaphore->acquire(); });
    const bool killed = victim.was_killed();
    EXPECT_EQ(semaphore->get_value(), 1);
    EXPECT_TRUE(semaphore->try_acquire());
    return killed;
  });
}

TEST_F(SemaphoreKillpointTest, WhoWaitsTakesNothingWithIt) {
  for (const auto* point : {"semaphore.waiting", "semaphore.woken"}) {
    test::kill_at(point, [](std::string_view at) {
      const test::SharedObject<Semaphore> semaphore;
      test::Victim victim(at, [&] { semaphore->acquire(); });
      test::Child bystander([&] { semaphore->acquire(); });
      ::usleep(3000);
      semaphore->release();
      // If the victim had been woken for the token, the bystander finds it by itself.
      const auto ended = bystander.join(death_is_known_within);
      semaphore->release();
      const bool killed = victim.was_killed();
      EXPECT_TRUE(ended == 0 || !killed);
      return killed;
    });
  }
}

TEST_F(SemaphoreKillpointTest, WhoReleasesHasDoneItAndWhoSleepsFindsOut) {
  test::kill_at("semaphore.released", [](std::string_view point) {
    const test::SharedObject<Semaphore> semaphore;
    test::Child sleeper([&] { semaphore->acquire(); });
    ::usleep(3000);
    test::Victim victim(point, [&] { semaphore->release(); });
    const bool killed = victim.was_killed();
    EXPECT_EQ(sleeper.join(death_is_known_within), 0);
    EXPECT_EQ(semaphore->get_value(), 0);
    return killed;
  });
}

TEST_F(SemaphoreKillpointTest, OfARobustOneEveryTokenComesBack) {
  for (const auto* point :
       {"robust_semaphore.taken", "robust_semaphore.waiting", "robust_semaphore.woken", "robust_semaphore.released"}) {
    test::kill_at(point, [](std::string_view at) {
      const test::SharedObject<RobustSemaphore> semaphore(std::in_place, 1);
      semaphore->acquire();
      test::Victim victim(at, [&] {
        semaphore->acquire();
        semaphore->release();
      });
      test::Child bystander([&] {
        semaphore->acquire();
        semaphore->release();
      });
      ::usleep(3000);
      semaphore->release();
      EXPECT_EQ(bystander.join(death_is_known_within), 0);
      const bool killed = victim.was_killed();
      EXPECT_TRUE(semaphore->acquire(death_is_known_within));
      EXPECT_FALSE(semaphore->try_acquire());
      return killed;
    });
  }
}

TEST_F(SemaphoreKillpointTest, WhoReturnsTheTokensOfTheDeadMayDieItself) {
  test::kill_at("robust_semaphore.returned", [](std::string_view point) {
    const test::SharedObject<RobustSemaphore> semaphore(std::in_place, 2);
    EXPECT_EQ(test::run_in_child([&] {
                semaphore->acquire();
                semaphore->acquire();
                ::raise(SIGKILL);
              }),
              -SIGKILL);
    test::Victim victim(point, [&] { semaphore->acquire(); });
    const bool killed = victim.was_killed();
    EXPECT_TRUE(semaphore->acquire(death_is_known_within));
    EXPECT_TRUE(semaphore->acquire(death_is_known_within));
    EXPECT_FALSE(semaphore->try_acquire());
    return killed;
  });
}

TEST_F(SemaphoreKillpointTest, WhoSetsAnEventHasSetItAndWhoSleepsFindsOut) {
  test::kill_at("event.set", [](std::string_view point) {
    const test::SharedObject<Event> event;
    test::Child sleeper([&] { event->wait(); });
    ::usleep(3000);
    test::Victim victim(point, [&] { event->set(); });
    const bool killed = victim.was_killed();
    EXPECT_TRUE(event->is_set());
    EXPECT_EQ(sleeper.join(death_is_known_within), 0);
    return killed;
  });
}

TEST_F(SemaphoreKillpointTest, WhoClearsAnEventHasClearedIt) {
  test::kill_at("event.cleared", [](std::string_view point) {
    const test::SharedObject<Event> event;
    event->set();
    test::Victim victim(point, [&] { event->clear(); });
    const bool killed = victim.was_killed();
    EXPECT_FALSE(event->is_set());
    event->set();
    EXPECT_TRUE(event->wait());
    return killed;
  });
}

TEST_F(SemaphoreKillpointTest, WhoWaitsForAnEventTakesNothingWithIt) {
  for (const auto* point : {"event.waiting", "event.woken"}) {
    test::kill_at(point, [](std::string_view at) {
      const test::SharedObject<Event> event;
      test::Victim victim(at, [&] { event->wait(); });
      test::Child bystander([&] { event->wait(); });
      ::usleep(3000);
      event->set();
      EXPECT_EQ(bystander.join(death_is_known_within), 0);
      return victim.was_killed();
    });
  }
}

TEST_F(SemaphoreKillpointTest, EveryPointIsKilledAt) {
  EXPECT_EQ(test::killpoints_of({"semaphore.", "robust_semaphore.", "event."}),
            (std::set<std::string_view>{"semaphore.taken", "semaphore.waiting", "semaphore.woken", "semaphore.released",
                                        "robust_semaphore.taken", "robust_semaphore.waiting", "robust_semaphore.woken",
                                        "robust_semaphore.released", "robust_semaphore.returned", "event.set",
                                        "event.cleared", "event.waiting", "event.woken"}));
}

}  // namespace
}  // namespace runrig
