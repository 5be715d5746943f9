#include "runrig/shm/sweep.hpp"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <set>
#include <vector>

#include "killpoints.hpp"
#include "session_support.hpp"

namespace runrig {
namespace {

using test::eventually;
using test::name_exists;
using ::testing::Contains;
using ::testing::Not;

// The tests run side by side, and each process sweeps at its start: what a test abandons may be removed by any of them.
// So what is asserted is that it goes, and not who removes it; the exact reports are looked at in a /dev/shm of its
// own.
class SweepTest : public ::testing::Test {
 protected:
  const test::SegmentName name_;
  const test::SegmentName other_name_;
};

std::optional<SegmentInfo> find(const std::string& name) {
  const auto all = list_segments();
  const auto found = std::find_if(all.begin(), all.end(), [&](const auto& each) { return each.name == name; });
  return found == all.end() ? std::nullopt : std::optional(*found);
}

std::set<std::string> all_files() {
  std::set<std::string> files;
  std::vector<std::filesystem::path> folders{"/dev/shm"};
  while (!folders.empty()) {
    const std::filesystem::path folder = std::move(folders.back());
    folders.pop_back();
    std::error_code gone;  // a tracker may remove it meanwhile
    for (std::filesystem::directory_iterator each(folder, gone), end; !gone && each != end; each.increment(gone)) {
      files.insert(each->path());
      std::error_code ignored;
      if (each->symlink_status(ignored).type() == std::filesystem::file_type::directory)
        folders.push_back(each->path());
    }
  }
  return files;
}

TEST_F(SweepTest, ListsWhatIsOursWithSizeCreatorUsersAndState) {
  const auto before = std::chrono::system_clock::now();
  test::Creator creator(name_, 12'345);
  auto info = find(name_);
  ASSERT_TRUE(info);
  EXPECT_EQ(info->size_bytes, 12'345U);
  EXPECT_EQ(info->creator, creator.pid());
  EXPECT_TRUE(info->creator_lives);
  EXPECT_GE(info->created, before - std::chrono::milliseconds(1));
  EXPECT_LE(info->created, std::chrono::system_clock::now());
  EXPECT_THAT(info->users, ::testing::ElementsAre(creator.pid()));
  EXPECT_EQ(info->state, SegmentState::in_use);
  {
    const auto attached = SharedMemory::attach(name_);
    info = find(name_);
    EXPECT_THAT(info->users, ::testing::UnorderedElementsAre(creator.pid(), ::getpid()));
    EXPECT_EQ(info->id, attached.id());
  }
  const test::SegmentName foreign;
  std::ofstream(foreign.path()) << "not ours";
  EXPECT_FALSE(find(foreign));
}

TEST_F(SweepTest, ASegmentThatItsCreatorClosedIsKeptWhileTheCreatorLives) {
  auto segment = SharedMemory::create(name_, 4096);
  segment.close();
  EXPECT_EQ(find(name_)->state, SegmentState::kept);
  (void)collect_garbage();
  EXPECT_EQ(SharedMemory::attach(name_).size_bytes(), 4096U);
  segment.unlink();
  EXPECT_FALSE(find(name_));
}

// O2
TEST_F(SweepTest, RemovesWhatIsLeftWhenEverythingWasKilled) {
  test::Creator creator([&](const test::SharedNotes&) {
    (void)SharedMemory::create(other_name_, 4096);
    return SharedMemory::create(name_, 4096);
  });
  creator.kill_with_tracker();
  (void)collect_garbage();
  EXPECT_TRUE(eventually([&] { return !name_exists(name_) && !name_exists(other_name_); }));
}

TEST_F(SweepTest, TheNextStartRemovesItAsWell) {
  {
    test::Creator creator(name_);
    creator.kill_with_tracker();
  }
  EXPECT_EQ(test::run_in_child([] {
              test::leave_session();
              SharedMemory::create(64).unlink();
            }),
            0);
  EXPECT_TRUE(eventually([&] { return !name_exists(name_); }, std::chrono::seconds(2)));
}

TEST_F(SweepTest, ReportsWhatItRemovedAndLeavesAnEmptyDirectory) {
  RUNRIG_RUN_WITH_PRIVATE_SHM("size=16m", {
    {
      test::Creator creator(name_, 10'000);
      creator.kill_with_tracker();
    }
    test::Creator persistent([&](const test::SharedNotes&) {
      auto segment = SharedMemory::create(other_name_, 4096);
      segment.persist();
      return segment;
    });
    // Its start has swept the first; make another one.
    EXPECT_FALSE(name_exists(name_));
    test::Creator dead(name_, 10'000);
    dead.kill_with_tracker();
    persistent.kill_with_tracker();
    EXPECT_EQ(find(name_)->state, SegmentState::abandoned);
    EXPECT_FALSE(find(name_)->creator_lives);
    EXPECT_EQ(find(other_name_)->state, SegmentState::persisted);
    const auto report = collect_garbage();
    EXPECT_THAT(report.removed, ::testing::ElementsAre(name_.str()));
    EXPECT_EQ(report.removed_bytes, 10'000U);
    EXPECT_EQ(report.kept, 1U);
    EXPECT_TRUE(report.failed.empty());
    EXPECT_EQ(SharedMemory::attach(other_name_).size_bytes(), 4096U);
    remove_segment(other_name_);
    EXPECT_EQ(collect_garbage().kept, 0U);
    EXPECT_TRUE(all_files().empty());
  });
}

TEST_F(SweepTest, AMappingWithoutLockOrDescriptorProtectsASegment) {
  test::Creator creator(name_);
  UniqueFd fd(::open(name_.path().c_str(), O_RDWR | O_CLOEXEC));
  test::SharedNotes notes;
  test::Child user([&] {  // as NumPy does: maps, and closes
    void* const address = ::mmap(nullptr, 4096, PROT_READ, MAP_SHARED, fd.get(), 0);
    ::close(fd.get());
    notes->step = address == MAP_FAILED ? -1 : 1;
    for (;;) ::pause();
  });
  ASSERT_TRUE(eventually([&] { return notes->step.load() != 0; }));
  ASSERT_EQ(notes->step, 1);
  fd.reset();
  creator.kill_with_tracker();
  for (int round = 0; round < 3; ++round) (void)collect_garbage();
  EXPECT_TRUE(name_exists(name_));
  EXPECT_EQ(find(name_)->state, SegmentState::in_use);
  EXPECT_THAT(find(name_)->users, ::testing::ElementsAre(user.pid()));
  user.signal(SIGKILL);
  ASSERT_EQ(user.join(), -SIGKILL);
  (void)collect_garbage();
  EXPECT_TRUE(eventually([&] { return !name_exists(name_); }));
}

TEST_F(SweepTest, ADescriptorWithoutMappingProtectsASegment) {
  test::Creator creator(name_);
  test::SharedNotes notes;
  test::Child user([&] {
    notes->step = ::open(name_.path().c_str(), O_RDONLY | O_CLOEXEC) < 0 ? -1 : 1;
    for (;;) ::pause();
  });
  ASSERT_TRUE(eventually([&] { return notes->step.load() != 0; }));
  ASSERT_EQ(notes->step, 1);
  creator.kill_with_tracker();
  (void)collect_garbage();
  EXPECT_TRUE(name_exists(name_));
  user.signal(SIGKILL);
  ASSERT_EQ(user.join(), -SIGKILL);
  (void)collect_garbage();
  EXPECT_TRUE(eventually([&] { return !name_exists(name_); }));
}

TEST_F(SweepTest, AForkedChildThatLivesOnProtectsASegment) {
  test::SharedNotes notes;
  test::Child creator([&] {
    test::leave_session();
    const auto segment = SharedMemory::create(name_, 4096);
    test::Child child([&] {
      test::leave_session();  // keeps the mapping only
      notes->count = ::getpid();
      for (;;) ::pause();
    });
    notes->tracker = tracker_pid().value_or(-1);
    for (;;) ::pause();
  });
  ASSERT_TRUE(eventually([&] { return notes->count.load() != 0 && notes->tracker.load() != 0; }));
  ::kill(notes->tracker, SIGKILL);
  creator.signal(SIGKILL);
  ASSERT_EQ(creator.join(), -SIGKILL);
  ASSERT_TRUE(eventually([&] { return test::is_gone(notes->tracker); }));
  (void)collect_garbage();
  EXPECT_TRUE(name_exists(name_));
  ::kill(notes->count, SIGKILL);
  EXPECT_TRUE(eventually([&] {
    (void)collect_garbage();
    return !name_exists(name_);
  }));
}

TEST_F(SweepTest, NeverTouchesWhatIsNotOurs) {
  std::ofstream(name_.path()) << "python's, say";
  test::Creator creator(other_name_);
  std::filesystem::remove(other_name_.path());  // an entry whose name now leads to a stranger's file
  std::ofstream(other_name_.path()) << "somebody else's";
  creator.kill_with_tracker();
  (void)collect_garbage();
  EXPECT_TRUE(name_exists(name_));
  EXPECT_TRUE(name_exists(other_name_));
}

TEST_F(SweepTest, NothingInTheRegistryIsBelieved) {
  RUNRIG_RUN_WITH_PRIVATE_SHM("size=16m", {
    const std::string registry = "/dev/shm/runrig-" + std::to_string(::geteuid());
    std::filesystem::create_directory(registry);
    std::filesystem::permissions(registry, std::filesystem::perms::owner_all);
    std::ofstream(registry + "/s-1") << "short";
    std::ofstream(registry + "/s-2") << std::string(320, '\xff');
    std::ofstream(registry + "/s-3");
    std::ofstream(registry + "/else") << "left alone";
    std::filesystem::create_directory(registry + "/s-4");
    ASSERT_EQ(::mkfifo((registry + "/s-5").c_str(), 0600), 0);
    EXPECT_TRUE(list_segments().empty());
    EXPECT_TRUE(collect_garbage().removed.empty());
    auto segment = SharedMemory::create(name_, 4096);
    EXPECT_EQ(list_segments().size(), 1U);
    segment.unlink();
  });
}

TEST_F(SweepTest, ARegistryThatOthersMayEnterIsRefused) {
  RUNRIG_RUN_WITH_PRIVATE_SHM("size=16m", {
    const std::string registry = "/dev/shm/runrig-" + std::to_string(::geteuid());
    std::filesystem::create_directory(registry);
    std::filesystem::permissions(registry, std::filesystem::perms::all);
    EXPECT_EQ(test::thrown_code([&] { (void)SharedMemory::create(name_, 64); }), std::errc::permission_denied);
    EXPECT_EQ(test::thrown_code([&] { (void)collect_garbage(); }), std::errc::permission_denied);
    std::filesystem::remove(registry);
    std::filesystem::create_symlink("/tmp", registry);
    EXPECT_NE(test::thrown_code([&] { (void)SharedMemory::create(name_, 64); }), std::error_code());
    std::filesystem::remove(registry);
  });
}

TEST_F(SweepTest, ARegistryThatVanishesIsMadeAgain) {
  RUNRIG_RUN_WITH_PRIVATE_SHM("size=16m", {
    auto segment = SharedMemory::create(name_, 64);
    std::filesystem::remove_all("/dev/shm/runrig-" + std::to_string(::geteuid()));
    auto other = SharedMemory::create(other_name_, 64);
    EXPECT_TRUE(find(other_name_));
    segment.unlink();
    other.unlink();
  });
}

TEST_F(SweepTest, RemovesBySegmentName) {
  auto segment = SharedMemory::create(name_, 4096);
  remove_segment(name_);
  EXPECT_FALSE(name_exists(name_));
  EXPECT_FALSE(find(name_));
  segment.writable_bytes()[0] = std::byte{1};
  EXPECT_EQ(test::thrown_code([&] { remove_segment(name_); }), std::errc::no_such_file_or_directory);
  std::ofstream(other_name_.path()) << "of another program";
  remove_segment(other_name_);
  EXPECT_FALSE(name_exists(other_name_));
  std::filesystem::create_directory(other_name_.path());
  EXPECT_EQ(test::thrown_code([&] { remove_segment(other_name_); }), std::errc::invalid_argument);
}

TEST_F(SweepTest, AttachingWaitsForASweepThatLooksAtTheSegment) {
  const auto segment = SharedMemory::create(name_, 4096);
  const test::SegmentName swept;
  std::ofstream(swept.path()) << "data";
  ASSERT_EQ(::chmod(swept.path().c_str(), 0600), 0);
  UniqueFd sweeper(::open(swept.path().c_str(), O_RDONLY | O_CLOEXEC));
  ASSERT_EQ(::flock(sweeper.get(), LOCK_EX), 0);
  test::SharedNotes notes;
  test::Child attacher([&] {
    test::leave_session();
    notes->step = 1;
    (void)SharedMemory::attach(swept);
    notes->step = 2;
  });
  ASSERT_TRUE(eventually([&] { return notes->step.load() == 1; }));
  EXPECT_FALSE(eventually([&] { return notes->step.load() == 2; }, std::chrono::milliseconds(100)));
  ::flock(sweeper.get(), LOCK_UN);
  EXPECT_EQ(attacher.join(), 0);
  EXPECT_EQ(notes->step, 2);
}

// O9
TEST_F(SweepTest, LiveSessionsAreNeverTouched) {
  test::SharedNotes notes;
  std::vector<std::unique_ptr<test::Child>> sessions;
  for (int i = 0; i < 3; ++i) {
    sessions.push_back(std::make_unique<test::Child>([&] {
      test::leave_session();
      while (notes->step.load() == 0) {
        auto segment = SharedMemory::create(4096);
        segment.writable_bytes()[0] = std::byte{1};
        segment.close();  // between uses only the session protects it
        auto again = SharedMemory::attach(segment.name());
        ASSERT_EQ(again.bytes()[0], std::byte{1});
        again.unlink();
        ++notes->count;
      }
    }));
  }
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::milliseconds(1500);
  int dead = 0;
  while (std::chrono::steady_clock::now() < deadline) {
    test::Creator creator(other_name_);
    creator.kill_with_tracker();
    (void)collect_garbage();
    (void)list_segments();
    EXPECT_TRUE(eventually([&] { return !name_exists(other_name_); }));
    ++dead;
  }
  notes->step = 1;
  for (auto& each : sessions) EXPECT_EQ(each->join(), 0);
  EXPECT_GT(notes->count, 10);
  EXPECT_GT(dead, 2);
}

// Each step at which a creator, a remover, a sweep or the tracker can be killed.
class SweepKillPointTest : public SweepTest, public ::testing::WithParamInterface<std::string_view> {
 protected:
  void SetUp() override { RUNRIG_NEED_KILLPOINTS(); }
};

int run_in_own_session(const std::function<void()>& body) {
  return test::run_in_child([&] {
    test::leave_session();
    body();
  });
}

TEST_P(SweepKillPointTest, AfterADeathThereAndASweepNothingIsLeft) {
  const std::string_view point = GetParam();
  test::SharedNotes notes;
  const auto note_tracker = [&] { notes->tracker = tracker_pid().value_or(-1); };
  if (point.starts_with("shm.sweep.")) {
    // Another test's process may sweep first: then the point is not reached, and we try again.
    bool reached = false;
    for (int attempt = 0; attempt < 50 && !reached; ++attempt) {
      test::Creator creator(name_);
      creator.kill_with_tracker();
      reached = run_in_own_session([&] {
                  killpoint::arm(point);
                  (void)collect_garbage();
                }) == -SIGKILL;
    }
    EXPECT_TRUE(reached);
  } else if (point.starts_with("shm.tracker.")) {
    EXPECT_EQ(run_in_own_session([&] {
                killpoint::arm(point);
                (void)SharedMemory::create(name_, 4096);
                (void)SharedMemory::create(other_name_, 4096);
                note_tracker();
              }),
              0);
  } else {
    EXPECT_EQ(run_in_own_session([&] {
                (void)SharedMemory::create(64);  // starts the tracker
                note_tracker();
                killpoint::arm(point);
                auto segment = SharedMemory::create(name_, 4096);
                segment.unlink();
              }),
              -SIGKILL);
  }
  EXPECT_TRUE(eventually([&] { return notes->tracker.load() == 0 || test::is_gone(notes->tracker); }));
  EXPECT_TRUE(eventually([&] {
    (void)collect_garbage();
    return !name_exists(name_) && !name_exists(other_name_);
  }));
}

TEST_P(SweepKillPointTest, NotEvenAnEntryIsLeft) {
  const std::string_view point = GetParam();
  RUNRIG_RUN_WITH_PRIVATE_SHM("size=16m", {
    test::SharedNotes notes;
    if (point.starts_with("shm.sweep.")) {
      test::Creator creator(name_);
      creator.kill_with_tracker();
    }
    const int result = test::run_in_child([&] {
      test::leave_session();
      killpoint::arm(point);
      if (point.starts_with("shm.sweep.")) (void)collect_garbage();
      auto segment = SharedMemory::create(name_, 4096);
      notes->tracker = tracker_pid().value_or(-1);
      if (!point.starts_with("shm.tracker.")) segment.unlink();
    });
    EXPECT_EQ(result, point.starts_with("shm.tracker.") ? 0 : -SIGKILL);
    if (notes->tracker.load() > 0) {
      EXPECT_TRUE(eventually([&] { return test::is_gone(notes->tracker); }));
    }
    if (point.starts_with("shm.tracker.")) {
      EXPECT_FALSE(all_files().empty());  // it was killed before it was done
    }
    EXPECT_TRUE(eventually([&] {  // a tracker whose number nobody noted may be at work
      (void)collect_garbage();
      return all_files().empty();
    })) << ::testing::PrintToString(all_files());
  });
}

std::string point_label(const ::testing::TestParamInfo<std::string_view>& each) {
  std::string label(each.param);
  std::replace(label.begin(), label.end(), '.', '_');
  return label;
}

INSTANTIATE_TEST_SUITE_P(All, SweepKillPointTest,
                         ::testing::ValuesIn(test::killpoints_of({"shm.create.", "shm.unlink.", "shm.sweep.",
                                                                  "shm.tracker."})),
                         point_label);
GTEST_ALLOW_UNINSTANTIATED_PARAMETERIZED_TEST(SweepKillPointTest);

}  // namespace
}  // namespace runrig
