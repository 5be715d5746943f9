#pragma once

#include <array>
#include <chrono>
#include <cmath>
#include <complex>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <limits>
#include <ratio>
#include <span>
#include <stdexcept>
#include <string>
#include <string_view>
#include <tuple>
#include <type_traits>
#include <utility>
#include <variant>

#include "runrig/channel/aggregate_fields.hpp"
#include "runrig/channel/decoder.hpp"
#include "runrig/channel/encoder.hpp"

/// How values of single types cross between processes. See transfer.hpp.
namespace runrig {

/// Specialise as true for a trivially copyable struct or union that is no aggregate of transferable fields: its bytes
/// travel as they are. For types without pointers, between programs built alike.
template <class T>
inline constexpr bool transfers_as_bytes = false;

/// How a T crosses. Specialise for types of your own:
///
///     template <>
///     struct runrig::Transfer<Fraction> {
///       static void write(pickle::Encoder& encoder, const Fraction& value);
///       static Fraction read(pickle::Decoder& decoder);   // or another type that it arrives as
///       static constexpr bool hashable = true;            // if Python can hash what is written: for keys of maps
///     };
///
/// read() takes what write() put, in that order. It must not rely on the bytes: they may come from anywhere.
template <class T>
struct Transfer {};

namespace detail {
template <class T>
concept HasTransfer = requires(pickle::Encoder& encoder, pickle::Decoder& decoder, const T& value) {
  Transfer<T>::write(encoder, value);
  Transfer<T>::read(decoder);
};
}  // namespace detail

/// What can be sent to another process: bool, char, integers, float and double, enums, std::complex; std::string,
/// string_view, const char*, std::filesystem::path; vector, span, array, tuple, pair, optional, variant, maps and sets
/// of such; chrono durations, time points and year_month_day; pickle::Object and its kin; aggregates of such with up to
/// 32 fields; types declared transfers_as_bytes; and whatever has `handle()` and a static `attach(handle)`, as the
/// objects in shared memory do. References and const do not count: the value is sent.
template <class T>
concept Transferable = detail::HasTransfer<std::decay_t<T>>;

/// What arrives when a T is sent: T itself, except that what does not own its value arrives as what does: a
/// string_view or const char* as std::string, a span as vector, an NdView as OwnedView (transfer_shm.hpp).
template <class T>
using Received = decltype(Transfer<std::decay_t<T>>::read(std::declval<pickle::Decoder&>()));

namespace detail {
/// Arrives as what it is.
template <class T>
concept Owning = HasTransfer<T> && std::is_same_v<Received<T>, T>;
template <class T>
inline constexpr bool hashable = false;
template <class T>
requires requires { Transfer<T>::hashable; }
inline constexpr bool hashable<T> = Transfer<T>::hashable;
/// Can be a key of a dict or a member of a set, in Python.
template <class T>
concept Key = Owning<T> && hashable<T>;

template <class T>
concept PlainInteger = std::integral<T> && !std::same_as<T, bool> && !std::same_as<T, char>;
template <class T>
concept PlainReal = std::same_as<T, float> || std::same_as<T, double>;
/// Elements whose arrays travel as Python's bytes.
template <class T>
concept ByteLike = std::same_as<T, std::byte> || std::same_as<T, unsigned char> || std::same_as<T, char>;
}  // namespace detail

/// A bool.
template <>
struct Transfer<bool> {
  static constexpr bool hashable = true;
  static void write(pickle::Encoder& encoder, bool value) { encoder.boolean(value); }
  static bool read(pickle::Decoder& decoder) { return decoder.boolean(); }
};

/// Bytes of length one, as in Python's ctypes (c_char) and struct ('c'): a char need not be a character by itself.
template <>
struct Transfer<char> {
  static constexpr bool hashable = true;
  static void write(pickle::Encoder& encoder, char value) { encoder.bytes(std::as_bytes(std::span(&value, 1))); }
  static char read(pickle::Decoder& decoder) {
    const auto bytes = decoder.bytes();
    if (bytes.size() != 1) decoder.fail("expected one byte, found " + std::to_string(bytes.size()));
    return static_cast<char>(bytes[0]);
  }
};

/// An int; one that does not fit is refused by its number.
template <detail::PlainInteger T>
struct Transfer<T> {
  static constexpr bool hashable = true;
  static void write(pickle::Encoder& encoder, T value) {
    if constexpr (std::is_signed_v<T> || sizeof(T) < sizeof(std::int64_t)) {
      encoder.integer(static_cast<std::int64_t>(value));
    } else {
      encoder.integer_unsigned(value);
    }
  }
  static T read(pickle::Decoder& decoder) { return decoder.integer<T>(); }
};

/// A float; an int is read as one. (No long double: Python's float does not hold it.)
template <detail::PlainReal T>
struct Transfer<T> {
  static constexpr bool hashable = true;
  static void write(pickle::Encoder& encoder, T value) { encoder.real(static_cast<double>(value)); }
  static T read(pickle::Decoder& decoder) {
    const double value = decoder.real();
    if constexpr (std::same_as<T, float>) {
      if (std::isfinite(value) && std::abs(value) > static_cast<double>(std::numeric_limits<float>::max())) {
        decoder.fail(std::to_string(value) + " does not fit into a float of 32 bits");
      }
    }
    return static_cast<T>(value);
  }
};

/// Its number.
template <class T>
requires std::is_enum_v<T>
struct Transfer<T> {
  using Number = std::underlying_type_t<T>;
  static constexpr bool hashable = true;
  static void write(pickle::Encoder& encoder, T value) { Transfer<Number>::write(encoder, static_cast<Number>(value)); }
  static T read(pickle::Decoder& decoder) { return static_cast<T>(Transfer<Number>::read(decoder)); }
};

template <detail::PlainReal T>
struct Transfer<std::complex<T>> {
  static constexpr bool hashable = true;
  static void write(pickle::Encoder& encoder, std::complex<T> value) { encoder.complex(std::complex<double>(value)); }
  static std::complex<T> read(pickle::Decoder& decoder) { return std::complex<T>(decoder.complex()); }
};

/// A str. Any bytes come back as they were, but what is not UTF-8 is of use to Python as a file's name only: it
/// arrives there as os.fsdecode() gives it.
template <>
struct Transfer<std::string> {
  static constexpr bool hashable = true;
  static void write(pickle::Encoder& encoder, const std::string& value) { encoder.text(value); }
  static std::string read(pickle::Decoder& decoder) { return decoder.text(); }
};
template <>
struct Transfer<std::string_view> {
  static constexpr bool hashable = true;
  static void write(pickle::Encoder& encoder, std::string_view value) { encoder.text(value); }
  static std::string read(pickle::Decoder& decoder) { return decoder.text(); }
};
template <>
struct Transfer<const char*> {
  static constexpr bool hashable = true;
  static void write(pickle::Encoder& encoder, const char* value) {
    if (value == nullptr) throw std::logic_error("a null const char* is no text to send");
    encoder.text(value);
  }
  static std::string read(pickle::Decoder& decoder) { return decoder.text(); }
};

namespace detail {
template <class T>
struct NoneTransfer {
  static constexpr bool hashable = true;
  static void write(pickle::Encoder& encoder, T) { encoder.none(); }
  static T read(pickle::Decoder& decoder) {
    decoder.none();
    return T{};
  }
};
}  // namespace detail
/// None.
template <>
struct Transfer<std::monostate> : detail::NoneTransfer<std::monostate> {};
template <>
struct Transfer<std::nullptr_t> : detail::NoneTransfer<std::nullptr_t> {};

/// Whatever it is. (Reading takes a way through Objects for the whole pickle that it is part of.)
template <>
struct Transfer<pickle::Object> {
  static void write(pickle::Encoder& encoder, const pickle::Object& value) { encoder.object(value); }
  static pickle::Object read(pickle::Decoder& decoder) { return decoder.object(); }
};
template <>
struct Transfer<pickle::BigInt> {
  static constexpr bool hashable = true;
  static void write(pickle::Encoder& encoder, const pickle::BigInt& value) { encoder.big_int(value); }
  static pickle::BigInt read(pickle::Decoder& decoder) { return decoder.big_int(); }
};
/// A numpy.ndarray.
template <>
struct Transfer<pickle::NdBuffer> {
  static void write(pickle::Encoder& encoder, const pickle::NdBuffer& value) {
    encoder.array(value.dtype(), value.shape(), value.order(), value.buffer());
  }
  static pickle::NdBuffer read(pickle::Decoder& decoder) {
    const pickle::NdBuffer found = decoder.array();
    decoder.charge(found.bytes().size());
    return found.owned();
  }
};

namespace detail {
/// A value of Python's datetime.
template <class T, void (pickle::Encoder::*write_it)(const T&), T (pickle::Decoder::*read_it)()>
struct DatetimeTransfer {
  static constexpr bool hashable = true;
  static void write(pickle::Encoder& encoder, const T& value) { (encoder.*write_it)(value); }
  static T read(pickle::Decoder& decoder) { return (decoder.*read_it)(); }
};

/// `count` units of Period in those of T, whose numbers are integers. Refused unless it is a whole number that fits.
template <class T, class From>
T whole_units(pickle::Decoder& decoder, From value) {
  using Ratio = std::ratio_divide<typename From::period, typename T::period>;
  std::int64_t count = 0;
  const bool too_large = __builtin_mul_overflow(std::int64_t{value.count()}, std::int64_t{Ratio::num}, &count);
  if (too_large || count % Ratio::den != 0 || !std::in_range<typename T::rep>(count / Ratio::den)) {
    decoder.fail("a timedelta or datetime of " + std::to_string(value.count()) +
                 " us is no whole number of the unit that is wanted, or too large for it");
  }
  return T(static_cast<typename T::rep>(count / Ratio::den));
}
template <class T, class From>
T in_units_of(pickle::Decoder& decoder, From value) {
  if constexpr (std::is_integral_v<typename T::rep>) {
    return whole_units<T>(decoder, value);
  } else {
    return T(value);
  }
}
/// Whose numbers Python's values of datetime can become.
template <class T>
concept NumberOfUnits = PlainInteger<T> || PlainReal<T>;
}  // namespace detail
template <>
struct Transfer<pickle::Date> : detail::DatetimeTransfer<pickle::Date, &pickle::Encoder::date, &pickle::Decoder::date> {
};
template <>
struct Transfer<pickle::Time> : detail::DatetimeTransfer<pickle::Time, &pickle::Encoder::time, &pickle::Decoder::time> {
};
template <>
struct Transfer<pickle::DateTime>
    : detail::DatetimeTransfer<pickle::DateTime, &pickle::Encoder::datetime, &pickle::Decoder::datetime> {};
template <>
struct Transfer<pickle::TimeDelta>
    : detail::DatetimeTransfer<pickle::TimeDelta, &pickle::Encoder::timedelta, &pickle::Decoder::timedelta> {};
template <>
struct Transfer<pickle::TimeZone>
    : detail::DatetimeTransfer<pickle::TimeZone, &pickle::Encoder::timezone, &pickle::Decoder::timezone> {};

/// A datetime.date.
template <>
struct Transfer<std::chrono::year_month_day> {
  using T = std::chrono::year_month_day;
  static constexpr bool hashable = true;
  static void write(pickle::Encoder& encoder, const T& value) { encoder.date(pickle::Date::of(value)); }
  static T read(pickle::Decoder& decoder) { return decoder.date().to_days(); }
};

/// The count, in the unit that the type has at both ends: an int or a float. A datetime.timedelta is read as well.
template <class Number, class Period>
requires detail::Owning<Number>
struct Transfer<std::chrono::duration<Number, Period>> {
  using T = std::chrono::duration<Number, Period>;
  static constexpr bool hashable = true;
  static void write(pickle::Encoder& encoder, const T& value) { Transfer<Number>::write(encoder, value.count()); }
  static T read(pickle::Decoder& decoder) {
    if constexpr (detail::NumberOfUnits<Number>) {
      if (const auto found = decoder.try_duration()) return detail::in_units_of<T>(decoder, *found);
    }
    return T(Transfer<Number>::read(decoder));
  }
};
/// The time since the clock's beginning, which for steady_clock is the machine's start. Of system_clock, a
/// datetime.datetime that has a zone is read as well.
template <class Clock, class Duration>
requires detail::Owning<Duration>
struct Transfer<std::chrono::time_point<Clock, Duration>> {
  using T = std::chrono::time_point<Clock, Duration>;
  static constexpr bool hashable = true;
  static void write(pickle::Encoder& encoder, const T& value) {
    Transfer<Duration>::write(encoder, value.time_since_epoch());
  }
  static T read(pickle::Decoder& decoder) {
    if constexpr (std::is_same_v<Clock, std::chrono::system_clock> && detail::NumberOfUnits<typename Duration::rep>) {
      if (const auto found = decoder.try_moment()) {
        return T(detail::in_units_of<Duration>(decoder, found->time_since_epoch()));
      }
    }
    return T(Transfer<Duration>::read(decoder));
  }
};

/// A tuple.
template <detail::HasTransfer... T>
struct Transfer<std::tuple<T...>> {
  static constexpr bool hashable = (detail::hashable<T> && ...);
  static void write(pickle::Encoder& encoder, const std::tuple<T...>& value) {
    encoder.begin_tuple(sizeof...(T));
    std::apply([&](const T&... each) { (Transfer<T>::write(encoder, each), ...); }, value);
    encoder.end_tuple(sizeof...(T));
  }
  static std::tuple<Received<T>...> read(pickle::Decoder& decoder) {
    decoder.begin_tuple(sizeof...(T));
    std::tuple<Received<T>...> value{Transfer<T>::read(decoder)...};  // braces: from left to right
    decoder.end_tuple(sizeof...(T));
    return value;
  }
};
template <detail::HasTransfer A, detail::HasTransfer B>
struct Transfer<std::pair<A, B>> {
  static constexpr bool hashable = detail::hashable<A> && detail::hashable<B>;
  static void write(pickle::Encoder& encoder, const std::pair<A, B>& value) {
    encoder.begin_tuple(2);
    Transfer<A>::write(encoder, value.first);
    Transfer<B>::write(encoder, value.second);
    encoder.end_tuple(2);
  }
  static std::pair<Received<A>, Received<B>> read(pickle::Decoder& decoder) {
    decoder.begin_tuple(2);
    std::pair<Received<A>, Received<B>> value{Transfer<A>::read(decoder), Transfer<B>::read(decoder)};
    decoder.end_tuple(2);
    return value;
  }
};

/// A tuple; of bytes and chars, bytes.
template <class T, std::size_t count>
requires detail::Owning<T>
struct Transfer<std::array<T, count>> {
  static constexpr bool hashable = detail::hashable<T>;
  static void write(pickle::Encoder& encoder, const std::array<T, count>& value) {
    if constexpr (detail::ByteLike<T>) {
      encoder.bytes(std::as_bytes(std::span(value)));
    } else {
      encoder.begin_tuple(count);
      for (const T& each : value) Transfer<T>::write(encoder, each);
      encoder.end_tuple(count);
    }
  }
  static std::array<T, count> read(pickle::Decoder& decoder) {
    if constexpr (detail::ByteLike<T>) {
      const auto bytes = decoder.bytes();
      if (bytes.size() != count) {
        decoder.fail("expected " + std::to_string(count) + " bytes, found " + std::to_string(bytes.size()));
      }
      std::array<T, count> value;
      if constexpr (count > 0) std::memcpy(value.data(), bytes.data(), count);
      return value;
    } else {
      return [&]<std::size_t... i>(std::index_sequence<i...>) {
        decoder.begin_tuple(count);
        std::array<T, count> value{(static_cast<void>(i), Transfer<T>::read(decoder))...};
        decoder.end_tuple(count);
        return value;
      }
      (std::make_index_sequence<count>{});
    }
  }
};

namespace detail {

/// Bytes of a trivially copyable value that is read back from as many.
template <class T>
void write_bytes(pickle::Encoder& encoder, const T& value) {
  static_assert(
      std::is_trivially_copyable_v<T>,
      "what is sent to another process must be Transferable: transfers_as_bytes is for trivially copyable types, "
      "whose bytes are all there is");
  encoder.bytes(std::as_bytes(std::span(&value, 1)));
}
template <class T>
T read_bytes(pickle::Decoder& decoder) {
  const auto bytes = decoder.bytes();
  if (bytes.size() != sizeof(T)) {
    decoder.fail("expected a value of " + std::to_string(sizeof(T)) + " bytes, found " + std::to_string(bytes.size()));
  }
  alignas(T) std::array<std::byte, sizeof(T)> copy;
  std::memcpy(copy.data(), bytes.data(), copy.size());
  return std::bit_cast<T>(copy);
}

/// Named by a plain value from which another process makes the same again.
template <class T>
concept HasHandle = std::is_class_v<T> && !transfers_as_bytes<T> && requires(const T& value) {
  { T::attach(value.handle()) } -> std::same_as<T>;
  requires std::is_trivially_copyable_v<decltype(value.handle())> && std::is_class_v<decltype(value.handle())>;
};

template <class T>
concept Field = (std::is_array_v<T> && HasTransfer<std::remove_all_extents_t<T>> &&
                 std::is_same_v<Received<std::remove_all_extents_t<T>>, std::remove_all_extents_t<T>>) ||
                Owning<T>;
template <class T>
inline constexpr bool all_fields = false;
template <class... T>
inline constexpr bool all_fields<TypeList<T...>> = (Field<T> && ...);
template <class T>
inline constexpr bool hashable_fields = false;
template <class... T>
inline constexpr bool hashable_fields<TypeList<T...>> = ((hashable<std::remove_all_extents_t<T>>)&&...);
template <class T>
inline constexpr bool any_array = false;
template <class... T>
inline constexpr bool any_array<TypeList<T...>> = (std::is_array_v<T> || ...);
/// Not for structs with constant members or references, which cannot be assigned: a reference looks like what it leads
/// to, and must not be made to lead to something that is gone.
template <class T>
concept TransferableAggregate = !transfers_as_bytes<T> && !HasHandle<T> && Decomposable<T> &&
                                std::is_move_assignable_v<T> && all_fields<FieldTypes<T>>;

template <class T>
void write_field(pickle::Encoder& encoder, const T& field) {
  if constexpr (!std::is_array_v<T>) {
    Transfer<T>::write(encoder, field);
  } else if constexpr (ByteLike<std::remove_extent_t<T>>) {
    encoder.bytes(std::as_bytes(std::span(field)));
  } else {
    encoder.begin_tuple(std::extent_v<T>);
    for (const auto& each : field) write_field(encoder, each);
    encoder.end_tuple(std::extent_v<T>);
  }
}
template <class T>
void read_field(pickle::Decoder& decoder, T& field) {
  if constexpr (!std::is_array_v<T>) {
    field = Transfer<T>::read(decoder);
  } else if constexpr (ByteLike<std::remove_extent_t<T>>) {
    const auto bytes = decoder.bytes();
    if (bytes.size() != sizeof field) {
      decoder.fail("expected " + std::to_string(sizeof field) + " bytes, found " + std::to_string(bytes.size()));
    }
    std::memcpy(&field, bytes.data(), sizeof field);
  } else {
    decoder.begin_tuple(std::extent_v<T>);
    for (auto& each : field) read_field(decoder, each);
    decoder.end_tuple(std::extent_v<T>);
  }
}
template <class Whole, class... T>
Whole read_fields([[maybe_unused]] pickle::Decoder& decoder, TypeList<T...> types) {
  if constexpr (any_array<decltype(types)>) {  // which cannot be initialised from a value
    Whole whole{};
    visit_fields(whole, [&](auto, auto&... field) { (read_field(decoder, field), ...); });
    return whole;
  } else {
    return Whole{Transfer<T>::read(decoder)...};
  }
}

}  // namespace detail

/// Its handle, as bytes. What arrives is what attach() makes of it, which looks at it first.
template <detail::HasHandle T>
struct Transfer<T> {
  static void write(pickle::Encoder& encoder, const T& value) { detail::write_bytes(encoder, value.handle()); }
  static T read(pickle::Decoder& decoder) {
    return T::attach(detail::read_bytes<decltype(std::declval<const T&>().handle())>(decoder));
  }
};

template <class T>
requires(transfers_as_bytes<T> && (std::is_class_v<T> || std::is_union_v<T>)) struct Transfer<T> {
  static void write(pickle::Encoder& encoder, const T& value) { detail::write_bytes(encoder, value); }
  static T read(pickle::Decoder& decoder) { return detail::read_bytes<T>(decoder); }
};

/// A tuple of its fields; arrays in it are tuples again, of bytes and chars they are bytes.
template <detail::TransferableAggregate T>
struct Transfer<T> {
  static constexpr bool hashable = detail::hashable_fields<detail::FieldTypes<T>>;
  static void write(pickle::Encoder& encoder, const T& value) {
    encoder.begin_tuple(detail::field_count<T>);
    detail::visit_fields(value, [&](auto, const auto&... field) { (detail::write_field(encoder, field), ...); });
    encoder.end_tuple(detail::field_count<T>);
  }
  static T read(pickle::Decoder& decoder) {
    decoder.begin_tuple(detail::field_count<T>);
    T value = detail::read_fields<T>(decoder, detail::FieldTypes<T>{});
    decoder.end_tuple(detail::field_count<T>);
    return value;
  }
};

}  // namespace runrig
