#include "runrig/engine/machine.hpp"

#include <sched.h>
#include <sys/resource.h>

#include <algorithm>
#include <fstream>
#include <thread>

#include "support.hpp"

namespace runrig {
namespace {

// A machine of the test's making: files below a directory that stands for "/".
class MachineTest : public ::testing::Test {
 protected:
  void write(const std::string& path, const std::string& text) const {
    const auto full = root_.path() / path;
    std::filesystem::create_directories(full.parent_path());
    std::ofstream(full) << text;
  }
  [[nodiscard]] detail::MachineLimits limits() const { return detail::read_machine_limits(root_.path()); }
  void unified(const std::string& group) const {
    write("proc/self/cgroup", "0::" + group + "\n");
    write("proc/self/mountinfo", "30 23 0:26 / /sys/fs/cgroup rw,nosuid shared:9 - cgroup2 cgroup2 rw,nsdelegate\n");
  }

  const test::TemporaryDirectory root_;
};

TEST_F(MachineTest, QuotaIsRoundedUpAndLosesAgainstAFewerCpusMask) {
  unified("/job");
  write("sys/fs/cgroup/job/cpu.max", "150000 100000\n");
  auto found = limits();
  EXPECT_DOUBLE_EQ(found.quota_cpus, 1.5);
  found.affinity_cpus = 8;
  EXPECT_EQ(detail::cpu_count(found), 2);
  found.affinity_cpus = 1;
  EXPECT_EQ(detail::cpu_count(found), 1);
}

TEST_F(MachineTest, SmallestQuotaOfAllAncestorsCounts) {
  unified("/a/b/c");
  write("sys/fs/cgroup/a/b/c/cpu.max", "max 100000\n");
  write("sys/fs/cgroup/a/b/cpu.max", "300000 100000\n");
  write("sys/fs/cgroup/a/cpu.max", "700000 100000\n");
  const auto found = limits();
  EXPECT_DOUBLE_EQ(found.quota_cpus, 3);
  EXPECT_EQ(found.quota_group, "/a/b");
}

TEST_F(MachineTest, QuotaBelowOneCpuStillGivesOne) {
  unified("/");
  write("sys/fs/cgroup/cpu.max", "1000 100000\n");
  auto found = limits();
  found.affinity_cpus = 4;
  EXPECT_EQ(detail::cpu_count(found), 1);
}

TEST_F(MachineTest, VersionOneQuotaAndMemoryAreUnderstood) {
  write("proc/self/cgroup", "5:memory:/job\n4:cpu,cpuacct:/job/inner\n");
  write("proc/self/mountinfo",
        "31 23 0:27 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct\n"
        "32 23 0:28 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n");
  write("sys/fs/cgroup/cpu,cpuacct/job/inner/cpu.cfs_quota_us", "-1\n");
  write("sys/fs/cgroup/cpu,cpuacct/job/inner/cpu.cfs_period_us", "100000\n");
  write("sys/fs/cgroup/cpu,cpuacct/job/cpu.cfs_quota_us", "250000\n");
  write("sys/fs/cgroup/cpu,cpuacct/job/cpu.cfs_period_us", "100000\n");
  write("sys/fs/cgroup/memory/job/memory.limit_in_bytes", "1048576\n");
  write("sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n");
  write("proc/meminfo", "MemTotal:       2048 kB\nMemFree: 1 kB\n");
  const auto found = limits();
  EXPECT_DOUBLE_EQ(found.quota_cpus, 2.5);
  EXPECT_EQ(detail::memory_bytes(found), 1048576U);
}

TEST_F(MachineTest, ContainerThatShowsOnlyItsOwnGroupIsReadFromTheTop) {
  write("proc/self/cgroup", "0::/system.slice/docker-1.scope\n");
  write("proc/self/mountinfo", "30 23 0:26 /system.slice/docker-1.scope /sys/fs/cgroup ro - cgroup2 cgroup rw\n");
  write("sys/fs/cgroup/cpu.max", "200000 100000\n");
  EXPECT_DOUBLE_EQ(limits().quota_cpus, 2);
}

TEST_F(MachineTest, SmallestMemoryLimitOfAllAncestorsCounts) {
  unified("/a/b");
  write("proc/meminfo", "MemTotal:       8192 kB\n");
  write("sys/fs/cgroup/a/b/memory.max", "max\n");
  write("sys/fs/cgroup/a/memory.max", "4194304\n");
  EXPECT_EQ(detail::memory_bytes(limits()), 4194304U);
}

TEST_F(MachineTest, GarbageAndAbsenceAreNoLimits) {
  unified("/x");
  write("sys/fs/cgroup/x/cpu.max", "banana 100000");
  write("sys/fs/cgroup/x/memory.max", "-5");
  const auto found = limits();
  EXPECT_EQ(found.quota_cpus, 0);
  EXPECT_EQ(found.cgroup_bytes, 0U);
  EXPECT_GE(detail::cpu_count(found), 1);
  EXPECT_GT(detail::memory_bytes(found), 0U);
}

TEST_F(MachineTest, OutOfMemoryKillsAreThoseOfTheOwnGroup) {
  unified("/a/b");
  write("sys/fs/cgroup/a/b/memory.events", "low 0\nhigh 4\nmax 9\noom 3\noom_kill 2\n");
  write("sys/fs/cgroup/a/memory.events", "oom_kill 7\n");
  write("proc/vmstat", "pgpgin 1\noom_kill 40\n");
  EXPECT_EQ(detail::out_of_memory_kills(root_.path()), 2U);
  std::filesystem::remove_all(root_.path() / "sys");
  EXPECT_EQ(detail::out_of_memory_kills(root_.path()), 40U);
}

TEST(MachineNow, CountFollowsTheAffinityMask) {
  EXPECT_EQ(test::run_in_child([] {
              cpu_set_t one;
              CPU_ZERO(&one);
              cpu_set_t all;
              ASSERT_EQ(::sched_getaffinity(0, sizeof all, &all), 0);
              int cpu = 0;
              while (!CPU_ISSET(cpu, &all)) ++cpu;
              CPU_SET(cpu, &one);
              ASSERT_EQ(::sched_setaffinity(0, sizeof one, &one), 0);
              EXPECT_EQ(usable_cpu_count(), 1);
              EXPECT_TRUE(explain_cpu_count().starts_with("1: affinity mask 1")) << explain_cpu_count();
            }),
            0);
}

void expect_limit(__rlimit_resource_t resource, std::size_t bytes) {
  const std::size_t before = usable_memory_bytes();
  rlimit limit{};
  ASSERT_EQ(::getrlimit(resource, &limit), 0);
  limit.rlim_cur = bytes;
  ASSERT_EQ(::setrlimit(resource, &limit), 0);
  EXPECT_EQ(usable_mapping_bytes(), bytes / 8);
  EXPECT_EQ(usable_memory_bytes(), std::min(before, bytes / 8));
}

TEST(MachineNow, MemoryIsLimitedByWhatFilesMayHold) {
  EXPECT_EQ(test::run_in_child([] { expect_limit(RLIMIT_FSIZE, std::size_t{32} << 30); }), 0);
}

TEST(MachineNow, MemoryIsLimitedByAddresses) {
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
  GTEST_SKIP() << "a sanitizer has terabytes mapped";
#endif
  EXPECT_EQ(test::run_in_child([] { expect_limit(RLIMIT_AS, std::size_t{16} << 30); }), 0);
}

TEST(MachineNow, ThreadsAreCounted) {
  std::thread([] {}).join();  // with the first, a sanitizer starts one of its own
  const int before = process_thread_count();
  std::atomic<bool> leave{false};
  std::thread other([&] {
    while (!leave) std::this_thread::yield();
  });
  EXPECT_EQ(process_thread_count(), before + 1);
  leave = true;
  other.join();
}

TEST(MachineNow, MemoryIsPlausible) {
  EXPECT_GT(usable_memory_bytes(), std::size_t{16} << 20);
  EXPECT_LT(usable_memory_bytes(), std::size_t{1} << 50);
}

}  // namespace
}  // namespace runrig
