#pragma once

#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cstdlib>
#include <filesystem>
#include <memory>
#include <string>
#include <system_error>
#include <vector>

#include "runrig/channel/connection.hpp"
#include "support.hpp"

/// Real Python programs at the other end of a connection.
namespace runrig::test {

/// Each Python that is installed and has the module, the one that `python_with` finds first: those in PATH by the names
/// of their versions, and those of pyenv, whose names in PATH are bound to one version.
inline std::vector<std::string> all_pythons(std::string_view modules = "multiprocessing.connection") {
  std::vector<std::string> found;
  if (const auto usual = python_with(modules)) found.push_back(*usual);
  const auto is_one = [&](const std::string& python, int minor) {
    const auto tried =
        run_command({python, "-c", "import " + std::string(modules) + ", sys; print(sys.version_info[1])"});
    return tried.exit_code == 0 && tried.out == std::to_string(minor) + "\n";
  };
  std::vector<std::filesystem::path> folders{""};
  const char* home = std::getenv("HOME");
  const char* pyenv = std::getenv("PYENV_ROOT");
  if (pyenv != nullptr || home != nullptr) {
    const auto root = pyenv != nullptr ? std::filesystem::path(pyenv) : std::filesystem::path(home) / ".pyenv";
    std::error_code none;  // no such folder: no Python there
    for (const auto& each : std::filesystem::directory_iterator(root / "versions", none)) {
      folders.push_back(each.path() / "bin");
    }
  }
  for (int minor = 8; minor < 20; ++minor) {
    const std::string name = "python3." + std::to_string(minor);
    for (const auto& folder : folders) {
      const std::string python = folder / name;
      if ((folder.empty() || std::filesystem::exists(python)) && is_one(python, minor)) {
        found.push_back(python);
        break;
      }
    }
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
