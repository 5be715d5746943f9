#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <unistd.h>

#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "killing.hpp"
#include "runrig/sync/barrier.hpp"

namespace runrig {
namespace {

using std::chrono::milliseconds;
using test::death_is_known_within;
using ::testing::HasSubstr;

/// What a Barrier promises when a party dies.
class DeadPartyTest : public ::testing::Test {
 protected:
  struct Shared {
    Barrier barrier;
    std::atomic<int> step{0};
    std::atomic<int> released{0};
    std::atomic<int> refused{0};
    explicit Shared(int parties) : barrier(parties) {}
  };
  using SharedBarrier = test::SharedObject<Shared>;
  using Parties = std::vector<std::unique_ptr<test::Child>>;

  // A child that waits once, and counts how that ended.
  static void wait_once(Shared& shared) {
    try {
      shared.barrier.wait();
      ++shared.released;
    } catch (const BrokenBarrier&) {
      ++shared.refused;
    }
  }
  static std::unique_ptr<test::Child> start_party(const SharedBarrier& shared) {
    const int before = shared->barrier.n_waiting();
    auto child = std::make_unique<test::Child>([&] { wait_once(*shared); });
    EXPECT_TRUE(test::eventually([&] { return shared->barrier.n_waiting() == before + 1; }));
    return child;
  }
  static Parties start_parties(const SharedBarrier& shared, int count) {
    Parties parties;
    for (int i = 0; i < count; ++i) parties.push_back(start_party(shared));
    return parties;
  }
  static void expect_all_end(const Parties& parties) {
    for (const auto& each : parties) EXPECT_EQ(each->join(death_is_known_within), 0);
  }
  // After a reset as many as there are parties meet as if nothing had happened.
  static void expect_usable(const SharedBarrier& shared) {
    shared->barrier.reset();
    shared->released = 0;
    Parties parties;
    for (int i = 0; i < shared->barrier.parties(); ++i) {
      parties.push_back(std::make_unique<test::Child>([&] { wait_once(*shared); }));
    }
    for (const auto& each : parties) EXPECT_EQ(each->join(), 0);
    EXPECT_EQ(shared->released, shared->barrier.parties());
    EXPECT_FALSE(shared->barrier.broken());
  }

  enum class Outcome { released, refused };
  // Two of three wait; the third does `role` and is killed at `point`. True if it was, and then the two must come to
  // know `expected`, and the barrier be usable.
  static bool kill_third(std::string_view point, const std::function<void(Shared&)>& role, Outcome expected) {
    const SharedBarrier shared(std::in_place, 3);
    const Parties others = start_parties(shared, 2);
    test::Victim victim(point, [&] { role(*shared); });
    const bool killed = victim.was_killed();
    if (!killed) shared->barrier.abort();
    expect_all_end(others);
    if (killed) {
      EXPECT_EQ(shared->released, expected == Outcome::released ? 2 : 0) << point;
    }
    expect_usable(shared);
    return killed;
  }
  // The first of three to come is killed at `point`; two more come.
  static bool kill_first(std::string_view point) {
    const SharedBarrier shared(std::in_place, 4);
    test::Victim victim(point, [&] { wait_once(*shared); });
    EXPECT_TRUE(victim.was_killed());
    const Parties others = [&] {
      Parties parties;
      for (int i = 0; i < 2; ++i) parties.push_back(std::make_unique<test::Child>([&] { wait_once(*shared); }));
      return parties;
    }();
    expect_all_end(others);
    EXPECT_EQ(shared->refused, 2) << point;
    EXPECT_TRUE(shared->barrier.broken());
    expect_usable(shared);
    return true;
  }
};

TEST_F(DeadPartyTest, AWaitingPartyThatDiesBreaksTheBarrierForAll) {
  const SharedBarrier shared(std::in_place, 5);
  const Parties parties = start_parties(shared, 3);
  test::Child last([&] {
    EXPECT_THAT(test::thrown_text([&] { shared->barrier.wait(); }),
                HasSubstr("party " + std::to_string(parties[1]->pid()) + " died"));
  });
  ASSERT_TRUE(test::eventually([&] { return shared->barrier.n_waiting() == 4; }));
  parties[1]->signal(SIGKILL);  // a zombie from now on
  const auto told_in = test::duration_of([&] {
    EXPECT_EQ(parties[0]->join(), 0);
    EXPECT_EQ(parties[2]->join(), 0);
    EXPECT_EQ(last.join(), 0);
  });
  EXPECT_LT(told_in, death_is_known_within);
  EXPECT_EQ(shared->refused, 2);
  EXPECT_TRUE(shared->barrier.broken());
  expect_usable(shared);
}

TEST_F(DeadPartyTest, AnEnrolledPartyThatDiesBeforeItComesBreaksTheBarrier) {
  const SharedBarrier shared(std::in_place, 5);
  test::Child enrolled([&] {
    shared->barrier.enroll();
    shared->step = 1;
    for (;;) ::pause();
  });
  ASSERT_TRUE(test::eventually([&] { return shared->step == 1; }));
  const Parties parties = start_parties(shared, 4);
  EXPECT_EQ(parties[0]->join(milliseconds(120)), std::nullopt) << "they wait for it";
  enrolled.signal(SIGKILL);
  expect_all_end(parties);
  EXPECT_EQ(shared->refused, 4);
  expect_usable(shared);
}

TEST_F(DeadPartyTest, WhoComesAfterAnEnrolledPartyHasDiedIsToldToo) {
  const SharedBarrier shared(std::in_place, 2);
  ASSERT_EQ(test::run_in_child([&] { shared->barrier.enroll(); }), 0) << "an end without withdraw() is a death";
  EXPECT_LT(test::duration_of([&] { EXPECT_THROW(shared->barrier.wait(), BrokenBarrier); }), death_is_known_within);
  expect_usable(shared);
}

TEST_F(DeadPartyTest, AnEnrolledPartyThatDiesInALaterRoundBreaksIt) {
  const SharedBarrier shared(std::in_place, 2);
  test::Child enrolled([&] {
    shared->barrier.enroll();
    shared->barrier.wait();
    shared->barrier.wait();
    shared->step = 1;
    for (;;) ::pause();
  });
  shared->barrier.wait();
  shared->barrier.wait();
  ASSERT_TRUE(test::eventually([&] { return shared->step == 1; }));
  enrolled.signal(SIGKILL);
  EXPECT_LT(test::duration_of([&] { EXPECT_THROW(shared->barrier.wait(), BrokenBarrier); }), death_is_known_within);
}

TEST_F(DeadPartyTest, AThreadThatEndsWhileEnrolledHasDiedAlsoWhenItsProcessLives) {
  const SharedBarrier shared(std::in_place, 2);
  std::thread([&] { shared->barrier.enroll(); }).join();
  EXPECT_THROW(shared->barrier.wait(std::chrono::seconds(20)), BrokenBarrier);
  shared->barrier.reset();
  EXPECT_FALSE(shared->barrier.broken());
}

TEST_F(DeadPartyTest, APartyThatDiesAfterItWasReleasedConcernsNobody) {
  const SharedBarrier shared(std::in_place, 2);
  for (int round = 0; round < 5; ++round) {
    test::Child doomed([&] {
      shared->barrier.wait();
      ::raise(SIGKILL);
    });
    shared->barrier.wait();
    EXPECT_EQ(doomed.join(), -SIGKILL);
    EXPECT_FALSE(shared->barrier.broken());
  }
}

TEST_F(DeadPartyTest, AStoppedPartyIsNotDead) {
  const SharedBarrier shared(std::in_place, 2);
  const auto party = start_party(shared);
  party->signal(SIGSTOP);
  const auto other = std::make_unique<test::Child>([&] { EXPECT_EQ(shared->barrier.wait(), 1); });
  EXPECT_EQ(other->join(), 0) << "it has come, so it is not waited for";
  EXPECT_FALSE(shared->barrier.broken());
  party->signal(SIGCONT);
  EXPECT_EQ(party->join(), 0);
  EXPECT_EQ(shared->released, 1);
}

TEST_F(DeadPartyTest, ManyDeathsDoNotFillTheTable) {
  const SharedBarrier shared(std::in_place, Barrier::max_parties);
  for (int round = 0; round < 3; ++round) {
    test::Child doomed([&] {
      std::vector<std::thread> threads;
      for (int i = 0; i < 100; ++i) threads.emplace_back([&] { wait_once(*shared); });
      for (auto& each : threads) each.join();
    });
    ASSERT_TRUE(test::eventually([&] { return shared->barrier.n_waiting() == 100; }));
    doomed.signal(SIGKILL);
    ASSERT_EQ(doomed.join(), -SIGKILL);
    EXPECT_THROW(shared->barrier.wait(std::chrono::seconds(20)), BrokenBarrier);
    shared->barrier.reset();
  }
}

TEST_F(DeadPartyTest, KilledAtEachStepOfAnArrivalTheOthersAreTold) {
  RUNRIG_NEED_KILLPOINTS();
  for (const auto* point : {"barrier.entered", "barrier.arrived", "barrier.waiting", "barrier.woken"}) {
    test::kill_at(point, kill_first);
  }
}

TEST_F(DeadPartyTest, KilledInItsActionTheOthersAreTold) {
  RUNRIG_NEED_KILLPOINTS();
  const auto act = [](Shared& shared) { shared.barrier.wait([] {}); };
  test::kill_at("barrier.acting", [&](std::string_view at) { return kill_third(at, act, Outcome::refused); });
  const SharedBarrier shared(std::in_place, 3);
  const Parties others = start_parties(shared, 2);
  EXPECT_EQ(test::run_in_child([&] { shared->barrier.wait([] { ::raise(SIGKILL); }); }), -SIGKILL);
  expect_all_end(others);
  EXPECT_EQ(shared->refused, 2);
  expect_usable(shared);
}

TEST_F(DeadPartyTest, KilledWhileItReleasesTheOthersTheyAreReleased) {
  RUNRIG_NEED_KILLPOINTS();
  for (const auto* point : {"barrier.releasing", "barrier.told", "barrier.released"}) {
    test::kill_at(point, [](std::string_view at) {
      return kill_third(
                 at, [](Shared& shared) { shared.barrier.wait(); }, Outcome::released) &&
             kill_third(
                 at, [](Shared& shared) { shared.barrier.wait([] {}); }, Outcome::released);
    });
  }
}

TEST_F(DeadPartyTest, KilledWhileItBreaksOrResetsTheOthersAreTold) {
  RUNRIG_NEED_KILLPOINTS();
  for (const auto* point : {"barrier.breaking", "barrier.told", "barrier.broken"}) {
    test::kill_at(point, [](std::string_view at) {
      return kill_third(
          at, [](Shared& shared) { shared.barrier.abort(); }, Outcome::refused);
    });
  }
  for (const auto* point : {"barrier.resetting", "barrier.told", "barrier.released"}) {
    test::kill_at(point, [](std::string_view at) {
      return kill_third(
          at, [](Shared& shared) { shared.barrier.reset(); }, Outcome::refused);
    });
  }
}

TEST_F(DeadPartyTest, KilledWhileItLeavesTheOthersGoOn) {
  RUNRIG_NEED_KILLPOINTS();
  test::kill_at("barrier.leaving", [](std::string_view at) {
    const SharedBarrier shared(std::in_place, 2);
    test::Victim victim(at, [&] { wait_once(*shared); });
    EXPECT_TRUE(test::eventually([&] { return shared->barrier.n_waiting() == 1; }));
    shared->barrier.wait();
    const bool killed = victim.was_killed();
    const auto next = start_party(shared);
    EXPECT_EQ(shared->barrier.wait(std::chrono::seconds(20)), 1);
    EXPECT_EQ(next->join(), 0);
    return killed;
  });
}

TEST_F(DeadPartyTest, KilledWhileItQueuesOrLooksOrEnrolsTheOthersGoOn) {
  RUNRIG_NEED_KILLPOINTS();
  test::kill_at("barrier.queueing", [](std::string_view at) {
    const SharedBarrier shared(std::in_place, 2);
    const auto first = start_party(shared);
    bool killed = false;
    shared->barrier.wait([&] {
      test::Victim early(at, [&] { wait_once(*shared); });
      killed = early.was_killed();
    });
    EXPECT_EQ(first->join(), 0);
    expect_usable(shared);
    return killed;
  });
  test::kill_at("barrier.death_told", [](std::string_view at) {
    const SharedBarrier shared(std::in_place, 4);
    const auto doomed = start_party(shared);
    test::Victim looker(at, [&] { wait_once(*shared); });
    EXPECT_TRUE(test::eventually([&] { return shared->barrier.n_waiting() == 2; }));
    const auto other = start_party(shared);
    doomed->signal(SIGKILL);
    EXPECT_EQ(other->join(death_is_known_within), 0);
    expect_usable(shared);
    return looker.was_killed();
  });
  test::kill_at("barrier.enrolled", [](std::string_view at) {
    return kill_third(
        at, [](Shared& shared) { shared.barrier.enroll(); }, Outcome::refused);
  });
  test::kill_at("barrier.withdrawn", [](std::string_view at) {
    const SharedBarrier shared(std::in_place, 2);
    test::Victim victim(at, [&] {
      shared->barrier.enroll();
      shared->barrier.withdraw();
    });
    const bool killed = victim.was_killed();
    const auto other = start_party(shared);
    EXPECT_EQ(shared->barrier.wait(std::chrono::seconds(20)), 1) << "it was a party no more";
    EXPECT_EQ(other->join(), 0);
    return killed;
  });
}

TEST_F(DeadPartyTest, EveryPointIsKilledAt) {
  RUNRIG_NEED_KILLPOINTS();
  EXPECT_EQ(
      test::killpoints_of({"barrier."}),
      (std::set<std::string_view>{"barrier.entered", "barrier.arrived", "barrier.waiting", "barrier.woken",
                                  "barrier.acting", "barrier.releasing", "barrier.told", "barrier.released",
                                  "barrier.breaking", "barrier.broken", "barrier.resetting", "barrier.leaving",
                                  "barrier.queueing", "barrier.death_told", "barrier.enrolled", "barrier.withdrawn"}));
}

}  // namespace
}  // namespace runrig
