#include "fork_hooks.hpp"

#include <type_traits>

#include "participation.hpp"
#include "runrig/sync/fork_hooks.hpp"

namespace runrig::detail {
namespace {

constinit thread_local int listener_depth = 0;

struct Mutexes {
  std::mutex listeners;
  std::mutex participation;
};

void lock_all();
void unlock_all();
void unlock_all_in_child();

// Made by the compiler, not at first use: a fork at that moment would leave its child with a half-made one, for which
// it waits for ever. And never destroyed: segments in other static objects may be closed after any destructor of ours.
constinit Mutexes all_mutexes;
static_assert(std::is_trivially_destructible_v<Mutexes>);
Mutexes& mutexes() { return all_mutexes; }

// For the same reason before main, and so before any thread but those of static constructors. After the heap's
// (heap.cpp, priority 200): hooks before a fork run newest first, and its mutex is taken under these.
[[gnu::constructor(201)]] void register_hooks() { add_fork_hooks(lock_all, unlock_all, unlock_all_in_child); }

void lock_listeners() {
  if (listener_depth == 0) mutexes().listeners.lock();
  ++listener_depth;
}

void unlock_listeners() {
  if (--listener_depth == 0) mutexes().listeners.unlock();
}

void lock_all() {
  lock_listeners();
  mutexes().participation.lock();
}

void unlock_all() {
  mutexes().participation.unlock();
  unlock_listeners();
}

// The one thread that the child has is the copy of the one that locked.
void unlock_all_in_child() {
  give_up_owned_sessions();
  unlock_all();
}

}  // namespace

std::mutex& participation_mutex() { return mutexes().participation; }

ListenerLock::ListenerLock() { lock_listeners(); }
ListenerLock::~ListenerLock() { unlock_listeners(); }

}  // namespace runrig::detail
