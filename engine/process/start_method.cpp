#include "runrig/engine/start_method.hpp"

#include <atomic>
#include <stdexcept>
#include <string>

namespace runrig {
namespace {

constexpr int none = -1;
// Relaxed everywhere: the number is all there is, nothing goes with it.
std::atomic<int> chosen{none};

constexpr std::array<std::string_view, 3> names = {"fork", "spawn", "forkserver"};

}  // namespace

std::string_view to_string(StartMethod method) noexcept { return names[static_cast<std::size_t>(method)]; }

StartMethod start_method_from(std::string_view name) {
  for (const StartMethod each : start_methods()) {
    if (to_string(each) == name) return each;
  }
  throw std::invalid_argument("there is no start method '" + std::string(name) +
                              "'; there are fork, spawn and forkserver");
}

std::array<StartMethod, 3> start_methods() noexcept {
  return {StartMethod::fork, StartMethod::spawn, StartMethod::forkserver};
}

void set_start_method(std::optional<StartMethod> method, Force force) {
  const int wanted = method ? static_cast<int>(*method) : none;
  if (force == Force::yes) {
    chosen.store(wanted, std::memory_order_relaxed);
    return;
  }
  int found = none;
  if (chosen.compare_exchange_strong(found, wanted, std::memory_order_relaxed)) return;
  throw std::logic_error("set the start method: it is " + std::string(to_string(static_cast<StartMethod>(found))) +
                         " already, by an earlier choice or because a process was started; set it once, at the head of "
                         "main, or use get_context() for single processes");
}

StartMethod get_start_method() noexcept {
  int found = none;
  if (chosen.compare_exchange_strong(found, static_cast<int>(StartMethod::fork), std::memory_order_relaxed)) {
    return StartMethod::fork;
  }
  return static_cast<StartMethod>(found);
}

std::optional<StartMethod> try_get_start_method() noexcept {
  const int found = chosen.load(std::memory_order_relaxed);
  if (found == none) return std::nullopt;
  return static_cast<StartMethod>(found);
}

}  // namespace runrig
