#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <iostream>
#include <memory>
#include <random>
#include <string>

#include "runrig/sync/lock.hpp"
#include "shared_object.hpp"

namespace runrig {
namespace {

#ifdef RUNRIG_NIGHTLY
constexpr int lock_kills = 10'000;
#else
constexpr int lock_kills = 400;
#endif

unsigned storm_seed() {
  const char* chosen = std::getenv("RUNRIG_TEST_SEED");
  return chosen != nullptr ? static_cast<unsigned>(std::stoul(chosen)) : std::random_device{}();
}

template <class AnyLock>
class LockStormTest : public ::testing::Test {
 protected:
  static constexpr int contenders = 4;
  struct Shared {
    AnyLock lock;
    // Plain, as a user's data would be: the lock guards them. Volatile, so that each step is really made, in order.
    volatile std::uint64_t first;
    volatile std::uint64_t second;
    // Sections that each contender completed; written by it alone.
    std::atomic<std::uint64_t> completed[contenders];
    std::atomic<std::uint64_t> recoveries;
  };

  [[noreturn]] static void contend(Shared& shared, int slot, unsigned seed) {
    std::minstd_rand random(seed);
    for (;;) {
      {
        const auto guard = lock_repairing(shared.lock, [&] {
          shared.second = shared.first;
          // Relaxed, here and below: plain counts, read when all are dead.
          shared.recoveries.fetch_add(1, std::memory_order_relaxed);
        });
        if (shared.first != shared.second) ::_exit(3);
        shared.first = shared.first + 1;
        for (auto spins = random() % 2000; spins > 0; --spins) asm volatile("");
        shared.second = shared.second + 1;
      }
      shared.completed[slot].fetch_add(1, std::memory_order_relaxed);
      for (auto spins = random() % 500; spins > 0; --spins) asm volatile("");
    }
  }
};
using LockTypes = ::testing::Types<Lock, RLock>;
TYPED_TEST_SUITE(LockStormTest, LockTypes);

TYPED_TEST(LockStormTest, KillsAtRandomMomentsNeitherStallNorTear) {
  using Fixture = TestFixture;
  const unsigned seed = storm_seed();
  SCOPED_TRACE("RUNRIG_TEST_SEED=" + std::to_string(seed));
  std::mt19937 random(seed);
  const test::SharedObject<typename Fixture::Shared> shared;
  std::unique_ptr<test::Child> children[Fixture::contenders];
  const auto start = [&](int slot) {
    const auto child_seed = static_cast<unsigned>(random());
    children[slot] =
        std::make_unique<test::Child>([&, slot, child_seed] { Fixture::contend(*shared, slot, child_seed); });
  };
  for (int slot = 0; slot < Fixture::contenders; ++slot) start(slot);
  Clock::duration longest_stall{};
  for (int kill = 0; kill < lock_kills; ++kill) {
    ::usleep(static_cast<useconds_t>(random() % 3000));
    const int slot = static_cast<int>(random() % Fixture::contenders);
    children[slot]->signal(SIGKILL);
    const auto ended = children[slot]->join();
    ASSERT_EQ(ended, -SIGKILL) << "3: the counters differed";
    const std::uint64_t before = shared->first;
    const auto stall = test::duration_of([&] {
      ASSERT_TRUE(test::eventually([&] { return shared->first != before; }, test::death_is_known_within))
          << "nobody got on after kill " << kill << "; held by " << shared->lock.holder();
    });
    if (this->HasFatalFailure()) return;
    longest_stall = std::max(longest_stall, stall);
    start(slot);
  }
  for (auto& each : children) {
    each->signal(SIGKILL);
    ASSERT_EQ(each->join(), -SIGKILL);
  }
  const auto guard = lock_repairing(shared->lock, [&] { shared->second = shared->first; });
  std::uint64_t completed = 0;
  for (const auto& each : shared->completed) completed += each.load(std::memory_order_relaxed);
  EXPECT_EQ(shared->first, shared->second);
  EXPECT_GE(shared->first, completed) << "a section was lost";
  EXPECT_LE(shared->first, completed + lock_kills + Fixture::contenders) << "a section ran twice";
  EXPECT_GT(shared->recoveries.load(std::memory_order_relaxed), 0u);
  EXPECT_LT(longest_stall, test::death_is_known_within);
  const auto longest = std::chrono::duration_cast<std::chrono::milliseconds>(longest_stall).count();
  this->RecordProperty("recoveries", std::to_string(shared->recoveries.load(std::memory_order_relaxed)));
  this->RecordProperty("longest_stall_ms", std::to_string(longest));
  std::cout << lock_kills << " kills, " << shared->recoveries.load(std::memory_order_relaxed) << " recoveries, "
            << completed << " sections, longest stall " << longest << " ms\n";
}

}  // namespace
}  // namespace runrig
