#include "child.hpp"

#include <fcntl.h>
#include <linux/close_range.h>
#include <poll.h>
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

}  // namespace

UniqueFd open_pidfd(pid_t pid) {
  return UniqueFd(
      static_cast<int>(check_errno(::syscall(SYS_pidfd_open, pid, 0), "watch process", std::to_string(pid))));
}

bool wait_readable(int fd, Deadline deadline) {
  for (;;) {
    pollfd entry{fd, POLLIN, 0};
    const auto left = std::chrono::ceil<std::chrono::milliseconds>(
        std::min<std::chrono::nanoseconds>(deadline.remaining(), std::chrono::hours(1)));
    const int ready = ::poll(&entry, 1, static_cast<int>(left.count()));
    if (ready > 0) return true;
    if (ready == -1 && errno != EINTR) check_errno(ready, "poll", "descriptor");
    if (deadline.passed()) return false;
  }
}

bool wait_for_end(const UniqueFd& pidfd, Deadline deadline) { return wait_readable(pidfd.get(), deadline); }

ExitStatus reap(const UniqueFd& pidfd) {
  siginfo_t info{};
  const int result = retry_on_eintr([&] { return ::waitid(by_pidfd, static_cast<id_t>(pidfd.get()), &info, WEXITED); });
  if (result == -1 || info.si_pid == 0) return {};  // ECHILD: reaped by the kernel, or by somebody's waitpid(-1)
  if (info.si_code == CLD_EXITED) return {true, 0, info.si_status};
  return {true, info.si_status, 0};
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
  sigset_t none;
  ::sigemptyset(&none);
  check_code(::pthread_sigmask(SIG_SETMASK, &none, nullptr), "unblock", "signals");
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
  const UniqueFd null(check_errno(::open("/dev/null", O_RDONLY | O_CLOEXEC), "open", "/dev/null"));
  check_errno(::dup2(null.get(), 0), "replace", "standard input");
}

void set_process_name(const std::string& name) noexcept { ::prctl(PR_SET_NAME, name.c_str()); }

}  // namespace runrig::detail
