set(engine_kernel_sources)
set(engine_kernel_headers)
