#pragma once

#include <cstdint>
#include <optional>

namespace runrig {

/// A selection along one axis, with the meaning of Python's slice(start, stop, step): negative positions count from
/// the end, positions past an end are moved to it, none means "from the first" and "to the last" in the step's sense.
struct Slice {
  std::optional<std::int64_t> start{};
  std::optional<std::int64_t> stop{};
  std::int64_t step = 1;

  struct Resolved {
    std::uint64_t first;  ///< 0 if count is 0
    std::uint64_t count;
    std::int64_t step;

    /// Where the i-th selected element lies; i < count.
    [[nodiscard]] constexpr std::uint64_t at(std::uint64_t i) const noexcept {
      return first + i * static_cast<std::uint64_t>(step);  // modulo 2^64, as the result is not negative
    }
  };
  /// The elements selected on an axis of `extent`. Throws std::invalid_argument for step 0.
  [[nodiscard]] Resolved resolve(std::uint64_t extent) const;
};

}  // namespace runrig
