#pragma once

#include <sys/types.h>

#include <cstddef>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "child.hpp"
#include "runrig/engine/start_method.hpp"
#include "runrig/sync/unique_fd.hpp"

namespace runrig::detail {

using AuthKey = std::vector<std::byte>;

/// A process as Process objects know it: one to be started, a child, this process itself, or its parent. All but
/// `creator` is guarded by lock_processes().
struct ProcessState {
  enum class Phase { initial, starting, started, ended, closed };

  ProcessState() = default;
  ProcessState(const ProcessState&) = delete;
  ProcessState& operator=(const ProcessState&) = delete;
  ~ProcessState();  // NOLINT(bugprone-exception-escape): a mutex that is there can be locked

  pid_t creator = 0;  ///< the process that may start it, join it and so on
  std::string name;
  std::string numbers;  ///< "1:2" of Process-1:2; empty for the main process
  AuthKey authkey;
  bool daemon = false;
  bool is_parent = false;  ///< of this process
  std::optional<StartMethod> method;
  OtherThreads other_threads = OtherThreads::refuse;
  Phase phase = Phase::initial;
  pid_t pid = 0;
  UniqueFd pidfd;     ///< from `started` to `closed`, does not change meanwhile
  ExitStatus status;  ///< from `ended`

  // For the list of children.
  static constexpr std::size_t not_listed = static_cast<std::size_t>(-1);
  std::size_t place = not_listed;
  std::shared_ptr<ProcessState> kept;  ///< itself, from start to join: a dropped Process object still is a child
};
using ProcessPtr = std::shared_ptr<ProcessState>;

/// One mutex for all, held for moments and never over a wait, and by the fork hooks over each fork.
[[nodiscard]] std::unique_lock<std::mutex> lock_processes();

/// What this process knows of itself and of its parent; the second is none in the main process.
[[nodiscard]] ProcessPtr this_process();
[[nodiscard]] ProcessPtr parent_of_this_process();
/// A child to be made, named by its number, with the key of this process. Each call counts one more.
[[nodiscard]] ProcessPtr make_child_state();
/// In a new child: it is `self` from now on, and what this_process() was becomes its parent, so that nothing has to be
/// allocated or freed (in a copy of a process that would cost copies of pages, too). `parent_name`: if it is not what
/// it was called as this_process().
void become(ProcessPtr self, pid_t parent_pid, std::string_view parent_name = {});

/// Makes a started process one of the children, until it is unlisted. Its pidfd is set. (In forked children the list is
/// empty, and the pidfds of those that were in it are closed.)
void list_child(const ProcessPtr& child, pid_t pid, UniqueFd pidfd);
void unlist_child(ProcessState& child) noexcept;  // NOLINT(bugprone-exception-escape): as above
/// The children that run. Joins the others.
[[nodiscard]] std::vector<ProcessPtr> living_children();
/// Waits for the end of a child (or of the parent), until `deadline`, and takes its status. True if it has ended.
bool await_end(const ProcessPtr& process, Deadline deadline);

/// The reading end of a pipe whose writing end nobody has but this process: it is at its end when this process is,
/// however it ends. Made by the first call. (Forked children, also those of others, close the writing end in a fork
/// hook.)
[[nodiscard]] int lifeline();
/// In a child just forked: the reading end of its parent's; none if the parent had none.
[[nodiscard]] UniqueFd take_parents_lifeline() noexcept;

}  // namespace runrig::detail
