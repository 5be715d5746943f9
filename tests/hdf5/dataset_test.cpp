#include "runrig/hdf5/dataset.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <hdf5.h>
#include <zlib.h>

#include <array>
#include <cstring>
#include <filesystem>
#include <numeric>
#include <optional>
#include <random>

#include "manifest.hpp"
#include "support.hpp"

namespace runrig::hdf5 {
namespace {

TEST(DatasetTest, EveryTypeLayoutAndFilterAgreesWithNumPy) {
  RUNRIG_NEED_PYTHON(python, "numpy, h5py");
  const test::TemporaryDirectory folder;
  test::run_program(python, "make_types.py", {folder.path().string()});
  test::check_manifest(folder.path(), folder / "manifest");
}

TEST(DatasetTest, EveryShapeChunkingAndStorageAgreesWithNumPy) {
  RUNRIG_NEED_PYTHON(python, "numpy, h5py");
  const test::TemporaryDirectory folder;
  test::run_program(python, "make_shapes.py", {folder.path().string()});
  test::check_manifest(folder.path(), folder / "manifest");
}

TEST(DatasetTest, RealFilesAgreeWithNumPy) {
  RUNRIG_NEED_PYTHON(python, "numpy, h5py");
  RUNRIG_NEED_SHARED_DATA(data);
  const test::TemporaryDirectory folder;
  test::run_program(python, "read_files.py", {data.string(), (folder / "manifest").string()});
  test::check_manifest(data, folder / "manifest");
}

/// A dataset made with the C library, for what h5py cannot make.
class MadeHere : public ::testing::Test {
 protected:
  std::string path(std::string_view name = "made.h5") const { return (folder_ / name).string(); }

  /// A 10 x 10 dataset /d of int32, 0 to 99; `set` changes its creation properties.
  template <class Set>
  void make(Set&& set, hid_t access = H5P_DEFAULT) {
    const hid_t file = H5Fcreate(path().c_str(), H5F_ACC_TRUNC, H5P_DEFAULT, access);
    const hid_t properties = H5Pcreate(H5P_DATASET_CREATE);
    set(properties);
    const std::array<hsize_t, 2> shape{10, 10};
    const hid_t space = H5Screate_simple(2, shape.data(), nullptr);
    const hid_t dataset = H5Dcreate2(file, "d", H5T_STD_I32LE, space, H5P_DEFAULT, properties, H5P_DEFAULT);
    std::array<int, 100> values;
    std::iota(values.begin(), values.end(), 0);
    ASSERT_GE(H5Dwrite(dataset, H5T_NATIVE_INT, H5S_ALL, H5S_ALL, H5P_DEFAULT, values.data()), 0);
    H5Dclose(dataset);
    H5Sclose(space);
    H5Pclose(properties);
    ASSERT_GE(H5Fclose(file), 0);
  }

  static std::vector<int> read_all(Dataset& dataset) {
    const auto selection = Selection::all(dataset.info().shape);
    std::vector<int> values(selection.shape.elements());
    dataset.read(selection, Box::all(selection.shape), reinterpret_cast<std::byte*>(values.data()));
    return values;
  }

  const test::TemporaryDirectory folder_;
};

TEST_F(MadeHere, ContiguousElementsAreThereInPlace) {
  make([](hid_t) {});
  const File file = File::open(path());
  Dataset dataset = Dataset::open(file, "d");
  const auto all = Selection::all(Shape{10, 10});
  const auto at = [&](const Box& box) { return reinterpret_cast<const int*>(dataset.in_place(all, box).get()); };
  const int* whole = at(Box::all(Shape{10, 10}));
  ASSERT_NE(whole, nullptr);
  for (int i = 0; i < 100; ++i) EXPECT_EQ(whole[i], i);
  EXPECT_EQ(at({Shape{3, 0}, Shape{4, 10}}), whole + 30);
  EXPECT_EQ(at({Shape{3, 2}, Shape{1, 5}}), whole + 32);
  EXPECT_EQ(at({Shape{3, 2}, Shape{2, 5}}), nullptr);  // not one behind the other
  const auto stepped = resolve(parse_selection("[::2]"), Shape{10, 10}, "d");
  EXPECT_EQ(dataset.in_place(stepped, Box::all(stepped.shape)), nullptr);
  ReadOptions options;
  options.force_library = true;
  EXPECT_EQ(Dataset::open(file, "d", options).in_place(all, Box::all(all.shape)), nullptr);
}

TEST_F(MadeHere, ElementsInPlaceOutliveTheirDatasetAndFile) {
  make([](hid_t) {});
  const auto all = Selection::all(Shape{10, 10});
  std::optional<File> file = File::open(path());
  std::optional<Dataset> dataset = Dataset::open(*file, "d");
  const auto elements = dataset->in_place(all, Box::all(all.shape));
  dataset.reset();
  file.reset();
  ASSERT_NE(elements, nullptr);
  for (int i = 0; i < 100; ++i) EXPECT_EQ(reinterpret_cast<const int*>(elements.get())[i], i);
}

TEST_F(MadeHere, WhatIsChunkedOrCutOffIsNotInPlace) {
  make([](hid_t properties) {
    const std::array<hsize_t, 2> chunk{10, 10};
    H5Pset_chunk(properties, 2, chunk.data());
  });
  const auto all = Selection::all(Shape{10, 10});
  {
    const File file = File::open(path());
    EXPECT_EQ(Dataset::open(file, "d").in_place(all, Box::all(all.shape)), nullptr);
  }
  make([](hid_t properties) { H5Pset_alloc_time(properties, H5D_ALLOC_TIME_EARLY); });
  const File file = File::open(path());
  Dataset dataset = Dataset::open(file, "d");
  ASSERT_NE(dataset.in_place(all, Box::all(all.shape)), nullptr);
  std::filesystem::resize_file(path(), 0);
  EXPECT_EQ(dataset.in_place(all, Box::all(all.shape)), nullptr);  // and no signal
  EXPECT_THROW((void)read_all(dataset), FormatError);
}

TEST_F(MadeHere, ChunksThatStickOutAndHaveNoFiltersAreReadRight) {
  const hid_t access = H5Pcreate(H5P_FILE_ACCESS);
  H5Pset_libver_bounds(access, H5F_LIBVER_LATEST, H5F_LIBVER_LATEST);
  make(
      [](hid_t properties) {
        const std::array<hsize_t, 2> chunk{4, 4};
        H5Pset_chunk(properties, 2, chunk.data());
        H5Pset_deflate(properties, 3);
        ASSERT_GE(H5Pset_chunk_opts(properties, H5D_CHUNK_DONT_FILTER_PARTIAL_CHUNKS), 0);
      },
      access);
  H5Pclose(access);
  const auto file = File::open(path());
  auto dataset = Dataset::open(file, "/d");
  EXPECT_TRUE(dataset.info().partial_chunks_unfiltered);
  const std::vector<int> values = read_all(dataset);
  for (int i = 0; i < 100; ++i) EXPECT_EQ(values[static_cast<std::size_t>(i)], i);
}

TEST_F(MadeHere, RandomBoxesGoWhereTheirStridesSay) {
  make([](hid_t properties) {
    const std::array<hsize_t, 2> chunk{3, 4};
    H5Pset_chunk(properties, 2, chunk.data());
    H5Pset_shuffle(properties);
    H5Pset_deflate(properties, 1);
  });
  const auto file = File::open(path());
  auto dataset = Dataset::open(file, "d", {.cache_bytes = 200});
  const auto selection = resolve(parse_selection("[::-1, 1:9:2]"), dataset.info().shape, "d");
  ASSERT_EQ(selection.shape, (Shape{10, 4}));
  std::mt19937 random(5);
  for (int round = 0; round < 300; ++round) {
    Box box = Box::all(selection.shape);
    for (std::size_t axis = 0; axis < 2; ++axis) {
      box.start[axis] = random() % (selection.shape[axis] + 1);
      box.count[axis] = random() % (selection.shape[axis] - box.start[axis] + 1);
    }
    // Transposed, with gaps, and one byte off any alignment.
    std::vector<std::byte> out(4 * 10 * 12 + 1, std::byte{0});
    dataset.read(selection, box, out.data() + 1, std::array<std::ptrdiff_t, 2>{12, 120});
    for (std::uint64_t i = 0; i < box.count[0]; ++i) {
      for (std::uint64_t j = 0; j < box.count[1]; ++j) {
        int value = -1;
        std::memcpy(&value, out.data() + 1 + 12 * i + 120 * j, sizeof(value));
        const std::uint64_t row = 9 - (box.start[0] + i);
        const std::uint64_t column = 1 + 2 * (box.start[1] + j);
        ASSERT_EQ(value, static_cast<int>(10 * row + column));
      }
    }
  }
}

TEST_F(MadeHere, BoxesThatDoNotFitAreTheCallersMistake) {
  make([](hid_t) {});
  const auto file = File::open(path());
  auto dataset = Dataset::open(file, "d");
  const auto all = Selection::all(dataset.info().shape);
  std::array<std::byte, 4> out;
  EXPECT_THROW(dataset.read(all, {Shape{0, 9}, Shape{1, 2}}, out.data()), std::logic_error);
  EXPECT_THROW(dataset.read(all, {Shape{UINT64_MAX, 0}, Shape{1, 1}}, out.data()), std::logic_error);
  EXPECT_THROW(dataset.read(all, {Shape{0}, Shape{1}}, out.data()), std::logic_error);
  EXPECT_THROW(dataset.read(Selection::all(Shape{11, 10}), {Shape{0, 0}, Shape{1, 1}}, out.data()), std::logic_error);
}

TEST_F(MadeHere, AHugeShapeCostsNothingUntilItIsRead) {
  for (const bool chunked : {false, true}) {
    const hid_t file_id = H5Fcreate(path().c_str(), H5F_ACC_TRUNC, H5P_DEFAULT, H5P_DEFAULT);
    const hid_t properties = H5Pcreate(H5P_DATASET_CREATE);
    const hsize_t chunk = 1000;
    if (chunked) H5Pset_chunk(properties, 1, &chunk);
    const double fill = 2.5;
    H5Pset_fill_value(properties, H5T_NATIVE_DOUBLE, &fill);
    const hsize_t shape = hsize_t{1} << 40;
    const hid_t space = H5Screate_simple(1, &shape, nullptr);
    const hid_t id = H5Dcreate2(file_id, "d", H5T_IEEE_F64BE, space, H5P_DEFAULT, properties, H5P_DEFAULT);
    ASSERT_GE(id, 0);
    H5Dclose(id);
    H5Sclose(space);
    H5Pclose(properties);
    H5Fclose(file_id);

    const auto file = File::open(path());
    auto dataset = Dataset::open(file, "d");
    EXPECT_TRUE(dataset.all_fill());
    const auto all = Selection::all(dataset.info().shape);
    const BoxPlan plan(dataset.info(), all, std::uint64_t{64} << 20);
    EXPECT_GT(plan.size(), std::uint64_t{100'000});
    EXPECT_LT(plan.size(), std::uint64_t{140'000});
    std::vector<double> values(1'000'000, 0.0);
    dataset.read(all, {Shape{shape - values.size()}, Shape{values.size()}},
                 reinterpret_cast<std::byte*>(values.data()));
    EXPECT_EQ(std::accumulate(values.begin(), values.end(), 0.0), 2.5e6);
  }
}

TEST_F(MadeHere, WhatIsNotADatasetOfNumbersIsRefusedInWords) {
  make([](hid_t) {});
  const hid_t id = H5Fopen(path().c_str(), H5F_ACC_RDWR, H5P_DEFAULT);
  H5Gclose(H5Gcreate2(id, "group", H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT));
  const hid_t text = H5Tcopy(H5T_C_S1);
  const hid_t scalar = H5Screate(H5S_SCALAR);
  H5Dclose(H5Dcreate2(id, "text", text, scalar, H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT));
  H5Sclose(scalar);
  H5Tclose(text);
  H5Fclose(id);
  const auto file = File::open(path());
  EXPECT_THAT(test::thrown_text([&] { (void)Dataset::open(file, "/nothing"); }),
              ::testing::HasSubstr("made.h5:/nothing': there is none of that name"));
  EXPECT_THAT(test::thrown_text([&] { (void)Dataset::open(file, "/group"); }), ::testing::HasSubstr("it is a group"));
  auto dataset = Dataset::open(file, "/text");
  EXPECT_EQ(dataset.info().type.numpy, "|S1");
  EXPECT_THAT(test::thrown_text([&] { dataset.check_readable(); }), ::testing::HasSubstr("of type string"));
}

TEST_F(MadeHere, AFilterThatIsNotHereIsNamed) {
  const hid_t id = H5Fcreate(path().c_str(), H5F_ACC_TRUNC, H5P_DEFAULT, H5P_DEFAULT);
  const hid_t properties = H5Pcreate(H5P_DATASET_CREATE);
  const hsize_t extent = 10;
  H5Pset_chunk(properties, 1, &extent);
  H5Pset_filter(properties, 32017, H5Z_FLAG_OPTIONAL, 0, nullptr);  // sz: optional, so it can be left out in writing
  const hid_t space = H5Screate_simple(1, &extent, nullptr);
  H5Dclose(H5Dcreate2(id, "x", H5T_NATIVE_INT, space, H5P_DEFAULT, properties, H5P_DEFAULT));
  H5Sclose(space);
  H5Pclose(properties);
  H5Fclose(id);
  const auto file = File::open(path());
  auto dataset = Dataset::open(file, "/x");
  const std::string text = test::thrown_text([&] { dataset.check_readable(); });
  EXPECT_THAT(text, ::testing::HasSubstr("filter sz (number 32017)"));
  EXPECT_THAT(text, ::testing::HasSubstr("HDF5_PLUGIN_PATH"));
}

// Files of other programs, with what their plugins read from them.
TEST(DatasetTest, ReadsBloscAndZstdOfOtherPrograms) {
  RUNRIG_NEED_SHARED_DATA(data);
  struct Case {
    const char* file;
    const char* path;
    uLong checksum;
  };
  for (const Case& each :
       {Case{"blosc_100x100x100.h5", "/dset", 3706648466}, Case{"h5ex_d_zstd.h5", "/DS1", 80798773}}) {
    const auto file = File::open((data / each.file).string());
    for (const bool library : {false, true}) {
      auto dataset = Dataset::open(file, each.path, {.force_library = library});
      const Shape& shape = dataset.info().shape;
      std::vector<std::byte> values(shape.elements() * item_bytes(dataset.info().type.dtype));
      dataset.read(Selection::all(shape), Box::all(shape), values.data());
      EXPECT_EQ(::crc32(0, reinterpret_cast<const Bytef*>(values.data()), static_cast<uInt>(values.size())),
                each.checksum)
          << each.file << (library ? " through the library" : "");
    }
  }
}

TEST(DatasetTest, AnAbsentVirtualSourceIsAnErrorUnlessFillValuesAreAskedFor) {
  RUNRIG_NEED_PYTHON(python, "numpy, h5py");
  const test::TemporaryDirectory folder;
  test::run_program(python, "make_shapes.py", {folder.path().string()});
  const auto file = File::open((folder / "other.h5").string());
  auto strict = Dataset::open(file, "/absent");
  EXPECT_THAT(test::thrown_text([&] { strict.check_readable(); }), ::testing::HasSubstr("absent.h5:b is absent"));
  auto filled = Dataset::open(file, "/absent", {.fill_absent_sources = true});
  const auto selection = resolve(parse_selection("[:, 3]"), filled.info().shape, "absent");
  std::array<int, 2> values{};
  filled.read(selection, Box::all(selection.shape), reinterpret_cast<std::byte*>(values.data()));
  EXPECT_EQ(values, (std::array{3, -1}));
}

}  // namespace
}  // namespace runrig::hdf5
