#pragma once

#include <complex>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <variant>
#include <vector>

#include "runrig/channel/big_int.hpp"
#include "runrig/channel/datetime.hpp"
#include "runrig/channel/nd_buffer.hpp"

namespace runrig::pickle {

/// Python's slice(start, stop, step), where None is none.
struct Slice {
  std::optional<std::int64_t> start{};
  std::optional<std::int64_t> stop{};
  std::optional<std::int64_t> step{};
  friend bool operator==(const Slice&, const Slice&) = default;
};
struct Token;  // see proxy_state.hpp
struct ProxyState;
struct SharedHandle;  // see shared_handle.hpp
struct SharedConnection;

/// What an Object is; named as the Python types are, except where C++ has taken the word.
enum class Kind : std::uint8_t {
  none,
  boolean,
  integer,
  real,
  complex,
  string,
  bytes,
  bytearray,
  list,
  tuple,
  dict,
  ordered_dict,
  set,
  frozenset,
  array,         // numpy.ndarray of a numeric type
  numpy_scalar,  // numpy.float64 and its like
  numpy_dtype,   // a numpy.dtype by itself
  date,          // those of the module datetime
  time,
  datetime,
  timedelta,
  timezone,
  slice,          // of integers and None
  exception,      // an exception of Python's standard types
  manager_token,  // of multiprocessing.managers: which object of which manager
  proxy,          // a proxy of such an object
  shared_handle,  // a descriptor that a resource sharer keeps: multiprocessing.resource_sharer.DupFd
  connection,     // a connection of which one keeps the descriptor
};
/// Python's name for it: "NoneType", "bool", "int", ..., "numpy.ndarray".
[[nodiscard]] std::string_view kind_name(Kind kind) noexcept;

namespace detail {
struct Node;
struct Access;
}  // namespace detail

/// A Python value: what a pickle says, and what a pickle is made from.
///
/// An Object is a handle, as a Python variable is: copies of a container are the same container, and what is
/// appended to one is seen through the other. None, booleans, floats and integers of 64 bits lie in the handle itself.
///
/// Reading accessors throw FormatError ("expected int, found str") when the value is of another type, because most
/// objects come from outside; that makes them the check of a message's form. References and spans that they return
/// live as long as an Object holds the value and nobody changes it.
///
/// Containers are counted, not collected: a container that holds itself must do so through back_reference(), or it
/// is never freed. loads() sees to that for recursive pickles.
///
/// Threads: as with std::shared_ptr, different handles to one value may be copied, read and destroyed at the same
/// time; changing a container needs exclusion.
class Object {
 public:
  using Pair = std::pair<Object, Object>;

  /// None.
  Object() noexcept = default;
  template <std::same_as<bool> Boolean>
  Object(Boolean value) noexcept : value_(value) {}
  template <std::integral Integer>
  requires(!std::same_as<Integer, bool> && !std::same_as<Integer, char>) Object(Integer value) {
    if constexpr (std::is_signed_v<Integer> || sizeof(Integer) < sizeof(std::int64_t)) {
      value_ = static_cast<std::int64_t>(value);
    } else {
      *this = from_unsigned(value);
    }
  }
  template <std::floating_point Real>
  Object(Real value) noexcept : value_(static_cast<double>(value)) {}
  Object(std::complex<double> value);
  /// UTF-8; checked by dumps(). See escape_text() for names that may be anything.
  Object(std::string text);
  Object(std::string_view text) : Object(std::string(text)) {}
  Object(const char* text) : Object(std::string(text)) {}
  Object(std::nullptr_t) = delete;
  Object(BigInt value);
  Object(NdBuffer array);
  /// Each throws std::logic_error for a value that Python cannot have: see find_fault().
  Object(const Date& value);
  Object(const Time& value);
  Object(const DateTime& value);
  Object(const TimeDelta& value);
  Object(const TimeZone& value);
  Object(const Slice& value);
  Object(const Token& value);
  /// Throws std::logic_error for a type of proxy that Python's multiprocessing.managers does not have.
  Object(const ProxyState& value);
  /// Each throws std::logic_error for what Python cannot have: see shared_handle.hpp.
  Object(const SharedHandle& value);
  Object(const SharedConnection& value);

  [[nodiscard]] static Object bytes(std::vector<std::byte> value);
  [[nodiscard]] static Object bytes(std::span<const std::byte> value);
  [[nodiscard]] static Object bytearray(std::vector<std::byte> value);
  [[nodiscard]] static Object list(std::vector<Object> items = {});
  [[nodiscard]] static Object tuple(std::vector<Object> items = {});
  /// Keys must be hashable in Python's sense, else std::logic_error; of equal keys (1, 1.0 and True are equal) the
  /// last value stays, at the first one's place. All NaNs are one key.
  [[nodiscard]] static Object dict(std::initializer_list<Pair> entries = {});
  [[nodiscard]] static Object ordered_dict(std::initializer_list<Pair> entries = {});
  [[nodiscard]] static Object set(std::vector<Object> members = {});
  [[nodiscard]] static Object frozenset(std::vector<Object> members = {});
  /// `value` has one element and the shape ().
  [[nodiscard]] static Object numpy_scalar(NdBuffer value);
  /// An exception as Python has it: its type ("ValueError"; outside of builtins with its module, "queue.Empty"), the
  /// arguments of its constructor, and what else hangs at it, a dict or None. As in Python, an OSError with an error
  /// number is of the type for that number. Throws std::logic_error for a type that is not in the standard library, or
  /// not in the part of it that is known here.
  [[nodiscard]] static Object exception(std::string_view type, std::vector<Object> arguments = {},
                                        Object attributes = {});
  /// A handle to `container` that does not keep it alive. Once that is gone, every use throws std::logic_error.
  [[nodiscard]] static Object back_reference(const Object& container);

  [[nodiscard]] Kind kind() const;
  [[nodiscard]] bool is_none() const noexcept { return std::holds_alternative<std::monostate>(value_); }
  /// True of a handle that keeps nothing alive.
  [[nodiscard]] bool is_back_reference() const noexcept { return std::holds_alternative<WeakNode>(value_); }

  [[nodiscard]] bool as_bool() const;
  /// An int that fits.
  [[nodiscard]] std::int64_t as_int() const;
  [[nodiscard]] std::uint64_t as_uint() const;
  /// An int of any size.
  [[nodiscard]] BigInt as_big_int() const;
  /// A float; an int is none, see as_number().
  [[nodiscard]] double as_real() const;
  /// A float, or an int of 64 bits rounded to one.
  [[nodiscard]] double as_number() const;
  [[nodiscard]] std::complex<double> as_complex() const;
  [[nodiscard]] const std::string& as_string() const;
  /// Of bytes or bytearray.
  [[nodiscard]] std::span<const std::byte> as_bytes() const;
  /// Of an array or a NumPy scalar, which is an array of shape ().
  [[nodiscard]] const NdBuffer& as_array() const;
  /// NumPy's array-protocol string of a numpy_dtype.
  [[nodiscard]] const std::string& as_dtype() const;

  [[nodiscard]] const Date& as_date() const;
  [[nodiscard]] const Time& as_time() const;
  [[nodiscard]] const DateTime& as_datetime() const;
  [[nodiscard]] const TimeDelta& as_timedelta() const;
  [[nodiscard]] const TimeZone& as_timezone() const;
  [[nodiscard]] const Slice& as_slice() const;
  [[nodiscard]] const Token& as_token() const;
  [[nodiscard]] const ProxyState& as_proxy() const;
  [[nodiscard]] const SharedHandle& as_shared_handle() const;
  [[nodiscard]] const SharedConnection& as_connection() const;
  /// The type of an exception: "ValueError", "queue.Empty".
  [[nodiscard]] std::string_view exception_type() const;
  /// The dict that hangs at an exception (__dict__ in Python: notes, names and the like), or None.
  [[nodiscard]] const Object& exception_attributes() const;

  /// Elements of a list, tuple, set or frozenset, entries of a dict, arguments of an exception.
  [[nodiscard]] std::size_t size() const;
  /// The elements of a list, tuple, set or frozenset, or the arguments of an exception, in order.
  [[nodiscard]] std::span<const Object> items() const;
  /// Element `index` of those. FormatError if there are not so many.
  [[nodiscard]] const Object& at(std::size_t index) const;
  /// The entries of a dict, in order of insertion.
  [[nodiscard]] std::span<const Pair> entries() const;
  /// The value under a str key. FormatError if there is none; it names the key.
  [[nodiscard]] const Object& at(std::string_view key) const;
  /// The same, null if there is none; still FormatError if this is no dict.
  [[nodiscard]] const Object* find(std::string_view key) const;
  /// The value under any key; null if there is none.
  [[nodiscard]] const Object* find(const Object& key) const;
  [[nodiscard]] const Object* find(const char* key) const { return find(std::string_view(key)); }
  template <std::integral Integer>
  [[nodiscard]] const Object* find(Integer key) const {  // or 0 would be a null pointer
    return find(Object(key));
  }
  /// Whether a set or frozenset has that member.
  [[nodiscard]] bool contains(const Object& member) const;

  /// Changes this list, dict or set; std::logic_error if it is something else or the key is not hashable.
  void append(Object item);
  void insert_or_assign(Object key, Object value);
  /// False if the set has it already.
  bool insert(Object member);

  /// Same type and value throughout: 1 is not 1.0, NaN equals NaN, 0.0 is not -0.0; dicts and sets in any order,
  /// OrderedDicts in theirs. Recursive and shared structures take no longer than their size (product of the sizes
  /// at worst).
  friend bool operator==(const Object& a, const Object& b);

 private:
  friend struct detail::Access;
  using StrongNode = std::shared_ptr<detail::Node>;
  using WeakNode = std::weak_ptr<detail::Node>;

  static Object from_unsigned(std::uint64_t value);
  [[nodiscard]] StrongNode node() const;

  std::variant<std::monostate, bool, std::int64_t, double, StrongNode, WeakNode> value_;
};

/// Whether an exception of that type is caught as `base`: of "FileNotFoundError" as "OSError" and "Exception". False if
/// one of them is not known.
[[nodiscard]] bool exception_is(std::string_view type, std::string_view base) noexcept;

/// True if `text` is UTF-8. Surrogates, encoded like other characters, pass: Python writes them for names that are
/// not UTF-8.
[[nodiscard]] bool is_text(std::string_view text) noexcept;
/// Makes any bytes (a file's name, a dataset's) a valid str: what is not UTF-8 becomes lone surrogates, as Python's
/// "surrogateescape" has it. Valid text stays as it is.
[[nodiscard]] std::string escape_text(std::string_view bytes);
/// The bytes that escape_text() made `text` from.
[[nodiscard]] std::string unescape_text(std::string_view text);

}  // namespace runrig::pickle
