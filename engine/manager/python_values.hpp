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
/// What iterating over it gives. Throws ManagedError TypeError for what cannot be iterated over.
[[nodiscard]] std::vector<pickle::Object> elements_of(const pickle::Object& iterable);

/// int, float and bool.
[[nodiscard]] bool is_number(const pickle::Object& object);

}  // namespace runrig::detail
