#include "interrupt.hpp"

#include <signal.h>
#include <unistd.h>

#include <atomic>

#include "runrig/sync/error.hpp"

namespace runrig::cli {
namespace {

// Relaxed: a counter that is only looked at, nothing hangs on it. Lock-free, so a handler may change it.
std::atomic<int> count{0};
static_assert(std::atomic<int>::is_always_lock_free);

void on_signal(int number) {
  if (count.fetch_add(1, std::memory_order_relaxed) == 0) return;
  // The workers end when this process does, however it does. The default action shows the shell the signal.
  ::signal(number, SIG_DFL);
  ::raise(number);
}

}  // namespace

void watch_interrupts() {
  struct sigaction action {};
  action.sa_handler = on_signal;  // no SA_RESTART: waits end early and look at the count
  sigemptyset(&action.sa_mask);
  for (const int number : {SIGINT, SIGTERM, SIGHUP}) {
    struct sigaction before {};
    check_errno(::sigaction(number, nullptr, &before), "look at the handler of signal", std::to_string(number));
    if (before.sa_handler == SIG_IGN) continue;  // nohup, or a shell's background job
    check_errno(::sigaction(number, &action, nullptr), "handle signal", std::to_string(number));
  }
}

int interrupt_count() noexcept { return count.load(std::memory_order_relaxed); }

}  // namespace runrig::cli
