#include "process/fork_scope.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <stdexcept>
#include <thread>

#include "process/own_threads.hpp"
#include "process_support.hpp"
#include "support.hpp"

namespace runrig {
namespace {

using detail::ForkScope;
using detail::OutsideGate;
using detail::OwnThread;
using detail::program_thread_count;
using namespace std::chrono_literals;

// A thread of the library that is at work, or sleeps, as it is told.
class Sleeper {
 public:
  Sleeper() : thread_([this] { live(); }) { await(true); }
  ~Sleeper() {
    stop_ = true;
    wake();
    thread_.join();
  }
  void wake() {
    turn_ = 1;
    turn_.notify_all();
  }
  void let_sleep() {
    turn_ = 0;
    await(true);
  }
  [[nodiscard]] bool sleeps() const { return sleeps_; }
  void await(bool asleep) const {
    while (sleeps_ != asleep) std::this_thread::yield();
  }

 private:
  void live() {
    const OwnThread own;
    while (!stop_) {
      {
        const OutsideGate outside;
        sleeps_ = true;
        turn_.wait(0);
      }
      sleeps_ = false;
      while (turn_ == 1 && !stop_) std::this_thread::sleep_for(1ms);
    }
  }
  std::atomic<int> turn_{0};
  std::atomic<bool> sleeps_{false};
  std::atomic<bool> stop_{false};
  std::thread thread_;
};

int fork_and_wait(OtherThreads other_threads) {
  ForkScope scope("fork", "do not", other_threads);
  const int pid = scope.fork();
  if (pid == 0) ::_exit(program_thread_count() == 1 ? 0 : 1);
  int status = 0;
  ::waitpid(pid, &status, 0);
  return WEXITSTATUS(status);
}

#if defined(__SANITIZE_THREAD__)
#define RUNRIG_NEED_EXACT_COUNT() GTEST_SKIP() << "the thread sanitizer keeps a thread of its own"
#else
#define RUNRIG_NEED_EXACT_COUNT() static_cast<void>(0)
#endif

TEST(ForkScopeTest, ThreadsOfTheProgramAreForeign) {
  RUNRIG_NEED_EXACT_COUNT();
  EXPECT_EQ(program_thread_count(), 1);
  std::atomic<bool> stop{false};
  std::thread other([&] { stop.wait(false); });
  EXPECT_EQ(program_thread_count(), 2);
  EXPECT_EQ(test::thrown_text([] { (void)fork_and_wait(OtherThreads::refuse); }),
            "fork: this process has 2 threads, and a fork would copy the locks that they hold; do not, or set "
            "other_threads to allow");
  EXPECT_EQ(fork_and_wait(OtherThreads::allow), 0);
  stop = true;
  stop.notify_all();
  other.join();
  EXPECT_TRUE(test::eventually([] { return program_thread_count() == 1; }));
}

TEST(ForkScopeTest, ThreadsOfTheLibraryAreNot) {
  RUNRIG_NEED_EXACT_COUNT();
  const Sleeper first;
  const Sleeper second;
  EXPECT_EQ(program_thread_count(), 1);
  EXPECT_EQ(fork_and_wait(OtherThreads::refuse), 0);
}

TEST(ForkScopeTest, AForkWaitsForThemAndTheyForIt) {
  RUNRIG_NEED_EXACT_COUNT();
  Sleeper sleeper;
  sleeper.wake();
  sleeper.await(false);
  std::atomic<bool> forked{false};
  std::thread forker([&] {
    EXPECT_EQ(fork_and_wait(OtherThreads::allow), 0);
    forked = true;
  });
  std::this_thread::sleep_for(50ms);
  EXPECT_FALSE(forked) << "it holds locks for all we know";
  sleeper.let_sleep();
  forker.join();
  {
    const ForkScope scope("fork", "do not", OtherThreads::refuse);
    sleeper.wake();
    std::this_thread::sleep_for(50ms);
    EXPECT_TRUE(sleeper.sleeps()) << "it must not go on during a fork";
  }
  sleeper.await(false);
  sleeper.let_sleep();
}

TEST(ForkScopeTest, AThreadOfTheLibraryMayNotFork) {
  std::thread own([&] {
    const OwnThread registered;
    EXPECT_THROW((void)fork_and_wait(OtherThreads::allow), std::logic_error);
  });
  own.join();
}

}  // namespace
}  // namespace runrig
