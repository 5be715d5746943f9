#pragma once

#include <functional>
#include <string>
#include <string_view>

namespace runrig::cli {

/// "runrig: TEXT" on stderr, behind all that was printed.
void print_error(std::string_view text);

/// How a piece of the command ended.
struct End {
  int exit_code = 0;
  std::string error;  // one line; empty if it ended by itself
};
/// Calls `body`, which returns an exit code. What it throws becomes one, with a line that says why; nothing is printed.
[[nodiscard]] End run_guarded(const std::function<int()>& body);

}  // namespace runrig::cli
