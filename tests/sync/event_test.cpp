#include "runrig/sync/event.hpp"

#include <gtest/gtest.h>
#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <memory>
#include <thread>
#include <vector>

#include "shared_object.hpp"

namespace runrig {
namespace {

using std::chrono::milliseconds;
using Seconds = std::chrono::duration<double>;

template <class Time>
concept MakesADeadline = requires(Time when) {
  Deadline::at(when);
};
static_assert(MakesADeadline<Clock::time_point> && !MakesADeadline<std::chrono::system_clock::time_point>,
              "no wait of this room ends by the time of day, which may be set");

class EventTest : public ::testing::Test {
 protected:
  struct Shared {
    Event event;
    std::atomic<int> arrived;
    std::atomic<std::int64_t> moment;
  };
  const test::SharedObject<Shared> shared_;
  Event& event() const { return shared_->event; }
};

TEST_F(EventTest, IsSet_IsFalseAtFirstTrueAfterSetAndFalseAfterClear) {
  EXPECT_FALSE(event().is_set()) << "also in zeroed memory";
  event().set();
  EXPECT_TRUE(event().is_set());
  event().set();
  EXPECT_EQ(test::run_in_child([&] { EXPECT_TRUE(event().is_set()); }), 0);
  event().clear();
  EXPECT_FALSE(event().is_set());
  event().clear();
  EXPECT_FALSE(event().is_set());
}

TEST_F(EventTest, Wait_ReturnsAtOnceWhenItIsSet) {
  event().set();
  EXPECT_TRUE(event().wait());
  EXPECT_TRUE(event().wait(milliseconds(0)));
  EXPECT_TRUE(event().is_set()) << "it stays set";
}

TEST_F(EventTest, Set_WakesAllWhoWait) {
  std::vector<std::unique_ptr<test::Child>> waiters;
  for (int i = 0; i < 4; ++i) {
    waiters.push_back(std::make_unique<test::Child>([&] {
      ++shared_->arrived;
      EXPECT_TRUE(event().wait());
    }));
  }
  ASSERT_TRUE(test::eventually([&] { return shared_->arrived == 4; }));
  ::usleep(10'000);
  for (const auto& each : waiters) EXPECT_EQ(each->join(milliseconds(0)), std::nullopt) << "it waits";
  event().set();
  for (const auto& each : waiters) EXPECT_EQ(each->join(), 0);
}

TEST_F(EventTest, Set_WakesASleeperRatherThanLeavingItToItsNextLook) {
  std::vector<std::int64_t> delays;
  for (int round = 0; round < 9; ++round) {
    shared_->arrived = 0;
    event().clear();
    test::Child waiter([&] {
      shared_->arrived = 1;
      event().wait();
      shared_->moment = Clock::now().time_since_epoch().count();
    });
    ASSERT_TRUE(test::eventually([&] { return shared_->arrived == 1; }));
    ::usleep(3000);
    const auto set = Clock::now().time_since_epoch().count();
    event().set();
    ASSERT_EQ(waiter.join(), 0);
    delays.push_back(shared_->moment - set);
  }
  std::sort(delays.begin(), delays.end());
  EXPECT_LT(delays[4], 20'000'000) << "the median, in ns";
}

TEST_F(EventTest, Set_FollowedByClearStillReleasesWhoWaited) {
  for (int round = 0; round < 20; ++round) {
    shared_->arrived = 0;
    test::Child waiter([&] {
      shared_->arrived = 1;
      EXPECT_TRUE(event().wait(test::death_is_known_within));
    });
    ASSERT_TRUE(test::eventually([&] { return shared_->arrived == 1; }));
    ::usleep(2000);
    event().set();
    event().clear();
    ASSERT_EQ(waiter.join(), 0) << "round " << round;
    EXPECT_FALSE(event().wait(milliseconds(0))) << "who comes later waits";
  }
}

TEST_F(EventTest, Wait_TimeoutEndsOnTimeAndReturnsFalse) {
  for (const auto timeout : {milliseconds(5), milliseconds(120)}) {
    const auto took = test::duration_of([&] { EXPECT_FALSE(event().wait(timeout)); });
    EXPECT_GE(took, timeout);
    EXPECT_LT(took, timeout + milliseconds(500));
  }
  EXPECT_FALSE(event().wait_before(Deadline::after(milliseconds(3))));
}

TEST_F(EventTest, Wait_ExtremeTimeoutsAreDefined) {
  for (const double each : test::at_once) {
    const auto took = test::duration_of([&] { EXPECT_FALSE(event().wait(Seconds(each))) << each; });
    EXPECT_LT(took, milliseconds(500)) << each;
  }
  test::Child waiter([&] {
    for (const double each : test::for_ever) EXPECT_TRUE(event().wait(Seconds(each))) << each;
  });
  EXPECT_EQ(waiter.join(milliseconds(60)), std::nullopt) << "it waits";
  event().set();
  EXPECT_EQ(waiter.join(), 0);
  for (const double each : test::at_once) EXPECT_TRUE(event().wait(Seconds(each))) << each;
}

TEST_F(EventTest, WhatWasWrittenBeforeSetIsSeenAfterWait) {
  Event there;
  Event back;
  int box = 0;  // plain: the thread sanitizer watches it
  std::thread writer([&] {
    for (int i = 1; i <= 500; ++i) {
      box = i;
      there.set();
      back.wait();
      back.clear();
    }
  });
  for (int i = 1; i <= 500; ++i) {
    there.wait();
    there.clear();
    EXPECT_EQ(box, i);
    back.set();
  }
  writer.join();
}

TEST_F(EventTest, OneEventIsWaitedForThroughAnotherAddress) {
  Event& elsewhere = shared_.another_mapping().event;
  test::Child waiter([&] { elsewhere.wait(); });
  EXPECT_EQ(waiter.join(milliseconds(30)), std::nullopt);
  event().set();
  EXPECT_EQ(waiter.join(), 0);
}

TEST_F(EventTest, KilledWaitersTakeNoWakeUpWithThem) {
  for (int round = 0; round < 10; ++round) {
    event().clear();
    std::vector<std::unique_ptr<test::Child>> doomed;
    for (int i = 0; i < 3; ++i) doomed.push_back(std::make_unique<test::Child>([&] { event().wait(); }));
    test::Child survivor([&] { event().wait(); });
    ::usleep(3000);
    if (round % 2 == 0) event().set();
    for (const auto& each : doomed) each->signal(SIGKILL);
    if (round % 2 != 0) event().set();
    EXPECT_EQ(survivor.join(test::death_is_known_within), 0) << "round " << round;
  }
}

}  // namespace
}  // namespace runrig
