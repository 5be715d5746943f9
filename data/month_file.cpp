#include <hdf5_hl.h>

#include <array>
#include <cmath>
#include <vector>

#include "h5_writer.hpp"
#include "sample_files.hpp"
#include "synthetic.hpp"

namespace runrig::data {
namespace {

constexpr std::size_t latitudes = 37;   // every 5 degrees, pole to pole
constexpr std::size_t longitudes = 72;  // every 5 degrees
constexpr std::array<int, 12> days_of_month = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};  // of 2001

struct Month {
  std::size_t first_step;  // half days since the start of the year
  std::size_t steps;
};

Month month_of_year(int month) {
  std::size_t first_day = 0;
  for (int i = 1; i < month; ++i)
    first_day += static_cast<std::size_t>(days_of_month.at(static_cast<std::size_t>(i - 1)));
  return {2 * first_day, 2 * static_cast<std::size_t>(days_of_month.at(static_cast<std::size_t>(month - 1)))};
}

Handle write_axis(H5Writer& file, const std::string& name, const std::vector<double>& values, hid_t type,
                  std::string_view units, std::string_view standard_name) {
  const Storage storage{.type = type, .shape = {values.size()}};
  Handle axis = file.write_dataset("/" + name, storage, H5T_NATIVE_DOUBLE, values.data());
  check_hdf5(H5DSset_scale(axis.get(), name.c_str()), "make a dimension scale of", name);
  set_attribute(axis.get(), "units", units);
  set_attribute(axis.get(), "standard_name", standard_name);
  return axis;
}

struct Axes {
  Handle time, lat, lon;
};

Axes write_axes(H5Writer& file, const Month& month) {
  std::vector<double> time(month.steps), lat(latitudes), lon(longitudes);
  for (std::size_t i = 0; i < time.size(); ++i) time[i] = 12.0 * static_cast<double>(month.first_step + i);
  for (std::size_t i = 0; i < lat.size(); ++i) lat[i] = -90.0 + 5.0 * static_cast<double>(i);
  for (std::size_t i = 0; i < lon.size(); ++i) lon[i] = 5.0 * static_cast<double>(i);
  return {write_axis(file, "time", time, H5T_IEEE_F64LE, "hours since 2001-01-01 00:00:00", "time"),
          write_axis(file, "lat", lat, H5T_IEEE_F32LE, "degrees_north", "latitude"),
          write_axis(file, "lon", lon, H5T_IEEE_F32LE, "degrees_east", "longitude")};
}

void attach_axes(const Handle& field, const Axes& axes) {
  const std::array<std::pair<const Handle*, const char*>, 3> all = {
      {{&axes.time, "time"}, {&axes.lat, "lat"}, {&axes.lon, "lon"}}};
  for (unsigned i = 0; i < all.size(); ++i) {
    check_hdf5(H5DSattach_scale(field.get(), all[i].first->get(), i), "attach a dimension scale", all[i].second);
    check_hdf5(H5DSset_label(field.get(), i, all[i].second), "label a dimension", all[i].second);
  }
}

/// A value for each (time, lat, lon): `at` gets the step since the start of the year, the fractions from pole to pole
/// and around the globe, and a number of its own for each element of the year.
template <class At>
std::vector<double> field_of(const Month& month, At&& at) {
  std::vector<double> values;
  values.reserve(month.steps * latitudes * longitudes);
  for (std::size_t t = 0; t < month.steps; ++t) {
    for (std::size_t j = 0; j < latitudes; ++j) {
      for (std::size_t i = 0; i < longitudes; ++i) {
        const std::size_t step = month.first_step + t;
        const std::size_t index = (step * latitudes + j) * longitudes + i;
        values.push_back(at(static_cast<double>(step), static_cast<double>(j) / (latitudes - 1.0),
                            static_cast<double>(i) / longitudes, index));
      }
    }
  }
  return values;
}

/// Wind, in m/s: jets that meander along a latitude, with gusts. Resolution 1/32 m/s.
void write_wind(H5Writer& file, const Axes& axes, const Month& month, std::uint64_t seed) {
  constexpr float missing = -9999.0F;
  struct Component {
    const char* name;
    const char* long_name;
    double mean, swing, phase;
  };
  const std::array<Component, 2> components = {
      {{"/wind/u", "eastward wind at 10 m", 6.0, 9.0, 0.0}, {"/wind/v", "northward wind at 10 m", 0.0, 7.0, 0.25}}};
  for (std::size_t c = 0; c < components.size(); ++c) {
    const Component& each = components[c];
    const Noise gusts(seed, c);
    const auto values = field_of(month, [&](double step, double south_north, double around, std::size_t index) {
      const double jet = wave(2.0 * south_north - 0.25);
      const double meander = wave(4.0 * around + 0.5 * jet - step / 19.0 + each.phase);
      return quantised(
          each.mean * jet + each.swing * meander * (0.4 + south_north * (1.0 - south_north)) + 0.5 * gusts.bell(index),
          1.0 / 32.0);
    });
    const Storage storage{.type = H5T_IEEE_F32LE,
                          .shape = {month.steps, latitudes, longitudes},
                          .chunk = {16, 16, 32},
                          .unlimited = true,
                          .shuffle = true,
                          .deflate = 4,
                          .fill = &missing,
                          .fill_type = H5T_NATIVE_FLOAT};
    const Handle wind = file.write_dataset(each.name, storage, H5T_NATIVE_DOUBLE, values.data());
    set_attribute(wind.get(), "_FillValue", H5T_IEEE_F32LE, H5T_NATIVE_FLOAT, &missing, 1);
    set_attribute(wind.get(), "long_name", each.long_name);
    set_attribute(wind.get(), "units", "m s-1");
    attach_axes(wind, axes);
  }
}

/// Temperature, packed as climate files do: kelvin = stored * scale_factor + add_offset.
void write_temperature(H5Writer& file, const Axes& axes, const Month& month, std::uint64_t seed) {
  constexpr double scale_factor = 0.01;
  constexpr double add_offset = 273.15;
  constexpr std::int16_t missing = -32768;
  constexpr std::array<std::int16_t, 2> valid_range = {-9000, 6000};
  const Noise noise(seed, 2);
  const auto values = field_of(month, [&](double step, double south_north, double around, std::size_t index) {
    const double sunshine = 4.0 * south_north * (1.0 - south_north);
    const double season = (1.0 - 2.0 * south_north) * wave(step / 730.0 + 0.25);
    const double celsius = -40.0 + 68.0 * sunshine + 12.0 * season + 4.0 * wave(3.0 * around + step / 41.0) +
                           3.0 * sunshine * wave(around + step / 2.0) + 0.1 * noise.bell(index);
    return std::round(celsius / scale_factor / 10.0) * 10.0;  // instruments tell tenths of a kelvin
  });
  const Storage storage{.type = H5T_STD_I16LE,
                        .shape = {month.steps, latitudes, longitudes},
                        .chunk = {10, latitudes, longitudes},
                        .unlimited = true,
                        .shuffle = true,
                        .deflate = 6,
                        .fill = &missing,
                        .fill_type = H5T_NATIVE_INT16};
  const Handle temperature = file.write_dataset("/temperature", storage, H5T_NATIVE_DOUBLE, values.data());
  set_attribute(temperature.get(), "_FillValue", H5T_STD_I16LE, H5T_NATIVE_INT16, &missing, 1);
  set_attribute(temperature.get(), "scale_factor", H5T_IEEE_F64LE, H5T_NATIVE_DOUBLE, &scale_factor);
  set_attribute(temperature.get(), "add_offset", H5T_IEEE_F64LE, H5T_NATIVE_DOUBLE, &add_offset);
  set_attribute(temperature.get(), "valid_range", H5T_STD_I16LE, H5T_NATIVE_INT16, valid_range.data(), 2);
  set_attribute(temperature.get(), "long_name", "air temperature at 2 m");
  set_attribute(temperature.get(), "units", "K");
  attach_axes(temperature, axes);
}

}  // namespace

void write_month(const std::filesystem::path& path, std::uint64_t seed, int month_number) {
  const Month month = month_of_year(month_number);
  H5Writer file(path, {.creation_order = true});
  set_attribute(file.id(), "Conventions", "CF-1.8");
  set_attribute(file.id(), "title", "Invented weather of 2001, twice a day");
  set_attribute(file.id(), "source", "runrig_generate_data");
  set_attribute(file.id(), "month", H5T_STD_I32LE, H5T_NATIVE_INT, &month_number);
  {
    const Axes axes = write_axes(file, month);
    (void)file.create_group("/wind");
    write_wind(file, axes, month, seed);
    write_temperature(file, axes, month, seed);
  }
  file.close();
}

}  // namespace runrig::data
