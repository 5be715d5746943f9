#include "runrig/engine/pool.hpp"

#include <sys/eventfd.h>
#include <sys/mman.h>
#include <unistd.h>

#include <fcntl.h>

#include <algorithm>
#include <cstdio>
#include <new>
#include <stdexcept>
#include <utility>

#include "../process/child.hpp"
#include "../process/failure_text.hpp"
#include "../process/own_threads.hpp"
#include "../process/process_state.hpp"
#include "foreign_template.hpp"
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
constexpr int most_layouts = 8;            // new processes in a row that have something where the arena should be
constexpr milliseconds liveness_check(100);
constexpr milliseconds last_exits(2000);  // of processes that have been killed
// The same, where the pool ends if they are not gone by then. What was killed dies only when it gets a CPU, which took
// more than two seconds where fifteen others were ready for each.
constexpr milliseconds patient_exits(10'000);
constexpr milliseconds patience(1000);  // of the thread for callbacks, when the template is dead

void check_threads(const PoolOptions& options) {
  if (options.other_threads == OtherThreads::allow) return;
  const int threads = program_thread_count();
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
  if (options.max_tasks_per_child < 0) {
    throw std::logic_error("make pool '" + options.name + "': max_tasks_per_child is " +
                           std::to_string(options.max_tasks_per_child) + "; 0 means that there is no limit");
  }
  if (options.retries < 0 || options.retries > most_retries) {
    throw std::logic_error("make pool '" + options.name + "': tasks are to be retried " +
                           std::to_string(options.retries) + " times; 0 to " + std::to_string(most_retries) +
                           " are possible");
  }
  if (!options.start_method) options.start_method = get_start_method();
  if (options.start_method == StartMethod::fork) check_threads(options);
  if (options.workers == 0) options.workers = usable_cpu_count();
  if (!options.arena) options.arena = std::make_shared<Arena>();
  return options;
}

}  // namespace

PoolState::PoolState(PoolOptions given)
    : options(complete(std::move(given))),
      owner(::getpid()),
      owner_identity(this_process_identity()),
      method(*options.start_method),
      memory(options.workers),
      view(memory.view()),
      tasks(*this) {
  try {
    std::optional<GateClosed> gate;
    if (is_forked()) gate.emplace();
    start_template();
  } catch (...) {
    Garbage garbage;
    end_processes(milliseconds(0), "it could not be started", garbage);
    throw;
  }
  close_listener.emplace([this](SegmentId id) {
    if (!owned_here()) return;
    const std::lock_guard guard(segments_mutex);
    if (segments.erase(id) > 0) announce_closed_segment(view, id);
  });
}

bool PoolState::owned_here() const noexcept { return this_process_identity() == owner_identity; }

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

void PoolState::fork_template(int alive) {
  captures.take_snapshot();
  const TemplateSetup setup{view, owner, command_fd.get(), alive, &options, this_process()->name, nullptr};
  // Or what is buffered would be printed by each worker as well.
  std::fflush(stdout);
  std::fflush(stderr);
  {
    SignalsBlocked blocked;
    const pid_t pid = ::fork();
    if (pid == 0) run_template(setup);
    template_pid = check_errno(pid, "fork", options.name);
  }
  template_pidfd = open_pidfd(template_pid);  // our own child, so the number cannot be another's yet
}

void PoolState::start_foreign(int alive) {
  captures.expect_foreign_layout();
  modules = ModuleSnapshot::of_this_process();
  NewProcess made =
      start_foreign_template({options, method, memory, view.control->workers, command_fd.get(), alive, modules});
  template_pid = made.pid;
  template_pidfd = std::move(made.pidfd);
}

void PoolState::start_template() {
  for (int attempt = 1; !try_start_template(); ++attempt) {
    (void)reap(template_pidfd);
    template_pidfd.reset();
    if (attempt == most_layouts) {
      throw Error(std::errc::address_in_use, "find the memory of the pool's arena free in a new process for",
                  options.name);
    }
  }
}

bool PoolState::try_start_template() {
  int pipe_fds[2];
  check_errno(::pipe2(pipe_fds, O_CLOEXEC), "make a pipe for", options.name);
  UniqueFd reading(pipe_fds[0]);
  const UniqueFd writing(pipe_fds[1]);
  command_fd = UniqueFd(check_errno(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK), "make an eventfd for", options.name));
  Control& control = *view.control;
  control.start_text[0] = '\0';                                         // that of a former one's end
  control.phase.store(PoolPhase::starting, std::memory_order_relaxed);  // the fork publishes both
  is_forked() ? fork_template(writing.get()) : start_foreign(writing.get());
  alive_fd = std::move(reading);
  for (;;) {
    // Acquire: pairs with the template's reports; then its slots and its errno can be read.
    const std::uint32_t seen = control.progress.load(std::memory_order_acquire);
    const PoolPhase phase = control.phase.load(std::memory_order_acquire);
    if (phase == PoolPhase::running || phase == PoolPhase::broken) return true;
    if (phase == PoolPhase::failed_to_start) {
      // Its addresses are in the way of ours; those of the next will be others.
      if (control.start_errno.load(std::memory_order_relaxed) == EADDRINUSE) return false;
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

void PoolState::end_processes(milliseconds grace, const std::string& why, Garbage& garbage) noexcept {
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
  tasks.fail_all(why, garbage);
}

void PoolState::end_if_done_or_broken(Garbage& garbage) noexcept {
  if (!template_pidfd) return;
  if (view.control->phase.load(std::memory_order_acquire) == PoolPhase::broken) {  // pairs with give_up()
    end_processes(milliseconds(0), valid_utf8(view.control->start_text.data()), garbage);
  } else if (!tasks.open() && tasks.admitted() == 0 && tasks.unfinished() == 0 && !launch_under_way()) {
    end_processes(options.grace, "the pool was closed", garbage);
  }
}

void PoolState::check_takes_tasks(const char* what, bool admitted) {
  check_usable_here(what);
  if (!template_pidfd) throw WorkerLost(0, 0, std::string(what) + " on pool '" + options.name + "': " + end_reason);
  if (!tasks.open() && !admitted) {
    throw std::logic_error(std::string(what) + " on pool '" + options.name + "': the pool was closed");
  }
}

void PoolState::shut_down(milliseconds grace, const std::string& why) noexcept {
  close_listener.reset();
  if (!owned_here()) {
    template_pidfd.reset();  // a forked child: the processes are not ours to end
    return;
  }
  {
    Garbage garbage;
    const std::lock_guard guard(tasks.mutex());
    tasks.close();
    if (template_pidfd) cancel(current.epoch);
    end_processes(grace, why, garbage);
  }
  tasks.callbacks().stop(tasks);
}

void PoolState::close() {
  Garbage garbage;
  const std::lock_guard guard(tasks.mutex());
  tasks.close();
  end_if_done_or_broken(garbage);
}

void PoolState::join() {
  // All tasks have ended, and their callbacks have run.
  struct AllDone final : Awaited {
    explicit AllDone(PoolState& pool) : of(pool) {}
    [[nodiscard]] bool satisfied() const noexcept override { return missing() == 0 && callbacks() == 0; }
    // 0 where only callbacks are left; they notify.
    [[nodiscard]] std::size_t missing() const noexcept override { return of.tasks.unfinished(); }
    [[nodiscard]] std::size_t callbacks() const noexcept {
      return in_own_thread() ? 0 : of.tasks.callbacks().outstanding();
    }
    PoolState& of;
  };
  {
    const std::lock_guard guard(tasks.mutex());
    if (tasks.open() && template_pidfd) {
      throw std::logic_error("join pool '" + options.name + "': it is still running; close or terminate it first");
    }
  }
  (void)tasks.wait(AllDone(*this), Deadline());
  if (const std::uint32_t epoch = current_epoch.load(std::memory_order_acquire); epoch != 0) {
    (void)wait(epoch, Deadline());
  }
  shut_down(options.grace, "the pool was joined");
  std::exception_ptr error;
  {
    const std::lock_guard guard(tasks.mutex());
    error = tasks.callbacks().take_error();
  }
  if (error) std::rethrow_exception(error);
}

bool PoolState::may_fork_again(std::optional<GateClosed>& gate, std::string& why) {
  if (!is_forked()) return true;
  if (options.other_threads == OtherThreads::allow) {
    gate.emplace(GateClosed::Try{});  // better with it, but nobody insists
    return true;
  }
  if (in_own_thread()) {
    // Beside the program's thread it cannot fork. As a rule that thread waits for something of ours soon, and will.
    if (!template_missed) template_missed = Clock::now();
    if (Clock::now() - *template_missed > patience) why = "no thread of the program came to make another one";
    return false;
  }
  try {
    check_threads(options);
  } catch (const std::logic_error& error) {
    why = std::string("there cannot be another: ") + error.what();
    return false;
  }
  gate.emplace(GateClosed::Try{});
  return bool(*gate);
}

void PoolState::look_after_template(Garbage& garbage) {
  if (!template_pidfd || !wait_for_end(template_pidfd, Deadline::after(milliseconds(0)))) return;
  std::optional<GateClosed> gate;
  std::string why_not;
  if (!may_fork_again(gate, why_not) && why_not.empty()) return;  // we come here again
  template_missed.reset();
  (void)reap(template_pidfd);
  template_pidfd.reset();
  std::string why = "the process that makes the pool's workers was killed";
  const bool gone = wait_until_all_gone(patient_exits);
  for (int i = 0; i < view.control->workers; ++i) view.slots[i].pid.store(0, std::memory_order_relaxed);
  if (!gone) {
    why += ", and a process forked by a kernel keeps the rest from being sure to be gone";
  } else if (++template_restarts > most_template_restarts) {
    why += " again and again";
    if (const std::string said = valid_utf8(view.control->start_text.data()); !said.empty()) why += ": " + said;
  } else if (!why_not.empty()) {
    why += ", and " + why_not;
  } else {
    try {
      if (current.epoch != 0) {
        const FailureRecord details{};
        recover_all(view, current, log_failure(view, details, "", "lost its worker: " + why));
      }
      tasks.recover(why, garbage);
      start_template();
      ring(*view.control);
      report_progress(*view.control);
      return;
    } catch (const WorkerLost&) {
      return;  // it died before it was ready: we come here again, find it dead and count it
    } catch (const std::exception& error) {
      why.append(", and there cannot be another: ").append(error.what());
      send_signal(template_pidfd, SIGKILL);  // what was begun of another
      (void)reap(template_pidfd);
      template_pidfd.reset();
    }
  }
  end_reason = why;
  settle_as_lost(why);
  tasks.fail_all(why, garbage);
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
    if (state_) state_->shut_down(state_->options.grace, "the pool was destroyed");
    state_ = std::move(other.state_);
  }
  return *this;
}

Pool::~Pool() {
  // A Launch or a future may still hold the state: it finds its slices or its task lost.
  if (state_) state_->shut_down(state_->options.grace, "the pool was destroyed");
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

Launch Pool::launch_bytes(const LaunchOptions& options, const detail::KernelEntry& kernel, const void* closure,
                          std::size_t closure_bytes) {
  return detail::PoolAccess::usable_state(*this, "launch").launch(options, kernel, closure, closure_bytes);
}

detail::ProcessCalls Pool::calls(const char* what) {
  detail::PoolState& state = detail::PoolAccess::usable_state(*this, what);
  return detail::ProcessCalls(std::shared_ptr<detail::ProcessBackend>(state_, &state.tasks));
}

void Pool::close() { detail::PoolAccess::usable_state(*this, "close").close(); }

void Pool::join() { detail::PoolAccess::usable_state(*this, "join").join(); }

void Pool::terminate() noexcept {
  if (!state_ || in_worker_process() || !state_->owned_here()) return;
  detail::PoolState::Garbage garbage;
  const std::lock_guard guard(state_->tasks.mutex());
  state_->tasks.close();
  state_->cancel(state_->current.epoch);
  state_->end_processes(std::chrono::milliseconds(0), "the pool was terminated", garbage);
}

}  // namespace runrig
