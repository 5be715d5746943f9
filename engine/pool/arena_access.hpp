#pragma once

#include "runrig/engine/arena.hpp"
#include "runrig/shm/anonymous_memory.hpp"

namespace runrig::detail {

struct ArenaAccess {
  /// What workers that are no copies of this process map, at the same address. Placed so that they most likely can.
  [[nodiscard]] static const AnonymousMemory& memory(const Arena& arena) noexcept;
};

}  // namespace runrig::detail
