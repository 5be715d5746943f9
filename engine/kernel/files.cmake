set(engine_kernel_sources kernel/array_statistics.cpp kernel/complex_functions.cpp kernel/evaluate.cpp kernel/evaluate_program.cpp
  kernel/evaluate_reduction.cpp kernel/expression_bind.cpp kernel/expression_complex.cpp kernel/expression_functions.cpp
  kernel/expression_literal.cpp kernel/expression_operations.cpp kernel/expression_parser.cpp kernel/expression_text.cpp kernel/expression_types.cpp
  kernel/histogram.cpp kernel/level.cpp kernel/loops_baseline.cpp kernel/parallel.cpp kernel/parallel_arena.cpp
  kernel/parallel_threads.cpp kernel/program.cpp kernel/program_builder.cpp kernel/program_fusion.cpp kernel/quantile.cpp kernel/reduction.cpp
  kernel/reduction_axes.cpp kernel/reduction_baseline.cpp kernel/reduction_complex.cpp kernel/reduction_sequences.cpp kernel/statistics.cpp
  kernel/statistics_baseline.cpp)
set(engine_kernel_headers include/runrig/engine/evaluate.hpp include/runrig/engine/expression.hpp
  include/runrig/engine/parallel.hpp include/runrig/engine/parallel_detail.hpp include/runrig/engine/quantile.hpp include/runrig/engine/reduction.hpp
  include/runrig/engine/statistics.hpp include/runrig/engine/threads.hpp include/runrig/engine/transfer_eigen.hpp)

if(RUNRIG_SANITIZE MATCHES thread)  # see parallel_arena.hpp
  set_source_files_properties(kernel/parallel_arena.cpp PROPERTIES COMPILE_OPTIONS -fno-sanitize=thread)
endif()

# The inner loops live from vector instructions, which -O2 of GCC 12 does not make. None of these options changes a
# result: they drop errno and traps that nobody looks at, and scalar steps before a vector loop, which would treat the
# first elements of a slice by other instructions than the rest. Loops are unrolled after the order of operands is
# settled, which of two NaNs decides the result: all copies are alike, as those of earlier passes are not.
set(kernel_loop_options -O3 -fno-math-errno -fno-trapping-math
  "$<$<CXX_COMPILER_ID:GNU>:--param=vect-max-peeling-for-alignment=0;-funroll-loops;--param=max-unroll-times=4>")
set_source_files_properties(kernel/histogram.cpp kernel/loops_baseline.cpp kernel/reduction_baseline.cpp
  kernel/reduction_complex.cpp kernel/statistics.cpp kernel/statistics_baseline.cpp PROPERTIES COMPILE_OPTIONS "${kernel_loop_options}")
if(CMAKE_SYSTEM_PROCESSOR MATCHES "^(x86_64|amd64|AMD64)$")
  # The same loops for wider vectors; which of them run is decided by the machine at run time.
  set(level_v2_options -msse4.2)
  set(level_v3_options -mavx2 -mfma)
  set(level_v4_options -mavx512f -mavx512dq -mavx512bw -mavx512vl -mfma -mprefer-vector-width=512)
  foreach(level v2 v3 v4)
    set(level_sources kernel/loops_${level}.cpp kernel/reduction_${level}.cpp kernel/statistics_${level}.cpp)
    list(APPEND engine_kernel_sources ${level_sources})
    set_source_files_properties(${level_sources} PROPERTIES
      COMPILE_OPTIONS "${kernel_loop_options};${level_${level}_options}")
  endforeach()
endif()

if(RUNRIG_FUZZ)  # fuzzers reach no kernel, whose vectors are GCC's and not clang's
  set(engine_kernel_sources)
endif()
