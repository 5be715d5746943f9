#pragma once

#include <sys/types.h>

#include <chrono>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "runrig/shm/handle.hpp"

namespace runrig {

/// What `runrig shm ls`, `gc` and `rm` do. A segment is ours if Runrig, run by this user, created it: an entry in the
/// user's registry (/dev/shm/runrig-UID, mode 0700) says so from before the segment has its name until after it has
/// lost it.

enum class SegmentState {
  in_use,     ///< somebody has it open or mapped
  kept,       ///< nobody has now, but the processes that created it live and may hand out its name
  persisted,  ///< nobody has now; it stays until it is removed by name
  abandoned,  ///< nobody has, and nobody will: the next collect_garbage() removes it
};
/// "in use", "kept", "persistent", "abandoned".
[[nodiscard]] std::string_view to_string(SegmentState state) noexcept;

struct SegmentInfo {
  std::string name;
  std::uint64_t size_bytes = 0;
  SegmentId id;
  pid_t creator = 0;           ///< its process id
  bool creator_lives = false;  ///< that very process, not one with its number
  std::chrono::system_clock::time_point created;
  /// Processes that have it open or mapped, ascending; only those of which this user may know. A process in another PID
  /// namespace counts for `state` if it is Runrig's, but has no number here.
  std::vector<pid_t> users;
  bool persistent = false;
  SegmentState state = SegmentState::in_use;
};

/// All segments that are ours, by name. Segments that vanish meanwhile are left out. Throws Error if the registry
/// cannot be read (not_enough_memory, too_many_files_open, permission_denied if it was planted by another user).
[[nodiscard]] std::vector<SegmentInfo> list_segments();

struct SweepReport {
  std::vector<std::string> removed;  ///< names
  std::uint64_t removed_bytes = 0;
  std::size_t kept = 0;             ///< ours, but in use, kept or persistent
  std::vector<std::string> failed;  ///< "NAME: reason"
};

/// Removes all segments that are ours and abandoned, and what killed processes left of the registry. What anybody uses
/// stays: each candidate is locked, then all processes that can be looked into (/proc/PID/maps and fd) are searched for
/// users without a lock, such as Python and NumPy, then the name is checked to be still the same segment's, then it is
/// removed. Safe beside any number of live sessions and other sweeps; killed at any step it leaves nothing worse than
/// it found. A process also does this itself before it creates its first segment. Throws as list_segments().
SweepReport collect_garbage();

/// Removes the segment of that name, used or not, ours or another program's; mappings stay valid. Throws Error:
/// no_such_file_or_directory; invalid_argument if it is not a plain name or no regular file; permission_denied if
/// another user's.
void remove_segment(std::string_view name);

}  // namespace runrig
