#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <cstring>

#include "dataset_info.hpp"
#include "file_state.hpp"
#include "json_text.hpp"
#include "stored_type.hpp"

namespace runrig::hdf5::detail {
namespace {

constexpr std::string_view attempt = "read attribute";
constexpr std::size_t max_names = 100'000;                      // per object
constexpr std::size_t max_value_bytes = std::size_t{16} << 20;  // read at all
constexpr std::size_t shown_bytes = 1024;                       // of the text

extern "C" herr_t collect_name(hid_t, const char* name, const H5A_info_t*, void* names) {
  auto& list = *static_cast<std::vector<std::string>*>(names);
  try {
    list.emplace_back(name);
  } catch (...) {  // through a C library nothing may be thrown; the caller sees the failure
    return -1;
  }
  return list.size() >= max_names ? 1 : 0;
}

/// Appends element `i` of what was read.
using AppendElement = std::function<void(std::string&, std::size_t)>;

/// Nested lists in C order; cut, and marked so, where the text gets long.
void append_nested(std::string& out, const Shape& shape, std::size_t axis, std::size_t& next,
                   const AppendElement& element) {
  if (axis == shape.rank()) {
    element(out, next++);
    return;
  }
  out += '[';
  for (std::uint64_t i = 0; i < shape[axis]; ++i) {
    if (i > 0) out += ", ";
    if (out.size() > shown_bytes) {
      out += "\"...\"";
      break;
    }
    append_nested(out, shape, axis + 1, next, element);
  }
  out += ']';
}

template <class T>
void append_number(std::string& out, const std::byte* at) {
  T value;
  std::memcpy(&value, at, sizeof(T));
  if constexpr (std::is_same_v<T, bool>) {
    out += value ? "true" : "false";
  } else if constexpr (std::is_integral_v<T>) {
    out += std::to_string(value);
  } else if constexpr (std::is_same_v<T, float>) {
    // The shortest digits of the float, not of the double that it equals: 0.1, not 0.10000000149011612.
    std::array<char, 32> digits;
    if (std::isfinite(value)) {
      out.append(digits.data(), std::to_chars(digits.data(), digits.data() + digits.size(), value).ptr);
    } else {
      append_json_number(out, static_cast<double>(value));
    }
  } else if constexpr (std::is_same_v<T, half>) {
    append_json_number(out, static_cast<double>(static_cast<float>(value)));
  } else {
    append_json_number(out, value);
  }
}

/// JSON has no complex numbers: an object with the names that their parts have in the file.
void append_complex(std::string& out, DType dtype, const std::byte* at) {
  visit_dtype(part_dtype(dtype), [&]<class T>(std::type_identity<T>) {
    out += "{\"r\": ";
    append_number<T>(out, at);
    out += ", \"i\": ";
    append_number<T>(out, at + sizeof(T));
    out += '}';
  });
}

std::size_t value_bytes(const AttributeInfo& info, std::size_t item_bytes, std::string_view name) {
  const auto bytes = info.shape.checked_bytes(item_bytes);
  if (!bytes || *bytes > max_value_bytes) {
    throw FormatError(attempt, name, "a value of shape " + to_string(info.shape) + " is too large to show");
  }
  return *bytes;
}

void read_numbers(hid_t attribute, hid_t type, AttributeInfo& info, std::string_view name) {
  const ElementConversion conversion(type, info.type, name);
  std::vector<std::byte> values(value_bytes(info, conversion.room_bytes(), name));
  const auto count = static_cast<std::size_t>(info.shape.elements());
  if (count > 0) {
    check(H5Aread(attribute, type, values.data()), attempt, name);
    conversion.convert(values.data(), count);
  }
  std::size_t next = 0;
  append_nested(info.value, info.shape, 0, next, [&](std::string& out, std::size_t i) {
    if (is_complex(info.type.dtype))
      return append_complex(out, info.type.dtype, &values[i * item_bytes(info.type.dtype)]);
    visit_dtype(info.type.dtype,
                [&]<class T>(std::type_identity<T>) { append_number<T>(out, &values[i * sizeof(T)]); });
  });
}

/// Appends what an element shows: up to the first NUL, without a fixed string's padding; cut, and marked so, where it
/// gets long.
void append_text(std::string& out, std::string_view text, bool space_padded) {
  text = text.substr(0, text.find('\0'));
  if (space_padded) text = text.substr(0, text.find_last_not_of(' ') + 1);
  if (text.size() <= shown_bytes) {
    append_json_string(out, text);
    return;
  }
  std::size_t length = shown_bytes;
  while (length > shown_bytes - 4 && (static_cast<unsigned char>(text[length]) & 0xc0U) == 0x80) --length;
  append_json_string(out, std::string(text.substr(0, length)) + "...");
}

void read_fixed_strings(hid_t attribute, hid_t type, AttributeInfo& info, std::string_view name) {
  const std::size_t width = info.type.item_bytes;
  std::vector<char> values(value_bytes(info, width, name));
  if (!values.empty()) check(H5Aread(attribute, type, values.data()), attempt, name);
  const bool space_padded = H5Tget_strpad(type) == H5T_STR_SPACEPAD;
  std::size_t next = 0;
  append_nested(info.value, info.shape, 0, next, [&](std::string& out, std::size_t i) {
    append_text(out, {values.data() + i * width, width}, space_padded);
  });
}

/// Pointers that the library fills with texts of its own, and frees.
class VariableStrings {
 public:
  VariableStrings(hid_t attribute, hid_t type, std::size_t count, std::string_view name)
      : space_(checked(H5Aget_space(attribute), attempt, name)),
        type_(checked(H5Tcopy(type), attempt, name)),
        texts_(count, nullptr) {
    if (count > 0) check(H5Aread(attribute, type_.get(), texts_.data()), attempt, name);
  }
  VariableStrings(const VariableStrings&) = delete;
  VariableStrings& operator=(const VariableStrings&) = delete;
  ~VariableStrings() { H5Dvlen_reclaim(type_.get(), space_.get(), H5P_DEFAULT, texts_.data()); }
  [[nodiscard]] std::string_view operator[](std::size_t i) const {
    return texts_[i] == nullptr ? std::string_view() : std::string_view(texts_[i]);
  }

 private:
  Id space_;
  Id type_;
  std::vector<char*> texts_;
};

void read_variable_strings(hid_t attribute, hid_t type, AttributeInfo& info, std::string_view name) {
  const std::size_t count = value_bytes(info, sizeof(char*), name) / sizeof(char*);
  const VariableStrings texts(attribute, type, count, name);
  std::size_t next = 0;
  append_nested(info.value, info.shape, 0, next,
                [&](std::string& out, std::size_t i) { append_text(out, texts[i], false); });
}

void read_value(hid_t attribute, hid_t type, AttributeInfo& info, std::string_view name) {
  if (info.null_space) {
    info.value = "null";
  } else if (info.type.numeric) {
    read_numbers(attribute, type, info, name);
  } else if (H5Tget_class(type) != H5T_STRING) {
    append_json_string(info.value, "<" + info.type.description + ">");
  } else if (H5Tis_variable_str(type) > 0) {
    read_variable_strings(attribute, type, info, name);
  } else {
    read_fixed_strings(attribute, type, info, name);
  }
}

AttributeInfo read_attribute(hid_t object, const std::string& attribute_name, std::string_view object_name) {
  AttributeInfo info;
  info.name = attribute_name;
  const std::string name = std::string(object_name) + " @" + printable(attribute_name);
  try {
    const Id attribute = checked(H5Aopen(object, attribute_name.c_str(), H5P_DEFAULT), attempt, name);
    const Id type = checked(H5Aget_type(attribute.get()), attempt, name);
    const Id space = checked(H5Aget_space(attribute.get()), attempt, name);
    info.type = describe_type(type.get(), name);
    const Extents extents = describe_space(space.get(), name);
    info.shape = extents.shape;
    info.null_space = extents.null_space;
    read_value(attribute.get(), type.get(), info, name);
  } catch (const Error& error) {
    info.value.clear();
    info.error = error.what();
  }
  return info;
}

}  // namespace

std::vector<std::string> attribute_names(hid_t object, std::string_view name) {
  std::vector<std::string> names;
  hsize_t position = 0;
  if (H5Aiterate2(object, H5_INDEX_CRT_ORDER, H5_ITER_INC, &position, collect_name, &names) < 0) {
    H5Eclear2(H5E_DEFAULT);
    names.clear();
    position = 0;
    check(H5Aiterate2(object, H5_INDEX_NAME, H5_ITER_NATIVE, &position, collect_name, &names), "list attributes of",
          name);
  }
  return names;
}

std::vector<AttributeInfo> read_attributes(hid_t object, std::string_view name) {
  std::vector<AttributeInfo> attributes;
  for (const std::string& attribute : attribute_names(object, name)) {
    attributes.push_back(read_attribute(object, attribute, name));
  }
  return attributes;
}

}  // namespace runrig::hdf5::detail
