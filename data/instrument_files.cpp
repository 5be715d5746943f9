#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <vector>

#include "h5_writer.hpp"
#include "sample_files.hpp"
#include "synthetic.hpp"

namespace runrig::data {
namespace {

constexpr std::size_t frame_count = 9;
constexpr std::size_t rows = 100;
constexpr std::size_t columns = 120;

/// A dead stripe and scattered dead pixels, as detectors have them.
bool is_dead(std::size_t row, std::size_t column, const Noise& noise) {
  return row == 57 || noise.uniform(row * columns + column) < 0.002;
}

/// Photon counts: rings around a centre that brighten from frame to frame, on a background with counting noise.
std::vector<std::uint16_t> counts(std::uint64_t seed) {
  const Noise noise(seed, 20);
  const Noise dead(seed, 21);
  std::vector<std::uint16_t> values;
  values.reserve(frame_count * rows * columns);
  for (std::size_t frame = 0; frame < frame_count; ++frame) {
    for (std::size_t row = 0; row < rows; ++row) {
      for (std::size_t column = 0; column < columns; ++column) {
        const double y = static_cast<double>(row) - 48.5;
        const double x = static_cast<double>(column) - 61.0;
        const double ring = wave(std::sqrt(x * x + y * y) / 17.0);
        const double expected = 40.0 + std::max(ring, 0.0) * 300.0 * (1.0 + static_cast<double>(frame));
        const double seen = expected + std::sqrt(expected) * noise.bell(values.size());
        // A dead pixel of this make reads full scale: the largest value the type can hold.
        values.push_back(is_dead(row, column, dead) ? std::uint16_t{65535}
                                                    : static_cast<std::uint16_t>(std::clamp(seen, 0.0, 65534.0)));
      }
    }
  }
  return values;
}

}  // namespace

void write_series(const std::filesystem::path& path, std::uint64_t seed) {
  constexpr std::size_t minutes = 14UL * 24 * 60;
  const Noise noise(seed, 10);
  std::vector<double> pressure(minutes);
  std::vector<float> humidity(minutes / 10);
  for (std::size_t i = 0; i < minutes; ++i) {
    const double days = static_cast<double>(i) / (24.0 * 60.0);
    pressure[i] = 1013.25 + 11.0 * wave(days / 5.3) + 1.2 * wave(2.0 * days) + 0.04 * noise.bell(i);
  }
  for (std::size_t i = 0; i < humidity.size(); ++i) {
    humidity[i] = static_cast<float>(0.6 + 0.3 * wave(static_cast<double>(i) / 144.0 + 0.5));
  }
  const std::array<double, 4> calibration = {1013.25, 0.9998, -2.5e-7, 0.0};

  H5Writer file(path, {});
  set_attribute(file.id(), "title", "Invented barometer, one value a minute for two weeks");
  {
    const Handle group = file.create_group("/station");
    set_attribute(group.get(), "start", "2001-03-01T00:00:00Z");
    const Handle series = file.write_dataset("/station/pressure", {.type = H5T_IEEE_F64LE, .shape = {minutes}},
                                             H5T_NATIVE_DOUBLE, pressure.data());
    set_attribute(series.get(), "units", "hPa");
    set_attribute(series.get(), "long_name", "air pressure at station level");
    const Handle half = half_type(H5T_ORDER_LE);
    const Handle ratio = file.write_dataset("/station/humidity", {.type = half.get(), .shape = {humidity.size()}},
                                            H5T_NATIVE_FLOAT, humidity.data());
    set_attribute(ratio.get(), "units", "1");
    const Handle table = file.write_dataset("/station/calibration",
                                            {.type = H5T_IEEE_F64LE, .shape = {calibration.size()}, .compact = true},
                                            H5T_NATIVE_DOUBLE, calibration.data());
    set_attribute(table.get(), "long_name", "coefficients of the sensor's polynomial, constant first");
  }
  file.close();
}

void write_frames(const std::filesystem::path& path, std::uint64_t seed) {
  const auto frames = counts(seed);
  const Noise dead(seed, 21);
  std::vector<std::int8_t> mask(rows * columns);
  std::vector<double> exposure(frame_count);
  for (std::size_t i = 0; i < mask.size(); ++i) mask[i] = is_dead(i / columns, i % columns, dead) ? 0 : 1;
  for (std::size_t i = 0; i < exposure.size(); ++i) exposure[i] = 0.5 * static_cast<double>(i + 1);

  H5Writer file(path, {});
  set_attribute(file.id(), "title", "Invented detector frames");
  {
    (void)file.create_group("/detector");
    const Handle stack = file.write_dataset(
        "/detector/frames",
        {.type = H5T_STD_U16BE, .shape = {frame_count, rows, columns}, .chunk = {4, 48, 64}, .fletcher32 = true},
        H5T_NATIVE_UINT16, frames.data());
    set_attribute(stack.get(), "units", "photons");
    set_attribute(stack.get(), "long_name", "counts per pixel; 65535 where the pixel is dead");
    // FALSE and TRUE in this order: what h5py and NumPy read as a boolean.
    const Handle boolean = enum_type({"FALSE", "TRUE"});
    const Handle usable = file.write_dataset("/detector/usable", {.type = boolean.get(), .shape = {rows, columns}},
                                             boolean.get(), mask.data());
    set_attribute(usable.get(), "long_name", "true where the pixel works");
    const Handle seconds = file.write_dataset("/detector/exposure", {.type = H5T_IEEE_F64BE, .shape = {frame_count}},
                                              H5T_NATIVE_DOUBLE, exposure.data());
    set_attribute(seconds.get(), "units", "s");
  }
  file.close();
}

}  // namespace runrig::data
