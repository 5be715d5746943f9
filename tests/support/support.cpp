#include "support.hpp"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <iostream>
#include <random>
#include <thread>

#include "runrig/sync/clock.hpp"
#include "runrig/sync/unique_fd.hpp"
#include "source_directory.hpp"

namespace runrig::test {
namespace {

int decode_status(int status) { return WIFSIGNALED(status) ? -WTERMSIG(status) : WEXITSTATUS(status); }

[[noreturn]] void run_body(const std::function<void()>& body) {
  int code = 1;
  try {
    body();
    code = ::testing::Test::HasFailure() ? 1 : 0;
  } catch (const std::exception& error) {
    std::fprintf(stderr, "child %d: %s\n", static_cast<int>(::getpid()), error.what());
  }
  std::fflush(nullptr);
  ::_exit(code);
}

int fork_body(const std::function<void()>& body) {
  std::fflush(nullptr);  // or what is buffered would be printed twice
  const int pid = check_errno(::fork(), "fork", "test child");
  if (pid == 0) run_body(body);
  return pid;
}

std::optional<int> wait_for(int pid, Deadline deadline) {
  const UniqueFd pidfd(static_cast<int>(::syscall(SYS_pidfd_open, pid, 0)));
  while (pidfd) {
    pollfd poll_fd{pidfd.get(), POLLIN, 0};
    const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(deadline.remaining()).count();
    if (::poll(&poll_fd, 1, static_cast<int>(std::min<long long>(left, 1000))) > 0) break;
    if (deadline.passed()) return std::nullopt;
  }
  int status = 0;
  check_errno(retry_on_eintr([&] { return ::waitpid(pid, &status, 0); }), "wait for", "test child");
  return decode_status(status);
}

}  // namespace

std::string unique_segment_name() {
  static std::atomic<int> counter{0};
  std::random_device random;
  char name[80];
  std::snprintf(name, sizeof name, "runrig-test-%d-%d-%08x", static_cast<int>(::getpid()),
                counter.fetch_add(1, std::memory_order_relaxed), random());
  return name;
}

std::error_code thrown_code(const std::function<void()>& call) {
  try {
    call();
  } catch (const std::system_error& error) {
    return error.code();
  }
  return {};
}

std::string thrown_text(const std::function<void()>& call) {
  try {
    call();
  } catch (const std::exception& error) {
    return error.what();
  }
  return {};
}

int run_in_child(const std::function<void()>& body, std::chrono::milliseconds limit) {
  const int pid = fork_body(body);
  if (const auto result = wait_for(pid, Deadline::after(limit))) return *result;
  ::kill(pid, SIGKILL);
  ADD_FAILURE() << "the child was not done after " << limit.count() << " ms";
  return wait_for(pid, Deadline()).value_or(-SIGKILL);
}

Child::Child(const std::function<void()>& body) : pid_(fork_body(body)) {}

Child::~Child() {
  if (result_) return;
  ::kill(pid_, SIGKILL);
  ::waitpid(pid_, nullptr, 0);
}

void Child::signal(int number) const { check_errno(::kill(pid_, number), "signal", "test child"); }

std::optional<int> Child::join(std::chrono::milliseconds limit) {
  if (!result_) result_ = wait_for(pid_, Deadline::after(limit));
  return result_;
}

bool eventually(const std::function<bool()>& condition, std::chrono::milliseconds limit) {
  const auto deadline = Deadline::after(limit);
  for (;;) {
    if (condition()) return true;
    if (deadline.passed()) return condition();
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
}

TemporaryDirectory::TemporaryDirectory() {
  std::string pattern = (std::filesystem::temp_directory_path() / "runrig-test-XXXXXX").string();
  if (::mkdtemp(pattern.data()) == nullptr) check_errno(-1, "create directory", pattern);
  path_ = pattern;
}

TemporaryDirectory::~TemporaryDirectory() {
  std::error_code ignored;  // a test that made a directory read-only has put it back, or the next lines say so
  std::filesystem::remove_all(path_, ignored);
  if (ignored) std::cerr << "remove " << path_ << ": " << ignored.message() << '\n';
}

CommandResult run_command(const std::vector<std::string>& argv, std::string_view input, std::chrono::milliseconds limit,
                          const std::vector<std::string>& extra_environment) {
  const auto open_pipe = [](UniqueFd& reader, UniqueFd& writer) {
    int ends[2];
    check_errno(::pipe2(ends, O_CLOEXEC), "make pipe", "test command");
    reader.reset(ends[0]);
    writer.reset(ends[1]);
  };
  UniqueFd in_reader, in_writer, out_reader, out_writer, err_reader, err_writer;
  open_pipe(in_reader, in_writer);
  open_pipe(out_reader, out_writer);
  open_pipe(err_reader, err_writer);
  std::vector<char*> arguments;
  arguments.reserve(argv.size() + 1);
  for (const auto& each : argv) arguments.push_back(const_cast<char*>(each.c_str()));
  arguments.push_back(nullptr);
  std::fflush(nullptr);
  const int pid = check_errno(::fork(), "fork", argv.at(0));
  if (pid == 0) {
    ::setpgid(0, 0);
    ::dup2(in_reader.get(), 0);
    ::dup2(out_writer.get(), 1);
    ::dup2(err_writer.get(), 2);
    for (const auto& each : extra_environment) ::putenv(const_cast<char*>(each.c_str()));
    ::execvp(arguments[0], arguments.data());
    std::fprintf(stderr, "%s: %s\n", arguments[0], std::strerror(errno));
    ::_exit(127);
  }
  ::setpgid(pid, pid);
  in_reader.reset();
  out_writer.reset();
  err_writer.reset();
  CommandResult result;
  std::thread feeder([writer = std::move(in_writer), input]() mutable {
    sigset_t block;  // a command that does not read its input is no reason to die
    sigemptyset(&block);
    sigaddset(&block, SIGPIPE);
    pthread_sigmask(SIG_BLOCK, &block, nullptr);
    while (!input.empty()) {
      const auto written = ::write(writer.get(), input.data(), input.size());
      if (written < 0) return;
      input.remove_prefix(static_cast<std::size_t>(written));
    }
  });
  const auto deadline = Deadline::after(limit);
  pollfd readers[2] = {{out_reader.get(), POLLIN, 0}, {err_reader.get(), POLLIN, 0}};
  bool timed_out = false;
  while (readers[0].fd >= 0 || readers[1].fd >= 0) {
    const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(deadline.remaining()).count();
    if (::poll(readers, 2, static_cast<int>(std::min<long long>(left + 1, 1000))) == 0 && deadline.passed()) {
      ::kill(-pid, SIGKILL);
      timed_out = true;
      break;
    }
    for (int i = 0; i < 2; ++i) {
      if (readers[i].fd < 0 || readers[i].revents == 0) continue;
      char buffer[65536];
      const auto got = ::read(readers[i].fd, buffer, sizeof buffer);
      if (got > 0) (i == 0 ? result.out : result.err).append(buffer, static_cast<std::size_t>(got));
      if (got == 0 || (got < 0 && errno != EINTR)) readers[i].fd = -1;
    }
  }
  feeder.join();
  const auto ended = wait_for(pid, deadline);
  if (!ended) {
    ::kill(-pid, SIGKILL);
    timed_out = true;
  }
  result.exit_code = ended ? *ended : wait_for(pid, Deadline()).value_or(-SIGKILL);
  if (timed_out) ADD_FAILURE() << argv.at(0) << " was not done after " << limit.count() << " ms\n" << result.err;
  return result;
}

std::optional<std::string> python_with(std::string_view modules) {
  std::vector<std::string> candidates{"python3", "/usr/bin/python3"};
  if (const char* chosen = std::getenv("RUNRIG_TEST_PYTHON")) candidates.insert(candidates.begin(), chosen);
  for (const auto& each : candidates) {
    if (run_command({each, "-c", "import " + std::string(modules)}).exit_code == 0) return each;
  }
  return std::nullopt;
}

CommandResult run_python(const std::string& python, const std::string& program,
                         const std::vector<std::string>& arguments) {
  std::vector<std::string> argv{python, "-c", program};
  argv.insert(argv.end(), arguments.begin(), arguments.end());
  return run_command(argv);
}

std::optional<std::filesystem::path> shared_data() {
  const char* chosen = std::getenv("RUNRIG_SHARED_DATA");
  const std::filesystem::path path =
      chosen != nullptr ? std::filesystem::path(chosen) : source_directory() / "../shared/data";
  std::error_code ignored;
  if (!std::filesystem::is_directory(path, ignored)) return std::nullopt;
  return std::filesystem::canonical(path);
}

}  // namespace runrig::test
