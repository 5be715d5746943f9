#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <unordered_map>
#include <vector>

#include "runrig/channel/object.hpp"

namespace runrig::pickle::detail {

/// Stands for a hashable value: equal for values that Python counts as equal (1, 1.0 and True), and, with a secret
/// key of 128 bits, different for all others that anybody could make up. So dicts compare fingerprints only: no
/// stream can make two keys collide, nor make them expensive to compare.
struct Fingerprint {
  std::uint64_t low = 0;
  std::uint64_t high = 0;
  friend bool operator==(const Fingerprint&, const Fingerprint&) noexcept = default;
};

/// SipHash-2-4 with 128 bits of output.
[[nodiscard]] Fingerprint siphash(std::span<const std::byte> bytes, Fingerprint key) noexcept;

/// Makes fingerprints, and keeps those of large and compound values, which a stream may use as keys again and again.
class KeyHasher {
 public:
  /// None if `key` is not hashable, or is a tuple nested deeper than a thousand levels.
  [[nodiscard]] std::optional<Fingerprint> operator()(const Object& key) { return hash(key, 0); }
  /// Of a str.
  [[nodiscard]] static Fingerprint of_text(std::string_view text);

 private:
  struct Kept {
    Fingerprint fingerprint;
    Object object;  // holds the address, which is the key
  };
  std::optional<Fingerprint> hash(const Object& key, std::size_t depth);
  std::optional<Fingerprint> hash_compound(const Object& key, std::size_t depth);

  std::unordered_map<const Node*, Kept> kept_;
};

/// Where in a dict's or set's vector a key lies. Positions are given in order of addition.
class KeyIndex {
 public:
  [[nodiscard]] std::optional<std::size_t> find(const Fingerprint& key) const noexcept;
  /// Adds a key that is not there yet; its position is the number of keys before it.
  void add(const Fingerprint& key);
  [[nodiscard]] std::size_t size() const noexcept { return keys_.size(); }
  [[nodiscard]] const Fingerprint& operator[](std::size_t position) const noexcept { return keys_[position]; }
  void clear() noexcept;
  /// What a key takes here at most, in bytes.
  static constexpr std::size_t bytes_per_key = 2 * sizeof(Fingerprint) + 6 * sizeof(std::uint32_t);

 private:
  void place(std::size_t position) noexcept;
  void rebuild(std::size_t slots);

  std::vector<Fingerprint> keys_;
  std::vector<std::uint32_t> slots_;  // position + 1, 0 where free; a power of two, none while keys are few
};

}  // namespace runrig::pickle::detail
