#include "runrig/sync/fork_hooks.hpp"

#include <pthread.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cstddef>
#include <mutex>

#include "runrig/sync/error.hpp"

namespace runrig::detail {
namespace {

struct Hooks {
  ForkHook before = nullptr;
  ForkHook after_in_parent = nullptr;
  ForkHook after_in_child = nullptr;
};

// As many as the engine has rooms and some. No allocation: they run in forks.
constinit std::array<Hooks, 16> all_hooks;
constinit std::atomic<std::size_t> hook_count{0};
// Held by who adds, for a moment and while taking no other mutex; and over a fork, so that the child finds it free.
constinit std::mutex adding;
// How many ran before the fork of this thread: one that is added meanwhile has locked nothing.
constinit thread_local std::size_t hooks_of_this_fork = 0;
constinit thread_local bool skip_hooks = false;

void run(ForkHook hook) {
  if (hook != nullptr) hook();
}

// Before main, and before whatever adds hooks then.
[[gnu::constructor(150)]] void register_with_libc() {
  check_code(::pthread_atfork(
                 [] {
                   if (!skip_hooks) run_hooks_before_fork();
                 },
                 [] {
                   if (!skip_hooks) run_hooks_in_parent();
                 },
                 [] {
                   if (!skip_hooks) run_hooks_in_child();
                 }),
             "register", "fork hooks");
}

}  // namespace

void add_fork_hooks(ForkHook before, ForkHook after_in_parent, ForkHook after_in_child) {
  const std::lock_guard guard(adding);
  const std::size_t place = hook_count.load(std::memory_order_relaxed);  // changed under the mutex only
  if (place >= all_hooks.size()) throw Error(std::errc::not_enough_memory, "register", "fork hooks");
  all_hooks[place] = {before, after_in_parent, after_in_child};
  hook_count.store(place + 1, std::memory_order_release);  // publishes the hooks to who runs them
}

// In the order in which libc would: the newest first before the fork, the oldest first after it.
void run_hooks_before_fork() {
  const std::size_t count = hook_count.load(std::memory_order_acquire);  // pairs with the release in add_fork_hooks()
  for (std::size_t i = count; i > 0; --i) run(all_hooks[i - 1].before);
  adding.lock();
  hooks_of_this_fork = count;
}

void run_hooks_in_parent() {
  adding.unlock();
  for (std::size_t i = 0; i < hooks_of_this_fork; ++i) run(all_hooks[i].after_in_parent);
}

void run_hooks_in_child() {
  adding.unlock();
  for (std::size_t i = 0; i < hooks_of_this_fork; ++i) run(all_hooks[i].after_in_child);
}

ForkWithoutHooks::ForkWithoutHooks() noexcept { skip_hooks = true; }
ForkWithoutHooks::~ForkWithoutHooks() { skip_hooks = false; }

}  // namespace runrig::detail
