#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <cstdint>
#include <string>
#include <string_view>

#include "reserve.hpp"
#include "runrig/sync/error.hpp"
#include "runrig/sync/unique_fd.hpp"

namespace runrig::detail {
namespace {

std::optional<std::string> read_text(const std::string& path) {
  const UniqueFd fd(retry_on_eintr([&] { return ::open(path.c_str(), O_RDONLY | O_CLOEXEC); }));
  if (!fd) return std::nullopt;
  std::string text;
  char buffer[4096];
  for (;;) {
    const auto got = retry_on_eintr([&] { return ::read(fd.get(), buffer, sizeof buffer); });
    if (got < 0) return std::nullopt;
    if (got == 0) return text;
    text.append(buffer, static_cast<std::size_t>(got));
  }
}

// The number that follows `key` at a line's start. "max" and the like are none.
std::optional<std::uint64_t> number_after(std::string_view text, std::string_view key) {
  for (std::size_t at = 0; at < text.size();) {
    const auto end = std::min(text.find('\n', at), text.size());
    auto line = text.substr(at, end - at);
    at = end + 1;
    if (!line.starts_with(key)) continue;
    line.remove_prefix(key.size());
    const auto first = line.find_first_not_of(" \t:");
    if (first == std::string_view::npos) continue;
    std::uint64_t value = 0;
    if (std::from_chars(line.data() + first, line.data() + line.size(), value).ec == std::errc()) return value;
  }
  return std::nullopt;
}

std::optional<std::uint64_t> read_number(const std::string& path) {
  const auto text = read_text(path);
  return text ? number_after(*text, "") : std::nullopt;
}

std::uint64_t left(std::uint64_t limit, std::uint64_t used) { return limit > used ? limit - used : 0; }

struct Hierarchy {
  const char* limit;
  const char* usage;
  const char* swap_limit;
  const char* swap_usage;
  const char* inactive_file;
  const char* active_file;
  bool swap_includes_memory;
};
constexpr Hierarchy version_2{
    "memory.max", "memory.current", "memory.swap.max", "memory.swap.current", "inactive_file", "active_file", false};
constexpr Hierarchy version_1{"memory.limit_in_bytes",
                              "memory.usage_in_bytes",
                              "memory.memsw.limit_in_bytes",
                              "memory.memsw.usage_in_bytes",
                              "total_inactive_file",
                              "total_active_file",
                              true};

// What the cgroup whose files lie in `directory` has left; none if it has no limit.
std::optional<std::uint64_t> cgroup_room(const std::string& directory, const Hierarchy& files,
                                         std::uint64_t swap_free) {
  const auto limit = read_number(directory + files.limit);
  if (!limit || *limit >= std::uint64_t{1} << 60) return std::nullopt;  // so version 1 says "no limit"
  const auto usage = read_number(directory + files.usage);
  if (!usage) return std::nullopt;
  const auto statistics = read_text(directory + "memory.stat").value_or("");
  // Cached files make room when it is needed. Pages of shared memory are not among them.
  const std::uint64_t cached = number_after(statistics, std::string(files.inactive_file) + " ").value_or(0) +
                               number_after(statistics, std::string(files.active_file) + " ").value_or(0);
  const std::uint64_t memory = left(*limit, left(*usage, cached));
  const auto swap_limit = read_number(directory + files.swap_limit);
  if (!swap_limit) return memory + swap_free;
  const std::uint64_t swap_used = read_number(directory + files.swap_usage).value_or(0);
  if (!files.swap_includes_memory) return memory + std::min(swap_free, left(*swap_limit, swap_used));
  return std::min(memory + swap_free, left(*swap_limit, left(swap_used, cached)));
}

// `line` is one of /proc/self/cgroup: "4:memory:/path" (version 1) or "0::/path" (version 2).
void narrow_by_line(std::string_view line, std::uint64_t swap_free, std::optional<MemoryRoom>& room) {
  const auto first = line.find(':');
  const auto second = line.find(':', first == std::string_view::npos ? first : first + 1);
  if (second == std::string_view::npos) return;
  const auto controllers = line.substr(first + 1, second - first - 1);
  std::string path(line.substr(second + 1));
  const bool unified = controllers.empty();
  if (!unified && controllers != "memory") return;
  const std::string root = unified ? "/sys/fs/cgroup" : "/sys/fs/cgroup/memory";
  // A limit holds for all below it, so each ancestor counts. In a container the path may be that of the host, and the
  // mount show only our part of it: what is not there is passed over, and the root always looked at.
  for (;;) {
    if (path == "/") path.clear();
    const auto here = cgroup_room(root + path + "/", unified ? version_2 : version_1, swap_free);
    if (here && (!room || *here < room->bytes)) room = MemoryRoom{*here, "the memory cgroup"};
    if (path.empty()) return;
    path.erase(path.rfind('/') == std::string::npos ? 0 : path.rfind('/'));
  }
}

}  // namespace

std::optional<MemoryRoom> memory_room() {
  std::optional<MemoryRoom> room;
  std::uint64_t swap_free = 0;
  if (const auto machine = read_text("/proc/meminfo")) {
    swap_free = number_after(*machine, "SwapFree:").value_or(0) * 1024;
    if (const auto available = number_after(*machine, "MemAvailable:")) {
      room = MemoryRoom{*available * 1024 + swap_free, "the machine"};
    }
  }
  const auto groups = read_text("/proc/self/cgroup").value_or("");
  for (std::size_t at = 0; at < groups.size();) {
    const auto end = std::min(groups.find('\n', at), groups.size());
    narrow_by_line(std::string_view(groups).substr(at, end - at), swap_free, room);
    at = end + 1;
  }
  return room;
}

}  // namespace runrig::detail
