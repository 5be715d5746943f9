// What can be asked of a process, before, while and after it runs.
#include <unistd.h>

#include <csignal>
#include <cstdio>

#include "example.hpp"

void sleep_long() { ::sleep(1000); }

int main(int argc, char** argv) {
  runrig::init(argc, argv);
  choose_start_method(argc, argv);

  runrig::Process process(sleep_long);
  std::printf("alive before start: %d\n", process.is_alive());
  process.start();
  std::printf("alive after start: %d\n", process.is_alive());
  process.terminate();
  process.join();
  std::printf("alive after join: %d\n", process.is_alive());
  std::printf("ended by SIGTERM: %d\n", process.exit_code() == -SIGTERM);
}
// prints: alive before start: 0
// prints: alive after start: 1
// prints: alive after join: 0
// prints: ended by SIGTERM: 1
