// Every call by which an output gets to the disk fails in turn, from then on or once: the former file is left, or none,
// and one line says so.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <fstream>

#include "command.hpp"
#include "runrig/hdf5/output.hpp"

namespace runrig::test {
namespace {

namespace fs = std::filesystem;

constexpr std::array<std::string_view, 7> kinds{"open", "write", "truncate", "allocate", "sync", "close", "rename"};
constexpr std::size_t write = 1;
constexpr std::size_t sync = 4;
// Those that are as good as all others of their kind are tried in the nightly run.
constexpr std::uint64_t first_writes = 6;
constexpr std::uint64_t last_writes = 6;
using Counts = std::array<std::uint64_t, kinds.size()>;

struct FaultCase {
  std::string label;
  std::vector<std::string> arguments;
};
std::ostream& operator<<(std::ostream& out, const FaultCase& each) { return out << each.label; }

class DiskFaultTest : public ::testing::TestWithParam<FaultCase> {
 protected:
  std::string output() const { return directory_ / "disk/out.h5"; }

  // Runs the command on a disk with that file, or none, where `fault` comes to pass.
  CommandResult run(const std::string& former, const std::string& fault) const {
    fs::remove_all(directory_ / "disk");
    fs::create_directory(directory_ / "disk");
    if (!former.empty()) std::ofstream(output()) << former;
    const Counts none{};
    std::ofstream(counts_file(), std::ios::binary).write(reinterpret_cast<const char*>(none.data()), sizeof none);
    std::vector<std::string> arguments = GetParam().arguments;
    // One worker: the calls come in the same order every time.
    arguments.insert(arguments.end(), {"-o", output(), "--workers", "1", "--overwrite"});
    return runrig(arguments, std::chrono::seconds(120),
                  {"LD_PRELOAD=" RUNRIG_FULL_DISK_SHIM, "RUNRIG_FAULT_DIRECTORY=" + (directory_ / "disk").string(),
                   "RUNRIG_FAULT_COUNTS=" + counts_file(), "RUNRIG_FAULT=" + fault});
  }
  Counts counts() const {
    Counts found{};
    std::ifstream(counts_file(), std::ios::binary).read(reinterpret_cast<char*>(found.data()), sizeof found);
    return found;
  }
  std::string counts_file() const { return directory_ / "counts"; }
  std::string content() const {
    std::ifstream file(output(), std::ios::binary);
    return {std::istreambuf_iterator<char>(file), {}};
  }
  std::vector<std::string> names() const {
    std::vector<std::string> found;
    for (const auto& each : fs::directory_iterator(directory_ / "disk")) found.push_back(each.path().filename());
    return found;
  }

  void expect_nothing_done(const std::string& former, const std::string& fault, int code) const {
    SCOPED_TRACE(fault + (former.empty() ? ", no former file" : ", a former file"));
    const auto result = run(former, fault);
    // What fails once may be overcome: the HDF5 library opens a new file twice, and where it crashes, as it does when
    // it cannot copy a dataset, the file is begun anew.
    if (result.exit_code == 0 && fault.ends_with(":once")) return expect_complete();
    expect_one_line(result, 1, {std::strerror(code)});
    EXPECT_EQ(result.out, "");
    if (former.empty()) {
      EXPECT_THAT(names(), ::testing::IsEmpty());
    } else {
      EXPECT_THAT(names(), ::testing::ElementsAre("out.h5"));
      EXPECT_EQ(content(), former);
    }
  }

  void expect_complete() const {
    EXPECT_THAT(names(), ::testing::ElementsAre("out.h5"));
    EXPECT_EQ(run_command({"h5diff", directory_ / "right.h5", output()}).exit_code, 0);
  }

  TemporaryDirectory directory_;
};

TEST_P(DiskFaultTest, LeavesTheFormerFileOrNoneAndSaysSoInOneLine) {
  for (const std::string former : {"", "former"}) {
    ASSERT_EQ(run(former, "").exit_code, 0);
    const Counts all = counts();
    fs::copy_file(output(), directory_ / "right.h5", fs::copy_options::overwrite_existing);
    for (const std::size_t kind : {std::size_t{0}, write, sync, std::size_t{5}, std::size_t{6}})
      EXPECT_GT(all[kind], 0U) << kinds[kind] << " is not watched";
    for (std::size_t kind = 0; kind < kinds.size(); ++kind) {
      for (std::uint64_t nth = 1; nth <= all[kind]; ++nth) {
        for (const int code : {EIO, ENOSPC}) {
          const std::string fault = std::string(kinds[kind]) + ":" + std::to_string(nth) + ":" + std::to_string(code);
#ifndef RUNRIG_NIGHTLY
          if ((nth % 2 == 0) == (code == EIO)) continue;  // each call once
          if (kind == write && nth > first_writes && nth + last_writes <= all[write]) continue;
#endif
          expect_nothing_done(former, fault, code);
          if (former.empty()) expect_nothing_done(former, fault + ":once", code);
        }
      }
    }
    EXPECT_EQ(run(former, "").exit_code, 0);
    EXPECT_EQ(counts(), all) << "the calls are not the same every time";
  }
}

INSTANTIATE_TEST_SUITE_P(
    Commands, DiskFaultTest,
    ::testing::Values(FaultCase{"map_chunked", {"map", "u*2", sample("month-1.h5"), "-i", "u=/wind/u[0:2]"}},
                      FaultCase{"map_contiguous", {"map", "p*2", sample("series.h5"), "-i", "p=/station/pressure"}},
                      FaultCase{"reduce", {"reduce", "mean", sample("month-1.h5"), "-d", "/wind/u", "--axis", "0"}},
                      FaultCase{"repack", {"repack", sample("month-1.h5"), "--filter", "shuffle,deflate:fast"}}),
    [](const auto& each) { return each.param.label; });

// Large outputs are synced while they are written, and the system tells only once that it lost something.
TEST(LargeOutputTest, WhatAnEarlySyncSaysIsNotForgotten) {
  const TemporaryDirectory directory;
  fs::create_directory(directory / "disk");
  const std::string input = directory / "input.h5";
  const auto make_input = [&] {
    constexpr std::uint64_t rows = 80;
    constexpr std::uint64_t columns = 131072;
    std::vector<float> values(rows * columns);
    for (std::size_t i = 0; i < values.size(); ++i) values[i] = static_cast<float>(i);
    auto file = hdf5::OutputFile::create(input);
    hdf5::OutputSpec spec;
    spec.dtype = DType::float32;
    spec.shape = Shape{rows, columns};
    file.create_dataset("/x", spec);
    file.write("/x", {Shape{0, 0}, spec.shape}, std::as_bytes(std::span(values)));
    file.close();
  };
  ASSERT_EQ(run_in_child(make_input), 0);
  const std::string counts_file = directory / "counts";
  const auto map = [&](const std::string& fault, const std::string& rows = "") {
    const Counts none{};
    std::ofstream(counts_file, std::ios::binary).write(reinterpret_cast<const char*>(none.data()), sizeof none);
    return runrig({"map", "x+1", input, "-i", "x=/x" + rows, "-o", directory / "disk/out.h5", "--chunk", "1x131072",
                   "--filter", "none", "--overwrite"},
                  std::chrono::seconds(120),
                  {"LD_PRELOAD=" RUNRIG_FULL_DISK_SHIM, "RUNRIG_FAULT_DIRECTORY=" + (directory / "disk").string(),
                   "RUNRIG_FAULT_COUNTS=" + counts_file, "RUNRIG_FAULT=" + fault});
  };
  const auto syncs = [&] {
    Counts found{};
    std::ifstream(counts_file, std::ios::binary).read(reinterpret_cast<char*>(found.data()), sizeof found);
    return found[sync];
  };
  const auto result = map("sync:1:" + std::to_string(EIO) + ":once");
  expect_one_line(result, 1, {std::strerror(EIO)});
  EXPECT_TRUE(fs::is_empty(directory / "disk"));
  // 40 MiB have one sync more than 30 have: the first, the early one.
  EXPECT_EQ(map("").exit_code, 0);
  const std::uint64_t all = syncs();
  EXPECT_EQ(map("", "[0:60]").exit_code, 0);
  EXPECT_EQ(all, syncs() + 1);
}

}  // namespace
}  // namespace runrig::test
