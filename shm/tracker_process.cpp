#include <fcntl.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <charconv>
#include <cstring>

#include "participation.hpp"
#include "runrig/sync/error.hpp"
#include "runrig/sync/killpoint.hpp"
#include "segment_file.hpp"

// Everything here runs in the fork of a process that may have had other threads: system calls and the stack only, no
// allocation, no stdio, no locks.
namespace runrig::detail {
namespace {

constexpr int session_fd = 3;
constexpr int ready_fd = 4;

// A line of /proc/self/maps begins "7f00-7f10 rw-s ...".
void unmap_if_shared(const char* line, const char* end) noexcept {
  std::uintptr_t first = 0;
  std::uintptr_t last = 0;
  const auto dash = std::from_chars(line, end, first, 16);
  if (dash.ec != std::errc() || dash.ptr == end) return;
  const auto space = std::from_chars(dash.ptr + 1, end, last, 16);
  if (space.ec != std::errc() || end - space.ptr < 5 || space.ptr[4] != 's' || last <= first) return;
  ::munmap(reinterpret_cast<void*>(first), last - first);  // NOLINT(performance-no-int-to-ptr)
}

// What stayed mapped here would stay allocated when its users are gone.
void unmap_shared_memory() noexcept {
  const UniqueFd maps(retry_on_eintr([] { return ::open("/proc/self/maps", O_RDONLY | O_CLOEXEC); }));
  if (!maps) return;
  char buffer[8192];  // longer than any line: a path has at most 4096 bytes
  std::size_t filled = 0;
  for (;;) {
    const auto got = retry_on_eintr([&] { return ::read(maps.get(), buffer + filled, sizeof buffer - filled); });
    if (got <= 0) return;
    filled += static_cast<std::size_t>(got);
    const char* line = buffer;
    const char* const end = buffer + filled;
    while (const auto* newline =
               static_cast<const char*>(std::memchr(line, '\n', static_cast<std::size_t>(end - line)))) {
      unmap_if_shared(line, newline);
      line = newline + 1;
    }
    filled = static_cast<std::size_t>(end - line);
    if (filled == sizeof buffer) return;
    std::memmove(buffer, line, filled);
  }
}

bool keep_only(int session, int ready) noexcept {
  // By way of high numbers, so that none overwrites another, whichever of the low ones the program had closed.
  const int high_session = ::fcntl(session, F_DUPFD_CLOEXEC, 10);
  const int high_ready = ::fcntl(ready, F_DUPFD_CLOEXEC, 10);
  const int null = ::open("/dev/null", O_RDWR);
  if (high_session < 0 || high_ready < 0 || null < 0) return false;
  for (int fd = 0; fd <= 2; ++fd) {
    if (null != fd && ::dup2(null, fd) < 0) return false;
  }
  if (::dup3(high_session, session_fd, O_CLOEXEC) < 0 || ::dup3(high_ready, ready_fd, O_CLOEXEC) < 0) return false;
  return ::syscall(SYS_close_range, ready_fd + 1, ~0U, 0) == 0;
}

// The mark is last taken when no copy of the descriptor is left to be closed, which would take it away.
bool take_mark() noexcept {
  struct flock mark {};
  mark.l_type = F_WRLCK;
  mark.l_whence = SEEK_SET;
  mark.l_len = 1;
  return ::fcntl(session_fd, F_SETLK, &mark) == 0;
}

// Waits until no process has the session's file open with a lock.
bool await_end() noexcept {
  return retry_on_eintr([] { return ::flock(session_fd, LOCK_EX); }) == 0;
}

// Not so if somebody removed the whole registry and the name stands for another session, or for none.
bool is_session_file(const Registry& registry, const char* session) noexcept {
  struct stat ours {};
  struct stat found {};
  return ::fstat(session_fd, &ours) == 0 && ::fstatat(registry.fd(), session, &found, AT_SYMLINK_NOFOLLOW) == 0 &&
         ours.st_dev == found.st_dev && ours.st_ino == found.st_ino;
}

struct Removal {
  const Registry& registry;
  const char* session;
};

void remove_if_of_session(void* context, const char* file_name) {
  const auto& removal = *static_cast<const Removal*>(context);
  const auto entry = removal.registry.read(file_name);
  if (!entry || std::strcmp(entry->session.data(), removal.session) != 0) return;
  if (entry->persistent != 0 && leads_to(SegmentPath(entry->name.data()).c_str(), entry->id)) return;
  (void)unlink_segment(&removal.registry, entry->name.data(), entry->id);  // what fails is left to a sweep
  RUNRIG_KILLPOINT("shm.tracker.removed");
}

}  // namespace

// The session's lock is the caller's by now, so nobody creates in it any more.
void remove_session(const Registry& registry, const char* session) noexcept {
  Removal removal{registry, session};
  registry.for_each('s', remove_if_of_session, &removal);
  registry.remove(session);
}

void run_tracker(int session_file, int ready, const char* session) noexcept {
  char name[48];
  std::memcpy(name, session, sizeof name);
  ::prctl(PR_SET_NAME, "runrig-tracker");
  if (::chdir("/") != 0) ::_exit(1);
  // Opened anew: the inherited descriptor carries the members' lock, and would turn it into ours.
  char self[48] = "/proc/self/fd/";
  std::to_chars(self + std::strlen(self), self + sizeof self - 1, session_file);
  const int own = retry_on_eintr([&] { return ::open(self, O_RDWR | O_CLOEXEC); });
  if (own < 0 || !keep_only(own, ready)) ::_exit(1);
  const bool first = take_mark();
  if (first) unmap_shared_memory();
  // A second one, started by another member in the same moment, is not needed; its starter may go on.
  if (retry_on_eintr([] { return ::write(ready_fd, "r", 1); }) != 1 || !first) ::_exit(0);
  ::close(ready_fd);
  if (!await_end()) ::_exit(1);
  RUNRIG_KILLPOINT("shm.tracker.granted");
  if (const auto registry = Registry::try_open_existing(); registry && is_session_file(*registry, name)) {
    remove_session(*registry, name);
    Registry::remove_if_empty();
  }
  ::_exit(0);
}

}  // namespace runrig::detail
