#include "parallel_arena.hpp"

#include <oneapi/tbb/info.h>
#include <oneapi/tbb/parallel_for.h>
#include <oneapi/tbb/partitioner.h>
#include <oneapi/tbb/task_arena.h>

#include <algorithm>

namespace runrig::detail {

struct ThreadArena::Impl {
  // More threads than that it would not use, and would print a warning about.
  explicit Impl(int threads) : arena(std::min(threads, oneapi::tbb::info::default_concurrency())) {}
  oneapi::tbb::task_arena arena;
};

ThreadArena::ThreadArena(int threads) : impl_(std::make_unique<Impl>(threads)) {}
ThreadArena::~ThreadArena() = default;

void ThreadArena::run(int loops, void (*loop)(void* context) noexcept, void* context) {
  impl_->arena.execute([&] {
    oneapi::tbb::parallel_for(
        0, loops, [&](int) { loop(context); }, oneapi::tbb::simple_partitioner());
  });
}

}  // namespace runrig::detail
