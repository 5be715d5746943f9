#pragma once

#include <sys/types.h>

#include <string>

#include "control.hpp"
#include "runrig/engine/pool.hpp"

namespace runrig::detail {

class ForeignCode;

/// What the template process is made with.
struct TemplateSetup {
  ControlView view;
  pid_t parent_pid = 0;
  int command_fd = -1;  ///< an eventfd: the parent has changed something that the template should look at
  int alive_fd = -1;    ///< the writing end of a pipe; the parent reads its end when all of ours are gone
  const PoolOptions* options = nullptr;
  std::string parent_name;
  ForeignCode* foreign = nullptr;  ///< of a template that is no copy of the parent: where the parent has code
};

/// The life of the template, from just after the fork: makes the workers, books and replaces those that die, kills
/// those over a limit, and ends them all when the parent says so or is gone.
[[noreturn]] void run_template(const TemplateSetup& setup);

}  // namespace runrig::detail
