// A disk that fails, for tests: preloaded into a program.
//
// Without room: no file below $RUNRIG_FULL_DISK grows past $RUNRIG_FULL_DISK_BYTES bytes; what would fails with ENOSPC.
//
// With a fault: calls about files below $RUNRIG_FAULT_DIRECTORY are counted, kind by kind and in all processes
// together, in the file $RUNRIG_FAULT_COUNTS (a number of eight bytes for each kind, see `kinds`). $RUNRIG_FAULT,
// "KIND:N:ERROR", makes the Nth of a kind fail with that errno, once. A close that fails closes, as the kernel's does.
#include <dlfcn.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstdarg>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>

namespace {

// In the order of their numbers in the file of counts. tests/apps/disk_fault_test.cpp has the same.
constexpr const char* kinds[] = {"open", "write", "truncate", "allocate", "sync", "close", "rename"};
constexpr std::size_t kind_count = sizeof kinds / sizeof kinds[0];

template <class Function>
Function* next(const char* name) {
  return reinterpret_cast<Function*>(::dlsym(RTLD_NEXT, name));
}

bool is_below(const char* path, const char* directory) {
  return directory != nullptr && std::strncmp(path, directory, std::strlen(directory)) == 0;
}

// The path of an open file; false if it has none.
bool path_of(int fd, char (&path)[4096]) {
  char link[64];
  std::snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
  const ssize_t length = ::readlink(link, path, sizeof path - 1);
  if (length <= 0) return false;
  path[length] = '\0';
  return true;
}

bool is_full(int fd, off_t end) {
  const char* limit = std::getenv("RUNRIG_FULL_DISK_BYTES");
  char path[4096];
  if (limit == nullptr || !path_of(fd, path)) return false;
  return is_below(path, std::getenv("RUNRIG_FULL_DISK")) && end > std::atoll(limit);
}

std::atomic<std::uint64_t>* map_counts() {
  const char* file = std::getenv("RUNRIG_FAULT_COUNTS");
  if (file == nullptr) return nullptr;
  const int fd = next<int(const char*, int, ...)>("open")(file, O_RDWR | O_CLOEXEC);
  if (fd == -1) return nullptr;
  void* const memory = ::mmap(nullptr, kind_count * sizeof(std::uint64_t), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  next<int(int)>("close")(fd);
  return memory == MAP_FAILED ? nullptr : static_cast<std::atomic<std::uint64_t>*>(memory);
}

// Counts a call, and says whether it is the one to fail; errno is set then.
bool fails(const char* kind, const char* path) {
  if (!is_below(path, std::getenv("RUNRIG_FAULT_DIRECTORY"))) return false;
  static std::atomic<std::uint64_t>* const counts = map_counts();
  if (counts == nullptr) return false;
  std::size_t number = 0;
  while (number < kind_count && std::strcmp(kinds[number], kind) != 0) ++number;
  // Relaxed: only the number must be unique.
  const std::uint64_t nth = counts[number].fetch_add(1, std::memory_order_relaxed) + 1;
  const char* fault = std::getenv("RUNRIG_FAULT");
  char wanted[16];
  unsigned long long wanted_nth = 0;
  int code = 0;
  if (fault == nullptr || std::sscanf(fault, "%15[^:]:%llu:%d", wanted, &wanted_nth, &code) != 3) return false;
  if (std::strcmp(wanted, kind) != 0 || nth < wanted_nth) return false;
  if (nth > wanted_nth && std::strstr(fault, ":once") != nullptr) return false;
  errno = code;
  return true;
}
bool fails(const char* kind, int fd) {
  const int before = errno;
  char path[4096];
  const bool result = path_of(fd, path) && fails(kind, path);
  if (!result) errno = before;
  return result;
}

int no_space() {
  errno = ENOSPC;
  return -1;
}

// Opening what may be written to, and directories, to sync them.
int open_as(const char* name, int at, const char* path, int flags, mode_t mode) {
  const bool counts = (flags & (O_ACCMODE | O_DIRECTORY)) != 0;
  if (counts && fails("open", path)) return -1;
  if (at != AT_FDCWD) return next<int(int, const char*, int, ...)>(name)(at, path, flags, mode);
  return next<int(const char*, int, ...)>(name)(path, flags, mode);
}

mode_t mode_of(int flags, va_list arguments) {
  return (flags & (O_CREAT | O_TMPFILE)) != 0 ? static_cast<mode_t>(va_arg(arguments, int)) : 0;
}

}  // namespace

extern "C" {

int open(const char* path, int flags, ...) {
  va_list arguments;
  va_start(arguments, flags);
  const mode_t mode = mode_of(flags, arguments);
  va_end(arguments);
  return open_as("open", AT_FDCWD, path, flags, mode);
}
int open64(const char* path, int flags, ...) {
  va_list arguments;
  va_start(arguments, flags);
  const mode_t mode = mode_of(flags, arguments);
  va_end(arguments);
  return open_as("open64", AT_FDCWD, path, flags, mode);
}
int __open_2(const char* path, int flags) { return open_as("__open_2", AT_FDCWD, path, flags, 0); }
int __open64_2(const char* path, int flags) { return open_as("__open64_2", AT_FDCWD, path, flags, 0); }

ssize_t pwrite64(int fd, const void* data, size_t bytes, off64_t offset) {
  if (is_full(fd, offset + static_cast<off_t>(bytes))) return no_space();
  if (fails("write", fd)) return -1;
  return next<ssize_t(int, const void*, size_t, off64_t)>("pwrite64")(fd, data, bytes, offset);
}
ssize_t pwrite(int fd, const void* data, size_t bytes, off_t offset) { return pwrite64(fd, data, bytes, offset); }
ssize_t write(int fd, const void* data, size_t bytes) {
  if (is_full(fd, ::lseek(fd, 0, SEEK_CUR) + static_cast<off_t>(bytes))) return no_space();
  if (fails("write", fd)) return -1;
  return next<ssize_t(int, const void*, size_t)>("write")(fd, data, bytes);
}
int ftruncate64(int fd, off64_t length) {
  if (is_full(fd, length)) return no_space();
  if (fails("truncate", fd)) return -1;
  return next<int(int, off64_t)>("ftruncate64")(fd, length);
}
int ftruncate(int fd, off_t length) { return ftruncate64(fd, length); }

int fallocate64(int fd, int mode, off64_t offset, off64_t length) {
  if (fails("allocate", fd)) return -1;
  return next<int(int, int, off64_t, off64_t)>("fallocate64")(fd, mode, offset, length);
}
int fallocate(int fd, int mode, off_t offset, off_t length) { return fallocate64(fd, mode, offset, length); }
int posix_fallocate64(int fd, off64_t offset, off64_t length) {
  if (fails("allocate", fd)) return errno;
  return next<int(int, off64_t, off64_t)>("posix_fallocate64")(fd, offset, length);
}
int posix_fallocate(int fd, off_t offset, off_t length) { return posix_fallocate64(fd, offset, length); }

int fsync(int fd) { return fails("sync", fd) ? -1 : next<int(int)>("fsync")(fd); }
int fdatasync(int fd) { return fails("sync", fd) ? -1 : next<int(int)>("fdatasync")(fd); }

int close(int fd) {
  struct stat status {};
  // What was only read, a directory for one, has nothing to lose.
  const int flags = ::fcntl(fd, F_GETFL);
  const bool written = flags != -1 && (flags & O_ACCMODE) != O_RDONLY;
  const bool file = written && ::fstat(fd, &status) == 0 && S_ISREG(status.st_mode);
  const bool fault = file && fails("close", fd);
  const int code = errno;
  const int result = next<int(int)>("close")(fd);
  if (!fault) return result;
  errno = code;
  return -1;
}

int rename(const char* from, const char* to) {
  return fails("rename", to) ? -1 : next<int(const char*, const char*)>("rename")(from, to);
}
int renameat2(int from_at, const char* from, int to_at, const char* to, unsigned flags) {
  if (fails("rename", to)) return -1;
  return next<int(int, const char*, int, const char*, unsigned)>("renameat2")(from_at, from, to_at, to, flags);
}
int link(const char* from, const char* to) {
  return fails("rename", to) ? -1 : next<int(const char*, const char*)>("link")(from, to);
}

}  // extern "C"
