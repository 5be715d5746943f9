// A counter that many processes increase. Reading and writing it are two steps: the lock makes them one.
#include <cstdio>
#include <mutex>
#include <vector>

#include "example.hpp"

void count(const runrig::Value<int>& counter) {
  for (int i = 0; i < 1000; ++i) {
    const std::lock_guard guard(counter.get_lock());
    counter.set(counter.get() + 1);
  }
}

int main(int argc, char** argv) {
  runrig::init(argc, argv);
  choose_start_method(argc, argv);

  const runrig::Value<int> counter(0);
  std::vector<runrig::Process> processes;
  for (int i = 0; i < 8; ++i) processes.emplace_back(count, counter).start();
  for (auto& each : processes) each.join();
  std::printf("%d\n", counter.get());
}
// prints: 8000
