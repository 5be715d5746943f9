#pragma once

#include <sys/types.h>

#include <functional>
#include <span>
#include <string>
#include <string_view>

#include "preparation.hpp"
#include "process_state.hpp"
#include "runrig/engine/start_method.hpp"
#include "runrig/sync/unique_fd.hpp"

/// Making processes, whatever they are for. All of them are children of this process, also those that the fork server
/// forks: it makes them with CLONE_PARENT. So whichever way a process was made, its end and its exit code are learnt
/// from its pidfd alone, by poll and waitid, also when the server was killed meanwhile.
namespace runrig::detail {

/// What has just been started.
struct NewProcess {
  pid_t pid = 0;
  UniqueFd pidfd;
};

/// Makes a copy of this process, which lives as `self` (see live()) and runs `body`. Throws std::logic_error beside
/// foreign threads, Error if there can be no new process, or no descriptor for it.
[[nodiscard]] NewProcess start_by_fork(const ProcessPtr& self, const std::function<void()>& body);

/// Makes a process by spawn or forkserver, as told.method says. `descriptors` become those of the entry's input, in
/// that order, under other numbers; a daemon's lifeline is added here. Throws std::logic_error if init() was not
/// called, Error if there can be no new process.
[[nodiscard]] NewProcess start_as_told(Preparation told, std::span<const int> descriptors);

/// The head of what a process is told: all that follows from `self` and from this process.
[[nodiscard]] Preparation prepare(const ProcessState& self, StartMethod method, std::string entry);

/// The two ways of start_as_told(). The first also makes the fork server.
[[nodiscard]] NewProcess spawn_program(Preparation told, std::span<const int> descriptors);
[[nodiscard]] NewProcess start_by_server(const Preparation& told, std::span<const int> descriptors);

/// Throws std::logic_error, beginning with `attempted`, unless init() was called at the head of main.
void check_init_called(const std::string& attempted);
/// argv[0] of this process.
[[nodiscard]] const std::string& program_name() noexcept;
/// What is behind its last slash: how this program is called in lists of processes.
[[nodiscard]] std::string program_file_name();
/// The argument by which init() knows a process that was made by spawn_program().
inline constexpr const char* child_argument = "--runrig-child";

/// The new child `pid` of this process, with its pidfd for which there was room: `reserved` is closed first. A child
/// that is gone already, because SIGCHLD is ignored, gets a descriptor that says so for good.
class ReservedPidfd {
 public:
  explicit ReservedPidfd(std::string_view name);  // throws Error too_many_files_open
  [[nodiscard]] NewProcess open(pid_t pid);
  void give_up() noexcept { reserved_.reset(); }

 private:
  std::string name_;
  UniqueFd reserved_;
};

}  // namespace runrig::detail
