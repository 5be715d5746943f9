#pragma once

#include <benchmark/benchmark.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <cstdint>
#include <new>

#include "runrig/shm/anonymous_memory.hpp"
#include "runrig/sync/error.hpp"
#include "runrig/sync/futex.hpp"

namespace runrig::bench {

/// The limit for whatever crosses to another process and back: two parked processes that wake each other by futex.
inline void futex_round_trip(benchmark::State& state) {
  AnonymousMemory memory = AnonymousMemory::create("bench-futex", 4096);
  auto* words = new (memory.writable_bytes().data()) std::atomic<std::uint32_t>[2] {};
  const pid_t child = check_errno(::fork(), "fork", "bench");
  if (child == 0) {
    for (std::uint32_t turn = 0;; ++turn) {
      // Acquire and release, here and below: a message there and back, as a launch or a task is one.
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

}  // namespace runrig::bench
