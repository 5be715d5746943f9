// What all processes of a command have in memory together stays within what --memory says, whatever the size of a file.
#include <gtest/gtest.h>
#include <linux/magic.h>
#include <sys/vfs.h>

#include <filesystem>

#include "command.hpp"
#include "reports.hpp"
#include "resource_watch.hpp"
#include "runrig/hdf5/output.hpp"

namespace runrig::test {
namespace {

using namespace std::chrono_literals;

constexpr std::uint64_t mib = std::uint64_t{1} << 20;
constexpr std::uint64_t memory_bytes = 256 * mib;
#ifdef RUNRIG_NIGHTLY
constexpr std::uint64_t array_bytes = 20 * 1024 * mib;
#else
constexpr std::uint64_t array_bytes = 2 * 1024 * mib;
#endif
constexpr std::uint64_t row_elements = 4096;
constexpr std::uint64_t rows = array_bytes / (row_elements * sizeof(float));
constexpr auto limit = array_bytes > 4096 * mib ? 3600s : 280s;

/// /x, contiguous, of which nothing but holes is on the disk.
void make_sparse_file(const std::string& path) {
  auto file = hdf5::OutputFile::create(path);
  hdf5::OutputSpec spec;
  spec.dtype = DType::float32;
  spec.shape = Shape{rows, row_elements};
  file.create_dataset("/x", spec);
  file.close();
}

class MemoryTest : public ::testing::Test {
 protected:
  void SetUp() override {
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
    GTEST_SKIP() << "a sanitizer's memory is not the command's";
#endif
    struct statfs status {};
    ASSERT_EQ(::statfs(directory_.path().c_str(), &status), 0);
    if (status.f_type == TMPFS_MAGIC) GTEST_SKIP() << "temporary files are in memory here, and would be counted";
    ASSERT_EQ(run_in_child([&] { make_sparse_file(input_); }), 0);
  }

  /// Runs the command within the memory, and expects that it was.
  CommandResult within_memory(std::vector<std::string> arguments) const {
    arguments.insert(arguments.end(), {"--memory", "256M"});
    const ResourceWatch watch;
    auto result = runrig(arguments, limit);
    EXPECT_EQ(result.exit_code, 0) << result.err;
    EXPECT_LE(watch.peak_bytes(), memory_bytes + memory_bytes / 2) << arguments[0] << " " << arguments[1];
    RecordProperty(arguments[0] + "_MiB", static_cast<int>(watch.peak_bytes() / mib));
    return result;
  }

  TemporaryDirectory directory_;
  const std::string input_ = directory_ / "in.h5";
};

TEST_F(MemoryTest, AFileLargerThanItGoesThroughEveryCommand) {
  const std::string packed = directory_ / "packed.h5";
  const std::string mapped = directory_ / "mapped.h5";
  const auto expect_zeros = [&](const std::string& file, const std::string& dataset, double value) {
    const auto stats = parse_stats(within_memory({"stats", "--json", file, "-d", dataset}));
    ASSERT_TRUE(stats.results.contains({file, dataset}));
    const Json& found = stats.results.at({file, dataset});
    EXPECT_EQ(found.at("count"), rows * row_elements);
    EXPECT_EQ(found.at("min"), value);
    EXPECT_EQ(found.at("max"), value);
  };
  expect_zeros(input_, "/x", 0);
  within_memory({"reduce", "max", input_, "-d", "/x", "--json"});
  within_memory({"reduce", "mean", input_, "-d", "/x", "--axis", "0", "-o", directory_ / "mean.h5"});
  // Contiguous to chunked, and that is read again.
  within_memory({"repack", input_, "-o", packed, "--filter", "shuffle,deflate:fast", "--chunk", "256x1024"});
  expect_zeros(packed, "/x", 0);
  within_memory({"map", "x*2+1", packed, "-i", "x=/x", "-o", mapped});
  expect_zeros(mapped, "/result", 1);
  within_memory({"reduce", "median", packed, "-d", "/x", "--json"});
}

TEST_F(MemoryTest, ChunksWhoseRowIsLargerThanItAreReadWithinIt) {
  // Each chunk has 2048 rows: a row of chunks is 32 MiB, and more than a worker's share of the memory.
  const std::string tall = directory_ / "tall.h5";
  within_memory({"repack", input_, "-o", tall, "--filter", "shuffle,deflate:fast", "--chunk", "2048x128"});
  const auto stats = parse_stats(within_memory({"stats", "--json", tall}));
  EXPECT_EQ(stats.results.at({tall, "/x"}).at("count"), rows * row_elements);
  within_memory({"map", "x+1", tall, "-i", "x=/x", "-o", directory_ / "out.h5"});
}

}  // namespace
}  // namespace runrig::test
