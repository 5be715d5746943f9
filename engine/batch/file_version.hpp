#pragma once

#include <cstdint>
#include <string>

namespace runrig::batch {

/// A file as it is at one moment: where it lies, and what changes when it is written to or replaced. Its device is not
/// in it, which a restart of the machine may number anew.
struct FileVersion {
  std::string path;  // absolute, without links
  std::uint64_t inode = 0;
  std::uint64_t bytes = 0;
  std::int64_t modified_seconds = 0;
  std::int64_t modified_nanoseconds = 0;

  /// Of the file now. Throws Error if there is none.
  [[nodiscard]] static FileVersion of(const std::string& path);
  /// The same for a file that will be read next. A file that was written to within the last tick of the clock that
  /// stamps files could be written to once more without a new stamp: then this waits for the next tick, some
  /// milliseconds.
  [[nodiscard]] static FileVersion before_reading(const std::string& path);

  friend bool operator==(const FileVersion&, const FileVersion&) = default;
};

}  // namespace runrig::batch
