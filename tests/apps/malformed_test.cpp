// Files that are damaged, or were made to break readers, in one run together with good ones.
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <ctime>
#include <fstream>
#include <iterator>
#include <random>
#include <sstream>

#include "corruption.hpp"
#include "reports.hpp"
#include "resource_watch.hpp"

namespace runrig::test {
namespace {

using namespace std::chrono_literals;
namespace fs = std::filesystem;

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
constexpr bool plain_build = false;  // a sanitizer's own memory and time are not what is bounded here
#else
constexpr bool plain_build = true;
#endif
#ifdef RUNRIG_NIGHTLY
constexpr std::size_t damaged_copies = 2000;
constexpr std::size_t flipped_copies = 400;
#else
constexpr std::size_t damaged_copies = 150;
constexpr std::size_t flipped_copies = 40;
#endif

using Bytes = std::vector<std::byte>;

Bytes bytes_of(const std::string& path) {
  std::ifstream stream(path, std::ios::binary);
  const std::string text{std::istreambuf_iterator<char>(stream), {}};
  Bytes bytes(text.size());
  std::transform(text.begin(), text.end(), bytes.begin(), [](char each) { return static_cast<std::byte>(each); });
  return bytes;
}

void write_bytes(const std::string& path, const Bytes& bytes) {
  std::ofstream stream(path, std::ios::binary);
  stream.write(reinterpret_cast<const char*>(bytes.data()), static_cast<std::streamsize>(bytes.size()));
  ASSERT_TRUE(stream.flush()) << path;
}

CommandResult run_on(std::vector<std::string> arguments, const std::vector<std::string>& files) {
  arguments.insert(arguments.end(), files.begin(), files.end());
  return runrig(arguments, 120s);
}

/// What both commands say of the same files.
struct BothOutputs {
  InfoOutput info;
  StatsOutput stats;
};

/// Runs both commands over all of `files` at once. From each of them every file must get a result, an error, or, where
/// there are no numbers in it, the word that says so.
BothOutputs run_batch(const std::vector<std::string>& files) {
  BothOutputs batch;
  const auto info = run_on({"info", "--json"}, files);
  batch.info = parse_info(info);
  expect_errors_are_told(info, batch.info.errors.size());
  const auto stats = run_on({"stats", "--json"}, files);
  batch.stats = parse_stats(stats);
  expect_errors_are_told(stats, batch.stats.errors.size());
  for (const auto& each : files) {
    const auto listed = batch.info.numeric_datasets.find(each);
    const bool found = listed != batch.info.numeric_datasets.end();
    EXPECT_TRUE(found || batch.info.has_error(each)) << "info says nothing of " << each;
    const bool no_numbers = stats.err.find("runrig: warning: " + each + ": no numeric datasets\n") != std::string::npos;
    EXPECT_EQ(no_numbers, !batch.stats.has_result(each) && !batch.stats.has_error(each)) << each;
    EXPECT_TRUE(!no_numbers || (found && listed->second == 0)) << "info finds numbers in " << each;
  }
  return batch;
}

/// The results of good files that had the command to themselves: which are right, other tests see.
StatsOutput results_alone(const std::vector<std::string>& good) {
  const auto result = run_on({"stats", "--json"}, good);
  EXPECT_EQ(result.exit_code, 0) << result.err;
  return parse_stats(result);
}

void expect_good_results(const StatsOutput& batch, const StatsOutput& alone) {
  for (const auto& [name, result] : alone.results) {
    const auto found = batch.results.find(name);
    ASSERT_NE(found, batch.results.end()) << name.first << ":" << name.second;
    EXPECT_EQ(found->second, result) << name.first << ":" << name.second;
    EXPECT_FALSE(batch.has_error(name.first)) << name.first;
  }
}

/// Good files among bad ones, each behind its share of them.
std::vector<std::string> mixed(const std::vector<std::string>& bad, const std::vector<std::string>& good) {
  std::vector<std::string> files;
  for (std::size_t i = 0; i < good.size(); ++i) {
    const auto begin = bad.begin() + static_cast<std::ptrdiff_t>(bad.size() * i / good.size());
    const auto end = bad.begin() + static_cast<std::ptrdiff_t>(bad.size() * (i + 1) / good.size());
    files.insert(files.end(), begin, end);
    files.push_back(good[i]);
  }
  return files;
}

class MalformedTest : public ::testing::Test {
 protected:
  std::string at(const std::string& name) const { return (directory_ / name).string(); }
  TemporaryDirectory directory_;
};

// Bounds that are never seen to be passed prove nothing.
TEST(ResourceWatchTest, SeesTheMemoryAndTimeOfAChild) {
  constexpr std::size_t taken = std::size_t{150} << 20;
  const ResourceWatch watch;
  ASSERT_EQ(run_in_child([] {
              const std::vector<char> memory(taken, 'x');
              const auto start = std::clock();
              while (std::clock() - start < CLOCKS_PER_SEC / 4) {
                ASSERT_EQ(memory[static_cast<std::size_t>(std::clock()) % taken], 'x');
              }
            }),
            0);
  EXPECT_GT(watch.peak_bytes(), taken);
  EXPECT_GT(ResourceWatch::largest_process_bytes(), taken);
  EXPECT_GT(watch.cpu_time(), 200ms);
}

TEST_F(MalformedTest, EachGivenFileGetsAResultOrAnErrorSoonAndInLittleMemory) {
  RUNRIG_NEED_SHARED_DATA(folder);
  const auto bad = files_below(folder / "malformed");
  ASSERT_GT(bad.size(), 50U);
  const auto good = all_samples();
  const auto alone = results_alone(good);
  const ResourceWatch watch;
  const auto batch = run_batch(mixed(bad, good));
  expect_good_results(batch.stats, alone);
  EXPECT_GT(batch.stats.errors.size(), 50U);
  if (!plain_build) return;
  // All of them together within what one may take, in CPU time: how busy the machine is does not matter.
  EXPECT_LT(watch.cpu_time(), 10s);
  EXPECT_LT(watch.peak_bytes(), std::uint64_t{1} << 30);
  EXPECT_LT(ResourceWatch::largest_process_bytes(), std::uint64_t{1} << 30);
  RecordProperty("peak_mib", static_cast<int>(watch.peak_bytes() >> 20));
}

TEST_F(MalformedTest, NumbersFromGivenFilesAreThoseThatH5pyReads) {
  RUNRIG_NEED_SHARED_DATA(folder);
  RUNRIG_NEED_PYTHON(python, "numpy, h5py");
  const auto bad = files_below(folder / "malformed");
  const std::string report = at("report.json");
  std::ofstream(report) << run_on({"stats", "--json"}, bad).out;
  std::vector<std::string> arguments{"--malformed", report};
  arguments.insert(arguments.end(), bad.begin(), bad.end());
  expect_agreement(python, "check_stats.py", arguments);
}

TEST_F(MalformedTest, AGivenDamagedChunkIsAnErrorThatNamesDatasetAndChunk) {
  RUNRIG_NEED_SHARED_DATA(folder);
  struct Damaged {
    std::string file, dataset, chunk, original;
  };
  const fs::path derived = folder / "malformed" / "derived";
  const std::array cases{
      Damaged{"bitflip_chunk_fletcher32_deflate_H-H1_LOSC.hdf5", "/strain/Strain", "(65536,)",
              "H-H1_LOSC_4_V2-1126259446-32.hdf5"},
      Damaged{"bitflip_chunk_fletcher32_only_h5ex_d_checksum.h5", "/DS1", "(16, 0)", "h5ex_d_checksum.h5"},
      Damaged{"bitflip_chunk_deflate_Cloud_Top_Height.nc", "/HT", "(0, 250)", ""}};  // deflate has a checksum
  for (const auto& each : cases) {
    const std::string file = derived / each.file;
    if (!fs::exists(file)) continue;
    const auto stats = parse_stats(runrig({"stats", "--json", file}));
    ASSERT_EQ(stats.errors.size(), 1U) << file;
    EXPECT_EQ(stats.errors[0].dataset, each.dataset);
    EXPECT_NE(stats.errors[0].text.find("chunk"), std::string::npos) << stats.errors[0].text;
    EXPECT_NE(stats.errors[0].text.find("at " + each.chunk), std::string::npos) << stats.errors[0].text;
    if (each.original.empty()) continue;
    auto original = parse_stats(runrig({"stats", "--json", folder / each.original})).of(folder / each.original);
    EXPECT_EQ(original.erase(each.dataset), 1U);
    EXPECT_EQ(stats.of(file), original) << "the other datasets of " << file;
  }
}

TEST_F(MalformedTest, DamagedSamplesGetAResultOrAnErrorAndTheOthersStayRight) {
  const std::vector<std::string> originals{sample("survey.h5"), sample("frames.h5"), sample("types.h5"),
                                           sample("month-1.h5"), sample("series.h5")};
  const std::vector<std::string> good{sample("month-2.h5"), sample("survey.h5")};
  const auto alone = results_alone(good);
  std::vector<Bytes> sound;
  for (const auto& each : originals) sound.push_back(bytes_of(each));
  constexpr std::size_t in_one_run = 75;
  for (std::size_t first = 0; first < damaged_copies; first += in_one_run) {
    const TemporaryDirectory copies;
    std::vector<std::string> bad;
    std::map<std::string, std::string> damage;
    for (std::size_t seed = first; seed < std::min(first + in_one_run, damaged_copies); ++seed) {
      const auto result = data::corrupt(sound[seed % sound.size()], seed);
      const auto name = std::to_string(seed) + "-" + fs::path(originals[seed % sound.size()]).filename().string();
      bad.push_back(copies / name);
      damage[bad.back()] = result.description;
      write_bytes(bad.back(), result.bytes);
    }
    const ResourceWatch watch;
    const auto batch = run_batch(mixed(bad, good));
    expect_good_results(batch.stats, alone);
    if (plain_build) {
      EXPECT_LT(watch.peak_bytes(), std::uint64_t{1} << 30);
    }
    // All that leads to these numbers has a checksum in survey.h5, the structure of the file as well.
    const Json& depth = alone.results.at({sample("survey.h5"), "/depth"});
    for (const auto& each : bad) {
      const auto found = batch.stats.results.find({each, "/depth"});
      if (found != batch.stats.results.end()) {
        EXPECT_EQ(found->second, depth) << each << ": " << damage[each];
      }
    }
    if (HasFailure()) {
      for (const auto& [file, description] : damage) std::cerr << file << ": " << description << "\n";
      return;
    }
  }
}

TEST_F(MalformedTest, AShapeFarLargerThanWhatIsStoredTakesNoTime) {
  RUNRIG_NEED_PYTHON(python, "numpy, h5py");
  const std::string file = at("wide.h5");
  const auto made = run_python(python, R"(
import sys, h5py
f = h5py.File(sys.argv[1], 'w')
d = f.create_dataset('wide', (9, 10, 2**40), 'i2', chunks=(4, 4, 64), fillvalue=1)
d[:, :, 0:200] = 2
d[3, 4, 2**39] = -5
space = h5py.h5s.create_simple((2**40, 2**40))
chunked = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
chunked.set_chunk((64, 64))
h5py.h5d.create(f.id, b'vast', h5py.h5t.NATIVE_FLOAT, space, chunked)
)",
                               {file});
  ASSERT_EQ(made.exit_code, 0) << made.err;
  const auto result = runrig({"stats", "--json", file, sample("series.h5")}, 20s);
  const auto stats = parse_stats(result);
  expect_errors_are_told(result, 1);
  ASSERT_EQ(stats.errors.size(), 1U);
  EXPECT_EQ(stats.errors[0].dataset, "/vast");  // has more elements than can be counted
  const Json& wide = stats.results.at({file, "/wide"});
  EXPECT_EQ(wide.at("count"), std::uint64_t{90} << 40);
  EXPECT_EQ(wide.at("sum"), (std::uint64_t{90} << 40) + 90 * 200 - 6);
  EXPECT_EQ(wide.at("min"), -5);
  EXPECT_TRUE(stats.has_result(sample("series.h5")));
}

/// Where a chunk lies in its file; `start` as messages have it: "(16, 0)".
struct ChunkPlace {
  std::string start;
  std::size_t offset = 0;
  std::size_t bytes = 0;
};

std::vector<ChunkPlace> chunk_places(const std::string& python, const std::string& file, const std::string& dataset) {
  const auto listed = run_python(python, R"(
import sys, h5py
dataset = h5py.File(sys.argv[1], 'r')[sys.argv[2]].id
for i in range(dataset.get_num_chunks()):
    chunk = dataset.get_chunk_info(i)
    print(*chunk.chunk_offset, chunk.byte_offset, chunk.size)
)",
                                 {file, dataset});
  std::vector<ChunkPlace> places;
  std::istringstream lines(listed.out);
  for (std::string line; std::getline(lines, line);) {
    std::istringstream fields(line);
    std::vector<std::size_t> numbers{std::istream_iterator<std::size_t>(fields), {}};
    if (numbers.size() < 3) continue;
    ChunkPlace place{"(", numbers[numbers.size() - 2], numbers.back()};
    for (std::size_t i = 0; i + 2 < numbers.size(); ++i)
      place.start += (i > 0 ? ", " : "") + std::to_string(numbers[i]);
    place.start += ")";
    places.push_back(place);
  }
  return places;
}

class FlippedBitTest : public ::testing::TestWithParam<std::pair<std::string, std::string>> {
 protected:
  // A copy with one bit of one chunk flipped, and the chunk's start.
  std::pair<std::string, std::string> flipped(std::uint64_t seed, const Bytes& sound,
                                              const std::vector<ChunkPlace>& places) const {
    std::mt19937_64 random(seed);
    const ChunkPlace& place = places[random() % places.size()];
    Bytes bytes = sound;
    bytes[place.offset + random() % place.bytes] ^= static_cast<std::byte>(1U << random() % 8);
    const std::string path = directory_ / (std::to_string(seed) + ".h5");
    write_bytes(path, bytes);
    return {path, place.start};
  }
  TemporaryDirectory directory_;
};

TEST_P(FlippedBitTest, InAChunkWithAChecksumIsAnErrorThatNamesDatasetAndChunk) {
  RUNRIG_NEED_PYTHON(python, "numpy, h5py");
  const std::string original = sample(GetParam().first);
  const std::string& dataset = GetParam().second;
  const auto places = chunk_places(python, original, dataset);
  ASSERT_GT(places.size(), 5U);
  auto others = results_alone({original}).of(original);
  ASSERT_EQ(others.erase(dataset), 1U);
  const Bytes sound = bytes_of(original);
  std::map<std::string, std::string> chunks;
  std::vector<std::string> files;
  for (std::uint64_t seed = 0; seed < flipped_copies; ++seed) {
    files.push_back(chunks.insert(flipped(seed, sound, places)).first->first);
  }
  for (const bool library : {false, true}) {
    std::vector<std::string> arguments{"stats", "--json"};
    if (library) arguments.emplace_back("--force-library");
    const auto result = run_on(arguments, files);
    const auto stats = parse_stats(result);
    expect_errors_are_told(result, files.size());
    for (const auto& each : stats.errors) {
      EXPECT_EQ(each.dataset, dataset) << each.file << ": " << each.text;
      // The library does not tell which chunk it was.
      const std::string chunk = library ? "" : "at " + chunks.at(each.file);
      EXPECT_NE(each.text.find(chunk), std::string::npos) << each.file << ": " << each.text;
    }
    for (const auto& each : files) EXPECT_EQ(stats.of(each), others) << each;
  }
  const auto map = runrig({"map", "x + 1", files.front(), "-i", "x=" + dataset, "-o", directory_ / "out.h5"});
  expect_one_line(map, 1, {files.front(), dataset, "at " + chunks.at(files.front())});
  EXPECT_FALSE(fs::exists(directory_ / "out.h5"));
}

INSTANTIATE_TEST_SUITE_P(Datasets, FlippedBitTest,
                         ::testing::Values(std::pair{"frames.h5", "/detector/frames"},
                                           std::pair{"survey.h5", "/depth"}),
                         [](const auto& each) { return each.param.first.substr(0, each.param.first.find('.')); });

}  // namespace
}  // namespace runrig::test
