#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <vector>

#include "h5_writer.hpp"
#include "sample_files.hpp"
#include "synthetic.hpp"

namespace runrig::data {
namespace {

constexpr hsize_t rows = 300;
constexpr hsize_t columns = 400;
constexpr hsize_t chunk_rows = 64;
constexpr hsize_t chunk_columns = 96;

/// Depth in metres along a band that the ship has sailed; NaN where the echo was lost. The rest of the sea was never
/// sounded, and its chunks are not in the file.
void write_depth(H5Writer& file, std::uint64_t seed) {
  constexpr float unknown = -1.0F;
  const Noise noise(seed, 30);
  const Handle depth = file.create_dataset("/depth", {.type = H5T_IEEE_F32LE,
                                                      .shape = {rows, columns},
                                                      .chunk = {chunk_rows, chunk_columns},
                                                      .shuffle = true,
                                                      .deflate = 6,
                                                      .fletcher32 = true,
                                                      .fill = &unknown,
                                                      .fill_type = H5T_NATIVE_FLOAT});
  // The band's corners are in the middle of chunks, and its last part reaches the edge, where chunks overhang.
  constexpr hsize_t first_row = 100, band_rows = 60, first_column = 150, band_columns = columns - first_column;
  std::vector<float> band(band_rows * band_columns);
  for (hsize_t i = 0; i < band_rows; ++i) {
    for (hsize_t j = 0; j < band_columns; ++j) {
      const hsize_t index = i * band_columns + j;
      const double metres =
          120.0 + 80.0 * wave(static_cast<double>(j) / 170.0) * wave(static_cast<double>(i) / 90.0) + noise.bell(index);
      const bool lost = noise.uniform(rows * columns + index) < 0.03;
      band[index] = lost ? std::numeric_limits<float>::quiet_NaN() : static_cast<float>(quantised(metres, 1.0 / 16.0));
    }
  }
  write_box(depth, {first_row, first_column}, {band_rows, band_columns}, H5T_NATIVE_FLOAT, band.data());
  set_attribute(depth.get(), "units", "m");
  set_attribute(depth.get(), "long_name", "depth of water; -1 where never sounded, NaN where the echo was lost");
}

void write_never_written(H5Writer& file) {
  constexpr std::int32_t seven = 7;
  (void)file.create_dataset("/planned", {.type = H5T_STD_I32LE,
                                         .shape = {1000, 1000},
                                         .chunk = {100, 100},
                                         .deflate = 1,
                                         .fill = &seven,
                                         .fill_type = H5T_NATIVE_INT32});
  constexpr double nan = std::numeric_limits<double>::quiet_NaN();
  (void)file.create_dataset("/empty_log",
                            {.type = H5T_IEEE_F64LE, .shape = {50}, .fill = &nan, .fill_type = H5T_NATIVE_DOUBLE});
}

void write_surface(H5Writer& file) {
  const Handle kind = enum_type({"WATER", "LAND", "ICE"});
  std::vector<std::int8_t> values(rows * columns / 100);
  for (std::size_t i = 0; i < values.size(); ++i) {
    const double height = wave(static_cast<double>(i) / 411.0) + wave(static_cast<double>(i % 40) / 40.0);
    values[i] = static_cast<std::int8_t>(height > 1.2 ? 2 : height > 0.3 ? 1 : 0);
  }
  (void)file.write_dataset("/surface", {.type = kind.get(), .shape = {rows / 10, columns / 10}}, kind.get(),
                           values.data());
}

/// What is no array of numbers, or hardly one.
void write_ship(H5Writer& file) {
  (void)file.create_group("/ship");
  const Handle name_type = string_type(8);
  (void)file.write_dataset("/ship/name", {.type = name_type.get()}, name_type.get(), "Furlong\0");
  const Handle text = variable_string_type();
  const std::array<const char*, 3> crew = {"Ada", "Grace", "Zo\xc3\xab"};
  (void)file.write_dataset("/ship/crew", {.type = text.get(), .shape = {crew.size()}}, text.get(), crew.data());
  constexpr double draught = 3.25;
  const Handle scalar = file.write_dataset("/ship/draught", {.type = H5T_IEEE_F64LE}, H5T_NATIVE_DOUBLE, &draught);
  set_attribute(scalar.get(), "units", "m");
  (void)file.create_dataset("/ship/waypoints",
                            {.type = H5T_IEEE_F64LE, .shape = {0, 2}, .chunk = {64, 2}, .unlimited = true});

  struct Entry {
    std::int64_t time;
    double speed;
  };
  const Handle entry(H5Tcreate(H5T_COMPOUND, sizeof(Entry)), H5Tclose, "make type", "log entry");
  check_hdf5(H5Tinsert(entry.get(), "time", offsetof(Entry, time), H5T_STD_I64LE), "make type", "log entry");
  check_hdf5(H5Tinsert(entry.get(), "speed", offsetof(Entry, speed), H5T_IEEE_F64LE), "make type", "log entry");
  const std::array<Entry, 3> log = {{{0, 0.0}, {600, 4.5}, {1200, 4.75}}};
  (void)file.write_dataset("/ship/log", {.type = entry.get(), .shape = {log.size()}}, entry.get(), log.data());
}

}  // namespace

void write_survey(const std::filesystem::path& path, std::uint64_t seed) {
  H5Writer file(path, {.version_110 = true});
  set_attribute(file.id(), "title", "Invented soundings of a sea");
  write_depth(file, seed);
  write_never_written(file);
  write_surface(file);
  write_ship(file);
  check_hdf5(H5Lcreate_soft("/depth", file.id(), "/newest", H5P_DEFAULT, H5P_DEFAULT), "link", "/newest");
  check_hdf5(H5Lcreate_soft("/nowhere", file.id(), "/dangling", H5P_DEFAULT, H5P_DEFAULT), "link", "/dangling");
  file.close();
}

}  // namespace runrig::data
