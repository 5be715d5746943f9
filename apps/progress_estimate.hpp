#pragma once

#include <optional>

#include "runrig/batch/session.hpp"

namespace runrig::cli {

/// What can be said of the rest of the work. Files that were not looked at yet are taken to be as large as the others
/// are on the average.
struct ProgressEstimate {
  double part = 0;                     // done, from 0 to 1
  double bytes_per_second = 0;         // of arrays, since the beginning
  std::optional<double> seconds_left;  // none: nothing is done yet to judge by
};
[[nodiscard]] ProgressEstimate estimate(const batch::Progress& now, double seconds);

}  // namespace runrig::cli
