#include "runrig/engine/process.hpp"

#include <poll.h>
#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <stdexcept>
#include <typeinfo>
#include <utility>

#include "child_life.hpp"
#include "process_state.hpp"
#include "runrig/engine/pool.hpp"
#include "runrig/sync/error.hpp"
#include "start_process.hpp"

namespace runrig {
namespace detail {
namespace {

using Phase = ProcessState::Phase;
using std::chrono::nanoseconds;

constexpr int unknown_exit_code = 255;  // as Python reports the children of a fork server that was killed

constinit thread_local bool made_as_this_process = false;

// Runs in a child that was told what to do.
const ChildEntry call_entry("process.call", [](ChildInput&& input) {
  CallWire::read(input.payload).run(input.descriptors);  // nobody waits for a result
});

[[noreturn]] void refuse(std::string_view attempted, const ProcessState& state, std::string_view why) {
  throw std::logic_error(std::string(attempted) + " process '" + state.name + "': " + std::string(why));
}

enum class Use { start, own_child, ask };

// With the processes locked. `ask`: what may be asked of this process and of the parent as well.
void check_use(std::string_view attempted, const ProcessState& state, const ProcessPtr& self, Use use) {
  if (state.phase == Phase::closed) refuse(attempted, state, "its Process object is closed");
  if (&state == self.get()) {
    if (use == Use::ask) return;
    refuse(attempted, state, "it is this process itself");
  }
  if (state.is_parent) {
    if (use == Use::ask) return;
    refuse(attempted, state, "it is the parent of this process, which cannot do that to it");
  }
  if (state.creator != ::getpid()) {
    refuse(attempted, state, "only the process that made the object can, and this is another one");
  }
  if (use == Use::own_child && (state.phase == Phase::initial || state.phase == Phase::starting)) {
    refuse(attempted, state, "it has not been started");
  }
}

}  // namespace

struct ProcessAccess {
  [[nodiscard]] static Process of(ProcessPtr state) { return Process(std::move(state)); }
  [[nodiscard]] static const ProcessPtr& state(const Process& process) {
    if (!process.state_) throw std::logic_error("use a Process: the object was moved from");
    return process.state_;
  }
  static void start(Process& process);
  [[nodiscard]] static NewProcess make(Process& process, const ProcessPtr& state, StartMethod method);
  [[nodiscard]] static Call call_elsewhere(const Process& process, const ProcessState& state, StartMethod method);
};

Call ProcessAccess::call_elsewhere(const Process& process, const ProcessState& state, StartMethod method) {
  Call call = process.call_elsewhere();
  const std::string attempted = "start process '" + state.name + "'";
  if (!call && typeid(process) != typeid(Process)) {
    throw std::logic_error(attempted + " by " + std::string(to_string(method)) +
                           ": its type is derived from Process, and the new process would have no copy of the object; "
                           "derive it from Subprocess<...>, or start it by fork");
  }
  if (!call) return Call::make([] {});  // nothing to call is no error, as in Python
  call.check(AddressLayout::foreign, attempted.c_str());
  return call;
}

NewProcess ProcessAccess::make(Process& process, const ProcessPtr& state, StartMethod method) {
  if (method == StartMethod::fork) {
    if (process.call_) process.call_.check(AddressLayout::forked, ("start process '" + state->name + "'").c_str());
    NewProcess made = start_by_fork(state, [&process] { process.run(); });
    process.call_.give_descriptors_away();
    return made;
  }
  Preparation told = prepare(*state, method, call_entry.name());
  const Call call = call_elsewhere(process, *state, method);
  call.wire().write(told.payload);
  NewProcess made = start_as_told(std::move(told), call.descriptors());
  call.give_descriptors_away();
  return made;
}

void ProcessAccess::start(Process& process) {
  const ProcessPtr state = ProcessAccess::state(process);
  const ProcessPtr self = this_process();
  StartMethod method = StartMethod::fork;
  {
    const auto guard = lock_processes();
    check_use("start", *state, self, Use::start);
    if (state->phase != Phase::initial) refuse("start", *state, "it has been started already; each is started once");
    if (self->daemon) refuse("start", *state, "this process is a daemon, and daemons may not have children");
    if (in_worker_process()) refuse("start", *state, "this process is a pool's worker, which may not have children");
    method = state->method ? *state->method : get_start_method();
    state->method = method;
    state->phase = Phase::starting;
  }
  try {
    (void)living_children();  // joins the others
    register_end_of_children();
    NewProcess made = make(process, state, method);
    list_child(state, made.pid, std::move(made.pidfd));
  } catch (...) {
    const auto guard = lock_processes();
    state->phase = Phase::initial;  // it may be tried again
    throw;
  }
}

MadeAsThisProcess::MadeAsThisProcess() noexcept { made_as_this_process = true; }
MadeAsThisProcess::~MadeAsThisProcess() { made_as_this_process = false; }

namespace {

ProcessPtr make_state(ProcessOptions options) {
  if (std::exchange(made_as_this_process, false)) return this_process();
  ProcessPtr state = make_child_state();
  if (!options.name.empty()) state->name = std::move(options.name);
  if (options.daemon) state->daemon = *options.daemon;
  state->method = options.start_method;
  state->other_threads = options.other_threads;
  return state;
}

// The descriptor by which its end is seen. With the processes locked; that of the parent is made when it is wanted.
void open_parent_pidfd(ProcessState& parent) {
  if (!parent.is_parent || parent.pidfd || parent.phase == Phase::ended) return;
  try {
    parent.pidfd = open_pidfd(parent.pid);
    if (::getppid() == parent.pid) return;
  } catch (const Error& error) {
    if (error.code() != std::errc::no_such_process) throw;
  }
  // It had gone before, and the number may be another's.
  parent.pidfd = gone_process_fd(parent.name);
  parent.phase = Phase::ended;
}

void signal_child(const Process& process, std::string_view attempted, int signal) {
  const ProcessPtr& state = ProcessAccess::state(process);
  const ProcessPtr self = this_process();
  const auto guard = lock_processes();
  check_use(attempted, *state, self, Use::own_child);
  if (state->phase == Phase::started) send_signal(state->pidfd, signal);
}

}  // namespace
}  // namespace detail

using detail::lock_processes;
using detail::ProcessAccess;
using detail::Use;
using Phase = detail::ProcessState::Phase;

Process::Process(std::shared_ptr<detail::ProcessState> state) noexcept : state_(std::move(state)) {}
Process::Process(ProcessOptions options) : state_(detail::make_state(std::move(options))) {}
Process::Process(ProcessOptions options, detail::Call call)
    : state_(detail::make_state(std::move(options))), call_(std::move(call)) {}
Process::Process(Process&&) noexcept = default;
Process& Process::operator=(Process&&) noexcept = default;
Process::~Process() = default;

void Process::run() {
  if (call_) call_.run_here();
}

detail::Call Process::call_elsewhere() const { return call_; }

void Process::start() { ProcessAccess::start(*this); }

bool Process::join(std::chrono::nanoseconds timeout) {
  const auto& state = ProcessAccess::state(*this);
  const auto self = detail::this_process();
  {
    const auto guard = lock_processes();
    if (state == self) detail::refuse("join", *state, "it is this process itself, which would wait for ever");
    check_use("join", *state, self, state->is_parent ? Use::ask : Use::own_child);
    detail::open_parent_pidfd(*state);
  }
  return detail::await_end(state, Deadline::after(timeout));
}

bool Process::is_alive() const {
  const auto& state = ProcessAccess::state(*this);
  const auto self = detail::this_process();
  {
    const auto guard = lock_processes();
    check_use("ask about", *state, self, Use::ask);
    if (state == self) return true;
    if (state->phase == Phase::initial || state->phase == Phase::starting) return false;
    detail::open_parent_pidfd(*state);
  }
  return !detail::await_end(state, Deadline::after(std::chrono::nanoseconds(0)));
}

std::optional<int> Process::exit_code() const {
  const auto& state = ProcessAccess::state(*this);
  if (state == detail::this_process() || is_alive()) return std::nullopt;
  const auto guard = lock_processes();
  if (state->phase != Phase::ended || state->is_parent) return std::nullopt;
  if (!state->status.known) return detail::unknown_exit_code;
  return state->status.signal != 0 ? -state->status.signal : state->status.exit_code;
}

bool Process::exit_code_is_known() const {
  const auto& state = ProcessAccess::state(*this);
  (void)is_alive();
  const auto guard = lock_processes();
  return state->phase != Phase::ended || state->status.known;
}

std::optional<pid_t> Process::pid() const {
  const auto& state = ProcessAccess::state(*this);
  const auto self = detail::this_process();
  const auto guard = lock_processes();
  if (state->phase == Phase::closed) detail::refuse("ask about", *state, "its Process object is closed");
  if (state == self) return ::getpid();  // also after a fork that was not ours
  if (state->phase == Phase::initial || state->phase == Phase::starting) return std::nullopt;
  return state->pid;
}

std::string Process::name() const {
  const auto guard = lock_processes();
  return ProcessAccess::state(*this)->name;
}

void Process::set_name(std::string name) {
  const auto guard = lock_processes();
  ProcessAccess::state(*this)->name = std::move(name);
}

bool Process::daemon() const {
  const auto guard = lock_processes();
  return ProcessAccess::state(*this)->daemon;
}

void Process::set_daemon(bool daemon) {
  const auto guard = lock_processes();
  auto& state = *ProcessAccess::state(*this);
  if (state.phase != Phase::initial) {
    detail::refuse("make a daemon of", state, "it has been started; that is decided before");
  }
  state.daemon = daemon;
}

std::vector<std::byte> Process::authkey() const {
  const auto guard = lock_processes();
  return ProcessAccess::state(*this)->authkey;
}

void Process::set_authkey(std::span<const std::byte> key) {
  const auto guard = lock_processes();
  ProcessAccess::state(*this)->authkey.assign(key.begin(), key.end());
}

std::optional<StartMethod> Process::start_method() const {
  const auto guard = lock_processes();
  return ProcessAccess::state(*this)->method;
}

void Process::terminate() { detail::signal_child(*this, "terminate", SIGTERM); }
void Process::kill() { detail::signal_child(*this, "kill", SIGKILL); }

void Process::close() {
  const auto& state = ProcessAccess::state(*this);
  const auto self = detail::this_process();
  {
    const auto guard = lock_processes();
    if (state->phase == Phase::closed) return;
    check_use("close", *state, self, Use::start);
  }
  if (is_alive()) {
    const auto guard = lock_processes();
    detail::refuse("close", *state, "it still runs; join it first, or terminate it");
  }
  detail::unlist_child(*state);
  const auto guard = lock_processes();
  state->pidfd.reset();
  state->phase = Phase::closed;
}

int Process::sentinel() const {
  const auto& state = ProcessAccess::state(*this);
  const auto self = detail::this_process();
  const auto guard = lock_processes();
  check_use("watch", *state, self, state->is_parent ? Use::ask : Use::own_child);
  detail::open_parent_pidfd(*state);
  return state->pidfd.get();
}

std::vector<Process> active_children() {
  std::vector<Process> children;
  for (auto& each : detail::living_children()) children.push_back(ProcessAccess::of(std::move(each)));
  return children;
}

Process current_process() { return ProcessAccess::of(detail::this_process()); }

std::optional<Process> parent_process() {
  auto parent = detail::parent_of_this_process();
  if (!parent) return std::nullopt;
  return ProcessAccess::of(std::move(parent));
}

int cpu_count() {
  const long count = ::sysconf(_SC_NPROCESSORS_ONLN);
  return count > 0 ? static_cast<int>(count) : 1;
}

std::string to_string(const Process& process) {
  const auto& state = ProcessAccess::state(process);
  std::string text = "Process '" + process.name() + "' (";
  Phase phase{};
  {
    const auto guard = lock_processes();
    phase = state->phase;
  }
  if (phase == Phase::initial || phase == Phase::starting) return text + "initial)";
  if (phase == Phase::closed) return text + "closed)";
  // Elsewhere than in its parent nothing more is known of it.
  const bool ours = state->creator == ::getpid();
  const auto code = ours ? process.exit_code() : std::nullopt;
  if (code) return text + "stopped, exit code " + std::to_string(*code) + ")";
  return text + "started, pid " + std::to_string(process.pid().value_or(0)) + ")";
}

}  // namespace runrig
