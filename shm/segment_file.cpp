#include "segment_file.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <limits>

#include "runrig/shm/shared_memory.hpp"
#include "runrig/sync/error.hpp"

namespace runrig {

bool is_segment_name(std::string_view name) noexcept {
  const auto plain = [](char c) {  // not isalnum: that depends on the locale
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' || c == '.' ||
           c == '-';
  };
  return !name.empty() && name.size() <= longest_segment_name && name[0] != '.' && name[0] != '-' &&
         std::all_of(name.begin(), name.end(), plain);
}

namespace detail {
namespace {

[[noreturn]] void refuse(std::errc code, std::string_view attempted, std::string_view why, std::string_view name) {
  throw Error(code, std::string(attempted) + " (" + std::string(why) + ")", name);
}

const char* kind_of(mode_t mode) noexcept {
  switch (mode & S_IFMT) {
    case S_IFLNK:
      return "it is a symbolic link";
    case S_IFIFO:
      return "it is a FIFO";
    case S_IFDIR:
      return "it is a directory";
    case S_IFSOCK:
      return "it is a socket";
    case S_IFCHR:
    case S_IFBLK:
      return "it is a device";
    default:
      return "it is no regular file";
  }
}

void check_status(const struct stat& status, std::string_view attempted, std::string_view name) {
  if (!S_ISREG(status.st_mode)) refuse(std::errc::invalid_argument, attempted, kind_of(status.st_mode), name);
  if (status.st_uid != ::geteuid()) {
    refuse(std::errc::permission_denied, attempted,
           "it belongs to user " + std::to_string(status.st_uid) + ", we are " + std::to_string(::geteuid()), name);
  }
  if ((status.st_mode & 0022) != 0) {
    refuse(std::errc::permission_denied, attempted, "others than its owner may write it; chmod 0600 it if you trust it",
           name);
  }
  if (status.st_nlink > 1) refuse(std::errc::invalid_argument, attempted, "it has several hard links", name);
  if (status.st_size == 0) {
    refuse(std::errc::invalid_argument, attempted, "it is empty: truncated, or not complete yet", name);
  }
  if (static_cast<std::uint64_t>(status.st_size) > std::uint64_t{std::numeric_limits<std::ptrdiff_t>::max()}) {
    refuse(std::errc::value_too_large, attempted, "it is larger than the address space", name);
  }
}

SegmentFile open_checked(const char* path, int link_flag, Access access, std::string_view attempted,
                         std::string_view name) {
  // O_PATH finds the file without opening it.
  const UniqueFd found(
      check_errno(retry_on_eintr([&] { return ::open(path, O_PATH | O_CLOEXEC | link_flag); }), attempted, name));
  struct stat status {};
  check_errno(::fstat(found.get(), &status), attempted, name);
  check_status(status, attempted, name);
  const std::string same = "/proc/self/fd/" + std::to_string(found.get());
  const int flags = (access == Access::read_write ? O_RDWR : O_RDONLY) | O_NONBLOCK | O_NOCTTY | O_CLOEXEC;
  SegmentFile file;
  file.fd.reset(check_errno(retry_on_eintr([&] { return ::open(same.c_str(), flags); }), attempted, name));
  file.id = {status.st_dev, status.st_ino};
  file.size_bytes = static_cast<std::uint64_t>(status.st_size);
  return file;
}

}  // namespace

SegmentPath::SegmentPath(std::string_view name) noexcept {
  static constexpr std::string_view prefix = "/dev/shm/";
  const std::size_t length = std::min(name.size(), text_.size() - prefix.size() - 1);
  std::memcpy(text_.data(), prefix.data(), prefix.size());
  std::memcpy(text_.data() + prefix.size(), name.data(), length);
}

void check_segment_name(std::string_view name, std::string_view attempted) {
  if (is_segment_name(name)) return;
  // The name may hold anything: shown cut, and without what could play tricks on a terminal.
  std::string shown(name.substr(0, 64));
  for (char& each : shown) {
    if (each < ' ' || each > '~') each = '?';
  }
  if (name.size() > shown.size()) shown += "...";
  refuse(std::errc::invalid_argument, attempted,
         "a name has 1 to 200 of the characters A-Z a-z 0-9 _ . - and begins with neither . nor -", shown);
}

SegmentFile open_segment_file(const char* path, Access access, std::string_view attempted, std::string_view name) {
  return open_checked(path, O_NOFOLLOW, access, attempted, name);
}

SegmentFile open_through_link(const char* path, Access access, std::string_view attempted, std::string_view name) {
  return open_checked(path, 0, access, attempted, name);
}

bool leads_to(const char* path, SegmentId id) noexcept {
  struct stat status {};
  return ::lstat(path, &status) == 0 && SegmentId{status.st_dev, status.st_ino} == id;
}

}  // namespace detail
}  // namespace runrig
