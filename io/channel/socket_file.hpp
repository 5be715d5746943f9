#pragma once

#include <sys/types.h>

#include <optional>
#include <string>

#include "runrig/sync/unique_fd.hpp"

namespace runrig::detail {

/// A folder for the socket of a Listener that has no address of its own, in the folder for temporary files: mode 0700,
/// and locked (flock) by a descriptor of it as long as anybody has it, so that one of the dead can be told.
class SocketFolder {
 public:
  /// Removes those of the dead first. Throws Error.
  [[nodiscard]] static SocketFolder make();
  /// With room for a socket's name.
  [[nodiscard]] std::string socket_path() const;
  /// By the process that made it; the socket must be gone.
  void remove() noexcept;

 private:
  std::string path_;
  pid_t maker_ = 0;
  UniqueFd locked_;
};
/// Removes those folders of this user that nobody has any more. Returns how many.
int sweep_socket_folders();

/// The file of a bound Unix socket, removed at the end: by the process that made it, and only if it is still that file.
class SocketFile {
 public:
  /// Which file is there now.
  explicit SocketFile(std::string path);
  void remove() noexcept;

 private:
  std::string path_;
  pid_t maker_;
  dev_t device_ = 0;
  ino_t inode_ = 0;
};

}  // namespace runrig::detail
