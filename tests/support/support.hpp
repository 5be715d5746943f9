#pragma once

#include <gtest/gtest.h>

#include <chrono>
#include <filesystem>
#include <functional>
#include <optional>
#include <string>
#include <system_error>

#include "runrig/sync/error.hpp"

/// What the tests of all rooms share.
namespace runrig::test {

/// A segment name that no other test, run or machine user has: "runrig-test-<pid>-<counter>-<random>".
[[nodiscard]] std::string unique_segment_name();

/// The code of the runrig::Error (or std::system_error) that `call` throws; no code if it throws nothing.
[[nodiscard]] std::error_code thrown_code(const std::function<void()>& call);
/// what() of the exception that `call` throws; empty if it throws nothing.
[[nodiscard]] std::string thrown_text(const std::function<void()>& call);

/// Runs `body` in a forked child, which leaves with _exit(0), or with 1 and its text on stderr when `body` throws
/// or a gtest expectation failed in it. Returns the exit code, or minus the signal's number. A child that is not
/// done within `limit` is killed and fails the test.
int run_in_child(const std::function<void()>& body, std::chrono::milliseconds limit = std::chrono::seconds(30));

/// A forked child that runs beside the test; killed and reaped at the end of the scope if it still lives.
class Child {
 public:
  explicit Child(const std::function<void()>& body);
  Child(const Child&) = delete;
  Child& operator=(const Child&) = delete;
  ~Child();
  [[nodiscard]] int pid() const noexcept { return pid_; }
  void signal(int number) const;
  /// Waits for the end: exit code, or minus the signal's number; none at the deadline.
  std::optional<int> join(std::chrono::milliseconds limit = std::chrono::seconds(30));

 private:
  int pid_ = -1;
  std::optional<int> result_;
};

/// Calls `condition` until it is true or `limit` has passed; returns the last answer.
bool eventually(const std::function<bool()>& condition, std::chrono::milliseconds limit = std::chrono::seconds(10));

/// A new empty directory, removed with all it holds at the end of the scope.
class TemporaryDirectory {
 public:
  TemporaryDirectory();
  TemporaryDirectory(const TemporaryDirectory&) = delete;
  TemporaryDirectory& operator=(const TemporaryDirectory&) = delete;
  ~TemporaryDirectory();
  [[nodiscard]] const std::filesystem::path& path() const noexcept { return path_; }
  [[nodiscard]] std::filesystem::path operator/(std::string_view name) const { return path_ / name; }

 private:
  std::filesystem::path path_;
};

/// What a finished command left: exit code (minus the signal's number if killed), and what it printed.
struct CommandResult {
  int exit_code = 0;
  std::string out;
  std::string err;
};
/// Runs `argv` (no shell; argv[0] is searched in PATH) with `input` on its standard input; killed, with its whole
/// process group, at `limit`, which also fails the test.
CommandResult run_command(const std::vector<std::string>& argv, std::string_view input = {},
                          std::chrono::milliseconds limit = std::chrono::seconds(120),
                          const std::vector<std::string>& extra_environment = {});

/// A Python interpreter that has NumPy (and h5py, where asked for): found by trying RUNRIG_TEST_PYTHON, python3 in
/// PATH, /usr/bin/python3. None if there is none: the test skips, saying so.
[[nodiscard]] std::optional<std::string> python_with(std::string_view modules = "numpy");
/// Runs a Python program text with that interpreter; its arguments follow.
CommandResult run_python(const std::string& python, const std::string& program,
                         const std::vector<std::string>& arguments = {});

/// The user's real HDF5 files: RUNRIG_SHARED_DATA, else ../shared/data beside the source tree. None if absent:
/// the test skips, saying so.
[[nodiscard]] std::optional<std::filesystem::path> shared_data();

}  // namespace runrig::test

/// Skips the test unless a Python with these modules is there; defines `python`.
#define RUNRIG_NEED_PYTHON(python, modules)                                        \
  const auto python##_found = ::runrig::test::python_with(modules);                \
  if (!python##_found) GTEST_SKIP() << "no Python with " << (modules) << " found"; \
  const std::string& python = *python##_found
/// Skips the test unless the user's data folder is there; defines `path`.
#define RUNRIG_NEED_SHARED_DATA(folder)                                                                         \
  const auto folder##_found = ::runrig::test::shared_data();                                                    \
  if (!folder##_found) GTEST_SKIP() << "no folder of real HDF5 files (set RUNRIG_SHARED_DATA to have it used)"; \
  const std::filesystem::path& folder = *folder##_found
