// A process that is started, and joined; and who is whose child.
#include <unistd.h>

#include <cstdio>
#include <string>

#include "example.hpp"

void greet(const std::string& name, int main_pid) {
  const bool child_of_main = runrig::parent_process()->pid() == main_pid;
  std::printf("%s: hello %s; my parent is %s\n", runrig::current_process().name().c_str(), name.c_str(),
              child_of_main ? "the main process" : "somebody else");
}

int main(int argc, char** argv) {
  runrig::init(argc, argv);
  choose_start_method(argc, argv);

  std::printf("%s\n", runrig::current_process().name().c_str());
  runrig::Process process(greet, std::string("bob"), static_cast<int>(::getpid()));
  process.start();
  process.join();
  std::printf("exit code %d\n", process.exit_code().value());
}
// prints: MainProcess
// prints: Process-1: hello bob; my parent is the main process
// prints: exit code 0
