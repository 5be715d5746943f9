#pragma once

#include <sys/types.h>

#include <optional>
#include <string_view>

namespace runrig {

/// The resource tracker: a small process that unlinks what its participants created when the last of them is gone,
/// whatever killed them.
///
/// It is forked by the first process that creates a segment; that process and all children forked from it later are its
/// participants, through a lock on a file that they inherit and that exec gives up. (A child that closes all its
/// descriptors, as a pool's worker does, is none until it creates a segment itself; then it starts a tracker of its
/// own.) What was created is written down in the user's registry in /dev/shm, and not told to the tracker: so nothing
/// is forgotten when that is killed. Only creating enters a segment there; unlink() and persist() take it back.
///
/// The tracker has no terminal, no inherited descriptor and none of the participants' segments mapped. It is called
/// "runrig-tracker" (ps -e) and ignores all signals that can be ignored, such as those that Ctrl-C and shells send to
/// whole groups. It leaves within a moment of its last participant. If it is killed (SIGKILL), the next participant to
/// create a segment starts another for all of them, with a warning. If it is killed with everybody else,
/// collect_garbage(), or the next start, does its work.
///
/// It shares, by copy on write, the private memory that the process which started it had at that moment: a program with
/// gigabytes of private data had better create its first segment before it fills them.

/// The tracker's process id; none if this process takes part in none, or if it was killed. For tests and for people.
[[nodiscard]] std::optional<pid_t> tracker_pid();

/// Told of what the caller need not act on but a person may want to know, as one sentence. Must not throw.
using WarningHandler = void (*)(std::string_view sentence);
/// Replaces the handler for this process and its future children, and returns the former one. The first writes "runrig:
/// warning: ..." to stderr; null silences. Thread-safe.
WarningHandler set_warning_handler(WarningHandler handler) noexcept;

}  // namespace runrig
