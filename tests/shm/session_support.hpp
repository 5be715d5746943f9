#pragma once

#include <fcntl.h>
#include <poll.h>
#include <sys/mount.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <atomic>
#include <filesystem>
#include <functional>
#include <string>

#include "namespaces.hpp"
#include "runrig/shm/anonymous_memory.hpp"
#include "runrig/shm/shared_memory.hpp"
#include "runrig/shm/sweep.hpp"
#include "runrig/shm/tracker.hpp"
#include "runrig/sync/unique_fd.hpp"
#include "support.hpp"

namespace runrig::test {

[[nodiscard]] inline std::string path_of(std::string_view name) { return "/dev/shm/" + std::string(name); }

[[nodiscard]] inline bool name_exists(std::string_view name) { return ::access(path_of(name).c_str(), F_OK) == 0; }

/// For the head of a child: leaves the session that it inherited from the test program, so that what it creates
/// is its own. Closing all descriptors is how a daemon or a pool's worker does it.
inline void leave_session() { ::syscall(SYS_close_range, 3, ~0U, 0); }

/// Numbers that children leave for the test.
struct Notes {
  std::atomic<int> tracker{0};
  std::atomic<int> step{0};
  std::atomic<int> count{0};
};
class SharedNotes {
 public:
  Notes* operator->() const noexcept { return reinterpret_cast<Notes*>(memory_.writable_bytes().data()); }

 private:
  AnonymousMemory memory_ = AnonymousMemory::create("test-notes", sizeof(Notes));
};

/// No such process any more, or only its corpse: then all its descriptors and mappings are gone as well. (The state in
/// /proc/PID/stat would be that of the main thread, which may go before others.)
[[nodiscard]] inline bool is_gone(int pid) {
  const UniqueFd process(static_cast<int>(::syscall(SYS_pidfd_open, pid, 0)));
  if (!process) return errno == ESRCH;
  pollfd end{process.get(), POLLIN, 0};
  return ::poll(&end, 1, 0) == 1;
}

/// A child in a session of its own that has created segment `name` and lives until it is killed.
class Creator {
 public:
  explicit Creator(const std::string& name, std::size_t size_bytes = 4096) {
    start([name, size_bytes](const SharedNotes&) { return SharedMemory::create(name, size_bytes); });
  }
  explicit Creator(const std::function<SharedMemory(const SharedNotes&)>& make) { start(make); }

  [[nodiscard]] int pid() const { return child_->pid(); }
  [[nodiscard]] int tracker() const { return notes_->tracker.load(); }
  /// As the kernel's out-of-memory killer would, and `kill -9 -1`.
  void kill_with_tracker() {
    ::kill(tracker(), SIGKILL);
    kill();
    EXPECT_TRUE(eventually([&] { return is_gone(tracker()); }));
  }
  void kill() {
    child_->signal(SIGKILL);
    EXPECT_EQ(child_->join(), -SIGKILL);
  }

 private:
  void start(const std::function<SharedMemory(const SharedNotes&)>& make) {
    child_.emplace([this, make] {
      leave_session();
      const SharedMemory segment = make(notes_);
      notes_->tracker = tracker_pid().value_or(-1);
      for (;;) ::pause();
    });
    EXPECT_TRUE(eventually([&] { return notes_->tracker.load() != 0; }));
    EXPECT_GT(notes_->tracker.load(), 0);
  }

  SharedNotes notes_;
  std::optional<Child> child_;
};

/// A name whose segment is removed at the end of the scope, should the test fail to.
class SegmentName {
 public:
  SegmentName() = default;
  SegmentName(const SegmentName&) = delete;
  SegmentName& operator=(const SegmentName&) = delete;
  ~SegmentName() { std::filesystem::remove_all(path()); }
  operator const std::string&() const noexcept { return name_; }  // NOLINT(google-explicit-constructor)
  operator std::string_view() const noexcept { return name_; }    // NOLINT(google-explicit-constructor)
  [[nodiscard]] const std::string& str() const noexcept { return name_; }
  [[nodiscard]] std::filesystem::path path() const { return path_of(name_); }

 private:
  std::string name_ = unique_segment_name();
};

/// For the head of a child: gives it a /dev/shm of its own. Leaves with cannot_isolate where that is not allowed.
inline void use_private_shm(const std::string& mount_options) {
  leave_session();
  keep_mounts_to_itself();
  if (::mount("tmpfs", "/dev/shm", "tmpfs", 0, ("mode=1777," + mount_options).c_str()) != 0) ::_exit(cannot_isolate);
}

/// Runs `body` in a child with a /dev/shm of its own; skips the test, saying so, where that is not allowed.
#define RUNRIG_RUN_WITH_PRIVATE_SHM(options, ...)                                          \
  if (const int private_shm_result = ::runrig::test::run_in_child([&] {                    \
        ::runrig::test::use_private_shm(options);                                          \
        __VA_ARGS__                                                                        \
      });                                                                                  \
      private_shm_result == ::runrig::test::cannot_isolate) {                              \
    GTEST_SKIP() << "no namespaces are allowed here, so there is no full /dev/shm to try"; \
  } else                                                                                   \
    EXPECT_EQ(private_shm_result, 0)

}  // namespace runrig::test
