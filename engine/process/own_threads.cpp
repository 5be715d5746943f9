#include "own_threads.hpp"

#include <pthread.h>

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <stdexcept>

#include "runrig/engine/machine.hpp"
#include "runrig/sync/futex.hpp"

namespace runrig::detail {
namespace {

constexpr std::uint32_t closed = UINT32_MAX;

// How many are inside, or `closed`.
constinit std::atomic<std::uint32_t> gate{0};
constinit std::atomic<int> own_threads{0};
thread_local bool is_own = false;

// Acquire and release on the gate, everywhere: what a thread did inside is complete for who finds nobody inside, and
// the other way round.
void enter() noexcept {
  for (std::uint32_t seen = gate.load(std::memory_order_relaxed);;) {
    if (seen == closed) {
      (void)futex_wait(gate, closed, Deadline());
      seen = gate.load(std::memory_order_relaxed);
    } else if (gate.compare_exchange_weak(seen, seen + 1, std::memory_order_acquire, std::memory_order_relaxed)) {
      return;
    }
  }
}

void leave() noexcept {
  if (gate.fetch_sub(1, std::memory_order_release) == 1) futex_wake_all(gate);
}

// The child of a fork has only the thread that forked, as a thread of the program.
void start_anew() noexcept {
  gate.store(0, std::memory_order_relaxed);
  own_threads.store(0, std::memory_order_relaxed);
  is_own = false;
}
[[maybe_unused]] const int fork_handler = ::pthread_atfork(nullptr, nullptr, start_anew);

}  // namespace

OwnThread::OwnThread() noexcept {
  own_threads.fetch_add(1, std::memory_order_relaxed);  // a number; what goes with it goes through the gate
  is_own = true;
  enter();
}

OwnThread::~OwnThread() {
  leave();
  is_own = false;
  own_threads.fetch_sub(1, std::memory_order_relaxed);
}

OutsideGate::OutsideGate() noexcept {
  if (is_own) leave();
}

OutsideGate::~OutsideGate() {
  if (is_own) enter();
}

GateClosed::GateClosed() {
  if (is_own) throw std::logic_error("make a process in a callback: it runs in a thread beside the program's");
  for (;;) {
    std::uint32_t inside = 0;
    if (gate.compare_exchange_strong(inside, closed, std::memory_order_acquire, std::memory_order_relaxed)) break;
    (void)futex_wait(gate, inside, Deadline());
  }
  closed_ = true;
}

GateClosed::GateClosed(Try /*unused*/) noexcept {
  std::uint32_t inside = 0;
  closed_ =
      !is_own && gate.compare_exchange_strong(inside, closed, std::memory_order_acquire, std::memory_order_relaxed);
}

GateClosed::~GateClosed() {
  if (!closed_) return;
  gate.store(0, std::memory_order_release);
  futex_wake_all(gate);
}

bool in_own_thread() noexcept { return is_own; }

int program_thread_count() {
  const int all = process_thread_count();
  const int ours = own_threads.load(std::memory_order_relaxed) - (is_own ? 1 : 0);
  return std::max(all - ours, 1);
}

}  // namespace runrig::detail
