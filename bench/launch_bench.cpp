// What a kernel launch costs: from the call in the parent until every slice is booked and the parent has woken.
#include <benchmark/benchmark.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <new>

#include "runrig/engine/pool.hpp"
#include "runrig/shm/anonymous_memory.hpp"
#include "runrig/sync/futex.hpp"

namespace runrig {
namespace {

void BM_EmptyLaunch(benchmark::State& state) {
  Pool pool(static_cast<int>(state.range(0)));
  LaunchOptions options;
  options.slices = static_cast<std::uint32_t>(state.range(1));
  for (auto _ : state) {
    Launch launch = pool.launch(options, [](SliceContext&) {});
    launch.wait();
  }
  if (pool.workers_lost() != 0) state.SkipWithError("a worker died");
  state.SetItemsProcessed(state.iterations() * state.range(1));
}
// Real time: the work runs in other processes, whose CPU time is not counted here.
BENCHMARK(BM_EmptyLaunch)->ArgNames({"workers", "slices"})->ArgsProduct({{1, 2}, {1, 2, 1000}})->UseRealTime();

// The limit: two parked processes that wake each other by futex, there and back.
void BM_FutexRoundTrip(benchmark::State& state) {
  AnonymousMemory memory = AnonymousMemory::create("bench-futex", 4096);
  auto* words = new (memory.writable_bytes().data()) std::atomic<std::uint32_t>[2] {};
  const pid_t child = ::fork();
  if (child == 0) {
    for (std::uint32_t turn = 0;; ++turn) {
      // Acquire and release, here and below: a message there and back, as a launch is one.
      while (words[0].load(std::memory_order_acquire) == turn) futex_wait(words[0], turn, Deadline());
      if (words[0].load(std::memory_order_relaxed) == UINT32_MAX) ::_exit(0);
      words[1].store(turn + 1, std::memory_order_release);
      futex_wake_all(words[1]);
    }
  }
  std::uint32_t turn = 0;
  for (auto _ : state) {
    words[0].store(++turn, std::memory_order_release);
    futex_wake_all(words[0]);
    while (words[1].load(std::memory_order_acquire) != turn) futex_wait(words[1], turn - 1, Deadline());
  }
  words[0].store(UINT32_MAX, std::memory_order_release);
  futex_wake_all(words[0]);
  ::waitpid(child, nullptr, 0);
}
BENCHMARK(BM_FutexRoundTrip)->UseRealTime();

// What it would cost without a pool: a process for the kernel.
void BM_ForkAndWait(benchmark::State& state) {
  for (auto _ : state) {
    const pid_t child = ::fork();
    if (child == 0) ::_exit(0);
    ::waitpid(child, nullptr, 0);
  }
}
BENCHMARK(BM_ForkAndWait)->UseRealTime();

}  // namespace
}  // namespace runrig

BENCHMARK_MAIN();
