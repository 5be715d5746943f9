#include "transfer.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstring>
#include <fstream>
#include <map>
#include <memory>
#include <optional>
#include <stdexcept>

#include "format.hpp"
#include "python_route.hpp"
#include "runrig/engine/machine.hpp"
#include "runrig/shm/shared_memory.hpp"
#include "runrig/sync/error.hpp"
#include "worker.hpp"

namespace runrig::bench {
namespace {

constexpr std::size_t period = 251;  // a prime, so that no page or chunk looks like another

/// Small integers: every order of adding them gives the same, exact sum.
void fill(std::span<double> values) noexcept {
  for (std::size_t i = 0; i < values.size(); ++i) values[i] = static_cast<double>(i % period);
}
double exact_sum(std::size_t elements) noexcept {
  const std::size_t whole = elements / period;
  const std::size_t rest = elements % period;
  constexpr std::size_t of_a_period = period * (period - 1) / 2;
  const std::size_t of_the_rest = rest == 0 ? 0 : rest * (rest - 1) / 2;
  return static_cast<double>(whole * of_a_period + of_the_rest);
}

std::span<double> as_doubles(std::span<std::byte> bytes) noexcept {
  return {reinterpret_cast<double*>(bytes.data()), bytes.size() / sizeof(double)};
}
std::span<const double> as_doubles(std::span<const std::byte> bytes) noexcept {
  return {reinterpret_cast<const double*>(bytes.data()), bytes.size() / sizeof(double)};
}

int turns_for(std::size_t size_bytes, int chosen) noexcept {
  if (chosen > 0) return chosen;
  if (size_bytes <= std::size_t{64} << 10) return 200;
  if (size_bytes <= std::size_t{4} << 20) return 50;
  return size_bytes <= std::size_t{128} << 20 ? 9 : 5;
}

/// What can be taken now without making the kernel choose a victim; all there is if /proc says nothing.
std::size_t free_memory_bytes() {
  std::ifstream file("/proc/meminfo");
  for (std::string line; std::getline(file, line);) {
    unsigned long long kibibytes = 0;
    if (std::sscanf(line.c_str(), "MemAvailable: %llu kB", &kibibytes) == 1) {
      return std::min<std::size_t>(kibibytes << 10, usable_memory_bytes());
    }
  }
  return usable_memory_bytes();
}

std::string describe_machine() {
  std::string model = "unknown CPU";
  std::ifstream file("/proc/cpuinfo");
  for (std::string line; std::getline(file, line);) {
    if (!line.starts_with("model name")) continue;
    if (const auto colon = line.find(": "); colon != std::string::npos) model = line.substr(colon + 2);
    break;
  }
  return fmt::format("{}, usable CPUs: {}", model, usable_cpu_count());
}

/// Writes all of `bytes` into a non-blocking pipe whose reader is `worker`.
void send(int pipe, std::span<const std::byte> bytes, const Worker& worker) {
  while (!bytes.empty()) {
    const auto written = ::write(pipe, bytes.data(), bytes.size());
    if (written > 0) {
      bytes = bytes.subspan(static_cast<std::size_t>(written));
    } else if (errno == EAGAIN) {
      pollfd ends[]{{pipe, POLLOUT, 0}, {worker.pidfd(), POLLIN, 0}};
      constexpr int wait_ms = std::chrono::milliseconds(look_around).count();
      if (::poll(ends, std::size(ends), wait_ms) <= 0 || ends[1].revents != 0) worker.check();
    } else if (errno != EINTR) {
      check_errno(-1, "write to", "pipe");
    }
  }
}

void receive(int pipe, std::span<std::byte> bytes) {
  while (!bytes.empty()) {
    const auto got =
        check_errno(retry_on_eintr([&] { return ::read(pipe, bytes.data(), bytes.size()); }), "read from", "pipe");
    if (got == 0) throw Error(std::errc::broken_pipe, "read from", "pipe");
    bytes = bytes.subspan(static_cast<std::size_t>(got));
  }
}

class Measurement {
 public:
  explicit Measurement(const TransferOptions& options) : options_(options) {}

  TransferReport run() {
    report_.machine = describe_machine();  // before this thread is moved, which changes what it may use
    placement_.emplace();
    for (const std::size_t size_bytes : options_.sizes_bytes) {
      if (size_bytes == 0 || size_bytes % sizeof(double) != 0) {
        throw std::logic_error("measure_transfer: an array of " + std::to_string(size_bytes) + " bytes");
      }
      if (size_bytes <= options_.max_bytes) {
        sizes_.push_back(size_bytes);
      } else {
        note(format_size(size_bytes) + " left out: larger than the limit of " + format_size(options_.max_bytes));
      }
    }
    std::ranges::sort(sizes_);
    measure_with_python();
    for (const std::size_t size_bytes : sizes_) {
      if (enough_memory(Route::pipe_copy, size_bytes, 2)) measure_pipe(size_bytes);
      measure_shared(size_bytes);
    }
    assemble();
    return std::move(report_);
  }

 private:
  void note(std::string text) { report_.notes.push_back(std::move(text)); }

  /// `copies` of the array exist at the worst moment.
  bool enough_memory(Route route, std::size_t size_bytes, std::size_t copies) {
    constexpr std::size_t reserve = std::size_t{64} << 20;
    const std::size_t available = free_memory_bytes();
    if (size_bytes < available / copies && copies * size_bytes + reserve <= available) return true;
    note(fmt::format("{} left out for '{}': it takes {} of memory, {} are free", format_size(size_bytes),
                     route_title(route), format_size(copies * size_bytes), format_size(available)));
    return false;
  }

  void measure_with_python() {
    const std::string python = find_python(options_.python);
    if (python.empty()) {
      return note(fmt::format("'{}' left out: {} (choose one with --python or RUNRIG_PYTHON)",
                              route_title(Route::python_pickle),
                              options_.python.empty() ? "no Python with NumPy found"
                                                      : "'" + options_.python + "' is no Python with NumPy"));
    }
    std::vector<PythonCase> cases;
    for (const std::size_t size_bytes : sizes_) {
      constexpr std::size_t copies = 5;  // array, pickle, both again in the worker, whose buffer doubles
      if (!enough_memory(Route::python_pickle, size_bytes, copies)) continue;
      cases.push_back({size_bytes, turns_for(size_bytes, options_.turns), exact_sum(size_bytes / sizeof(double))});
    }
    std::string failure;
    auto times = measure_python(python, cases, *placement_, options_.cancelled, failure);
    for (const PythonCase& each : cases) {
      const auto found = times.find(each.size_bytes);
      if (found != times.end()) {
        keep(Route::python_pickle, each.size_bytes, std::move(found->second));
      } else {
        note(fmt::format("{} left out for '{}': {}", format_size(each.size_bytes), route_title(Route::python_pickle),
                         failure.empty() ? "no figures" : failure));
      }
    }
  }

  void measure_pipe(std::size_t size_bytes) {
    int ends[2];
    check_errno(::pipe2(ends, O_CLOEXEC), "make pipe", "bench");
    const UniqueFd reader(ends[0]);
    const UniqueFd writer(ends[1]);
    // A larger pipe means fewer switches. Where that is not allowed the default does.
    (void)::fcntl(writer.get(), F_SETPIPE_SZ, 1 << 20);
    std::vector<double> array(size_bytes / sizeof(double));
    fill(array);
    Worker worker(
        std::string(route_title(Route::pipe_copy)),
        [&] {
          // Its own buffer, made once: fresh pages for each array would cost more than the copy.
          return [&reader, buffer = std::vector<double>(size_bytes / sizeof(double))]() mutable {
            receive(reader.get(), std::as_writable_bytes(std::span(buffer)));
            return sum_of(buffer);
          };
        },
        options_.cancelled, placement_->worker_cpu());
    // Ours only, not the reading end: a worker that died is found out by poll, with no SIGPIPE, since we keep that
    // open.
    check_errno(::fcntl(writer.get(), F_SETFL, O_NONBLOCK), "set up", "pipe");
    take_turns(Route::pipe_copy, size_bytes,
               [&] { return worker.ask([&] { send(writer.get(), std::as_bytes(std::span(array)), worker); }); });
  }

  void measure_shared(std::size_t size_bytes) {
    try {
      auto segment = SharedMemory::create(size_bytes, [](std::span<std::byte> bytes) { fill(as_doubles(bytes)); });
      const Unlink at_the_end(segment);
      measure_attach(segment);
      measure_mapped(segment);
    } catch (const Error& error) {
      const bool full = error.code() == std::errc::no_space_on_device || error.code() == std::errc::not_enough_memory ||
                        error.code() == std::errc::file_too_large;
      if (!full) throw;
      note(fmt::format("{} left out in shared memory: {}", format_size(size_bytes), error.what()));
    }
  }

  void measure_attach(const SharedMemory& segment) {
    Worker worker(
        std::string(route_title(Route::attach)),
        [&] {
          return [name = segment.name()] {
            const auto attached = SharedMemory::attach(name, Access::read_only);
            return sum_of(as_doubles(attached.bytes()));
          };
        },
        options_.cancelled, placement_->worker_cpu());
    take_turns(Route::attach, segment.size_bytes(), [&] { return worker.ask(); });
  }

  void measure_mapped(const SharedMemory& segment) {
    Worker worker(
        std::string(route_title(Route::mapped)),
        [&] {
          // By name, not by the mapping that came with the fork: as a worker that knew nothing of it would.
          auto attached = std::make_shared<SharedMemory>(SharedMemory::attach(segment.name(), Access::read_only));
          return [attached] { return sum_of(as_doubles(attached->bytes())); };
        },
        options_.cancelled, placement_->worker_cpu());
    take_turns(Route::mapped, segment.size_bytes(), [&] { return worker.ask(); });
  }

  void take_turns(Route route, std::size_t size_bytes, const std::function<double()>& turn) {
    const double expected = exact_sum(size_bytes / sizeof(double));
    std::vector<double> seconds;
    for (int i = 0; i <= turns_for(size_bytes, options_.turns); ++i) {
      const auto start = std::chrono::steady_clock::now();
      const double sum = turn();
      const std::chrono::duration<double> taken = std::chrono::steady_clock::now() - start;
      if (sum != expected) {
        throw Error(std::errc::io_error, "measure",
                    fmt::format("{}: the sum is {}, not {}", route_title(route), sum, expected));
      }
      if (i > 0) seconds.push_back(taken.count());  // the first maps pages and wakes things up
    }
    keep(route, size_bytes, std::move(seconds));
  }

  void keep(Route route, std::size_t size_bytes, std::vector<double> seconds) {
    std::ranges::sort(seconds);
    const std::size_t half = seconds.size() / 2;
    const double median = seconds.size() % 2 == 1 ? seconds[half] : (seconds[half - 1] + seconds[half]) / 2;
    results_[{size_bytes, route}] = {route, size_bytes, static_cast<int>(seconds.size()), median, seconds.front(), 0};
  }

  void assemble() {
    for (auto& [key, result] : results_) {
      const auto mapped = results_.find({key.first, Route::mapped});
      if (mapped != results_.end()) result.ratio_to_mapped = result.median_seconds / mapped->second.median_seconds;
      report_.results.push_back(result);
    }
  }

  /// Removes the name, however the measurement ends.
  class Unlink {
   public:
    explicit Unlink(SharedMemory& segment) noexcept : segment_(segment) {}
    Unlink(const Unlink&) = delete;
    Unlink& operator=(const Unlink&) = delete;
    ~Unlink() {
      try {
        segment_.unlink();
      } catch (const Error&) {
        return;  // somebody else removed the name: nothing is left, which is all we want
      }
    }

   private:
    SharedMemory& segment_;
  };

  const TransferOptions& options_;
  std::optional<Placement> placement_;
  TransferReport report_;
  std::vector<std::size_t> sizes_;
  std::map<std::pair<std::size_t, Route>, TransferResult> results_;
};

}  // namespace

std::string_view route_name(Route route) noexcept {
  constexpr std::array<std::string_view, route_count> names{"python_pickle", "pipe_copy", "attach", "mapped"};
  return names[static_cast<std::size_t>(route)];
}

std::string_view route_title(Route route) noexcept {
  constexpr std::array<std::string_view, route_count> titles{"Python, pickled", "copied by pipe", "attached by name",
                                                             "already mapped"};
  return titles[static_cast<std::size_t>(route)];
}

TransferReport measure_transfer(const TransferOptions& options) { return Measurement(options).run(); }

}  // namespace runrig::bench
