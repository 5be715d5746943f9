#include "python_route.hpp"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <optional>
#include <sstream>

#include "runrig/sync/clock.hpp"
#include "runrig/sync/error.hpp"
#include "runrig/sync/unique_fd.hpp"

namespace runrig::bench {
namespace {

using namespace std::chrono_literals;

// One line for each size: the size, then seconds; or "wrong" and the sum.
constexpr const char* program = R"(
import multiprocessing, os, sys, time
import numpy

def stay_on(cpu):
    if cpu != 'any': os.sched_setaffinity(0, {int(cpu)})

def work(ours, theirs):
    theirs.close()
    stay_on(sys.argv[2])
    while True:
        try: array = ours.recv()
        except EOFError: return
        ours.send(float(array.sum()))

stay_on(sys.argv[1])
context = multiprocessing.get_context('fork')
ours, theirs = context.Pipe()
worker = context.Process(target=work, args=(theirs, ours), daemon=True)
worker.start()
theirs.close()
for case in sys.argv[3:]:
    size, turns, expected = case.split(':')
    array = numpy.resize(numpy.arange(251.0), int(size) // 8)
    times = []
    for turn in range(int(turns) + 1):
        start = time.perf_counter()
        ours.send(array)
        total = ours.recv()
        times.append(time.perf_counter() - start)
        if total != float(expected):
            print('wrong', size, total, flush=True)
            sys.exit(1)
    print(size, *times[1:], flush=True)
    del array
ours.close()
worker.join()
)";

/// A command with its standard output in a pipe; killed and reaped at the end.
class Command {
 public:
  explicit Command(std::vector<std::string> argv) {
    int ends[2];
    check_errno(::pipe2(ends, O_CLOEXEC), "make pipe", argv.front());
    out_.reset(ends[0]);
    const UniqueFd writer(ends[1]);
    const UniqueFd nothing(check_errno(::open("/dev/null", O_RDWR | O_CLOEXEC), "open", "/dev/null"));
    std::vector<char*> arguments;  // made before the fork: the child allocates nothing
    arguments.reserve(argv.size() + 1);
    for (std::string& each : argv) arguments.push_back(each.data());
    arguments.push_back(nullptr);
    const int parent = ::getpid();
    // NOLINTNEXTLINE(cppcoreguidelines-prefer-member-initializer): when all else is there
    pid_ = check_errno(::fork(), "fork", argv.front());
    if (pid_ != 0) return;
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (::getppid() != parent) ::_exit(127);
    ::dup2(nothing.get(), STDIN_FILENO);
    ::dup2(writer.get(), STDOUT_FILENO);
    ::dup2(nothing.get(), STDERR_FILENO);
    ::execvp(arguments[0], arguments.data());
    ::_exit(127);
  }
  Command(const Command&) = delete;
  Command& operator=(const Command&) = delete;
  ~Command() {
    if (status_) return;
    ::kill(pid_, SIGKILL);  // Python's own child finds its pipe closed, and goes
    int status = 0;
    (void)retry_on_eintr([&] { return ::waitpid(pid_, &status, 0); });
  }

  /// All that it writes, to the end. Throws TimeoutError, Cancelled.
  std::string read_all(Deadline deadline, const std::function<bool()>& cancelled) {
    std::string text;
    for (;;) {
      if (cancelled && cancelled()) throw Cancelled("measure with Python");
      if (deadline.passed()) throw TimeoutError("measure with", "Python");
      pollfd readable{out_.get(), POLLIN, 0};
      constexpr int wait_ms = std::chrono::milliseconds(look_around).count();
      if (::poll(&readable, 1, wait_ms) <= 0) continue;
      char buffer[4096];
      const auto got =
          check_errno(retry_on_eintr([&] { return ::read(out_.get(), buffer, sizeof buffer); }), "read from", "Python");
      if (got == 0) return text;
      text.append(buffer, static_cast<std::size_t>(got));
    }
  }
  /// After the end of its output.
  int exit_status() {
    int status = 0;
    check_errno(retry_on_eintr([&] { return ::waitpid(pid_, &status, 0); }), "wait for", "Python");
    status_ = status;
    return status;
  }

 private:
  UniqueFd out_;
  int pid_ = -1;
  std::optional<int> status_;
};

bool imports_numpy(const std::string& python) {
  Command command({python, "-c", "import multiprocessing, numpy"});
  try {
    (void)command.read_all(Deadline::after(30s), {});
  } catch (const TimeoutError&) {
    return false;
  }
  return command.exit_status() == 0;
}

}  // namespace

std::string find_python(const std::string& chosen) {
  if (!chosen.empty()) return imports_numpy(chosen) ? chosen : std::string();
  std::vector<std::string> candidates{"python3", "/usr/bin/python3"};
  if (const char* const named = std::getenv("RUNRIG_PYTHON")) candidates.insert(candidates.begin(), named);
  for (const std::string& each : candidates) {
    if (imports_numpy(each)) return each;
  }
  return {};
}

std::map<std::size_t, std::vector<double>> measure_python(const std::string& python,
                                                          const std::vector<PythonCase>& cases,
                                                          const Placement& placement,
                                                          const std::function<bool()>& cancelled,
                                                          std::string& failure) {
  const auto cpu_text = [](std::optional<int> cpu) { return cpu ? std::to_string(*cpu) : "any"; };
  std::vector<std::string> argv{python, "-c", program, cpu_text(placement.asking_cpu()),
                                cpu_text(placement.worker_cpu())};
  for (const PythonCase& each : cases) {
    char text[100];
    std::snprintf(text, sizeof text, "%zu:%d:%.17g", each.size_bytes, each.turns, each.expected_sum);
    argv.emplace_back(text);
  }
  Command command(argv);
  std::istringstream lines(command.read_all(Deadline::after(10min), cancelled));
  if (command.exit_status() != 0) failure = "Python ended early";
  std::map<std::size_t, std::vector<double>> result;
  for (std::string line; std::getline(lines, line);) {
    if (line.starts_with("wrong")) throw Error(std::errc::io_error, "measure with Python", "wrong sum: " + line);
    std::istringstream numbers(line);
    std::size_t size_bytes = 0;
    numbers >> size_bytes;
    for (double seconds = 0; numbers >> seconds;) result[size_bytes].push_back(seconds);
  }
  return result;
}

}  // namespace runrig::bench
