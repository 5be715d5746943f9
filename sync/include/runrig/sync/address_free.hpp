#pragma once

namespace runrig {

/// True for a type that is not trivially copyable but works at any address in any mapping, such as the primitives of
/// this room, which specialise it beside their definitions. A program may do so for a struct of its own that holds
/// some of them: it must have a fixed layout, no pointers, and need no destructor. Shared<T> then takes it.
template <class T>
inline constexpr bool is_address_free = false;

}  // namespace runrig
