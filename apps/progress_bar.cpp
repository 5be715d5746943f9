#include "progress_bar.hpp"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <cstdio>

#include "progress_estimate.hpp"
#include "text.hpp"

namespace runrig::cli {
namespace {

std::string time_text(double seconds) {
  const long long whole = std::llround(seconds);
  if (whole >= 3600) return fmt::format("{}:{:02}:{:02}", whole / 3600, whole / 60 % 60, whole % 60);
  return fmt::format("{}:{:02}", whole / 60, whole % 60);
}

std::string line_for(const batch::Progress& now, double seconds) {
  const ProgressEstimate rest = estimate(now, seconds);
  std::string line;
  if (now.files > 1) line += fmt::format("{}/{} files  ", now.files_done, now.files);
  constexpr int cells = 20;
  const int full = static_cast<int>(rest.part * cells);
  line += fmt::format("[{}{}] {:3.0f}%  {} of {}", std::string(static_cast<std::size_t>(full), '#'),
                      std::string(static_cast<std::size_t>(cells - full), '.'), rest.part * 100,
                      size_text(now.bytes_done), size_text(now.bytes));
  if (now.bytes_done > 0) line += fmt::format("  {}/s", size_text(static_cast<std::uint64_t>(rest.bytes_per_second)));
  if (rest.seconds_left) line += fmt::format("  {} left", time_text(*rest.seconds_left));
  return line;
}

}  // namespace

bool ProgressBar::wanted(std::string_view when) {
  return when == "always" || (when == "auto" && ::isatty(STDERR_FILENO) == 1);
}

void ProgressBar::show(const batch::Progress& now) {
  const double seconds = std::chrono::duration<double>(Clock::now() - begin_).count();
  if (seconds < 0.5) return;
  std::string line = line_for(now, seconds);
  line.resize(std::min(line.size(), terminal_columns(STDERR_FILENO) - 1));
  fmt::print(stderr, "\r\x1b[K{}", line);
  std::fflush(stderr);
  shown_ = true;
}

ProgressBar::~ProgressBar() {
  if (shown_) fmt::print(stderr, "\r\x1b[K");
}

}  // namespace runrig::cli
