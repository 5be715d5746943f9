#pragma once

#include <cstdint>
#include <exception>
#include <functional>
#include <string>
#include <utility>
#include <vector>

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
  /// The same for several at once, which costs little more than for one: their bytes go to the disk together, by one
  /// syncfs() of each file system, before the first of them gets its name. So whatever a crash leaves under a final
  /// name is complete, and all of it is kept once this returns. For each output the exception that publish() would
  /// have thrown, or none.
  [[nodiscard]] static std::vector<std::exception_ptr> publish_together(const std::vector<PendingOutput*>& outputs);
  /// Removes the temporary file, to start again from the beginning.
  void discard() noexcept;

 private:
  void finish_file(bool sync);
  void change_names();
  void settle_names();
  void restore_names() noexcept;
  [[nodiscard]] bool keep_former();
  void take_name();

  std::string final_path_;
  std::string temporary_path_;
  std::string former_path_;  // a second name of the file that is replaced, until the new one has its place
  bool replace_;
  bool published_ = false;
  bool fresh_ = false;  // there was no file under the final name
  bool kept_ = false;   // it has the second name
  std::function<std::string(std::uint64_t)> seal_;
};

/// Removes temporaries in `directory` whose makers are dead; returns how many. Failures are ignored: the next run
/// tries again.
int remove_dead_temporaries(const std::string& directory);

}  // namespace runrig::batch
