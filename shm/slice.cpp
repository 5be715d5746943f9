#include "runrig/shm/slice.hpp"

#include <algorithm>
#include <limits>
#include <stdexcept>
#include <string>

#include "runrig/sync/error.hpp"

namespace runrig {

Slice::Resolved Slice::resolve(std::uint64_t extent) const {
  if (step == 0) throw std::invalid_argument("a slice's step is zero");
  if (extent > static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max())) {
    throw Error(std::errc::value_too_large, "slice an axis of", std::to_string(extent));
  }
  const auto n = static_cast<std::int64_t>(extent);
  const std::int64_t lowest = step > 0 ? 0 : -1;
  const std::int64_t highest = step > 0 ? n : n - 1;
  const auto position = [&](std::int64_t at) { return std::clamp(at < 0 ? at + n : at, lowest, highest); };
  const std::int64_t from = start ? position(*start) : (step > 0 ? lowest : highest);
  const std::int64_t to = stop ? position(*stop) : (step > 0 ? highest : lowest);
  const std::int64_t distance = step > 0 ? to - from : from - to;
  if (distance <= 0) return {0, 0, step};
  // Unsigned, so that the most negative step has an opposite.
  const std::uint64_t stride = step > 0 ? static_cast<std::uint64_t>(step) : 0 - static_cast<std::uint64_t>(step);
  return {static_cast<std::uint64_t>(from), (static_cast<std::uint64_t>(distance) - 1) / stride + 1, step};
}

}  // namespace runrig
