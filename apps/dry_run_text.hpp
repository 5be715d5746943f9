#pragma once

#include "common.hpp"
#include "run.hpp"
#include "runrig/batch/dry_run.hpp"

namespace runrig::cli {

/// Makes the plan by `plan(session)`, prints it as text or JSON, and returns the exit code.
[[nodiscard]] int print_dry_run(Run& run, bool json, const std::function<batch::DryRun(batch::Session&)>& plan);

}  // namespace runrig::cli
