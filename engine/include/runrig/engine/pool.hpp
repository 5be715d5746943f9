#pragma once

#include <sys/types.h>

#include <chrono>
#include <cstddef>
#include <memory>
#include <optional>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "runrig/engine/arena.hpp"
#include "runrig/engine/initializer.hpp"
#include "runrig/engine/launch.hpp"
#include "runrig/engine/plain_bytes.hpp"
#include "runrig/engine/process_tasks.hpp"
#include "runrig/engine/start_method.hpp"

namespace runrig {

struct PoolOptions {
  /// Worker processes; 0 takes usable_cpu_count().
  int workers = 0;
  /// For memory that workers share; none makes one of its own.
  std::shared_ptr<Arena> arena;
  /// Stands in error messages and in the workers' process names (at most 15 bytes are shown there).
  std::string name = "runrig";
  /// How the template is made, of which the workers are forked; none: as get_start_method() says.
  ///
  /// By `fork` it is a copy of this process, and workers see memory as it was when the pool was made. By `spawn` and
  /// `forkserver` it executes the program anew, up to runrig::init(): workers have nothing of this process but what is
  /// shared, captures may hold no pointers but into the arena, and it does not matter whether this process has threads.
  std::optional<StartMethod> start_method;
  /// Called first in each new worker. A worker whose initializer throws or crashes is replaced twice, one that is
  /// killed in it more often; the message is part of the error when no worker is left.
  Initializer initializer;
  /// How much private memory a worker may have beyond what it was forked with, 0 for no limit; past that its
  /// allocations fail (bad_alloc) while all others go on.
  std::size_t worker_data_limit_bytes = 0;
  /// Open descriptors that the workers need; all others above 2 are closed there.
  std::vector<int> keep_fds;
  OtherThreads other_threads = OtherThreads::refuse;
  /// Whether a worker that crashes may leave a core file.
  bool core_files = false;
  /// How many tasks (chunks of a map) a worker runs before it leaves and is replaced; 0: it lives as long as the pool.
  /// Such an end counts as no death.
  int max_tasks_per_child = 0;
  /// How often a task whose worker died is begun again, if its call does not say; at most 62.
  int retries = 0;
  /// How long the destructor lets a worker finish its slice or task before it kills it.
  std::chrono::milliseconds grace{500};

  /// Sets an initializer with its arguments, which are copied now.
  template <class F, class... Args>
  void initialize_with(F call, Args... args) {
    initializer = Initializer(std::move(call), std::move(args)...);
  }
};

/// Worker processes, made once and used for many launches of kernels and for tasks.
///
/// A *launch* is one kernel on numbered slices. A *task* is one call with its arguments, or a chunk of the calls of a
/// map; see detail::TaskInterface for apply, apply_async, map, map_async, starmap, starmap_async, imap and
/// imap_unordered, which are Python's. Both may be under way at a time; a worker does one thing after the other.
///
/// **Tasks.** The callable is a function pointer, or a lambda or functor whose captures are trivially copyable; they
/// are looked at as those of a kernel. Arguments and results are Transferable and travel as pickles; the callable gets
/// what is received: a std::string for a const char*, an NdArray for an NdView. An exception comes back as its own type
/// where that is a standard or registered one, else as RemoteError: see RemoteOrigin. A task whose worker died fails
/// with WorkerLost, unless it may be begun again (`retries`); the others are untouched. A task is begun in the order of
/// submission, when a worker is free; up to 1024 are in the workers' hands at a time, the others wait in this process,
/// and go on when it next waits for anything of the pool. Results of any size are kept in memory until this process
/// takes them, which it also does when it waits for anything of the pool.
///
/// The workers are forked by a *template* process, made by the constructor: it learns of a worker's death at once,
/// books it, and forks another. It is a quiet copy of this process or a new one, see PoolOptions::start_method; this
/// process gets no thread and no signal handler of ours. What workers share with this process are the arena and arrays
/// given to parallel_*. They write to this process' stderr and stdout, read /dev/null, ignore SIGINT, SIGHUP, SIGQUIT
/// and SIGPIPE (this process decides), leave without running exit handlers, and end when this process ends, however it
/// does.
///
/// Launches, and moving and destroying the pool, are for one thread at a time. Tasks may be submitted, and waited for,
/// by several at once, as far as other threads are allowed (a template that was killed is only replaced where they are,
/// or where there are none). What this process has in threads of the library's own does not count. In a forked child,
/// and in the workers themselves, a Pool can only be destroyed, which does nothing there.
class Pool : public detail::TaskInterface<Pool, detail::ProcessCalls> {
 public:
  /// Throws Error, with nothing left running, if the processes cannot be made; logic_error if this process is itself a
  /// worker, or for a negative number; by fork, if it has other threads (see PoolOptions::other_threads); by spawn and
  /// forkserver, if runrig::init() was not called, or the initializer cannot cross.
  explicit Pool(int workers = 0);
  explicit Pool(PoolOptions options);
  Pool(Pool&&) noexcept;
  Pool& operator=(Pool&&) noexcept;
  /// Ends all processes: cancels what is under way, waits for the grace time, kills, reaps. Futures of tasks that did
  /// not end by then get WorkerLost.
  ~Pool();

  [[nodiscard]] int size() const noexcept;
  [[nodiscard]] Arena& arena() const noexcept;
  [[nodiscard]] const std::string& name() const noexcept;
  /// The workers that live now, as far as is known. For tests and for people.
  [[nodiscard]] std::vector<pid_t> worker_pids() const;
  [[nodiscard]] pid_t template_pid() const noexcept;
  /// How many workers died so far and were replaced.
  [[nodiscard]] std::uint64_t workers_lost() const noexcept;

  /// Runs `body(SliceContext&)` for each slice in some worker, and returns at once.
  ///
  /// The body's bytes are copied to the workers: it is trivially copyable, holds no reference and no pointer but into
  /// the arena (or other memory that was shared, or constant, when the pool was made). A captured pointer into private
  /// memory, and code of a module that was loaded after the pool was made, are refused with logic_error; so are a
  /// second launch while one is under way, and a launch from within a worker. What the body throws is kept as the
  /// slice's outcome.
  ///
  /// No allocation, no system call but the wake. Before it: writes by this process are seen by the bodies. After a
  /// wait that returned true: writes by the bodies are seen by this process.
  template <class Closure>
  [[nodiscard]] Launch launch(const LaunchOptions& options, const Closure& body) {
    static_assert(std::is_trivially_copyable_v<Closure>,
                  "a kernel's captures travel to other processes as bytes: capture numbers and handles by value, "
                  "no strings, vectors or smart pointers");
    static_assert(sizeof(Closure) <= max_closure_bytes, "a kernel's captures must fit into max_closure_bytes");
    static_assert(alignof(Closure) <= 64, "a kernel's captures may be aligned to at most 64 bytes");
    static_assert(std::is_invocable_v<const Closure&, SliceContext&>, "a kernel is called as body(SliceContext&)");
    const detail::PlainBytes<Closure> closure(body);
    return launch_bytes(options, detail::kernel_for<Closure>(), closure.data(), sizeof(Closure));
  }

  /// No further launch or task is accepted: they throw std::logic_error. What was submitted goes on; so do maps that
  /// were begun, also lazy ones, until join(). When all is done, the processes end; that is noticed by whoever waits
  /// for the last result, or by join().
  void close();
  /// Ends the workers and the template now, by SIGKILL. Whatever is under way is lost: its futures get WorkerLost, at
  /// once. A later launch or task throws WorkerLost.
  void terminate() noexcept;
  /// Waits for all tasks and their callbacks, and for the end of the processes. Throws std::logic_error if the pool was
  /// neither closed nor terminated; what a callback threw.
  void join();

 private:
  friend struct detail::PoolAccess;
  friend class detail::TaskInterface<Pool, detail::ProcessCalls>;
  [[nodiscard]] detail::ProcessCalls calls(const char* what);
  [[nodiscard]] Launch launch_bytes(const LaunchOptions& options, const detail::KernelEntry& kernel,
                                    const void* closure, std::size_t closure_bytes);
  std::shared_ptr<detail::PoolState> state_;
};

/// Whether this process is a worker (or template) of some pool.
[[nodiscard]] bool in_worker_process() noexcept;

}  // namespace runrig
