#include "fork_hooks.hpp"

#include "participation.hpp"
#include "runrig/sync/fork_hooks.hpp"

namespace runrig::detail {
namespace {

constinit thread_local bool skip_hooks = false;
constinit thread_local int listener_depth = 0;

struct Mutexes {
  std::mutex listeners;
  std::mutex participation;
};

void lock_all();
void unlock_all();
void unlock_all_in_child();

Mutexes* make_mutexes() {
  add_fork_hooks(lock_all, unlock_all, unlock_all_in_child);
  return new Mutexes;
}

Mutexes& mutexes() {
  // Never destroyed: segments in other static objects may be closed after any destructor of ours.
  static auto* const all = make_mutexes();
  return *all;
}

void lock_listeners() {
  if (listener_depth == 0) mutexes().listeners.lock();
  ++listener_depth;
}

void unlock_listeners() {
  if (--listener_depth == 0) mutexes().listeners.unlock();
}

void lock_all() {
  if (skip_hooks) return;
  lock_listeners();
  mutexes().participation.lock();
}

void unlock_all() {
  if (skip_hooks) return;
  mutexes().participation.unlock();
  unlock_listeners();
}

// The one thread that the child has is the copy of the one that locked.
void unlock_all_in_child() {
  if (skip_hooks) return;
  give_up_owned_sessions();
  unlock_all();
}

}  // namespace

std::mutex& participation_mutex() { return mutexes().participation; }

ListenerLock::ListenerLock() { lock_listeners(); }
ListenerLock::~ListenerLock() { unlock_listeners(); }

ForkWithoutHooks::ForkWithoutHooks() noexcept { skip_hooks = true; }
ForkWithoutHooks::~ForkWithoutHooks() { skip_hooks = false; }

}  // namespace runrig::detail
