#include "early_sync.hpp"

#include <unistd.h>

#include <cerrno>
#include <exception>

#include "runrig/sync/block_signals.hpp"
#include "runrig/sync/error.hpp"

namespace runrig::hdf5::detail {

EarlySync::~EarlySync() { (void)finish(); }

void EarlySync::begin(int fd) noexcept {
  const std::lock_guard guard(mutex_);
  wanted_ = true;
  if (thread_.joinable()) {
    changed_.notify_one();
    return;
  }
  // Signals are for the thread that works. A new thread has the mask of the one that makes it.
  const runrig::detail::BlockSignals blocked;
  try {
    thread_ = std::thread([this, fd] { run(fd); });
  } catch (const std::exception&) {
    // No thread, or no memory for it: the sync at the end does it all.
  }
}

int EarlySync::finish() noexcept {
  if (thread_.joinable()) {
    {
      const std::lock_guard guard(mutex_);
      ended_ = true;
      changed_.notify_one();
    }
    thread_.join();
  }
  ended_ = wanted_ = false;
  return failed_;
}

void EarlySync::run(int fd) noexcept {
  std::unique_lock lock(mutex_);
  while (failed_ == 0) {
    changed_.wait(lock, [this] { return wanted_ || ended_; });
    if (!wanted_) return;
    wanted_ = false;
    lock.unlock();
    const bool failed = retry_on_eintr([&] { return ::fdatasync(fd); }) == -1;
    const int reason = errno;
    lock.lock();
    if (failed) failed_ = reason;
  }
}

}  // namespace runrig::hdf5::detail
