// What a child finds around it: descriptors, signals, directory, environment, streams.
#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <string>

#include "process_support.hpp"
#include "runrig/engine/log.hpp"
#include "runrig/engine/process.hpp"
#include "runrig/sync/unique_fd.hpp"

namespace runrig {
namespace {

using testing::HasSubstr;
using namespace std::chrono_literals;

class ProcessSurroundingsTest : public test::EachStartMethod {};

TEST_P(ProcessSurroundingsTest, Stdin_IsTheNullDevice) {
  const auto body = [] {
    struct stat found {};
    struct stat null {};
    const bool same = ::fstat(0, &found) == 0 && ::stat("/dev/null", &null) == 0 && found.st_rdev == null.st_rdev;
    char byte = 0;
    std::exit(same && ::read(0, &byte, 1) == 0 ? 5 : 6);
  };
  EXPECT_EQ(run(body), 5);
}

TEST_P(ProcessSurroundingsTest, Stdout_IsThatOfTheParentAtTheStartAndIsFlushed) {
  // Also by a fork server that was started when stdout was something else.
  EXPECT_EQ(run([] {}), 0);
  testing::internal::CaptureStdout();
  const int code = run([] { std::printf("no newline"); });
  EXPECT_EQ(testing::internal::GetCapturedStdout(), "no newline");
  EXPECT_EQ(code, 0);
}

TEST_P(ProcessSurroundingsTest, Output_ThatIsClosedInTheParentIsClosedInTheChild) {
  EXPECT_EQ(run([] {}), 0);
  std::fflush(stdout);
  const UniqueFd kept(::dup(1));
  ::close(1);
  const int code = run([] { std::exit(::fcntl(1, F_GETFD) == -1 ? 5 : 6); });
  ::dup2(kept.get(), 1);
  EXPECT_EQ(code, 5);
}

TEST_P(ProcessSurroundingsTest, DirectoryIsThatOfTheParent) {
  EXPECT_EQ(run([] {}), 0);
  const test::TemporaryDirectory directory;
  const auto former = std::filesystem::current_path();
  std::filesystem::current_path(directory.path());
  const auto body = [](std::string expected) { std::exit(std::filesystem::current_path() == expected ? 5 : 6); };
  const int code = run(body, std::filesystem::canonical(directory.path()).string());
  std::filesystem::current_path(former);
  EXPECT_EQ(code, 5);
}

TEST_P(ProcessSurroundingsTest, EnvironmentIsThatOfTheParent) {
  EXPECT_EQ(run([] {}), 0);
  ::setenv("RUNRIG_TEST_VARIABLE", "a value\nof two lines", 1);
  const auto body = [](bool set) {
    const char* const value = std::getenv("RUNRIG_TEST_VARIABLE");
    if (!set) std::exit(value == nullptr ? 5 : 6);
    const bool same = value != nullptr && std::string(value) == "a value\nof two lines";
    // It must be one that can be changed.
    const bool changed = ::setenv("RUNRIG_TEST_OTHER", "x", 1) == 0 && std::getenv("RUNRIG_TEST_OTHER") != nullptr;
    std::exit(same && changed && std::getenv("PATH") != nullptr ? 5 : 7);
  };
  EXPECT_EQ(run(body, true), 5);
  ::unsetenv("RUNRIG_TEST_VARIABLE");
  EXPECT_EQ(run(body, false), 5);
}

TEST_P(ProcessSurroundingsTest, OnlyForkInheritsDescriptors) {
  // Opened without close-on-exec, as careless programs do.
  const UniqueFd file(::open("/dev/zero", O_RDONLY));
  const auto body = [](int fd) {
    struct stat status {};
    struct stat zero {};
    const bool there = ::fstat(fd, &status) == 0 && ::stat("/dev/zero", &zero) == 0 && status.st_rdev == zero.st_rdev;
    std::exit(there ? 5 : 6);
  };
  EXPECT_EQ(run(body, file.get()), GetParam() == StartMethod::fork ? 5 : 6);
}

// O5
TEST_P(ProcessSurroundingsTest, SiblingsHaveNoDescriptorsOfEachOther) {
  constexpr std::size_t siblings = 20;
  test::Board board;
  const auto body = [](std::string name, int place) {
    const test::Board there(name);
    there[static_cast<std::size_t>(place)] = static_cast<std::int64_t>(test::open_descriptors());
    test::sleep_long();
  };
  std::vector<Process> processes;
  const std::size_t before = test::open_descriptors();
  for (std::size_t i = 0; i < siblings; ++i) {
    processes.push_back(Process(options({.daemon = i % 2 == 0}), body, board.name(), static_cast<int>(i)));
    processes.back().start();
    ASSERT_TRUE(test::eventually([&] { return board[i] != 0; }, 30s));
  }
  for (std::size_t i = 2; i < siblings; ++i) EXPECT_EQ(board[i], board[i % 2]) << i;
  EXPECT_LE(board[1], static_cast<std::int64_t>(before) + 2) << "stdin, stdout, stderr, and what the test has open";
  for (Process& each : processes) each.kill();
  for (Process& each : processes) each.join();
}

TEST_P(ProcessSurroundingsTest, SignalsAreAsAfterAnExec) {
  struct sigaction former_usr1 {};
  struct sigaction handled {};
  handled.sa_handler = [](int) {};
  ::sigaction(SIGUSR1, &handled, &former_usr1);
  sigset_t blocked;
  sigset_t former_mask;
  ::sigemptyset(&blocked);
  ::sigaddset(&blocked, SIGUSR2);
  ::sigaddset(&blocked, SIGTERM);
  ::pthread_sigmask(SIG_BLOCK, &blocked, &former_mask);
  const auto body = [] {
    for (int signal = 1; signal < NSIG; ++signal) {
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
      if (signal == SIGSEGV || signal == SIGBUS || signal == SIGFPE) continue;  // handled by the sanitizer
#endif
      struct sigaction found {};
      if (::sigaction(signal, nullptr, &found) == 0 && found.sa_handler != SIG_DFL && found.sa_handler != SIG_IGN) {
        std::exit(10);
      }
    }
    sigset_t mask;
    ::pthread_sigmask(SIG_BLOCK, nullptr, &mask);
    for (const int signal : {SIGUSR2, SIGTERM, SIGINT, SIGCHLD}) {
      if (::sigismember(&mask, signal) != 0) std::exit(11);
    }
    struct sigaction terminate {};
    ::sigaction(SIGTERM, nullptr, &terminate);
    std::exit(terminate.sa_handler == SIG_DFL ? 5 : 12);
  };
  const int code = run(body);
  ::pthread_sigmask(SIG_SETMASK, &former_mask, nullptr);
  ::sigaction(SIGUSR1, &former_usr1, nullptr);
  EXPECT_EQ(code, 5);
}

TEST_P(ProcessSurroundingsTest, ExecInAChildKeepsNothingOfOurs) {
  const auto body = [] {
    // Exits with the number of its open descriptors; one of them is that of the directory that it reads.
    ::execl("/bin/sh", "sh", "-c", "exit $(ls /proc/self/fd | wc -l)", nullptr);
    std::exit(99);
  };
  const int plain = test::run_command({"/bin/sh", "-c", "exit $(ls /proc/self/fd | wc -l)"}).exit_code;
  Process process(options({.daemon = true}), body);
  process.start();
  ASSERT_TRUE(process.join(30s));
  // What the test runner has open without close-on-exec goes to forked children, as it does without us.
  EXPECT_EQ(process.exit_code(), GetParam() == StartMethod::fork ? plain : 4);
}

TEST_P(ProcessSurroundingsTest, LogToStderr_WorksInChildrenUnderTheirNames) {
  const LogLevel former = get_logger().level();
  const detail::LogSettings settings = detail::log_settings();
  testing::internal::CaptureStderr();
  log_to_stderr(LogLevel::info);
  Process process(options({.name = "the child"}), [] { get_logger().warning("doomed"); });
  process.start();
  const bool ended = process.join(30s);
  detail::apply(settings);
  EXPECT_TRUE(ended);
  EXPECT_EQ(testing::internal::GetCapturedStderr(),
            "[INFO/the child] child process calling run()\n[WARNING/the child] doomed\n"
            "[INFO/the child] process exiting with exit code 0\n");
  EXPECT_EQ(get_logger().level(), former);
}

RUNRIG_FOR_EACH_START_METHOD(ProcessSurroundingsTest);

}  // namespace
}  // namespace runrig
