#pragma once

namespace runrig::cli {

/// From now on the first SIGINT, SIGTERM or SIGHUP asks for an end: work stops, temporary files and segments are
/// removed, the exit code is 130. The second ends the process at once; what is left then goes with the resource
/// tracker or the next run.
void watch_interrupts();
/// How many such signals have come.
[[nodiscard]] int interrupt_count() noexcept;

}  // namespace runrig::cli
