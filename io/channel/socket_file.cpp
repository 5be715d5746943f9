#include "socket_file.hpp"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <array>
#include <cstdlib>
#include <filesystem>
#include <string_view>
#include <utility>

#include "runrig/sync/error.hpp"

namespace runrig::detail {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view folder_prefix = "runrig-listener-";
constexpr std::string_view socket_name = "/socket";

std::array<std::string, 2> folders_for_temporary_files() {
  const char* const told = std::getenv("TMPDIR");
  return {told != nullptr && *told == '/' ? told : "/tmp", "/tmp"};
}

// Null if somebody has it, or it is not ours.
UniqueFd lock_folder(const std::string& path) {
  UniqueFd folder(::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
  struct stat status {};
  if (!folder || ::fstat(folder.get(), &status) != 0 || status.st_uid != ::geteuid()) return {};
  if (::flock(folder.get(), LOCK_EX | LOCK_NB) != 0) return {};
  // What was locked may have been removed before.
  struct stat named {};
  if (::lstat(path.c_str(), &named) != 0 || named.st_ino != status.st_ino || named.st_dev != status.st_dev) return {};
  return folder;
}

bool remove_folder(const std::string& path) noexcept {
  ::unlink((path + std::string(socket_name)).c_str());
  return ::rmdir(path.c_str()) == 0;
}

}  // namespace

SocketFolder SocketFolder::make() {
  (void)sweep_socket_folders();
  // A sweep may take a new folder for one of the dead before it is locked. Not for ever.
  constexpr int most_attempts = 100;
  for (int attempt = 0; attempt < most_attempts; ++attempt) {
    for (const std::string& parent : folders_for_temporary_files()) {
      std::string path = parent + "/" + std::string(folder_prefix) + "XXXXXX";
      if (path.size() + socket_name.size() >= sizeof(sockaddr_un::sun_path)) continue;
      const bool made = ::mkdtemp(path.data()) != nullptr;
      if (!made && parent == folders_for_temporary_files().back()) check_errno(-1, "make a folder for a socket:", path);
      if (!made) continue;
      SocketFolder result;
      result.path_ = path;
      result.maker_ = ::getpid();
      result.locked_ = lock_folder(path);
      if (result.locked_) return result;
      break;
    }
  }
  throw Error(std::errc::resource_unavailable_try_again, "make a folder for a socket in",
              folders_for_temporary_files().front());
}

std::string SocketFolder::socket_path() const { return path_ + std::string(socket_name); }

void SocketFolder::remove() noexcept {
  if (locked_ && ::getpid() == maker_) ::rmdir(path_.c_str());
  locked_.reset();
}

int sweep_socket_folders() {
  int removed = 0;
  std::string last;
  for (const std::string& parent : folders_for_temporary_files()) {
    if (parent == last) break;
    last = parent;
    std::error_code unreadable;
    for (fs::directory_iterator each(parent, unreadable), end; !unreadable && each != end; each.increment(unreadable)) {
      if (!each->path().filename().string().starts_with(folder_prefix)) continue;
      const UniqueFd locked = lock_folder(each->path());
      if (locked && remove_folder(each->path())) ++removed;
    }
  }
  return removed;
}

SocketFile::SocketFile(std::string path) : path_(std::move(path)), maker_(::getpid()) {
  struct stat status {};
  check_errno(::lstat(path_.c_str(), &status), "look at", path_);
  device_ = status.st_dev;
  inode_ = status.st_ino;
}

void SocketFile::remove() noexcept {
  struct stat status {};
  if (::getpid() != maker_ || ::lstat(path_.c_str(), &status) != 0) return;
  if (status.st_dev == device_ && status.st_ino == inode_) ::unlink(path_.c_str());
}

}  // namespace runrig::detail
