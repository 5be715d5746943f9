#include <gtest/gtest.h>
#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <functional>
#include <iostream>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "runrig/sync/barrier.hpp"
#include "runrig/sync/condition.hpp"
#include "runrig/sync/event.hpp"
#include "runrig/sync/robust_semaphore.hpp"
#include "shared_object.hpp"

/// Processes that wait for each other are killed at random moments and replaced: the others get on.
namespace runrig {
namespace {

#ifdef RUNRIG_NIGHTLY
constexpr int storm_kills = 5'000;
#else
constexpr int storm_kills = 150;
#endif

class WaitingStormTest : public ::testing::Test {
 protected:
  WaitingStormTest() {
    const char* chosen = std::getenv("RUNRIG_TEST_SEED");
    seed_ = chosen != nullptr ? static_cast<unsigned>(std::stoul(chosen)) : std::random_device{}();
    random_.seed(seed_);
  }

  // `count` processes of `role`, told their number and a seed. Each kill is of a random one at a random moment; then
  // `progress` must grow within a second, before a new process takes its place.
  void storm(int count, const std::function<void(int, unsigned)>& role,
             const std::function<std::uint64_t()>& progress) {
    SCOPED_TRACE("RUNRIG_TEST_SEED=" + std::to_string(seed_));
    std::vector<std::unique_ptr<test::Child>> children(static_cast<std::size_t>(count));
    const auto start = [&](int number) {
      const auto seed = static_cast<unsigned>(random_());
      children[static_cast<std::size_t>(number)] =
          std::make_unique<test::Child>([&role, number, seed] { role(number, seed); });
    };
    for (int number = 0; number < count; ++number) start(number);
    Clock::duration longest{};
    for (int kill = 0; kill < storm_kills; ++kill) {
      ::usleep(static_cast<useconds_t>(random_() % 3000));
      const int number = static_cast<int>(random_() % static_cast<unsigned>(count));
      test::Child& victim = *children[static_cast<std::size_t>(number)];
      victim.signal(SIGKILL);
      ASSERT_EQ(victim.join(), -SIGKILL) << "it had ended by itself: what it found was wrong";
      const std::uint64_t before = progress();
      if (replace_first_) start(number);
      longest =
          std::max(longest, test::duration_of([&] {
                     ASSERT_TRUE(test::eventually([&] { return progress() != before; }, test::death_is_known_within))
                         << "nobody got on after kill " << kill;
                   }));
      if (HasFatalFailure()) return;
      if (!replace_first_) start(number);
    }
    for (const auto& each : children) {
      each->signal(SIGKILL);
      ASSERT_EQ(each->join(), -SIGKILL);
    }
    std::cout << storm_kills << " kills, progress " << progress() << ", longest stall "
              << std::chrono::duration_cast<std::chrono::milliseconds>(longest).count() << " ms\n";
  }

  // Where the others cannot get on without the one that was killed.
  bool replace_first_ = false;

 private:
  unsigned seed_ = 0;
  std::mt19937 random_;
};

struct Queue {
  static constexpr int room = 3;
  Lock lock;
  ConditionVariable not_full, not_empty;
  // Plain, as a user's data would be. Volatile, so that each step is really made, in order.
  volatile std::uint64_t made, eaten, stored;
  std::atomic<std::uint64_t> handed_on;

  void repair() {
    stored = made - eaten;
    not_full.notify_all();
    not_empty.notify_all();
  }
  // Without the second look of wait_for(), so that a lost wake-up is a stall.
  template <class Ready>
  std::unique_lock<Lock> lock_when(ConditionVariable& variable, Ready ready) {
    for (;;) {
      auto guard = lock_repairing(lock, [this] { repair(); });
      try {
        while (!ready()) variable.wait(guard);
        return guard;
      } catch (const OwnerDied&) {  // again, from the start
      }
    }
  }
  void produce() {
    const auto guard = lock_when(not_full, [this] { return stored < room; });
    if (stored != made - eaten) ::_exit(3);
    made = made + 1;
    stored = stored + 1;
    not_empty.notify();
  }
  void consume() {
    const auto guard = lock_when(not_empty, [this] { return stored > 0; });
    if (stored != made - eaten) ::_exit(3);
    stored = stored - 1;
    eaten = eaten + 1;
    ++handed_on;
    not_full.notify();
  }
};

TEST_F(WaitingStormTest, ConditionsHandOnWhatKilledWaitersHadGot) {
  const test::SharedObject<Queue> queue;
  storm(
      6,
      [&](int number, unsigned) {
        for (;;) number % 2 == 0 ? queue->produce() : queue->consume();
      },
      [&] { return queue->handed_on.load(); });
}

TEST_F(WaitingStormTest, BarriersBreakAndAreUsedAgain) {
  struct Shared {
    Barrier barrier{3};
    std::atomic<std::uint64_t> rounds{0};
  };
  const test::SharedObject<Shared> shared(std::in_place);
  replace_first_ = true;
  storm(
      3,
      [&](int, unsigned seed) {
        std::minstd_rand random(seed);
        for (;;) {
          try {
            shared->barrier.wait([&] { ++shared->rounds; });
          } catch (const BrokenBarrier&) {
            if (shared->barrier.broken()) shared->barrier.reset();
          }
          for (auto spins = random() % 2000; spins > 0; --spins) asm volatile("");
        }
      },
      [&] { return shared->rounds.load(); });
  EXPECT_LE(shared->barrier.n_waiting(), 3);
}

TEST_F(WaitingStormTest, TokensOfARobustSemaphoreComeBack) {
  struct Shared {
    RobustSemaphore semaphore{2};
    std::atomic<std::uint64_t> sections{0};
  };
  const test::SharedObject<Shared> shared(std::in_place);
  storm(
      4,
      [&](int, unsigned seed) {
        std::minstd_rand random(seed);
        for (;;) {
          shared->semaphore.acquire();
          for (auto spins = random() % 5000; spins > 0; --spins) asm volatile("");
          ++shared->sections;
          shared->semaphore.release();
        }
      },
      [&] { return shared->sections.load(); });
  EXPECT_TRUE(shared->semaphore.acquire(test::death_is_known_within));
  EXPECT_TRUE(shared->semaphore.acquire(test::death_is_known_within));
  EXPECT_FALSE(shared->semaphore.try_acquire()) << "not more than there were";
}

TEST_F(WaitingStormTest, NoWaitMissesAnEventThatStaysSet) {
  struct Shared {
    Event event;
    std::atomic<int> arrived;
    std::atomic<int> passed;
  };
  constexpr int waiters = 4, togglers = 4;
  std::mt19937 random(std::random_device{}());
  for (int round = 0; round < storm_kills / 10; ++round) {
    const test::SharedObject<Shared> shared;
    std::vector<std::unique_ptr<test::Child>> toggling, waiting;
    for (int i = 0; i < togglers; ++i) {
      toggling.push_back(std::make_unique<test::Child>([&] {
        for (;;) {
          shared->event.set();
          shared->event.clear();
          (void)shared->event.wait(std::chrono::microseconds(50));
        }
      }));
    }
    for (int i = 0; i < waiters; ++i) {
      waiting.push_back(std::make_unique<test::Child>([&] {
        ++shared->arrived;
        while (shared->arrived < waiters + 1) (void)shared->event.wait(std::chrono::milliseconds(1));
        shared->event.wait();
        ++shared->passed;
      }));
    }
    ASSERT_TRUE(test::eventually([&] { return shared->arrived == waiters; }));
    ::usleep(static_cast<useconds_t>(random() % 3000));
    for (const auto& each : toggling) each->signal(SIGKILL);
    for (const auto& each : toggling) ASSERT_EQ(each->join(), -SIGKILL);
    waiting[0]->signal(SIGKILL);
    shared->event.clear();
    ++shared->arrived;
    ::usleep(static_cast<useconds_t>(random() % 3000));
    shared->event.set();
    for (int i = 1; i < waiters; ++i) {
      ASSERT_EQ(waiting[static_cast<std::size_t>(i)]->join(test::death_is_known_within), 0) << "round " << round;
    }
  }
}

}  // namespace
}  // namespace runrig
