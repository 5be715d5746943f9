#include "runrig/sync/killpoint.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>

#include "support.hpp"

namespace runrig {
namespace {

void pass_two_points() {
  RUNRIG_KILLPOINT("test.first");
  RUNRIG_KILLPOINT("test.second");
}

class KillpointTest : public ::testing::Test {
 protected:
  void SetUp() override {
    if (!killpoint::compiled_in()) GTEST_SKIP() << "this build has no kill points";
  }
};

TEST_F(KillpointTest, AllNamesOfTheProgramAreListed) {
  EXPECT_THAT(killpoint::names(), ::testing::IsSupersetOf({"test.first", "test.second"}));
}

TEST_F(KillpointTest, NothingHappensUnlessArmed) {
  EXPECT_EQ(test::run_in_child([] { pass_two_points(); }), 0);
}

TEST_F(KillpointTest, TheProcessDiesAtTheNthReachingOfTheArmedPoint) {
  EXPECT_EQ(test::run_in_child([] {
              killpoint::arm("test.second", 2);
              pass_two_points();
              pass_two_points();
            }),
            -SIGKILL);
  EXPECT_EQ(test::run_in_child([] {
              killpoint::arm("test.second", 3);
              pass_two_points();
              pass_two_points();
            }),
            0);
}

}  // namespace
}  // namespace runrig
