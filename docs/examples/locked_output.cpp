// A lock sees to it that only one process prints at a time.
#include <cstdio>
#include <mutex>
#include <vector>

#include "example.hpp"

void greet(const runrig::Shared<runrig::Lock>& lock, int number) {
  const std::lock_guard guard(*lock);
  std::printf("hello world %d\n", number);
  std::fflush(stdout);
}

int main(int argc, char** argv) {
  runrig::init(argc, argv);
  choose_start_method(argc, argv);

  const runrig::Shared<runrig::Lock> lock;
  std::vector<runrig::Process> processes;
  for (int number = 0; number < 10; ++number) processes.emplace_back(greet, lock, number).start();
  for (auto& each : processes) each.join();
}
// prints in any order: hello world 0
// prints in any order: hello world 1
// prints in any order: hello world 2
// prints in any order: hello world 3
// prints in any order: hello world 4
// prints in any order: hello world 5
// prints in any order: hello world 6
// prints in any order: hello world 7
// prints in any order: hello world 8
// prints in any order: hello world 9
