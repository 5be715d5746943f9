#pragma once

#include <condition_variable>
#include <mutex>
#include <thread>

namespace runrig::hdf5::detail {

/// Syncs a file's data to the disk from a thread of its own while the file is still being written, so that the sync at
/// the end finds little to do. Where no thread can be had, it does nothing, and the sync at the end does it all.
///
/// It waits for the disk: what only starts to write (sync_file_range()) leaves the data in the cache of the disk, which
/// the sync at the end has to wait for; and it blocks its caller when the disk has much to do.
///
/// One thread calls it. It is not for a process that forks.
class EarlySync {
 public:
  EarlySync() = default;
  EarlySync(const EarlySync&) = delete;
  EarlySync& operator=(const EarlySync&) = delete;
  ~EarlySync();

  /// Has what was written so far synced soon. Returns at once. `fd` is open until finish(), and always the same.
  void begin(int fd) noexcept;
  /// Waits for what was begun, and ends the thread. Returns the errno of the first sync that failed, 0 if none did:
  /// the system tells of a lost page only once, so the sync at the end need not say it again.
  [[nodiscard]] int finish() noexcept;

 private:
  void run(int fd) noexcept;

  std::mutex mutex_;
  std::condition_variable changed_;
  bool wanted_ = false;
  bool ended_ = false;
  int failed_ = 0;
  std::thread thread_;
};

}  // namespace runrig::hdf5::detail
