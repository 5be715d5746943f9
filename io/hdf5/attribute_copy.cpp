#include <algorithm>
#include <array>
#include <vector>

#include <hdf5_hl.h>

#include "dataset_info.hpp"
#include "file_state.hpp"
#include "output_state.hpp"
#include "stored_type.hpp"

namespace runrig::hdf5::detail {
namespace {

constexpr std::string_view attempt = "copy attribute";
constexpr std::size_t max_value_bytes = std::size_t{16} << 20;

// True of the elements as they were stored, not of what was computed from them.
constexpr std::array<std::string_view, 7> of_stored_elements{"scale_factor", "add_offset",   "valid_range", "valid_min",
                                                             "valid_max",    "actual_range", "_Unsigned"};
constexpr std::array<std::string_view, 2> of_stored_type{"_FillValue", "missing_value"};
// References into the source, or netCDF's numbers of its dimensions: made anew where scales are attached.
constexpr std::array<std::string_view, 6> rebuilt{"DIMENSION_LIST", "REFERENCE_LIST",      "DIMENSION_LABELS",
                                                  "_Netcdf4Dimid",  "_Netcdf4Coordinates", "_NCProperties"};
constexpr std::array<std::string_view, 2> of_scales{"CLASS", "NAME"};

template <std::size_t N>
bool is_one_of(const std::array<std::string_view, N>& names, std::string_view name) {
  return std::ranges::find(names, name) != names.end();
}

/// The value of an attribute between its reading and writing; frees what the library allocated for its texts.
class AttributeValue {
 public:
  AttributeValue(hid_t attribute, hid_t type, hid_t space, std::size_t bytes, std::string_view name)
      : type_(type), space_(space), bytes_(bytes) {
    if (bytes > 0) check(H5Aread(attribute, type, bytes_.data()), attempt, name);
  }
  AttributeValue(const AttributeValue&) = delete;
  AttributeValue& operator=(const AttributeValue&) = delete;
  ~AttributeValue() {
    const bool variable = H5Tdetect_class(type_, H5T_VLEN) > 0 || H5Tdetect_class(type_, H5T_STRING) > 0;
    if (variable && !bytes_.empty()) H5Dvlen_reclaim(type_, space_, H5P_DEFAULT, bytes_.data());
  }
  [[nodiscard]] const std::byte* data() const { return bytes_.data(); }

 private:
  hid_t type_;
  hid_t space_;
  std::vector<std::byte> bytes_;
};

void copy_attribute(hid_t source, hid_t target, const std::string& attribute, std::optional<DType> result,
                    std::string_view name) {
  const Id from = checked(H5Aopen(source, attribute.c_str(), H5P_DEFAULT), attempt, name);
  const Id stored_type = checked(H5Aget_type(from.get()), attempt, name);
  const Id space = checked(H5Aget_space(from.get()), attempt, name);
  if (result && is_one_of(of_stored_type, attribute)) {
    const StoredType type = describe_type(stored_type.get(), name);
    if (!type.numeric || type.dtype != *result) return;
  }
  if (check(H5Tdetect_class(stored_type.get(), H5T_REFERENCE), attempt, name) > 0) {
    throw FormatError(attempt, name, "it refers to objects of the source");
  }
  // A copy belongs to memory and to no file: a named type of the source becomes a plain one.
  const Id type = checked(H5Tcopy(stored_type.get()), attempt, name);
  const Extents extents = describe_space(space.get(), name);
  const auto bytes = extents.shape.checked_bytes(H5Tget_size(type.get()));
  if (!bytes || *bytes > max_value_bytes) throw FormatError(attempt, name, "it is larger than 16 MiB");
  const AttributeValue value(from.get(), type.get(), space.get(), *bytes, name);
  const Id to =
      checked(H5Acreate2(target, attribute.c_str(), type.get(), space.get(), H5P_DEFAULT, H5P_DEFAULT), attempt, name);
  if (*bytes > 0) check(H5Awrite(to.get(), type.get(), value.data()), attempt, name);
}

}  // namespace

void copy_object_attributes(hid_t source, std::string_view source_name, hid_t target, std::optional<DType> result,
                            std::span<const std::string> dropped, std::vector<std::string>& notes) {
  const bool scale = H5Iget_type(source) == H5I_DATASET && H5DSis_scale(source) > 0;
  H5Eclear2(H5E_DEFAULT);
  for (const std::string& attribute : attribute_names(source, source_name)) {
    if (is_one_of(rebuilt, attribute) || (scale && is_one_of(of_scales, attribute))) continue;
    if (result && is_one_of(of_stored_elements, attribute)) continue;
    if (std::ranges::find(dropped, attribute) != dropped.end()) continue;
    // One that is there already was made for this file, and is right.
    if (H5Aexists(target, attribute.c_str()) > 0) continue;
    const std::string name = std::string(source_name) + " @" + printable(attribute);
    try {
      copy_attribute(source, target, attribute, result, name);
    } catch (const Error& error) {
      notes.emplace_back(error.what());
      H5Adelete(target, attribute.c_str());  // half made, or not at all
      H5Eclear2(H5E_DEFAULT);
    }
  }
}

}  // namespace runrig::hdf5::detail
