#include "runrig/sync/killpoint.hpp"

#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <charconv>
#include <cstdlib>
#include <cstring>
#include <stdexcept>

// The linker marks the ends of a section whose name is a C identifier; weak, for programs without any kill point.
extern "C" {
[[gnu::weak]] extern const char* const __start_runrig_killpoints[];  // NOLINT(bugprone-reserved-identifier)
[[gnu::weak]] extern const char* const __stop_runrig_killpoints[];   // NOLINT(bugprone-reserved-identifier)
}

namespace runrig::killpoint {
namespace {

constexpr std::size_t longest_name = 64;

struct Armed {
  char name[longest_name]{};
  // How many more times the point may be reached. Relaxed everywhere: only the count matters, nothing is published.
  std::atomic<int> remaining{0};
};
Armed armed;

// Reads RUNRIG_KILLPOINT before main, so that the first point a program reaches can be armed.
[[maybe_unused]] const bool environment_read = [] {
#ifdef RUNRIG_KILLPOINTS
  if (const char* value = std::getenv("RUNRIG_KILLPOINT")) {
    std::string_view text(value);
    int nth = 1;
    if (const auto colon = text.rfind(':'); colon != std::string_view::npos) {
      std::from_chars(text.data() + colon + 1, text.data() + text.size(), nth);
      text = text.substr(0, colon);
    }
    if (text.size() < longest_name) arm(text, nth);
  }
#endif
  return true;
}();

}  // namespace

bool compiled_in() noexcept {
#ifdef RUNRIG_KILLPOINTS
  return true;
#else
  return false;
#endif
}

std::vector<std::string_view> names() {
  std::vector<std::string_view> all;
  if (__start_runrig_killpoints == nullptr) return all;
  for (const char* const* each = __start_runrig_killpoints; each != __stop_runrig_killpoints; ++each) {
    if (*each != nullptr) all.emplace_back(*each);
  }
  std::sort(all.begin(), all.end());
  all.erase(std::unique(all.begin(), all.end()), all.end());
  return all;
}

void arm(std::string_view name, int nth) {
  if (name.empty() || name.size() >= longest_name || nth < 1)
    throw std::logic_error("arm a kill point: bad name or count");
  disarm();
  std::memcpy(armed.name, name.data(), name.size());
  armed.name[name.size()] = '\0';
  armed.remaining.store(nth, std::memory_order_relaxed);
}

void disarm() noexcept { armed.remaining.store(0, std::memory_order_relaxed); }

namespace detail {

void reach(const char* name) noexcept {
  if (armed.remaining.load(std::memory_order_relaxed) <= 0 || std::strcmp(name, armed.name) != 0) return;
  if (armed.remaining.fetch_sub(1, std::memory_order_relaxed) == 1) {
    ::kill(::getpid(), SIGKILL);
    for (;;) ::pause();  // the signal is on its way
  }
}

}  // namespace detail
}  // namespace runrig::killpoint
