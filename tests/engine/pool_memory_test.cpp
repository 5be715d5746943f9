// A worker that the kernel kills because its control group has no memory left: pitfall P2.

#include <gmock/gmock.h>
#include <signal.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <optional>
#include <string>
#include <vector>

#include "pool_test_support.hpp"
#include "runrig/engine/pool.hpp"

namespace runrig {
namespace {

using ::testing::HasSubstr;
namespace fs = std::filesystem;

/// A control group with little memory. Made below our own or, where processes and groups do not go together, above.
class MemoryGroup {
 public:
  explicit MemoryGroup(std::size_t limit_bytes) {
    for (const fs::path& parent : possible_parents()) {
      folder_ = parent / test::unique_segment_name();
      std::error_code refused;
      if (!fs::create_directory(folder_, refused)) continue;
      if (write("memory.max", limit_bytes) || write("memory.limit_in_bytes", limit_bytes)) {
        // What is swapped out would not be killed for. Neither is there without swap.
        (void)write("memory.swap.max", 0);
        (void)write("memory.memsw.limit_in_bytes", limit_bytes);
        return;
      }
      fs::remove(folder_, refused);
    }
    folder_.clear();
  }
  MemoryGroup(const MemoryGroup&) = delete;
  MemoryGroup& operator=(const MemoryGroup&) = delete;
  ~MemoryGroup() {
    EXPECT_TRUE(!made() || test::eventually([&] { return ::rmdir(folder_.c_str()) == 0; })) << folder_;
  }
  [[nodiscard]] bool made() const { return !folder_.empty(); }
  /// From now on this process and its children are in it.
  [[nodiscard]] bool join() const { return write("cgroup.procs", static_cast<std::size_t>(::getpid())); }

 private:
  static std::vector<fs::path> possible_parents() {
    std::vector<fs::path> found;
    std::ifstream groups("/proc/self/cgroup");
    for (std::string line; std::getline(groups, line);) {
      const bool second_version = line.starts_with("0::");
      const auto name = line.rfind(":/");
      if (name == std::string::npos || (!second_version && line.find(":memory:") == std::string::npos)) continue;
      const fs::path root = second_version ? "/sys/fs/cgroup" : "/sys/fs/cgroup/memory";
      for (fs::path own = line.substr(name + 2);; own = own.parent_path()) {
        found.push_back(root / own);
        if (own.empty()) break;
      }
    }
    return found;
  }
  [[nodiscard]] bool write(const char* file, std::size_t value) const {
    if (!fs::exists(folder_ / file)) return false;
    std::ofstream stream(folder_ / file);
    stream << value << std::flush;
    return stream.good();
  }

  fs::path folder_;
};

// Much more than the limit, page by page.
std::size_t eat_memory() {
  std::vector<char> memory(std::size_t{1} << 30);
  std::size_t sum = 0;
  for (std::size_t i = 0; i < memory.size(); i += 4096) sum += static_cast<std::size_t>(memory[i] = 1);
  return sum;
}

void lose_a_task(Pool& pool) {
  try {
    (void)pool.apply(eat_memory);
    ADD_FAILURE() << "it was not killed";
  } catch (const WorkerLost& lost) {
    EXPECT_EQ(lost.signal(), SIGKILL);
    EXPECT_THAT(lost.what(), HasSubstr("task 1 "));
    EXPECT_THAT(lost.what(), HasSubstr("likely because memory ran out"));
  }
}

void lose_a_slice(Pool& pool) {
  LaunchOptions options;
  options.slices = 8;
  options.max_kills = 1;
  options.keep_going = true;
  auto launch = pool.launch(options, [](SliceContext& context) {
    if (context.slice() == 5) (void)eat_memory();
  });
  ASSERT_TRUE(launch.wait(Deadline::after(std::chrono::seconds(60))));
  for (std::uint32_t slice = 0; slice < 8; ++slice) {
    EXPECT_EQ(launch.outcome(slice).state, slice == 5 ? SliceState::lost : SliceState::done) << slice;
  }
  EXPECT_THAT(launch.outcome(5).message, HasSubstr("likely because memory ran out"));
}

TEST(PoolMemory, WorkerThatTheKernelKillsForWantOfMemoryIsReportedSo) {
  RUNRIG_NEED_FORKS();
#if defined(__SANITIZE_ADDRESS__)
  GTEST_SKIP() << "the address sanitizer's own memory would not fit";
#endif
  const MemoryGroup group(std::size_t{192} << 20);
  if (!group.made()) GTEST_SKIP() << "no control group with a memory limit can be made here";
  EXPECT_EQ(test::run_in_child([&] {
              ASSERT_TRUE(group.join());
              Pool pool(2);
              lose_a_task(pool);
              lose_a_slice(pool);
              EXPECT_EQ(pool.apply([](int a) { return a + 1; }, 1), 2) << "the pool goes on";
              EXPECT_EQ(pool.workers_lost(), 2U);
            }),
            0);
}

}  // namespace
}  // namespace runrig
