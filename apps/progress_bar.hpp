#pragma once

#include <optional>
#include <string_view>

#include "runrig/batch/session.hpp"
#include "runrig/sync/clock.hpp"

namespace runrig::cli {

/// One line on stderr: what is done, of how much, the rate, and the time left. Wiped at the end of its life, so that
/// what is printed afterwards stands alone. Appears only once the work has lasted half a second.
class ProgressBar {
 public:
  /// `when` is auto, always or never; auto is a terminal on stderr.
  [[nodiscard]] static bool wanted(std::string_view when);

  ProgressBar() = default;
  ProgressBar(const ProgressBar&) = delete;
  ProgressBar& operator=(const ProgressBar&) = delete;
  ~ProgressBar();

  void show(const batch::Progress& now);

 private:
  Clock::time_point begin_ = Clock::now();
  bool shown_ = false;
};

}  // namespace runrig::cli
