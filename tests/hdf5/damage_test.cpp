#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>
#include <sstream>

#include "manifest.hpp"
#include "support.hpp"

namespace runrig::hdf5 {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

/// Three datasets of 4 chunks each, and where the bytes of chunk (0, 8) lie.
class DamageTest : public ::testing::Test {
 protected:
  void SetUp() override {
    RUNRIG_NEED_PYTHON(python, "numpy, h5py");
    const std::string program = R"(
import h5py, numpy as np, sys
rng = np.random.default_rng(1)
with h5py.File(sys.argv[1], 'w') as f:
    for name, kw in [('deflate', dict(compression=4)), ('checksum', dict(fletcher32=True)),
                     ('both', dict(compression=4, shuffle=True, fletcher32=True)), ('lzf', dict(compression='lzf'))]:
        f.create_dataset(name, data=rng.integers(0, 50, (16, 16)), chunks=(16, 8), **kw)
    f.create_dataset('plain', data=rng.normal(size=100000))
with h5py.File(sys.argv[1]) as f:
    for name in ['deflate', 'checksum', 'both', 'lzf']:
        info = f[name].id.get_chunk_info_by_coord((0, 8))
        print(name, info.byte_offset, info.size)
)";
    const auto made = test::run_python(python, program, {path_});
    ASSERT_EQ(made.exit_code, 0) << made.err;
    std::istringstream lines(made.out);
    for (Place place; lines >> place.dataset >> place.offset >> place.bytes;) places_.push_back(place);
    ASSERT_EQ(places_.size(), 4U);
  }

  void flip(std::uint64_t offset) const {
    std::fstream file(path_, std::ios::in | std::ios::out | std::ios::binary);
    file.seekg(static_cast<std::streamoff>(offset));
    const auto byte = static_cast<char>(file.get() ^ 0x10);
    file.seekp(static_cast<std::streamoff>(offset));
    file.put(byte);
    ASSERT_TRUE(file.good());
  }

  std::string error_of(const std::string& name, bool force_library = false) const {
    const auto file = File::open(path_);
    auto dataset = Dataset::open(file, name, {.force_library = force_library});
    return test::thrown_text(
        [&] { (void)test::read_in_boxes(dataset, Selection::all(dataset.info().shape), 1 << 20); });
  }

  struct Place {
    std::string dataset;
    std::uint64_t offset = 0;
    std::uint64_t bytes = 0;
  };
  const test::TemporaryDirectory folder_;
  const std::string path_ = (folder_ / "f.h5").string();
  std::vector<Place> places_;
};

TEST_F(DamageTest, AFlippedBitIsAnErrorThatNamesDatasetAndChunk) {
  for (const Place& place : places_) {
    if (place.dataset == "lzf") continue;  // has no checksum: nobody can tell
    EXPECT_EQ(error_of(place.dataset), "");
    for (const std::uint64_t at : {std::uint64_t{3}, place.bytes / 2, place.bytes - 1}) {
      flip(place.offset + at);
      EXPECT_THAT(error_of(place.dataset),
                  AllOf(HasSubstr("f.h5:" + place.dataset + " at (0, 8)'"), HasSubstr("damaged")))
          << at;
      EXPECT_NE(error_of(place.dataset, true), "");
      flip(place.offset + at);
    }
    EXPECT_EQ(error_of(place.dataset), "");
  }
}

TEST_F(DamageTest, OneDamagedChunkDoesNotSpoilTheOthers) {
  flip(places_[0].offset + 20);
  const auto file = File::open(path_);
  auto dataset = Dataset::open(file, "deflate");
  const auto all = Selection::all(dataset.info().shape);
  std::vector<std::byte> out(16 * 8 * 8);
  EXPECT_NO_THROW(dataset.read(all, {Shape{0, 0}, Shape{16, 8}}, out.data()));
  EXPECT_THROW(dataset.read(all, {Shape{0, 8}, Shape{16, 8}}, out.data()), FormatError);
  EXPECT_THROW(dataset.read(all, {Shape{0, 9}, Shape{16, 1}}, out.data()), FormatError);
  EXPECT_THROW(dataset.read(all, {Shape{0, 9}, Shape{16, 1}}, out.data()), FormatError) << "not from the cache";
  EXPECT_NO_THROW(dataset.read(all, {Shape{0, 1}, Shape{16, 3}}, out.data()));
}

TEST_F(DamageTest, AContiguousDatasetCutShortIsAnErrorBeforeAndWhileItIsRead) {
  const auto file = File::open(path_);
  auto dataset = Dataset::open(file, "plain");
  const auto all = Selection::all(dataset.info().shape);
  std::vector<std::byte> out(800'000);
  dataset.read(all, Box::all(all.shape), out.data());
  std::filesystem::resize_file(path_, *dataset.info().file_offset + 1000);
  EXPECT_THAT(test::thrown_text([&] { dataset.read(all, Box::all(all.shape), out.data()); }),
              HasSubstr("the file was truncated while it was read"));
}

TEST(RealDamageTest, TheGivenDamagedFilesAreErrors) {
  RUNRIG_NEED_SHARED_DATA(data);
  const auto derived = data / "malformed" / "derived";
  const auto error_of = [&](const std::string& name, const std::string& path) {
    return test::thrown_text([&] {
      const auto file = File::open((derived / name).string());
      auto dataset = Dataset::open(file, path);
      (void)test::read_in_boxes(dataset, Selection::all(dataset.info().shape), 1 << 20);
    });
  };
  EXPECT_THAT(error_of("bitflip_chunk_fletcher32_deflate_H-H1_LOSC.hdf5", "/strain/Strain"),
              AllOf(HasSubstr("/strain/Strain at ("), HasSubstr("damaged")));
  EXPECT_THAT(error_of("bitflip_chunk_fletcher32_only_h5ex_d_checksum.h5", "/DS1"),
              AllOf(HasSubstr("/DS1 at ("), HasSubstr("checksum")));
  EXPECT_THAT(error_of("trunc_last_byte_H-H1_LOSC.hdf5", "/strain/Strain"), HasSubstr("truncated"));
  EXPECT_THAT(error_of("trunc_contiguous_tooth.h5", "/exchange/data"), HasSubstr("truncated"));
}

}  // namespace
}  // namespace runrig::hdf5
