#include "runrig/hdf5/output.hpp"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <cstring>
#include <fstream>
#include <map>
#include <numeric>

#include "manifest.hpp"
#include "runrig/hdf5/codec.hpp"
#include "runrig/shm/complex.hpp"
#include "runrig/sync/unique_fd.hpp"
#include "support.hpp"

namespace runrig::hdf5 {
namespace {

using ::testing::HasSubstr;

class OutputTest : public ::testing::Test {
 protected:
  std::string path(std::string_view name = "out.h5") const { return (folder_ / name).string(); }

  /// 7 x 11 elements 0 to 76; booleans where the number is 1 modulo 3, complex ones with -2 times the number as
  /// imaginary part.
  static std::vector<std::byte> counted(DType dtype) {
    std::vector<std::byte> values(77 * item_bytes(dtype));
    visit_any_dtype(dtype, [&]<class T>(std::type_identity<T>) {
      for (std::size_t i = 0; i < 77; ++i) {
        T value{};
        if constexpr (std::is_same_v<T, bool>) {
          value = i % 3 == 1;
        } else if constexpr (std::is_same_v<T, half>) {
          value = half(static_cast<float>(i));
        } else if constexpr (is_complex(dtype_of<T>)) {
          value = {static_cast<float>(i), -2 * static_cast<float>(i)};
        } else {
          value = static_cast<T>(i);
        }
        std::memcpy(&values[i * sizeof(T)], &value, sizeof(T));
      }
    });
    return values;
  }

  /// Writes counted() chunk by chunk, encoded here.
  static void write_chunks(OutputFile& out, const std::string& name, const OutputSpec& spec) {
    const std::size_t item = item_bytes(spec.dtype);
    ChunkEncoder encoder(spec.filters, item, swapped_bytes(spec));
    const std::vector<std::byte> values = counted(spec.dtype);
    const std::vector<std::byte> fill(item);
    std::vector<std::byte> chunk(spec.chunk.elements() * item);
    for (std::uint64_t i = 0; i < spec.shape[0]; i += spec.chunk[0]) {
      for (std::uint64_t j = 0; j < spec.shape[1]; j += spec.chunk[1]) {
        extract_chunk(values, Box::all(spec.shape), Shape{i, j}, spec.chunk, fill, chunk);
        const auto encoded = encoder.encode(chunk);
        out.write_chunk(name, Shape{i, j}, encoded.filter_mask, encoded.bytes);
      }
    }
  }

  void check_with_h5py(const std::string& kind, const std::string& source = "-") const {
    RUNRIG_NEED_PYTHON(python, "numpy, h5py");
    test::run_program(python, "check_output.py", {kind, path(), source});
  }

  const test::TemporaryDirectory folder_;
};

TEST_F(OutputTest, AFileMadeInMemoryIsThatMadeOnTheDisk) {
  OutputSpec chunked;
  chunked.dtype = DType::int32;
  chunked.shape = Shape{7, 11};
  chunked.maxshape = Shape{unlimited, 11};
  chunked.chunk = Shape{3, 4};
  chunked.filters = parse_filters("shuffle,deflate:4");
  OutputSpec contiguous;
  contiguous.dtype = DType::float64;
  contiguous.shape = Shape{7, 11};
  const auto make = [&](const std::string& name, OutputFile::Place place) {
    OutputFile out = OutputFile::create(path(name), place);
    out.create_dataset("/a/b/chunked", chunked);
    EXPECT_TRUE(out.create_dataset("/filled", contiguous));
    EXPECT_TRUE(out.create_dataset("/never_filled", contiguous));
    out.set_attribute("/a/b/chunked", "units", "kelvin");
    out.set_attribute("/", "title", std::string(5000, 't'));
    write_chunks(out, "/a/b/chunked", chunked);
    out.write("/filled", Box::all(contiguous.shape), counted(DType::float64));
    out.close();
    std::ifstream file(path(name), std::ios::binary);
    std::string bytes{std::istreambuf_iterator<char>(file), {}};
    std::filesystem::remove(path(name));
    return bytes;
  };
  std::string disk;
  std::string memory;
  // Datasets have the second of their making in them.
  for (int i = 0; i < 10 && (disk.empty() || disk != memory); ++i) {
    disk = make("disk.h5", OutputFile::Place::disk);
    memory = make("memory.h5", OutputFile::Place::memory);
  }
  EXPECT_GT(disk.size(), 5000U + 2 * 77 * 8);
  EXPECT_EQ(disk.size(), memory.size());
  EXPECT_TRUE(disk == memory);
}

TEST_F(OutputTest, EveryTypeOrderAndPipelineIsReadBackByH5py) {
  auto out = OutputFile::create(path());
  const std::vector<std::string> pipelines{"none",
                                           "deflate:4",
                                           "shuffle,deflate:1",
                                           "fletcher32",
                                           "shuffle,deflate:6,fletcher32",
                                           "fletcher32,shuffle,deflate:9",
                                           "deflate:0"};
  for (std::size_t d = 0; d < dtype_count; ++d) {
    for (const bool big_endian : {false, true}) {
      const auto dtype = static_cast<DType>(d);
      OutputSpec spec{.dtype = dtype, .big_endian = big_endian, .shape = {7, 11}, .chunk = {3, 4}};
      spec.filters = parse_filters(pipelines[d % pipelines.size()]);
      const std::string name = std::string(dtype_name(dtype)) + (big_endian ? "_be" : "");
      EXPECT_FALSE(out.create_dataset(name, spec));
      write_chunks(out, name, spec);
    }
  }
  out.close();
  check_with_h5py("types");
}

TEST_F(OutputTest, LzfAndTheLibrarysOwnFiltersAreReadBack) {
  auto out = OutputFile::create(path());
  OutputSpec spec{.dtype = DType::int32, .shape = {7, 11}, .chunk = {4, 8}};
  spec.filters = {shuffle_filter(), lzf_filter()};
  (void)out.create_dataset("lzf", spec);
  write_chunks(out, "lzf", spec);
  spec.filters = {{6, 1, {2, 0}, "scaleoffset", true, true}};
  spec.library_filters = true;
  (void)out.create_dataset("scaleoffset", spec);
  out.write("scaleoffset", Box::all(spec.shape), counted(spec.dtype));
  out.close();
  check_with_h5py("types");
  const auto file = File::open(path());
  for (const char* name : {"lzf", "scaleoffset"}) {
    for (const bool force : {false, true}) {
      auto dataset = Dataset::open(file, name, {.force_library = force});
      EXPECT_EQ(test::read_in_boxes(dataset, Selection::all(spec.shape), 1 << 20), counted(spec.dtype)) << name;
    }
  }
}

TEST_F(OutputTest, H5dumpShowsShapeChunksAndFilters) {
  if (test::run_command({"h5dump", "--version"}).exit_code != 0) GTEST_SKIP() << "no h5dump found";
  auto out = OutputFile::create(path());
  OutputSpec spec{.dtype = DType::float32, .shape = {7, 11}, .maxshape = {unlimited, 11}, .chunk = {3, 4}};
  spec.filters = parse_filters("shuffle,deflate:5,fletcher32");
  (void)out.create_dataset("/d", spec);
  write_chunks(out, "/d", spec);
  out.close();
  const auto dump = test::run_command({"h5dump", "-p", path()});
  EXPECT_EQ(dump.exit_code, 0) << dump.err;
  for (const char* text : {"H5S_UNLIMITED, 11", "CHUNKED ( 3, 4 )", "SHUFFLE", "DEFLATE { LEVEL 5 }", "FLETCHER32"}) {
    EXPECT_THAT(dump.out, HasSubstr(text));
  }
}

TEST_F(OutputTest, ContiguousDataIsFilledByOthersAtItsOffset) {
  auto out = OutputFile::create(path());
  OutputSpec spec{.dtype = DType::float64, .shape = {1000}};
  const double fill = 7;
  spec.fill.emplace(sizeof(fill));
  std::memcpy(spec.fill->data(), &fill, sizeof(fill));
  const auto offset = out.create_dataset("/deep/er/contiguous", spec);
  ASSERT_TRUE(offset);
  EXPECT_FALSE(out.create_dataset("scalar_chunked_away", {.dtype = DType::int8, .null_space = true}));
  ASSERT_TRUE(out.create_dataset("scalar", {.dtype = DType::float64, .shape = {}}));
  const double scalar = 2.5;
  out.write("scalar", Box::all(Shape{}), std::as_bytes(std::span(&scalar, 1)));
  EXPECT_FALSE(out.create_dataset("empty", {.dtype = DType::int16, .shape = {3, 0}}));
  (void)out.create_dataset("empty_chunked", {.dtype = DType::int16,
                                             .shape = {0, 5},
                                             .maxshape = {unlimited, 5},
                                             .chunk = {2, 5},
                                             .filters = parse_filters("deflate:1")});
  (void)out.create_dataset("null", {.dtype = DType::float32, .null_space = true});
  out.close();
  std::vector<double> values(1000);
  for (std::size_t i = 0; i < values.size(); ++i) values[i] = static_cast<double>(i) / 2;
  const UniqueFd fd(::open(path().c_str(), O_WRONLY | O_CLOEXEC));
  ASSERT_EQ(::pwrite(fd.get(), values.data(), 8000, static_cast<off_t>(*offset)), 8000);
  check_with_h5py("shapes");
}

TEST_F(OutputTest, NothingOfAnExistingFileIsTouched) {
  std::ofstream(path()) << "precious";
  EXPECT_EQ(test::thrown_code([&] { (void)OutputFile::create(path()); }), std::errc::file_exists);
  EXPECT_EQ(std::filesystem::file_size(path()), 8U);
  EXPECT_EQ(test::thrown_code([&] { (void)OutputFile::create(path("no/such/out.h5")); }),
            std::errc::no_such_file_or_directory);
  auto out = OutputFile::create(path("new.h5"));
  (void)out.create_dataset("/a", {.shape = {3}});
  EXPECT_THROW((void)out.create_dataset("/a", {.shape = {3}}), FormatError);
  EXPECT_THROW(out.write("/b", Box::all(Shape{3}), {}), std::logic_error);
}

TEST_F(OutputTest, AFullDiskIsAnErrorAtCloseAtTheLatest) {
  // A file size limit stands for the full disk: write fails with EFBIG as it would with ENOSPC.
  const int result = test::run_in_child([&] {
    const rlimit limit{64 * 1024, 64 * 1024};
    ::setrlimit(RLIMIT_FSIZE, &limit);
    ::signal(SIGXFSZ, SIG_IGN);
    const auto write_all = [&] {
      auto out = OutputFile::create(path());
      OutputSpec spec;
      spec.shape = {100'000};
      spec.chunk = {1000};
      (void)out.create_dataset("d", spec);
      const std::vector<std::byte> chunk(8000);
      for (std::uint64_t i = 0; i < 100'000; i += 1000) out.write_chunk("d", Shape{i}, 0, chunk);
      out.close();
    };
    EXPECT_THROW(write_all(), Error);
  });
  EXPECT_EQ(result, 0);
}

TEST_F(OutputTest, AttributesAndDimensionScalesFollowTheSelection) {
  RUNRIG_NEED_PYTHON(python, "numpy, h5py");
  const std::string source = path("source.h5");
  const std::string program = R"(
import h5py, numpy as np, sys
with h5py.File(sys.argv[1], 'w') as f:
    d = f.create_dataset('d', data=np.zeros((3, 9, 8), 'f4'), chunks=(1, 5, 8), compression=4, track_order=True,
                         fillvalue=-9)
    d.attrs['units'] = 'K'
    d.attrs['scale_factor'] = 0.1
    d.attrs['note'] = np.bytes_('fixed')
    d.attrs['numbers'] = np.arange(6).reshape(2, 3)
    d.attrs['valid_range'] = [0.0, 1.0]
    d.attrs['_FillValue'] = np.array([-9], 'f4')
    d.attrs['missing_value'] = np.array([-9], 'i2')
    d.attrs['owner'] = f.ref
    f['level'] = np.arange(3)
    f.create_dataset('time', data=(np.arange(9) * 1.5).astype('>f8'), chunks=(4,), maxshape=(None,))
    f['grid/x'] = np.linspace(0, 1, 8)
    f['labels'] = [f'l{i}' for i in range(8)]
    f.create_dataset('netcdf', (8,), '>f4')
    f['other'] = np.arange(5)
    f['time'].attrs['units'] = 'days'
    f['time'].attrs['_Netcdf4Dimid'] = 0
    name = 'This is a netCDF dimension but not a netCDF variable.%10d' % 8
    for n, text in [('level', ''), ('time', 'time'), ('grid/x', 'x'), ('labels', ''), ('netcdf', name), ('other', '')]:
        f[n].make_scale(text)
    d.dims[0].attach_scale(f['level'])
    d.dims[1].attach_scale(f['time'])
    for n in sys.argv[2:]:
        d.dims[2].attach_scale(f[n])
    d.dims[2].label = 'east'
)";
  const auto made = test::run_python(python, program, {source, "grid/x", "labels", "netcdf", "other"});
  ASSERT_EQ(made.exit_code, 0) << made.err;
  const auto file = File::open(source);
  const auto dataset = Dataset::open(file, "d");
  const Selection selection = resolve(parse_selection("[1, ::-2, 2:6]"), dataset.info().shape, "d");
  std::vector<std::string> notes;
  const OutputSpec spec = output_like(dataset.info(), selection, DType::float32, notes);
  EXPECT_TRUE(notes.empty());
  EXPECT_EQ(spec.chunk, (Shape{5, 4}));
  EXPECT_EQ(spec.shape, (Shape{5, 4}));
  EXPECT_TRUE(spec.fill);
  auto out = OutputFile::create(path());
  (void)out.create_dataset("/result", spec);
  out.copy_attributes(file, "/d", "/result", DType::float32, notes);
  out.copy_dimension_scales(file, "/d", selection, "/result", notes);
  out.close();
  ASSERT_EQ(notes.size(), 2U);
  EXPECT_THAT(notes[0], HasSubstr("@owner': it refers to objects"));
  EXPECT_THAT(notes[1], HasSubstr("other': its shape (5,) is not that of the axis"));
  check_with_h5py("attributes", source);
}

TEST_F(OutputTest, RealDatasetsComeBackWithTheirValuesAttributesAndScales) {
  RUNRIG_NEED_SHARED_DATA(data);
  const bool h5dump = test::run_command({"h5dump", "--version"}).exit_code == 0;
  std::size_t copied = 0;
  for (const auto& entry : std::filesystem::directory_iterator(data)) {
    if (!entry.is_regular_file() || entry.path().extension() == ".md") continue;
    const auto file = File::open(entry.path().string());
    std::vector<std::string> names;
    file.walk([&](const ObjectInfo& info) {
      if (info.dataset && info.dataset->type.numeric && info.dataset->size_bytes < 2'000'000)
        names.push_back(info.path);
    });
    const std::string target = path(entry.path().filename().string());
    auto out = OutputFile::create(target);
    std::map<std::string, std::vector<std::byte>> written;
    std::vector<std::string> notes;
    for (const std::string& name : names) {
      auto dataset = Dataset::open(file, name);
      const DatasetInfo& info = dataset.info();
      if (std::ranges::any_of(info.filters, [](const FilterInfo& filter) { return !filter.available; })) continue;
      const Selection all = Selection::all(info.shape);
      const OutputSpec spec = output_like(info, all, info.type.dtype, notes);
      const std::string result = "/copies" + name;
      (void)out.create_dataset(result, spec);
      written[result] = test::read_in_boxes(dataset, all, 1 << 20);
      out.write(result, Box::all(spec.shape), written[result]);
      out.copy_attributes(file, name, result, std::nullopt, notes);
      out.copy_dimension_scales(file, name, all, result, notes);
      ++copied;
    }
    out.close();
    for (const std::string& note : notes) {
      EXPECT_THAT(note, ::testing::AnyOf(HasSubstr("it refers to objects"), HasSubstr("is called "))) << entry.path();
    }
    const auto back = File::open(target);
    for (const auto& [name, values] : written) {
      auto dataset = Dataset::open(back, name);
      EXPECT_TRUE(test::read_in_boxes(dataset, Selection::all(dataset.info().shape), 1 << 20) == values) << name;
    }
    if (h5dump) {
      EXPECT_EQ(test::run_command({"h5dump", "-pH", target}).exit_code, 0) << target;
    }
  }
  EXPECT_GT(copied, 100U);
}

TEST_F(OutputTest, LosslessFiltersAreKeptAndOthersReplacedWithANote) {
  DatasetInfo source;
  source.layout = Layout::chunked;
  source.shape = source.maxshape = {100};
  source.chunk = {64};
  source.type.dtype = DType::int32;
  source.filters = {shuffle_filter(), lzf_filter()};
  std::vector<std::string> notes;
  const auto plan = [&](DType dtype) { return output_like(source, Selection::all(source.shape), dtype, notes); };
  EXPECT_EQ(plan(DType::float64).filters.at(1).name, "lzf");
  EXPECT_FALSE(plan(DType::float64).library_filters);
  source.filters = {{6, 1, {2, 0}, "scaleoffset", true, true}};
  EXPECT_TRUE(plan(DType::int32).library_filters);
  EXPECT_TRUE(notes.empty());
  EXPECT_EQ(plan(DType::float64).filters.at(1).name, "deflate-4");
  ASSERT_EQ(notes.size(), 1U);
  EXPECT_THAT(notes[0], HasSubstr("scaleoffset would lose digits"));
  source.filters = {{32013, 1, {}, "zfp", true, false}, fletcher32_filter()};
  EXPECT_EQ(plan(DType::int32).filters.at(2).name, "fletcher32");
  EXPECT_THAT(notes.back(), HasSubstr("zfp cannot be encoded"));
}

}  // namespace
}  // namespace runrig::hdf5
