#include "runrig/engine/machine.hpp"

#include <sched.h>
#include <sys/resource.h>
#include <sys/single_threaded.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstdint>
#include <fstream>
#include <memory>
#include <optional>
#include <sstream>
#include <string_view>
#include <system_error>
#include <vector>

#include "runrig/sync/clock.hpp"
#include "runrig/sync/error.hpp"

namespace runrig {
namespace {

namespace fs = std::filesystem;

constexpr std::chrono::seconds limits_age{1};

// The files are small and made by the kernel; a missing one is a machine without that kind of limit.
std::string read_text(const fs::path& path) {
  std::ifstream file(path);
  std::ostringstream text;
  text << file.rdbuf();
  return text.str();
}

template <class Number>
bool parse(std::string_view text, Number& number) {
  while (!text.empty() && (text.back() == '\n' || text.back() == ' ')) text.remove_suffix(1);
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  return error == std::errc{} && end == text.data() + text.size();
}

void take_smaller(std::size_t& limit, std::size_t candidate) {
  if (candidate > 0 && (limit == 0 || candidate < limit)) limit = candidate;
}

void take_quota(detail::MachineLimits& limits, double cpus, const fs::path& group) {
  if (!(cpus > 0) || (limits.quota_cpus > 0 && limits.quota_cpus <= cpus)) return;
  limits.quota_cpus = cpus;
  limits.quota_group = group.empty() ? "/" : group.generic_string();
}

// Where a hierarchy is mounted, and which of its groups the mount's top shows ("/" unless in a container).
struct Hierarchy {
  fs::path mount;
  std::string top;
};

std::vector<std::string> split(const std::string& text, char separator) {
  std::vector<std::string> parts;
  std::istringstream stream(text);
  for (std::string part; std::getline(stream, part, separator);) parts.push_back(part);
  return parts;
}

bool names(const std::string& list, std::string_view wanted) {
  const auto parts = split(list, ',');
  return std::find(parts.begin(), parts.end(), wanted) != parts.end();
}

// `controller` empty: the unified hierarchy of version 2.
Hierarchy find_hierarchy(const fs::path& root, std::string_view controller) {
  for (const auto& line : split(read_text(root / "proc/self/mountinfo"), '\n')) {
    const auto dash = line.find(" - ");
    if (dash == std::string::npos) continue;
    const auto left = split(line.substr(0, dash), ' ');
    const auto right = split(line.substr(dash + 3), ' ');
    if (left.size() < 5 || right.size() < 3) continue;
    const bool found = controller.empty() ? right[0] == "cgroup2" : right[0] == "cgroup" && names(right[2], controller);
    if (found) return {root / fs::path(left[4]).relative_path(), left[3]};
  }
  return {};
}

// Our group within a hierarchy, relative to what the mount shows.
std::string find_group(const fs::path& root, std::string_view controller, const std::string& top) {
  for (const auto& line : split(read_text(root / "proc/self/cgroup"), '\n')) {
    const auto first = line.find(':');
    const auto second = line.find(':', first + 1);
    if (second == std::string::npos) continue;
    const std::string controllers = line.substr(first + 1, second - first - 1);
    if (controller.empty() ? !controllers.empty() : !names(controllers, controller)) continue;
    std::string group = line.substr(second + 1);
    if (top != "/" && group.starts_with(top)) group.erase(0, top.size());
    // "/.." stands before groups outside of our namespace: the mount's top is the nearest that can be read.
    return group.starts_with("/..") ? "/" : group;
  }
  return "/";
}

// Calls `visit(directory, group)` for our group and each of its ancestors that the mount shows.
template <class Visit>
void for_each_ancestor(const fs::path& root, std::string_view controller, Visit&& visit) {
  const Hierarchy hierarchy = find_hierarchy(root, controller);
  if (hierarchy.mount.empty()) return;
  fs::path group = fs::path(find_group(root, controller, hierarchy.top)).relative_path();
  for (;;) {
    visit(hierarchy.mount / group, "/" / group);
    if (group.empty()) return;
    group = group.parent_path();
  }
}

void read_unified(const fs::path& root, detail::MachineLimits& limits) {
  for_each_ancestor(root, "", [&](const fs::path& directory, const fs::path& group) {
    std::istringstream cpu(read_text(directory / "cpu.max"));
    std::string quota;
    double period = 0;
    if (double time = 0; cpu >> quota >> period && parse(quota, time)) take_quota(limits, time / period, group);
    if (std::size_t bytes = 0; parse(read_text(directory / "memory.max"), bytes))
      take_smaller(limits.cgroup_bytes, bytes);
  });
}

void read_version_1(const fs::path& root, detail::MachineLimits& limits) {
  for_each_ancestor(root, "cpu", [&](const fs::path& directory, const fs::path& group) {
    long long quota = 0;
    long long period = 0;
    if (parse(read_text(directory / "cpu.cfs_quota_us"), quota) && quota > 0 &&
        parse(read_text(directory / "cpu.cfs_period_us"), period) && period > 0) {
      take_quota(limits, static_cast<double>(quota) / static_cast<double>(period), group);
    }
  });
  for_each_ancestor(root, "memory", [&](const fs::path& directory, const fs::path&) {
    std::size_t bytes = 0;
    // "No limit" is a huge number there, which loses against the machine's memory.
    if (parse(read_text(directory / "memory.limit_in_bytes"), bytes)) take_smaller(limits.cgroup_bytes, bytes);
  });
}

int affinity_cpu_count() {
  // The mask's size is not known beforehand: the kernel refuses one that is smaller than its own.
  for (int cpus = 1024; cpus <= 1 << 20; cpus *= 2) {
    const std::unique_ptr<cpu_set_t, void (*)(cpu_set_t*)> set(CPU_ALLOC(static_cast<std::size_t>(cpus)),
                                                               [](cpu_set_t* each) { CPU_FREE(each); });
    if (!set) throw std::bad_alloc();
    const std::size_t bytes = CPU_ALLOC_SIZE(static_cast<std::size_t>(cpus));
    if (::sched_getaffinity(0, bytes, set.get()) == 0) return CPU_COUNT_S(bytes, set.get());
    if (errno != EINVAL) break;
  }
  return 0;
}

// 0 if there is none.
std::size_t mapping_limit(__rlimit_resource_t resource) {
  rlimit limit{};
  if (::getrlimit(resource, &limit) == -1 || limit.rlim_cur == RLIM_INFINITY) return 0;
  return std::max<std::size_t>(limit.rlim_cur / 8, 1);
}

std::size_t machine_memory_bytes(const fs::path& root) {
  std::istringstream lines(read_text(root / "proc/meminfo"));
  std::string key;
  std::string unit;
  for (std::size_t kib = 0; lines >> key >> kib >> unit;) {
    if (key == "MemTotal:") return kib * 1024;
  }
  return 0;
}

// The number behind `key` in lines of "key number".
std::optional<std::uint64_t> value_of(const std::string& text, std::string_view key) {
  std::istringstream lines(text);
  std::string word;
  for (std::uint64_t number = 0; lines >> word >> number;) {
    if (word == key) return number;
  }
  return std::nullopt;
}

std::string plain(double number) {
  std::ostringstream text;
  text << number;
  return text.str();
}

}  // namespace

namespace detail {

MachineLimits read_machine_limits(const fs::path& root) {
  MachineLimits limits;
  limits.machine_bytes = machine_memory_bytes(root);
  read_unified(root, limits);
  read_version_1(root, limits);  // hybrid systems have both; each controller is in one of them
  return limits;
}

int cpu_count(const MachineLimits& limits) noexcept {
  int count = std::max(1, limits.affinity_cpus);
  // Rounded up: with 1.5 CPUs two workers use all of it, one does not.
  if (limits.quota_cpus > 0 && limits.quota_cpus < count) count = static_cast<int>(std::ceil(limits.quota_cpus));
  return std::max(1, count);
}

std::uint64_t out_of_memory_kills(const fs::path& root) {
  std::optional<std::uint64_t> kills;
  const auto look = [&](const fs::path& file) {
    if (!kills) kills = value_of(read_text(file), "oom_kill");
  };
  // The first group visited is our own, and counts its members whoever's limit they hit.
  for_each_ancestor(root, "", [&](const fs::path& directory, const fs::path&) { look(directory / "memory.events"); });
  for_each_ancestor(root, "memory",
                    [&](const fs::path& directory, const fs::path&) { look(directory / "memory.oom_control"); });
  look(root / "proc/vmstat");
  return kills.value_or(0);
}

std::size_t memory_bytes(const MachineLimits& limits) noexcept {
  std::size_t bytes = limits.machine_bytes;
  take_smaller(bytes, limits.cgroup_bytes);
  take_smaller(bytes, limits.mapping_bytes);
  return bytes > 0 ? bytes : std::size_t{1} << 30;
}

}  // namespace detail

namespace {

// Some twenty small files, which a program that starts is asked for ten times over. Each thread has its own, so that
// there is no lock that a fork could leave locked; a child goes on with what its parent knew.
const detail::MachineLimits& recent_limits() {
  thread_local Clock::time_point read;
  thread_local std::optional<detail::MachineLimits> limits;
  const auto now = Clock::now();
  if (!limits || now - read >= limits_age) {
    limits = detail::read_machine_limits("/");
    read = now;
  }
  return *limits;
}

detail::MachineLimits current_limits() {
  auto limits = recent_limits();
  limits.affinity_cpus = affinity_cpu_count();
  if (limits.affinity_cpus == 0) limits.affinity_cpus = static_cast<int>(::sysconf(_SC_NPROCESSORS_ONLN));
  take_smaller(limits.mapping_bytes, mapping_limit(RLIMIT_AS));
  take_smaller(limits.mapping_bytes, mapping_limit(RLIMIT_FSIZE));
  return limits;
}

}  // namespace

int usable_cpu_count() { return detail::cpu_count(current_limits()); }

std::string explain_cpu_count() {
  const auto limits = current_limits();
  std::string text =
      std::to_string(detail::cpu_count(limits)) + ": affinity mask " + std::to_string(limits.affinity_cpus);
  if (limits.quota_cpus > 0) {
    text += ", cgroup quota " + plain(limits.quota_cpus) + " (" + limits.quota_group + ")";
  } else {
    text += ", no cgroup quota";
  }
  return text;
}

std::size_t usable_memory_bytes() { return detail::memory_bytes(current_limits()); }

std::size_t usable_mapping_bytes() {
  const std::size_t bytes = current_limits().mapping_bytes;
  return bytes > 0 ? bytes : SIZE_MAX;
}

int process_thread_count() {
  if (__libc_single_threaded != 0) return 1;
  // A directory with an entry for each thread, and two links besides. Counting the entries takes ten times as long.
  struct stat status {};
  if (::stat("/proc/self/task", &status) == 0 && status.st_nlink > 2) return static_cast<int>(status.st_nlink - 2);
  int count = 0;
  std::error_code ignored;  // an unreadable /proc counts as the one thread that is surely there
  for (fs::directory_iterator each("/proc/self/task", ignored), end; !ignored && each != end; each.increment(ignored)) {
    ++count;
  }
  return std::max(1, count);
}

}  // namespace runrig
