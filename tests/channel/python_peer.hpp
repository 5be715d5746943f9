#pragma once

#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <memory>
#include <string>
#include <vector>

#include "runrig/channel/connection.hpp"
#include "support.hpp"

/// Real Python programs at the other end of a connection.
namespace runrig::test {

/// Each Python that is installed and has the module, the one that `python_with` finds first.
inline std::vector<std::string> all_pythons(std::string_view modules = "multiprocessing.connection") {
  std::vector<std::string> found;
  if (const auto usual = python_with(modules)) found.push_back(*usual);
  for (int minor = 8; minor < 20; ++minor) {
    const std::string name = "python3." + std::to_string(minor);
    const auto tried = run_command({"sh", "-c",
                                    "command -v " + name + " && " + name + " -c 'import " + std::string(modules) +
                                        ", sys; print(sys.executable)'"});
    if (tried.exit_code == 0) found.push_back(name);
  }
  return found;
}

/// A Python program whose argument 1 is a descriptor and which has `c`, a Connection of it, beside a Connection here.
/// Its end is awaited, and must be a good one.
class PythonPeer {
 public:
  PythonPeer(const std::string& python, const std::string& program, Pipe pipe = Pipe()) : pipe_(std::move(pipe)) {
    const std::string whole =
        "import sys\nfrom multiprocessing.connection import Connection\n"
        "c = Connection(int(sys.argv[1]))\n" +
        program;
    const int fd = pipe_.second.fileno();
    child_ = std::make_unique<Child>([&] {
      ::fcntl(fd, F_SETFD, 0);
      const std::string number = std::to_string(fd);
      ::execlp(python.c_str(), python.c_str(), "-c", whole.c_str(), number.c_str(), nullptr);
      ::_exit(127);
    });
    pipe_.second.close();
  }
  PythonPeer(const PythonPeer&) = delete;
  PythonPeer& operator=(const PythonPeer&) = delete;
  ~PythonPeer() {
    pipe_.first.close();
    EXPECT_EQ(child_->join(std::chrono::seconds(60)), expected_exit) << "the Python program";
  }
  [[nodiscard]] Connection& connection() { return pipe_.first; }
  [[nodiscard]] Child& process() { return *child_; }
  int expected_exit = 0;

 private:
  Pipe pipe_;
  std::unique_ptr<Child> child_;
};

}  // namespace runrig::test

/// Runs what follows for each Python there is; skips the test if there is none.
#define RUNRIG_FOR_EACH_PYTHON(python, modules)                                         \
  const auto python##_all = ::runrig::test::all_pythons(modules);                       \
  if (python##_all.empty()) GTEST_SKIP() << "no Python with " << (modules) << " found"; \
  for (const std::string& python : python##_all)                                        \
    if (const ::testing::ScopedTrace python##_trace(__FILE__, __LINE__, python); true)
