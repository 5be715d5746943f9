// Many small files: made many at a time, and as sure as one by one.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <fstream>
#include <span>

#include "big_file.hpp"
#include "command.hpp"
#include "namespaces.hpp"
#include "reports.hpp"
#include "running.hpp"
#include "runrig/hdf5/codec.hpp"
#include "runrig/hdf5/output.hpp"
#include "runrig/sync/killpoint.hpp"

namespace runrig::test {
namespace {

namespace fs = std::filesystem;

struct SmallCase {
  std::string label;
  std::vector<std::string> arguments;
  std::string dataset;                 // of the outputs
  std::vector<std::string> in_worker;  // kill points that a worker gets to
};
std::ostream& operator<<(std::ostream& out, const SmallCase& each) { return out << each.label; }

class SmallFilesTest : public ::testing::TestWithParam<SmallCase> {
 protected:
  static constexpr std::uint64_t rows = 16;  // 64 KiB
  static constexpr int count = 150;          // more than two groups of them

  void SetUp() override {
    fs::create_directory(directory_ / "in");
    fs::create_directory(directory_ / "out");
    make_big_file(directory_ / "in/000.h5", rows);
    for (int i = 1; i < count; ++i) fs::copy_file(directory_ / "in/000.h5", input(i));
  }
  std::string input(int i) const {
    std::string name = std::to_string(i);
    name.insert(0, 3 - name.size(), '0');
    return directory_ / ("in/" + name + ".h5");
  }
  std::vector<std::string> arguments() const {
    std::vector<std::string> all = GetParam().arguments;
    all.insert(all.end(), {"-o", (directory_ / "out").string() + "/{name}", "--workers", "3"});
    for (int i = 0; i < count; ++i) all.push_back(input(i));
    return all;
  }
  // Makes one of the outputs by itself, with what is in the way of the fast one: all workers have to make it together.
  std::string made_by_all_workers() const {
    const std::string alone = directory_ / "alone.h5";
    std::vector<std::string> words = GetParam().arguments;
    words.insert(words.end(), {"-o", alone, input(3), "--overwrite"});
    const auto result =
        runrig(words, std::chrono::seconds(100), {"RUNRIG_KILLPOINT=" + GetParam().in_worker.front() + ":1"});
    EXPECT_EQ(result.exit_code, 0) << result.err;
    return alone;
  }
  // The names in the folder of outputs; every output among them is as `right`.
  std::vector<std::string> outputs(const std::string& python, const std::string& right) const {
    std::vector<std::string> names;
    std::vector<std::string> words{GetParam().dataset, right};
    for (const auto& each : fs::directory_iterator(directory_ / "out")) {
      names.push_back(each.path().filename());
      if (!names.back().starts_with(".")) words.push_back(each.path());
    }
    if (words.size() > 2) expect_agreement(python, "compare_outputs.py", words);
    return names;
  }
  std::size_t complete_outputs(const std::string& python, const std::string& right) const {
    const auto names = outputs(python, right);
    EXPECT_TRUE(std::ranges::none_of(names, [](const std::string& each) { return each.starts_with("."); }));
    return names.size();
  }
  void begin_anew() const {
    fs::remove_all(directory_ / "out");
    fs::create_directory(directory_ / "out");
  }
  TemporaryDirectory directory_;
};

TEST_P(SmallFilesTest, EachIsMadeAndTheBadAmongThemAreNamed) {
  RUNRIG_NEED_PYTHON(python, "numpy, h5py");
  if (!killpoint::compiled_in()) GTEST_SKIP() << "this build has no kill points";
  const std::string right = made_by_all_workers();
  std::ofstream(input(7)) << "no HDF5";
  fs::resize_file(input(100), fs::file_size(input(100)) / 2);
  const auto result = runrig(arguments());
  EXPECT_EQ(result.exit_code, 1);
  EXPECT_THAT(result.err, ::testing::HasSubstr("007.h5"));
  EXPECT_THAT(result.err, ::testing::HasSubstr("100.h5"));
  EXPECT_EQ(std::ranges::count(result.err, '\n'), 3);  // and how many there were
  EXPECT_EQ(complete_outputs(python, right), count - 2U);
}

TEST_P(SmallFilesTest, AreTheSameAsOneByOne) {
  RUNRIG_NEED_PYTHON(python, "numpy, h5py");
  if (!killpoint::compiled_in()) GTEST_SKIP() << "this build has no kill points";
  ASSERT_EQ(runrig(arguments()).exit_code, 0);
  expect_agreement(python, "compare_outputs.py",
                   {GetParam().dataset, made_by_all_workers(), directory_ / "out/003.h5", directory_ / "out/149.h5"});
  EXPECT_TRUE(GetParam().label != "map" || is_right_result(directory_ / "out/149.h5", rows));
}

TEST_P(SmallFilesTest, AMachineOfLittleMemoryMakesThemAsWell) {
  const auto body = [&] {
    pretend_memory(std::size_t{128} << 20, directory_.path());
    const auto made = runrig(arguments());
    EXPECT_EQ(made.exit_code, 0) << made.err;
  };
  const int result = run_in_child(body, std::chrono::seconds(140));  // longer than the command's own time
  if (result == cannot_isolate) GTEST_SKIP() << "no namespaces are allowed here, so there is no such machine";
  EXPECT_EQ(result, 0);
  const auto made = std::distance(fs::directory_iterator(directory_ / "out"), fs::directory_iterator());
  EXPECT_EQ(made, count);
}

TEST_P(SmallFilesTest, AreMadeWithFewAddresses) {
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
  GTEST_SKIP() << "a sanitizer takes more of them";
#endif
  auto words = arguments();
  words.insert(words.begin(), runrig_command());
  for (const std::string limit : {"8000000", "2000000"}) {  // KiB, less than most machines have memory
    std::vector<std::string> limited{"/bin/sh", "-c", "ulimit -v " + limit + " && exec \"$@\"", "sh"};
    limited.insert(limited.end(), words.begin(), words.end());
    const auto made = run_command(limited, "", std::chrono::seconds(100));
    EXPECT_EQ(made.exit_code, 0) << made.err;
    EXPECT_EQ(std::distance(fs::directory_iterator(directory_ / "out"), fs::directory_iterator()), count);
    begin_anew();
  }
}

TEST_P(SmallFilesTest, AWorkerThatDiesOverOneCostsNothingButTime) {
  RUNRIG_NEED_PYTHON(python, "numpy, h5py");
  if (!killpoint::compiled_in()) GTEST_SKIP() << "this build has no kill points";
  const std::string right = made_by_all_workers();
  for (const std::string& point : GetParam().in_worker) {
    Running command(arguments(), {"RUNRIG_KILLPOINT=" + point + ":20"});
    EXPECT_EQ(command.join(std::chrono::seconds(100)), 0) << point;
    EXPECT_EQ(complete_outputs(python, right), static_cast<std::size_t>(count)) << point;
    begin_anew();
  }
}

TEST_P(SmallFilesTest, KilledWhileTheyGetTheirNamesEachIsAbsentOrCompleteAndTheNextRunMakesAll) {
  RUNRIG_NEED_PYTHON(python, "numpy, h5py");
  if (!killpoint::compiled_in()) GTEST_SKIP() << "this build has no kill points";
  const std::string right = made_by_all_workers();
  for (const std::string point : {"output.sealed:1", "output.sealed:100", "output.synced:2", "output.former_kept:10",
                                  "output.renamed:1", "output.renamed:70"}) {
    {
      Running command(arguments(), {"RUNRIG_KILLPOINT=" + point});
      EXPECT_NE(command.join(std::chrono::seconds(100)), 0) << point << " was not reached";
    }
    (void)outputs(python, right);
    auto again = arguments();
    again.emplace_back("--resume");
    const auto result = runrig(again);
    EXPECT_EQ(result.exit_code, 0) << point << result.err;
    EXPECT_EQ(complete_outputs(python, right), static_cast<std::size_t>(count)) << point;
    begin_anew();
  }
}

// They are few syncs of the file system then, not three for each file.
TEST_P(SmallFilesTest, AreSyncedTogether) {
  const std::string counts_file = directory_ / "counts";
  constexpr std::size_t kinds = 7;
  constexpr std::size_t sync = 4;  // see full_disk_shim.cpp
  std::array<std::uint64_t, kinds> counts{};
  std::ofstream(counts_file, std::ios::binary).write(reinterpret_cast<const char*>(counts.data()), sizeof counts);
  const auto result =
      runrig(arguments(), std::chrono::seconds(100),
             {"LD_PRELOAD=" RUNRIG_FULL_DISK_SHIM, "RUNRIG_FAULT_DIRECTORY=" + (directory_ / "out").string(),
              "RUNRIG_FAULT_COUNTS=" + counts_file});
  ASSERT_EQ(result.exit_code, 0) << result.err;
  std::ifstream(counts_file, std::ios::binary).read(reinterpret_cast<char*>(counts.data()), sizeof counts);
  EXPECT_GT(counts[sync], 0U);
  EXPECT_LT(counts[sync], count / 10U);
}

INSTANTIATE_TEST_SUITE_P(Commands, SmallFilesTest,
                         ::testing::Values(SmallCase{"map",
                                                     {"map", "x*2+1", "-i", "x=/x"},
                                                     "/result",
                                                     {"batch.map.small_made", "batch.map.tile_done"}},
                                           SmallCase{"reduce",
                                                     {"reduce", "mean", "-d", "/x", "--axis", "0"},
                                                     "/result",
                                                     {"batch.map.small_made", "batch.map.tile_done"}},
                                           SmallCase{"repack",
                                                     {"repack", "--filter", "shuffle,deflate:fast"},
                                                     "/x",
                                                     {"batch.repack.small_made", "batch.repack.created"}}),
                         [](const auto& each) { return each.param.label; });

// What a file holds may be a thousand times what it takes: that is for all workers, though the file is small.
TEST(SmallFileTest, ThatHoldsMuchIsMadeByAllWorkers) {
  if (!killpoint::compiled_in()) GTEST_SKIP() << "this build has no kill points";
  const TemporaryDirectory directory;
  const std::string input = directory / "in.h5";
  ASSERT_EQ(run_in_child([&] {
              std::vector<float> values(std::size_t{4} << 20, 1.5F);
              auto file = hdf5::OutputFile::create(input);
              hdf5::OutputSpec spec;
              spec.dtype = DType::float32;
              spec.shape = Shape{values.size()};
              spec.chunk = Shape{1 << 16};
              spec.filters = hdf5::parse_filters("deflate:4");
              spec.library_filters = true;
              file.create_dataset("/x", spec);
              file.write("/x", hdf5::Box::all(spec.shape), std::as_bytes(std::span(values)));
              file.close();
            }),
            0);
  ASSERT_LT(fs::file_size(input), 1U << 20);
  // Whoever makes a small one would die here.
  const auto result = runrig({"repack", input, "-o", directory / "out.h5", "--filter", "shuffle,deflate:fast"},
                             std::chrono::seconds(100), {"RUNRIG_KILLPOINT=batch.repack.small_made:1"});
  EXPECT_EQ(result.exit_code, 0) << result.err;
  EXPECT_EQ(run_command({"h5diff", "-q", input, directory / "out.h5"}).exit_code, 0);
}

}  // namespace
}  // namespace runrig::test
