#include "manifest.hpp"

#include <gtest/gtest.h>
#include <libdeflate.h>

#include <fstream>
#include <sstream>

#include "support.hpp"

namespace runrig::test {
namespace {

std::string shape_text(const Shape& shape) {
  std::string text;
  for (const std::uint64_t extent : shape) text += (text.empty() ? "" : ",") + std::to_string(extent);
  return text.empty() ? "-" : text;
}

void check_line(const hdf5::File& file, const Expectation& line, bool force_library, std::size_t cache_bytes,
                std::uint64_t box_bytes) {
  SCOPED_TRACE(line.file + ":" + line.dataset + " " + line.selection + (force_library ? " by the library" : "") +
               " boxes of " + std::to_string(box_bytes));
  auto dataset = hdf5::Dataset::open(file, line.dataset, {.force_library = force_library, .cache_bytes = cache_bytes});
  const DType dtype = dataset.info().type.dtype;
  EXPECT_EQ(dtype_string(dtype), line.dtype);
  const auto selection = line.selection == "-" ? hdf5::Selection::all(dataset.info().shape)
                                               : hdf5::resolve(hdf5::parse_selection(line.selection),
                                                               dataset.info().shape, dataset.name());
  EXPECT_EQ(shape_text(selection.shape), line.shape);
  EXPECT_EQ(crc32(read_in_boxes(dataset, selection, box_bytes)), line.crc);
}

}  // namespace

std::vector<Expectation> read_manifest(const std::filesystem::path& path) {
  std::ifstream in(path);
  std::vector<Expectation> lines;
  for (std::string text; std::getline(in, text);) {
    std::istringstream fields(text);
    Expectation line;
    std::string crc;
    for (std::string* field : {&line.file, &line.dataset, &line.selection, &line.dtype, &line.shape, &crc}) {
      std::getline(fields, *field, '\t');
    }
    line.crc = static_cast<std::uint32_t>(std::stoul(crc));
    lines.push_back(std::move(line));
  }
  EXPECT_FALSE(lines.empty()) << path << " has no lines";
  return lines;
}

void run_program(const std::string& python, const std::string& program, const std::vector<std::string>& arguments) {
  std::vector<std::string> argv{python, std::string(RUNRIG_HDF5_TESTS) + "/" + program};
  argv.insert(argv.end(), arguments.begin(), arguments.end());
  const CommandResult result =
      run_command(argv, {}, std::chrono::seconds(100), {"PYTHONDONTWRITEBYTECODE=1", "PYTHONWARNINGS=ignore"});
  ASSERT_EQ(result.exit_code, 0) << result.err;
}

std::vector<std::byte> read_in_boxes(hdf5::Dataset& dataset, const hdf5::Selection& selection,
                                     std::uint64_t box_bytes) {
  const std::size_t item = item_bytes(dataset.info().type.dtype);
  std::vector<std::byte> values(selection.shape.checked_bytes(item).value(), std::byte{0xee});
  std::vector<std::ptrdiff_t> strides(selection.shape.rank());
  auto stride = static_cast<std::ptrdiff_t>(item);
  for (std::size_t axis = strides.size(); axis-- > 0;) {
    strides[axis] = stride;
    stride *= static_cast<std::ptrdiff_t>(selection.shape[axis]);
  }
  for (const hdf5::Box& box : hdf5::aligned_boxes(dataset.info(), selection, box_bytes)) {
    std::ptrdiff_t at = 0;
    for (std::size_t axis = 0; axis < strides.size(); ++axis) {
      at += strides[axis] * static_cast<std::ptrdiff_t>(box.start[axis]);
    }
    dataset.read(selection, box, values.data() + at, strides);
  }
  return values;
}

std::uint32_t crc32(const std::vector<std::byte>& bytes) { return libdeflate_crc32(0, bytes.data(), bytes.size()); }

void check_manifest(const std::filesystem::path& folder, const std::filesystem::path& manifest) {
  for (const Expectation& line : read_manifest(manifest)) {
    const auto file = hdf5::File::open((folder / line.file).string());
    check_line(file, line, false, 0, std::uint64_t{1} << 30);
    check_line(file, line, true, std::size_t{1} << 20, std::uint64_t{1} << 30);
    const bool small = line.shape.size() < 12;  // boxes of a few elements would take long for large shapes
    check_line(file, line, false, std::size_t{16} << 20, small ? 50 : 100'000);
    check_line(file, line, true, std::size_t{1} << 20, small ? 300 : 1'000'000);
    if (::testing::Test::HasFailure()) return;
  }
}

}  // namespace runrig::test
