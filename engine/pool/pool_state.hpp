#pragma once

#include <sys/types.h>

#include <atomic>
#include <cstddef>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <span>
#include <string>

#include "../process/captures.hpp"
#include "../process/foreign_code.hpp"
#include "../process/own_threads.hpp"
#include "control.hpp"
#include "control_memory.hpp"
#include "runrig/engine/pool.hpp"
#include "runrig/shm/handle.hpp"
#include "runrig/sync/participant.hpp"
#include "runrig/sync/unique_fd.hpp"
#include "task_books.hpp"

namespace runrig::detail {

/// A pool as its parent process has it. Shared by the Pool, its Launch, and the futures of its tasks.
///
/// The mutex of `tasks` guards the processes as well: everything below that is not atomic and says nothing else.
struct PoolState : std::enable_shared_from_this<PoolState> {
  using Garbage = TaskBooks::Garbage;

  explicit PoolState(PoolOptions given);
  PoolState(const PoolState&) = delete;
  PoolState& operator=(const PoolState&) = delete;
  ~PoolState() { shut_down(options.grace, "the pool was destroyed"); }

  /// Only the process that made the pool may use it; throws logic_error elsewhere.
  void check_usable_here(const char* what) const;
  [[nodiscard]] bool owned_here() const noexcept;

  // Processes: pool.cpp. With the mutex held, where it does not say otherwise.
  void start_template();
  /// False if the new process has something where it must have the arena.
  [[nodiscard]] bool try_start_template();
  void fork_template(int alive);
  void start_foreign(int alive);
  [[nodiscard]] bool is_forked() const noexcept { return method == StartMethod::fork; }
  /// Ends all processes, workers that are at work after `grace`. Slices and tasks not final are lost, for the reason
  /// `why`.
  void end_processes(std::chrono::milliseconds grace, const std::string& why, Garbage& garbage) noexcept;
  /// If the template gave up, or if the pool is closed and has nothing left to do.
  void end_if_done_or_broken(Garbage& garbage) noexcept;
  /// Finds out whether the template died, and then makes another one, or gives up.
  void look_after_template(Garbage& garbage);
  /// Whether the template may be forked now. If not, `why` says that it never may; while it is empty, later perhaps.
  [[nodiscard]] bool may_fork_again(std::optional<GateClosed>& gate, std::string& why);
  [[nodiscard]] bool wait_until_all_gone(std::chrono::milliseconds limit) noexcept;
  void poke_template() const noexcept;
  /// Throws WorkerLost if there are no processes any more, and logic_error if the pool was closed (for what was not
  /// admitted before).
  void check_takes_tasks(const char* what, bool admitted);
  // With the mutex not held.
  /// Ends the processes and the thread for callbacks.
  void shut_down(std::chrono::milliseconds grace, const std::string& why) noexcept;
  void close();
  void join();

  // Launches: launch.cpp.
  [[nodiscard]] Launch launch(const LaunchOptions& given, const KernelEntry& kernel, const void* closure,
                              std::size_t closure_bytes);
  [[nodiscard]] bool wait(std::uint32_t epoch, Deadline deadline);
  [[nodiscard]] bool is_finished(std::uint32_t epoch) const noexcept;
  [[nodiscard]] bool launch_under_way() const noexcept { return current.epoch != 0 && !is_finished(current.epoch); }
  void settle_as_lost(const std::string& why) noexcept;
  void cancel(std::uint32_t epoch) noexcept;
  void share_segment(SegmentId id);
  /// What names code to the workers: the address of the function where they are forked, else that of its entry. Throws
  /// std::logic_error if it was loaded after they were made.
  [[nodiscard]] std::uintptr_t name_for_workers(const CodeEntry& entry, std::uintptr_t function) const;
  /// The same check for a function pointer, whose name is its address.
  void check_function(std::uintptr_t function) const;
  /// See CaptureCheck::check_captures().
  void check_captures(const CaptureCheck::Words& words, std::span<const std::byte> closure) const;
  void check_kernel_captures(const void* closure, std::size_t closure_bytes) const;

  PoolOptions options;
  const pid_t owner;
  const Identity owner_identity;  // the same, which can be asked for without a system call
  const StartMethod method;
  ControlMemory memory;
  const ControlView view;
  CaptureCheck captures;
  ModuleSnapshot modules;  // of this process when the template was made; unless that was forked
  pid_t template_pid = 0;
  UniqueFd template_pidfd;  // none: there are no processes
  UniqueFd command_fd;      // see TemplateSetup
  UniqueFd alive_fd;        // reading end
  int template_restarts = 0;
  std::string end_reason;                            // once there are no processes any more
  std::optional<Clock::time_point> template_missed;  // by the thread for callbacks, which does not fork
  // Of the newest launch. Changed under launch_mutex by launch(); other threads only read current_epoch.
  std::mutex launch_mutex;
  LaunchRecord current;
  std::atomic<std::uint32_t> current_epoch{0};
  // Segments that workers may have mapped, to be told about their closing.
  std::mutex segments_mutex;
  std::set<SegmentId> segments;
  ArenaBlock partials;  // see partial_memory()
  TaskBooks tasks;
  std::optional<SegmentCloseListener> close_listener;  // last: it calls into the members above
};

struct PoolAccess {
  /// Throws logic_error where the pool cannot be used: in other processes (in a worker the object is as it was at the
  /// fork, in the middle of being made), or when it was moved from.
  [[nodiscard]] static PoolState& usable_state(const Pool& pool, const char* what);
};

}  // namespace runrig::detail
