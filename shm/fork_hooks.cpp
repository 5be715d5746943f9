#include "fork_hooks.hpp"

#include <pthread.h>

#include <new>

#include "runrig/sync/error.hpp"

namespace runrig::detail {
namespace {

constinit thread_local bool skip_hooks = false;

struct Mutexes {
  std::recursive_mutex listeners;
  std::mutex participation;
};

void lock_all();
void unlock_all();
void unlock_all_in_child();

Mutexes* make_mutexes() {
  check_code(::pthread_atfork(lock_all, unlock_all, unlock_all_in_child), "register fork hooks", "segments");
  return new Mutexes;
}

Mutexes& mutexes() {
  // Never destroyed: segments in other static objects may be closed after any destructor of ours.
  static auto* const all = make_mutexes();
  return *all;
}

void lock_all() {
  if (skip_hooks) return;
  mutexes().listeners.lock();
  mutexes().participation.lock();
}

void unlock_all() {
  if (skip_hooks) return;
  mutexes().participation.unlock();
  mutexes().listeners.unlock();
}

// A recursive mutex belongs to the thread that locked it, by a number that the child's thread does not have: unlocking
// it here would fail, silently, and the next fork would wait for ever. It is made anew instead.
void unlock_all_in_child() {
  if (skip_hooks) return;
  mutexes().participation.unlock();
  new (&mutexes().listeners) std::recursive_mutex;
}

}  // namespace

std::recursive_mutex& listener_mutex() { return mutexes().listeners; }
std::mutex& participation_mutex() { return mutexes().participation; }

ForkWithoutHooks::ForkWithoutHooks() noexcept { skip_hooks = true; }
ForkWithoutHooks::~ForkWithoutHooks() { skip_hooks = false; }

}  // namespace runrig::detail
