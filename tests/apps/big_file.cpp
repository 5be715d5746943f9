#include "big_file.hpp"

#include <cstring>
#include <span>
#include <vector>

#include "runrig/hdf5/codec.hpp"
#include "runrig/hdf5/dataset.hpp"
#include "runrig/hdf5/output.hpp"
#include "support.hpp"

namespace runrig::test {
namespace {

constexpr std::uint64_t columns = 1024;
constexpr std::uint64_t chunk_rows = 16;

float value_at(std::uint64_t row, std::uint64_t column) {
  return static_cast<float>((row * 7919 + column * 104729) % 100003) / 16.0F;
}

std::vector<float> rows_from(std::uint64_t first, std::uint64_t count) {
  std::vector<float> values(count * columns);
  for (std::uint64_t i = 0; i < values.size(); ++i) values[i] = value_at(first + i / columns, i % columns);
  return values;
}

void write_big_file(const std::filesystem::path& path, std::uint64_t rows) {
  auto file = hdf5::OutputFile::create(path.string());
  hdf5::OutputSpec spec;
  spec.dtype = DType::float32;
  spec.shape = Shape{rows, columns};
  spec.chunk = Shape{chunk_rows, columns};
  spec.filters = hdf5::parse_filters("shuffle,deflate:1");
  file.create_dataset("/x", spec);
  hdf5::ChunkEncoder encoder(spec.filters, sizeof(float));
  for (std::uint64_t row = 0; row < rows; row += chunk_rows) {
    const auto values = rows_from(row, chunk_rows);
    const auto encoded = encoder.encode(std::as_bytes(std::span(values)));
    file.write_chunk("/x", Shape{row, 0}, encoded.filter_mask, encoded.bytes);
  }
  file.close();
}

bool check_result(const std::filesystem::path& output, std::uint64_t rows) {
  const auto file = hdf5::File::open(output.string());
  auto dataset = hdf5::Dataset::open(file, "/result");
  if (!(dataset.info().shape == Shape{rows, columns}) || dataset.info().type.dtype != DType::float32) return false;
  const auto all = hdf5::Selection::all(dataset.info().shape);
  std::vector<float> found(chunk_rows * columns);
  for (std::uint64_t row = 0; row < rows; row += chunk_rows) {
    dataset.read(all, {Shape{row, 0}, Shape{chunk_rows, columns}}, reinterpret_cast<std::byte*>(found.data()));
    auto expected = rows_from(row, chunk_rows);
    for (float& each : expected) each = 2 * each + 1;
    if (std::memcmp(found.data(), expected.data(), found.size() * sizeof(float)) != 0) return false;
  }
  return true;
}

}  // namespace

void make_big_file(const std::filesystem::path& path, std::uint64_t rows) {
  ASSERT_EQ(run_in_child([&] { write_big_file(path, rows); }), 0);
}

bool is_right_result(const std::filesystem::path& output, std::uint64_t rows) {
  return run_in_child([&] {
           if (!check_result(output, rows)) throw std::runtime_error("the result is wrong");
         }) == 0;
}

}  // namespace runrig::test
