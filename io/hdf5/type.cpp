#include <algorithm>
#include <array>
#include <bit>
#include <cstring>
#include <memory>
#include <string>

#include "byte_order.hpp"
#include "stored_type.hpp"

namespace runrig::hdf5::detail {
namespace {

struct FreeLibraryMemory {
  void operator()(void* memory) const noexcept { H5free_memory(memory); }
};
using LibraryText = std::unique_ptr<char, FreeLibraryMemory>;

/// NumPy's order mark for items of this size.
std::string order_mark(std::size_t bytes, bool big_endian) {
  if (bytes == 1) return "|";
  return big_endian ? ">" : "<";
}

bool has_full_precision(hid_t type, std::size_t bytes) {
  return H5Tget_precision(type) == 8 * bytes && H5Tget_offset(type) == 0;
}

void describe_integer(hid_t type, bool is_signed, StoredType& stored) {
  struct Width {
    std::size_t bytes;
    DType with_sign;
    DType without;
  };
  constexpr std::array widths{Width{1, DType::int8, DType::uint8}, Width{2, DType::int16, DType::uint16},
                              Width{4, DType::int32, DType::uint32}, Width{8, DType::int64, DType::uint64}};
  for (const Width& width : widths) {
    if (stored.item_bytes > width.bytes) continue;
    stored.numeric = true;
    stored.dtype = is_signed ? width.with_sign : width.without;
    stored.direct = stored.item_bytes == width.bytes && has_full_precision(type, width.bytes);
    stored.numpy = order_mark(width.bytes, stored.big_endian) + (is_signed ? "i" : "u") + std::to_string(width.bytes);
    return;
  }
  stored.description = std::to_string(8 * stored.item_bytes) + "-bit integer";  // past 64 bits: none of ours holds it
}

/// How the bits of a floating-point type are used; IEEE's have no gaps and an implied leading bit.
struct FloatLayout {
  std::size_t bytes;
  std::size_t sign, exponent_at, exponent_bits, mantissa_at, mantissa_bits, bias;
};
constexpr FloatLayout binary16{2, 15, 10, 5, 0, 10, 15};
constexpr FloatLayout binary32{4, 31, 23, 8, 0, 23, 127};
constexpr FloatLayout binary64{8, 63, 52, 11, 0, 52, 1023};

bool is_layout(hid_t type, const FloatLayout& layout, std::size_t bytes) {
  std::size_t sign = 0;
  std::size_t exponent_at = 0;
  std::size_t exponent_bits = 0;
  std::size_t mantissa_at = 0;
  std::size_t mantissa_bits = 0;
  if (H5Tget_fields(type, &sign, &exponent_at, &exponent_bits, &mantissa_at, &mantissa_bits) < 0) return false;
  return bytes == layout.bytes && has_full_precision(type, bytes) && sign == layout.sign &&
         exponent_at == layout.exponent_at && exponent_bits == layout.exponent_bits &&
         mantissa_at == layout.mantissa_at && mantissa_bits == layout.mantissa_bits &&
         H5Tget_ebias(type) == layout.bias && H5Tget_norm(type) == H5T_NORM_IMPLIED;
}

/// The smallest of ours that holds every value of a float type, as h5py chooses it.
DType nearest_float(hid_t type) {
  std::size_t unused = 0;
  std::size_t exponent_bits = 0;
  std::size_t mantissa_bits = 0;
  if (H5Tget_fields(type, &unused, &unused, &exponent_bits, &unused, &mantissa_bits) < 0) return DType::float64;
  if (exponent_bits <= 5 && mantissa_bits <= 10) return DType::float16;
  if (exponent_bits <= 8 && mantissa_bits <= 23) return DType::float32;
  return DType::float64;
}

void describe_float(hid_t type, StoredType& stored) {
  stored.numeric = true;
  const bool known_order = H5Tget_order(type) == H5T_ORDER_LE || H5Tget_order(type) == H5T_ORDER_BE;
  stored.direct =
      known_order && (is_layout(type, binary16, stored.item_bytes) || is_layout(type, binary32, stored.item_bytes) ||
                      is_layout(type, binary64, stored.item_bytes));
  stored.dtype = nearest_float(type);
  if (stored.direct) {
    stored.dtype = stored.item_bytes == 2 ? DType::float16 : stored.item_bytes == 4 ? DType::float32 : DType::float64;
  }
  stored.numpy = order_mark(2, stored.big_endian) + "f" + std::to_string(item_bytes(stored.dtype));
}

/// h5py's booleans: an enum of exactly FALSE = 0 and TRUE = 1.
bool is_boolean_enum(hid_t type) {
  if (H5Tget_nmembers(type) != 2) return false;
  bool has[2] = {false, false};
  for (unsigned i = 0; i < 2; ++i) {
    const LibraryText text(H5Tget_member_name(type, i));
    // A member is as wide as the type, which may claim any size: only look where it can be an integer.
    std::array<std::byte, 8> value{};
    if (!text || H5Tget_size(type) > value.size() || H5Tget_member_value(type, i, value.data()) < 0) return false;
    const std::string_view name(text.get());
    unsigned ones = 0;
    for (const std::byte b : value) ones += static_cast<unsigned>(std::popcount(std::to_integer<unsigned>(b)));
    const bool one_at_an_end = value[0] == std::byte{1} || value[H5Tget_size(type) - 1] == std::byte{1};
    if (name == "FALSE" && ones == 0) has[0] = true;
    if (name == "TRUE" && ones == 1 && one_at_an_end) has[1] = true;
  }
  return has[0] && has[1];
}

void describe_enum(hid_t type, StoredType& stored, std::string_view name) {
  const Id base = checked(H5Tget_super(type), "read the type of", name);
  if (H5Tget_class(base.get()) != H5T_INTEGER) {
    stored.description = "enum";
    return;
  }
  describe_integer(base.get(), H5Tget_sign(base.get()) == H5T_SGN_2, stored);
  if (stored.numeric && is_boolean_enum(type)) {
    stored.dtype = DType::boolean;
    stored.direct = stored.direct && stored.item_bytes == 1;
    stored.numpy = "|b1";
  }
}

/// h5py's complex numbers: a compound of two floats of one type, "r" and "i", behind each other. False for others.
bool describe_complex(hid_t type, StoredType& stored, std::string_view name) {
  if (H5Tget_nmembers(type) != 2) return false;
  const LibraryText real(H5Tget_member_name(type, 0));
  const LibraryText imaginary(H5Tget_member_name(type, 1));
  if (!real || !imaginary || std::string_view(real.get()) != "r" || std::string_view(imaginary.get()) != "i")
    return false;
  if (H5Tget_member_class(type, 0) != H5T_FLOAT || H5Tget_member_class(type, 1) != H5T_FLOAT) return false;
  const Id part = checked(H5Tget_member_type(type, 0), "read the type of", name);
  const Id other = checked(H5Tget_member_type(type, 1), "read the type of", name);
  const std::size_t bytes = H5Tget_size(part.get());
  if (check(H5Tequal(part.get(), other.get()), "read the type of", name) == 0) return false;
  if (H5Tget_member_offset(type, 0) != 0 || H5Tget_member_offset(type, 1) != bytes || stored.item_bytes != 2 * bytes) {
    return false;
  }
  const StoredType of_part = describe_type(part.get(), name);
  stored.numeric = true;
  stored.big_endian = of_part.big_endian;
  // float16 becomes float32: there is no complex number of the former.
  stored.dtype = of_part.dtype == DType::float64 ? DType::complex128 : DType::complex64;
  stored.direct = of_part.direct && of_part.dtype == part_dtype(stored.dtype);
  stored.numpy = order_mark(2, stored.big_endian) + "c" + std::to_string(item_bytes(stored.dtype));
  return true;
}

void describe_other(hid_t type, H5T_class_t type_class, StoredType& stored) {
  stored.numpy = "|V" + std::to_string(stored.item_bytes);
  switch (type_class) {
    case H5T_STRING:
      stored.description = "string";
      stored.numpy = H5Tis_variable_str(type) > 0 ? "|O" : "|S" + std::to_string(stored.item_bytes);
      return;
    case H5T_COMPOUND:
      stored.description = "compound";
      return;
    case H5T_OPAQUE:
      stored.description = "opaque";
      return;
    case H5T_ARRAY:
      stored.description = "array";
      return;
    case H5T_TIME:
      stored.description = "time";
      return;
    case H5T_REFERENCE:
      stored.description = "reference";
      stored.numpy = "|O";
      return;
    case H5T_VLEN:
      stored.description = "variable-length";
      stored.numpy = "|O";
      return;
    default:
      stored.description = "unknown";
      return;
  }
}

}  // namespace

StoredType describe_type(hid_t type, std::string_view name) {
  StoredType stored;
  stored.item_bytes = H5Tget_size(type);
  if (stored.item_bytes == 0) fail("read the type of", name);
  const H5T_class_t type_class = H5Tget_class(type);
  const bool has_order =
      type_class == H5T_INTEGER || type_class == H5T_FLOAT || type_class == H5T_BITFIELD || type_class == H5T_ENUM;
  stored.big_endian = has_order && stored.item_bytes > 1 && H5Tget_order(type) == H5T_ORDER_BE;
  switch (type_class) {
    case H5T_INTEGER:
      describe_integer(type, H5Tget_sign(type) == H5T_SGN_2, stored);
      break;
    case H5T_BITFIELD:
      describe_integer(type, false, stored);
      break;
    case H5T_FLOAT:
      describe_float(type, stored);
      break;
    case H5T_ENUM:
      describe_enum(type, stored, name);
      break;
    case H5T_COMPOUND:
      if (!describe_complex(type, stored, name)) describe_other(type, type_class, stored);
      break;
    default:
      describe_other(type, type_class, stored);
      break;
  }
  stored.swapped = stored.big_endian == (std::endian::native == std::endian::little) && stored.item_bytes > 1;
  if (stored.numeric) {
    stored.description = (stored.big_endian ? "big-endian " : "") + std::string(dtype_name(stored.dtype));
  } else {
    stored.direct = false;
    if (stored.numpy.empty()) stored.numpy = "|V" + std::to_string(stored.item_bytes);
  }
  H5Eclear2(H5E_DEFAULT);
  return stored;
}

ElementConversion::ElementConversion(hid_t type, const StoredType& stored, std::string_view name)
    : dtype_(stored.dtype),
      direct_(stored.direct),
      swapped_(stored.swapped),
      parts_(is_complex(stored.dtype) ? 2 : 1),
      part_bytes_(stored.item_bytes / parts_),
      room_bytes_(std::max(stored.item_bytes, item_bytes(stored.dtype))) {
  if (direct_) return;
  if (parts_ == 2) {
    stored_type_ = checked(H5Tget_member_type(type, 0), "read the type of", name);
    memory_type_ = memory_type(part_dtype(dtype_));
    return;
  }
  // The library turns an enum into an integer of its own range only by its members' names: use the integers below.
  stored_type_ = checked(H5Tget_class(type) == H5T_ENUM ? H5Tget_super(type) : H5Tcopy(type), "read the type of", name);
  memory_type_ = memory_type(dtype_ == DType::boolean ? DType::int64 : dtype_);
  if (dtype_ == DType::boolean) room_bytes_ = std::max(room_bytes_, sizeof(std::int64_t));
}

void ElementConversion::convert(std::byte* elements, std::size_t count) const {
  if (count == 0) return;
  if (direct_) {
    if (swapped_) swap_bytes({elements, count * parts_ * part_bytes_}, part_bytes_);
    if (dtype_ == DType::boolean) normalise_booleans({elements, count});
    return;
  }
  // H5Tconvert has one hid_t default for "no transfer properties"; bits outside the precision need no background.
  check(H5Tconvert(stored_type_.get(), memory_type_.get(), count * parts_, elements, nullptr, H5P_DEFAULT), "convert",
        "elements");
  if (dtype_ != DType::boolean) return;
  for (std::size_t i = 0; i < count; ++i) {
    std::int64_t value = 0;
    std::memcpy(&value, elements + i * sizeof(value), sizeof(value));
    elements[i] = static_cast<std::byte>(value != 0);
  }
}

}  // namespace runrig::hdf5::detail
