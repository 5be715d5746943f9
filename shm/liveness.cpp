#include "liveness.hpp"

#include <dirent.h>
#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include <charconv>
#include <chrono>
#include <cstddef>
#include <cstring>
#include <thread>

#include "runrig/shm/shared_memory.hpp"
#include "runrig/sync/clock.hpp"
#include "runrig/sync/error.hpp"
#include "runrig/sync/killpoint.hpp"
#include "segment_file.hpp"

namespace runrig::detail {
namespace {

constexpr std::array<char, 8> entry_magic{'R', 'U', 'N', 'R', 'I', 'G', 'S', '1'};
constexpr int lock_wait_ms = 1000;
constexpr std::chrono::seconds sweep_limit{10};

// "/dev/shm/runrig-UID". Made anew for each use: a process may change its user.
FileName registry_path() noexcept {
  static constexpr std::string_view prefix = "/dev/shm/runrig-";
  FileName path{};
  std::memcpy(path.data(), prefix.data(), prefix.size());
  std::to_chars(path.data() + prefix.size(), path.data() + path.size() - 1, ::geteuid());
  return path;
}

LockAttempt try_lock(int fd, int kind) noexcept {
  if (retry_on_eintr([&] { return ::flock(fd, kind | LOCK_NB); }) == 0) return LockAttempt::taken;
  return errno == EWOULDBLOCK ? LockAttempt::busy : LockAttempt::failed;
}

int open_registry() noexcept {
  const FileName path = registry_path();
  return retry_on_eintr([&] { return ::open(path.data(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC); });
}

bool is_private(int fd) noexcept {
  struct stat status {};
  return ::fstat(fd, &status) == 0 && status.st_uid == ::geteuid() && (status.st_mode & 0077) == 0;
}

UniqueFd check_registry(UniqueFd fd) {
  if (is_private(fd.get())) return fd;
  throw Error(
      std::errc::permission_denied,
      "use registry of segments (it must belong to user " + std::to_string(::geteuid()) + " and be closed to others)",
      registry_path().data());
}

bool terminated(const auto& text) noexcept { return std::memchr(text.data(), '\0', text.size()) != nullptr; }

bool is_entry(const RegistryEntry& entry) noexcept {
  return entry.magic == entry_magic && terminated(entry.session) && terminated(entry.name) &&
         std::string_view(entry.session.data()).starts_with("p-") &&
         std::string_view(entry.session.data()).find('/') == std::string_view::npos &&
         is_segment_name(entry.name.data());
}

}  // namespace

LockAttempt try_lock_shared(int fd) noexcept { return try_lock(fd, LOCK_SH); }
LockAttempt try_lock_exclusive(int fd) noexcept { return try_lock(fd, LOCK_EX); }
void unlock(int fd) noexcept { ::flock(fd, LOCK_UN); }

void lock_for_use(int fd, std::string_view attempted, std::string_view name) {
  const auto deadline = Deadline::after(sweep_limit);
  for (;;) {
    const LockAttempt attempt = try_lock_shared(fd);
    if (attempt == LockAttempt::taken) return;
    if (attempt == LockAttempt::failed) check_errno(-1, attempted, name);
    if (deadline.passed()) {
      throw TimeoutError(std::string(attempted) + " (another process holds it exclusively)", name);
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
}

FileName entry_file_name(SegmentId id) noexcept {
  FileName name{'s', '-'};
  std::to_chars(name.data() + 2, name.data() + name.size() - 1, id.inode, 16);
  return name;
}

Registry Registry::open_or_create() {
  const FileName path = registry_path();
  for (;;) {
    if (::mkdir(path.data(), 0700) == 0) {
      // Whatever the umask took. Nobody else can have replaced it: /dev/shm is sticky.
      check_errno(::chmod(path.data(), 0700), "set mode of", path.data());
    } else if (errno != EEXIST) {
      check_errno(-1, "create registry of segments", path.data());
    }
    if (auto found = open_existing()) return std::move(*found);  // else the last session's end removed it again
  }
}

std::optional<Registry> Registry::open_existing() {
  UniqueFd fd(open_registry());
  if (!fd && errno == ENOENT) return std::nullopt;
  check_errno(fd.get(), "open registry of segments", registry_path().data());
  return Registry(check_registry(std::move(fd)));
}

std::optional<Registry> Registry::try_open_existing() noexcept {
  UniqueFd fd(open_registry());
  if (!fd || !is_private(fd.get())) return std::nullopt;
  return Registry(std::move(fd));
}

std::optional<RegistryEntry> Registry::read(const char* file_name) const noexcept {
  const UniqueFd file(
      retry_on_eintr([&] { return ::openat(fd_.get(), file_name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC); }));
  RegistryEntry entry;
  if (!file || retry_on_eintr([&] { return ::pread(file.get(), &entry, sizeof entry, 0); }) != sizeof entry ||
      !is_entry(entry)) {
    return std::nullopt;
  }
  return entry;
}

bool Registry::session_lives(const char* session) const noexcept {
  const UniqueFd file(
      retry_on_eintr([&] { return ::openat(fd_.get(), session, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC); }));
  // Its file is removed only when it is dead. Any other failure proves nothing, so it lives.
  if (!file) return errno != ENOENT;
  if (try_lock_exclusive(file.get()) != LockAttempt::taken) return true;
  unlock(file.get());
  return false;
}

UniqueFd Registry::make_nameless_file() const noexcept {
  UniqueFd file(retry_on_eintr([&] { return ::openat(fd_.get(), ".", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600); }));
  // Others of this user must be able to open it, which the umask may not take from them.
  if (file && ::fchmod(file.get(), 0600) != 0) file.reset();
  return file;
}

void Registry::publish(const RegistryEntry& entry) const {
  const std::string_view name = entry.name.data();
  const UniqueFd file = make_nameless_file();
  check_errno(file.get(), "register segment", name);
  RegistryEntry complete = entry;
  complete.magic = entry_magic;
  const auto written = check_errno(::pwrite(file.get(), &complete, sizeof complete, 0), "register segment", name);
  if (written != sizeof complete) throw Error(std::errc::no_space_on_device, "register segment", name);
  const std::string self = "/proc/self/fd/" + std::to_string(file.get());
  check_errno(::linkat(AT_FDCWD, self.c_str(), fd_.get(), entry_file_name(entry.id).data(), AT_SYMLINK_FOLLOW),
              "register segment", name);
}

void Registry::mark_persistent(SegmentId id, std::string_view name) const {
  const FileName file_name = entry_file_name(id);
  const UniqueFd file(check_errno(
      retry_on_eintr([&] { return ::openat(fd_.get(), file_name.data(), O_RDWR | O_NOFOLLOW | O_CLOEXEC); }),
      "persist segment", name));
  const std::uint32_t yes = 1;
  check_errno(::pwrite(file.get(), &yes, sizeof yes, offsetof(RegistryEntry, persistent)), "persist segment", name);
}

void Registry::remove(const char* file_name) const noexcept {
  // ENOENT: somebody else was faster. Nothing else can be the matter in a directory of our own, and what stays is
  // found by the next sweep.
  ::unlinkat(fd_.get(), file_name, 0);
}

void Registry::remove_if_empty() noexcept { ::rmdir(registry_path().data()); }

void Registry::for_each(char prefix, void (*visit)(void* context, const char* file_name),
                        void* context) const noexcept {
  // Not opendir, which allocates: the tracker is a fork of a process that may have had threads.
  const UniqueFd directory(
      retry_on_eintr([&] { return ::openat(fd_.get(), ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC); }));
  if (!directory) return;
  alignas(dirent64) char buffer[8192];
  for (;;) {
    const long got = ::syscall(SYS_getdents64, directory.get(), buffer, sizeof buffer);
    if (got <= 0) return;
    for (long at = 0; at < got;) {
      const auto* const each = reinterpret_cast<const dirent64*>(buffer + at);
      if (each->d_name[0] == prefix && each->d_name[1] == '-') visit(context, each->d_name);
      at += each->d_reclen;
    }
  }
}

RegistryLock::RegistryLock(const Registry* registry) noexcept {
  if (registry == nullptr) return;
  // A descriptor of its own: a lock on the registry's would be shared with other threads and with children.
  fd_.reset(retry_on_eintr([&] { return ::openat(registry->fd(), ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC); }));
  if (!fd_) return;
  for (int waited = 0; waited < lock_wait_ms && try_lock_exclusive(fd_.get()) == LockAttempt::busy; ++waited) {
    const timespec millisecond{0, 1'000'000};
    ::nanosleep(&millisecond, nullptr);
  }
}

RegistryLock::~RegistryLock() {
  if (fd_) unlock(fd_.get());
}

int unlink_segment(const Registry* registry, const char* name, SegmentId id) noexcept {
  const RegistryLock lock(registry);
  return unlink_segment_locked(registry, name, id);
}

int unlink_segment_locked(const Registry* registry, const char* name, SegmentId id) noexcept {
  const SegmentPath path(name);
  struct stat status {};
  int code = ENOENT;
  if (::lstat(path.c_str(), &status) != 0) {
    code = errno;
  } else if (SegmentId{status.st_dev, status.st_ino} == id) {
    RUNRIG_KILLPOINT("shm.unlink.checked");
    code = ::unlink(path.c_str()) == 0 ? 0 : errno;
    RUNRIG_KILLPOINT("shm.unlink.unnamed");
  }
  // After the name, so that no segment is ever without its entry.
  if (registry != nullptr && (code == 0 || code == ENOENT)) registry->remove(entry_file_name(id).data());
  return code;
}

}  // namespace runrig::detail
