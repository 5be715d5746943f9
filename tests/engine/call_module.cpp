// Loaded with dlopen(). It takes the engine from the program that loads it, so that both have one table of code.
#include "call_program.hpp"

extern "C" [[gnu::visibility("default")]] void runrig_test_module_call(int x, std::vector<std::byte>& wire) {
  runrig::detail::Call::make([x](int thousand) { return thousand + x; }, 3000).wire().write(wire);
}
