#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <tuple>
#include <type_traits>
#include <vector>

#include "runrig/channel/pickle.hpp"
#include "runrig/channel/transfer_containers.hpp"
#include "runrig/channel/transfer_types.hpp"

/// C++ values as pickles, straight to bytes and back: how arguments and results cross between processes. Python's
/// pickle module reads what is written, and what it writes of the same shape (a tuple for a struct, a list for a
/// vector, ...) is read, whatever the protocol.
namespace runrig {

/// Fails to compile, and says why, unless T is Transferable.
template <class T>
constexpr void require_transferable();

namespace detail {

template <class T>
concept Callable = requires {
  &T::operator();
};
template <class T>
concept SmartPointer = requires(const T& pointer) {
  typename T::element_type;
  pointer.get();
  pointer.operator->();
};
template <class T>
concept Struct = std::is_class_v<T> && std::is_aggregate_v<T>;

template <class... Field>
constexpr void require_each(TypeList<Field...>) {
  (require_transferable<std::remove_all_extents_t<Field>>(), ...);
}

/// What Received<T> is; words for a T that has none.
template <class T>
struct Arriving {
  static_assert((require_transferable<T>(), true));
  using Type = void;
};
template <Transferable T>
struct Arriving<T> {
  using Type = Received<T>;
};

}  // namespace detail

template <class T>
constexpr void require_transferable() {
  using Sent = std::decay_t<T>;
  if constexpr (Transferable<Sent>) {
    return;
  } else if constexpr (std::is_function_v<std::remove_pointer_t<Sent>> || detail::Callable<Sent>) {
    static_assert(
        Transferable<Sent>,
        "what is sent to another process must be Transferable: a function, lambda or std::function is not. It "
        "can be what is called there, but no argument and no result");
  } else if constexpr (std::is_pointer_v<Sent> || std::is_member_pointer_v<Sent>) {
    static_assert(Transferable<Sent>,
                  "what is sent to another process must be Transferable: a raw pointer means nothing there. Send the "
                  "value itself, or something in shared memory: SharedMemory, NdArray, Value, Array, Shared<T>");
  } else if constexpr (detail::SmartPointer<Sent>) {
    static_assert(
        Transferable<Sent>,
        "what is sent to another process must be Transferable: a smart pointer leads to memory of this process "
        "only. Send the value itself, or something in shared memory: Value, Shared<T>");
  } else if constexpr (std::is_same_v<Sent, long double>) {
    static_assert(
        Transferable<Sent>,
        "what is sent to another process must be Transferable: a long double is not, since Python's float does "
        "not hold it. Send a double");
  } else if constexpr (detail::Struct<Sent> && detail::Decomposable<Sent>) {
    detail::require_each(detail::FieldTypes<Sent>{});  // the field that cannot travel has its own words
    static_assert(Transferable<Sent>,
                  "what is sent to another process must be Transferable: a field of this struct cannot be sent, or is "
                  "const or a reference, or does not own its value (string_view and span do not)");
  } else if constexpr (detail::Struct<Sent>) {
    static_assert(Transferable<Sent>,
                  "what is sent to another process must be Transferable: a struct with a base class or more than 32 "
                  "fields is not. Put structs into the struct, or specialise runrig::Transfer<T>");
  } else {
    static_assert(
        Transferable<Sent>,
        "what is sent to another process must be Transferable: numbers, enums, strings, containers of such, "
        "structs with public fields of such, and handles of shared memory are. This type has private members, "
        "or holds what is not. If it is trivially copyable and without pointers, declare "
        "runrig::transfers_as_bytes<T> = true; else specialise runrig::Transfer<T>");
  }
}

namespace pickle {

/// For bytes from other processes of this program: no bounds but the memory there is.
inline constexpr Limits unlimited{.max_bytes = SIZE_MAX, .max_memory = SIZE_MAX};

/// How to write a pickle, if not in the usual way.
struct Encoding {
  int protocol = default_protocol;  ///< 2, 3, 4 or 5
  Descriptors* carried = nullptr;   ///< where descriptors go; null: none can be sent
  Buffers* buffers = nullptr;       ///< where the bytes of arrays go, beside the pickle; null: into it
};

/// Appends one whole pickle of `value`. `out` and the buffers are as before if this throws.
template <class T>
void encode(std::vector<std::byte>& out, const T& value, const Encoding& encoding) {
  require_transferable<const T&>();
  if constexpr (Transferable<const T&>) {
    Encoder encoder(out, encoding.protocol);
    if (encoding.carried != nullptr) encoder.carry(*encoding.carried);
    if (encoding.buffers != nullptr) encoder.beside(*encoding.buffers);
    Transfer<std::decay_t<const T&>>::write(encoder, value);
    encoder.finish();
  }
}
/// The same in protocol 5, all in the pickle. `out` is as before if this throws. Memory that `out` has is used
/// first. Descriptors are added to `carried`; without one, none can be sent.
template <class T>
void encode(std::vector<std::byte>& out, const T& value, Descriptors* carried = nullptr) {
  encode(out, value, Encoding{.carried = carried});
}
/// The same into memory of fixed size, without any allocation (except for an Object). Returns how many bytes the pickle
/// takes: if that is more than `room` has, what lies there is of no use.
template <class T>
[[nodiscard]] std::size_t encode_to(std::span<std::byte> room, const T& value) {
  require_transferable<const T&>();
  if constexpr (Transferable<const T&>) {
    Encoder encoder(room);
    Transfer<std::decay_t<const T&>>::write(encoder, value);
    return encoder.finish();
  }
}

namespace detail {
template <class... T>
void write_tuple(Encoder& encoder, const T&... values) {
  encoder.begin_tuple(sizeof...(T));
  (Transfer<std::decay_t<const T&>>::write(encoder, values), ...);
  encoder.end_tuple(sizeof...(T));
}

/// What `read` makes of the one value in `bytes`: directly, or if an Encoder would have written something else, through
/// an Object.
template <class Read>
auto decode_with(std::span<const std::byte> bytes, const Limits& limits, std::span<const UniqueFd> carried,
                 std::span<const Buffer> buffers, const Read& read) {
  std::optional<std::size_t> failed_at;
  if (Decoder::takes(bytes, limits)) {
    try {
      Decoder decoder(bytes, limits, buffers);
      decoder.carry(carried);
      auto value = read(decoder);
      decoder.finish();
      return value;
    } catch (const Unexpected& found) {
      failed_at = found.byte;
    }
  }
  Decoder decoder(loads(bytes, limits, buffers), limits, bytes.size() + total_bytes(buffers), failed_at);
  decoder.carry(carried);
  return read(decoder);
}
}  // namespace detail

/// One pickle: a tuple of the values. Descriptors are added to `carried`; if that is null, none can be sent.
template <class... T>
void encode_tuple_carrying(std::vector<std::byte>& out, Descriptors* carried, const T&... values) {
  (require_transferable<const T&>(), ...);
  if constexpr ((Transferable<const T&> && ...)) {
    Encoder encoder(out);
    if (carried != nullptr) encoder.carry(*carried);
    detail::write_tuple(encoder, values...);
    encoder.finish();
  }
}
template <class... T>
void encode_tuple(std::vector<std::byte>& out, const T&... values) {
  encode_tuple_carrying(out, nullptr, values...);
}
template <class... T>
[[nodiscard]] std::size_t encode_tuple_to(std::span<std::byte> room, const T&... values) {
  (require_transferable<const T&>(), ...);
  if constexpr ((Transferable<const T&> && ...)) {
    Encoder encoder(room);
    detail::write_tuple(encoder, values...);
    return encoder.finish();
  }
}

/// The value in one pickle, which must fill `bytes` exactly. What encode() wrote is read at once; any other pickle of a
/// value of that shape through an Object (see loads()). The bytes may be hostile: throws FormatError, which says where
/// and what, and whatever the attach() of a handle throws. `carried` are the descriptors that came along, `buffers`
/// what came beside it.
template <class T>
[[nodiscard]] typename runrig::detail::Arriving<T>::Type decode(std::span<const std::byte> bytes,
                                                                const Limits& limits = {},
                                                                std::span<const UniqueFd> carried = {},
                                                                std::span<const Buffer> buffers = {}) {
  using Sent = std::decay_t<T>;
  if constexpr (std::is_same_v<Sent, Object>) {
    return loads(bytes, limits, buffers);
  } else {
    return detail::decode_with(bytes, limits, carried, buffers,
                               [](Decoder& decoder) { return Transfer<Sent>::read(decoder); });
  }
}
template <class... T>
[[nodiscard]] std::tuple<typename runrig::detail::Arriving<T>::Type...> decode_tuple(
    std::span<const std::byte> bytes, const Limits& limits = {}, std::span<const UniqueFd> carried = {}) {
  return detail::decode_with(bytes, limits, carried, {},
                             [](Decoder& decoder) { return Transfer<std::tuple<std::decay_t<T>...>>::read(decoder); });
}

/// The same values as Objects and back. from_object() throws FormatError if `object` is of another shape.
template <class T>
[[nodiscard]] Object to_object(const T& value) {
  std::vector<std::byte> bytes;
  encode(bytes, value);
  return loads(bytes, unlimited);
}
template <class T>
[[nodiscard]] typename runrig::detail::Arriving<T>::Type from_object(const Object& object,
                                                                     const Limits& limits = unlimited) {
  Decoder decoder(object, limits, 0, std::nullopt);
  return Transfer<std::decay_t<T>>::read(decoder);
}

}  // namespace pickle
}  // namespace runrig
