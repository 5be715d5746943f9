#include "worker.hpp"

#include <cxxabi.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <exception>
#include <fstream>
#include <new>
#include <string_view>
#include <vector>

#include "../process/child.hpp"
#include "../process/failure_text.hpp"
#include "../process/foreign_code.hpp"
#include "../process/process_state.hpp"
#include "runrig/engine/machine.hpp"
#include "runrig/sync/error.hpp"
#include "runrig/sync/killpoint.hpp"
#include "runrig/sync/unique_fd.hpp"
#include "segments.hpp"
#include "task_errors.hpp"
#include "task_table.hpp"
#include "task_worker.hpp"

namespace runrig {
namespace detail {
namespace {

bool is_worker = false;

// exit() in a body would run the exit handlers that this process inherited, and they would flush the files of the
// parent (HDF5's would destroy them). Handlers run in the reverse order of their registration: ours is the first.
void leave_at_once(int status, void* /*unused*/) { ::_exit(status); }

// When memory runs out, a worker goes before its parent. Raising one's own is always allowed, and no more than a wish.
void prefer_for_out_of_memory() {
  constexpr std::string_view score = "500";
  const UniqueFd file(::open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC));
  if (file && ::write(file.get(), score.data(), score.size()) == -1) return;
}

void limit_private_memory(std::size_t bytes) {
  if (bytes == 0) return;
  // The kernel counts what was inherited, too.
  std::size_t pages = 0;
  std::ifstream statm("/proc/self/statm");
  for (int field = 0; field < 6; ++field) statm >> pages;  // the sixth is data and stack
  const auto page_bytes = static_cast<std::size_t>(::sysconf(_SC_PAGESIZE));
  const rlimit limit{pages * page_bytes + bytes, RLIM_INFINITY};
  rlimit former{};
  check_errno(::getrlimit(RLIMIT_DATA, &former), "read", "data limit");
  const rlimit merged{std::min(limit.rlim_cur, former.rlim_max), former.rlim_max};
  check_errno(::setrlimit(RLIMIT_DATA, &merged), "set", "data limit");
}

// What current_process(), parent_process() and the log know of this process.
void take_identity(const WorkerSetup& setup) {
  const ProcessPtr former = this_process();
  auto self = std::make_shared<ProcessState>();
  self->creator = setup.owner_pid;
  self->method = setup.options->start_method;
  self->name = worker_name(*self->method, static_cast<std::uint32_t>(setup.index));
  self->authkey = former->authkey;
  self->daemon = true;
  become(std::move(self), setup.owner_pid, setup.owner_name);
}

void prepare_process(const WorkerSetup& setup) {
  mark_worker_process();
  take_identity(setup);
  set_child_signals({});
  // The template is single-threaded, so its death is that of the thread this signal is tied to.
  check_errno(::prctl(PR_SET_PDEATHSIG, SIGKILL), "arm", "worker");
  if (::getppid() != setup.template_pid) ::_exit(1);  // it died before that
  if (::on_exit(leave_at_once, nullptr) != 0) throw Error(std::errc::not_enough_memory, "register", "exit handler");
  std::vector<int> kept = setup.options->keep_fds;
  kept.push_back(setup.alive_fd);
  close_descriptors_except(kept);
  set_process_name(setup.options->name.substr(0, 11) + "/" + std::to_string(setup.index));
  if (!setup.options->core_files) {
    const rlimit none{0, 0};
    ::setrlimit(RLIMIT_CORE, &none);
  }
  prefer_for_out_of_memory();
  limit_private_memory(setup.options->worker_data_limit_bytes);
}

// False if it threw; the reason is left for the parent.
bool initialize(const WorkerSetup& setup) {
  try {
    if (setup.options->initializer) setup.options->initializer();
    return true;
  } catch (...) {
    const ExceptionText reason = describe_current_exception();
    const std::string text = "the initializer threw " + reason.type + (reason.text.empty() ? "" : ": ") + reason.text;
    auto& shared = setup.view.control->start_text;
    const std::size_t length = std::min(text.size(), shared.size() - 1);
    std::memcpy(shared.data(), text.data(), length);
    shared[length] = '\0';
    return false;
  }
}

std::int64_t clock_ns(clockid_t clock) {
  timespec now{};
  ::clock_gettime(clock, &now);
  return std::int64_t{now.tv_sec} * 1'000'000'000 + now.tv_nsec;
}

// Relaxed: the template reads them with the slice's entry, which carries them, or a heartbeat later, which only favours
// the slice.
void start_clocks(WorkerSlot& slot) noexcept {
  slot.began_ns.store(clock_ns(CLOCK_MONOTONIC), std::memory_order_relaxed);
  slot.began_cpu_ns.store(clock_ns(CLOCK_PROCESS_CPUTIME_ID), std::memory_order_relaxed);
}

SliceBody body_of(const WorkerState& state) {
  const std::uintptr_t code = state.launch.record.code;
  if (state.foreign == nullptr) return reinterpret_cast<SliceBody>(code);
  return static_cast<const KernelEntry&>(state.foreign->entry(code, CodeKind::kernel)).body;
}

// Runs the body; what it throws becomes a failure record.
SliceState run_body(WorkerState& state, const Claim& claimed, std::uint32_t& failure) {
  const LaunchRecord& record = state.launch.record;
  SliceContext context = SliceContextAccess::make(state, record.first_slice + claimed.index, claimed.attempt);
  try {
    body_of(state)(reinterpret_cast<const std::byte*>(state.launch.closure.data()), context);
    return SliceState::done;
  } catch (abi::__forced_unwind&) {
    throw;  // pthread_exit: must not be stopped; the process ends, and that is how it is booked
  } catch (...) {
    FailureRecord details{};
    details.pid = static_cast<std::int32_t>(::getpid());
    try {
      const ExceptionText text = describe_current_exception();
      details.out_of_memory = text.out_of_memory ? 1 : 0;
      failure = log_failure(state.view, details, text.type, text.text);
    } catch (...) {
      // No memory for the description, which is the likeliest reason for the failure as well.
      details.out_of_memory = 1;
      failure = log_failure(state.view, details, "exception", "no memory was left to say which");
    }
    return SliceState::failed;
  }
}

// Claims and runs slices until none is left.
void work(WorkerState& state) {
  const LaunchRecord& record = state.launch.record;
  Control& control = *state.view.control;
  WorkerSlot& slot = state.slot();
  const bool limited = record.cpu_limit_ns > 0 || record.wall_limit_ns > 0;
  bool any = false;
  // Relaxed: leaving, or calling off, a moment later does no harm.
  while (control.stopping.load(std::memory_order_relaxed) == 0 && !state.leaving) {
    // Before the claim: the template reads them once it sees the slice running. What they count too much, the time to
    // claim, is nothing beside a limit.
    if (limited) start_clocks(slot);
    const auto claimed = claim(state.view, slot, record.epoch, record.slices);
    if (!claimed) break;
    any = true;
    std::uint32_t failure = 0;
    SliceState end = SliceState::cancelled;
    if (control.cancelled.load(std::memory_order_relaxed) != record.epoch) end = run_body(state, *claimed, failure);
    // Before it is counted, or the parent could begin the next launch in between.
    if (end == SliceState::failed && record.keep_going == 0) {
      control.cancelled.store(record.epoch, std::memory_order_relaxed);
    }
    finish(state.view, slot, record.epoch, *claimed, end, failure);
    // Tasks take turns with slices, or a long launch would hold them up.
    if (tasks_waiting(*state.view.tasks.control)) (void)run_one_task(state);
  }
  // Only who finished something can have finished the last one.
  if (any) announce_if_complete(state.view, record.epoch, record.slices);
}

}  // namespace

void mark_worker_process() noexcept { is_worker = true; }

void run_worker(const WorkerSetup& setup) {
  WorkerState state;
  try {
    prepare_process(setup);
    RUNRIG_KILLPOINT("pool.worker.starting");
    if (!initialize(setup)) ::_exit(1);
  } catch (const std::exception& error) {
    std::snprintf(setup.view.control->start_text.data(), start_text_bytes, "%s", error.what());
    ::_exit(1);
  }
  static WorkerSegments segments;  // static: never destroyed, as this process leaves by _exit
  state.view = setup.view;
  state.index = setup.index;
  state.segments = &segments;
  state.foreign = setup.foreign;
  state.tasks_left = setup.options->max_tasks_per_child;
  state.spins = setup.spins;
  Control& control = *state.view.control;
  // Relaxed: nothing goes with it; the template and the parent only look.
  state.slot().phase.store(WorkerPhase::ready, std::memory_order_relaxed);
  for (;;) {
    // Acquire: pairs with ring(). Read before looking for work, so that a ring in between ends the wait at once.
    const std::uint32_t seen = control.bell.load(std::memory_order_acquire);
    if (control.stopping.load(std::memory_order_relaxed) != 0) break;
    segments.drop_closed(state.view, state.slot());
    // Also for the launch that is known already: after a death slices of it are pending again.
    (void)control.launch.copy_newer(state.launch.record.epoch, state.launch);
    if (state.launch.record.epoch != 0) work(state);
    // Until the bell rings: there may be a launch now, or the end. Relaxed: the next turn reads it with the right
    // order.
    while (!state.leaving && control.stopping.load(std::memory_order_relaxed) == 0 && run_one_task(state) &&
           control.bell.load(std::memory_order_relaxed) == seen) {
    }
    if (state.leaving) break;
    wait_for_work(state, seen);
  }
  // Relaxed: the template looks only after it has reaped this process.
  if (state.leaving) state.slot().phase.store(WorkerPhase::leaving, std::memory_order_relaxed);
  std::fflush(stdout);  // what bodies printed; no other stream, whose descriptor may be something else by now
  ::_exit(0);
}

}  // namespace detail

bool in_worker_process() noexcept { return detail::is_worker; }

bool SliceContext::cancelled() const noexcept {
  // Relaxed: a hint, nothing goes with it.
  return state_.view.control->cancelled.load(std::memory_order_relaxed) == state_.launch.record.epoch;
}

void SliceContext::heartbeat() noexcept {
  const detail::LaunchRecord& record = state_.launch.record;
  if (record.cpu_limit_ns > 0 || record.wall_limit_ns > 0) detail::start_clocks(state_.slot());
}

void SliceContext::retire() noexcept { state_.leaving = true; }

std::byte* SliceContext::scratch(std::size_t size_bytes) {
  if (size_bytes <= state_.scratch_bytes) return state_.scratch;
  const std::size_t wanted =
      std::max((size_bytes + 4095) / 4096 * 4096, state_.scratch_bytes + state_.scratch_bytes / 2);
  void* moved = state_.scratch == nullptr
                    ? ::mmap(nullptr, wanted, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0)
                    : ::mremap(state_.scratch, state_.scratch_bytes, wanted, MREMAP_MAYMOVE);
  if (moved == MAP_FAILED) throw std::bad_alloc();
  state_.scratch = static_cast<std::byte*>(moved);
  state_.scratch_bytes = wanted;
  return state_.scratch;
}

std::string_view to_string(SliceState state) noexcept {
  switch (state) {
    case SliceState::pending:
      return "pending";
    case SliceState::running:
      return "running";
    case SliceState::done:
      return "done";
    case SliceState::failed:
      return "failed";
    case SliceState::lost:
      return "lost";
    case SliceState::stalled:
      return "stalled";
    case SliceState::cancelled:
      return "cancelled";
  }
  return "unknown";
}

}  // namespace runrig
