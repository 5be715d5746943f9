#include "library.hpp"

#include <array>
#include <mutex>

#include "filters.hpp"

namespace runrig::hdf5::detail {
namespace {

using Reason = std::array<char, 5120>;  // the file's name may be in it

// "file write failed: time = ..., filename = ..., errno = 28, error message = 'No space left on device', buf = ..." is
// of interest at its beginning and in its message.
std::string_view message_in(std::string_view reason, std::string_view& head) {
  constexpr std::string_view mark = "error message = '";
  const auto end = reason.find(": time = ");
  const auto at = reason.rfind(mark);
  if (end == std::string_view::npos || at == std::string_view::npos || at < end) return {};
  head = reason.substr(0, end);
  const std::string_view message = reason.substr(at + mark.size());
  return message.substr(0, message.find('\''));
}

extern "C" herr_t keep_innermost(unsigned n, const H5E_error2_t* entry, void* text) {
  // Through a C library: nothing may be thrown here, and an allocation could. A fixed buffer, cut.
  if (n == 0 && entry->desc != nullptr) {
    auto& reason = *static_cast<Reason*>(text);
    const std::string_view description(entry->desc);
    const std::size_t length = description.copy(reason.data(), reason.size() - 1);
    reason[length] = '\0';
  }
  return 0;
}

Id half_type() {
  Id type(H5Tcopy(H5T_IEEE_F32LE));
  // The library has no name for binary16: sign at 15, five bits of exponent at 10, ten of mantissa, bias 15.
  if (H5Tset_fields(type.get(), 15, 10, 5, 0, 10) < 0 || H5Tset_size(type.get(), 2) < 0 ||
      H5Tset_ebias(type.get(), 15) < 0) {
    fail("make a type for", "float16");
  }
  return type;
}

hid_t native_type(DType dtype) {
  switch (dtype) {
    case DType::boolean:
    case DType::int8:
      return H5T_NATIVE_INT8;
    case DType::uint8:
      return H5T_NATIVE_UINT8;
    case DType::int16:
      return H5T_NATIVE_INT16;
    case DType::uint16:
      return H5T_NATIVE_UINT16;
    case DType::int32:
      return H5T_NATIVE_INT32;
    case DType::uint32:
      return H5T_NATIVE_UINT32;
    case DType::int64:
      return H5T_NATIVE_INT64;
    case DType::uint64:
      return H5T_NATIVE_UINT64;
    case DType::float32:
      return H5T_NATIVE_FLOAT;
    case DType::float16:
    case DType::float64:
    case DType::complex64:
    case DType::complex128:
      break;
  }
  return H5T_NATIVE_DOUBLE;
}

}  // namespace

void Id::reset() noexcept {
  if (id_ >= 0) H5Idec_ref(std::exchange(id_, H5I_INVALID_HID));
}

void start_library() {
  static std::once_flag once;
  std::call_once(once, [] {
    // Its exit handler would flush and free what a damaged file left half-made, at a time when nobody can report it.
    // Fails only where the program has started the library already: then its exit is the program's own affair.
    (void)H5dont_atexit();
    if (H5open() < 0) fail("start", "the HDF5 library");
    register_codecs();
  });
  thread_local const bool silent = H5Eset_auto2(H5E_DEFAULT, nullptr, nullptr) >= 0;
  (void)silent;
}

std::string printable(std::string_view text, std::size_t limit) {
  constexpr std::string_view digits = "0123456789abcdef";
  std::string line;
  for (const char c : text) {
    if (line.size() >= limit) return line + "...";
    const auto byte = static_cast<unsigned char>(c);
    if (byte >= 0x20 && byte != 0x7f) {
      line += c;
    } else {
      line.append("\\x").append(1, digits[byte >> 4]).append(1, digits[byte & 15]);
    }
  }
  return line;
}

std::string last_reason() {
  Reason reason{};
  H5Ewalk2(H5E_DEFAULT, H5E_WALK_UPWARD, keep_innermost, &reason);
  H5Eclear2(H5E_DEFAULT);
  if (reason[0] == '\0') return "the HDF5 library gives no reason";
  std::string_view head;
  const std::string_view message = message_in(reason.data(), head);
  if (!message.empty()) return "the HDF5 library says: " + printable(head) + ": " + printable(message);
  return "the HDF5 library says: " + printable(std::string_view(reason.data()).substr(0, 511));
}

void fail(std::string_view attempted, std::string_view name) {
  const std::string reason = last_reason();  // first: whatever is called next clears it
  throw FormatError(attempted, name, reason);
}

namespace {

/// h5py's form of complex numbers.
Id complex_type(const Id& part) {
  const std::size_t bytes = H5Tget_size(part.get());
  Id type = checked(H5Tcreate(H5T_COMPOUND, 2 * bytes), "make a type for", "complex numbers");
  check(H5Tinsert(type.get(), "r", 0, part.get()), "make a type for", "complex numbers");
  check(H5Tinsert(type.get(), "i", bytes, part.get()), "make a type for", "complex numbers");
  return type;
}

}  // namespace

Id memory_type(DType dtype) {
  if (is_complex(dtype)) return complex_type(memory_type(part_dtype(dtype)));
  return dtype == DType::float16 ? half_type() : checked(H5Tcopy(native_type(dtype)), "make a type for", "elements");
}

Id file_type(DType dtype, bool big_endian) {
  if (dtype == DType::boolean) {
    Id type = checked(H5Tenum_create(H5T_NATIVE_INT8), "make a type for", "booleans");
    const std::int8_t no = 0;
    const std::int8_t yes = 1;
    check(H5Tenum_insert(type.get(), "FALSE", &no), "make a type for", "booleans");
    check(H5Tenum_insert(type.get(), "TRUE", &yes), "make a type for", "booleans");
    return type;
  }
  if (is_complex(dtype)) return complex_type(file_type(part_dtype(dtype), big_endian));
  Id type = memory_type(dtype);
  if (item_bytes(dtype) > 1) {
    check(H5Tset_order(type.get(), big_endian ? H5T_ORDER_BE : H5T_ORDER_LE), "make a type for", "elements");
  }
  return type;
}

}  // namespace runrig::hdf5::detail
