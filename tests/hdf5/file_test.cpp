#include "runrig/hdf5/file.hpp"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <fstream>
#include <map>

#include "manifest.hpp"
#include "runrig/sync/unique_fd.hpp"
#include "support.hpp"

namespace runrig::hdf5 {
namespace {

using ::testing::HasSubstr;

TEST(FileTest, WhatCannotBeOpenedIsExplainedInOneLine) {
  const test::TemporaryDirectory folder;
  const auto path = [&](std::string_view name) { return (folder / name).string(); };
  const auto code = [&](std::string_view name) { return test::thrown_code([&] { (void)File::open(path(name)); }); };
  const auto text = [&](std::string_view name) { return test::thrown_text([&] { (void)File::open(path(name)); }); };
  EXPECT_EQ(code("absent.h5"), std::errc::no_such_file_or_directory);
  EXPECT_EQ(code(""), std::errc::is_a_directory);
  ASSERT_EQ(::mkfifo(path("fifo").c_str(), 0600), 0);
  EXPECT_THAT(text("fifo"), HasSubstr("not a regular file"));
  std::ofstream(path("text")) << "no HDF5 here\n";
  EXPECT_THAT(text("text"), HasSubstr("not an HDF5 file"));
  std::ofstream(path("empty"));
  EXPECT_THAT(text("empty"), HasSubstr("not an HDF5 file"));
  EXPECT_THAT(text("fifo"), ::testing::Not(HasSubstr("\n")));
}

TEST(FileTest, TruncatedAndLockedFilesSaySo) {
  RUNRIG_NEED_PYTHON(python, "numpy, h5py");
  const test::TemporaryDirectory folder;
  const std::string path = (folder / "f.h5").string();
  const std::string program =
      "import h5py, sys\n"
      "with h5py.File(sys.argv[1], 'w') as f: f['d'] = range(1000)\n";
  ASSERT_EQ(test::run_python(python, program, {path}).exit_code, 0);
  std::filesystem::resize_file(path, std::filesystem::file_size(path) - 1);
  EXPECT_THAT(test::thrown_text([&] { (void)File::open(path); }), HasSubstr("the file is truncated"));

  // A writer that holds the library's lock: taken here as the library takes it.
  const std::string locked = (folder / "locked.h5").string();
  ASSERT_EQ(test::run_python(python, program, {locked}).exit_code, 0);
  test::Child writer([&] {
    const UniqueFd fd(::open(locked.c_str(), O_RDONLY | O_CLOEXEC));
    if (::flock(fd.get(), LOCK_EX) == 0) ::pause();
  });
  EXPECT_TRUE(test::eventually(
      [&] { return test::thrown_code([&] { (void)File::open(locked); }) == std::errc::device_or_resource_busy; }));
  EXPECT_THAT(test::thrown_text([&] { (void)File::open(locked); }), HasSubstr("HDF5_USE_FILE_LOCKING=FALSE"));
}

TEST(FileTest, AWalkTellsOfEveryObjectOnceAndOfItsStorage) {
  RUNRIG_NEED_PYTHON(python, "numpy, h5py");
  const test::TemporaryDirectory folder;
  const std::string path = (folder / "f.h5").string();
  const std::string program = R"(
import h5py, numpy as np, sys
with h5py.File(sys.argv[1], 'w') as f:
    g = f.create_group('g')
    d = g.create_dataset('d', (10, 4), '>f4', chunks=(5, 4), maxshape=(None, 4), shuffle=True, compression=4,
                         fletcher32=True, fillvalue=-1)
    d[:5] = 1
    d.attrs['units'] = 'K'
    d.attrs['fixed'] = np.bytes_(b'caf\xc3\xa9 "x"\n')
    d.attrs['numbers'] = np.array([[0.1, np.nan], [np.inf, 1e300]], 'f8')
    d.attrs['small'] = np.float32(0.1)
    d.attrs['flag'] = True
    d.attrs['texts'] = ['a', 'b']
    d.attrs['nothing'] = h5py.Empty('f4')
    d.attrs['where'] = d.ref
    d.attrs['long'] = np.arange(5000)
    f['again'] = d
    f['loop'] = f
    g['up'] = h5py.SoftLink('/g')
    g['out'] = h5py.ExternalLink('x.h5', '/y')
    g['type'] = np.dtype('i8')
    f['text'] = 'abc'
    f.create_dataset('empty', data=h5py.Empty('i4'))
    f['lzf'] = 0
    f.create_dataset('many', data=np.zeros((3, 3), [('a', 'i4'), ('b', 'f8')]), compression='lzf', chunks=(3, 3))
)";
  const auto made = test::run_python(python, program, {path});
  ASSERT_EQ(made.exit_code, 0) << made.err;
  const auto file = File::open(path);
  std::map<std::string, ObjectInfo> objects;
  file.walk([&](const ObjectInfo& info) {
    EXPECT_TRUE(objects.emplace(info.path, info).second) << info.path;
    EXPECT_EQ(info.error, "");
  });
  EXPECT_EQ(objects.at("/").kind, ObjectKind::group);
  EXPECT_EQ(objects.at("/loop").kind, ObjectKind::hard_link);
  EXPECT_EQ(objects.at("/loop").target, "/");
  EXPECT_EQ(objects.at("/again").kind, ObjectKind::dataset);  // by name it comes first
  EXPECT_EQ(objects.at("/g/d").target, "/again");
  EXPECT_EQ(objects.at("/g/up").target, "/g");
  EXPECT_EQ(objects.at("/g/out").target, "x.h5:/y");
  EXPECT_EQ(objects.at("/g/type").kind, ObjectKind::named_type);
  EXPECT_EQ(objects.at("/text").dataset->type.description, "string");
  EXPECT_EQ(objects.at("/text").dataset->type.numpy, "|O");
  EXPECT_TRUE(objects.at("/empty").dataset->null_space);
  EXPECT_EQ(objects.at("/many").dataset->type.description, "compound");
  EXPECT_EQ(objects.at("/many").dataset->filters.at(0).name, "lzf");

  const DatasetInfo& info = *objects.at("/again").dataset;
  EXPECT_EQ(info.type.numpy, ">f4");
  EXPECT_EQ(info.type.description, "big-endian float32");
  EXPECT_EQ(info.shape, (Shape{10, 4}));
  EXPECT_EQ(info.maxshape, (Shape{unlimited, 4}));
  EXPECT_EQ(info.chunk, (Shape{5, 4}));
  EXPECT_EQ(info.size_bytes, 160U);
  EXPECT_GT(info.stored_bytes, 0U);
  EXPECT_LT(info.stored_bytes, 160U);
  EXPECT_TRUE(info.fill_defined);
  ASSERT_EQ(info.filters.size(), 3U);
  EXPECT_EQ(info.filters[0].name + info.filters[1].name + info.filters[2].name, "shuffledeflate-4fletcher32");

  std::map<std::string, std::string> values;
  for (const AttributeInfo& attribute : objects.at("/again").attributes) {
    EXPECT_EQ(attribute.error, "") << attribute.name;
    values[attribute.name] = attribute.value;
  }
  EXPECT_EQ(values.at("units"), "\"K\"");
  EXPECT_EQ(values.at("fixed"), "\"caf\xc3\xa9 \\\"x\\\"\\n\"");
  EXPECT_EQ(values.at("numbers"), "[[0.1, null], [\"inf\", 1e+300]]");
  EXPECT_EQ(values.at("small"), "0.1");
  EXPECT_EQ(values.at("flag"), "true");
  EXPECT_EQ(values.at("texts"), "[\"a\", \"b\"]");
  EXPECT_EQ(values.at("nothing"), "null");
  EXPECT_EQ(values.at("where"), "\"<reference>\"");
  EXPECT_THAT(values.at("long"), ::testing::EndsWith(", \"...\"]"));
  EXPECT_LT(values.at("long").size(), 1100U);

  EXPECT_THAT(test::thrown_text([&] { file.walk([](const ObjectInfo&) {}, {.max_objects = 3}); }),
              HasSubstr("more than 3 objects"));
}

TEST(FileTest, TheFileNamesOfTheUserAreKeptOnOneLine) {
  EXPECT_THAT(test::thrown_text([] { (void)File::open(std::string("a\0b", 3)); }), HasSubstr("a\\x00b"));
}

}  // namespace
}  // namespace runrig::hdf5
