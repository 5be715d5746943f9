#pragma once

#include <gtest/gtest.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <fstream>
#include <new>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "processes.hpp"
#include "runrig/engine/context.hpp"
#include "runrig/shm/shared_memory.hpp"
#include "support.hpp"

/// What the tests of processes share.
namespace runrig::test {

using namespace std::chrono_literals;

#if defined(__SANITIZE_THREAD__)
// The thread sanitizer keeps a thread of its own in each process.
inline constexpr OtherThreads sanitizer_threads = OtherThreads::allow;
#else
inline constexpr OtherThreads sanitizer_threads = OtherThreads::refuse;
#endif

inline ProcessOptions with_method(StartMethod method, ProcessOptions options = {}) {
  options.start_method = method;
  options.other_threads = sanitizer_threads;
  return options;
}

/// A test for each start method.
class EachStartMethod : public ::testing::TestWithParam<StartMethod> {
 protected:
  [[nodiscard]] static ProcessOptions options(ProcessOptions given = {}) {
    return with_method(GetParam(), std::move(given));
  }
  template <class... Args>
  [[nodiscard]] static Process make(Args... args) {
    return Process(options(), std::move(args)...);
  }
  /// The exit code of a child that runs this, or minus the signal's number.
  template <class... Args>
  [[nodiscard]] static int run(Args... args) {
    Process process = make(std::move(args)...);
    process.start();
    EXPECT_TRUE(process.join(30s)) << "the child was not done in time";
    if (process.is_alive()) {
      process.kill();
      process.join();
    }
    return process.exit_code().value_or(-1000);
  }
};

inline std::string method_name(const ::testing::TestParamInfo<StartMethod>& info) {
  return std::string(to_string(info.param));
}
#define RUNRIG_FOR_EACH_START_METHOD(Suite)                                                                   \
  INSTANTIATE_TEST_SUITE_P(Methods, Suite,                                                                    \
                           ::testing::Values(StartMethod::fork, StartMethod::spawn, StartMethod::forkserver), \
                           ::runrig::test::method_name)

/// Numbers that parent and children share; children of any start method find them by name.
class Board {
 public:
  static constexpr std::size_t places = 64;
  Board() : memory_(SharedMemory::create(unique_segment_name(), bytes)), name_(memory_.name()) {
    for (std::size_t i = 0; i < places; ++i) new (memory_.writable_bytes().data() + i * sizeof(Number)) Number(0);
  }
  explicit Board(const std::string& name) : memory_(SharedMemory::attach(name, Access::read_write)) {}
  Board(const Board&) = delete;
  Board& operator=(const Board&) = delete;
  ~Board() {
    if (!name_.empty()) memory_.unlink();
  }
  [[nodiscard]] const std::string& name() const { return name_; }
  using Number = std::atomic<std::int64_t>;
  [[nodiscard]] Number& operator[](std::size_t i) const {
    return reinterpret_cast<Number*>(memory_.writable_bytes().data())[i];
  }

 private:
  static constexpr std::size_t bytes = places * sizeof(std::atomic<std::int64_t>);
  SharedMemory memory_;
  std::string name_;
};

/// Resident memory of this process that it does not share with files, in KiB.
inline std::size_t own_memory_kib() {
  std::ifstream status("/proc/self/status");
  for (std::string line; std::getline(status, line);) {
    if (line.starts_with("RssAnon:")) return std::stoul(line.substr(8));
  }
  return 0;
}

/// In children: waits until somebody ends them. Bounded, so that no test leaves anything for long.
inline void sleep_long() { std::this_thread::sleep_for(60s); }

}  // namespace runrig::test
