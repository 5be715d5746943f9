#pragma once

#include <sys/types.h>

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>

#include "runrig/shm/handle.hpp"
#include "runrig/sync/participant.hpp"
#include "runrig/sync/unique_fd.hpp"

/// How it is known, whatever is killed and when, which segments are ours and whether anybody still needs them.
///
/// The *registry* is a directory /dev/shm/runrig-UID, mode 0700, beside the segments, so that whoever sees the ones
/// sees the other, also from another container. It holds
///
/// - s-INODE, an entry for each segment that we created: written before the segment has its name, removed after it has
///   lost it. So there is never a segment of ours without an entry; an entry whose name leads elsewhere stands for
///   nothing.
/// - p-..., a file for each *session*: a process that created a segment, and the children forked from it since; or a
///   SharedMemoryManager.
///
/// Liveness is told by the kernel, with flock:
///
/// - Each member of a session has the session's file open with a shared lock. Children inherit descriptor and lock.
///   They must, since the segments belong to all of them, and a lock that a child had to take anew would be missing for
///   a moment. The end of the last member, whatever ends it, ends the lock.
/// - A manager's session is the same, but that only the process which started it is a member: forked children close
/// their
///   copy of the descriptor before fork() returns. Who creates in it holds the shared lock through a descriptor of its
///   own meanwhile.
/// - Each object that has a segment open holds a shared lock on the segment itself. Here too a forked child inherits
///   descriptor and mapping together and loses them together, so the lock says what is true: somebody has it mapped.
///   (It is therefore never unlocked or converted, only closed: that would take it from all who inherited it.)
/// - The session's tracker waits for the exclusive lock of the session's file, through a descriptor of its own. It
///   marks its being there with a classic record lock on the same file, which has nothing to do with flock, is not
///   inherited, and tells its process id to those who ask.
/// - A sweep takes the exclusive lock of what it is about to remove, without waiting. Attaching takes the shared lock
///   and then looks whether the file still has its name.
///
/// A process that closes descriptors it does not know (a daemon, a pool's worker) thereby leaves the session; the
/// mappings that it keeps are found in /proc/PID/maps.
namespace runrig::detail {

/// What an entry holds: fixed layout, since other builds read it.
struct RegistryEntry {
  std::array<char, 8> magic{};
  SegmentId id;
  std::uint64_t size_bytes = 0;
  Identity creator;
  std::int64_t created_ns = 0;   ///< CLOCK_REALTIME
  std::uint32_t persistent = 0;  ///< the only field that changes
  std::uint32_t reserved = 0;
  std::array<char, 48> session{};  ///< name of the session's file, NUL-terminated, as is `name`
  std::array<char, 208> name{};
};
static_assert(std::is_standard_layout_v<RegistryEntry> && sizeof(RegistryEntry) == 320);

enum class LockAttempt { taken, busy, failed };
/// Without waiting. The lock ends with the last descriptor that is a copy of `fd`.
[[nodiscard]] LockAttempt try_lock_shared(int fd) noexcept;
[[nodiscard]] LockAttempt try_lock_exclusive(int fd) noexcept;
/// For locks that are held for a moment only: also takes them from a child that another thread forked in that moment.
void unlock(int fd) noexcept;
/// Takes the shared lock of a segment, waiting while a sweep looks at it. Throws TimeoutError if that takes more than
/// 10 s.
void lock_for_use(int fd, std::string_view attempted, std::string_view name);

/// Entries and sessions are named by these; both fit and are terminated.
using FileName = std::array<char, 48>;
[[nodiscard]] FileName entry_file_name(SegmentId id) noexcept;

/// The registry, opened. All but the opening does without allocation and may be used between fork and _exit.
class Registry {
 public:
  /// Throws Error; permission_denied if another user has planted something at its place.
  [[nodiscard]] static Registry open_or_create();
  [[nodiscard]] static std::optional<Registry> open_existing();
  /// For use after a fork: no error but "none".
  [[nodiscard]] static std::optional<Registry> try_open_existing() noexcept;

  [[nodiscard]] int fd() const noexcept { return fd_.get(); }
  /// The entry of that name, checked; none if it is not there, or is no entry of this version.
  [[nodiscard]] std::optional<RegistryEntry> read(const char* file_name) const noexcept;
  /// Whether any process has a lock on that session's file.
  [[nodiscard]] bool session_lives(const char* session) const noexcept;
  /// A file in the registry that has no name yet, mode 0600 whatever the umask. None on failure, with errno set.
  [[nodiscard]] UniqueFd make_nameless_file() const noexcept;
  /// Writes an entry and gives it its name, in one step for all who look. Throws Error.
  void publish(const RegistryEntry& entry) const;
  /// Throws Error no_such_file_or_directory if there is no such entry.
  void mark_persistent(SegmentId id, std::string_view name) const;
  void remove(const char* file_name) const noexcept;
  /// Removes the directory, if nothing is left in it.
  static void remove_if_empty() noexcept;

  /// Calls `visit(context, file_name)` for the files whose names begin with `prefix`. Files that come or go meanwhile
  /// may be visited or not.
  void for_each(char prefix, void (*visit)(void* context, const char* file_name), void* context) const noexcept;

 private:
  explicit Registry(UniqueFd fd) noexcept : fd_(std::move(fd)) {}

  UniqueFd fd_;
};

/// Held while segments lose their names. It keeps a name that was looked at from being freed, and given to another
/// segment, before it is removed; and it keeps sweeps from taking each other's descriptors for those of users. Waits
/// for a second at most, since its holder may be stopped, and then goes on without: what it guards against is rare, and
/// harmless to all but a name.
class RegistryLock {
 public:
  explicit RegistryLock(const Registry* registry) noexcept;  // none for no registry
  RegistryLock(const RegistryLock&) = delete;
  RegistryLock& operator=(const RegistryLock&) = delete;
  ~RegistryLock();

 private:
  UniqueFd fd_;
};

/// Removes the name `name` if it is that segment's, and the segment's entry. Returns 0, ENOENT (also: the name is
/// another segment's), or why not. The second for those who hold the lock.
[[nodiscard]] int unlink_segment(const Registry* registry, const char* name, SegmentId id) noexcept;
[[nodiscard]] int unlink_segment_locked(const Registry* registry, const char* name, SegmentId id) noexcept;

}  // namespace runrig::detail
