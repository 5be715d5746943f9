#include "resource_watch.hpp"

#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <map>
#include <sstream>
#include <string>
#include <vector>

#include "processes.hpp"
#include "runrig/sync/error.hpp"

namespace runrig::test {
namespace {

rusage usage_of_children() {
  rusage usage{};
  check_errno(::getrusage(RUSAGE_CHILDREN, &usage), "measure", "child processes");
  return usage;
}

std::chrono::duration<double> cpu_of_children() {
  const rusage usage = usage_of_children();
  const auto seconds = [](const timeval& time) {
    return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_usec) / 1e6;
  };
  return std::chrono::duration<double>(seconds(usage.ru_utime) + seconds(usage.ru_stime));
}

/// The children of each process.
std::multimap<int, int> family() {
  std::multimap<int, int> children;
  for (const auto& [pid, process] : all_processes()) children.emplace(process.parent, pid);
  return children;
}

/// This process's share of its anonymous and shared memory: shares add up to what is really used.
std::uint64_t memory_of(int pid) {
  std::istringstream lines(process_file(pid, "smaps_rollup"));
  std::uint64_t kibibytes = 0;
  for (std::string line; std::getline(lines, line);) {
    if (line.starts_with("Pss_Anon:") || line.starts_with("Pss_Shmem:")) {
      kibibytes += std::stoull(line.substr(line.find(':') + 1));
    }
  }
  return kibibytes << 10;
}

std::uint64_t memory_of_descendants() {
  const auto children = family();
  std::vector<int> open{::getpid()};
  std::uint64_t total = 0;
  while (!open.empty()) {
    const auto [first, last] = children.equal_range(open.back());
    open.pop_back();
    for (auto child = first; child != last; ++child) {
      total += memory_of(child->second);
      open.push_back(child->second);
    }
  }
  return total;
}

}  // namespace

ResourceWatch::ResourceWatch()
    : cpu_before_(cpu_of_children()), sampler_([this](const std::stop_token& stop) {
        while (!stop.stop_requested()) {
          // Relaxed: a number by itself.
          peak_bytes_.store(std::max(peak_bytes_.load(std::memory_order_relaxed), memory_of_descendants()),
                            std::memory_order_relaxed);
          std::this_thread::sleep_for(std::chrono::milliseconds(10));
        }
      }) {}

std::uint64_t ResourceWatch::peak_bytes() const { return peak_bytes_.load(std::memory_order_relaxed); }

std::uint64_t ResourceWatch::largest_process_bytes() {
  return static_cast<std::uint64_t>(usage_of_children().ru_maxrss) << 10;
}

std::chrono::duration<double> ResourceWatch::cpu_time() const { return cpu_of_children() - cpu_before_; }

}  // namespace runrig::test
