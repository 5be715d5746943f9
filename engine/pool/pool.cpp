#include "runrig/engine/pool.hpp"

#include <sys/eventfd.h>
#include <sys/mman.h>
#include <unistd.h>

#include <fcntl.h>

#include <cstdio>
#include <new>
#include <stdexcept>
#include <utility>

#include "../process/child.hpp"
#include "../process/failure_text.hpp"
#include "pool_state.hpp"
#include "runrig/engine/machine.hpp"
#include "runrig/sync/error.hpp"
#include "segments.hpp"
#include "template.hpp"

namespace runrig {
namespace detail {
namespace {

using std::chrono::milliseconds;

constexpr int most_template_restarts = 5;  // without a launch completed in between
constexpr milliseconds liveness_check(100);
constexpr milliseconds last_exits(2000);  // of processes that have been killed

constexpr std::size_t page_round(std::size_t bytes) { return (bytes + 4095) / 4096 * 4096; }

void check_threads(const PoolOptions& options) {
  if (options.other_threads == OtherThreads::allow) return;
  const int threads = process_thread_count();
  if (threads == 1) return;
  throw std::logic_error("make pool '" + options.name + "': this process has " + std::to_string(threads) +
                         " threads, and a fork would copy the locks that they hold; make the pool before the first "
                         "thread is started (oneTBB and OpenMP start some, too), or set other_threads to allow");
}

PoolOptions complete(PoolOptions options) {
  if (in_worker_process()) {
    throw std::logic_error("make pool '" + options.name + "': this process is a worker of another pool");
  }
  if (options.workers < 0 || options.workers > most_workers) {
    throw std::logic_error("make pool '" + options.name + "': " + std::to_string(options.workers) + " workers; 0 to " +
                           std::to_string(most_workers) + " are possible");
  }
  check_threads(options);
  if (options.workers == 0) options.workers = usable_cpu_count();
  if (!options.arena) options.arena = std::make_shared<Arena>();
  return options;
}

}  // namespace

ControlMemory::ControlMemory(int workers) {
  const std::size_t control = page_round(sizeof(Control));
  const std::size_t slots = page_round(sizeof(WorkerSlot) * (static_cast<std::size_t>(workers) + 1));
  const std::size_t table = sizeof(std::atomic<std::uint64_t>) * max_slices;
  const std::size_t failures = sizeof(std::atomic<std::uint32_t>) * max_slices;
  bytes_ = control + slots + table + failures + failure_log_bytes;
  // Address space for the largest launch; only pages that are touched get memory.
  void* mapped = ::mmap(nullptr, bytes_, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (mapped == MAP_FAILED) throw Error({errno, std::system_category()}, "map control memory of", "pool");
  base_ = static_cast<std::byte*>(mapped);
  // Fresh pages are zero, which is the initial state of all of it; default-initialising leaves the atomics' bytes be.
  view_.control = reinterpret_cast<Control*>(base_);
  view_.slots = reinterpret_cast<WorkerSlot*>(base_ + control);
  view_.table = reinterpret_cast<std::atomic<std::uint64_t>*>(base_ + control + slots);
  view_.failures = reinterpret_cast<std::atomic<std::uint32_t>*>(base_ + control + slots + table);
  view_.failure_log = base_ + control + slots + table + failures;
  view_.control->workers = workers;
}

ControlMemory::~ControlMemory() { ::munmap(base_, bytes_); }

void ControlMemory::clear_failures() noexcept {
  constexpr std::uint64_t kept = 1 << 20;
  // Relaxed: nobody else is at work, and the launch that follows publishes it.
  const std::uint64_t used = view_.control->failure_bytes.exchange(0, std::memory_order_relaxed);
  if (used > kept) ::madvise(view_.failure_log, failure_log_bytes, MADV_REMOVE);
}

PoolState::PoolState(PoolOptions given)
    : options(complete(std::move(given))), owner(::getpid()), memory(options.workers), view(memory.view()) {
  try {
    start_template();
  } catch (...) {
    end_processes(milliseconds(0), "it could not be started");
    throw;
  }
  close_listener.emplace([this](SegmentId id) {
    if (!owned_here()) return;
    const std::lock_guard guard(segments_mutex);
    if (segments.erase(id) > 0) announce_closed_segment(view, id);
  });
}

bool PoolState::owned_here() const noexcept { return ::getpid() == owner; }

void PoolState::check_usable_here(const char* what) const {
  if (!owned_here()) throw std::logic_error(std::string(what) + ": only the process that made the pool may");
}

PoolState& PoolAccess::usable_state(const Pool& pool, const char* what) {
  if (in_worker_process()) {
    throw std::logic_error(std::string(what) +
                           ": a worker cannot use the pool it belongs to, nor another; launches do not nest");
  }
  if (!pool.state_) throw std::logic_error(std::string(what) + ": the pool was moved from");
  pool.state_->check_usable_here(what);
  return *pool.state_;
}

void PoolState::start_template() {
  int pipe_fds[2];
  check_errno(::pipe2(pipe_fds, O_CLOEXEC), "make a pipe for", options.name);
  UniqueFd reading(pipe_fds[0]);
  const UniqueFd writing(pipe_fds[1]);
  command_fd = UniqueFd(check_errno(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK), "make an eventfd for", options.name));
  Control& control = *view.control;
  control.phase.store(PoolPhase::starting, std::memory_order_relaxed);  // the fork publishes it
  captures.take_snapshot();
  const TemplateSetup setup{view, owner, command_fd.get(), writing.get(), &options};
  // Or what is buffered would be printed by each worker as well.
  std::fflush(stdout);
  std::fflush(stderr);
  {
    SignalsBlocked blocked;
    const pid_t pid = ::fork();
    if (pid == 0) run_template(setup);
    template_pid = check_errno(pid, "fork", options.name);
  }
  alive_fd = std::move(reading);
  template_pidfd = open_pidfd(template_pid);  // our own child, so the number cannot be another's yet
  for (;;) {
    // Acquire: pairs with the template's reports; then its slots and its errno can be read.
    const std::uint32_t seen = control.progress.load(std::memory_order_acquire);
    const PoolPhase phase = control.phase.load(std::memory_order_acquire);
    if (phase == PoolPhase::running || phase == PoolPhase::broken) return;
    if (phase == PoolPhase::failed_to_start) {
      throw Error({control.start_errno.load(std::memory_order_relaxed), std::system_category()},
                  "fork the workers of pool", options.name);
    }
    if (wait_for_end(template_pidfd, Deadline::after(milliseconds(0)))) {
      throw WorkerLost(
          template_pid, 0,
          "start pool '" + options.name + "': its template process died: " + valid_utf8(control.start_text.data()));
    }
    (void)futex_wait(control.progress, seen, Deadline::after(liveness_check));
  }
}

void PoolState::poke_template() const noexcept {
  const std::uint64_t one = 1;
  // Fails only when the counter is full, and then the template has been poked enough.
  (void)!::write(command_fd.get(), &one, sizeof one);
}

// All our processes hold the other end of the pipe; a process that a kernel has forked and left behind does as well.
bool PoolState::wait_until_all_gone(milliseconds limit) noexcept {
  if (!alive_fd) return true;
  try {
    return wait_readable(alive_fd.get(), Deadline::after(limit));
  } catch (const Error&) {
    return false;
  }
}

void PoolState::end_processes(milliseconds grace, const std::string& why) noexcept {
  if (!template_pidfd) return;
  Control& control = *view.control;
  control.grace_ms = grace.count();
  control.stopping.store(1, std::memory_order_release);  // pairs with the template's acquire, for the line above
  ring(control);
  poke_template();
  try {
    if (!wait_for_end(template_pidfd, Deadline::after(grace + last_exits))) send_signal(template_pidfd, SIGKILL);
    (void)wait_for_end(template_pidfd, Deadline::after(last_exits));
  } catch (const Error&) {
    send_signal(template_pidfd, SIGKILL);
  }
  (void)wait_until_all_gone(last_exits);
  (void)reap(template_pidfd);
  template_pidfd.reset();
  alive_fd.reset();
  command_fd.reset();
  for (int i = 0; i < control.workers; ++i) view.slots[i].pid.store(0, std::memory_order_relaxed);
  end_reason = why;
  settle_as_lost(why);
}

void PoolState::close() noexcept {
  close_listener.reset();
  if (owned_here()) {
    if (template_pidfd) cancel(current.epoch);
    end_processes(options.grace, "the pool was closed");
    return;
  }
  // A forked child: the processes are not ours to end.
  template_pidfd.reset();
}

void PoolState::look_after_template() {
  if (!template_pidfd || !wait_for_end(template_pidfd, Deadline::after(milliseconds(0)))) return;
  (void)reap(template_pidfd);
  template_pidfd.reset();
  std::string why = "the process that makes the pool's workers was killed";
  const bool gone = wait_until_all_gone(last_exits);
  for (int i = 0; i < view.control->workers; ++i) view.slots[i].pid.store(0, std::memory_order_relaxed);
  if (!gone) {
    why += ", and a process forked by a kernel keeps the rest from being sure to be gone";
  } else if (++template_restarts > most_template_restarts) {
    why += " again and again";
  } else {
    try {
      check_threads(options);
      if (current.epoch != 0) {
        const FailureRecord details{};
        recover_all(view, current, log_failure(view, details, "", "lost its worker: " + why));
      }
      start_template();
      ring(*view.control);
      report_progress(*view.control);
      return;
    } catch (const std::exception& error) {
      why.append(", and there cannot be another: ").append(error.what());
    }
  }
  end_reason = why;
  settle_as_lost(why);
}

}  // namespace detail

Pool::Pool(int workers)
    : Pool([&] {
        PoolOptions options;
        options.workers = workers;
        return options;
      }()) {}

Pool::Pool(PoolOptions options) : state_(std::make_shared<detail::PoolState>(std::move(options))) {}

Pool::Pool(Pool&&) noexcept = default;

Pool& Pool::operator=(Pool&& other) noexcept {
  if (this != &other) {
    if (state_) state_->close();
    state_ = std::move(other.state_);
  }
  return *this;
}

Pool::~Pool() {
  // A Launch may still hold the state: it finds its slices lost.
  if (state_) state_->close();
}

int Pool::size() const noexcept { return state_->options.workers; }
Arena& Pool::arena() const noexcept { return *state_->options.arena; }
const std::string& Pool::name() const noexcept { return state_->options.name; }
pid_t Pool::template_pid() const noexcept { return state_->template_pid; }

std::vector<pid_t> Pool::worker_pids() const {
  std::vector<pid_t> pids;
  for (int i = 0; i < size(); ++i) {
    const pid_t pid = state_->view.slots[i].pid.load(std::memory_order_relaxed);  // old at once anyway
    if (pid != 0) pids.push_back(pid);
  }
  return pids;
}

std::uint64_t Pool::workers_lost() const noexcept {
  return state_->view.control->deaths.load(std::memory_order_relaxed);  // a figure, nothing goes with it
}

Launch Pool::launch_bytes(const LaunchOptions& options, detail::SliceBody body, const void* closure,
                          std::size_t closure_bytes) {
  return detail::PoolAccess::usable_state(*this, "launch").launch(options, body, closure, closure_bytes);
}

void Pool::terminate() noexcept {
  if (!state_ || in_worker_process() || !state_->owned_here()) return;
  state_->cancel(state_->current.epoch);
  state_->end_processes(std::chrono::milliseconds(0), "the pool was terminated");
}

}  // namespace runrig
