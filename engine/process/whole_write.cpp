#include "whole_write.hpp"

#include <fcntl.h>
#include <poll.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <ctime>
#include <mutex>

#include "runrig/sync/clock.hpp"
#include "runrig/sync/fork_hooks.hpp"
#include "runrig/sync/killpoint.hpp"
#include "runrig/sync/no_sigpipe.hpp"

namespace runrig::detail {
namespace {

constexpr std::chrono::seconds patience(1);

// The file's lock belongs to the process, so it does not keep the process' own threads apart.
class ThreadLock {
 public:
  ThreadLock() { mutex().lock(); }
  ThreadLock(const ThreadLock&) = delete;
  ThreadLock& operator=(const ThreadLock&) = delete;
  ~ThreadLock() { mutex().unlock(); }

 private:
  static std::mutex& mutex() {
    static std::mutex* const only = make();  // never destroyed: destructors of static objects may log
    return *only;
  }
  // A child must not find it locked by a thread that it does not have.
  static std::mutex* make() {
    add_fork_hooks(lock, unlock, unlock);
    return new std::mutex;
  }
  static void lock() { mutex().lock(); }
  static void unlock() { mutex().unlock(); }
};

class FileLock {
 public:
  explicit FileLock(int fd) noexcept : fd_(fd) {
    const Deadline deadline = Deadline::after(patience);
    // Polled, as a wait for the lock itself would have no end. Lines are short, so the first naps are, too.
    for (long nap_ns = 20'000; !set(F_WRLCK); nap_ns = std::min(2 * nap_ns, 2'000'000L)) {
      if ((errno != EAGAIN && errno != EACCES && errno != EINTR) || deadline.passed()) return;
      const timespec nap{0, nap_ns};
      ::nanosleep(&nap, nullptr);
    }
    locked_ = true;
  }
  FileLock(const FileLock&) = delete;
  FileLock& operator=(const FileLock&) = delete;
  ~FileLock() {
    if (locked_) (void)set(F_UNLCK);
  }

 private:
  // One byte far behind any data, so as not to meet the locks that a program has on its own file.
  [[nodiscard]] bool set(short type) const noexcept {
    struct flock range {};
    range.l_type = type;
    range.l_whence = SEEK_SET;
    range.l_start = off_t{1} << 62;
    range.l_len = 1;
    return ::fcntl(fd_, F_SETLK, &range) == 0;
  }
  int fd_;
  bool locked_ = false;
};

// Not wait_writable(), which may throw.
bool takes_more(int fd) noexcept {
  pollfd entry{fd, POLLOUT, 0};
  return ::poll(&entry, 1, static_cast<int>(std::chrono::milliseconds(patience).count())) > 0;
}

}  // namespace

void write_whole(int fd, std::string_view text) noexcept {
  const int former_errno = errno;
  {
    const ThreadLock threads;
    NoSigpipe signals;
    const FileLock processes(fd);
    while (!text.empty()) {
      const ssize_t written = ::write(fd, text.data(), text.size());
      if (written >= 0) {
        text.remove_prefix(static_cast<std::size_t>(written));
        RUNRIG_KILLPOINT("log.write.begun");
      } else if (errno == EPIPE) {
        signals.raised = true;
        break;
      } else if (errno != EINTR && (errno != EAGAIN || !takes_more(fd))) {
        break;
      }
    }
  }
  errno = former_errno;
}

}  // namespace runrig::detail
