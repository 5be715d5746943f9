#pragma once

#include "../process/foreign_code.hpp"
#include "../process/start_process.hpp"
#include "control_memory.hpp"
#include "runrig/engine/pool.hpp"

namespace runrig::detail {

/// What a template needs that is no copy of its parent, but a process that executes the program anew (spawn), or a copy
/// of such a one (forkserver).
///
/// It maps control memory and arena at the parent's addresses, because captures, arguments and task slots point into
/// them. Those places are chosen far from where programs have anything (Placement::apart); should the new process have
/// something there nevertheless, it says so and another one is started, whose addresses are random once more. Addresses
/// of code are the parent's, too, and are looked up by the parent's list of modules.
struct ForeignTemplateSetup {
  const PoolOptions& options;
  StartMethod method;
  const ControlMemory& memory;
  int workers;
  int command_fd;  ///< as in TemplateSetup
  int alive_fd;
  const ModuleSnapshot& modules;  ///< of this process
};

/// Throws std::logic_error if the initializer cannot cross, or runrig::init() was not called; Error.
[[nodiscard]] NewProcess start_foreign_template(const ForeignTemplateSetup& setup);

}  // namespace runrig::detail
