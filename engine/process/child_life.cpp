#include "child_life.hpp"

#include <cxxabi.h>
#include <unistd.h>

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <thread>
#include <utility>

#include "../manager/known_managers.hpp"
#include "failure_text.hpp"
#include "fork_scope.hpp"
#include "fork_server.hpp"
#include "runrig/engine/log.hpp"
#include "runrig/engine/machine.hpp"
#include "runrig/sync/error.hpp"
#include "runrig/sync/killpoint.hpp"
#include "whole_write.hpp"

namespace runrig::detail {
namespace {

// How long a daemon may take to act on SIGTERM, if it does something about it.
constexpr std::chrono::seconds daemon_grace(2);

// exit() would run the exit handlers that a forked child has inherited, and they would flush the files of the parent
// (HDF5's would destroy them). Handlers run in the reverse order of their registration: those that the child has
// registered itself, then this one.
void leave_with(int code, void* /*unused*/) { leave_process(code); }

void report_uncaught(const std::string& name) {
  const ExceptionText what = describe_current_exception();
  // In one piece, so that lines of several processes do not mix.
  write_whole(STDERR_FILENO, "Process " + name + ": " + what.type + (what.text.empty() ? "" : ": ") + what.text + "\n");
}

ProcessPtr state_as_told(const Preparation& told) {
  auto self = std::make_shared<ProcessState>();
  self->creator = told.parent_pid;
  self->name = told.name;
  self->numbers = told.numbers;
  self->authkey = told.authkey;
  self->daemon = told.daemon;
  self->method = told.method;
  return self;
}

void set_identity(Newborn& newborn) {
  become(newborn.self, newborn.parent_pid, newborn.parent_name);
  set_start_method(newborn.method, Force::yes);
  // The others come from an exec, this process' own or that of its fork server, which changes no handler.
  if (newborn.method == StartMethod::fork) set_signals_as_after_exec();
  unblock_signals();
  if (newborn.lifeline) end_with_pipe(std::move(newborn.lifeline));
  if (::on_exit(leave_with, nullptr) != 0) throw Error(std::errc::not_enough_memory, "register", "exit handler");
}

void end_each(const std::vector<ProcessPtr>& children) {
  const auto is_daemon = [](const ProcessPtr& child) {
    const auto guard = lock_processes();
    return child->daemon;
  };
  for (const auto& child : children) {
    if (is_daemon(child)) send_signal(child->pidfd, SIGTERM);
  }
  const auto deadline = Deadline::after(daemon_grace);
  for (const auto& child : children) {
    if (!is_daemon(child)) continue;
    if (await_end(child, deadline)) continue;
    send_signal(child->pidfd, SIGKILL);
    (void)await_end(child, Deadline());
  }
  for (const auto& child : children) (void)await_end(child, Deadline());
}

}  // namespace

// What a forced unwinding throws is no object: the reference to it is to nothing, which a sanitizer would stop at.
__attribute__((no_sanitize("null"))) void live(Newborn newborn, const std::function<void()>& body) {
  int code = 1;
  try {
    set_identity(newborn);
    detach_stdin();
    RUNRIG_KILLPOINT("process.child.starting");
    get_logger().info("child process calling run()");
    body();
    code = 0;
  } catch (abi::__forced_unwind&) {
    // pthread_exit in the first thread: the process goes on until the others have ended. It must not get any further:
    // in a forked child the frames below are copies of the parent's, and their destructors are about the parent's
    // things.
    while (process_thread_count() > 1) std::this_thread::sleep_for(std::chrono::milliseconds(2));
    leave_process(0);
  } catch (...) {
    report_uncaught(newborn.self->name);
  }
  leave_process(code);
}

void live_as_told(const Preparation& told, std::vector<UniqueFd> descriptors) {
  apply(told.log);
  Newborn newborn{state_as_told(told), told.method, told.parent_pid, told.parent_name, UniqueFd()};
  if (told.daemon && !descriptors.empty()) {
    newborn.lifeline = std::move(descriptors.front());
    descriptors.erase(descriptors.begin());
  }
  live(std::move(newborn), [&] {
    known_managers().learn(told.managers);
    ChildEntry::find(told.entry)({told.payload, std::move(descriptors)});
  });
}

void end_children() {
  const auto children = living_children();
  if (!children.empty()) end_each(children);
  stop_fork_server();
}

void register_end_of_children() {
  static const int registered = std::atexit([] {
    try {
      end_children();
    } catch (const std::exception& error) {
      std::fprintf(stderr, "runrig: end the children of this process: %s\n", error.what());
    }
  });
  if (registered != 0) throw Error(std::errc::not_enough_memory, "register", "exit handler");
}

void leave_process(int code) {
  try {
    end_children();
  } catch (const std::exception& error) {
    std::fprintf(stderr, "runrig: end the children of this process: %s\n", error.what());
  }
  if (get_logger().is_enabled_for(LogLevel::info)) {
    get_logger().info("process exiting with exit code " + std::to_string(code));
  }
  // What it printed; no other stream, since what those have buffered may be the parent's.
  flush_standard_streams();
  ::_exit(code);
}

}  // namespace runrig::detail
