#include "runrig/sync/participant.hpp"

#include <pthread.h>
#include <signal.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <thread>

#include "shared_object.hpp"

namespace runrig {
namespace {

struct Noted {
  Identity identity;
  std::atomic<bool> ready;
  std::atomic<bool> go_on;
};

// Tells its identity, then waits to be killed or to be told to go on.
void note_and_wait(Noted& noted, const Identity& identity) {
  noted.identity = identity;
  noted.ready = true;
  while (!noted.go_on) ::usleep(1000);
}

Identity wait_for_identity(Noted& noted) {
  EXPECT_TRUE(test::eventually([&] { return noted.ready.load(); }));
  return noted.identity;
}

TEST(ParticipantTest, AProcessKnowsItselfAndIsAlive) {
  const Identity me = this_process_identity();
  EXPECT_EQ(me.id(), ::getpid());
  EXPECT_EQ(me.mark & ~mark_bits, 0u) << "the free bits are free";
  EXPECT_EQ(me, this_process_identity());
  EXPECT_EQ(liveness(me), Liveness::alive);
  EXPECT_EQ(identity_of_process(::getpid()), me);
}

TEST(ParticipantTest, NobodyIsDead) {
  EXPECT_EQ(liveness(Identity{}), Liveness::dead);
  EXPECT_EQ(identity_of_process(0x3ffffe), Identity{});
}

TEST(ParticipantTest, AForkedChildIsSomebodyElse) {
  const Identity parent = this_process_identity();
  EXPECT_EQ(test::run_in_child([&] {
              EXPECT_EQ(this_process_identity().id(), ::getpid());
              EXPECT_NE(this_process_identity(), parent);
              EXPECT_EQ(this_thread_identity().id(), ::getpid());
              EXPECT_EQ(liveness(parent), Liveness::alive);
            }),
            0);
}

TEST(ParticipantTest, AChildForkedBehindTheLibrarysBackIsSomebodyElse) {
  const Identity parent = this_process_identity();
  const long pid = ::syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0);  // runs no atfork handler
  ASSERT_NE(pid, -1);
  if (pid == 0) ::_exit(this_process_identity() == parent ? 1 : 0);
  int status = -1;
  ASSERT_EQ(::waitpid(static_cast<pid_t>(pid), &status, 0), pid);
  EXPECT_EQ(status, 0);
}

TEST(ParticipantTest, AStoppedProcessIsAliveAndAZombieIsDead) {
  const test::SharedObject<Noted> noted;
  test::Child child([&] { note_and_wait(*noted, this_process_identity()); });
  const Identity who = wait_for_identity(*noted);
  EXPECT_EQ(who, identity_of_process(child.pid()));
  EXPECT_EQ(liveness(who), Liveness::alive);
  child.signal(SIGSTOP);
  siginfo_t info{};
  ASSERT_EQ(::waitid(P_PID, static_cast<id_t>(child.pid()), &info, WSTOPPED | WNOWAIT), 0);
  EXPECT_EQ(liveness(who), Liveness::alive);
  child.signal(SIGKILL);
  ASSERT_EQ(::waitid(P_PID, static_cast<id_t>(child.pid()), &info, WEXITED | WNOWAIT), 0);  // not reaped
  EXPECT_EQ(liveness(who), Liveness::dead);
  EXPECT_EQ(identity_of_process(child.pid()), Identity{});
  EXPECT_EQ(child.join(), -SIGKILL);
  EXPECT_EQ(liveness(who), Liveness::dead);
}

TEST(ParticipantTest, AnotherBearerOfTheSamePidIsNotTakenForTheFirst) {
  const Identity me = this_process_identity();
  if (me.domain == 0) GTEST_SKIP() << "no usable /proc";
  test::Child judge([&] {
    Identity earlier = me;
    earlier.mark ^= std::uint64_t{1} << 27;  // started a clock tick away
    EXPECT_EQ(liveness(earlier), Liveness::dead);
    EXPECT_EQ(liveness(me), Liveness::alive);
  });
  EXPECT_EQ(judge.join(), 0);
}

TEST(ParticipantTest, ExecIsTheEndOfWhoWasThereBefore) {
  const test::SharedObject<Noted> noted;
  test::Child child([&] {
    note_and_wait(*noted, this_process_identity());
    ::execlp("sleep", "sleep", "30", static_cast<char*>(nullptr));
  });
  const Identity who = wait_for_identity(*noted);
  EXPECT_EQ(liveness(who), Liveness::alive);
  noted->go_on = true;
  EXPECT_TRUE(test::eventually([&] { return liveness(who) == Liveness::dead; }));
  EXPECT_EQ(::kill(child.pid(), 0), 0) << "the pid itself lives on";
}

TEST(ParticipantTest, AThreadDiesByItself) {
  Identity who;
  std::atomic<bool> go_on{false}, ready{false};
  std::thread thread([&] {
    who = this_thread_identity();
    ready = true;
    while (!go_on) ::usleep(1000);
  });
  ASSERT_TRUE(test::eventually([&] { return ready.load(); }));
  EXPECT_NE(who.id(), ::getpid());
  EXPECT_EQ(liveness(who), Liveness::alive);
  go_on = true;
  thread.join();
  EXPECT_TRUE(test::eventually([&] { return liveness(who) == Liveness::dead; }, test::death_is_known_within));
  EXPECT_EQ(liveness(this_process_identity()), Liveness::alive);
}

TEST(ParticipantTest, AProcessOutlivesItsFirstThread) {
  struct Two {
    Noted process, thread;
  };
  const test::SharedObject<Two> noted;
  test::Child child([&] {
    std::thread([&] {
      ::usleep(1000);
      note_and_wait(noted->process, this_process_identity());
      ::_exit(7);
    }).detach();
    noted->thread.identity = this_thread_identity();
    noted->thread.ready = true;
    ::syscall(SYS_exit, 0);  // this thread only, without unwinding
  });
  const Identity first_thread = wait_for_identity(noted->thread);
  const Identity process = wait_for_identity(noted->process);
  EXPECT_EQ(first_thread.id(), process.id());
  EXPECT_TRUE(test::eventually([&] { return liveness(first_thread) == Liveness::dead; }));
  EXPECT_EQ(liveness(process), Liveness::alive);
  noted->process.go_on = true;
  EXPECT_EQ(child.join(), 7);
  EXPECT_EQ(liveness(process), Liveness::dead);
}

TEST(ParticipantTest, WhoIsOfAnotherNamespaceIsNotJudged) {
  Identity stranger = this_process_identity();
  if (stranger.domain == 0) GTEST_SKIP() << "no usable /proc";
  stranger.mark ^= std::uint64_t{1} << 27;
  ASSERT_EQ(liveness(stranger), Liveness::dead);
  stranger.domain ^= 1;
  EXPECT_EQ(liveness(stranger), Liveness::unknown);
  EXPECT_TRUE(is_alive(stranger));
  stranger.domain = 0;
  EXPECT_EQ(liveness(stranger), Liveness::unknown);
}

TEST(ParticipantTest, ManyThreadsAskingFirstAgree) {
  EXPECT_EQ(test::run_in_child([] {  // a fresh process, in which nobody has asked
              std::vector<Identity> answers(8);
              std::vector<std::thread> threads;
              for (auto& each : answers) threads.emplace_back([&each] { each = this_process_identity(); });
              for (auto& each : threads) each.join();
              for (const auto& each : answers) EXPECT_EQ(each, answers[0]);
              EXPECT_EQ(answers[0].id(), ::getpid());
            }),
            0);
}

}  // namespace
}  // namespace runrig
