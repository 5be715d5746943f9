// Segments shared with real Python programs, both ways.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <fstream>

#include "session_support.hpp"

namespace runrig {
namespace {

using test::eventually;
using test::name_exists;

class PythonSegmentsTest : public ::testing::Test {
 protected:
  const test::SegmentName name_;
  const test::TemporaryDirectory directory_;

  [[nodiscard]] std::string flag(const char* name) const { return (directory_ / name).string(); }
  static bool exists(const std::string& path) { return ::access(path.c_str(), F_OK) == 0; }

  /// A Python program that runs beside the test. `segment` and `wait_for(path)` are there; it has the paths of two
  /// flags as `ready` and `go_on`.
  [[nodiscard]] std::unique_ptr<test::Child> start(const std::string& python, const std::string& program) const {
    const std::string whole = R"(
import sys, time, os
from multiprocessing import shared_memory, resource_tracker
name, ready, go_on = sys.argv[1:]
def say(path): open(path, "w").close()
def wait_for(path):
    deadline = time.monotonic() + 60
    while not os.path.exists(path):
        assert time.monotonic() < deadline
        time.sleep(0.002)
)" + program;
    std::vector<std::string> argv{python, "-c", whole, name_, flag("ready"), flag("go_on")};
    return std::make_unique<test::Child>([argv] {
      test::leave_session();
      std::vector<char*> pointers;
      for (const auto& each : argv) pointers.push_back(const_cast<char*>(each.c_str()));
      pointers.push_back(nullptr);
      ::execvp(pointers[0], pointers.data());
      ::_exit(127);
    });
  }
  void go_on() const { std::ofstream(flag("go_on")).flush(); }
};

TEST_F(PythonSegmentsTest, PythonReadsAndChangesWhatIsCreatedHere) {
  RUNRIG_NEED_PYTHON(python, "multiprocessing.shared_memory");
  const auto segment = SharedMemory::create(name_, 1001);
  segment.writable_bytes()[1000] = std::byte{77};
  const auto result = test::run_python(python, R"(
import sys
from multiprocessing import shared_memory, resource_tracker
segment = shared_memory.SharedMemory(name=sys.argv[1])
resource_tracker.unregister(segment._name, "shared_memory")
print(segment.size, segment.buf[1000])
segment.buf[0] = 99
segment.close()
)",
                                       {name_});
  EXPECT_EQ(result.exit_code, 0) << result.err;
  EXPECT_EQ(result.out, "1001 77\n");
  EXPECT_EQ(segment.bytes()[0], std::byte{99});
  EXPECT_TRUE(name_exists(name_));
}

TEST_F(PythonSegmentsTest, WhatPythonCreatesIsReadAndChangedHere) {
  RUNRIG_NEED_PYTHON(python, "multiprocessing.shared_memory");
  const auto creator = start(python, R"(
segment = shared_memory.SharedMemory(name=name, create=True, size=3000)
segment.buf[2999] = 5
say(ready)
wait_for(go_on)
assert segment.buf[0] == 6
segment.close()
segment.unlink()
)");
  ASSERT_TRUE(eventually([&] { return exists(flag("ready")); }, std::chrono::seconds(30)));
  auto segment = SharedMemory::attach(name_);
  EXPECT_EQ(segment.size_bytes(), 3000U);
  EXPECT_EQ(segment.bytes()[2999], std::byte{5});
  segment.writable_bytes()[0] = std::byte{6};
  EXPECT_EQ(test::thrown_code([&] { segment.persist(); }), std::errc::no_such_file_or_directory);  // it is not ours
  (void)collect_garbage();
  EXPECT_TRUE(name_exists(name_));
  go_on();
  EXPECT_EQ(creator->join(), 0);
  EXPECT_FALSE(name_exists(name_));
  EXPECT_EQ(segment.bytes()[2999], std::byte{5});  // the mapping stays
}

TEST_F(PythonSegmentsTest, UnlinkHereRemovesPythonsSegment) {
  RUNRIG_NEED_PYTHON(python, "multiprocessing.shared_memory");
  const auto creator = start(python, R"(
segment = shared_memory.SharedMemory(name=name, create=True, size=3000)
resource_tracker.unregister(segment._name, "shared_memory")
say(ready)
wait_for(go_on)
segment.close()
)");
  ASSERT_TRUE(eventually([&] { return exists(flag("ready")); }, std::chrono::seconds(30)));
  SharedMemory::attach(name_).unlink();
  EXPECT_FALSE(name_exists(name_));
  go_on();
  EXPECT_EQ(creator->join(), 0);
}

// Python up to 3.12 unlinks at exit what it only attached (gh-82300). Later versions need not.
TEST_F(PythonSegmentsTest, OurDataSurvivePythonsOwnTracker) {
  RUNRIG_NEED_PYTHON(python, "multiprocessing.shared_memory");
  auto segment = SharedMemory::create(name_, 4096);
  segment.writable_bytes()[0] = std::byte{1};
  const auto handle = segment.handle();
  const auto result = test::run_python(python, R"(
import sys
from multiprocessing import shared_memory
segment = shared_memory.SharedMemory(name=sys.argv[1])
segment.buf[1] = 2
segment.close()
)",
                                       {name_});
  ASSERT_EQ(result.exit_code, 0) << result.err;
  EXPECT_EQ(segment.bytes()[0], std::byte{1});
  EXPECT_EQ(segment.bytes()[1], std::byte{2});
  EXPECT_EQ(map_segment(handle, Access::read_only).bytes()[1], std::byte{2});
  if (name_exists(name_)) {
    segment.unlink();
  } else {
    EXPECT_EQ(test::thrown_code([&] { segment.unlink(); }), std::errc::no_such_file_or_directory);
  }
  const auto again = SharedMemory::create(name_, 100);  // and the name is free
  EXPECT_TRUE(name_exists(name_));
}

TEST_F(PythonSegmentsTest, ASweepLeavesWhatPythonHasMapped) {
  RUNRIG_NEED_PYTHON(python, "multiprocessing.shared_memory");
  test::Creator creator(name_);
  const auto user = start(python, R"(
import mmap
file = open("/dev/shm/" + name, "r+b")
memory = mmap.mmap(file.fileno(), 0)
file.close()
say(ready)
wait_for(go_on)
memory[0] = 1
)");
  ASSERT_TRUE(eventually([&] { return exists(flag("ready")); }, std::chrono::seconds(30)));
  creator.kill_with_tracker();
  (void)collect_garbage();
  EXPECT_TRUE(name_exists(name_));
  go_on();
  EXPECT_EQ(user->join(), 0);
  EXPECT_TRUE(eventually([&] {
    (void)collect_garbage();
    return !name_exists(name_);
  }));
}

}  // namespace
}  // namespace runrig
