#pragma once

#include <poll.h>

#include <span>

#include "runrig/sync/clock.hpp"

/// Waiting for descriptors.
namespace runrig::detail {

/// Fills in what is ready, and returns as soon as anything is, or at `deadline`. Interruptions by signals do not count.
/// Throws Error if the kernel cannot poll (no memory, more entries than descriptors allowed).
void poll_until(std::span<pollfd> entries, Deadline deadline);
/// Whether `fd` is readable or at its end, waiting until `deadline`.
[[nodiscard]] bool wait_readable(int fd, Deadline deadline);
/// Whether `fd` takes something or is broken, waiting until `deadline`.
[[nodiscard]] bool wait_writable(int fd, Deadline deadline);

}  // namespace runrig::detail
