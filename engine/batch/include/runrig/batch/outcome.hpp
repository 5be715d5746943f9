#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

/// What becomes of each input file of a call.
namespace runrig::batch {

/// One input that failed: the others are still done. `dataset` is empty where the whole file is concerned.
struct Failure {
  std::string file;
  std::string dataset;
  std::string error;  // one line
};

enum class FileStatus : std::uint8_t {
  done,
  skipped,     // its output is up to date
  failed,      // it, or one of its datasets
  interrupted  // not done when the call was ended: begun or not, no output of it is there
};
/// "done", "skipped", "failed", "interrupted".
[[nodiscard]] std::string_view file_status_name(FileStatus status) noexcept;

struct FileOutcome {
  std::string file;
  FileStatus status = FileStatus::interrupted;
  std::string output;                 // its file; empty if results are returned
  std::vector<std::string> datasets;  // that were written, or read where nothing is written
  std::uint64_t input_bytes = 0;      // size of the file
  std::uint64_t output_bytes = 0;     // size of the finished output; 0 unless done
  std::uint64_t array_bytes = 0;      // of arrays in memory that it took, as Progress counts them
  double seconds = 0;                 // spent on it, by the clock; while it is looked at, others are as well
  std::vector<Failure> errors;
  std::vector<std::string> notes;  // what could not be kept, in words
};

}  // namespace runrig::batch
