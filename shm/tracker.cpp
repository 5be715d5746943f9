#include "runrig/shm/tracker.hpp"

#include <fcntl.h>
#include <poll.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <cstdio>
#include <mutex>
#include <random>
#include <string>

#include "block_signals.hpp"
#include "fork_hooks.hpp"
#include "participation.hpp"
#include "runrig/sync/clock.hpp"
#include "runrig/sync/error.hpp"

namespace runrig {
namespace {

void warn_on_stderr(std::string_view sentence) {
  const std::string line = "runrig: warning: " + std::string(sentence) + "\n";
  // One write, so that lines of several processes do not mix. A stderr that is gone is no reason to fail.
  if (::write(STDERR_FILENO, line.data(), line.size()) < 0) return;
}

// Relaxed: a handler is code, which needs no publishing.
std::atomic<WarningHandler> warning_handler{warn_on_stderr};

}  // namespace

WarningHandler set_warning_handler(WarningHandler handler) noexcept {
  return warning_handler.exchange(handler, std::memory_order_relaxed);
}

namespace detail {
namespace {

constexpr std::chrono::seconds tracker_start_limit{20};

// What this process knows of its session; inherited by forked children. Guarded by participation_mutex(). Descriptor
// numbers and not UniqueFds: a process that closed all its descriptors may have given the number to something else.
struct State {
  int session_file = -1;
  SegmentId session_id;
  FileName session{};
  bool had_tracker = false;
};
constinit State state;

bool is_member() noexcept {
  struct stat status {};
  return state.session_file >= 0 && ::fstat(state.session_file, &status) == 0 && status.st_nlink > 0 &&
         SegmentId{status.st_dev, status.st_ino} == state.session_id;
}

// The process that has the tracker's mark on the session; 0 if none, -1 if one that has no number here.
pid_t find_tracker() {
  struct flock mark {};
  mark.l_type = F_WRLCK;
  mark.l_whence = SEEK_SET;
  mark.l_len = 1;
  check_errno(::fcntl(state.session_file, F_GETLK, &mark), "look for the tracker of", state.session.data());
  if (mark.l_type == F_UNLCK) return 0;
  return mark.l_pid > 0 ? mark.l_pid : -1;
}

FileName make_session_name() {
  std::random_device random;
  FileName name{};
  std::snprintf(name.data(), name.size(), "p-%d-%08x%08x", static_cast<int>(::getpid()), random(), random());
  return name;
}

// Makes a session whose only member is this process. Complete and locked before it has its name.
void found_session(Registry& registry) {
  const FileName name = make_session_name();
  for (;;) {
    UniqueFd file = registry.make_nameless_file();
    if (file) {
      if (try_lock_shared(file.get()) != LockAttempt::taken) check_errno(-1, "lock session", name.data());
      const std::string self = "/proc/self/fd/" + std::to_string(file.get());
      if (::linkat(AT_FDCWD, self.c_str(), registry.fd(), name.data(), AT_SYMLINK_FOLLOW) == 0) {
        struct stat status {};
        check_errno(::fstat(file.get(), &status), "look at session", name.data());
        state = {file.release(), {status.st_dev, status.st_ino}, name, false};
        return;
      }
    }
    // The end of another session removed the empty registry between our opening it and using it.
    if (errno != ENOENT) check_errno(-1, "create session", name.data());
    registry = Registry::open_or_create();
  }
}

// Twice forked, so that the tracker is no child of ours: nobody waits for it, and our user's waits do not find it. All
// signals are blocked meanwhile and stay so in the tracker, which is how it ignores them.
pid_t fork_tracker(int ready) {
  const ForkWithoutHooks without_hooks;
  const BlockSignals blocked;
  const pid_t pid = check_errno(::fork(), "start resource tracker of", state.session.data());
  if (pid != 0) return pid;
  ::setsid();  // cannot fail in a new child
  const pid_t tracker = ::fork();
  if (tracker == 0) run_tracker(state.session_file, ready, state.session.data());
  ::_exit(tracker > 0 ? 0 : 1);
}

void start_tracker() {
  int ends[2];
  check_errno(::pipe2(ends, O_CLOEXEC), "start resource tracker of", state.session.data());
  const UniqueFd reader(ends[0]);
  UniqueFd writer(ends[1]);
  const pid_t pid = fork_tracker(writer.get());
  writer.reset();
  // ECHILD if the program ignores SIGCHLD or waits for any child: it is gone all the same.
  retry_on_eintr([&] { return ::waitpid(pid, nullptr, 0); });
  const auto deadline = Deadline::after(tracker_start_limit);
  pollfd ready{reader.get(), POLLIN, 0};
  while (retry_on_eintr([&] { return ::poll(&ready, 1, 100); }) == 0) {
    if (deadline.passed()) throw TimeoutError("start resource tracker of", state.session.data());
  }
  char byte = 0;
  if (retry_on_eintr([&] { return ::read(reader.get(), &byte, 1); }) != 1) {
    throw Error(std::errc::resource_unavailable_try_again, "start resource tracker of", state.session.data());
  }
}

}  // namespace

void warn(std::string_view sentence) {
  if (const auto handler = warning_handler.load(std::memory_order_relaxed)) handler(sentence);
}

Membership join_session() {
  bool restarted = false;
  std::unique_lock guard(participation_mutex());
  Registry registry = Registry::open_or_create();
  const bool founded = !is_member();
  if (founded) found_session(registry);
  if (find_tracker() == 0) {
    restarted = state.had_tracker;
    start_tracker();
    state.had_tracker = true;
  }
  Membership membership{std::move(registry), state.session, founded};
  guard.unlock();  // the handler may do what it likes
  if (restarted) warn("the resource tracker was killed; another one has taken its place");
  return membership;
}

}  // namespace detail

std::optional<pid_t> tracker_pid() {
  const std::lock_guard guard(detail::participation_mutex());
  if (!detail::is_member()) return std::nullopt;
  const pid_t pid = detail::find_tracker();
  return pid > 0 ? std::optional(pid) : std::nullopt;
}

}  // namespace runrig
