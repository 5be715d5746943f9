#include "runrig/sync/domain_table.hpp"

#include "runrig/sync/killpoint.hpp"

namespace runrig::detail {

std::uint64_t DomainTable::key_of_other_domain(const Identity& me) noexcept {
  if (me.domain == 0) return me.mark | no_domain;
  for (int index = 0; index < slots; ++index) {
    std::uint32_t found = domains_[index].load(std::memory_order_relaxed);  // relaxed: see key_of()
    if (found == 0) {
      // Relaxed: the entry says nothing about other memory. Killed after it: an entry too many, which is harmless.
      const bool set = domains_[index].compare_exchange_strong(found, me.domain, std::memory_order_relaxed);
      RUNRIG_KILLPOINT("lock.domain_entered");
      if (set) found = me.domain;
    }
    if (found == me.domain) return me.mark | (static_cast<std::uint64_t>(index) << domain_shift);
  }
  return me.mark | no_domain;
}

Identity DomainTable::identity_in(std::uint64_t word, ParticipantKind kind) const noexcept {
  const auto index = (word & domain_bits) >> domain_shift;
  // Relaxed: an entry not yet visible reads as 0, of which nobody is judged.
  const std::uint32_t domain = index < slots ? domains_[index].load(std::memory_order_relaxed) : 0;
  return {word & mark_bits, domain, kind};
}

}  // namespace runrig::detail
