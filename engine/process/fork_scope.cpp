#include "fork_scope.hpp"

#include <unistd.h>

#include <cstdio>
#include <iostream>
#include <stdexcept>
#include <string>

namespace runrig::detail {

void flush_standard_streams() noexcept {
  std::fflush(stdout);
  std::fflush(stderr);
  // Does nothing unless the program took them out of step with stdio.
  std::cout.flush();
  std::clog.flush();
}

ForkScope::ForkScope(std::string_view attempted, std::string_view instead, OtherThreads other_threads) {
  if (other_threads == OtherThreads::refuse) {
    if (const int threads = program_thread_count(); threads > 1) {
      throw std::logic_error(std::string(attempted) + ": this process has " + std::to_string(threads) +
                             " threads, and a fork would copy the locks that they hold; " + std::string(instead) +
                             ", or set other_threads to allow");
    }
  }
  gate_.emplace();
  flush_standard_streams();
  signals_.emplace();
}

int ForkScope::fork() noexcept { return ::fork(); }

}  // namespace runrig::detail
