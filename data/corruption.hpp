#pragma once

#include <cstddef>
#include <cstdint>
#include <iosfwd>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

/// Damaged files by the thousand, for tests of readers: the same seed makes the same damage on every machine.
namespace runrig::data {

/// What can happen to a file.
enum class Damage {
  truncate,         ///< cut off somewhere; sometimes within the first bytes, or to nothing
  flip_bits,        ///< 1 to 8 single bits
  rewrite_bytes,    ///< a run of 1 to 64 random bytes
  zero_run,         ///< a run of 1 to 4096 zero bytes, as a lost block leaves it
  splice,           ///< a piece copied over another place, as a misdirected write leaves it
  overwrite_field,  ///< an extent, address or length replaced by an extreme value, such as 2^40
};

/// "truncate", "flip-bits" and so on, as the command line spells them.
[[nodiscard]] std::string_view name_of(Damage damage) noexcept;
[[nodiscard]] std::optional<Damage> damage_named(std::string_view name) noexcept;

/// By that name, also where a test's name shows its parameter.
std::ostream& operator<<(std::ostream& stream, Damage damage);

struct Corruption {
  std::vector<std::byte> bytes;  ///< the damaged file; always other than the original, unless that was empty
  std::string description;       ///< what was done and where: "flip-bits: bit 3 of byte 2048"
};

/// Damages a copy of `original`, the bytes of an HDF5 file (or any other). Half of the damage is aimed at the file's
/// structure (superblock, object headers, trees, heaps), found by its signatures; the rest falls anywhere. Without
/// `damage` the seed chooses its kind.
[[nodiscard]] Corruption corrupt(const std::vector<std::byte>& original, std::uint64_t seed,
                                 std::optional<Damage> damage = std::nullopt);

}  // namespace runrig::data
