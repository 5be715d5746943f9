#include "runrig/sync/unique_fd.hpp"

#include <unistd.h>

#include <cerrno>

namespace runrig {

void UniqueFd::reset(int fd) noexcept {
  if (fd_ >= 0) {
    const int saved = errno;  // a destructor that runs while an error is being reported must not replace it
    ::close(fd_);             // not repeated on EINTR: on Linux the descriptor is gone either way
    errno = saved;
  }
  fd_ = fd;
}

}  // namespace runrig
