// What a task costs: dispatch and result of calls that do nothing, and the time from a worker's death to its report.
// bench/pool_bench.py measures Python's pools the same way.
#include <benchmark/benchmark.h>
#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <new>
#include <numeric>
#include <span>
#include <thread>
#include <utility>
#include <vector>

#include "futex_round_trip.hpp"
#include "runrig/engine/pool.hpp"

namespace runrig {
namespace {

constexpr int workers = 2;

void nothing() {}
int same(int number) { return number; }

BENCHMARK(bench::futex_round_trip)->Name("BM_FutexRoundTrip")->UseRealTime();

void BM_Apply(benchmark::State& state) {
  Pool pool(workers);
  for (auto _ : state) pool.apply(nothing);
  if (pool.workers_lost() != 0) state.SkipWithError("a worker died");
}
BENCHMARK(BM_Apply)->UseRealTime();

// After a pause in which everybody went to sleep; the pause is not counted.
void BM_ApplyToSleepers(benchmark::State& state) {
  Pool pool(workers);
  for (auto _ : state) {
    std::this_thread::sleep_for(std::chrono::milliseconds(2));
    const auto start = Clock::now();
    pool.apply(nothing);
    state.SetIterationTime(std::chrono::duration<double>(Clock::now() - start).count());
  }
}
BENCHMARK(BM_ApplyToSleepers)->UseManualTime()->Iterations(500);

void BM_Map1000(benchmark::State& state) {
  Pool pool(workers);
  std::vector<int> items(1000);
  std::iota(items.begin(), items.end(), 0);
  MapOptions options;
  options.chunk_size = static_cast<std::size_t>(state.range(0));
  for (auto _ : state) {
    if (pool.map(same, items, options) != items) state.SkipWithError("wrong result");
  }
  state.SetItemsProcessed(state.iterations() * 1000);
}
BENCHMARK(BM_Map1000)->ArgName("chunk")->Arg(1)->Arg(0)->UseRealTime();

void BM_Imap1000(benchmark::State& state) {
  Pool pool(workers);
  std::vector<int> items(1000);
  std::iota(items.begin(), items.end(), 0);
  for (auto _ : state) {
    int expected = 0;
    for (const int each : pool.imap(same, std::span(items))) {
      if (each != expected++) state.SkipWithError("wrong result");
    }
  }
  state.SetItemsProcessed(state.iterations() * 1000);
}
BENCHMARK(BM_Imap1000)->UseRealTime();

void BM_ApplyAsync1000(benchmark::State& state) {
  Pool pool(workers);
  for (auto _ : state) {
    std::vector<AsyncResult<int>> results;
    results.reserve(1000);
    for (int i = 0; i < 1000; ++i) results.push_back(pool.apply_async(same, i));
    for (int i = 0; i < 1000; ++i) {
      if (results[static_cast<std::size_t>(i)].get() != i) state.SkipWithError("wrong result");
    }
  }
  state.SetItemsProcessed(state.iterations() * 1000);
}
BENCHMARK(BM_ApplyAsync1000)->UseRealTime();

// From kill() to WorkerLost in the caller: median and 99th percentile, in microseconds.
void BM_KillToWorkerLost(benchmark::State& state) {
  Pool pool(workers);
  const ArenaBlock block = pool.arena().allocate(sizeof(std::atomic<pid_t>));
  auto* const victim = new (block.data()) std::atomic<pid_t>(0);
  std::vector<double> times;
  for (auto _ : state) {
    victim->store(0);
    auto task = pool.apply_async([victim] {
      victim->store(::getpid());
      for (;;) ::pause();
    });
    while (victim->load() == 0) std::this_thread::yield();
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
    const auto start = Clock::now();
    ::kill(victim->load(), SIGKILL);
    try {
      task.get();
      state.SkipWithError("the task ended");
    } catch (const WorkerLost&) {
    }
    const double seconds = std::chrono::duration<double>(Clock::now() - start).count();
    state.SetIterationTime(seconds);
    times.push_back(seconds * 1e6);
  }
  std::sort(times.begin(), times.end());
  state.counters["median_us"] = times[times.size() / 2];
  state.counters["p99_us"] = times[times.size() * 99 / 100];
}
BENCHMARK(BM_KillToWorkerLost)->UseManualTime()->Iterations(300);

// From kill() of the only worker to the result of a task by the one that takes its place.
void BM_KillToNextResult(benchmark::State& state) {
  Pool pool(1);
  std::vector<double> times;
  pid_t worker = pool.apply([] { return ::getpid(); });
  for (auto _ : state) {
    const auto start = Clock::now();
    ::kill(worker, SIGKILL);
    const pid_t next = pool.apply([] { return ::getpid(); });
    const double seconds = std::chrono::duration<double>(Clock::now() - start).count();
    if (std::exchange(worker, next) == next) state.SkipWithError("it was not killed");
    state.SetIterationTime(seconds);
    times.push_back(seconds * 1e6);
  }
  std::sort(times.begin(), times.end());
  state.counters["median_us"] = times[times.size() / 2];
  state.counters["p99_us"] = times[times.size() * 99 / 100];
}
BENCHMARK(BM_KillToNextResult)->UseManualTime()->Iterations(300);

}  // namespace
}  // namespace runrig

BENCHMARK_MAIN();
