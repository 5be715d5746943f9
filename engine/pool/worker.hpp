#pragma once

#include <sys/types.h>

#include <cstddef>
#include <functional>
#include <string>

#include "control.hpp"
#include "runrig/engine/pool.hpp"

namespace runrig::detail {

/// Segments that this worker has mapped, so that an array is mapped once and not at each launch. See segments.hpp for
/// how the parent has them dropped.
class WorkerSegments;
class ForeignCode;

/// All that is private to one worker process.
struct WorkerState {
  ControlView view;
  int index = 0;
  LocalLaunch launch;
  std::byte* scratch = nullptr;
  std::size_t scratch_bytes = 0;
  WorkerSegments* segments = nullptr;
  ForeignCode* foreign = nullptr;  // none: code is where the parent has it
  bool leaving = false;            // SliceContext::retire() was called, or it has run as many tasks as it should
  int tasks_left = 0;              // until then; 0: no limit
  bool spins = false;              // for a moment before it sleeps: there are processors enough

  [[nodiscard]] WorkerSlot& slot() const noexcept { return view.slots[index]; }
};

class SliceContextAccess {
 public:
  [[nodiscard]] static SliceContext make(WorkerState& state, std::uint32_t slice, int attempt) noexcept {
    return {state, slice, state.index, attempt};
  }
  [[nodiscard]] static WorkerState& state(const SliceContext& context) noexcept { return context.state_; }
};

/// What a worker is made with.
struct WorkerSetup {
  ControlView view;
  int index = 0;
  pid_t template_pid = 0;  ///< as the parent of this worker
  int alive_fd = -1;       ///< held open as long as it lives
  const PoolOptions* options = nullptr;
  ForeignCode* foreign = nullptr;
  pid_t owner_pid = 0;  ///< the pool's process, which is the workers' parent_process()
  std::string owner_name;
  bool spins = false;  ///< looks for work for a while before it sleeps
};

/// The life of a worker, from just after the fork.
[[noreturn]] void run_worker(const WorkerSetup& setup);

/// Called first in each template and worker; see runrig::in_worker_process().
void mark_worker_process() noexcept;

}  // namespace runrig::detail
