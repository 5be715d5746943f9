#include "conventions.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>
#include <limits>
#include <optional>
#include <string>
#include <vector>

#include "dataset_info.hpp"
#include "file_state.hpp"
#include "stored_type.hpp"

namespace runrig::hdf5::detail {
namespace {

constexpr std::string_view attempt = "unpack";
constexpr std::size_t most_values = 1024;  // of an attribute
// What netCDF fills with where no _FillValue is given; for floats of either size.
constexpr double netcdf_default_fill = 9.9692099683868690e+36;
static_assert(std::numeric_limits<long double>::digits >= 64, "holds every element there is exactly");

/// Numbers of an attribute, each exact.
struct Numbers {
  DType dtype = DType::float64;
  std::vector<long double> values;
};

std::optional<Numbers> read_numbers(hid_t dataset, const char* attribute_name, std::string_view name) {
  if (check(H5Aexists(dataset, attribute_name), attempt, name) == 0) return std::nullopt;
  const Id attribute = checked(H5Aopen(dataset, attribute_name, H5P_DEFAULT), attempt, name);
  const Id type = checked(H5Aget_type(attribute.get()), attempt, name);
  const Id space = checked(H5Aget_space(attribute.get()), attempt, name);
  const StoredType stored = describe_type(type.get(), name);
  const Extents extents = describe_space(space.get(), name);
  const auto count = extents.shape.checked_elements();
  if (!stored.numeric || is_complex(stored.dtype) || extents.null_space || !count || *count == 0 ||
      *count > most_values)
    return std::nullopt;
  const ElementConversion conversion(type.get(), stored, name);
  std::vector<std::byte> bytes(*count * conversion.room_bytes());
  check(H5Aread(attribute.get(), type.get(), bytes.data()), attempt, name);
  conversion.convert(bytes.data(), *count);
  Numbers numbers{stored.dtype, {}};
  visit_dtype(stored.dtype, [&]<class T>(std::type_identity<T>) {
    for (std::size_t i = 0; i < *count; ++i) {
      T value;
      std::memcpy(&value, bytes.data() + i * sizeof value, sizeof value);
      if constexpr (std::is_same_v<T, half>) {
        numbers.values.push_back(static_cast<long double>(static_cast<float>(value)));
      } else {
        numbers.values.push_back(static_cast<long double>(value));
      }
    }
  });
  return numbers;
}

/// What `_Unsigned` says, where it is a text.
std::string read_text(hid_t dataset, const char* attribute_name, std::string_view name) {
  if (check(H5Aexists(dataset, attribute_name), attempt, name) == 0) return "";
  for (const AttributeInfo& each : read_attributes(dataset, name)) {
    if (each.name == attribute_name) return each.value;
  }
  return "";
}

/// The one number of scale_factor or add_offset.
std::optional<Numbers> read_factor(hid_t dataset, const char* attribute_name, std::string_view name) {
  if (check(H5Aexists(dataset, attribute_name), attempt, name) == 0) return std::nullopt;
  auto numbers = read_numbers(dataset, attribute_name, name);
  // Left out without a word, the elements would be wrong.
  if (!numbers || numbers->values.size() != 1) {
    throw FormatError(attempt, name, "its attribute " + std::string(attribute_name) + " is not one number");
  }
  return numbers;
}

DType other_sign(DType dtype) {
  switch (dtype) {
    case DType::int8:
      return DType::uint8;
    case DType::uint8:
      return DType::int8;
    case DType::int16:
      return DType::uint16;
    case DType::uint16:
      return DType::int16;
    case DType::int32:
      return DType::uint32;
    case DType::uint32:
      return DType::int32;
    case DType::int64:
      return DType::uint64;
    case DType::uint64:
      return DType::int64;
    default:
      return dtype;
  }
}

/// The attributes of a dataset that say what its elements mean.
struct Attributes {
  DType packed = DType::float64;  // of the elements, with the sign that they have
  std::optional<Numbers> scale;
  std::optional<Numbers> offset;
  std::vector<long double> missing;
  std::optional<Numbers> least;
  std::optional<Numbers> most;

  [[nodiscard]] bool scales() const { return scale || offset; }
  [[nodiscard]] bool masks() const { return !missing.empty() || least || most; }

  /// The wider of the factors' types; integers count as float64.
  [[nodiscard]] DType factor_type() const {
    const auto is_single = [](const auto& factor) { return !factor || factor->dtype == DType::float32; };
    return is_single(scale) && is_single(offset) ? DType::float32 : DType::float64;
  }

  /// NumPy's type for packed elements times the factors; without any, the smallest float that holds the elements.
  [[nodiscard]] DType unpacked() const {
    if (!scales() && !masks()) return packed;
    if (!scales() && is_floating(packed)) return packed;
    const bool small = is_floating(packed) ? packed != DType::float64 : item_bytes(packed) <= 2;
    const bool single = small && (!scales() || factor_type() == DType::float32);
    return single ? DType::float32 : DType::float64;
  }

  /// A limit is about unpacked numbers if its type is that of the factors, and wider than the elements': then it
  /// cannot be about packed ones.
  [[nodiscard]] bool is_of_unpacked(const Numbers& limit) const {
    return scales() && !is_floating(packed) && is_floating(limit.dtype) && limit.dtype == factor_type();
  }
};

/// `value` as an element; none if the type has no such number.
template <class T>
std::optional<T> as_element(long double value) {
  if constexpr (std::is_same_v<T, half>) {
    return half(static_cast<float>(value));
  } else if constexpr (std::is_floating_point_v<T>) {
    return static_cast<T>(value);
  } else {
    const bool inside = value >= static_cast<long double>(std::numeric_limits<T>::lowest()) &&
                        value <= static_cast<long double>(std::numeric_limits<T>::max()) && value == std::floor(value);
    if (!inside) return std::nullopt;
    return static_cast<T>(value);
  }
}

bool is_element(DType dtype, long double value) {
  return visit_dtype(dtype, [value]<class T>(std::type_identity<T>) { return as_element<T>(value).has_value(); });
}

template <class Packed, class Result>
class TypedUnpacking final : public Unpacking {
 public:
  TypedUnpacking(const Attributes& attributes, DatasetInfo info)
      : info_(std::move(info)), scales_(attributes.scale.has_value()), shifts_(attributes.offset.has_value()) {
    if (attributes.scale) scale_ = static_cast<Number>(attributes.scale->values[0]);
    if (attributes.offset) offset_ = static_cast<Number>(attributes.offset->values[0]);
    for (const long double each : attributes.missing) {
      // A NaN is one already.
      if (const auto element = as_element<Packed>(each); element && !std::isnan(each)) missing_.push_back(*element);
    }
    add_limit(attributes, attributes.least, least_, unpacked_least_);
    add_limit(attributes, attributes.most, most_, unpacked_most_);
    std::vector<std::byte> fill(sizeof(Result));
    unpack(info_.fill.data(), fill.data(), 1);
    info_.fill = std::move(fill);
  }

  [[nodiscard]] const DatasetInfo& info() const noexcept override { return info_; }

  void unpack(const std::byte* packed, std::byte* out, std::size_t count) const override {
    std::array<Packed, block> in;
    std::array<Number, block> numbers;
    for (std::size_t first = 0; first < count; first += block) {
      const std::size_t n = std::min(block, count - first);
      std::memcpy(in.data(), packed + first * sizeof(Packed), n * sizeof(Packed));
      for (std::size_t i = 0; i < n; ++i) numbers[i] = static_cast<Number>(comparable(in[i]));
      if constexpr (std::is_floating_point_v<Number>) {
        if (scales_) {
          for (std::size_t i = 0; i < n; ++i) numbers[i] *= scale_;
        }
        if (shifts_) {
          for (std::size_t i = 0; i < n; ++i) numbers[i] += offset_;
        }
      }
      mask(in.data(), numbers.data(), n);
      store(numbers.data(), out + first * sizeof(Result), n);
    }
  }

 private:
  static constexpr std::size_t block = 512;
  // halves are computed as floats, to which they convert.
  using Number = std::conditional_t<std::is_same_v<Result, half>, float, Result>;

  void add_limit(const Attributes& attributes, const std::optional<Numbers>& limit, std::optional<Packed>& packed,
                 std::optional<Number>& unpacked) {
    if (!limit) return;
    if (attributes.is_of_unpacked(*limit)) {
      unpacked = static_cast<Number>(limit->values[0]);
    } else {
      packed = as_element<Packed>(limit->values[0]);
    }
  }

  static auto comparable(Packed value) {
    if constexpr (std::is_same_v<Packed, half>) {
      return static_cast<float>(value);
    } else {
      return value;
    }
  }

  void mask(const Packed* in, Number* numbers, std::size_t n) const {
    if constexpr (std::is_floating_point_v<Number>) {
      constexpr Number nan = std::numeric_limits<Number>::quiet_NaN();
      for (const Packed each : missing_) {
        const auto value = comparable(each);
        for (std::size_t i = 0; i < n; ++i) numbers[i] = comparable(in[i]) == value ? nan : numbers[i];
      }
      if (least_) {
        const auto value = comparable(*least_);
        for (std::size_t i = 0; i < n; ++i) numbers[i] = comparable(in[i]) < value ? nan : numbers[i];
      }
      if (most_) {
        const auto value = comparable(*most_);
        for (std::size_t i = 0; i < n; ++i) numbers[i] = comparable(in[i]) > value ? nan : numbers[i];
      }
      if (unpacked_least_) {
        for (std::size_t i = 0; i < n; ++i) numbers[i] = numbers[i] < *unpacked_least_ ? nan : numbers[i];
      }
      if (unpacked_most_) {
        for (std::size_t i = 0; i < n; ++i) numbers[i] = numbers[i] > *unpacked_most_ ? nan : numbers[i];
      }
    }
  }

  static void store(const Number* numbers, std::byte* out, std::size_t n) {
    if constexpr (std::is_same_v<Result, half>) {
      for (std::size_t i = 0; i < n; ++i) {
        const half value(numbers[i]);
        std::memcpy(out + i * sizeof value, &value, sizeof value);
      }
    } else {
      std::memcpy(out, numbers, n * sizeof(Result));
    }
  }

  DatasetInfo info_;
  bool scales_;
  bool shifts_;
  Number scale_{1};
  Number offset_{0};
  std::vector<Packed> missing_;
  std::optional<Packed> least_;
  std::optional<Packed> most_;
  std::optional<Number> unpacked_least_;
  std::optional<Number> unpacked_most_;
};

Attributes read_attributes_of(hid_t dataset, const DatasetInfo& stored, std::string_view name) {
  Attributes attributes;
  attributes.packed = stored.type.dtype;
  const std::string is_unsigned = read_text(dataset, "_Unsigned", name);
  const bool to_unsigned = is_unsigned == "\"true\"" || is_unsigned == "\"True\"";
  const bool to_signed = is_unsigned == "\"false\"" || is_unsigned == "\"False\"";
  if (!is_floating(attributes.packed) && (is_signed(attributes.packed) ? to_unsigned : to_signed)) {
    attributes.packed = other_sign(attributes.packed);
  }
  // Attributes of the stored type mean what their bits are with the other sign.
  const auto with_sign = [&](long double value) {
    if (attributes.packed == stored.type.dtype) return value;
    const long double all = std::ldexp(1.0L, static_cast<int>(8 * item_bytes(attributes.packed)));
    if (to_unsigned) return value < 0 ? value + all : value;
    return value >= all / 2 ? value - all : value;
  };
  attributes.scale = read_factor(dataset, "scale_factor", name);
  attributes.offset = read_factor(dataset, "add_offset", name);
  bool has_fill = false;
  for (const char* const each : {"_FillValue", "missing_value"}) {
    const auto numbers = read_numbers(dataset, each, name);
    if (!numbers) continue;
    has_fill = has_fill || each[0] == '_';
    for (const long double value : numbers->values) {
      if (is_element(attributes.packed, with_sign(value))) attributes.missing.push_back(with_sign(value));
    }
  }
  if (!has_fill && is_floating(attributes.packed) && attributes.packed != DType::float16 && stored.fill_defined) {
    const long double fill =
        attributes.packed == DType::float32 ? static_cast<float>(netcdf_default_fill) : netcdf_default_fill;
    const auto& bytes = stored.fill;
    long double value = 0;
    if (attributes.packed == DType::float32) {
      float single = 0;
      std::memcpy(&single, bytes.data(), sizeof single);
      value = single;
    } else {
      double real = 0;
      std::memcpy(&real, bytes.data(), sizeof real);
      value = real;
    }
    if (value == fill) attributes.missing.push_back(fill);
  }
  const auto limit = [&](std::optional<Numbers>& to, Numbers from, std::size_t at) {
    from.values = {is_floating(from.dtype) ? from.values[at] : with_sign(from.values[at])};
    to = std::move(from);
  };
  const auto range = read_numbers(dataset, "valid_range", name);
  if (range && range->values.size() == 2) {
    limit(attributes.least, *range, 0);
    limit(attributes.most, *range, 1);
  } else {
    if (const auto least = read_numbers(dataset, "valid_min", name)) limit(attributes.least, *least, 0);
    if (const auto most = read_numbers(dataset, "valid_max", name)) limit(attributes.most, *most, 0);
  }
  return attributes;
}

DatasetInfo describe_unpacked(const DatasetInfo& stored, DType dtype, bool masks) {
  DatasetInfo info = stored;
  info.unpacked = true;
  info.masked = masks;
  StoredType& type = info.type;
  type.dtype = dtype;
  type.direct = false;
  type.numpy = std::string(dtype_string(dtype));
  if (type.big_endian && type.numpy[0] == '<') type.numpy[0] = '>';
  type.description = std::string(dtype_name(dtype));
  return info;
}

template <class Packed>
std::unique_ptr<Unpacking> make_unpacking(const Attributes& attributes, DatasetInfo info) {
  const DType result = info.type.dtype;
  if (result == DType::float32) {
    if constexpr (sizeof(Packed) <= sizeof(float)) {
      return std::make_unique<TypedUnpacking<Packed, float>>(attributes, std::move(info));
    }
  }
  if (result == attributes.packed) return std::make_unique<TypedUnpacking<Packed, Packed>>(attributes, std::move(info));
  return std::make_unique<TypedUnpacking<Packed, double>>(attributes, std::move(info));
}

}  // namespace

std::unique_ptr<Unpacking> find_unpacking(hid_t dataset, const DatasetInfo& stored, std::string_view name) {
  if (!stored.type.numeric || stored.type.dtype == DType::boolean || is_complex(stored.type.dtype)) return nullptr;
  const Attributes attributes = read_attributes_of(dataset, stored, name);
  const DType result = attributes.unpacked();
  if (result == stored.type.dtype && !attributes.scales() && !attributes.masks()) return nullptr;
  return visit_dtype(attributes.packed, [&]<class T>(std::type_identity<T>) -> std::unique_ptr<Unpacking> {
    if constexpr (std::is_same_v<T, bool>) {
      return nullptr;
    } else {
      return make_unpacking<T>(attributes, describe_unpacked(stored, result, attributes.masks()));
    }
  });
}

}  // namespace runrig::hdf5::detail
