#include "runrig/sync/fork_hooks.hpp"

#include <pthread.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cstddef>

#include "runrig/sync/error.hpp"

namespace runrig::detail {
namespace {

struct Hooks {
  // Release by who adds, acquire by who runs. Before that it is null, which does nothing.
  std::atomic<ForkHook> before{nullptr};
  std::atomic<ForkHook> after_in_parent{nullptr};
  std::atomic<ForkHook> after_in_child{nullptr};
};

// As many as the engine has rooms and some. No allocation: they run in forks.
constinit std::array<Hooks, 16> all_hooks;
constinit std::atomic<std::size_t> hook_count{0};

void run(const std::atomic<ForkHook>& hook) {
  if (const ForkHook function = hook.load(std::memory_order_acquire)) function();
}

std::size_t count() noexcept { return std::min(hook_count.load(std::memory_order_acquire), all_hooks.size()); }

}  // namespace

void add_fork_hooks(ForkHook before, ForkHook after_in_parent, ForkHook after_in_child) {
  check_code(::pthread_atfork(before, after_in_parent, after_in_child), "register", "fork hooks");
  const std::size_t place = hook_count.fetch_add(1, std::memory_order_acq_rel);
  if (place >= all_hooks.size()) throw Error(std::errc::not_enough_memory, "register", "fork hooks");
  all_hooks[place].after_in_child.store(after_in_child, std::memory_order_release);
  all_hooks[place].after_in_parent.store(after_in_parent, std::memory_order_release);
  all_hooks[place].before.store(before, std::memory_order_release);
}

// In the order in which libc would: the newest first before the fork, the oldest first after it.
void run_hooks_before_fork() {
  for (std::size_t i = count(); i > 0; --i) run(all_hooks[i - 1].before);
}

void run_hooks_in_parent() {
  for (std::size_t i = 0; i < count(); ++i) run(all_hooks[i].after_in_parent);
}

void run_hooks_in_child() {
  for (std::size_t i = 0; i < count(); ++i) run(all_hooks[i].after_in_child);
}

}  // namespace runrig::detail
