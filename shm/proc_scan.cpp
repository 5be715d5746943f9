#include "proc_scan.hpp"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <cstring>
#include <memory>
#include <string_view>

#include "runrig/sync/error.hpp"
#include "runrig/sync/unique_fd.hpp"

namespace runrig::detail {
namespace {

struct CloseDirectory {
  void operator()(DIR* directory) const noexcept { ::closedir(directory); }
};
using Directory = std::unique_ptr<DIR, CloseDirectory>;

Directory open_directory(const std::string& path) { return Directory(::opendir(path.c_str())); }

std::string read_all(const std::string& path) {
  std::string text;
  const UniqueFd fd(retry_on_eintr([&] { return ::open(path.c_str(), O_RDONLY | O_CLOEXEC); }));
  if (!fd) return text;
  char buffer[16384];
  for (;;) {
    const auto got = retry_on_eintr([&] { return ::read(fd.get(), buffer, sizeof buffer); });
    if (got <= 0) return text;  // the process may end while we read
    text.append(buffer, static_cast<std::size_t>(got));
  }
}

// The file of a line such as "7f00-7f10 rw-s 00000000 00:17 4711   /dev/shm/name"; inode 0 for memory of no file.
SegmentId parse_maps_line(std::string_view line) noexcept {
  for (int field = 0; field < 3; ++field) {
    const auto space = line.find(' ');
    if (space == std::string_view::npos) return {};
    line.remove_prefix(space + 1);
  }
  unsigned device_major = 0;
  unsigned device_minor = 0;
  std::uint64_t inode = 0;
  const char* const end = line.data() + line.size();
  const auto colon = std::from_chars(line.data(), end, device_major, 16);
  if (colon.ec != std::errc() || colon.ptr == end) return {};
  const auto space = std::from_chars(colon.ptr + 1, end, device_minor, 16);
  if (space.ec != std::errc() || space.ptr == end) return {};
  if (std::from_chars(space.ptr + 1, end, inode).ec != std::errc()) return {};
  return {makedev(device_major, device_minor), inode};
}

class Scan {
 public:
  explicit Scan(const std::map<SegmentId, std::string>& names) : names_(names) {
    for (const auto& [id, name] : names_) users_[id];
  }

  void look_into(pid_t pid) {
    const std::string process = "/proc/" + std::to_string(pid);
    const std::string maps = read_all(process + "/maps");
    for (std::size_t at = 0; at < maps.size();) {
      const auto end = std::min(maps.find('\n', at), maps.size());
      note(parse_maps_line(std::string_view(maps).substr(at, end - at)), pid);
      at = end + 1;
    }
    if (pid != ::getpid()) look_into_descriptors(process + "/fd", pid);
  }

  SegmentUsers take() { return std::move(users_); }

 private:
  void note(SegmentId id, pid_t pid) {
    const auto found = users_.find(id);
    if (found != users_.end() && (found->second.empty() || found->second.back() != pid)) found->second.push_back(pid);
  }

  void look_into_descriptors(const std::string& path, pid_t pid) {
    const auto directory = open_directory(path);
    if (!directory) return;
    while (const dirent* const each = ::readdir(directory.get())) {
      char target[4097];
      const auto length = ::readlinkat(::dirfd(directory.get()), each->d_name, target, sizeof target);
      if (length <= 0 || !may_be_asked_for({target, static_cast<std::size_t>(length)})) continue;
      struct stat status {};
      if (::fstatat(::dirfd(directory.get()), each->d_name, &status, 0) == 0) {
        note({status.st_dev, status.st_ino}, pid);
      }
    }
  }

  // A look at the link's text spares the stat, which could hang on a dead network file system. Segments of ours were
  // opened before they had a name, and are called "#INODE (deleted)" ever after.
  [[nodiscard]] bool may_be_asked_for(std::string_view target) const {
    const auto slash = target.rfind('/');
    auto last = slash == std::string_view::npos ? target : target.substr(slash + 1);
    static constexpr std::string_view deleted = " (deleted)";
    if (last.ends_with(deleted)) last.remove_suffix(deleted.size());
    for (const auto& [id, name] : names_) {
      if (last == name) return true;
      if (last.starts_with('#') && last.substr(1) == std::to_string(id.inode)) return true;
    }
    return false;
  }

  const std::map<SegmentId, std::string>& names_;
  SegmentUsers users_;
};

}  // namespace

SegmentUsers find_users(const std::map<SegmentId, std::string>& names) {
  Scan scan(names);
  if (names.empty()) return scan.take();
  const auto processes = open_directory("/proc");
  if (!processes) check_errno(-1, "look for users of segments in", "/proc");
  bool any = false;
  while (const dirent* const each = ::readdir(processes.get())) {
    pid_t pid = 0;
    const char* const end = each->d_name + std::strlen(each->d_name);
    if (std::from_chars(each->d_name, end, pid).ptr != end || pid <= 0) continue;
    any = true;
    scan.look_into(pid);
  }
  if (!any) throw Error(std::errc::no_such_file_or_directory, "look for users of segments in", "/proc");
  auto users = scan.take();
  for (auto& [id, pids] : users) std::sort(pids.begin(), pids.end());
  return users;
}

}  // namespace runrig::detail
