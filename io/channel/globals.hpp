#pragma once

#include <algorithm>
#include <cstddef>
#include <optional>
#include <span>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

#include "global.hpp"
#include "key_index.hpp"
#include "runrig/channel/address.hpp"
#include "runrig/channel/object.hpp"

namespace runrig::pickle::detail {

/// A stream is not what it should be, or asks for too much. The reader adds where, and makes a FormatError of it.
class Refused : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

/// What a stream may still take. Nothing is ever given back, so work is bounded as well.
class Budget {
 public:
  /// `copies` is what may be copied of bytes that are in memory already.
  Budget(std::size_t memory, std::size_t copies) noexcept : memory_left_(memory), copies_left_(copies) {}
  void charge(std::size_t bytes) {
    if (bytes > memory_left_) throw Refused("needs more memory than its limit (Limits::max_memory)");
    memory_left_ -= bytes;
  }
  void charge_copy(std::size_t bytes) {
    if (bytes > copies_left_) throw Refused("copies more bytes than it has");
    copies_left_ -= bytes;
  }
  /// What a node of that type takes, with its count and the allocator's own.
  template <class NodeType>
  void charge_node() {
    constexpr std::size_t count_and_allocator = 32;
    charge(sizeof(NodeType) + count_and_allocator);
  }
  /// Room for `extra` more elements, growing as a vector does.
  template <class T>
  void grow(std::vector<T>& vector, std::size_t extra) {
    const std::size_t needed = vector.size() + extra;  // cannot wrap: extra elements are on the stack already
    if (needed <= vector.capacity()) return;
    const std::size_t capacity = std::max({needed, vector.capacity() * 2, std::size_t{4}});
    charge((capacity - vector.capacity()) * sizeof(T));
    vector.reserve(capacity);
  }

 private:
  std::size_t memory_left_;
  std::size_t copies_left_;
};

/// By exact name; none for all others.
[[nodiscard]] std::optional<Global> find_global(std::string_view module, std::string_view name) noexcept;

/// Makes what REDUCE and BUILD ask for.
class Constructor {
 public:
  Constructor(Budget& budget, KeyHasher& hasher) noexcept : budget_(budget), hasher_(hasher) {}
  /// The result of calling `global`. Throws Refused for arguments that Python would not write.
  [[nodiscard]] Object call(const Global& global, std::span<const Object> arguments);
  /// What NEWOBJ makes of a class.
  [[nodiscard]] Object make_new(const Global& global, std::span<const Object> arguments);
  /// Gives `object` its state: NumPy arrays, dtypes, exceptions, tokens and shared handles only.
  void set_state(const Object& object, const Object& state);

  void add_to_dict(const Object& dict, const Object& key, const Object& value);
  void add_to_set(const Object& set, const Object& member);

 private:
  Object set(Kind kind, std::span<const Object> arguments);
  Object ordered_dict(std::span<const Object> arguments);
  Object bytearray(std::span<const Object> arguments);
  Object encode(std::span<const Object> arguments);
  Object dtype(std::span<const Object> arguments);
  Object scalar(std::span<const Object> arguments);
  Object reconstruct(std::span<const Object> arguments);
  Object frombuffer(std::span<const Object> arguments);
  Object ndarray(std::span<const Object> arguments);
  Object transposed(std::span<const Object> arguments);
  Object array(Kind kind, const Object& dtype, const Object& shape, Order order, const Object& bytes);
  void set_array_state(const Object& array, const Object& state);
  void set_dtype_state(const Object& dtype, const Object& state);
  void set_exception_state(const Object& exception, const Object& state);
  Object date(std::span<const Object> arguments);
  Object time(std::span<const Object> arguments);
  Object datetime(std::span<const Object> arguments);
  Object timedelta(std::span<const Object> arguments);
  Object timezone(std::span<const Object> arguments);
  [[nodiscard]] std::optional<TimeZone> zone(std::span<const Object> arguments, std::size_t place);
  Object exception(const Global& global, std::span<const Object> arguments);
  Object slice(std::span<const Object> arguments);
  Object range(std::span<const Object> arguments);
  Object new_token(std::span<const Object> arguments);
  void set_token_state(const Object& token, const Object& state);
  Object proxy(std::span<const Object> arguments);
  Object new_shared_handle(std::span<const Object> arguments);
  void set_shared_handle_state(const Object& handle, const Object& state);
  Object connection(std::span<const Object> arguments);
  /// Of a str, bytes or (host, port), with a path's surrogates as the bytes that they stand for.
  Address address(const Object& object, std::string_view what);
  std::vector<std::byte> latin1(const Object& text);
  Fingerprint hash(const Object& key);

  Budget& budget_;
  KeyHasher& hasher_;
};

/// Throws Refused unless `condition` holds: "arguments that Python does not write for <what>".
void expect_argument(bool condition, std::string_view what);
[[nodiscard]] bool is_str(const Object& object, std::string_view text);
[[nodiscard]] bool is_int(const Object& object, std::int64_t value);

}  // namespace runrig::pickle::detail
