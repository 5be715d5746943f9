#include "start_process.hpp"

#include <fcntl.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../manager/known_managers.hpp"
#include "child_life.hpp"
#include "fork_scope.hpp"
#include "runrig/sync/error.hpp"
#include "runrig/sync/killpoint.hpp"

namespace runrig::detail {

ReservedPidfd::ReservedPidfd(std::string_view name) : name_(name) {
  // Any descriptor will do to hold the place; a copy of one is made in a tenth of the time that a new file takes.
  reserved_.reset(::fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 0));
  if (!reserved_) reserved_.reset(check_errno(::eventfd(0, EFD_CLOEXEC), "start process", name));
}

NewProcess ReservedPidfd::open(pid_t pid) {
  reserved_.reset();
  try {
    return {pid, open_pidfd(pid)};
  } catch (const Error& error) {
    // Gone and reaped by the kernel, as it does for those who ignore SIGCHLD. Always readable, as its pidfd would be.
    if (error.code() == std::errc::no_such_process) return {pid, gone_process_fd(name_)};
    // Another thread took the room. Nobody reaps our child but us, so the number is its own.
    ::kill(pid, SIGKILL);
    retry_on_eintr([&] { return ::waitpid(pid, nullptr, 0); });
    throw;
  }
}

NewProcess start_by_fork(const ProcessPtr& self, const std::function<void()>& body) {
  const pid_t parent_pid = ::getpid();
  if (self->daemon) (void)lifeline();
  ReservedPidfd reserved(self->name);
  ForkScope scope("start process '" + self->name + "'",
                  "start it before the first thread is started (oneTBB and OpenMP start some, too), or by spawn or "
                  "forkserver",
                  self->other_threads);
  const pid_t pid = scope.fork();
  if (pid == 0) {
    reserved.give_up();
    UniqueFd lifeline = take_parents_lifeline();
    if (!self->daemon) lifeline.reset();
    live({self, StartMethod::fork, parent_pid, {}, std::move(lifeline)}, body);
  }
  check_errno(pid, "start process", self->name);
  RUNRIG_KILLPOINT("process.forked");
  return reserved.open(pid);
}

NewProcess start_as_told(Preparation told, std::span<const int> descriptors) {
  check_init_called("start process '" + told.name + "' by " + std::string(to_string(told.method)));
  std::vector<int> all;
  if (told.daemon) all.push_back(lifeline());
  all.insert(all.end(), descriptors.begin(), descriptors.end());
  flush_standard_streams();
  return told.method == StartMethod::spawn ? spawn_program(std::move(told), all) : start_by_server(told, all);
}

Preparation prepare(const ProcessState& self, StartMethod method, std::string entry) {
  Preparation told;
  told.entry = std::move(entry);
  told.method = method;
  told.parent_pid = ::getpid();
  told.parent_name = this_process()->name;
  told.name = self.name;
  told.numbers = self.numbers;
  told.authkey = self.authkey;
  told.managers = known_managers().tell();
  told.daemon = self.daemon;
  told.log = log_settings();
  return told;
}

}  // namespace runrig::detail
