#pragma once

#include <string_view>

#include "runrig/batch/session.hpp"
#include "runrig/sync/clock.hpp"

namespace runrig::cli {

/// `--progress json`: a line of JSON on stderr for each update, and a last one. The fields are in docs/batch.md.
class ProgressLines {
 public:
  void show(const batch::Progress& now);
  /// The last line: `event` is "end", with how the command ended.
  void end(int exit_code);

 private:
  void print(std::string_view event, std::string_view more);

  Clock::time_point begin_ = Clock::now();
  batch::Progress last_;
};

}  // namespace runrig::cli
