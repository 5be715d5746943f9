#pragma once

#include <cstddef>

#include "control.hpp"

namespace runrig::detail {

/// The memory of a Control and all that belongs to it: shared with the children forked from now on, without name or
/// descriptor, so it vanishes with the last of them.
class ControlMemory {
 public:
  explicit ControlMemory(int workers);
  ControlMemory(const ControlMemory&) = delete;
  ControlMemory& operator=(const ControlMemory&) = delete;
  ~ControlMemory();
  [[nodiscard]] const ControlView& view() const noexcept { return view_; }
  /// Throws away what former launches wrote to the failure log. With no launch under way.
  void clear_failures() noexcept;

 private:
  std::size_t bytes_ = 0;
  std::byte* base_ = nullptr;
  ControlView view_;
};

}  // namespace runrig::detail
