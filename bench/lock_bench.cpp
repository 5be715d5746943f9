// What a lock costs: alone, fought over by two processes, and when its holder is killed; and what it costs two
// processes to wait for each other. The peers lie in the same kind of memory and are measured in the same run. Of the
// locks only `Lock`, `RLock`, `RobustSemaphore` and the robust mutex survive their holder; of the others only ours
// survive a waiter.

#include <benchmark/benchmark.h>
#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <boost/interprocess/sync/interprocess_mutex.hpp>
#include <mutex>
#include <new>
#include <optional>
#include <vector>

#include "runrig/sync/barrier.hpp"
#include "runrig/sync/condition.hpp"
#include "runrig/sync/lock.hpp"
#include "runrig/sync/robust_semaphore.hpp"
#include "runrig/sync/semaphore.hpp"

namespace runrig {
namespace {

// A T in memory shared with forked children.
template <class T>
class Shared {
 public:
  Shared() {
    void* memory = ::mmap(nullptr, sizeof(T), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED) check_errno(-1, "map", "benchmark");
    object_ = ::new (memory) T;
  }
  Shared(const Shared&) = delete;
  Shared& operator=(const Shared&) = delete;
  ~Shared() {
    object_->~T();
    ::munmap(static_cast<void*>(object_), sizeof(T));
  }
  T* operator->() const noexcept { return object_; }

 private:
  T* object_;
};

// A forked child; killed at the end of the scope.
class Child {
 public:
  template <class Body>
  explicit Child(Body body) : pid_(check_errno(::fork(), "fork", "benchmark")) {
    if (pid_ == 0) {
      body();
      ::_exit(0);
    }
  }
  Child(const Child&) = delete;
  Child& operator=(const Child&) = delete;
  ~Child() {
    kill();
    ::waitpid(pid_, nullptr, 0);
  }
  void kill() const { ::kill(pid_, SIGKILL); }

 private:
  pid_t pid_;
};

template <int robust>
class PthreadMutex {
 public:
  PthreadMutex() {
    pthread_mutexattr_t attributes;
    check_code(::pthread_mutexattr_init(&attributes), "initialise", "mutex attributes");
    check_code(::pthread_mutexattr_setpshared(&attributes, PTHREAD_PROCESS_SHARED), "share", "mutex");
    check_code(::pthread_mutexattr_setrobust(&attributes, robust), "make robust", "mutex");
    check_code(::pthread_mutex_init(&mutex_, &attributes), "initialise", "mutex");
    ::pthread_mutexattr_destroy(&attributes);
  }
  void lock() { ::pthread_mutex_lock(&mutex_); }
  void unlock() { ::pthread_mutex_unlock(&mutex_); }
  pthread_mutex_t* native_handle() { return &mutex_; }

 private:
  pthread_mutex_t mutex_;
};

class PosixSemaphore {
 public:
  PosixSemaphore() { check_errno(::sem_init(&semaphore_, 1, 1), "initialise", "semaphore"); }
  void lock() {
    while (::sem_wait(&semaphore_) == -1) {  // EINTR
    }
  }
  void unlock() { ::sem_post(&semaphore_); }

 private:
  sem_t semaphore_;
};

using StallingPthreadMutex = PthreadMutex<PTHREAD_MUTEX_STALLED>;
using RobustPthreadMutex = PthreadMutex<PTHREAD_MUTEX_ROBUST>;

// A condition and its lock, in our vocabulary.
class PthreadCondition {
 public:
  PthreadCondition() {
    pthread_condattr_t attributes;
    check_code(::pthread_condattr_init(&attributes), "initialise", "condition attributes");
    check_code(::pthread_condattr_setpshared(&attributes, PTHREAD_PROCESS_SHARED), "share", "condition");
    check_code(::pthread_cond_init(&condition_, &attributes), "initialise", "condition");
    ::pthread_condattr_destroy(&attributes);
  }
  void lock() { mutex_.lock(); }
  void unlock() { mutex_.unlock(); }
  template <class Predicate>
  void wait_for(Predicate predicate) {
    while (!predicate()) ::pthread_cond_wait(&condition_, mutex_.native_handle());
  }
  void notify() { ::pthread_cond_signal(&condition_); }

 private:
  StallingPthreadMutex mutex_;
  pthread_cond_t condition_;
};

class PthreadBarrier {
 public:
  explicit PthreadBarrier(unsigned parties) {
    pthread_barrierattr_t attributes;
    check_code(::pthread_barrierattr_init(&attributes), "initialise", "barrier attributes");
    check_code(::pthread_barrierattr_setpshared(&attributes, PTHREAD_PROCESS_SHARED), "share", "barrier");
    check_code(::pthread_barrier_init(&barrier_, &attributes, parties), "initialise", "barrier");
    ::pthread_barrierattr_destroy(&attributes);
  }
  void wait() { ::pthread_barrier_wait(&barrier_); }

 private:
  pthread_barrier_t barrier_;
};

using BoostMutex = boost::interprocess::interprocess_mutex;

template <class AnyLock>
void BM_Alone(benchmark::State& state) {
  struct Guarded {
    AnyLock lock;
    std::int64_t count = 0;
  };
  const Shared<Guarded> guarded;
  for (auto _ : state) {
    guarded->lock.lock();
    guarded->count = guarded->count + 1;
    guarded->lock.unlock();
  }
  if (guarded->count != state.iterations()) state.SkipWithError("lost a count");
  state.SetItemsProcessed(state.iterations());
}

// Items are critical sections of both processes together.
template <class AnyLock>
void BM_TwoProcesses(benchmark::State& state) {
  struct Guarded {
    alignas(cache_line) AnyLock lock;
    volatile std::int64_t count = 0;
    alignas(cache_line) std::atomic<bool> started{false};
    std::atomic<bool> stop{false};
    std::atomic<std::int64_t> others{0};  // written once, when the other stops
    std::atomic<bool> stopped{false};
  };
  const Shared<Guarded> guarded;
  const auto once = [&] {
    guarded->lock.lock();
    guarded->count = guarded->count + 1;
    guarded->lock.unlock();
  };
  const Child other([&] {
    std::int64_t done = 0;
    guarded->started = true;
    for (; !guarded->stop.load(std::memory_order_relaxed); ++done) once();
    guarded->others = done;
    guarded->stopped = true;
  });
  while (!guarded->started) ::usleep(100);
  const auto before = Clock::now();
  std::int64_t others_before = guarded->count;
  for (auto _ : state) once();
  const std::chrono::duration<double> took = Clock::now() - before;
  const std::int64_t total = guarded->count;
  guarded->stop = true;
  while (!guarded->stopped) ::usleep(100);
  if (guarded->count != state.iterations() + guarded->others) state.SkipWithError("lost a count");
  state.counters["sections_per_second"] = static_cast<double>(total - others_before) / took.count();
  state.counters["share_of_this_process"] =
      static_cast<double>(state.iterations()) / static_cast<double>(total - others_before);
}

// A token that goes to another process and back. An item is a round trip.
template <class AnyCondition>
void BM_ConditionRoundTrip(benchmark::State& state) {
  struct Guarded {
    AnyCondition condition;
    std::int64_t turn = 0;
  };
  const Shared<Guarded> guarded;
  const auto play = [&](int parity) {
    const std::lock_guard guard(guarded->condition);
    guarded->condition.wait_for([&] { return guarded->turn % 2 == parity; });
    ++guarded->turn;
    guarded->condition.notify();
  };
  const Child other([&] {
    for (;;) play(1);
  });
  for (auto _ : state) play(0);
  if (guarded->turn / 2 < state.iterations() - 1) state.SkipWithError("lost a turn");
  state.SetItemsProcessed(state.iterations());
}

// Two processes meet, again and again.
template <class AnyBarrier>
void BM_Meet(benchmark::State& state) {
  struct Guarded {
    AnyBarrier barrier{2};
    std::atomic<std::int64_t> met{0};
  };
  const Shared<Guarded> guarded;
  const Child other([&] {
    for (;;) {
      guarded->barrier.wait();
      guarded->met.fetch_add(1, std::memory_order_relaxed);
    }
  });
  for (auto _ : state) guarded->barrier.wait();
  if (guarded->met < state.iterations() - 1) state.SkipWithError("met nobody");
  state.SetItemsProcessed(state.iterations());
}

// From SIGKILL of the holder to OwnerDied in a process that has been waiting for it, for about so many milliseconds:
// anywhere between two of its looks.
template <class AnyLock>
void BM_KillToOwnerDied(benchmark::State& state) {
  std::vector<double> milliseconds;
  for (auto _ : state) {
    struct Guarded {
      AnyLock lock;
      std::atomic<bool> held{false};
      std::atomic<std::int64_t> killed_at{0};
    };
    const Shared<Guarded> guarded;
    const Child holder([&] {
      guarded->lock.lock();
      guarded->held = true;
      for (;;) ::pause();
    });
    while (!guarded->held) ::usleep(100);
    const Child killer([&] {
      const auto shortest = static_cast<useconds_t>(1000 * state.range(0));
      ::usleep(shortest + static_cast<useconds_t>(7919 * milliseconds.size()) % std::min(shortest, useconds_t{50'000}));
      guarded->killed_at = Clock::now().time_since_epoch().count();
      holder.kill();
    });
    try {
      guarded->lock.lock();
      state.SkipWithError("took the lock of the dead");
    } catch (const OwnerDied&) {
      const Clock::time_point killed(Clock::duration(guarded->killed_at.load()));
      const std::chrono::duration<double> took = Clock::now() - killed;
      state.SetIterationTime(took.count());
      milliseconds.push_back(1e3 * took.count());
    }
  }
  std::sort(milliseconds.begin(), milliseconds.end());
  state.counters["median_ms"] = milliseconds[milliseconds.size() / 2];
  state.counters["p99_ms"] = milliseconds[milliseconds.size() * 99 / 100];
}

BENCHMARK(BM_Alone<Lock>)->Name("alone/runrig::Lock");
BENCHMARK(BM_Alone<RLock>)->Name("alone/runrig::RLock");
BENCHMARK(BM_Alone<Semaphore>)->Name("alone/runrig::Semaphore");
BENCHMARK(BM_Alone<RobustSemaphore>)->Name("alone/runrig::RobustSemaphore");
BENCHMARK(BM_Alone<StallingPthreadMutex>)->Name("alone/pthread_mutex");
BENCHMARK(BM_Alone<RobustPthreadMutex>)->Name("alone/pthread_mutex_robust");
BENCHMARK(BM_Alone<PosixSemaphore>)->Name("alone/sem_t");
BENCHMARK(BM_Alone<BoostMutex>)->Name("alone/boost::interprocess_mutex");
// Real time: the other process's CPU time is not counted here.
BENCHMARK(BM_TwoProcesses<Lock>)->Name("two_processes/runrig::Lock")->UseRealTime();
BENCHMARK(BM_TwoProcesses<RLock>)->Name("two_processes/runrig::RLock")->UseRealTime();
BENCHMARK(BM_TwoProcesses<Semaphore>)->Name("two_processes/runrig::Semaphore")->UseRealTime();
BENCHMARK(BM_TwoProcesses<RobustSemaphore>)->Name("two_processes/runrig::RobustSemaphore")->UseRealTime();
BENCHMARK(BM_TwoProcesses<StallingPthreadMutex>)->Name("two_processes/pthread_mutex")->UseRealTime();
BENCHMARK(BM_TwoProcesses<RobustPthreadMutex>)->Name("two_processes/pthread_mutex_robust")->UseRealTime();
BENCHMARK(BM_TwoProcesses<PosixSemaphore>)->Name("two_processes/sem_t")->UseRealTime();
BENCHMARK(BM_TwoProcesses<BoostMutex>)->Name("two_processes/boost::interprocess_mutex")->UseRealTime();
BENCHMARK(BM_ConditionRoundTrip<Condition<Lock>>)->Name("round_trip/runrig::Condition")->UseRealTime();
BENCHMARK(BM_ConditionRoundTrip<PthreadCondition>)->Name("round_trip/pthread_cond")->UseRealTime();
BENCHMARK(BM_Meet<Barrier>)->Name("meet/runrig::Barrier")->UseRealTime();
BENCHMARK(BM_Meet<PthreadBarrier>)->Name("meet/pthread_barrier")->UseRealTime();
// Manual time: only from the kill on; each turn also waits for the waiter to be asleep.
BENCHMARK(BM_KillToOwnerDied<Lock>)
    ->Name("kill_to_OwnerDied/runrig::Lock")
    ->ArgName("waited_ms")
    ->Arg(2)
    ->Arg(20)
    ->Arg(200)
    ->UseManualTime()
    ->Unit(benchmark::kMillisecond)
    ->Iterations(100);
BENCHMARK(BM_KillToOwnerDied<RLock>)
    ->Name("kill_to_OwnerDied/runrig::RLock")
    ->ArgName("waited_ms")
    ->Arg(2)
    ->UseManualTime()
    ->Unit(benchmark::kMillisecond)
    ->Iterations(100);

}  // namespace
}  // namespace runrig

BENCHMARK_MAIN();
