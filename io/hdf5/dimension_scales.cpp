#include <algorithm>
#include <array>
#include <cstdio>
#include <vector>

#include <hdf5_hl.h>

#include "dataset_info.hpp"
#include "file_state.hpp"
#include "output_state.hpp"
#include "stored_type.hpp"

namespace runrig::hdf5 {
namespace {

using detail::check;
using detail::checked;
using detail::Id;

constexpr std::string_view attempt = "copy dimension scale";
constexpr std::size_t piece_bytes = std::size_t{4} << 20;
constexpr std::size_t max_scales = 64;  // per axis
// How netCDF names the scale of a dimension that has no variable; its length follows, ten wide.
constexpr std::string_view netcdf_no_variable = "This is a netCDF dimension but not a netCDF variable.";

extern "C" herr_t collect_scale(hid_t, unsigned, hid_t scale, void* paths) {
  auto& list = *static_cast<std::vector<std::string>*>(paths);
  std::array<char, 4096> path{};
  const ssize_t length = H5Iget_name(scale, path.data(), path.size());
  if (length <= 0 || length >= static_cast<ssize_t>(path.size())) return 0;
  try {
    list.emplace_back(path.data());
  } catch (...) {  // through a C library nothing may be thrown
    return -1;
  }
  return list.size() >= max_scales ? 1 : 0;
}

std::string scale_name(hid_t scale, std::uint64_t extent) {
  std::array<char, 1024> text{};
  if (H5DSget_scale_name(scale, text.data(), text.size() - 1) <= 0) return {};
  std::string name(text.data());
  if (!name.starts_with(netcdf_no_variable)) return name;
  std::array<char, 128> rebuilt{};
  std::snprintf(rebuilt.data(), rebuilt.size(), "%s%10llu", std::string(netcdf_no_variable).c_str(),
                static_cast<unsigned long long>(extent));
  return rebuilt.data();
}

/// One scale on its way from the source to the output.
class ScaleCopy {
 public:
  ScaleCopy(hid_t scale, const AxisSelection& axis, std::string name)
      : from_(scale),
        axis_(axis),
        name_(std::move(name)),
        info_(detail::describe_dataset(scale, name_, detail::StoredBytes::count)),
        type_(checked(H5Dget_type(scale), attempt, name_)) {}

  /// Refuses what cannot be cut with the axis.
  void check_fits(std::uint64_t axis_extent) const {
    if (info_.shape.rank() != 1 || info_.shape[0] != axis_extent) {
      throw FormatError(attempt, name_, "its shape " + to_string(info_.shape) + " is not that of the axis");
    }
    const H5T_class_t type_class = H5Tget_class(type_.get());
    if (!info_.type.numeric && type_class != H5T_STRING) {
      throw FormatError(attempt, name_, "elements of type " + info_.type.description);
    }
    for (const FilterInfo& filter : info_.filters) {
      if (!filter.available) throw FormatError(attempt, name_, "it needs the filter " + filter.name);
    }
  }

  Id write(hid_t file, const std::string& path) const {
    const bool grows = info_.maxshape[0] == unlimited;
    const Id properties = detail::ordered_creation(H5P_DATASET_CREATE);
    if (grows) {
      const hsize_t chunk = std::max<std::uint64_t>(1, std::min<std::uint64_t>(info_.chunk[0], 1 << 16));
      check(H5Pset_chunk(properties.get(), 1, &chunk), attempt, name_);
    }
    const Id type = checked(H5Tcopy(type_.get()), attempt, name_);
    if (info_.fill_defined) {
      const Id source_properties = checked(H5Dget_create_plist(from_), attempt, name_);
      std::vector<std::byte> fill(info_.type.item_bytes);
      check(H5Pget_fill_value(source_properties.get(), type.get(), fill.data()), attempt, name_);
      check(H5Pset_fill_value(properties.get(), type.get(), fill.data()), attempt, name_);
    }
    const hsize_t extent = axis_.count;
    const hsize_t most = grows ? H5S_UNLIMITED : extent;
    const Id space = checked(H5Screate_simple(1, &extent, &most), attempt, name_);
    const Id links = detail::intermediate_groups();
    Id to = checked(H5Dcreate2(file, path.c_str(), type.get(), space.get(), links.get(), properties.get(), H5P_DEFAULT),
                    attempt, name_);
    // netCDF never writes a dimension without a variable: it stays so, and costs nothing however long it is.
    if (info_.stored_bytes > 0) copy_elements(to.get(), type.get());
    const std::string text = scale_name(from_, axis_.count);
    check(H5DSset_scale(to.get(), text.empty() ? nullptr : text.c_str()), attempt, name_);
    return to;
  }

  void copy_attributes(hid_t to, std::vector<std::string>& notes) const {
    detail::copy_object_attributes(from_, name_, to, std::nullopt, {}, notes);
  }

 private:
  /// Piece by piece: a scale can be as long as its dataset. Elements stay in their stored type.
  void copy_elements(hid_t to, hid_t type) const {
    const std::size_t item_bytes = H5Tget_size(type);
    const std::uint64_t most = std::max<std::uint64_t>(1, piece_bytes / item_bytes);
    std::vector<std::byte> piece(static_cast<std::size_t>(std::min(most, axis_.count)) * item_bytes);
    const Id from_space = checked(H5Dget_space(from_), attempt, name_);
    const Id to_space = checked(H5Dget_space(to), attempt, name_);
    for (std::uint64_t done = 0; done < axis_.count; done += most) {
      const hsize_t count = std::min(most, axis_.count - done);
      select_source(from_space.get(), done, count);
      const Id memory = checked(H5Screate_simple(1, &count, nullptr), attempt, name_);
      check(H5Dread(from_, type, memory.get(), from_space.get(), H5P_DEFAULT, piece.data()), attempt, name_);
      if (axis_.step < 0) reverse(piece.data(), count, item_bytes);
      const hsize_t start = done;
      check(H5Sselect_hyperslab(to_space.get(), H5S_SELECT_SET, &start, nullptr, &count, nullptr), attempt, name_);
      const herr_t written = H5Dwrite(to, type, memory.get(), to_space.get(), H5P_DEFAULT, piece.data());
      if (H5Tis_variable_str(type) > 0) H5Dvlen_reclaim(type, memory.get(), H5P_DEFAULT, piece.data());
      check(written, attempt, name_);
    }
  }

  /// Elements `done` to `done + count` of the selection, in ascending order.
  void select_source(hid_t space, std::uint64_t done, hsize_t count) const {
    const bool backward = axis_.step < 0;
    const hsize_t start = axis_.at(backward ? done + count - 1 : done);
    const auto step = static_cast<std::uint64_t>(axis_.step);
    const hsize_t stride = count == 1 ? 1 : (backward ? 0 - step : step);
    check(H5Sselect_hyperslab(space, H5S_SELECT_SET, &start, &stride, &count, nullptr), attempt, name_);
  }

  static void reverse(std::byte* items, std::uint64_t count, std::size_t item_bytes) {
    for (std::uint64_t i = 0; i < count / 2; ++i) {
      std::swap_ranges(items + i * item_bytes, items + (i + 1) * item_bytes, items + (count - 1 - i) * item_bytes);
    }
  }

  hid_t from_;
  const AxisSelection& axis_;
  std::string name_;
  DatasetInfo info_;
  Id type_;
};

std::string free_path(hid_t file, const std::string& wanted) {
  const auto taken = [&](const std::string& path) {
    const bool found = H5Oexists_by_name(file, path.c_str(), H5P_DEFAULT) > 0;
    H5Eclear2(H5E_DEFAULT);
    return found;
  };
  std::string path = wanted;
  for (int number = 2; taken(path); ++number) path = wanted + "_" + std::to_string(number);
  return path;
}

void copy_label(hid_t from, unsigned from_axis, hid_t to, unsigned to_axis) {
  std::array<char, 1024> label{};
  const ssize_t length = H5DSget_label(from, from_axis, label.data(), label.size() - 1);
  if (length > 0) H5DSset_label(to, to_axis, label.data());
  H5Eclear2(H5E_DEFAULT);  // labels are for people: one that fails is left out
}

}  // namespace

void OutputFile::copy_dimension_scales(const File& source, const std::string& source_dataset,
                                       const Selection& selection, const std::string& dataset,
                                       std::vector<std::string>& notes) {
  const hid_t source_file = source.state().file.get();
  const std::string name = detail::object_name(source, source_dataset);
  const Id from = checked(H5Dopen2(source_file, source_dataset.c_str(), H5P_DEFAULT), attempt, name);
  const hid_t to = state_->dataset(dataset).id.get();
  std::vector<State::MadeScale>& made = state_->scales;
  unsigned result_axis = 0;
  for (unsigned axis = 0; axis < selection.rank; ++axis) {
    const AxisSelection& range = selection.axes[axis];
    if (!range.keep) continue;
    copy_label(from.get(), axis, to, result_axis);
    std::vector<std::string> paths;
    H5DSiterate_scales(from.get(), axis, nullptr, collect_scale, &paths);
    H5Eclear2(H5E_DEFAULT);  // none attached is an error to some versions of the library
    for (const std::string& path : paths) {
      try {
        auto same = std::ranges::find_if(made, [&](const State::MadeScale& scale) {
          return scale.source_file == source.path() && scale.source_path == path && scale.axis == range;
        });
        if (same == made.end()) {
          const std::string scale_path = detail::object_name(source, path);
          const Id scale = checked(H5Dopen2(source_file, path.c_str(), H5P_DEFAULT), attempt, scale_path);
          const ScaleCopy copy(scale.get(), range, scale_path);
          const Id source_space = checked(H5Dget_space(from.get()), attempt, name);
          copy.check_fits(detail::describe_space(source_space.get(), name).shape[axis]);
          const std::string target = free_path(state_->file.get(), path);
          if (target != path)
            notes.push_back("the scale " + detail::printable(path) + " is called " + target + " here");
          made.push_back({source.path(), path, range, copy.write(state_->file.get(), target)});
          same = std::prev(made.end());
          copy.copy_attributes(same->id.get(), notes);
        }
        check(H5DSattach_scale(to, same->id.get(), result_axis), attempt, name);
      } catch (const Error& error) {
        notes.emplace_back(error.what());
      }
    }
    ++result_axis;
  }
}

}  // namespace runrig::hdf5
