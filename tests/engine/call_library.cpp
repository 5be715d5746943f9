#include "call_program.hpp"

namespace runrig::test {
namespace {
int add_two_thousand(int x) { return 2000 + x; }
}  // namespace

detail::CallWire call_of_static_library(int x) {
  return detail::Call::make([x](int thousand) { return thousand + x; }, 1000).wire();
}

detail::CallWire function_of_static_library(int x) { return detail::Call::make(&add_two_thousand, x).wire(); }

}  // namespace runrig::test
