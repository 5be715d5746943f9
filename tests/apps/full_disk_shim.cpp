// A disk without room, for tests: preloaded into a program, it lets no file below $RUNRIG_FULL_DISK grow past
// $RUNRIG_FULL_DISK_BYTES bytes; what would fails with ENOSPC, as on a full disk.
#include <dlfcn.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>

namespace {

bool is_full(int fd, off_t end) {
  const char* directory = std::getenv("RUNRIG_FULL_DISK");
  const char* limit = std::getenv("RUNRIG_FULL_DISK_BYTES");
  if (directory == nullptr || limit == nullptr) return false;
  char link[64];
  char path[4096];
  std::snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
  const ssize_t length = ::readlink(link, path, sizeof path - 1);
  if (length <= 0) return false;
  path[length] = '\0';
  return std::strncmp(path, directory, std::strlen(directory)) == 0 && end > std::atoll(limit);
}

template <class Function>
Function* next(const char* name) {
  return reinterpret_cast<Function*>(::dlsym(RTLD_NEXT, name));
}

int fail() {
  errno = ENOSPC;
  return -1;
}

}  // namespace

extern "C" {

ssize_t pwrite64(int fd, const void* data, size_t bytes, off64_t offset) {
  if (is_full(fd, offset + static_cast<off_t>(bytes))) return fail();
  return next<ssize_t(int, const void*, size_t, off64_t)>("pwrite64")(fd, data, bytes, offset);
}
ssize_t pwrite(int fd, const void* data, size_t bytes, off_t offset) { return pwrite64(fd, data, bytes, offset); }
ssize_t write(int fd, const void* data, size_t bytes) {
  if (is_full(fd, ::lseek(fd, 0, SEEK_CUR) + static_cast<off_t>(bytes))) return fail();
  return next<ssize_t(int, const void*, size_t)>("write")(fd, data, bytes);
}
int ftruncate64(int fd, off64_t length) {
  if (is_full(fd, length)) return fail();
  return next<int(int, off64_t)>("ftruncate64")(fd, length);
}
int ftruncate(int fd, off_t length) { return ftruncate64(fd, length); }

}  // extern "C"
