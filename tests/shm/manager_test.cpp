#include "runrig/shm/manager.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/file.h>
#include <sys/types.h>

#include <numeric>

#include "runrig/sync/killpoint.hpp"
#include "session_support.hpp"

namespace runrig {
namespace {

using test::eventually;
using test::name_exists;
using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::UnorderedElementsAre;

/// What a child tells the test of its manager.
struct Told {
  std::atomic<int> step{0};
  std::atomic<int> other_pid{0};
  ManagerHandle manager;
  SegmentHandle segment;
};
class SharedTold {
 public:
  Told* operator->() const noexcept { return reinterpret_cast<Told*>(memory_.writable_bytes().data()); }

 private:
  AnonymousMemory memory_ = AnonymousMemory::create("test-told", sizeof(Told));
};

std::string session_path(const ManagerHandle& handle) {
  return "/dev/shm/runrig-" + std::to_string(::geteuid()) + "/" + handle.session.data();
}
bool session_exists(const ManagerHandle& handle) { return ::access(session_path(handle).c_str(), F_OK) == 0; }

int tracker_of(const ManagerHandle& handle) {
  const UniqueFd file(::open(session_path(handle).c_str(), O_RDWR | O_CLOEXEC));
  struct flock mark {};
  mark.l_type = F_WRLCK;
  mark.l_whence = SEEK_SET;
  mark.l_len = 1;
  return ::fcntl(file.get(), F_GETLK, &mark) == 0 && mark.l_type == F_WRLCK ? mark.l_pid : 0;
}

class SharedMemoryManagerTest : public ::testing::Test {
 protected:
  /// A process that starts a manager, makes a segment in it, says so, and then does `then` until it is killed.
  [[nodiscard]] std::unique_ptr<test::Child> start_owner(const std::function<void(SharedMemoryManager&)>& then) const {
    auto owner = std::make_unique<test::Child>([this, then] {
      test::leave_session();
      SharedMemoryManager manager;
      const auto segment = manager.shared_memory(100);
      told_->manager = manager.handle();
      told_->segment = segment.handle();
      told_->step = 1;
      then(manager);
      for (;;) ::pause();
    });
    EXPECT_TRUE(eventually([&] { return told_->step >= 1; }));
    return owner;
  }
  [[nodiscard]] std::string told_name() const { return std::string(told_->segment.name_view()); }
  static void kill(test::Child& child) {
    child.signal(SIGKILL);
    EXPECT_EQ(child.join(), -SIGKILL);
  }

  SharedTold told_;
};

// Python's documentation, "SharedMemoryManager".
TEST_F(SharedMemoryManagerTest, StartAndShutdown_TheExampleOfThePythonDocumentation) {
  SharedMemoryManager smm;
  const auto sl = smm.shareable_list({0, 1, 2, 3});
  const auto raw_shm = smm.shared_memory(128);
  const auto another_sl = smm.shareable_list({"a", "l", "p", "h", "a"});
  EXPECT_THAT(smm.list_segments(), UnorderedElementsAre(sl.name(), raw_shm.name(), another_sl.name()));
  EXPECT_EQ(another_sl.count("a"), 2U);
  smm.shutdown();
  for (const auto& name : {sl.name(), raw_shm.name(), another_sl.name()}) EXPECT_FALSE(name_exists(name));
  EXPECT_FALSE(session_exists(smm.handle()));
}

TEST_F(SharedMemoryManagerTest, AsAScope_WorkersFillAListInIt) {
  std::string name;
  {
    SharedMemoryManager smm;
    std::vector<ShareableList::Item> range(2000);
    for (std::int64_t i = 0; i < 2000; ++i) range[static_cast<std::size_t>(i)] = i;
    const auto sl = smm.shareable_list(range);
    name = sl.name();
    const SegmentHandle handle = sl.handle();
    const auto do_work = [&](std::ptrdiff_t first, std::ptrdiff_t last) {
      const auto list = ShareableList::attach(handle);
      for (std::ptrdiff_t i = first; i < last; ++i) list[i] = list.get<std::int64_t>(i) * 2;
    };
    test::Child p1([&] { do_work(0, 1000); });
    test::Child p2([&] { do_work(1000, 2000); });
    EXPECT_EQ(p1.join(), 0);
    EXPECT_EQ(p2.join(), 0);
    std::int64_t total = 0;
    for (const auto& each : sl) total += std::get<std::int64_t>(each);
    EXPECT_EQ(total, 1999 * 2000);
    EXPECT_TRUE(name_exists(name));
  }
  EXPECT_FALSE(name_exists(name));
}

TEST_F(SharedMemoryManagerTest, AsAScope_WorkersUseAListOfSegments) {
  std::vector<std::string> names;
  {
    SharedMemoryManager smm;
    std::vector<SharedMemory> segments;
    for (std::size_t i = 0; i < 5; ++i) segments.push_back(smm.shared_memory(1000 + i));
    for (const auto& each : segments) {
      names.push_back(each.name());
      ASSERT_EQ(test::run_in_child([&] { SharedMemory::attach(each.name()).writable_bytes().back() = std::byte{1}; }),
                0);
      EXPECT_EQ(each.bytes().back(), std::byte{1});
    }
    EXPECT_EQ(smm.list_segments().size(), 5U);
  }
  for (const auto& each : names) EXPECT_FALSE(name_exists(each));
}

TEST_F(SharedMemoryManagerTest, Arrays_EndWithItAndTheirMappingsDoNot) {
  SharedMemoryManager manager;
  auto array = manager.array<double>(Shape{10, 3});
  array(9, 2) = 1.5;
  EXPECT_EQ(NdArray<double>::attach(array.name())(9, 2), 1.5);
  const ArrayHandle part = array.rows(9, 1).handle();
  manager.shutdown();
  EXPECT_FALSE(name_exists(array.name()));
  EXPECT_EQ(test::run_in_child([&] { EXPECT_EQ(NdArray<double>::attach(part)(0, 2), 1.5); }), 0);
  array(0, 0) = 2;
}

TEST_F(SharedMemoryManagerTest, Shutdown_MayBeRepeatedAndEndsCreation) {
  SharedMemoryManager manager;
  manager.shutdown();
  manager.shutdown();
  EXPECT_EQ(test::thrown_code([&] { (void)manager.shared_memory(10); }), std::errc::no_such_file_or_directory);
  EXPECT_EQ(test::thrown_code([&] { (void)manager.shareable_list({1}); }), std::errc::no_such_file_or_directory);
  EXPECT_EQ(test::thrown_code([&] { (void)manager.array<int>(Shape{1}); }), std::errc::no_such_file_or_directory);
  EXPECT_THAT(manager.list_segments(), IsEmpty());
}

TEST_F(SharedMemoryManagerTest, Shutdown_LeavesEverythingElseAlone) {
  const auto mine = SharedMemory::create(100);
  SharedMemoryManager other;
  const auto others = other.shared_memory(100);
  {
    SharedMemoryManager manager;
    const auto segment = manager.shared_memory(100);
  }
  EXPECT_TRUE(name_exists(mine.name()));
  EXPECT_TRUE(name_exists(others.name()));
  EXPECT_THAT(other.list_segments(), ElementsAre(others.name()));
}

TEST_F(SharedMemoryManagerTest, ASegmentMayLoseItsNameBeforeOrKeepIt) {
  SharedMemoryManager manager;
  auto early = manager.shared_memory(10);
  auto kept = manager.shared_memory(10);
  const test::SegmentName again;
  early.unlink();
  kept.persist();
  EXPECT_THAT(manager.list_segments(), ElementsAre(kept.name()));
  manager.shutdown();
  EXPECT_TRUE(name_exists(kept.name()));
  kept.unlink();
}

TEST_F(SharedMemoryManagerTest, CanBeMoved) {
  SharedMemoryManager manager;
  const auto segment = manager.shared_memory(10);
  auto moved = std::move(manager);
  EXPECT_THROW((void)manager.handle(), std::logic_error);  // NOLINT(bugprone-use-after-move): that is what is tested
  EXPECT_TRUE(name_exists(segment.name()));
  SharedMemoryManager other;
  const auto others = other.shared_memory(10);
  moved = std::move(other);
  EXPECT_FALSE(name_exists(segment.name())) << "what it had is shut down";
  EXPECT_TRUE(name_exists(others.name()));
}

TEST_F(SharedMemoryManagerTest, AForkedChildCreatesInItAndCannotEndIt) {
  SharedMemoryManager manager;
  EXPECT_EQ(test::run_in_child([&] {
              const auto segment = manager.shared_memory(10);
              told_->segment = segment.handle();
              EXPECT_THROW(manager.shutdown(), std::logic_error);
              { const SharedMemoryManager copy = std::move(manager); }  // the end of a scope there
              EXPECT_TRUE(name_exists(segment.name()));
            }),
            0);
  EXPECT_TRUE(name_exists(told_name())) << "it belongs to the manager, not to the child";
  EXPECT_THAT(manager.list_segments(), ElementsAre(told_name()));
  manager.shutdown();
  EXPECT_FALSE(name_exists(told_name()));
}

TEST_F(SharedMemoryManagerTest, Connect_AProcessThatDidNotInheritItCreatesThroughItsHandle) {
  const auto owner = start_owner([](auto&) {});
  const auto manager = SharedMemoryManager::attach(told_->manager);
  const auto list = manager.shareable_list({1});
  EXPECT_THAT(manager.list_segments(), UnorderedElementsAre(told_name(), list.name()));
  EXPECT_THROW(SharedMemoryManager::attach(told_->manager).shutdown(), std::logic_error);
  kill(*owner);
  EXPECT_TRUE(eventually([&] { return !name_exists(told_name()) && !name_exists(list.name()); }));
  EXPECT_TRUE(eventually([&] { return !session_exists(manager.handle()); }));
  EXPECT_EQ(test::thrown_code([&] { (void)manager.shared_memory(1); }), std::errc::no_such_file_or_directory);
  EXPECT_EQ(list[0], ShareableList::Item(1));
}

TEST_F(SharedMemoryManagerTest, AHandleThatIsNoneIsRefused) {
  ManagerHandle handle;
  const auto code = [&] {
    return test::thrown_code([&] { (void)SharedMemoryManager::attach(handle).shared_memory(1); });
  };
  EXPECT_EQ(code(), std::errc::invalid_argument);
  handle.session.fill('p');
  handle.session[1] = '-';
  EXPECT_EQ(code(), std::errc::invalid_argument) << "no NUL";
  std::snprintf(handle.session.data(), handle.session.size(), "p-../../etc/passwd");
  EXPECT_EQ(code(), std::errc::invalid_argument);
  const SharedMemoryManager manager;
  handle = manager.handle();
  ++handle.id.inode;
  EXPECT_EQ(code(), std::errc::no_such_file_or_directory) << "another session with its name";
}

TEST_F(SharedMemoryManagerTest, WhenItsProcessIsKilledTheNamesGoAlsoWhileAChildLivesOn) {
  const auto owner = start_owner([this](SharedMemoryManager& manager) {
    const auto inherited = manager.shared_memory(200);
    test::Child child([&] {
      for (;;) {
        inherited.writable_bytes()[0] = std::byte{1};  // its mapping stays good
        ++told_->step;
        ::usleep(1000);
      }
    });
    told_->other_pid = child.pid();
    for (;;) ::pause();
  });
  ASSERT_TRUE(eventually([&] { return told_->step > 3; }));
  const int tracker = tracker_of(told_->manager);
  EXPECT_GT(tracker, 0);
  kill(*owner);
  EXPECT_TRUE(eventually([&] { return !name_exists(told_name()); }));
  EXPECT_TRUE(eventually([&] { return test::is_gone(tracker) && !session_exists(told_->manager); }));
  const int step = told_->step;
  EXPECT_TRUE(eventually([&] { return told_->step > step + 3; })) << "the child lives";
  ::kill(told_->other_pid, SIGKILL);
  EXPECT_TRUE(eventually([&] { return test::is_gone(told_->other_pid); }));
}

TEST_F(SharedMemoryManagerTest, WhenItsProcessBecomesAnotherProgramTheNamesGo) {
  const auto owner = start_owner([](auto&) { ::execlp("sleep", "sleep", "60", nullptr); });
  EXPECT_TRUE(eventually([&] { return !name_exists(told_name()); }));
  EXPECT_FALSE(test::is_gone(owner->pid()));
}

TEST_F(SharedMemoryManagerTest, WhenEverythingIsKilledASweepCleansUp) {
  const auto owner = start_owner([](auto&) {});
  const int tracker = tracker_of(told_->manager);
  ASSERT_GT(tracker, 0);
  ::kill(tracker, SIGKILL);
  ASSERT_TRUE(eventually([&] { return test::is_gone(tracker); }));
  (void)collect_garbage();
  EXPECT_TRUE(name_exists(told_name())) << "its process lives";
  kill(*owner);
  EXPECT_TRUE(name_exists(told_name()));
  (void)collect_garbage();
  EXPECT_FALSE(name_exists(told_name()));
  EXPECT_FALSE(session_exists(told_->manager));
}

TEST_F(SharedMemoryManagerTest, AKilledTrackerIsReplacedByTheNextCreation) {
  const auto owner = start_owner([](auto&) {});
  const int tracker = tracker_of(told_->manager);
  ASSERT_GT(tracker, 0);
  ::kill(tracker, SIGKILL);
  ASSERT_TRUE(eventually([&] { return test::is_gone(tracker); }));
  static std::atomic<int> warnings{0};
  const auto former = set_warning_handler([](std::string_view) { ++warnings; });
  const auto segment = SharedMemoryManager::attach(told_->manager).shared_memory(10);
  set_warning_handler(former);
  EXPECT_EQ(warnings, 1);
  EXPECT_NE(tracker_of(told_->manager), tracker);
  kill(*owner);
  EXPECT_TRUE(eventually([&] { return !name_exists(told_name()) && !name_exists(segment.name()); }));
}

TEST_F(SharedMemoryManagerTest, Shutdown_DoesNotWaitForAStoppedCreator) {
  SharedMemoryManager manager;
  const auto segment = manager.shared_memory(10);
  const UniqueFd creator(::open(session_path(manager.handle()).c_str(), O_RDWR | O_CLOEXEC));
  ASSERT_EQ(::flock(creator.get(), LOCK_SH), 0);  // as one has in the middle of a creation
  manager.shutdown();
  EXPECT_FALSE(name_exists(segment.name()));
  EXPECT_FALSE(session_exists(manager.handle()));
}

TEST_F(SharedMemoryManagerTest, AKilledCreatorLeavesNothingThatOutlivesTheManager) {
  if (!killpoint::compiled_in()) GTEST_SKIP() << "this build has no kill points";
  for (const char* point : {"shm.create.reserved", "shm.create.registered", "shm.create.named"}) {
    SharedMemoryManager manager;
    EXPECT_EQ(test::run_in_child([&] {
                killpoint::arm(point);
                (void)manager.shared_memory(10);
              }),
              -SIGKILL)
        << point;
    const auto left = manager.list_segments();
    EXPECT_EQ(left.size(), std::string_view(point) == "shm.create.named" ? 1U : 0U) << point;
    manager.shutdown();
    for (const auto& each : left) EXPECT_FALSE(name_exists(each)) << point;
    EXPECT_FALSE(session_exists(manager.handle())) << point;
  }
}

TEST_F(SharedMemoryManagerTest, AProcessKilledInShutdownLeavesTheRestToTheTracker) {
  if (!killpoint::compiled_in()) GTEST_SKIP() << "this build has no kill points";
  const auto owner = start_owner([](SharedMemoryManager& manager) {
    killpoint::arm("shm.manager.given_up");
    manager.shutdown();
  });
  EXPECT_EQ(owner->join(), -SIGKILL);
  EXPECT_TRUE(eventually([&] { return !name_exists(told_name()) && !session_exists(told_->manager); }));
}

TEST_F(SharedMemoryManagerTest, LeavesNoDescriptorAndNoTracker) {
  const auto descriptors = [] {
    return std::distance(std::filesystem::directory_iterator("/proc/self/fd"), std::filesystem::directory_iterator());
  };
  const auto before = descriptors();
  std::vector<int> trackers;
  for (int i = 0; i < 3; ++i) {
    const SharedMemoryManager manager;
    (void)manager.shared_memory(10);
    trackers.push_back(tracker_of(manager.handle()));
    EXPECT_GT(trackers.back(), 0);
    EXPECT_FALSE(manager.list_segments().empty()) << "closing is not the end of a segment";
  }
  EXPECT_EQ(descriptors(), before);
  for (const int each : trackers) EXPECT_TRUE(eventually([&] { return test::is_gone(each); }));
}

}  // namespace
}  // namespace runrig
