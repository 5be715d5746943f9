// What a kernel launch costs: from the call in the parent until every slice is booked and the parent has woken.
#include <benchmark/benchmark.h>
#include <sys/wait.h>
#include <unistd.h>

#include "futex_round_trip.hpp"
#include "runrig/engine/pool.hpp"

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

BENCHMARK(bench::futex_round_trip)->Name("BM_FutexRoundTrip")->UseRealTime();

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
