#include "corruption.hpp"

#include <algorithm>
#include <array>
#include <cstring>
#include <iterator>
#include <limits>
#include <ostream>

#include "synthetic.hpp"

namespace runrig::data {
namespace {

constexpr std::array<std::string_view, 6> damage_names = {"truncate", "flip-bits", "rewrite-bytes",
                                                          "zero-run", "splice",    "overwrite-field"};

/// One number after another. Our own, because the library's distributions differ between libraries.
class Dice {
 public:
  explicit Dice(std::uint64_t seed) : noise_(seed, 0) {}
  std::uint64_t bits() { return noise_.bits(next_++); }
  /// Uniform enough in [0, limit), limit > 0.
  std::size_t below(std::size_t limit) { return bits() % limit; }
  std::size_t between(std::size_t first, std::size_t last) { return first + below(last - first + 1); }

 private:
  Noise noise_;
  std::uint64_t next_ = 0;
};

std::uint64_t load_u64(const std::vector<std::byte>& bytes, std::size_t offset) {
  std::uint64_t value = 0;
  for (std::size_t i = 8; i-- > 0;) value = value << 8 | std::to_integer<std::uint64_t>(bytes[offset + i]);
  return value;
}

void store_u64(std::vector<std::byte>& bytes, std::size_t offset, std::uint64_t value) {
  for (std::size_t i = 0; i < 8; ++i) bytes[offset + i] = static_cast<std::byte>(value >> (8 * i));
}

/// Where the signatures of HDF5's structures stand.
std::vector<std::size_t> structure_offsets(const std::vector<std::byte>& bytes) {
  constexpr std::array<const char*, 14> signatures = {"\211HDF", "TREE", "SNOD", "HEAP", "GCOL", "OHDR", "OCHK",
                                                      "FRHP",    "FHDB", "BTHD", "BTLF", "FAHD", "EAHD", "FADB"};
  std::vector<std::size_t> found;
  for (std::size_t i = 0; i + 4 <= bytes.size(); ++i) {
    const auto matches = [&](const char* signature) { return std::memcmp(&bytes[i], signature, 4) == 0; };
    if (std::any_of(signatures.begin(), signatures.end(), matches)) found.push_back(i);
  }
  return found;
}

/// Where extents stand: what looks like a dataspace message (version 1: rank, flags, five zero bytes; version 2: rank,
/// flags, kind) followed by as many 64-bit extents of a credible size.
std::vector<std::size_t> extent_offsets(const std::vector<std::byte>& bytes) {
  constexpr std::uint64_t credible = std::uint64_t{1} << 32;
  std::vector<std::size_t> found;
  for (std::size_t i = 0; i + 16 <= bytes.size(); ++i) {
    const auto at = [&](std::size_t k) { return std::to_integer<unsigned>(bytes[i + k]); };
    const std::size_t rank = at(1);
    if (rank < 1 || rank > 8 || at(2) > 1) continue;
    const bool version_1 = at(0) == 1 && at(3) + at(4) + at(5) + at(6) + at(7) == 0;
    const bool version_2 = at(0) == 2 && at(3) == 1;
    if (!version_1 && !version_2) continue;
    const std::size_t first = i + (version_1 ? 8 : 4);
    if (8 * rank > bytes.size() - first) continue;
    std::vector<std::size_t> extents;
    for (std::size_t axis = 0; axis < rank; ++axis) {
      if (load_u64(bytes, first + 8 * axis) < credible) extents.push_back(first + 8 * axis);
    }
    if (extents.size() == rank) found.insert(found.end(), extents.begin(), extents.end());
  }
  return found;
}

/// The first place from `offset` on, within 256 bytes, where 8 bytes could be a length or an address in this file.
std::size_t field_near(const std::vector<std::byte>& bytes, std::size_t offset) {
  const std::size_t last = std::min(offset + 256, bytes.size() - 8);
  for (std::size_t i = offset; i <= last; ++i) {
    const std::uint64_t value = load_u64(bytes, i);
    if (value >= 1 && value <= bytes.size()) return i;
  }
  return std::min(offset, bytes.size() - 8);
}

/// A place to damage: half the time within 256 bytes behind a signature, if there are any.
std::size_t target(const std::vector<std::byte>& bytes, Dice& dice) {
  if (dice.below(2) == 0) return dice.below(bytes.size());
  const auto structures = structure_offsets(bytes);
  if (structures.empty()) return dice.below(bytes.size());
  return std::min(structures[dice.below(structures.size())] + dice.below(256), bytes.size() - 1);
}

std::string place(std::size_t offset, std::size_t length) {
  return std::to_string(length) + (length == 1 ? " byte at " : " bytes at ") + std::to_string(offset);
}

std::string truncate(std::vector<std::byte>& bytes, Dice& dice) {
  // A quarter ends within the superblock and the first header, where most readers look without care.
  const std::size_t limit = dice.below(4) == 0 ? std::min<std::size_t>(bytes.size(), 1024) : bytes.size();
  const std::size_t kept = dice.below(limit);
  std::string what = "cut from " + std::to_string(bytes.size()) + " to " + std::to_string(kept) + " bytes";
  bytes.resize(kept);
  return what;
}

std::string flip_bits(std::vector<std::byte>& bytes, Dice& dice) {
  std::string what;
  for (std::size_t left = dice.between(1, 8); left > 0; --left) {
    const std::size_t offset = target(bytes, dice);
    const std::size_t bit = dice.below(8);
    bytes[offset] ^= static_cast<std::byte>(1U << bit);
    what += (what.empty() ? "bit " : ", bit ") + std::to_string(bit) + " of byte " + std::to_string(offset);
  }
  return what;
}

std::string rewrite_bytes(std::vector<std::byte>& bytes, Dice& dice) {
  const std::size_t offset = target(bytes, dice);
  const std::size_t length = std::min(dice.between(1, 64), bytes.size() - offset);
  for (std::size_t i = 0; i < length; ++i) bytes[offset + i] = static_cast<std::byte>(dice.bits());
  return place(offset, length) + " made random";
}

std::string zero_run(std::vector<std::byte>& bytes, Dice& dice) {
  const std::size_t offset = target(bytes, dice);
  const std::size_t length = std::min(dice.between(1, 4096), bytes.size() - offset);
  std::fill_n(std::next(bytes.begin(), static_cast<std::ptrdiff_t>(offset)), length, std::byte{0});
  return place(offset, length) + " made zero";
}

std::string splice(std::vector<std::byte>& bytes, Dice& dice) {
  const std::size_t from = target(bytes, dice);
  const std::size_t to = target(bytes, dice);
  const std::size_t length = std::min(dice.between(1, 4096), bytes.size() - std::max(from, to));
  std::memmove(&bytes[to], &bytes[from], length);  // they may overlap
  return place(from, length) + " copied to " + std::to_string(to);
}

std::string overwrite_field(std::vector<std::byte>& bytes, Dice& dice) {
  if (bytes.size() < 8) return rewrite_bytes(bytes, dice);
  constexpr std::array<std::uint64_t, 8> extremes = {0,
                                                     1,
                                                     0x7fffffff,
                                                     0x100000000,
                                                     0x10000000000,  // 2^40 elements: plausible, and never there
                                                     0x1fffffffffffffff,
                                                     std::numeric_limits<std::int64_t>::max(),
                                                     std::numeric_limits<std::uint64_t>::max()};
  const auto extents = extent_offsets(bytes);
  const bool extent = !extents.empty() && dice.below(2) == 0;
  const std::size_t offset = extent ? extents[dice.below(extents.size())] : field_near(bytes, target(bytes, dice));
  const std::uint64_t value = extremes[dice.below(extremes.size())];
  std::string what = std::string(extent ? "extent" : "field") + " at " + std::to_string(offset) + " changed from " +
                     std::to_string(load_u64(bytes, offset)) + " to " + std::to_string(value);
  store_u64(bytes, offset, value);
  return what;
}

std::string apply(Damage damage, std::vector<std::byte>& bytes, Dice& dice) {
  switch (damage) {
    case Damage::truncate:
      return truncate(bytes, dice);
    case Damage::flip_bits:
      return flip_bits(bytes, dice);
    case Damage::rewrite_bytes:
      return rewrite_bytes(bytes, dice);
    case Damage::zero_run:
      return zero_run(bytes, dice);
    case Damage::splice:
      return splice(bytes, dice);
    case Damage::overwrite_field:
      return overwrite_field(bytes, dice);
  }
  return {};
}

}  // namespace

std::string_view name_of(Damage damage) noexcept { return damage_names[static_cast<std::size_t>(damage)]; }

std::ostream& operator<<(std::ostream& stream, Damage damage) { return stream << name_of(damage); }

std::optional<Damage> damage_named(std::string_view name) noexcept {
  const auto* const found = std::find(damage_names.begin(), damage_names.end(), name);
  if (found == damage_names.end()) return std::nullopt;
  return static_cast<Damage>(found - damage_names.begin());
}

Corruption corrupt(const std::vector<std::byte>& original, std::uint64_t seed, std::optional<Damage> damage) {
  if (original.empty()) return {{}, "nothing: the file is empty"};
  Dice dice(seed);
  const auto chosen = static_cast<Damage>(dice.below(damage_names.size()));  // thrown even if the caller has chosen
  const Damage kind = damage.value_or(chosen);
  for (int attempt = 0; attempt < 64; ++attempt) {
    Corruption result{original, {}};
    result.description = std::string(name_of(kind)) + ": " + apply(kind, result.bytes, dice);
    // Zeros over zeros and the like are no damage; the next throw is another.
    if (result.bytes != original) return result;
  }
  // A file of zeros can be zeroed for ever.
  Corruption result{original, "flip-bits: bit 0 of byte 0"};
  result.bytes[0] ^= std::byte{1};
  return result;
}

}  // namespace runrig::data
