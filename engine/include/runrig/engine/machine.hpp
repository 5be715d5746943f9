#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <string>

namespace runrig {

/// How many CPUs this process may use, at least 1: the smaller of its affinity mask and of the CPU quota of its
/// cgroup and all ancestors (version 1 and 2), rounded up. The mask is read anew on each call; what is known of cgroups
/// and of memory, here and below, may be a second old.
[[nodiscard]] int usable_cpu_count();
/// The reasoning behind usable_cpu_count(), in one line for people: "2: affinity mask 8, cgroup quota 1.5 (/a/b)".
[[nodiscard]] std::string explain_cpu_count();

/// How much memory this process may use: the smallest of the machine's RAM, the limits of its cgroup and all ancestors,
/// and usable_mapping_bytes(). A limit, not what is free at the moment.
[[nodiscard]] std::size_t usable_memory_bytes();
/// How large one piece of shared memory should be at most, whatever is touched of it: an eighth of what RLIMIT_AS and
/// RLIMIT_FSIZE (`ulimit -v` and `-f`) allow, since a process has several, and programs and files beside them. SIZE_MAX
/// where they set no limit.
[[nodiscard]] std::size_t usable_mapping_bytes();

/// Threads of this process right now, also those that other libraries started.
[[nodiscard]] int process_thread_count();

namespace detail {

/// What is known of the limits on this process; 0 stands for "no limit".
struct MachineLimits {
  int affinity_cpus = 0;
  double quota_cpus = 0;
  std::string quota_group;  // the cgroup that sets quota_cpus
  std::size_t machine_bytes = 0;
  std::size_t cgroup_bytes = 0;
  std::size_t mapping_bytes = 0;
};
/// `root` stands before /proc and /sys, so that a test can show a machine of its own making. Nothing in there is
/// trusted: what cannot be read or parsed is no limit.
[[nodiscard]] MachineLimits read_machine_limits(const std::filesystem::path& root);
[[nodiscard]] int cpu_count(const MachineLimits& limits) noexcept;
[[nodiscard]] std::size_t memory_bytes(const MachineLimits& limits) noexcept;
/// How many processes the kernel killed so far for lack of memory: those of our cgroup where that is told, else all of
/// the machine.
[[nodiscard]] std::uint64_t out_of_memory_kills(const std::filesystem::path& root);

}  // namespace detail
}  // namespace runrig
