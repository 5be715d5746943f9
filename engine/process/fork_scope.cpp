#include "fork_scope.hpp"

#include <stdio_ext.h>
#include <unistd.h>
#include <ext/stdio_sync_filebuf.h>

#include <cstdio>
#include <iostream>
#include <stdexcept>
#include <string>
#include <typeinfo>

namespace runrig::detail {
namespace {

// Looking first is much cheaper than flushing nothing, which writes to the stream nevertheless: in a forked child that
// is a page to be copied.
void flush_if_needed(std::FILE* file) noexcept {
  if (::__fpending(file) > 0) std::fflush(file);
}

void flush_if_needed(std::ostream& stream) noexcept {
  const std::streambuf* const buffer = stream.rdbuf();
  // In step with stdio, as all are unless the program says otherwise: it has nothing of its own.
  if (buffer == nullptr || typeid(*buffer) == typeid(__gnu_cxx::stdio_sync_filebuf<char>)) return;
  stream.flush();
}

}  // namespace

void flush_standard_streams() noexcept {
  flush_if_needed(stdout);
  flush_if_needed(stderr);
  flush_if_needed(std::cout);
  flush_if_needed(std::clog);
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
