#pragma once

#include "runrig/engine/call.hpp"

/// Calls made in other parts of the program than its main file.
namespace runrig::test {

/// In a static library. Gives 1000 + x.
[[nodiscard]] detail::CallWire call_of_static_library(int x);
/// The same, of a function pointer: 2000 + x.
[[nodiscard]] detail::CallWire function_of_static_library(int x);

/// What call_module.cpp, a shared object loaded at run time, exports as "runrig_test_module_call": 3000 + x.
using ModuleCall = void (*)(int x, std::vector<std::byte>& wire);

}  // namespace runrig::test
