#include "reserve.hpp"

#include <fcntl.h>
#include <sys/resource.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>

#include "runrig/sync/block_signals.hpp"
#include "runrig/sync/error.hpp"

namespace runrig::detail {
namespace {

// tmpfs gives up on a pending signal and throws away what the call has reserved so far, so with a timer faster than one
// call it would start over for ever. Blocked signals do not count as pending; they are let in between the pieces.
constexpr std::size_t reserve_step_bytes = std::size_t{64} << 20;  // some 20 ms
constexpr std::size_t least_step_bytes = std::size_t{1} << 16;

int reserve_step(int fd, std::size_t offset_bytes, std::size_t size_bytes) noexcept {
  const BlockSignals blocked;
  return ::fallocate(fd, 0, static_cast<off_t>(offset_bytes), static_cast<off_t>(size_bytes)) == 0 ? 0 : errno;
}

}  // namespace

std::string format_bytes(std::uint64_t bytes) {
  static constexpr const char* units[] = {"KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
  if (bytes < 1024) return std::to_string(bytes) + " bytes";
  double value = static_cast<double>(bytes) / 1024;
  std::size_t unit = 0;
  for (; value >= 1024 && unit + 1 < std::size(units); ++unit) value /= 1024;
  char text[32];
  std::snprintf(text, sizeof text, "%.1f %s", value, units[unit]);
  return text;
}

void check_memory_room(std::size_t size_bytes, std::string_view attempted, std::string_view name) {
  // Reading it takes some 50 us, as long as filling this much; where so little is missing, nothing can be promised
  // anyway.
  if (size_bytes < std::size_t{1} << 20) return;
  const auto room = memory_room();
  if (!room || size_bytes <= room->bytes) return;
  throw Error(std::errc::not_enough_memory,
              std::string(attempted) + " (needs " + format_bytes(size_bytes) + ", " + room->limited_by + " has " +
                  format_bytes(room->bytes) + " left)",
              name);
}

void check_file_system_room(const char* directory, std::size_t size_bytes, std::string_view attempted,
                            std::string_view name) {
  struct statvfs status {};
  check_errno(retry_on_eintr([&] { return ::statvfs(directory, &status); }), "look up free space of", directory);
  if (status.f_blocks == 0) return;  // a tmpfs mounted with size=0 has no limit of its own
  const std::uint64_t free_bytes = std::uint64_t{status.f_bavail} * status.f_frsize;
  const std::uint64_t needed = size_bytes / status.f_frsize + (size_bytes % status.f_frsize != 0 ? 1 : 0);
  if (needed <= status.f_bavail) return;
  throw Error(std::errc::no_space_on_device,
              std::string(attempted) + " (needs " + format_bytes(size_bytes) + ", " + directory + " has " +
                  format_bytes(free_bytes) +
                  " free; `runrig shm gc` removes what is abandoned, docker run --shm-size or mount -o "
                  "remount,size= makes it larger)",
              name);
}

void check_file_size_limit(std::size_t size_bytes, std::string_view attempted, std::string_view name) {
  rlimit limit{};
  check_errno(::getrlimit(RLIMIT_FSIZE, &limit), "look up the limit of file sizes for", name);
  if (limit.rlim_cur == RLIM_INFINITY || size_bytes <= limit.rlim_cur) return;
  throw Error(std::errc::file_too_large,
              std::string(attempted) + " (needs " + format_bytes(size_bytes) + ", ulimit -f allows " +
                  format_bytes(limit.rlim_cur) + ")",
              name);
}

void reserve_pages(int fd, std::size_t offset_bytes, std::size_t size_bytes, std::string_view attempted,
                   std::string_view name) {
  std::size_t step = reserve_step_bytes;
  while (size_bytes > 0) {
    const std::size_t piece = std::min(step, size_bytes);
    const int code = reserve_step(fd, offset_bytes, piece);
    if (code == EINTR) {  // stopped and continued, traced or frozen: those are not blocked
      step = std::max(step / 2, least_step_bytes);
      continue;
    }
    check_code(code, attempted, name);
    offset_bytes += piece;
    size_bytes -= piece;
  }
}

}  // namespace runrig::detail
