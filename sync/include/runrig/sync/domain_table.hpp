#pragma once

#include <atomic>
#include <cstdint>
#include <type_traits>

#include "runrig/sync/participant.hpp"

namespace runrig::detail {

/// What a primitive in shared memory needs to name a participant in 61 bits of one atomic word, its *key*: the mark,
/// and in two of the bits that a mark leaves free the index of its PID namespace in this table. The three bits 22-24
/// remain for the primitive.
///
/// Whoever finds the table full gets an index by which nobody is judged. Entries are set once, so an index means the
/// same for ever. All-zero memory is an empty table. Any thread of any process.
class DomainTable {
 public:
  /// The bits that a key may use.
  static constexpr int domain_shift = 25;
  static constexpr std::uint64_t domain_bits = std::uint64_t{3} << domain_shift;
  static constexpr std::uint64_t key_bits = mark_bits | domain_bits;

  constexpr DomainTable() noexcept = default;

  [[nodiscard]] std::uint64_t key_of(const Identity& me) noexcept {
    // Relaxed: an entry never changes once it is set, and a reader who sees none yet judges nobody by it.
    const bool first = me.domain != 0 && domains_[0].load(std::memory_order_relaxed) == me.domain;
    return first ? me.mark : key_of_other_domain(me);
  }
  /// Whom the key in `word` names; the word's other bits do not matter.
  [[nodiscard]] Identity identity_in(std::uint64_t word, ParticipantKind kind) const noexcept;

 private:
  static constexpr int slots = 3;
  static constexpr std::uint64_t no_domain = domain_bits;  // index 3: judged by nobody

  [[nodiscard]] std::uint64_t key_of_other_domain(const Identity& me) noexcept;

  std::atomic<std::uint32_t> domains_[slots]{};
};
static_assert(std::is_standard_layout_v<DomainTable> && sizeof(DomainTable) == 12,
              "separately built processes share it");

/// The kernel id in a key: pid or tid; 0 in an empty word.
[[nodiscard]] constexpr int id_in(std::uint64_t word) noexcept { return Identity{word, 0, {}}.id(); }

}  // namespace runrig::detail
