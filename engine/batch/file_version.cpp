#include "file_version.hpp"

#include <sys/stat.h>
#include <time.h>

#include <chrono>
#include <filesystem>
#include <thread>
#include <utility>

#include "runrig/sync/error.hpp"

namespace runrig::batch {
namespace {

// The clock of a file's last change, of this machine's file systems. Ticks are 1 to 10 ms apart.
std::pair<std::int64_t, std::int64_t> stamp_now() {
  timespec now{};
  check_errno(::clock_gettime(CLOCK_REALTIME_COARSE, &now), "read", "the clock");
  return {now.tv_sec, now.tv_nsec};
}

constexpr int most_waits = 20;  // a millisecond each: a file server's clock may be ahead of ours

}  // namespace

FileVersion FileVersion::of(const std::string& path) {
  struct stat status {};
  check_errno(::stat(path.c_str(), &status), "open", path);
  std::error_code ignored;  // gone since: the path as it was given will do
  const auto canonical = std::filesystem::canonical(path, ignored);
  FileVersion version;
  version.path = ignored ? path : canonical.string();
  version.inode = status.st_ino;
  version.bytes = static_cast<std::uint64_t>(status.st_size);
  version.modified_seconds = status.st_mtim.tv_sec;
  version.modified_nanoseconds = status.st_mtim.tv_nsec;
  return version;
}

FileVersion FileVersion::before_reading(const std::string& path) {
  FileVersion version = of(path);
  for (int i = 0; i < most_waits; ++i) {
    if (stamp_now() > std::pair(version.modified_seconds, version.modified_nanoseconds)) break;
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
    version = of(path);
  }
  return version;
}

}  // namespace runrig::batch
