#include "progress_lines.hpp"

#include <fmt/format.h>

#include <cstdio>

#include "progress_estimate.hpp"

namespace runrig::cli {

void ProgressLines::print(std::string_view event, std::string_view more) {
  const double seconds = std::chrono::duration<double>(Clock::now() - begin_).count();
  const ProgressEstimate rest = estimate(last_, seconds);
  // Written in one piece, so that lines of others do not fall between.
  const std::string line = fmt::format(
      R"({{"event":"{}","seconds":{:.3f},"files_done":{},"files_skipped":{},"files":{},"bytes_done":{},"bytes":{},)"
      R"("bytes_per_second":{:.0f},"seconds_left":{}{}}})"
      "\n",
      event, seconds, last_.files_done, last_.files_skipped, last_.files, last_.bytes_done, last_.bytes,
      rest.bytes_per_second, rest.seconds_left ? fmt::format("{:.3f}", *rest.seconds_left) : "null", more);
  std::fwrite(line.data(), 1, line.size(), stderr);
  std::fflush(stderr);
}

void ProgressLines::show(const batch::Progress& now) {
  last_ = now;
  print("progress", "");
}

void ProgressLines::end(int exit_code) { print("end", fmt::format(R"(,"exit_code":{})", exit_code)); }

}  // namespace runrig::cli
