#pragma once

#include <atomic>
#include <cstdint>
#include <type_traits>

#include "runrig/sync/futex.hpp"

/// Who am I, and is that one still alive? What every structure in shared memory asks that must survive a death.
///
/// A process or thread is named by its *mark*, 64 bits that fit into one atomic word, so that taking a thing and
/// saying who took it is one step, which a kill can only come before or after:
///
///     bits  0-21  its kernel id: pid, or tid for a thread (Linux allows 2^22 of them)
///     bits 22-26  zero: free for whoever keeps a mark in a word of its own (flags)
///     bits 27-45  its start time, in clock ticks since boot, modulo 2^19: tells a reused id from the first bearer
///     bits 46-63  a hash of the whole start time and of where the kernel put the program (text and stack): changes
///                 when the process replaces itself by exec, which keeps id and start time
///
/// An id means something in one PID namespace only. The namespace is the *domain*, kept beside the mark.
///
/// Dead is: gone, a zombie, on its way out in the kernel (also while it dumps core), or replaced by exec. Alive is
/// everything else, also what is stopped, traced or frozen. Whoever cannot be judged (of another namespace, hidden by
/// /proc's mount options) is reported `unknown` and must be treated as alive: declaring a live holder dead destroys
/// data, missing a dead one only costs time.
///
/// Known limit: with address randomisation switched off, exec of the same program with the same arguments and
/// environment is not noticed.
namespace runrig {

/// What a mark names.
enum class ParticipantKind : std::uint32_t { nobody = 0, process = 1, thread = 2 };

enum class Liveness { alive, dead, unknown };

/// A process or a thread of one, as told to others. May be stored in shared memory: fixed layout, all zero bits
/// are "nobody". Not atomic as a whole: where the writer may be killed, publish it by a later atomic store, or
/// store mark alone in an atomic word and keep the domain with the structure (as Lock does).
struct Identity {
  std::uint64_t mark = 0;
  std::uint32_t domain = 0;  // 0: cannot be judged by anybody (no usable /proc)
  ParticipantKind kind = ParticipantKind::nobody;

  /// The pid, or the tid of a thread, as numbered in `domain`; 0 for nobody.
  [[nodiscard]] constexpr int id() const noexcept { return static_cast<int>(mark & 0x3fffff); }
  friend constexpr bool operator==(const Identity&, const Identity&) = default;
};
static_assert(std::is_standard_layout_v<Identity> && std::is_trivially_copyable_v<Identity> && sizeof(Identity) == 16,
              "separately built processes share it");

/// The bits of a mark that belong to it; the others are free for flags.
inline constexpr std::uint64_t mark_bits = ~(std::uint64_t{0x1f} << 22);

/// The calling process. Read from /proc once (some 40 µs), then from memory; a forked child gets its own, however
/// it was forked (except vfork, whose child may only exec). Any thread. Never fails: without a usable /proc the
/// identity is unique but cannot be judged.
[[nodiscard]] Identity this_process_identity() noexcept;

/// The calling thread; cached per thread.
[[nodiscard]] Identity this_thread_identity() noexcept;

/// Looks the participant up in /proc (about 10 µs; no allocation unless its main thread has ended). "nobody" is dead.
/// Any thread, any process. `dead` is final; `alive` is history when you read it.
[[nodiscard]] Liveness liveness(const Identity& who) noexcept;

/// False only if it is certain that `who` is dead.
[[nodiscard]] inline bool is_alive(const Identity& who) noexcept { return liveness(who) != Liveness::dead; }

/// True if there certainly is no process or thread of that number any more. Misses the dead that nobody has waited for
/// yet, and numbers that were given away again, but costs a small part of what liveness() does. Any thread.
[[nodiscard]] bool is_gone(const Identity& who) noexcept;

/// The identity of another process that lives now, such as a child just forked or a peer named by SO_PEERCRED.
/// "nobody" if there is no such process, or it is a zombie. The caller makes sure that the pid was not reused
/// between learning it and this call: an unreaped child cannot be; for others hold a pidfd and test it afterwards.
[[nodiscard]] Identity identity_of_process(int pid) noexcept;

namespace detail {

/// This process's identity where a lock's fast path finds it without a call. The page is wiped by the kernel in
/// forked children (MADV_WIPEONFORK), so a mark of zero means "not known yet: ask this_process_identity()".
struct Self {
  std::atomic<std::uint64_t> mark;
  std::atomic<std::uint32_t> domain;
  std::atomic<std::uint32_t> filling;  // a thread is finding out
};
extern std::atomic<const Self*> self_page;  // never null

/// This thread's mark; valid only while `process_mark` is that of this process (a forked child inherits its copy).
struct ThreadSelf {
  std::uint64_t process_mark;
  std::uint64_t mark;
};
extern constinit thread_local ThreadSelf thread_self;

}  // namespace detail
}  // namespace runrig
