// What processes cost: start and join by each method, beside the least that the system asks for it.
//
//   bench_processes [--turns N] [--only TEXT] [--json]
//
// In each turn every contender runs for a while, one after the other, so that what else the machine does meets all of
// them; what is printed are medians over all single measurements. bench/processes.py adds Python's.
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

#include "runrig/engine/init.hpp"
#include "runrig/engine/process.hpp"
#include "runrig/sync/clock.hpp"
#include "runrig/sync/error.hpp"

namespace runrig::bench {
namespace {

/// Measured as one: returns how long it took, in microseconds.
struct Contender {
  std::string name;
  int per_turn = 0;
  std::function<double()> measure;
  std::vector<double> results{};
};

template <class Work>
double microseconds_of(Work&& work) {
  const auto begin = Clock::now();
  work();
  return std::chrono::duration<double, std::micro>(Clock::now() - begin).count();
}

void expect(bool right, const char* what) {
  if (!right) throw std::runtime_error(std::string("wrong: ") + what);  // fast and wrong is no result
}

void wait_for_exit(pid_t pid, const char* what) {
  int status = 0;
  check_errno(::waitpid(pid, &status, 0), "wait for", what);
  expect(WIFEXITED(status) && WEXITSTATUS(status) == 0, what);
}

double bare_fork() {
  return microseconds_of([] {
    const pid_t pid = ::fork();
    if (pid == 0) ::_exit(0);
    wait_for_exit(check_errno(pid, "fork", "bench"), "bare fork");
  });
}

double bare_spawn(const char* program, const char* argument) {
  return microseconds_of([&] {
    pid_t pid = 0;
    char* const argv[] = {const_cast<char*>(program), const_cast<char*>(argument), nullptr};
    check_code(::posix_spawn(&pid, program, nullptr, nullptr, argv, environ), "spawn", program);
    wait_for_exit(pid, program);
  });
}

double start_and_join(StartMethod method) {
  ProcessOptions options;
  options.start_method = method;
  return microseconds_of([&] {
    Process process(options, [] {});
    process.start();
    process.join();
    expect(process.exit_code() == 0, "start and join");
  });
}

std::vector<Contender> contenders(const std::string& empty_program) {
  return {
      {"fork + _exit + waitpid", 20, bare_fork},
      {"Process, fork", 20, [] { return start_and_join(StartMethod::fork); }},
      {"Process, forkserver", 20, [] { return start_and_join(StartMethod::forkserver); }},
      {"posix_spawn, empty static program", 8, [=] { return bare_spawn(empty_program.c_str(), nullptr); }},
      {"posix_spawn, this program up to main", 8, [] { return bare_spawn("/proc/self/exe", "--nothing"); }},
      {"Process, spawn", 8, [] { return start_and_join(StartMethod::spawn); }},
  };
}

double percentile(std::vector<double> results, double part) {
  std::sort(results.begin(), results.end());
  return results.at(static_cast<std::size_t>(static_cast<double>(results.size() - 1) * part));
}

int run(int turns, std::string_view only, bool json, const std::string& empty_program) {
  auto all = contenders(empty_program);
  const bool exact = std::any_of(all.begin(), all.end(), [&](const Contender& each) { return each.name == only; });
  std::erase_if(all, [&](const Contender& each) {
    return exact ? each.name != only : each.name.find(only) == std::string::npos;
  });
  for (Contender& each : all) (void)each.measure();  // servers run, pages are there
  for (int turn = 0; turn < turns; ++turn) {
    for (Contender& each : all) {
      for (int i = 0; i < each.per_turn; ++i) each.results.push_back(each.measure());
    }
  }
  if (!json) std::printf("%-40s %12s %12s %8s\n", "", "median us", "99 % us", "count");
  for (const Contender& each : all) {
    std::printf(json ? "{\"name\": \"%s\", \"median_us\": %.2f, \"p99_us\": %.2f, \"count\": %zu}\n"
                     : "%-40s %12.1f %12.1f %8zu\n",
                each.name.c_str(), percentile(each.results, 0.5), percentile(each.results, 0.99), each.results.size());
  }
  return 0;
}

}  // namespace
}  // namespace runrig::bench

int main(int argc, char** argv) {
  if (argc > 1 && std::strcmp(argv[1], "--nothing") == 0) ::_exit(0);
  runrig::init(argc, argv);
  int turns = 50;
  std::string_view only;
  bool json = false;
  for (int i = 1; i < argc; ++i) {
    const std::string_view argument = argv[i];
    if (argument == "--json") {
      json = true;
    } else if (argument == "--turns" && i + 1 < argc) {
      turns = std::max(1, std::atoi(argv[++i]));
    } else if (argument == "--only" && i + 1 < argc) {
      only = argv[++i];
    } else {
      std::fprintf(stderr, "usage: bench_processes [--turns N] [--only TEXT] [--json]\n");
      return 2;
    }
  }
  try {
    return runrig::bench::run(turns, only, json, RUNRIG_EMPTY_PROGRAM);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "bench_processes: %s\n", error.what());
    return 1;
  }
}
