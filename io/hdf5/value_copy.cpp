#include "value_copy.hpp"

#include <algorithm>
#include <cstring>

#include "dataset_info.hpp"
#include "runrig/hdf5/dataset.hpp"

namespace runrig::hdf5::detail {
namespace {

constexpr std::string_view attempt = "copy";
constexpr std::size_t max_attribute_bytes = std::size_t{64} << 20;
constexpr std::uint64_t piece_bytes = std::uint64_t{4} << 20;
constexpr int max_type_depth = 64;

void scan(hid_t type, int depth, std::string_view name, TypeContent& content) {
  if (depth > max_type_depth) throw FormatError(attempt, name, "its type is nested too deep");
  switch (H5Tget_class(type)) {
    case H5T_STRING:
      content.variable = content.variable || H5Tis_variable_str(type) > 0;
      return;
    case H5T_REFERENCE:
      content.references = true;
      return;
    case H5T_COMPOUND: {
      const int members = check(H5Tget_nmembers(type), attempt, name);
      for (int i = 0; i < members; ++i) {
        scan(checked(H5Tget_member_type(type, static_cast<unsigned>(i)), attempt, name).get(), depth + 1, name,
             content);
      }
      return;
    }
    case H5T_VLEN:
      content.variable = true;
      [[fallthrough]];
    case H5T_ARRAY:
      scan(checked(H5Tget_super(type), attempt, name).get(), depth + 1, name, content);
      return;
    default:
      return;
  }
}

/// Elements in memory between their reading and writing; frees what the library allocated for variable parts.
class Elements {
 public:
  Elements(hid_t type, hid_t space, std::size_t bytes, bool variable)
      : type_(type), space_(space), variable_(variable), bytes_(bytes) {}
  Elements(const Elements&) = delete;
  Elements& operator=(const Elements&) = delete;
  ~Elements() {
    if (variable_ && !bytes_.empty()) H5Dvlen_reclaim(type_, space_, H5P_DEFAULT, bytes_.data());
  }
  [[nodiscard]] std::byte* data() { return bytes_.data(); }

 private:
  hid_t type_;
  hid_t space_;
  bool variable_;
  std::vector<std::byte> bytes_;
};

}  // namespace

TypeContent content_of(hid_t type, std::string_view name) {
  TypeContent content;
  scan(type, 0, name, content);
  return content;
}

void ReferenceMap::translate_object(std::byte* reference) {
  hobj_ref_t value = 0;
  std::memcpy(&value, reference, sizeof value);
  if (value == 0) return;
  hobj_ref_t copy = 0;
  const Id object(H5Rdereference2(source_, H5P_DEFAULT, H5R_OBJECT, &value));
  const std::string path = object ? find_(object.get()) : std::string();
  if (path.empty() || H5Rcreate(&copy, target_, path.c_str(), H5R_OBJECT, H5I_INVALID_HID) < 0) {
    copy = 0;
    ++lost_;
  }
  H5Eclear2(H5E_DEFAULT);
  std::memcpy(reference, &copy, sizeof copy);
}

void ReferenceMap::translate_region(std::byte* reference) {
  hdset_reg_ref_t value;
  std::memcpy(&value, reference, sizeof value);
  const auto* bytes = reinterpret_cast<const std::byte*>(&value);
  if (std::all_of(bytes, bytes + sizeof value, [](std::byte b) { return b == std::byte{0}; })) return;
  hdset_reg_ref_t copy;
  std::memset(&copy, 0, sizeof copy);
  const Id object(H5Rdereference2(source_, H5P_DEFAULT, H5R_DATASET_REGION, &value));
  const Id region(object ? H5Rget_region(source_, H5R_DATASET_REGION, &value) : H5I_INVALID_HID);
  const std::string path = region ? find_(object.get()) : std::string();
  if (path.empty() || H5Rcreate(&copy, target_, path.c_str(), H5R_DATASET_REGION, region.get()) < 0) {
    std::memset(&copy, 0, sizeof copy);
    ++lost_;
  }
  H5Eclear2(H5E_DEFAULT);
  std::memcpy(reference, &copy, sizeof copy);
}

void ReferenceMap::translate(hid_t type, std::byte* elements, std::size_t count) {
  const std::string_view name = "a reference";
  const std::size_t size = H5Tget_size(type);
  switch (H5Tget_class(type)) {
    case H5T_REFERENCE: {
      const bool region = check(H5Tequal(type, H5T_STD_REF_DSETREG), attempt, name) > 0;
      for (std::size_t i = 0; i < count; ++i) {
        region ? translate_region(elements + i * size) : translate_object(elements + i * size);
      }
      return;
    }
    case H5T_COMPOUND: {
      const int members = check(H5Tget_nmembers(type), attempt, name);
      for (unsigned k = 0; k < static_cast<unsigned>(members); ++k) {
        const Id member = checked(H5Tget_member_type(type, k), attempt, name);
        if (!content_of(member.get(), name).references) continue;
        const std::size_t offset = H5Tget_member_offset(type, k);
        for (std::size_t i = 0; i < count; ++i) translate(member.get(), elements + i * size + offset, 1);
      }
      return;
    }
    case H5T_ARRAY: {
      const Id item = checked(H5Tget_super(type), attempt, name);
      const std::size_t item_size = H5Tget_size(item.get());
      if (item_size > 0 && content_of(item.get(), name).references) {
        translate(item.get(), elements, count * (size / item_size));
      }
      return;
    }
    case H5T_VLEN: {
      const Id item = checked(H5Tget_super(type), attempt, name);
      if (!content_of(item.get(), name).references) return;
      for (std::size_t i = 0; i < count; ++i) {
        hvl_t sequence;
        std::memcpy(&sequence, elements + i * size, sizeof sequence);
        if (sequence.len > 0) translate(item.get(), static_cast<std::byte*>(sequence.p), sequence.len);
      }
      return;
    }
    default:
      return;
  }
}

void copy_attribute_value(hid_t source, hid_t target, const std::string& attribute, hid_t target_type,
                          ReferenceMap& references, std::string_view name) {
  const Id from = checked(H5Aopen(source, attribute.c_str(), H5P_DEFAULT), attempt, name);
  const Id type = checked(H5Tcopy(checked(H5Aget_type(from.get()), attempt, name).get()), attempt, name);
  const Id space = checked(H5Aget_space(from.get()), attempt, name);
  const Extents extents = describe_space(space.get(), name);
  const auto bytes = extents.null_space ? 0 : extents.shape.checked_bytes(H5Tget_size(type.get()));
  if (!bytes || *bytes > max_attribute_bytes) throw FormatError(attempt, name, "it is larger than 64 MiB");
  const TypeContent content = content_of(type.get(), name);
  const Id to =
      checked(H5Acreate2(target, attribute.c_str(), target_type, space.get(), H5P_DEFAULT, H5P_DEFAULT), attempt, name);
  if (*bytes == 0) return;
  Elements elements(type.get(), space.get(), *bytes, content.variable);
  check(H5Aread(from.get(), type.get(), elements.data()), attempt, name);
  if (content.references) {
    references.translate(type.get(), elements.data(), static_cast<std::size_t>(extents.shape.elements()));
  }
  check(H5Awrite(to.get(), type.get(), elements.data()), attempt, name);
}

void copy_dataset_values(hid_t source, hid_t target, ReferenceMap& references, const std::function<void()>& heartbeat,
                         std::string_view name) {
  const Id type = checked(H5Tcopy(checked(H5Dget_type(source), attempt, name).get()), attempt, name);
  const Id from_space = checked(H5Dget_space(source), attempt, name);
  const Id to_space = checked(H5Dget_space(target), attempt, name);
  const TypeContent content = content_of(type.get(), name);
  const std::size_t item = H5Tget_size(type.get());
  DatasetInfo info = describe_dataset(source, name, StoredBytes::leave_out);
  if (info.null_space) return;
  // For the plan of the pieces: elements of one byte, and as many times fewer of them.
  info.type.dtype = DType::uint8;
  const BoxPlan plan(info, Selection::all(info.shape), std::max<std::uint64_t>(1, piece_bytes / item));
  for (std::uint64_t i = 0; i < plan.size(); ++i) {
    heartbeat();
    const Box box = plan[i];
    const auto count = static_cast<std::size_t>(box.count.elements());
    Id memory;
    if (box.count.rank() == 0) {
      memory = checked(H5Screate(H5S_SCALAR), attempt, name);
    } else {
      const Coordinates start = to_coordinates(box.start);
      const Coordinates extent = to_coordinates(box.count);
      memory = checked(H5Screate_simple(static_cast<int>(box.count.rank()), extent.data(), nullptr), attempt, name);
      for (const hid_t space : {from_space.get(), to_space.get()}) {
        check(H5Sselect_hyperslab(space, H5S_SELECT_SET, start.data(), nullptr, extent.data(), nullptr), attempt, name);
      }
    }
    Elements elements(type.get(), memory.get(), count * item, content.variable);
    check(H5Dread(source, type.get(), memory.get(), from_space.get(), H5P_DEFAULT, elements.data()), attempt, name);
    if (content.references) references.translate(type.get(), elements.data(), count);
    check(H5Dwrite(target, type.get(), memory.get(), to_space.get(), H5P_DEFAULT, elements.data()), attempt, name);
  }
}

}  // namespace runrig::hdf5::detail
