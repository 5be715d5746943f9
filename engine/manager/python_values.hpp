#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "runrig/channel/pickle.hpp"

/// What Python's containers do with values of any type.
namespace runrig::detail {

/// An index, negative ones from the end, as a place below `size`. Throws ManagedError IndexError.
[[nodiscard]] std::size_t place_of(std::int64_t index, std::size_t size, const char* what);
/// One of the equal keys of Python: 1, 1.0 and True are the same one. Throws ManagedError TypeError for what cannot be
/// a key.
[[nodiscard]] pickle::Object canonical(const pickle::Object& key);
/// As Python's ==.
[[nodiscard]] bool equal(const pickle::Object& a, const pickle::Object& b);
/// How many elements a request may have copied that it does not bring itself: few bytes must not cost a server much.
inline constexpr std::size_t most_copied = std::size_t{1} << 22;

/// The value itself, or of a proxy of this server's object that object's value. Not with a lock held.
[[nodiscard]] pickle::Object resolved(const pickle::Object& object);
/// What iterating over it gives, also over what a proxy refers to (MemoryError for more than most_copied). Not with a
/// lock held. Throws ManagedError TypeError
/// for what cannot be iterated over.
[[nodiscard]] std::vector<pickle::Object> elements_of(const pickle::Object& iterable);

/// int, float and bool.
[[nodiscard]] bool is_number(const pickle::Object& object);

/// The places that a slice takes of a sequence, as Python's slice.indices() says them.
struct SlicePlaces {
  std::int64_t start = 0;
  std::int64_t step = 1;
  std::size_t count = 0;
  [[nodiscard]] std::size_t operator[](std::size_t place) const noexcept {
    return static_cast<std::size_t>(start + static_cast<std::int64_t>(place) * step);
  }
};
/// Throws ManagedError ValueError for a step of 0.
[[nodiscard]] SlicePlaces places_of(const pickle::Slice& slice, std::size_t size);

}  // namespace runrig::detail
