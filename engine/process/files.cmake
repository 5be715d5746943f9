set(engine_process_sources process/child.cpp process/machine.cpp)
set(engine_process_headers include/runrig/engine/machine.hpp)
