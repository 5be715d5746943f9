#include "runrig/shm/tracker.hpp"

#include <fcntl.h>
#include <poll.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <cstdio>
#include <cstring>
#include <mutex>
#include <random>
#include <string>
#include <thread>
#include <utility>

#include "fork_hooks.hpp"
#include "participation.hpp"
#include "runrig/sync/block_signals.hpp"
#include "runrig/sync/clock.hpp"
#include "runrig/sync/error.hpp"
#include "runrig/sync/fork_hooks.hpp"
#include "runrig/sync/killpoint.hpp"

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
constexpr std::chrono::seconds visit_limit{1};

// A session that this process has a descriptor of. A number and not a UniqueFd: a process that closed all its
// descriptors may have given the number to something else.
struct Session {
  int file = -1;
  SegmentId id;
  FileName name{};
};

// The one that this process is a member of; inherited by forked children. Guarded by participation_mutex().
struct State {
  Session session;
  bool had_tracker = false;
};
constinit State state;
constinit OwnedSession* owned_sessions = nullptr;  // likewise

bool is_at(int file, SegmentId id) noexcept {
  struct stat status {};
  return file >= 0 && ::fstat(file, &status) == 0 && status.st_nlink > 0 &&
         SegmentId{status.st_dev, status.st_ino} == id;
}

// The process that has the tracker's mark on the session; 0 if none, -1 if one that has no number here.
pid_t find_tracker(const Session& session) {
  struct flock mark {};
  mark.l_type = F_WRLCK;
  mark.l_whence = SEEK_SET;
  mark.l_len = 1;
  check_errno(::fcntl(session.file, F_GETLK, &mark), "look for the tracker of", session.name.data());
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
Session found_session(Registry& registry) {
  const FileName name = make_session_name();
  for (;;) {
    UniqueFd file = registry.make_nameless_file();
    if (file) {
      if (try_lock_shared(file.get()) != LockAttempt::taken) check_errno(-1, "lock session", name.data());
      const std::string self = "/proc/self/fd/" + std::to_string(file.get());
      if (::linkat(AT_FDCWD, self.c_str(), registry.fd(), name.data(), AT_SYMLINK_FOLLOW) == 0) {
        struct stat status {};
        check_errno(::fstat(file.get(), &status), "look at session", name.data());
        return {file.release(), {status.st_dev, status.st_ino}, name};
      }
    }
    // The end of another session removed the empty registry between our opening it and using it.
    if (errno != ENOENT) check_errno(-1, "create session", name.data());
    registry = Registry::open_or_create();
  }
}

// Twice forked, so that the tracker is no child of ours: nobody waits for it, and our user's waits do not find it. All
// signals are blocked meanwhile and stay so in the tracker, which is how it ignores them.
pid_t fork_tracker(const Session& session, int ready) {
  const ForkWithoutHooks without_hooks;
  const BlockSignals blocked;
  const pid_t pid = check_errno(::fork(), "start resource tracker of", session.name.data());
  if (pid != 0) return pid;
  ::setsid();  // cannot fail in a new child
  const pid_t tracker = ::fork();
  if (tracker == 0) run_tracker(session.file, ready, session.name.data());
  ::_exit(tracker > 0 ? 0 : 1);
}

void start_tracker(const Session& session) {
  int ends[2];
  check_errno(::pipe2(ends, O_CLOEXEC), "start resource tracker of", session.name.data());
  const UniqueFd reader(ends[0]);
  UniqueFd writer(ends[1]);
  const pid_t pid = fork_tracker(session, writer.get());
  writer.reset();
  // ECHILD if the program ignores SIGCHLD or waits for any child: it is gone all the same.
  retry_on_eintr([&] { return ::waitpid(pid, nullptr, 0); });
  const auto deadline = Deadline::after(tracker_start_limit);
  pollfd ready{reader.get(), POLLIN, 0};
  while (retry_on_eintr([&] { return ::poll(&ready, 1, 100); }) == 0) {
    if (deadline.passed()) throw TimeoutError("start resource tracker of", session.name.data());
  }
  char byte = 0;
  if (retry_on_eintr([&] { return ::read(reader.get(), &byte, 1); }) != 1) {
    throw Error(std::errc::resource_unavailable_try_again, "start resource tracker of", session.name.data());
  }
}

void warn_of_restart() { warn("the resource tracker was killed; another one has taken its place"); }

}  // namespace

void warn(std::string_view sentence) {
  if (const auto handler = warning_handler.load(std::memory_order_relaxed)) handler(sentence);
}

Membership join_session() {
  bool restarted = false;
  std::unique_lock guard(participation_mutex());
  Registry registry = Registry::open_or_create();
  const bool founded = !is_at(state.session.file, state.session.id);
  if (founded) state = {found_session(registry), false};
  if (find_tracker(state.session) == 0) {
    restarted = state.had_tracker;
    start_tracker(state.session);
    state.had_tracker = true;
  }
  Membership membership{std::move(registry), state.session.name, founded};
  guard.unlock();  // the handler may do what it likes
  if (restarted) warn_of_restart();
  return membership;
}

bool SessionVisit::still_there() const noexcept {
  struct stat status {};
  return !file_ || (::fstat(file_.get(), &status) == 0 && status.st_nlink > 0);
}

OwnedSession::OwnedSession() {
  const std::lock_guard guard(participation_mutex());
  Registry registry = Registry::open_or_create();
  const Session session = found_session(registry);
  file_ = session.file;
  handle_ = {session.name, session.id};
  next_ = std::exchange(owned_sessions, this);
  try {
    start_tracker(session);
  } catch (...) {
    registry.remove(session.name.data());
    give_up();
    throw;
  }
}

OwnedSession::~OwnedSession() {
  const std::lock_guard guard(participation_mutex());
  give_up();
}

void OwnedSession::give_up() noexcept {
  if (file_ < 0) return;
  // Only if the number still means the session: see Session. Released before it is closed, so that no process made by a
  // bare clone(), which runs no fork hooks, keeps the lock.
  struct stat status {};
  if (::fstat(file_, &status) == 0 && SegmentId{status.st_dev, status.st_ino} == handle_.id) {
    unlock(file_);
    ::close(file_);
  }
  file_ = -1;
  OwnedSession** at = &owned_sessions;
  while (*at != this) at = &(*at)->next_;
  *at = next_;
}

void OwnedSession::end() noexcept {
  const auto registry = Registry::try_open_existing();
  UniqueFd again;
  if (registry) {
    again.reset(retry_on_eintr(
        [&] { return ::openat(registry->fd(), handle_.session.data(), O_RDWR | O_NOFOLLOW | O_CLOEXEC); }));
  }
  {
    const std::lock_guard guard(participation_mutex());
    if (!owned()) return;
    give_up();
  }
  RUNRIG_KILLPOINT("shm.manager.given_up");
  if (!is_at(again.get(), handle_.id)) return;  // gone, or the tracker is done already
  // Either the tracker is granted the lock first, and is done when we get it, or we are first. A visitor that is
  // stopped in the middle of a creation is not waited for: it will find the session gone.
  const auto deadline = Deadline::after(visit_limit);
  while (try_lock_exclusive(again.get()) == LockAttempt::busy && !deadline.passed()) {
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  if (is_at(again.get(), handle_.id)) remove_session(*registry, handle_.session.data());
}

void give_up_owned_sessions() noexcept {
  for (OwnedSession* each = owned_sessions; each != nullptr; each = each->next_) {
    struct stat status {};
    if (::fstat(each->file_, &status) == 0 && SegmentId{status.st_dev, status.st_ino} == each->handle_.id) {
      ::close(each->file_);  // not released: it is the parent's lock
    }
    each->file_ = -1;
  }
  owned_sessions = nullptr;
}

Membership visit_session(const ManagerHandle& handle) {
  const std::string_view name(handle.session.data(), ::strnlen(handle.session.data(), handle.session.size()));
  constexpr std::string_view attempted = "create a segment in manager";
  if (!name.starts_with("p-") || name.find('/') != std::string_view::npos || name.size() == handle.session.size()) {
    throw Error(std::errc::invalid_argument, attempted, "of a handle that is none");
  }
  auto registry = Registry::open_existing();
  UniqueFd file;
  if (registry) {
    file.reset(retry_on_eintr([&] { return ::openat(registry->fd(), name.data(), O_RDWR | O_NOFOLLOW | O_CLOEXEC); }));
    if (!file && errno != ENOENT) check_errno(-1, attempted, name);
  }
  if (file) lock_for_use(file.get(), attempted, name);
  const int number = file.get();
  SessionVisit visit(std::move(file));
  if (!is_at(number, handle.id)) {
    throw Error(std::errc::no_such_file_or_directory,
                std::string(attempted) + " (it was shut down, or its process has ended)", name);
  }
  const Session session{number, handle.id, handle.session};
  bool restarted = false;
  {
    const std::lock_guard guard(participation_mutex());
    if (find_tracker(session) == 0) {
      start_tracker(session);
      restarted = true;
    }
  }
  if (restarted) warn_of_restart();
  return {std::move(*registry), handle.session, false, std::move(visit)};
}

}  // namespace detail

std::optional<pid_t> tracker_pid() {
  const std::lock_guard guard(detail::participation_mutex());
  if (!detail::is_at(detail::state.session.file, detail::state.session.id)) return std::nullopt;
  const pid_t pid = detail::find_tracker(detail::state.session);
  return pid > 0 ? std::optional(pid) : std::nullopt;
}

}  // namespace runrig
