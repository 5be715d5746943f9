#include "child.hpp"

#include <fcntl.h>
#include <linux/close_range.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <climits>
#include <vector>

#include "runrig/sync/error.hpp"

namespace runrig::detail {
namespace {

// Debian 12's headers know neither the number's name in waitid nor wrappers for pidfds.
constexpr auto by_pidfd = static_cast<idtype_t>(3);  // P_PIDFD

void close_span(unsigned first, unsigned last) {
  if (first > last) return;
  if (::syscall(SYS_close_range, first, last, 0) == 0) return;
  // A kernel before 5.9, or a filter that knows no better.
  const auto limit = static_cast<unsigned>(std::clamp(::sysconf(_SC_OPEN_MAX), 256L, 1L << 20));
  for (unsigned fd = first; fd <= std::min(last, limit); ++fd) ::close(static_cast<int>(fd));
}

ExitStatus status_of(const siginfo_t& info) {
  if (info.si_code == CLD_EXITED) return {true, 0, info.si_status};
  return {true, info.si_status, 0};
}

}  // namespace

UniqueFd open_pidfd(pid_t pid) {
  return UniqueFd(
      static_cast<int>(check_errno(::syscall(SYS_pidfd_open, pid, 0), "watch process", std::to_string(pid))));
}

UniqueFd gone_process_fd(std::string_view name) {
  return UniqueFd(check_errno(::eventfd(1, EFD_CLOEXEC), "watch process", name));
}

bool wait_for_end(const UniqueFd& pidfd, Deadline deadline) { return wait_readable(pidfd.get(), deadline); }

ExitStatus reap(const UniqueFd& pidfd) {
  siginfo_t info{};
  const int result = retry_on_eintr([&] { return ::waitid(by_pidfd, static_cast<id_t>(pidfd.get()), &info, WEXITED); });
  if (result == -1 || info.si_pid == 0) return {};  // ECHILD: reaped by the kernel, or by somebody's waitpid(-1)
  return status_of(info);
}

std::optional<ExitStatus> try_reap(const UniqueFd& pidfd) {
  siginfo_t info{};
  const int result =
      retry_on_eintr([&] { return ::waitid(by_pidfd, static_cast<id_t>(pidfd.get()), &info, WEXITED | WNOHANG); });
  if (result == 0 && info.si_pid == 0) return std::nullopt;
  if (result == -1) {
    // ECHILD: reaped by others, as above. Unless it is no child of ours, of which nothing is known but its end.
    if (wait_readable(pidfd.get(), Deadline::after(std::chrono::nanoseconds(0)))) return ExitStatus{};
    return std::nullopt;
  }
  return status_of(info);
}

void send_signal(const UniqueFd& pidfd, int signal) noexcept {
  // Fails with ESRCH only: the process is gone, which is as good.
  if (pidfd) (void)::syscall(SYS_pidfd_send_signal, pidfd.get(), signal, nullptr, 0);
}

SignalsBlocked::SignalsBlocked() {
  sigset_t all;
  ::sigfillset(&all);
  check_code(::pthread_sigmask(SIG_SETMASK, &all, &former_), "block", "signals");
}

SignalsBlocked::~SignalsBlocked() { ::pthread_sigmask(SIG_SETMASK, &former_, nullptr); }

void set_child_signals(std::span<const int> also_ignored) {
  struct sigaction action {};
  for (int signal = 1; signal < NSIG; ++signal) {
    // Fails for SIGKILL, SIGSTOP and those that glibc keeps to itself, which is right.
    action.sa_handler = SIG_DFL;
    ::sigaction(signal, &action, nullptr);
  }
  action.sa_handler = SIG_IGN;
  for (const int signal : {SIGINT, SIGQUIT, SIGHUP, SIGPIPE}) ::sigaction(signal, &action, nullptr);
  for (const int signal : also_ignored) ::sigaction(signal, &action, nullptr);
  unblock_signals();
}

void set_signals_as_after_exec() {
  for (int signal = 1; signal < NSIG; ++signal) {
    struct sigaction action {};
    // Fails for those that glibc keeps to itself. SIGKILL and SIGSTOP are always at their default.
    if (::sigaction(signal, nullptr, &action) != 0 || action.sa_handler == SIG_DFL) continue;
    if (action.sa_handler == SIG_IGN && signal != SIGTERM) continue;
    action = {};
    action.sa_handler = SIG_DFL;
    ::sigaction(signal, &action, nullptr);
  }
}

void unblock_signals() {
  sigset_t none;
  ::sigemptyset(&none);
  check_code(::pthread_sigmask(SIG_SETMASK, &none, nullptr), "unblock", "signals");
}

void end_with_pipe(UniqueFd reading_end) {
  // Whom to send the signal belongs to the open file, which siblings have inherited as well: one of our own is needed.
  const std::string path = "/proc/self/fd/" + std::to_string(reading_end.get());
  UniqueFd own(check_errno(::open(path.c_str(), O_RDONLY | O_NONBLOCK | O_CLOEXEC), "watch", "parent"));
  check_errno(::fcntl(own.get(), F_SETSIG, SIGKILL), "watch", "parent");
  check_errno(::fcntl(own.get(), F_SETOWN, ::getpid()), "watch", "parent");
  check_errno(::fcntl(own.get(), F_SETFL, O_ASYNC | O_NONBLOCK), "watch", "parent");
  // What happened before that sent nothing.
  if (wait_readable(own.get(), Deadline::after(std::chrono::nanoseconds(0)))) ::raise(SIGKILL);
  (void)own.release();  // for life
}

void close_descriptors_except(std::span<const int> kept) {
  std::vector<unsigned> sorted;
  for (const int fd : kept) {
    if (fd > 2) sorted.push_back(static_cast<unsigned>(fd));
  }
  std::sort(sorted.begin(), sorted.end());
  unsigned first = 3;
  for (const unsigned fd : sorted) {
    if (fd > first) close_span(first, fd - 1);
    first = fd + 1;
  }
  close_span(first, UINT_MAX);
}

void detach_stdin() {
  const char path[] = "/dev/null";  // on the stack, which a forked child has at hand, unlike the program's constants
  const int null = check_errno(::open(path, O_RDONLY), "open", path);
  if (null == STDIN_FILENO) return;  // there was none
  const UniqueFd closed_here(null);
  check_errno(::dup2(null, STDIN_FILENO), "replace", "standard input");
}

void set_process_name(const std::string& name) noexcept { ::prctl(PR_SET_NAME, name.c_str()); }

}  // namespace runrig::detail
