#pragma once

#include <chrono>
#include <complex>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include "runrig/channel/object.hpp"
#include "runrig/channel/opcodes.hpp"
#include "runrig/channel/pickle.hpp"
#include "runrig/sync/unique_fd.hpp"

namespace runrig::pickle {

namespace detail {
/// The bytes are not what an Encoder writes for the type that is read; whether they are another pickle of the same
/// value, loads() will tell. Never leaves decode().
struct Unexpected {
  std::size_t byte = 0;
};
struct Tree;

/// An int on its way to a type of its own.
struct Integer {
  std::uint64_t bits = 0;  ///< two's complement if negative
  bool negative = false;
};
}  // namespace detail

/// Takes a pickle apart, value by value, in the order in which an Encoder was given them: what Transfer<T>::read() is
/// given.
///
/// It reads either the bytes of a pickle as an Encoder writes them, fast and without an Object in between; or an
/// Object, which may have come from anywhere. Reading code does not see the difference. What is not as expected ends in
/// a FormatError that says where and what.
///
/// Spans and views that it returns are valid while the Decoder and its bytes are.
class Decoder {
 public:
  /// Reads bytes. Throws detail::Unexpected where an Encoder would have written something else.
  Decoder(std::span<const std::byte> bytes, const Limits& limits, std::span<const Buffer> buffers = {});
  /// Reads `object`. `stream_bytes` is the length of what it came from, with buffers, which may be copied once for
  /// free; `byte` is where reading that directly ended, to be named in errors.
  Decoder(const Object& object, const Limits& limits, std::size_t stream_bytes, std::optional<std::size_t> byte);
  Decoder(const Decoder&) = delete;
  Decoder& operator=(const Decoder&) = delete;
  ~Decoder();

  /// True if `bytes` may be what an Encoder wrote; others need not be tried.
  [[nodiscard]] static bool takes(std::span<const std::byte> bytes, const Limits& limits) noexcept;
  /// Nothing may follow.
  void finish();

  void none();
  /// Takes a None, or leaves what is not one.
  [[nodiscard]] bool try_none();
  [[nodiscard]] bool boolean();
  /// An int that fits, else the error names it. No bool.
  template <std::integral T>
  [[nodiscard]] T integer() {
    // The standard compares no character types.
    using Number = std::conditional_t<std::is_signed_v<T>, std::make_signed_t<T>, std::make_unsigned_t<T>>;
    const detail::Integer value = any_integer();
    if (value.negative) {
      const auto whole = static_cast<std::int64_t>(value.bits);
      if (!std::in_range<Number>(whole)) does_not_fit(value, sizeof(T), std::is_signed_v<T>);
      return static_cast<T>(whole);
    }
    if (!std::in_range<Number>(value.bits)) does_not_fit(value, sizeof(T), std::is_signed_v<T>);
    return static_cast<T>(value.bits);
  }
  [[nodiscard]] BigInt big_int();
  /// A float; an int, too, rounded to one.
  [[nodiscard]] double real();
  [[nodiscard]] std::complex<double> complex();
  /// A str. What escape_text() made of other bytes is turned back.
  [[nodiscard]] std::string text();
  [[nodiscard]] std::span<const std::byte> bytes();
  /// A numpy.ndarray. What its bytes lie in is the pickle, unless it has an owner; see NdBuffer::owned(). Who copies
  /// them calls charge() first.
  [[nodiscard]] NdBuffer array();
  /// The same, of elements of that type in any byte order.
  [[nodiscard]] NdBuffer array_of(DType dtype);
  /// Values of datetime.
  [[nodiscard]] Date date();
  [[nodiscard]] Time time();
  [[nodiscard]] DateTime datetime();
  [[nodiscard]] TimeDelta timedelta();
  [[nodiscard]] TimeZone timezone();
  /// Takes a timedelta as a duration, or a datetime with a zone as the moment that it names; or leaves what is neither.
  [[nodiscard]] std::optional<std::chrono::microseconds> try_duration();
  [[nodiscard]] std::optional<std::chrono::sys_time<std::chrono::microseconds>> try_moment();
  /// Anything.
  [[nodiscard]] Object object();
  /// A copy (dup) of a descriptor that came with the pickle, of each at most one. Throws Error too_many_files_open.
  [[nodiscard]] UniqueFd descriptor();
  /// What came with the pickle; must outlive the Decoder.
  void carry(std::span<const UniqueFd> carried) noexcept { carried_ = carried; }

  /// Python's lists are taken, too, and tuples for lists.
  void begin_tuple(std::size_t elements);
  void end_tuple(std::size_t elements);
  /// Each element is announced by a true of the next_...(); a false ends the container.
  void begin_list();
  [[nodiscard]] bool next_in_list() { return next(detail::Op::appends); }
  void begin_dict();
  [[nodiscard]] bool next_in_dict() { return next(detail::Op::setitems); }
  void begin_set();
  [[nodiscard]] bool next_in_set() { return next(detail::Op::additems); }

  /// To be called before memory is taken for each element of a container: a small pickle must not make large ones.
  /// (Text and bytes are charged by themselves.)
  void charge(std::size_t bytes) {
    if (bytes > memory_left_) fail("needs more memory than its limit (Limits::max_memory)");
    memory_left_ -= bytes;
  }
  /// Refuses what was read last: "in element 3: <why>".
  [[noreturn]] void fail(const std::string& why);

 private:
  [[nodiscard]] detail::Op take_op() {
    if (at_ == end_) unexpected();
    return detail::Op{std::to_integer<std::uint8_t>(*at_++)};
  }
  void expect(detail::Op op) {
    if (at_ == end_ || *at_ != static_cast<std::byte>(op)) unexpected();
    ++at_;
  }
  template <class T>
  [[nodiscard]] T number();
  [[nodiscard]] std::span<const std::byte> take(std::uint64_t count);
  [[nodiscard]] std::span<const std::byte> take_payload(detail::Op tiny, detail::Op small, detail::Op large);
  [[noreturn]] void unexpected() const;
  [[noreturn]] void does_not_fit(const detail::Integer& value, std::size_t type_bytes, bool is_signed);
  [[nodiscard]] detail::Integer any_integer();
  [[nodiscard]] bool next(detail::Op end);
  void enter();
  [[nodiscard]] bool try_form(std::span<const std::byte> form) noexcept;
  [[nodiscard]] Shape extents();
  [[nodiscard]] std::string_view dtype();
  [[nodiscard]] std::optional<TimeZone> zone();
  [[nodiscard]] bool next_is(Kind kind) const;
  template <class Value>
  [[nodiscard]] Value copied(const Value& value, const std::optional<TimeZone>& zone);

  const std::byte* begin_ = nullptr;
  const std::byte* at_ = nullptr;
  const std::byte* end_ = nullptr;
  std::size_t memory_left_;
  std::size_t depth_left_;
  std::string_view source_;
  std::span<const Buffer> buffers_;     // not taken yet
  std::unique_ptr<detail::Tree> tree_;  // null: bytes are read
  std::span<const UniqueFd> carried_;
  std::vector<bool> taken_;  // of `carried_`
};

}  // namespace runrig::pickle
