set(engine_pool_sources)
set(engine_pool_headers)
