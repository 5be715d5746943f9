#include "namespaces.hpp"

#include <sched.h>
#include <sys/mount.h>
#include <unistd.h>

#include <fstream>

namespace runrig::test {
namespace {

bool write_text(const std::string& path, const std::string& text) {
  std::ofstream file(path);
  file << text << std::flush;
  return file.good();
}

}  // namespace

void keep_mounts_to_itself() {
  const auto uid = ::geteuid();
  const auto gid = ::getegid();
  if (::unshare(CLONE_NEWNS) != 0) {
    if (::unshare(CLONE_NEWUSER | CLONE_NEWNS) != 0) ::_exit(cannot_isolate);
    write_text("/proc/self/setgroups", "deny");
    write_text("/proc/self/uid_map", std::to_string(uid) + " " + std::to_string(uid) + " 1");
    write_text("/proc/self/gid_map", std::to_string(gid) + " " + std::to_string(gid) + " 1");
  }
  if (::mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0) ::_exit(cannot_isolate);
}

void pretend_memory(std::size_t bytes, const std::string& directory) {
  keep_mounts_to_itself();
  const std::string told = directory + "/meminfo";
  if (!write_text(told, "MemTotal: " + std::to_string(bytes / 1024) + " kB\n") ||
      ::mount(told.c_str(), "/proc/meminfo", nullptr, MS_BIND, nullptr) != 0) {
    ::_exit(cannot_isolate);
  }
}

}  // namespace runrig::test
