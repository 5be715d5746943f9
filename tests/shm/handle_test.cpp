#include "runrig/shm/handle.hpp"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <memory>
#include <thread>
#include <vector>

#include "session_support.hpp"

namespace runrig {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

class HandleTest : public ::testing::Test {
 protected:
  const test::SegmentName name_;

  // The handle crosses as bytes, to a child that has inherited neither descriptor nor mapping.
  static int in_stranger(const SegmentHandle& handle, const std::function<void(const SegmentHandle&)>& body) {
    return test::run_in_child([&] {
      test::leave_session();
      body(handle);
    });
  }
};

TEST_F(HandleTest, LeadsToTheSameMemoryOfANamedSegment) {
  const auto segment = SharedMemory::create(name_, 5000);
  EXPECT_EQ(in_stranger(segment.handle(),
                        [](const auto& handle) {
                          const auto mapping = map_segment(handle, Access::read_write);
                          ASSERT_EQ(mapping.size_bytes(), 5000U);
                          mapping.writable_bytes()[4999] = std::byte{3};
                        }),
            0);
  EXPECT_EQ(segment.bytes()[4999], std::byte{3});
}

TEST_F(HandleTest, WorksAfterUnlink) {
  auto segment = SharedMemory::create(name_, 5000);
  segment.unlink();
  EXPECT_EQ(in_stranger(
                segment.handle(),
                [](const auto& handle) { map_segment(handle, Access::read_write).writable_bytes()[0] = std::byte{4}; }),
            0);
  EXPECT_EQ(segment.bytes()[0], std::byte{4});
}

TEST_F(HandleTest, LeadsToAnonymousMemory) {
  const auto memory = AnonymousMemory::create("test", 5000);
  EXPECT_EQ(in_stranger(memory.handle(),
                        [](const auto& handle) {
                          const auto same = AnonymousMemory::attach(handle);
                          same.writable_bytes()[1] = std::byte{5};
                          const auto mapping = map_segment(handle, Access::read_only);
                          EXPECT_EQ(mapping.bytes()[1], std::byte{5});
                          EXPECT_THROW((void)mapping.writable_bytes(), std::logic_error);
                        }),
            0);
  EXPECT_EQ(memory.bytes()[1], std::byte{5});
}

TEST_F(HandleTest, FallsBackToTheNameWhenItsMakerIsGone) {
  auto segment = SharedMemory::create(name_, 4096);
  segment.writable_bytes()[7] = std::byte{8};
  const auto handle = segment.handle();
  segment.close();
  EXPECT_EQ(map_segment(handle, Access::read_only).bytes()[7], std::byte{8});
  segment.unlink();
  EXPECT_EQ(test::thrown_code([&] { (void)map_segment(handle, Access::read_only); }),
            std::errc::no_such_file_or_directory);
  EXPECT_THAT(test::thrown_text([&] { (void)map_segment(handle, Access::read_only); }), HasSubstr(name_.str()));
}

TEST_F(HandleTest, NeverLeadsToAnotherSegmentOfTheSameName) {
  auto segment = SharedMemory::create(name_, 4096);
  const auto handle = segment.handle();
  segment.unlink();
  segment.close();
  const auto other = SharedMemory::create(name_, 4096);  // takes the descriptor's number and the name
  EXPECT_EQ(test::thrown_code([&] { (void)map_segment(handle, Access::read_only); }),
            std::errc::no_such_file_or_directory);
}

TEST_F(HandleTest, NothingThatAHandleSaysIsBelieved) {
  EXPECT_FALSE(SegmentHandle());
  EXPECT_EQ(test::thrown_code([] { (void)map_segment(SegmentHandle(), Access::read_only); }),
            std::errc::no_such_file_or_directory);
  const auto segment = SharedMemory::create(name_, 4096);
  const auto good = segment.handle();
  const auto code = [](SegmentHandle handle) {
    return test::thrown_code([&] { (void)map_segment(handle, Access::read_only); });
  };
  auto bad = good;
  bad.size_bytes = 4097;
  EXPECT_EQ(code(bad), std::errc::invalid_argument);
  bad.size_bytes = 0;
  EXPECT_EQ(code(bad), std::errc::invalid_argument);
  bad = good;
  bad.id.inode += 1;
  EXPECT_EQ(code(bad), std::errc::no_such_file_or_directory);
  bad = good;
  bad.id.device += 1;
  EXPECT_EQ(code(bad), std::errc::no_such_file_or_directory);
  bad = good;
  bad.pid = -1;
  bad.name.fill('x');  // no NUL
  EXPECT_EQ(bad.name_view(), "");
  EXPECT_EQ(code(bad), std::errc::no_such_file_or_directory);
  bad.name = {};
  std::strcpy(bad.name.data(), "../../etc/passwd");
  EXPECT_EQ(code(bad), std::errc::no_such_file_or_directory);
  int ends[2];
  ASSERT_EQ(::pipe2(ends, O_CLOEXEC), 0);
  const UniqueFd reader(ends[0]);
  const UniqueFd writer(ends[1]);
  bad = good;
  bad.name = {};
  bad.fd = reader.get();  // what a number may come to mean
  EXPECT_EQ(code(bad), std::errc::no_such_file_or_directory);
}

TEST_F(HandleTest, UnsealedMemoryIsRefused) {
  const UniqueFd fd(::memfd_create("unsealed", MFD_CLOEXEC | MFD_ALLOW_SEALING));
  ASSERT_EQ(::ftruncate(fd.get(), 4096), 0);
  ASSERT_EQ(::fchmod(fd.get(), 0600), 0);
  struct stat status {};
  ASSERT_EQ(::fstat(fd.get(), &status), 0);
  SegmentHandle handle;
  handle.pid = ::getpid();
  handle.fd = fd.get();
  handle.id = {status.st_dev, status.st_ino};
  handle.size_bytes = 4096;
  EXPECT_EQ(test::thrown_code([&] { (void)map_segment(handle, Access::read_only); }), std::errc::invalid_argument);
}

TEST_F(HandleTest, ASegmentMappingPassesOnAHandleThatOutlivesTheFirst) {
  auto segment = SharedMemory::create(name_, 4096);
  segment.writable_bytes()[0] = std::byte{1};
  auto mapping = SegmentMapping::attach(segment.handle(), Access::read_write);
  segment.unlink();
  segment.close();
  const auto again = SegmentMapping::attach(mapping.handle(), Access::read_only);
  mapping.writable_bytes()[1] = std::byte{2};
  EXPECT_EQ(again.bytes()[0], std::byte{1});
  EXPECT_EQ(again.bytes()[1], std::byte{2});
  EXPECT_EQ(again.id(), segment.id());
  EXPECT_THROW((void)again.writable_bytes(), std::logic_error);
  mapping.close();
  mapping.close();
  EXPECT_THROW((void)mapping.bytes(), std::logic_error);
  EXPECT_THROW((void)mapping.handle(), std::logic_error);
}

TEST_F(HandleTest, ListenersHearOfEachClosing) {
  std::vector<SegmentId> heard;
  auto segment = SharedMemory::create(name_, 4096);
  const SegmentId id = segment.id();
  {
    const SegmentCloseListener listener([&](SegmentId closed) { heard.push_back(closed); });
    { const auto attached = SharedMemory::attach(name_); }
    EXPECT_THAT(heard, ElementsAre(id));
    { const auto mapped = SegmentMapping::attach(segment.handle(), Access::read_only); }
    SharedMemory moved = std::move(segment);  // a move closes nothing
    EXPECT_THAT(heard, ElementsAre(id, id));
    moved.close();
    moved.close();
    EXPECT_THAT(heard, ElementsAre(id, id, id));
    auto memory = AnonymousMemory::create("test", 4096);
    const SegmentId memory_id = memory.id();
    memory = AnonymousMemory::create("test", 4096);
    EXPECT_EQ(heard.back(), memory_id);
    EXPECT_EQ(heard.size(), 4U);
  }
  EXPECT_EQ(heard.size(), 5U);
  { const auto attached = SharedMemory::attach(name_); }
  EXPECT_EQ(heard.size(), 5U);
  EXPECT_THROW(SegmentCloseListener{nullptr}, std::invalid_argument);
}

TEST_F(HandleTest, ListenersComeAndGoWhileOtherThreadsCloseSegments) {
  std::atomic<bool> done{false};
  std::atomic<int> heard{0};
  std::vector<std::thread> closers;
  for (int i = 0; i < 2; ++i) {
    closers.emplace_back([&] {
      while (!done) (void)AnonymousMemory::create("test", 4096);
    });
  }
  for (int round = 0; round < 200; ++round) {
    // Freed with the round: a call after the listener's end is a use after free, which the sanitizers see.
    const auto own = std::make_unique<int>(0);
    const SegmentCloseListener listener([&heard, mine = own.get()](SegmentId) {
      ++*mine;
      ++heard;
    });
    (void)AnonymousMemory::create("test", 4096);
  }
  done = true;
  for (auto& each : closers) each.join();
  EXPECT_GE(heard, 200);
}

TEST_F(HandleTest, AListenerMayCloseSegmentsItself) {
  int depth = 0;
  int deepest = 0;
  const SegmentCloseListener listener([&](SegmentId) {
    ++depth;
    deepest = std::max(deepest, depth);
    if (depth < 3) (void)AnonymousMemory::create("inner", 4096);
    --depth;
  });
  (void)AnonymousMemory::create("outer", 4096);
  EXPECT_EQ(deepest, 3);
}

TEST_F(HandleTest, AChildForkedWhileListenersRunCanCloseSegmentsItself) {
  int child_result = -1;
  const SegmentCloseListener listener([&, forked = false](SegmentId) mutable {
    if (forked) return;
    forked = true;
    child_result =
        test::run_in_child([] { (void)AnonymousMemory::create("in child", 4096); }, std::chrono::seconds(10));
  });
  (void)AnonymousMemory::create("outer", 4096);
  EXPECT_EQ(child_result, 0);
  EXPECT_EQ(test::run_in_child([] { (void)AnonymousMemory::create("in child", 4096); }, std::chrono::seconds(10)), 0);
}

}  // namespace
}  // namespace runrig
