#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <utility>

namespace runrig::batch {

/// A file that is being written: a temporary name in the directory of its final one, which it gets when it is
/// complete. Removed by the destructor unless published.
///
/// The temporary name tells the process that made it (".NAME.runrig-MARK-DOMAIN-N.tmp", see Identity), so that the next
/// run into the directory can remove what a killed one left. Belongs to the process that made it. Not thread-safe.
class PendingOutput {
 public:
  /// Makes no file yet, but checks that the directory is there and may be written to. Throws Error, also file_exists
  /// if `final_path` exists and may not be replaced.
  PendingOutput(std::string final_path, bool replace);
  PendingOutput(const PendingOutput&) = delete;
  PendingOutput& operator=(const PendingOutput&) = delete;
  ~PendingOutput();

  [[nodiscard]] const std::string& temporary_path() const noexcept { return temporary_path_; }
  [[nodiscard]] const std::string& final_path() const noexcept { return final_path_; }

  /// Called by publish() with the size of the finished file: what it returns is put behind it. What it throws ends
  /// publish() before anything has its final name.
  void seal_with(std::function<std::string(std::uint64_t file_bytes)> seal) { seal_ = std::move(seal); }

  /// Syncs the file, gives it its final name, syncs the directory. Without leave to replace, a file that has
  /// appeared under the name meanwhile is an error and stays. When it throws Error, the former file is there under the
  /// name, or none if there was none; only on a file system without hard links may a directory that cannot be synced
  /// leave the new one, which is complete.
  void publish();
  /// Removes the temporary file, to start again from the beginning.
  void discard() noexcept;

 private:
  void finish_file();
  [[nodiscard]] bool keep_former();
  void take_name();

  std::string final_path_;
  std::string temporary_path_;
  std::string former_path_;  // a second name of the file that is replaced, until the new one has its place
  bool replace_;
  bool published_ = false;
  std::function<std::string(std::uint64_t)> seal_;
};

/// Removes temporaries in `directory` whose makers are dead; returns how many. Failures are ignored: the next run
/// tries again.
int remove_dead_temporaries(const std::string& directory);

}  // namespace runrig::batch
