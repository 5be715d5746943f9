set(engine_process_sources
  process/captures.cpp
  process/child.cpp
  process/failure_text.cpp
  process/machine.cpp
  process/modules.cpp)
set(engine_process_headers
  include/runrig/engine/machine.hpp)
