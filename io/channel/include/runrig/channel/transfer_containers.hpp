#pragma once

#include <concepts>
#include <cstddef>
#include <optional>
#include <span>
#include <string>
#include <type_traits>
#include <utility>
#include <variant>
#include <vector>

#include "runrig/channel/transfer_types.hpp"

/// How containers of transferable values cross. See transfer.hpp.
namespace runrig {

namespace detail {
/// Allocator-made nodes of maps and sets, beside the element.
inline constexpr std::size_t node_bytes = 48;

template <class T>
concept MapLike = Key<typename T::key_type> && Owning<typename T::mapped_type> &&
    requires(T& map, typename T::key_type key, typename T::mapped_type value) {
  map.insert_or_assign(std::move(key), std::move(value));
  map.begin()->second;
};
template <class T>
concept SetLike = !requires {
  typename T::mapped_type;
}
&&Key<typename T::key_type>&& std::same_as<typename T::key_type, typename T::value_type>&& requires(
    T& set, typename T::key_type key) {
  { set.insert(std::move(key)).second } -> std::convertible_to<bool>;  // no multisets
};
template <class T>
concept PathLike = std::same_as<typename T::string_type, std::string> && requires(const T& path) {
  { path.native() } -> std::same_as<const std::string&>;
  T::preferred_separator;
};

/// None is one of its values, so that None cannot stand for its absence.
template <class T>
inline constexpr bool may_be_none =
    std::same_as<T, std::monostate> || std::same_as<T, std::nullptr_t> || std::same_as<T, pickle::Object>;
template <class T>
inline constexpr bool may_be_none<std::optional<T>> = true;

template <class T>
void write_sequence(pickle::Encoder& encoder, std::span<const T> values) {
  if constexpr (ByteLike<T>) {
    encoder.bytes(std::as_bytes(values));
  } else {
    encoder.begin_list();
    for (const T& each : values) Transfer<T>::write(encoder, each);
    encoder.end_list();
  }
}
template <class T>
std::vector<Received<T>> read_sequence(pickle::Decoder& decoder) {
  if constexpr (ByteLike<T>) {
    const auto bytes = decoder.bytes();
    const auto* const first = reinterpret_cast<const T*>(bytes.data());
    return {first, first + bytes.size()};
  } else {
    std::vector<Received<T>> values;
    decoder.begin_list();
    while (decoder.next_in_list()) {
      decoder.charge(sizeof(Received<T>));
      values.push_back(Transfer<T>::read(decoder));
    }
    return values;
  }
}
}  // namespace detail

/// A list; of bytes and chars, bytes.
template <detail::HasTransfer T, class Allocator>
struct Transfer<std::vector<T, Allocator>> {
  static void write(pickle::Encoder& encoder, const std::vector<T, Allocator>& values) {
    if constexpr (std::same_as<T, bool>) {
      encoder.begin_list();
      for (const bool each : values) encoder.boolean(each);
      encoder.end_list();
    } else {
      detail::write_sequence<T>(encoder, values);
    }
  }
  static std::vector<Received<T>> read(pickle::Decoder& decoder) { return detail::read_sequence<T>(decoder); }
};
/// Arrives as a vector.
template <class T, std::size_t extent>
requires detail::HasTransfer<std::remove_const_t<T>>
struct Transfer<std::span<T, extent>> {
  using Element = std::remove_const_t<T>;
  static void write(pickle::Encoder& encoder, std::span<T, extent> values) {
    detail::write_sequence<Element>(encoder, values);
  }
  static std::vector<Received<Element>> read(pickle::Decoder& decoder) {
    return detail::read_sequence<Element>(decoder);
  }
};

/// None, or the value; where None is a value itself (an optional in an optional), None or a list of that one value.
template <detail::HasTransfer T>
struct Transfer<std::optional<T>> {
  static constexpr bool hashable = detail::hashable<T> && !detail::may_be_none<T>;
  static void write(pickle::Encoder& encoder, const std::optional<T>& value) {
    if (!value) return encoder.none();
    if constexpr (detail::may_be_none<T>) encoder.begin_list();
    Transfer<T>::write(encoder, *value);
    if constexpr (detail::may_be_none<T>) encoder.end_list();
  }
  static std::optional<Received<T>> read(pickle::Decoder& decoder) {
    if (decoder.try_none()) return std::nullopt;
    if constexpr (detail::may_be_none<T>) {
      decoder.begin_list();
      if (!decoder.next_in_list()) decoder.fail("expected a list of one value");
      std::optional<Received<T>> value(std::in_place, Transfer<T>::read(decoder));
      if (decoder.next_in_list()) decoder.fail("expected a list of one value");
      return value;
    } else {
      return std::optional<Received<T>>(std::in_place, Transfer<T>::read(decoder));
    }
  }
};

/// A tuple of the alternative's index and its value.
template <detail::HasTransfer... T>
struct Transfer<std::variant<T...>> {
  using Arrives = std::variant<Received<T>...>;
  static constexpr bool hashable = (detail::hashable<T> && ...);
  /// Throws std::bad_variant_access for a variant without value.
  static void write(pickle::Encoder& encoder, const std::variant<T...>& value) {
    encoder.begin_tuple(2);
    encoder.integer(static_cast<std::int64_t>(value.index()));
    std::visit([&]<class Value>(const Value& each) { Transfer<Value>::write(encoder, each); }, value);
    encoder.end_tuple(2);
  }
  static Arrives read(pickle::Decoder& decoder) {
    decoder.begin_tuple(2);
    const auto index = decoder.integer<std::uint64_t>();
    if (index >= sizeof...(T)) {
      decoder.fail("alternative " + std::to_string(index) + " of " + std::to_string(sizeof...(T)));
    }
    using Read = Arrives (*)(pickle::Decoder&);
    static constexpr auto reads = []<std::size_t... i>(std::index_sequence<i...>) {
      return std::array<Read, sizeof...(T)>{+[](pickle::Decoder& each) {
        return Arrives(std::in_place_index<i>, Transfer<std::variant_alternative_t<i, std::variant<T...>>>::read(each));
      }...};
    }
    (std::index_sequence_for<T...>{});
    Arrives value = reads[index](decoder);
    decoder.end_tuple(2);
    return value;
  }
};

/// A dict: of std::map, unordered_map and those like them. Of equal keys the last counts.
template <detail::MapLike T>
struct Transfer<T> {
  static void write(pickle::Encoder& encoder, const T& map) {
    encoder.begin_dict();
    for (const auto& [key, value] : map) {
      Transfer<typename T::key_type>::write(encoder, key);
      Transfer<typename T::mapped_type>::write(encoder, value);
    }
    encoder.end_dict();
  }
  static T read(pickle::Decoder& decoder) {
    T map;
    decoder.begin_dict();
    while (decoder.next_in_dict()) {
      decoder.charge(sizeof(typename T::value_type) + detail::node_bytes);
      auto key = Transfer<typename T::key_type>::read(decoder);
      map.insert_or_assign(std::move(key), Transfer<typename T::mapped_type>::read(decoder));
    }
    return map;
  }
};

/// A set: of std::set, unordered_set and those like them.
template <detail::SetLike T>
struct Transfer<T> {
  static void write(pickle::Encoder& encoder, const T& set) {
    encoder.begin_set();
    for (const auto& each : set) Transfer<typename T::key_type>::write(encoder, each);
    encoder.end_set();
  }
  static T read(pickle::Decoder& decoder) {
    T set;
    decoder.begin_set();
    while (decoder.next_in_set()) {
      decoder.charge(sizeof(typename T::value_type) + detail::node_bytes);
      set.insert(Transfer<typename T::key_type>::read(decoder));
    }
    return set;
  }
};

/// A str, of std::filesystem::path.
template <detail::PathLike T>
struct Transfer<T> {
  static constexpr bool hashable = true;
  static void write(pickle::Encoder& encoder, const T& path) { encoder.text(path.native()); }
  static T read(pickle::Decoder& decoder) { return T(decoder.text()); }
};

}  // namespace runrig
