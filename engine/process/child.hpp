#pragma once

#include <sys/types.h>

#include <csignal>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "runrig/sync/clock.hpp"
#include "runrig/sync/poll.hpp"
#include "runrig/sync/unique_fd.hpp"

/// What the engine's processes do to themselves and to each other.
namespace runrig::detail {

/// How a process ended; neither signal nor code if nobody can know (the host ignores SIGCHLD, so the kernel reaps).
struct ExitStatus {
  bool known = false;
  int signal = 0;
  int exit_code = 0;
};

/// A descriptor that becomes readable when the process ends. Throws Error no_such_process.
[[nodiscard]] UniqueFd open_pidfd(pid_t pid);
/// Whether the process behind it has ended, waiting until `deadline`.
[[nodiscard]] bool wait_for_end(const UniqueFd& pidfd, Deadline deadline);
/// Takes the status of a child that has ended.
[[nodiscard]] ExitStatus reap(const UniqueFd& pidfd);
/// The same without waiting; none if it still runs.
[[nodiscard]] std::optional<ExitStatus> try_reap(const UniqueFd& pidfd);
/// A descriptor that is readable for good, as the pidfd of a process that has ended is.
[[nodiscard]] UniqueFd gone_process_fd(std::string_view name);
/// No error if the process has ended.
void send_signal(const UniqueFd& pidfd, int signal) noexcept;

/// Holds all signals off this thread, so that none is handled in a child before it has made its own arrangements.
class SignalsBlocked {
 public:
  SignalsBlocked();
  SignalsBlocked(const SignalsBlocked&) = delete;
  SignalsBlocked& operator=(const SignalsBlocked&) = delete;
  ~SignalsBlocked();

 private:
  sigset_t former_;
};

/// In a new child: no handler of the program is left, all signals are let through, and what a terminal sends to the
/// whole group (SIGINT, SIGQUIT, SIGHUP) and SIGPIPE are ignored. `also_ignored` may add SIGTERM.
void set_child_signals(std::span<const int> also_ignored);
/// In a new child: signals as after an exec. No handler of the program is left, what was ignored stays so (but SIGTERM,
/// by which children are told to end).
void set_signals_as_after_exec();
/// All are let through.
void unblock_signals();
/// From now on this process is killed (SIGKILL) when the last writing end of a pipe is closed, of which `reading_end`
/// is another end; at once if it is closed already. No thread, no polling: the kernel sends it. For one pipe per
/// process. Unlike PR_SET_PDEATHSIG it does not mistake the end of the thread that forked for that of its process.
void end_with_pipe(UniqueFd reading_end);
/// In a new child: closes all descriptors above 2 but `kept`.
void close_descriptors_except(std::span<const int> kept);
/// Standard input becomes /dev/null.
void detach_stdin();
void set_process_name(const std::string& name) noexcept;

}  // namespace runrig::detail
