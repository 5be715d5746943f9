#pragma once

#include <array>
#include <bit>
#include <complex>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <span>
#include <string>
#include <string_view>

#include "datetime_state.hpp"
#include "runrig/channel/big_int.hpp"
#include "runrig/channel/nd_buffer.hpp"
#include "runrig/channel/object.hpp"
#include "runrig/channel/opcodes.hpp"
#include "runrig/sync/error.hpp"

namespace runrig::pickle::detail {

/// How each value that holds no others is written, in each protocol. For what writes whole Objects and for what writes
/// C++ values one by one; a `Sink` takes the bytes:
///
///     int protocol();  void put(Op);  void put_bytes(span);  void put_scalar(Op, T);  void put_payload(Op, Length,
///     span);
template <class Sink>
class Forms {
 public:
  explicit Forms(Sink& sink) noexcept : sink_(sink) {}

  void integer(std::int64_t value) {
    if (value >= 0 && value <= std::numeric_limits<std::uint8_t>::max()) {
      sink_.put_scalar(Op::binint1, static_cast<std::uint8_t>(value));
    } else if (value >= 0 && value <= std::numeric_limits<std::uint16_t>::max()) {
      sink_.put_scalar(Op::binint2, static_cast<std::uint16_t>(value));
    } else if (value >= std::numeric_limits<std::int32_t>::min() && value <= std::numeric_limits<std::int32_t>::max()) {
      sink_.put_scalar(Op::binint, static_cast<std::int32_t>(value));
    } else {
      sink_.put_scalar(Op::long1, static_cast<std::uint8_t>(sizeof value));
      sink_.put_bytes(std::as_bytes(std::span(&value, 1)));
    }
  }

  void big_int(const BigInt& value) {
    const auto bytes = value.bytes();
    if (bytes.size() <= std::numeric_limits<std::uint8_t>::max()) {
      sink_.put_scalar(Op::long1, static_cast<std::uint8_t>(bytes.size()));
    } else if (bytes.size() <= std::size_t{std::numeric_limits<std::int32_t>::max()}) {
      sink_.put_scalar(Op::long4, static_cast<std::uint32_t>(bytes.size()));
    } else {
      throw Error(std::errc::value_too_large, "write", "int");
    }
    sink_.put_bytes(bytes);
  }

  void real(double value) { sink_.put_scalar(Op::binfloat, __builtin_bswap64(std::bit_cast<std::uint64_t>(value))); }

  void complex(std::complex<double> value) {
    global("builtins", "complex");
    real(value.real());
    real(value.imag());
    close_tuple(2);
    sink_.put(Op::reduce);
  }

  /// A str that is known to be UTF-8.
  void text(std::string_view text) {
    const auto bytes = std::as_bytes(std::span(text));
    if (text.size() <= std::numeric_limits<std::uint8_t>::max() && sink_.protocol() >= 4) {
      sink_.put_payload(Op::short_binunicode, static_cast<std::uint8_t>(text.size()), bytes);
    } else if (text.size() <= std::numeric_limits<std::uint32_t>::max()) {
      sink_.put_payload(Op::binunicode, static_cast<std::uint32_t>(text.size()), bytes);
    } else if (sink_.protocol() >= 4) {
      sink_.put_payload(Op::binunicode8, std::uint64_t{text.size()}, bytes);
    } else {
      throw Error(std::errc::value_too_large, "write", "str in an old protocol");
    }
  }

  void bytes(std::span<const std::byte> bytes) {
    if (sink_.protocol() < 3) {
      latin1(bytes);
    } else if (bytes.size() <= std::numeric_limits<std::uint8_t>::max()) {
      sink_.put_payload(Op::short_binbytes, static_cast<std::uint8_t>(bytes.size()), bytes);
    } else if (bytes.size() <= std::numeric_limits<std::uint32_t>::max()) {
      sink_.put_payload(Op::binbytes, static_cast<std::uint32_t>(bytes.size()), bytes);
    } else if (sink_.protocol() >= 4) {
      sink_.put_payload(Op::binbytes8, std::uint64_t{bytes.size()}, bytes);
    } else {
      throw Error(std::errc::value_too_large, "write", "bytes in an old protocol");
    }
  }

  void bytearray(std::span<const std::byte> value) {
    if (sink_.protocol() >= 5) return sink_.put_payload(Op::bytearray8, std::uint64_t{value.size()}, value);
    global("builtins", "bytearray");
    bytes(value);
    close_tuple(1);
    sink_.put(Op::reduce);
  }

  void global(std::string_view module, std::string_view name) {
    if (sink_.protocol() >= 4) {
      text(module);
      text(name);
      return sink_.put(Op::stack_global);
    }
    sink_.put(Op::global);
    line(sink_.protocol() < 3 && module == "builtins" ? "__builtin__" : module);
    line(name);
  }

  /// As array-protocol string: "<f8".
  void dtype(std::string_view dtype) {
    global("numpy", "dtype");
    text(dtype.substr(1));
    sink_.put(Op::newfalse);
    sink_.put(Op::newtrue);
    close_tuple(3);
    sink_.put(Op::reduce);
    sink_.put(Op::mark);
    integer(3);
    text(dtype.substr(0, 1));
    for (int i = 0; i < 3; ++i) sink_.put(Op::none);
    integer(-1);
    integer(-1);
    integer(0);
    sink_.put(Op::tuple);
    sink_.put(Op::build);
  }

  /// In the old spelling, which every NumPy reads without a warning, in each protocol.
  void array(std::string_view dtype_text, const Shape& shape, Order order, std::span<const std::byte> content) {
    array_head();
    extents(shape);
    dtype(dtype_text);
    sink_.put(order == Order::fortran ? Op::newtrue : Op::newfalse);
    bytes(content);
    sink_.put(Op::tuple);
    sink_.put(Op::build);
  }
  /// All that comes before its shape.
  void array_head() {
    global("numpy.core.multiarray", "_reconstruct");
    global("numpy", "ndarray");
    integer(0);
    close_tuple(1);
    bytes(std::array{std::byte{'b'}});
    close_tuple(3);
    sink_.put(Op::reduce);
    sink_.put(Op::mark);
    integer(1);
  }

  /// Over a buffer that goes beside the pickle. By NumPy's public constructor: of the private function that NumPy
  /// itself names here, each spelling is unknown to some version or makes it warn.
  void array_beside(std::string_view dtype_text, const Shape& shape, Order order) {
    array_beside_head();
    extents(shape);
    dtype(dtype_text);
    array_beside_tail(order);
  }
  void array_beside_head() {
    global("numpy", "ndarray");
    sink_.put(Op::mark);
  }
  void array_beside_tail(Order order) {
    sink_.put(Op::next_buffer);
    integer(0);
    sink_.put(Op::none);
    text(order == Order::fortran ? "F" : "C");
    sink_.put(Op::tuple);
    sink_.put(Op::reduce);
  }

  void scalar(const NdBuffer& value) {
    global("numpy.core.multiarray", "scalar");
    dtype(value.dtype());
    bytes(value.bytes());
    close_tuple(2);
    sink_.put(Op::reduce);
  }

  void date(const Date& value) {
    global("datetime", "date");
    bytes(date_state(value));
    close_tuple(1);
    sink_.put(Op::reduce);
  }
  void time(const Time& value) {
    global("datetime", "time");
    bytes(time_state(value));
    close_with_zone(value.zone);
  }
  void datetime(const DateTime& value) {
    global("datetime", "datetime");
    bytes(datetime_state(value));
    close_with_zone(value.time.zone);
  }
  void timedelta(const TimeDelta& value) {
    global("datetime", "timedelta");
    integer(value.days);
    integer(value.seconds);
    integer(value.microseconds);
    close_tuple(3);
    sink_.put(Op::reduce);
  }
  /// Throws Error illegal_byte_sequence for a name that is not UTF-8.
  void timezone(const TimeZone& value) {
    if (value.name && !is_text(*value.name)) throw Error(std::errc::illegal_byte_sequence, "write", "timezone's name");
    global("datetime", "timezone");
    timedelta(value.offset);
    if (value.name) text(*value.name);
    close_tuple(value.name ? 2 : 1);
    sink_.put(Op::reduce);
  }

  void slice(const Slice& value) {
    global("builtins", "slice");
    for (const auto& each : {value.start, value.stop, value.step}) {
      if (each) {
        integer(*each);
      } else {
        sink_.put(Op::none);
      }
    }
    close_tuple(3);
    sink_.put(Op::reduce);
  }

  /// Of up to three items.
  void close_tuple(std::size_t items) {
    constexpr std::array ops{Op::empty_tuple, Op::tuple1, Op::tuple2, Op::tuple3};
    sink_.put(ops[items]);
  }

 private:
  void line(std::string_view text) {
    sink_.put_bytes(std::as_bytes(std::span(text)));
    sink_.put_bytes(std::array{std::byte{'\n'}});
  }

  // Protocol 2 has no bytes: they are text that is to be encoded.
  void latin1(std::span<const std::byte> bytes) {
    std::string encoded;
    encoded.reserve(bytes.size() * 3 / 2);
    for (const std::byte each : bytes) {
      const auto code = std::to_integer<unsigned>(each);
      if (code < 0x80U) {
        encoded.push_back(static_cast<char>(code));
      } else {
        encoded.push_back(static_cast<char>(0xC0U | (code >> 6)));
        encoded.push_back(static_cast<char>(0x80U | (code & 0x3FU)));
      }
    }
    global("_codecs", "encode");
    text(encoded);
    text("latin1");
    close_tuple(2);
    sink_.put(Op::reduce);
  }

  void extents(const Shape& shape) {
    sink_.put(Op::mark);
    for (const std::uint64_t extent : shape) {
      if (extent > std::uint64_t{std::numeric_limits<std::int64_t>::max()}) {
        throw Error(std::errc::value_too_large, "write", "array of shape " + to_string(shape));
      }
      integer(static_cast<std::int64_t>(extent));
    }
    sink_.put(Op::tuple);
  }

  void close_with_zone(const std::optional<TimeZone>& zone) {
    if (zone) timezone(*zone);
    close_tuple(zone ? 2 : 1);
    sink_.put(Op::reduce);
  }

  Sink& sink_;
};

}  // namespace runrig::pickle::detail
