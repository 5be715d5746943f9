#include "runrig/sync/barrier.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <memory>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "shared_object.hpp"

namespace runrig {
namespace {

using std::chrono::milliseconds;
using ::testing::HasSubstr;
using Seconds = std::chrono::duration<double>;

static_assert(!std::is_copy_constructible_v<Barrier>);

/// What a Barrier promises while everybody lives.
class BarrierTest : public ::testing::Test {
 protected:
  struct Shared {
    Barrier barrier;
    std::atomic<int> step{0};
    std::atomic<int> indices[8]{};
    int sum = 0;  // plain: the barrier orders it
    explicit Shared(int parties) : barrier(parties) {}
  };
  const test::SharedObject<Shared> shared_{std::in_place, 3};
  Barrier& barrier() const { return shared_->barrier; }

  std::unique_ptr<test::Child> start_waiter() const {
    const int before = barrier().n_waiting();
    auto child = std::make_unique<test::Child>([&] {
      EXPECT_EQ(test::thrown_code([&] { barrier().wait(); }), ErrorKind::broken_barrier);
      EXPECT_THROW(barrier().wait(), BrokenBarrier) << "also who comes later";
    });
    EXPECT_TRUE(test::eventually([&] { return barrier().n_waiting() == before + 1; }));
    return child;
  }
};

TEST_F(BarrierTest, Parties_IsTheirNumber) {
  EXPECT_EQ(barrier().parties(), 3);
  EXPECT_EQ(Barrier(Barrier::max_parties).parties(), 240);
  EXPECT_THROW(Barrier(0), std::invalid_argument);
  EXPECT_THROW(Barrier(-1), std::invalid_argument);
  EXPECT_THROW(Barrier(Barrier::max_parties + 1), std::invalid_argument);
  const test::SharedObject<Barrier> zeroed;
  EXPECT_THROW(zeroed->wait(), std::logic_error);
}

TEST_F(BarrierTest, Wait_ReturnsAnIndexToEachPartyAndReleasesThemTogether) {
  for (int round = 0; round < 3; ++round) {
    std::vector<std::unique_ptr<test::Child>> children;
    for (int i = 0; i < 2; ++i) {
      children.push_back(std::make_unique<test::Child>([&] { ++shared_->indices[barrier().wait()]; }));
      ASSERT_TRUE(test::eventually([&] { return barrier().n_waiting() == i + 1; }));
      EXPECT_EQ(children.back()->join(milliseconds(20)), std::nullopt) << "it waits";
    }
    ++shared_->indices[barrier().wait()];
    for (const auto& each : children) EXPECT_EQ(each->join(), 0);
    EXPECT_EQ(barrier().n_waiting(), 0);
  }
  for (int index = 0; index < 3; ++index) EXPECT_EQ(shared_->indices[index], 3) << index;
}

TEST_F(BarrierTest, Wait_OfOnePartyDoesNotWait) {
  Barrier alone(1);
  for (int round = 0; round < 3; ++round) EXPECT_EQ(alone.wait(), 0);
  int acted = 0;
  EXPECT_EQ(alone.wait([&] { ++acted; }), 0);
  EXPECT_EQ(acted, 1);
  for (const double each : test::at_once) EXPECT_EQ(alone.wait(Seconds(each)), 0) << "the last waits for nobody";
}

TEST_F(BarrierTest, Action_IsCalledOnceByOnePartyBeforeAnyIsReleased) {
  constexpr int rounds = 200;
  const auto party = [&] {
    for (int round = 1; round <= rounds; ++round) {
      barrier().wait([&] { ++shared_->sum; }, std::chrono::seconds(20));
      EXPECT_EQ(shared_->sum, round);
      barrier().wait(std::chrono::seconds(20));  // or the next action comes before all have looked
    }
  };
  {
    test::Child first(party), second(party);
    party();
    EXPECT_EQ(first.join(), 0);
    EXPECT_EQ(second.join(), 0);
  }
  shared_->sum = 0;
  std::thread first(party), second(party);  // for the thread sanitizer
  party();
  first.join();
  second.join();
}

TEST_F(BarrierTest, Action_ThatThrowsBreaksTheBarrierAndItsExceptionComesOut) {
  const auto first = start_waiter();
  const auto second = start_waiter();
  EXPECT_THROW(barrier().wait([] { throw std::out_of_range("mine"); }), std::out_of_range);
  EXPECT_EQ(first->join(), 0);
  EXPECT_EQ(second->join(), 0);
  EXPECT_TRUE(barrier().broken());
  EXPECT_THAT(test::thrown_text([&] { barrier().wait(); }), HasSubstr("action of party"));
}

TEST_F(BarrierTest, Action_MakesEarlyComersOfTheNextRoundWait) {
  std::vector<std::unique_ptr<test::Child>> children;
  for (int i = 0; i < 2; ++i) {
    children.push_back(std::make_unique<test::Child>([&] { barrier().wait(milliseconds(300)); }));
    ASSERT_TRUE(test::eventually([&] { return barrier().n_waiting() == i + 1; }));
  }
  std::unique_ptr<test::Child> early;
  barrier().wait([&] {
    early = std::make_unique<test::Child>([&] {
      shared_->step = 1;
      barrier().wait(std::chrono::seconds(20));
    });
    ASSERT_TRUE(test::eventually([&] { return shared_->step == 1; }));
    ::usleep(400'000);  // longer than the timeouts of those who have come, which do not count now
    EXPECT_EQ(barrier().n_waiting(), 3) << "not the early one";
  });
  for (const auto& each : children) EXPECT_EQ(each->join(), 0);
  ASSERT_TRUE(test::eventually([&] { return barrier().n_waiting() == 1; }));
  test::Child another([&] { barrier().wait(); });
  EXPECT_LT(barrier().wait(), 3);
  EXPECT_EQ(early->join(), 0);
  EXPECT_EQ(another.join(), 0);
}

TEST_F(BarrierTest, Wait_TimeoutBreaksTheBarrierForAll) {
  const auto other = start_waiter();
  const auto took = test::duration_of([&] {
    EXPECT_THAT(test::thrown_text([&] { barrier().wait(milliseconds(50)); }),
                HasSubstr("party " + std::to_string(::getpid()) + " waited longer than its timeout"));
  });
  EXPECT_GE(took, milliseconds(50));
  EXPECT_EQ(other->join(), 0);
  EXPECT_TRUE(barrier().broken());
  EXPECT_EQ(barrier().n_waiting(), 0);
}

TEST_F(BarrierTest, Constructor_TimeoutHoldsForEachWaitThatNamesNone) {
  const test::SharedObject<Barrier> barrier(std::in_place, 2, milliseconds(40));
  const auto took = test::duration_of([&] { EXPECT_THROW(barrier->wait(), BrokenBarrier); });
  EXPECT_GE(took, milliseconds(40));
  EXPECT_LT(took, milliseconds(1500));
  barrier->reset();
  test::Child other([&] { barrier->wait(std::chrono::seconds(20)); });
  EXPECT_TRUE(test::eventually([&] { return barrier->n_waiting() == 1; }));
  EXPECT_EQ(other.join(milliseconds(150)), std::nullopt) << "its own timeout holds";
  EXPECT_EQ(barrier->wait(), 1);
  EXPECT_EQ(other.join(), 0);
}

TEST_F(BarrierTest, Wait_ExtremeTimeoutsAreDefined) {
  for (const double each : test::at_once) {
    const auto took = test::duration_of([&] { EXPECT_THROW(barrier().wait(Seconds(each)), BrokenBarrier) << each; });
    EXPECT_LT(took, milliseconds(500)) << each;
    barrier().reset();
    Barrier with_default(2, Seconds(each));
    EXPECT_THROW(with_default.wait(), BrokenBarrier) << each;
  }
  const test::SharedObject<Barrier> two(std::in_place, 2, Seconds(1e300));
  test::Child waiter([&] {
    for (const double each : test::for_ever) two->wait(Seconds(each));
    two->wait();
  });
  EXPECT_EQ(waiter.join(milliseconds(60)), std::nullopt) << "it waits";
  for (std::size_t i = 0; i <= std::size(test::for_ever); ++i) two->wait();
  EXPECT_EQ(waiter.join(), 0);
}

TEST_F(BarrierTest, Abort_BreaksItForAllWhoWaitAndWhoCome) {
  const auto waiter = start_waiter();
  barrier().abort();
  EXPECT_EQ(waiter->join(), 0);
  EXPECT_TRUE(barrier().broken());
  EXPECT_THAT(test::thrown_text([&] { barrier().wait(); }), HasSubstr("aborted by " + std::to_string(::getpid())));
}

TEST_F(BarrierTest, Abort_WhileTheActionRunsReachesThePartyThatRunsItToo) {
  Barrier one(1);
  EXPECT_THROW(one.wait([&] { one.abort(); }), BrokenBarrier);
  EXPECT_TRUE(one.broken());
  one.reset();
  EXPECT_THROW(one.wait([&] { one.reset(); }), BrokenBarrier);
  EXPECT_FALSE(one.broken());
  EXPECT_EQ(one.wait(), 0);
}

TEST_F(BarrierTest, Reset_RefusesWhoWaitsAndLeavesItEmptyAndWhole) {
  test::Child waiter([&] {
    EXPECT_THAT(test::thrown_text([&] { barrier().wait(); }), HasSubstr("reset by"));
    shared_->indices[barrier().wait()] = 1;
  });
  ASSERT_TRUE(test::eventually([&] { return barrier().n_waiting() == 1; }));
  barrier().reset();
  ASSERT_TRUE(test::eventually([&] { return barrier().n_waiting() == 1; }));
  EXPECT_FALSE(barrier().broken());
  test::Child another([&] { barrier().wait(); });
  barrier().wait();
  EXPECT_EQ(waiter.join(), 0);
  EXPECT_EQ(another.join(), 0);
}

TEST_F(BarrierTest, Reset_MakesABrokenBarrierWhole) {
  barrier().abort();
  EXPECT_TRUE(barrier().broken());
  barrier().reset();
  EXPECT_FALSE(barrier().broken());
  test::Child first([&] { barrier().wait(); }), second([&] { barrier().wait(); });
  barrier().wait();
  EXPECT_EQ(first.join(), 0);
  EXPECT_EQ(second.join(), 0);
}

TEST_F(BarrierTest, ManyRoundsOfManyThreadsKeepStep) {
  constexpr int parties = 4, rounds = 300;
  Barrier many(parties);
  int counts[parties]{};  // plain: each written by its thread, read by all after the barrier
  std::vector<std::thread> threads;
  for (int me = 0; me < parties; ++me) {
    threads.emplace_back([&, me] {
      for (int round = 1; round <= rounds; ++round) {
        counts[me] = round;
        many.wait();
        for (const int each : counts) EXPECT_EQ(each, round);
        many.wait();
      }
    });
  }
  for (auto& each : threads) each.join();
}

TEST_F(BarrierTest, MoreThreadsThanPartiesMeetInGroups) {
  const test::SharedObject<Barrier> pairs(std::in_place, 2);
  std::atomic<int> begun{0}, first{0}, second{0};
  std::vector<std::thread> threads;
  for (int i = 0; i < 6; ++i) {
    threads.emplace_back([&] {
      while (begun++ < 300) ++(pairs->wait() == 0 ? first : second);  // an even number in all, so nobody is left over
    });
  }
  for (auto& each : threads) each.join();
  EXPECT_EQ(first, 150);
  EXPECT_EQ(second, 150);
}

TEST_F(BarrierTest, OneBarrierIsUsedThroughTwoAddresses) {
  const test::SharedObject<Barrier> two(std::in_place, 2);
  Barrier& elsewhere = two.another_mapping();
  test::Child other([&] { elsewhere.wait(); });
  two->wait();
  EXPECT_EQ(other.join(), 0);
}

TEST_F(BarrierTest, Enroll_AndWithdraw_AreInPairs) {
  EXPECT_THROW(barrier().withdraw(), std::logic_error);
  barrier().enroll();
  EXPECT_THROW(barrier().enroll(), std::logic_error);
  EXPECT_EQ(barrier().n_waiting(), 0);
  test::Child first([&] { barrier().wait(); }), second([&] { barrier().wait(); });
  barrier().wait();
  EXPECT_EQ(first.join(), 0);
  EXPECT_EQ(second.join(), 0);
  EXPECT_THROW(barrier().enroll(), std::logic_error) << "still enrolled after a round";
  barrier().withdraw();
  EXPECT_EQ(test::run_in_child([&] {
              barrier().enroll();
              barrier().withdraw();
            }),
            0);
  EXPECT_THROW(barrier().withdraw(), std::logic_error);
  const auto took = test::duration_of([&] { EXPECT_THROW(barrier().wait(milliseconds(200)), BrokenBarrier); });
  EXPECT_GE(took, milliseconds(200)) << "who withdrew has not died";
}

}  // namespace
}  // namespace runrig
