#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <limits>

#include "runrig/engine/quantile.hpp"

namespace runrig {
namespace {

template <std::size_t bytes>
using UnsignedOf = std::conditional_t<
    bytes == 1, std::uint8_t,
    std::conditional_t<bytes == 2, std::uint16_t, std::conditional_t<bytes == 4, std::uint32_t, std::uint64_t>>>;

template <class T>
using KeyOf = UnsignedOf<sizeof(T)>;

template <class Key>
constexpr Key top_bit = static_cast<Key>(Key{1} << (sizeof(Key) * 8 - 1));

/// The bits of a T as a key. Of negative floats all are turned round, of other signed numbers the sign.
template <class T>
KeyOf<T> key_of(KeyOf<T> bits) noexcept {
  using Key = KeyOf<T>;
  if constexpr (std::is_same_v<T, bool>) {
    return bits != 0 ? 1 : 0;
  } else if constexpr (std::is_floating_point_v<T> || std::is_same_v<T, half>) {
    return static_cast<Key>((bits & top_bit<Key>) != 0 ? ~bits : bits | top_bit<Key>);
  } else if constexpr (std::is_signed_v<T>) {
    return static_cast<Key>(bits ^ top_bit<Key>);
  } else {
    return bits;
  }
}
template <class T>
T element_of(KeyOf<T> key) noexcept {
  using Key = KeyOf<T>;
  if constexpr (std::is_same_v<T, bool>) {
    return key != 0;
  } else if constexpr (std::is_floating_point_v<T> || std::is_same_v<T, half>) {
    return std::bit_cast<T>(static_cast<Key>((key & top_bit<Key>) != 0 ? key ^ top_bit<Key> : ~key));
  } else if constexpr (std::is_signed_v<T>) {
    return std::bit_cast<T>(static_cast<Key>(key ^ top_bit<Key>));
  } else {
    return key;
  }
}
template <class T>
bool is_nan(KeyOf<T> bits) noexcept {
  using Key = KeyOf<T>;
  if constexpr (std::is_same_v<T, half>) {
    return (bits & 0x7FFFU) > 0x7C00U;
  } else if constexpr (std::is_floating_point_v<T>) {
    constexpr Key infinity = std::bit_cast<Key>(std::numeric_limits<T>::infinity());
    return (bits & ~top_bit<Key>) > infinity;
  } else {
    return false;
  }
}
template <class T>
double real_of(T value) noexcept {
  if constexpr (std::is_same_v<T, half>) {
    return static_cast<double>(static_cast<float>(value));
  } else {
    return static_cast<double>(value);
  }
}

template <class T>
std::size_t write_keys(const std::byte* data, std::size_t elements, std::byte* keys) noexcept {
  using Key = KeyOf<T>;
  std::size_t count = 0;
  for (std::size_t i = 0; i < elements; ++i) {
    Key bits;
    std::memcpy(&bits, data + i * sizeof bits, sizeof bits);
    const Key key = key_of<T>(bits);
    std::memcpy(keys + count * sizeof key, &key, sizeof key);  // without a branch: a NaN's is written over
    count += is_nan<T>(bits) ? 0 : 1;
  }
  return count;
}

/// The elements at `rank` and behind it; the last one has none behind it.
template <class T>
std::pair<double, double> select(KeyOf<T>* keys, std::size_t count, std::size_t rank) noexcept {
  std::nth_element(keys, keys + rank, keys + count);
  const double low = real_of(element_of<T>(keys[rank]));
  if (rank + 1 == count) return {low, low};
  return {low, real_of(element_of<T>(*std::min_element(keys + rank + 1, keys + count)))};
}

}  // namespace

QuantilePlace quantile_place(double quantile, std::uint64_t n) noexcept {
  const double place = quantile * static_cast<double>(n - 1);
  const double whole = std::floor(place);
  const auto rank = static_cast<std::uint64_t>(whole);
  if (rank >= n - 1) return {n - 1, 0};
  return {rank, place - whole};
}

double quantile_between(double low, double high, double fraction) noexcept {
  if (fraction == 0 || low == high) return low;
  const double difference = high - low;
  return fraction < 0.5 ? low + difference * fraction : high - difference * (1 - fraction);
}

std::size_t ordered_keys(DType dtype, const std::byte* data, std::size_t elements, std::byte* keys) noexcept {
  return visit_dtype(dtype, [&]<class T>(std::type_identity<T>) { return write_keys<T>(data, elements, keys); });
}

double key_value(DType dtype, std::uint64_t key) noexcept {
  return visit_dtype(
      dtype, [&]<class T>(std::type_identity<T>) { return real_of(element_of<T>(static_cast<KeyOf<T>>(key))); });
}

std::uint64_t ordered_key(DType dtype, const std::byte* element) noexcept {
  return visit_dtype(dtype, [&]<class T>(std::type_identity<T>) {
    KeyOf<T> bits;
    std::memcpy(&bits, element, sizeof bits);
    return static_cast<std::uint64_t>(key_of<T>(bits));
  });
}

double quantile_of(DType dtype, const std::byte* data, std::size_t elements, double quantile, NanPolicy nan,
                   std::byte* scratch) noexcept {
  return visit_dtype(dtype, [&]<class T>(std::type_identity<T>) {
    const std::size_t count = write_keys<T>(data, elements, scratch);
    if (count == 0 || (count < elements && nan == NanPolicy::propagate)) {
      return std::numeric_limits<double>::quiet_NaN();
    }
    const QuantilePlace place = quantile_place(quantile, count);
    const auto [low, high] =
        select<T>(reinterpret_cast<KeyOf<T>*>(scratch), count, static_cast<std::size_t>(place.rank));
    return quantile_between(low, high, place.fraction);
  });
}

void count_key_digits(std::size_t item, const std::byte* keys, std::size_t count, unsigned shift, std::uint64_t prefix,
                      std::uint64_t* counts) noexcept {
  const auto run = [&]<class Key>(Key) {
    const Key* const all = reinterpret_cast<const Key*>(keys);
    const unsigned above = shift + key_digit_bits;
    for (std::size_t i = 0; i < count; ++i) {
      const std::uint64_t key = all[i];
      if (above < sizeof(Key) * 8 && key >> above != prefix) continue;
      ++counts[(key >> shift) & (key_digits - 1)];
    }
  };
  if (item == 1) run(std::uint8_t{});
  if (item == 2) run(std::uint16_t{});
  if (item == 4) run(std::uint32_t{});
  if (item == 8) run(std::uint64_t{});
}

DType histogram_edge_dtype(DType elements) noexcept { return is_floating(elements) ? elements : DType::float64; }

std::vector<double> histogram_edges(double low, double high, std::uint64_t bins, DType elements) {
  if (low == high) {
    low -= 0.5;
    high += 0.5;
  }
  const DType dtype = histogram_edge_dtype(elements);
  const auto rounded = [dtype](double value) {
    if (dtype == DType::float64) return value;
    std::array<std::byte, 8> bytes{};
    store_real(dtype, value, bytes.data());
    return key_value(dtype, ordered_key(dtype, bytes.data()));
  };
  // NumPy's linspace.
  const double step = (high - low) / static_cast<double>(bins);
  std::vector<double> edges(bins + 1);
  for (std::uint64_t i = 0; i < bins; ++i) edges[i] = rounded(static_cast<double>(i) * step + low);
  edges[bins] = rounded(high);
  return edges;
}

}  // namespace runrig
