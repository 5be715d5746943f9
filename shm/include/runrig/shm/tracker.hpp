#pragma once

#include <sys/types.h>

#include <optional>
#include <string_view>

namespace runrig {

/// The resource tracker: a small process that unlinks what its participants created when the last of them is gone,
/// whatever killed them.
///
/// It is forked by the first process that creates a segment; that process and all children forked from it later are its
/// participants, through a socket that they inherit and that exec closes. (A child that closes all its descriptors, as
/// a pool's worker does, is none until it creates a segment itself; then it starts a tracker of its own.) Only creating
/// registers, unlink() and persist() take it back.
///
/// The tracker has no terminal, no inherited descriptor and none of the participants' segments mapped; it is called
/// "runrig-tracker" in ps and ignores SIGINT, SIGTERM, SIGHUP and SIGQUIT, which Ctrl-C and shells send to whole
/// groups. It leaves within a moment of its last participant. If it is killed (SIGKILL), the next participant to create
/// or unlink starts another, with a warning, and registers again what that process had created. If it is killed with
/// everybody else, collect_garbage(), or the next start, does its work.

/// The tracker's process id; none if this process takes part in none, or if it was killed. For tests and for people.
[[nodiscard]] std::optional<pid_t> tracker_pid();

/// Told of what the caller need not act on but a person may want to know, as one sentence. Must not throw.
using WarningHandler = void (*)(std::string_view sentence);
/// Replaces the handler for this process and its future children, and returns the former one. The first writes "runrig:
/// warning: ..." to stderr; null silences. Thread-safe.
WarningHandler set_warning_handler(WarningHandler handler) noexcept;

}  // namespace runrig
