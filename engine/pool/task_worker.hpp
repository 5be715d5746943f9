#pragma once

#include <cstdint>

#include "worker.hpp"

namespace runrig::detail {

/// Runs the next task, if there is one; false if there is none, or if this worker is to end.
bool run_one_task(WorkerState& state);

/// Waits until the bell has another number than `seen` or there are tasks: for a moment without sleeping, as what comes
/// next often comes at once.
void wait_for_work(WorkerState& state, std::uint32_t seen) noexcept;

}  // namespace runrig::detail
