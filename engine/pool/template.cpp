#include "template.hpp"

#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <exception>
#include <string>
#include <utility>
#include <vector>

#include "../process/child.hpp"
#include "../process/failure_text.hpp"
#include "runrig/engine/machine.hpp"
#include "runrig/sync/error.hpp"
#include "runrig/sync/killpoint.hpp"
#include "task_booking.hpp"
#include "worker.hpp"

namespace runrig::detail {
namespace {

using std::chrono::milliseconds;
using std::chrono::nanoseconds;

// One worker's place is given up after three successors in a row that failed to start, or twelve that were killed then:
// that may be somebody's doing who kills at random, or memory that ran out for a while.
constexpr int most_strikes = 12;
constexpr int strikes_of_failure = 4;
constexpr int strikes_of_kill = 1;
constexpr int most_failed_forks = 20;  // in a row, with no worker left alive
constexpr milliseconds pause_per_strike(5);
constexpr milliseconds fork_pause(100);
constexpr milliseconds limit_check(10);
// A wait that ends this much later than asked: the whole tree was stopped (Ctrl-Z) or starved.
constexpr milliseconds surely_stopped(500);

std::int64_t now_ns() {
  timespec now{};
  ::clock_gettime(CLOCK_MONOTONIC, &now);
  return std::int64_t{now.tv_sec} * 1'000'000'000 + now.tv_nsec;
}

std::string seconds_text(std::int64_t nanosecond_count) {
  char text[40];
  std::snprintf(text, sizeof text, "%g s", static_cast<double>(nanosecond_count) * 1e-9);
  return text;
}

enum class Limit { none, cpu, wall };

// What the template knows of a worker beside its slot.
struct Watched {
  pid_t pid = 0;
  UniqueFd pidfd;   // none: there is no process
  int strikes = 0;  // in a row, of any successors, none of which got ready
  bool seen_ready = false;
  Clock::time_point start_at{};  // of the next one
  // The slice that it was killed for, and over which limit.
  std::uint64_t condemned_intent = 0;
  Limit condemned_for = Limit::none;
  // The slice seen running last, and the time stopped up to then, which does not count against its wall limit.
  std::uint64_t seen_intent = 0;
  std::int64_t stopped_before_ns = 0;
};

class Template {
 public:
  explicit Template(const TemplateSetup& setup)
      : setup_(setup),
        view_(setup.view),
        control_(*setup.view.control),
        watched_(static_cast<std::size_t>(setup.view.control->workers)),
        parent_(open_pidfd(setup.parent_pid)),
        oom_kills_(out_of_memory_kills("/")) {
    if (::getppid() != setup.parent_pid) ::_exit(1);  // it died first, and the number may be another's by now
  }

  [[noreturn]] void run();

 private:
  void start_all();
  bool start(int index);
  void restart_due();
  void note_start(Watched& ready);
  void note_starts();
  nanoseconds wait_time();
  void wait_for_events(nanoseconds longest);
  void bury(int index);
  void book(int index, const ExitStatus& status);
  [[nodiscard]] bool ran_out_of_memory();
  void book_orphan(const Watched& dead, const Orphan& orphan, const ExitStatus& status, const LaunchRecord& record);
  [[nodiscard]] std::string describe(const Watched& dead, const ExitStatus& status, const LaunchRecord& record,
                                     bool for_limit, bool out_of_memory) const;
  void check_limits();
  void check_slice(int index, const LaunchRecord& record);
  void kill_terminated();
  [[nodiscard]] bool slice_is_running(int index, const LaunchRecord& record, std::uint64_t intent) const;
  [[nodiscard]] std::optional<LaunchRecord> launch_under_way() const;
  [[nodiscard]] int living() const;
  void kill_all() noexcept;
  [[noreturn]] void leave(int code);
  void stop();
  void give_up(const std::string& why);

  const TemplateSetup setup_;
  const ControlView view_;
  Control& control_;
  std::vector<Watched> watched_;
  const UniqueFd parent_;
  // Found out once: to read the limits of the machine takes longer than the rest of a worker's start.
  const bool spins_ = setup_.view.control->workers <= usable_cpu_count();
  std::uint64_t oom_kills_;
  std::int64_t stopped_ns_ = 0;
  int failed_forks_ = 0;
  LostTaskFinder lost_tasks_;
};

void Template::run() {
  start_all();
  RUNRIG_KILLPOINT("pool.template.starting");
  // Release: pairs with the parent's acquire, who then reads the slots.
  control_.phase.store(PoolPhase::running, std::memory_order_release);
  report_progress(control_);
  for (;;) {
    wait_for_events(wait_time());
    if (control_.stopping.load(std::memory_order_acquire) != 0) stop();
    note_starts();
    for (int index = 0; index < control_.workers; ++index) {
      const Watched& each = watched_[static_cast<std::size_t>(index)];
      if (each.pidfd && wait_for_end(each.pidfd, Deadline::after(nanoseconds(0)))) bury(index);
    }
    restart_due();
    check_limits();
    kill_terminated();
  }
}

void Template::start_all() {
  for (int index = 0; index < control_.workers; ++index) {
    if (start(index)) continue;
    control_.start_errno.store(errno, std::memory_order_relaxed);  // carried by the next store
    control_.phase.store(PoolPhase::failed_to_start, std::memory_order_release);
    kill_all();
    report_progress(control_);
    ::_exit(1);
  }
}

// False, with errno, if there can be no new process.
bool Template::start(int index) {
  Watched& each = watched_[static_cast<std::size_t>(index)];
  WorkerSlot& slot = view_.slots[index];
  // Relaxed, all of them: the child gets them by the fork, and the parent only shows them to people.
  slot.phase.store(WorkerPhase::starting, std::memory_order_relaxed);
  control_.forks.fetch_add(1, std::memory_order_relaxed);
  const pid_t template_pid = ::getpid();
  SignalsBlocked blocked;
  const pid_t pid = ::fork();
  if (pid == 0) {
    slot.pid.store(static_cast<std::int32_t>(::getpid()), std::memory_order_relaxed);
    run_worker({view_, index, template_pid, setup_.alive_fd, setup_.options, setup_.foreign, setup_.parent_pid,
                setup_.parent_name, spins_});
  }
  if (pid == -1) {
    slot.phase.store(WorkerPhase::none, std::memory_order_relaxed);
    return false;
  }
  slot.pid.store(static_cast<std::int32_t>(pid), std::memory_order_relaxed);  // the same number twice: who is first
  each.pid = pid;
  each.seen_ready = false;
  each.condemned_for = Limit::none;
  each.pidfd = open_pidfd(pid);  // nobody reaps it but us, so the number is still its own
  return true;
}

// A worker that got ready shows that starting works: what others failed of was no more than bad luck.
void Template::note_start(Watched& ready) {
  if (std::exchange(ready.seen_ready, true)) return;
  for (Watched& each : watched_) each.strikes = 0;
}

void Template::note_starts() {
  for (int index = 0; index < control_.workers; ++index) {
    if (view_.slots[index].phase.load(std::memory_order_relaxed) != WorkerPhase::ready) continue;
    note_start(watched_[static_cast<std::size_t>(index)]);
  }
}

void Template::restart_due() {
  for (int index = 0; index < control_.workers; ++index) {
    Watched& each = watched_[static_cast<std::size_t>(index)];
    if (each.pidfd || each.strikes >= most_strikes || Clock::now() < each.start_at) continue;
    if (start(index)) {
      failed_forks_ = 0;
      report_progress(control_);
      continue;
    }
    const int code = errno;
    each.start_at = Clock::now() + fork_pause;
    if (++failed_forks_ >= most_failed_forks && living() == 0) {
      give_up(std::string("no new process can be made: ") + std::generic_category().message(code));
    }
  }
}

// How long nothing will have to be done unless something happens.
nanoseconds Template::wait_time() {
  nanoseconds longest = forever;
  const auto now = Clock::now();
  for (const Watched& each : watched_) {
    if (each.pidfd || each.strikes >= most_strikes) continue;
    longest = std::min(longest, std::max<nanoseconds>(each.start_at - now, nanoseconds(0)));
  }
  const auto record = launch_under_way();
  const bool limited = record && (record->cpu_limit_ns > 0 || record->wall_limit_ns > 0);
  return limited ? std::min<nanoseconds>(longest, limit_check) : longest;
}

void Template::wait_for_events(nanoseconds longest) {
  std::vector<pollfd> entries;
  entries.push_back({parent_.get(), POLLIN, 0});
  entries.push_back({setup_.command_fd, POLLIN, 0});
  for (const Watched& each : watched_) {
    if (each.pidfd) entries.push_back({each.pidfd.get(), POLLIN, 0});
  }
  const bool bounded = longest != forever;
  const auto timeout = bounded ? std::chrono::ceil<milliseconds>(longest).count() : -1;
  const std::int64_t before = now_ns();
  // -1 is EINTR (a debugger, a stop): the caller looks at everything anyway.
  (void)::poll(entries.data(), entries.size(), static_cast<int>(std::min<std::int64_t>(timeout, 60'000)));
  if (bounded) {
    const std::int64_t late = now_ns() - before - timeout * 1'000'000;
    if (late > nanoseconds(surely_stopped).count()) stopped_ns_ += late;
  }
  if (entries[0].revents != 0) leave(0);
  if (entries[1].revents != 0) {
    std::uint64_t count = 0;
    (void)retry_on_eintr([&] { return ::read(setup_.command_fd, &count, sizeof count); });
  }
}

void Template::bury(int index) {
  Watched& dead = watched_[static_cast<std::size_t>(index)];
  WorkerSlot& slot = view_.slots[index];
  const ExitStatus status = reap(dead.pidfd);
  dead.pidfd.reset();
  RUNRIG_KILLPOINT("pool.template.reaped");
  const WorkerPhase phase = slot.phase.load(std::memory_order_relaxed);
  const bool left = phase == WorkerPhase::leaving && status.signal == 0 && status.exit_code == 0;
  if (!left) control_.deaths.fetch_add(1, std::memory_order_relaxed);  // a figure for people
  const bool was_ready = phase == WorkerPhase::ready || phase == WorkerPhase::leaving;
  book(index, status);
  book_dead_worker_tasks(
      view_, index, dead.pid, status, [this] { return ran_out_of_memory(); }, lost_tasks_);
  slot.pid.store(0, std::memory_order_relaxed);
  slot.phase.store(WorkerPhase::none, std::memory_order_relaxed);
  slot.mapped.store(0, std::memory_order_relaxed);
  if (was_ready) {
    note_start(dead);  // it may have got ready and died since we looked last
    dead.strikes = 0;
    dead.start_at = Clock::now();
    return;
  }
  const bool killed = status.signal == SIGKILL || status.signal == SIGTERM;
  dead.strikes += killed ? strikes_of_kill : strikes_of_failure;
  dead.start_at = Clock::now() + pause_per_strike * dead.strikes;
  if (dead.strikes < most_strikes) return;
  slot.phase.store(WorkerPhase::retired, std::memory_order_relaxed);
  const bool none_left =
      std::all_of(watched_.begin(), watched_.end(), [](const Watched& each) { return each.strikes >= most_strikes; });
  if (none_left) {
    const std::string how = status.signal != 0 ? "was killed by " + signal_name(status.signal)
                                               : "left with exit code " + std::to_string(status.exit_code);
    const std::string said = valid_utf8(control_.start_text.data());
    give_up("each new worker dies at its start; the last one " + how + (said.empty() ? "" : ": " + said));
  }
}

// The slices: what the dead worker left is run again by another, or final.
void Template::book(int index, const ExitStatus& status) {
  WorkerSlot& slot = view_.slots[index];
  const Watched& dead = watched_[static_cast<std::size_t>(index)];
  // While the parent writes a launch there is none under way, so nothing was left.
  const auto record = control_.launch.record();
  if (!record) return;
  const auto orphan = settle_dead_worker(view_, slot, dead.pid, record->epoch);
  if (orphan) book_orphan(dead, *orphan, status, *record);
  RUNRIG_KILLPOINT("pool.template.booked");
  // Always: it may have died between taking a number and claiming the slice.
  if (rewind_to_pending(view_, record->epoch, record->slices)) ring(control_);
  announce_if_complete(view_, record->epoch, record->slices);
}

// Whether the kernel's out-of-memory killer was at work since we looked last.
bool Template::ran_out_of_memory() {
  const std::uint64_t kills = out_of_memory_kills("/");
  return kills > std::exchange(oom_kills_, kills);
}

bool is_crash(const ExitStatus& status) {
  constexpr int crashes[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT, SIGSYS, SIGTRAP};
  return status.signal == 0 || std::find(std::begin(crashes), std::end(crashes), status.signal) != std::end(crashes);
}

void Template::book_orphan(const Watched& dead, const Orphan& orphan, const ExitStatus& status,
                           const LaunchRecord& record) {
  const std::uint64_t intent = EpochWord{record.epoch, orphan.index + 1}.pack();
  const bool over_limit = dead.condemned_for != Limit::none && dead.condemned_intent == intent;
  const bool for_other = dead.condemned_for != Limit::none && !over_limit;
  const bool terminated = control_.terminated.load(std::memory_order_relaxed) == record.epoch;
  if (!over_limit && !terminated && !(is_crash(status) && record.retry_crashes == 0)) {
    // Killed for the slice before, which it finished just then: this one is not to blame.
    const int kills = for_other ? orphan.attempts - 1 : orphan.attempts;
    if (kills < record.max_kills && record.max_kills > 1) {
      make_pending(view_, record.epoch, orphan, kills);
      return;
    }
  }
  FailureRecord details{};
  details.pid = static_cast<std::int32_t>(dead.pid);
  details.signal = status.signal;
  details.exit_code = status.exit_code;
  if (status.signal == SIGKILL && dead.condemned_for == Limit::none && !terminated) {
    details.out_of_memory = ran_out_of_memory() ? 1 : 0;
  }
  const std::string text = describe(dead, status, record, over_limit, details.out_of_memory != 0);
  const SliceState state = over_limit ? SliceState::stalled : terminated ? SliceState::cancelled : SliceState::lost;
  // Before it is counted, as in the workers.
  if (record.keep_going == 0) control_.cancelled.store(record.epoch, std::memory_order_relaxed);
  make_final(view_, record.epoch, orphan, dead.pid, state, log_failure(view_, details, "", text));
}

std::string Template::describe(const Watched& dead, const ExitStatus& status, const LaunchRecord& record,
                               bool for_limit, bool out_of_memory) const {
  if (for_limit && dead.condemned_for == Limit::cpu) {
    return "used more than " + seconds_text(record.cpu_limit_ns) + " of CPU time";
  }
  if (for_limit) return "took longer than " + seconds_text(record.wall_limit_ns);
  return describe_end(status, out_of_memory);
}

std::optional<LaunchRecord> Template::launch_under_way() const {
  auto record = control_.launch.record();
  if (record && count_finished(view_, record->epoch) == record->slices) record.reset();
  return record;
}

bool Template::slice_is_running(int index, const LaunchRecord& record, std::uint64_t intent) const {
  const EpochWord word = EpochWord::unpack(intent);
  if (word.epoch != record.epoch || word.number == 0 || word.number > record.slices) return false;
  const SliceWord slice = SliceWord::unpack(view_.table[word.number - 1].load(std::memory_order_acquire));
  return slice.epoch == record.epoch && slice.state == SliceState::running &&
         slice.pid == watched_[static_cast<std::size_t>(index)].pid;
}

void Template::check_limits() {
  const auto record = launch_under_way();
  if (!record || (record->cpu_limit_ns <= 0 && record->wall_limit_ns <= 0)) return;
  for (int index = 0; index < control_.workers; ++index) check_slice(index, *record);
}

void Template::check_slice(int index, const LaunchRecord& record) {
  Watched& each = watched_[static_cast<std::size_t>(index)];
  const WorkerSlot& slot = view_.slots[index];
  // Relaxed words of a living worker may belong to two slices; so the intent is read again below.
  const std::uint64_t intent = slot.intent.load(std::memory_order_acquire);
  if (!each.pidfd || each.condemned_for != Limit::none || !slice_is_running(index, record, intent)) return;
  const std::int64_t began = slot.began_ns.load(std::memory_order_relaxed);
  const std::int64_t began_cpu = slot.began_cpu_ns.load(std::memory_order_relaxed);
  if (std::exchange(each.seen_intent, intent) != intent) each.stopped_before_ns = stopped_ns_;
  Limit over = Limit::none;
  if (record.wall_limit_ns > 0 && now_ns() - began - (stopped_ns_ - each.stopped_before_ns) > record.wall_limit_ns) {
    over = Limit::wall;
  }
  clockid_t cpu_clock{};
  timespec used{};
  if (record.cpu_limit_ns > 0 && ::clock_getcpuclockid(each.pid, &cpu_clock) == 0 &&
      ::clock_gettime(cpu_clock, &used) == 0 &&
      std::int64_t{used.tv_sec} * 1'000'000'000 + used.tv_nsec - began_cpu > record.cpu_limit_ns) {
    over = Limit::cpu;
  }
  // If it has gone on to another slice, the times read above were of two slices.
  if (over == Limit::none || slot.intent.load(std::memory_order_acquire) != intent) return;
  each.condemned_for = over;
  each.condemned_intent = intent;
  send_signal(each.pidfd, SIGKILL);
}

void Template::kill_terminated() {
  const auto record = launch_under_way();
  if (!record || control_.terminated.load(std::memory_order_relaxed) != record->epoch) return;
  for (int index = 0; index < control_.workers; ++index) {
    const Watched& each = watched_[static_cast<std::size_t>(index)];
    const std::uint64_t intent = view_.slots[index].intent.load(std::memory_order_acquire);
    if (each.pidfd && slice_is_running(index, *record, intent)) send_signal(each.pidfd, SIGKILL);
  }
}

int Template::living() const {
  return static_cast<int>(
      std::count_if(watched_.begin(), watched_.end(), [](const Watched& each) { return bool(each.pidfd); }));
}

void Template::kill_all() noexcept {
  for (const Watched& each : watched_) send_signal(each.pidfd, SIGKILL);
  for (Watched& each : watched_) {
    if (!each.pidfd) continue;
    (void)reap(each.pidfd);
    each.pidfd.reset();
  }
}

void Template::leave(int code) {
  kill_all();
  ::_exit(code);
}

// The parent says so: workers leave by themselves when they are done with their slice, for the grace time.
void Template::stop() {
  const auto deadline = Deadline::after(milliseconds(control_.grace_ms));
  for (Watched& each : watched_) {
    while (each.pidfd) {
      if (wait_for_end(parent_, Deadline::after(nanoseconds(0))) || deadline.passed()) leave(0);
      if (!wait_for_end(each.pidfd, Deadline::after(milliseconds(20)).sooner(deadline))) continue;
      (void)reap(each.pidfd);
      each.pidfd.reset();
    }
  }
  leave(0);
}

// No worker can be made any more. The parent ends us, and settles what is under way.
void Template::give_up(const std::string& why) {
  std::snprintf(control_.start_text.data(), start_text_bytes, "%s", why.c_str());
  control_.phase.store(PoolPhase::broken, std::memory_order_release);  // pairs with the parent's acquire, for the text
  report_progress(control_);
}

}  // namespace

void run_template(const TemplateSetup& setup) {
  int code = 1;
  try {
    mark_worker_process();
    // It ends with its parent, which it watches; what is sent to the whole group is for the parent to act on.
    const int ignored[] = {SIGTERM, SIGUSR1, SIGUSR2, SIGALRM};
    set_child_signals(ignored);
    std::vector<int> kept = setup.options->keep_fds;
    kept.push_back(setup.command_fd);
    kept.push_back(setup.alive_fd);
    close_descriptors_except(kept);
    detach_stdin();
    set_process_name(setup.options->name.substr(0, 11) + "/tpl");
    Template(setup).run();
  } catch (const std::exception& error) {
    std::snprintf(setup.view.control->start_text.data(), start_text_bytes, "%s", error.what());
  }
  // Its workers are told by the kernel (PR_SET_PDEATHSIG), the parent by the pidfd.
  ::_exit(code);
}

}  // namespace runrig::detail
