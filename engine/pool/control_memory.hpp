#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>

#include "control.hpp"
#include "runrig/shm/anonymous_memory.hpp"

namespace runrig::detail {

/// The parts of a control mapping at `base`, for that many workers with regions of that many bytes each.
[[nodiscard]] ControlView lay_out(std::byte* base, int workers, std::uint64_t region_bytes) noexcept;

/// The memory of a Control and all that belongs to it, without a name, so it vanishes with the last of its users:
/// shared with the children forked from now on, and with processes that are given the descriptor.
class ControlMemory {
 public:
  explicit ControlMemory(int workers);
  ControlMemory(const ControlMemory&) = delete;
  ControlMemory& operator=(const ControlMemory&) = delete;
  [[nodiscard]] const ControlView& view() const noexcept { return view_; }
  [[nodiscard]] int fd() const noexcept { return memory_->fd(); }
  /// Throws away what former launches wrote to the failure log. With no launch under way.
  void clear_failures() noexcept;

 private:
  std::optional<AnonymousMemory> memory_;
  ControlView view_;
};

}  // namespace runrig::detail
