#include "progress_estimate.hpp"

#include <algorithm>

namespace runrig::cli {

ProgressEstimate estimate(const batch::Progress& now, double seconds) {
  ProgressEstimate result;
  const auto done = static_cast<double>(now.bytes_done);
  const auto files = static_cast<double>(now.files - now.files_skipped);
  const auto files_done = static_cast<double>(now.files_done - now.files_skipped);
  if (seconds > 0) result.bytes_per_second = done / seconds;
  auto total = static_cast<double>(now.bytes);
  if (now.files_known > 0) total *= std::max(1.0, files / static_cast<double>(now.files_known));
  if (now.bytes > 0) {
    result.part = done / total;
  } else if (files > 0) {  // files that are copied as they are count no bytes
    result.part = files_done / files;
  } else {
    result.part = now.files > 0 ? 1 : 0;
  }
  result.part = std::clamp(result.part, 0.0, 1.0);
  if (result.part > 0) result.seconds_left = seconds * (1 - result.part) / result.part;
  return result;
}

}  // namespace runrig::cli
