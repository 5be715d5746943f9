#pragma once

#include "runrig/runrig.hpp"

/// The examples run by every start method: `./counter spawn`.
inline void choose_start_method(int argc, char** argv) {
  if (argc > 1) runrig::set_start_method(runrig::start_method_from(argv[1]));
}
