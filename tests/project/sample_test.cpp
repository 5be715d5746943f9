#include <gtest/gtest.h>

#include <array>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>

#include "source_directory.hpp"
#include "support.hpp"

// The committed files of data/ are what the committed generator makes.

namespace runrig {
namespace {

constexpr std::array files = {"month-1.h5", "month-2.h5", "month-3.h5", "series.h5",
                              "frames.h5",  "survey.h5",  "types.h5"};

std::string bytes_of(const std::filesystem::path& path) {
  std::ifstream stream(path, std::ios::binary);
  EXPECT_TRUE(stream) << path;
  return {std::istreambuf_iterator<char>(stream), std::istreambuf_iterator<char>()};
}

void generate(const std::filesystem::path& directory, const std::string& seed = {}) {
  std::vector<std::string> command = {RUNRIG_GENERATE_DATA, directory.string()};
  if (!seed.empty()) command.insert(command.end(), {"--seed", seed});
  const auto ran = test::run_command(command);
  ASSERT_EQ(ran.exit_code, 0) << ran.err;
}

TEST(SampleTest, TheGeneratorMakesTheCommittedFiles) {
  const test::TemporaryDirectory directory;
  generate(directory.path());
  for (const char* const name : files) {
    const std::filesystem::path committed = test::data_directory() / name;
    if (bytes_of(directory / name) == bytes_of(committed)) continue;
    // Another HDF5 or zlib may lay the same values out differently; h5diff looks at values, types and attributes.
    const auto diff = test::run_command({"h5diff", "-v", committed.string(), (directory / name).string()});
    EXPECT_EQ(diff.exit_code, 0) << name << '\n' << diff.out << diff.err;
    EXPECT_STRNE(RUNRIG_HDF5_VERSION, "1.10.8") << name << " has the same values in other bytes";
  }
}

TEST(SampleTest, TheSameSeedMakesTheSameBytesAndAnotherSeedOthers) {
  const test::TemporaryDirectory first, second, third;
  generate(first.path(), "7");
  generate(second.path(), "7");
  generate(third.path(), "8");
  for (const char* const name : files) {
    EXPECT_EQ(bytes_of(first / name), bytes_of(second / name)) << name;
    const bool has_random_numbers = std::string_view(name) != "types.h5";
    EXPECT_EQ(bytes_of(first / name) != bytes_of(third / name), has_random_numbers) << name;
  }
}

TEST(SampleTest, ItStaysUnderFourMegabytes) {
  std::uintmax_t total = 0;
  for (const auto& entry : std::filesystem::directory_iterator(test::data_directory())) {
    if (entry.path().extension() == ".h5") total += entry.file_size();
  }
  EXPECT_GT(total, 0U);
  EXPECT_LT(total, 4'000'000U);
}

/// What other tests rely on the sample for, read by h5py.
TEST(SampleTest, ItHasTheHardCases) {
  RUNRIG_NEED_PYTHON(python, "h5py, numpy");
  const auto ran = test::run_python(python, R"(
import h5py, numpy as np, sys
at = lambda name: h5py.File(sys.argv[1] + '/' + name, 'r')
u = at('month-1.h5')['/wind/u']
assert (u.dtype, u.shape, u.chunks) == (np.dtype('<f4'), (62, 37, 72), (16, 16, 32)), u
assert u.compression == 'gzip' and u.shuffle and u.dims[1].keys() == ['lat'] and u.attrs['units'] == b'm s-1'
assert at('month-1.h5')['/temperature'].attrs['scale_factor'] == 0.01
pressure = at('series.h5')['/station/pressure']
assert pressure.dtype == np.dtype('<f8') and pressure.chunks is None and pressure.ndim == 1
assert at('series.h5')['/station/calibration'].id.get_create_plist().get_layout() == h5py.h5d.COMPACT
frames = at('frames.h5')['/detector/frames']
assert frames.dtype == np.dtype('>u2') and frames.fletcher32 and frames[()].max() == 65535
assert at('frames.h5')['/detector/usable'].dtype == bool
survey = at('survey.h5')
depth = survey['/depth']
assert 0 < depth.id.get_num_chunks() < 25 and np.isnan(depth[()]).any() and depth.fillvalue == -1
assert survey['/planned'].id.get_storage_size() == 0 and survey['/planned'][5, 5] == 7
assert survey['/ship/waypoints'].size == 0 and survey['/ship/draught'].shape == ()
types = at('types.h5')
assert types.userblock_size == 512
assert any(d.id.get_offset() % d.dtype.itemsize for g in types.values() for d in g.values())
for name in types['little']:
    little, big = types['little'][name][()], types['big'][name][()]
    assert little.dtype.str[1:] == name and big.dtype.newbyteorder('<') == little.dtype.newbyteorder('<'), name
    assert np.array_equal(little, big) and len(little) == 11, name
assert types['little/f2'][4] == 2.0 ** -24 and types['big/i8'][0] == -2 ** 63 and types['big/u8'][10] == 2 ** 64 - 1
)",
                                    {test::data_directory().string()});
  EXPECT_EQ(ran.exit_code, 0) << ran.err;
}

}  // namespace
}  // namespace runrig
