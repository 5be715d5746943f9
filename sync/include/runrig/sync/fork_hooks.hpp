#pragma once

/// What the engine does around every fork of its process, whoever forks.
namespace runrig::detail {

using ForkHook = void (*)();

/// As pthread_atfork, for hooks of the engine, which a process made by a bare clone can run as well. Each may be null.
/// In the child a hook does what is safe in the fork of a process with threads: system calls, plain stores, unlocking
/// what the hook before the fork has locked. Thread-safe. Throws Error.
void add_fork_hooks(ForkHook before, ForkHook after_in_parent, ForkHook after_in_child);

/// For a process that makes a copy of itself by clone, of which libc does not know: around it, as fork would have done.
void run_hooks_before_fork();
void run_hooks_in_parent();
void run_hooks_in_child();

/// While it exists, forks by this thread run none of these hooks: for a child that uses nothing of the engine, and is
/// forked with one of the mutexes held that the hooks take. (A fork by another thread takes them in another order.)
class ForkWithoutHooks {
 public:
  ForkWithoutHooks() noexcept;
  ForkWithoutHooks(const ForkWithoutHooks&) = delete;
  ForkWithoutHooks& operator=(const ForkWithoutHooks&) = delete;
  ~ForkWithoutHooks();
};

}  // namespace runrig::detail
