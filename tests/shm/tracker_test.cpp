#include "runrig/shm/tracker.hpp"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <signal.h>
#include <unistd.h>

#include <fstream>
#include <map>
#include <thread>

#include "processes.hpp"
#include "session_support.hpp"

namespace runrig {
namespace {

using test::eventually;
using test::is_gone;
using test::name_exists;

class TrackerTest : public ::testing::Test {
 protected:
  const test::SegmentName name_;
  const test::SegmentName other_name_;
};

TEST_F(TrackerTest, UnlinksWhatAKilledCreatorLeft) {
  test::Creator creator(name_);
  ASSERT_TRUE(name_exists(name_));
  creator.kill();
  EXPECT_TRUE(eventually([&] { return !name_exists(name_); }, std::chrono::seconds(5)));
  EXPECT_TRUE(eventually([&] { return is_gone(creator.tracker()); }));
}

TEST_F(TrackerTest, UnlinksWhatACreatorForgotThatEndedInOrder) {
  EXPECT_EQ(test::run_in_child([&] {
              test::leave_session();
              (void)SharedMemory::create(name_, 4096);
            }),
            0);
  EXPECT_TRUE(eventually([&] { return !name_exists(name_); }, std::chrono::seconds(5)));
}

TEST_F(TrackerTest, LeavesWhatWasMarkedPersistent) {
  test::Creator creator([&](const test::SharedNotes&) {
    auto segment = SharedMemory::create(name_, 4096);
    segment.persist();
    (void)SharedMemory::create(other_name_, 4096);
    return segment;
  });
  creator.kill();
  EXPECT_TRUE(eventually([&] { return is_gone(creator.tracker()) && !name_exists(other_name_); }));
  EXPECT_TRUE(name_exists(name_));
}

TEST_F(TrackerTest, LeavesAnotherSegmentOfTheSameNameAlone) {
  test::Creator creator(name_);
  std::filesystem::remove(name_.path());
  std::ofstream(name_.path()) << "somebody else's";
  creator.kill();
  EXPECT_TRUE(eventually([&] { return is_gone(creator.tracker()); }));
  EXPECT_TRUE(name_exists(name_));
}

// Demand 1: with CPython, the exit of a reader takes the writer's segment away.
TEST_F(TrackerTest, AnAttachersEndTakesNothingAway) {
  const auto segment = SharedMemory::create(name_, 4096);
  EXPECT_EQ(test::run_in_child([&] {
              test::leave_session();
              auto own = SharedMemory::create(other_name_, 4096);  // has a tracker
              (void)SharedMemory::attach(name_);
            }),
            0);
  EXPECT_TRUE(eventually([&] { return !name_exists(other_name_); }));
  EXPECT_TRUE(name_exists(name_));
}

TEST_F(TrackerTest, AttachingStartsNone) {
  const auto segment = SharedMemory::create(name_, 4096);
  EXPECT_EQ(test::run_in_child([&] {
              test::leave_session();
              const auto attached = SharedMemory::attach(name_);
              EXPECT_FALSE(tracker_pid());
            }),
            0);
}

TEST_F(TrackerTest, WaitsForAllForkedChildren) {
  test::SharedNotes notes;
  test::Child family([&] {
    test::leave_session();
    const auto segment = SharedMemory::create(name_, 4096);
    const int first_tracker = tracker_pid().value_or(-1);
    test::Child child([&] {
      EXPECT_EQ(tracker_pid(), first_tracker);
      const auto second = SharedMemory::create(other_name_, 4096);  // outlives its creator: the family owns it
      EXPECT_EQ(tracker_pid(), first_tracker);
      notes->count = ::getpid();
      for (;;) ::pause();
    });
    notes->tracker = first_tracker;
    for (;;) ::pause();
  });
  ASSERT_TRUE(eventually([&] { return notes->count.load() != 0 && notes->tracker.load() != 0; }));
  family.signal(SIGKILL);
  ASSERT_EQ(family.join(), -SIGKILL);
  EXPECT_FALSE(eventually([&] { return is_gone(notes->tracker); }, std::chrono::milliseconds(200)));
  EXPECT_TRUE(name_exists(name_));
  ::kill(notes->count, SIGKILL);
  EXPECT_TRUE(eventually([&] { return is_gone(notes->tracker); }));
  EXPECT_FALSE(name_exists(name_));
  EXPECT_FALSE(name_exists(other_name_));
}

// O8
TEST_F(TrackerTest, IgnoresWhatShellsAndTerminalsSend) {
  test::Creator creator(name_);
  for (const int number : {SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGTSTP, SIGPIPE}) {
    EXPECT_EQ(::kill(creator.tracker(), number), 0);
  }
  EXPECT_FALSE(eventually([&] { return is_gone(creator.tracker()); }, std::chrono::milliseconds(200)));
  creator.kill();
  EXPECT_TRUE(eventually([&] { return !name_exists(name_) && is_gone(creator.tracker()); }));
}

std::atomic<int> warnings{0};

TEST_F(TrackerTest, AKilledOneIsReplacedWithAWarningAndForgetsNothing) {
  test::SharedNotes notes;
  test::Child creator([&] {
    test::leave_session();
    set_warning_handler([](std::string_view sentence) {
      if (sentence.find("tracker was killed") != std::string_view::npos) ++warnings;
    });
    const auto before = SharedMemory::create(name_, 4096);
    const int first = tracker_pid().value_or(-1);
    ::kill(first, SIGKILL);
    EXPECT_TRUE(eventually([&] { return !tracker_pid(); }));
    test::Child child([] { (void)SharedMemory::attach(SharedMemory::create(64).name()); });  // finds it out, too
    const auto after = SharedMemory::create(other_name_, 4096);
    EXPECT_EQ(child.join(), 0);
    EXPECT_LE(warnings, 1);
    EXPECT_NE(tracker_pid(), first);
    notes->tracker = tracker_pid().value_or(-1);
    notes->step = ::testing::Test::HasFailure() ? -1 : 1;
    for (;;) ::pause();
  });
  ASSERT_TRUE(eventually([&] { return notes->step.load() != 0; }));
  EXPECT_EQ(notes->step, 1);
  creator.signal(SIGKILL);
  ASSERT_EQ(creator.join(), -SIGKILL);
  EXPECT_TRUE(eventually([&] { return !name_exists(name_) && !name_exists(other_name_); }));
  EXPECT_TRUE(eventually([&] { return is_gone(notes->tracker); }));
}

TEST_F(TrackerTest, TheFirstWarningHandlerWritesOneLine) {
  int ends[2];
  ASSERT_EQ(::pipe2(ends, O_CLOEXEC), 0);
  const UniqueFd reader(ends[0]);
  const UniqueFd writer(ends[1]);
  EXPECT_EQ(test::run_in_child([&] {
              ::dup2(writer.get(), STDERR_FILENO);
              test::leave_session();
              (void)SharedMemory::create(name_, 64);
              ::kill(tracker_pid().value(), SIGKILL);
              EXPECT_TRUE(eventually([&] { return !tracker_pid(); }));
              (void)SharedMemory::create(other_name_, 64);
            }),
            0);
  char line[256] = {};
  ASSERT_GT(::read(reader.get(), line, sizeof line - 1), 0);
  EXPECT_STREQ(line, "runrig: warning: the resource tracker was killed; another one has taken its place\n");
}

TEST_F(TrackerTest, HasNoTerminalNoInheritedDescriptorAndNobodysMemory) {
  const auto inherited = AnonymousMemory::create("inherited-by-mistake", 1 << 20);
  test::Creator creator([&](const test::SharedNotes&) {
    const auto attached = AnonymousMemory::create("also-not", 1 << 20);
    return SharedMemory::create(name_, 4096);
  });
  const int tracker = creator.tracker();
  const auto descriptors = [&] {
    std::map<int, std::string> targets;
    for (const auto& each : std::filesystem::directory_iterator("/proc/" + std::to_string(tracker) + "/fd")) {
      std::error_code closed_meanwhile;
      const auto target = std::filesystem::read_symlink(each.path(), closed_meanwhile);
      if (!closed_meanwhile) targets[std::stoi(each.path().filename())] = target;
    }
    return targets;
  };
  // The pipe by which it said that it was ready is closed just after that.
  EXPECT_TRUE(eventually([&] { return descriptors().size() == 4; })) << ::testing::PrintToString(descriptors());
  const auto targets = descriptors();
  for (int fd = 0; fd <= 2; ++fd) EXPECT_EQ(targets.at(fd), "/dev/null");
  EXPECT_THAT(targets.at(3), ::testing::HasSubstr("/dev/shm/runrig-"));
  EXPECT_THAT(test::process_file(tracker, "maps"), ::testing::Not(::testing::HasSubstr("rw-s")));
  EXPECT_EQ(test::process_file(tracker, "comm"), "runrig-tracker\n");
  EXPECT_EQ(std::filesystem::read_symlink("/proc/" + std::to_string(tracker) + "/cwd"), "/");
  EXPECT_NE(::getsid(tracker), ::getsid(0));
  EXPECT_NE(::getsid(tracker), tracker);  // no leader of its session, so it can never get a terminal
}

TEST_F(TrackerTest, KeepsNoPipeOpenThatItsCreatorHad) {
  int ends[2];
  ASSERT_EQ(::pipe2(ends, O_CLOEXEC), 0);
  const UniqueFd reader(ends[0]);
  UniqueFd writer(ends[1]);
  test::SharedNotes notes;
  test::Child creator([&] {
    ::dup2(writer.get(), STDOUT_FILENO);  // as under ctest or in a shell's pipeline
    test::leave_session();
    const auto segment = SharedMemory::create(name_, 4096);
    notes->tracker = tracker_pid().value_or(-1);
    for (;;) ::pause();
  });
  writer.reset();
  ASSERT_TRUE(eventually([&] { return notes->tracker.load() != 0; }));
  ::kill(notes->tracker, SIGSTOP);  // so that it is surely still there
  creator.signal(SIGKILL);
  ASSERT_EQ(creator.join(), -SIGKILL);
  pollfd end{reader.get(), POLLIN, 0};
  EXPECT_EQ(::poll(&end, 1, 5000), 1);
  char byte = 0;
  EXPECT_EQ(::read(reader.get(), &byte, 1), 0);
  EXPECT_FALSE(is_gone(notes->tracker));
  ::kill(notes->tracker, SIGCONT);
  EXPECT_TRUE(eventually([&] { return is_gone(notes->tracker); }));
}

TEST_F(TrackerTest, StartsInAProgramThatHasClosedItsStandardStreams) {
  EXPECT_EQ(test::run_in_child([&] {
              test::leave_session();
              for (int fd = 0; fd <= 2; ++fd) ::close(fd);
              const auto segment = SharedMemory::create(name_, 4096);
              if (!tracker_pid()) ::_exit(3);
            }),
            0);
  EXPECT_TRUE(eventually([&] { return !name_exists(name_); }));
}

TEST_F(TrackerTest, StartsInAProgramThatIgnoresItsChildren) {
  EXPECT_EQ(test::run_in_child([&] {
              test::leave_session();
              ::signal(SIGCHLD, SIG_IGN);
              const auto segment = SharedMemory::create(name_, 4096);
              EXPECT_TRUE(tracker_pid());
            }),
            0);
  EXPECT_TRUE(eventually([&] { return !name_exists(name_); }));
}

TEST_F(TrackerTest, IsOneForAllThreadsOfAProcess) {
  EXPECT_EQ(test::run_in_child([&] {
              test::leave_session();
              std::atomic<int> ready{0};
              std::vector<std::optional<pid_t>> trackers(4);
              std::vector<std::thread> threads;
              for (std::size_t i = 0; i < trackers.size(); ++i) {
                threads.emplace_back([&, i] {
                  ++ready;
                  while (ready < 4) std::this_thread::yield();
                  auto segment = SharedMemory::create(64);
                  trackers[i] = tracker_pid();
                  segment.unlink();
                });
              }
              for (auto& each : threads) each.join();
              ASSERT_TRUE(trackers[0]);
              for (const auto& each : trackers) EXPECT_EQ(each, trackers[0]);
            }),
            0);
}

// A program's threads may fork at any moment, also while another one holds a mutex of ours.
TEST_F(TrackerTest, ChildrenForkedWhileOthersCreateCanCreateThemselves) {
  std::atomic<bool> done{false};
  std::thread creator([&] {
    while (!done) {
      auto segment = SharedMemory::create(64);
      segment.unlink();
    }
  });
  for (int round = 0; round < 20; ++round) {
    EXPECT_EQ(test::run_in_child([] { SharedMemory::create(64).unlink(); }, std::chrono::seconds(10)), 0);
  }
  done = true;
  creator.join();
}

}  // namespace
}  // namespace runrig
