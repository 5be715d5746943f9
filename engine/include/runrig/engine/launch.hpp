#pragma once

#include <sys/types.h>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <type_traits>

#include "runrig/engine/code.hpp"
#include "runrig/sync/clock.hpp"

namespace runrig {

/// The most that a launch can have, and the most bytes that a closure can hold.
inline constexpr std::uint32_t max_slices = 1U << 24;
inline constexpr std::size_t max_closure_bytes = 4096;

/// What became of a slice. All but the first two are final.
enum class SliceState : std::uint8_t {
  pending,    ///< not begun, or to be begun again after a worker's death
  running,    ///< in a worker
  done,       ///< the body returned
  failed,     ///< the body threw; the worker lives on
  lost,       ///< its worker died, and no further attempt is made
  stalled,    ///< over its CPU or wall limit; its worker was killed
  cancelled,  ///< not begun, or ended by Launch::terminate(), because the launch was cancelled
};
[[nodiscard]] std::string_view to_string(SliceState state) noexcept;

/// The account of one slice.
struct SliceOutcome {
  SliceState state = SliceState::pending;
  /// How often the body was begun; each but the last ended with its worker's death.
  int attempts = 0;
  /// The process of the last attempt; 0 if there was none.
  pid_t worker = 0;
  /// How the worker of a lost or stalled slice ended: the signal (0 if it left by itself), else its exit code.
  int signal = 0;
  int exit_code = 0;
  /// failed: the exception's type and text. lost, stalled: what happened, as a clause ("was killed by SIGSEGV", "used
  /// more than 2 s of CPU time"). Valid UTF-8, capped.
  std::string exception_type;
  std::string message;
  /// The kernel's out-of-memory killer was at work when the worker was killed, or the body threw bad_alloc.
  bool likely_out_of_memory = false;
};

/// How the slices of one launch are treated.
struct LaunchOptions {
  /// How many there are, at most max_slices; none is a launch that is finished at once.
  std::uint32_t slices = 0;
  /// The number of the first one: bodies, outcomes and errors speak of first_slice .. first_slice + slices - 1.
  std::uint32_t first_slice = 0;
  /// A slice whose worker died this many times is lost; before that it is run again by another worker. 1 for bodies
  /// that must not be run twice.
  int max_kills = 2;
  /// If false, a death by SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT, SIGSYS or SIGTRAP, or by exit(), is taken as the
  /// slice's own doing and final at the first time; a kill from outside is retried as before.
  bool retry_crashes = true;
  /// If false, the first slice that fails, stalls or is lost cancels the rest.
  bool keep_going = false;
  /// Limits for each attempt at a slice, 0 for none; a worker over one of them is killed and its slice is stalled,
  /// without a second attempt. CPU time is that of the whole worker process. Checked every 10 ms or so. Time in which
  /// the whole tree was stopped (Ctrl-Z) does not count.
  std::chrono::nanoseconds cpu_limit{0};
  std::chrono::nanoseconds wall_limit{0};
  /// If true, captured words that look like pointers into private memory are not refused.
  bool trust_captures = false;
};

namespace detail {
struct WorkerState;
struct PoolState;
struct PoolAccess;
class SliceContextAccess;
}  // namespace detail

/// What a body knows of its slice. Lives in the worker, for the time of one call.
class SliceContext {
 public:
  SliceContext(const SliceContext&) = delete;
  [[nodiscard]] std::uint32_t slice() const noexcept { return slice_; }
  /// 0 .. Pool::size() - 1; no two bodies run under one number at a time, and a dead worker's successor gets it.
  [[nodiscard]] int worker() const noexcept { return worker_; }
  /// 1 at first.
  [[nodiscard]] int attempt() const noexcept { return attempt_; }
  /// True once the launch was cancelled; long bodies look now and then, and return.
  [[nodiscard]] bool cancelled() const noexcept;
  /// Restarts the clocks of LaunchOptions::cpu_limit and wall_limit for this slice: a body of many steps says after
  /// each that it is getting on.
  void heartbeat() noexcept;
  /// This worker process ends once the slice is settled (done or failed, as it may be), and is replaced: for bodies
  /// that find their process damaged. Counts as no death.
  void retire() noexcept;
  /// Memory of this worker alone, page-aligned, not cleared; it is kept for the next slices and launches, so that its
  /// pages are touched for the first time only once. Valid until the next call. Throws bad_alloc.
  [[nodiscard]] std::byte* scratch(std::size_t size_bytes);

 private:
  friend class detail::SliceContextAccess;
  SliceContext(detail::WorkerState& state, std::uint32_t slice, int worker, int attempt) noexcept
      : state_(state), slice_(slice), worker_(worker), attempt_(attempt) {}
  detail::WorkerState& state_;
  std::uint32_t slice_;
  int worker_;
  int attempt_;
};

/// A launch under way, or finished. Move-only; the destructor cancels and waits.
///
/// Belongs to the process that called Pool::launch and, like the pool, to one thread at a time; cancel() and
/// finished_slices() may be called from any. If the pool is destroyed, or can make no more workers, every slice that is
/// not final then is lost, so that no wait hangs.
class Launch {
 public:
  Launch() noexcept = default;  ///< finished, without slices
  Launch(Launch&& other) noexcept;
  Launch& operator=(Launch&& other) noexcept;
  ~Launch();

  /// Waits until every slice is final; false at the deadline. Does not throw for what became of a slice.
  [[nodiscard]] bool wait(Deadline deadline);
  void wait();
  /// Waits, then throws for the first slice that is not done: RemoteError (it threw), WorkerLost (its worker died, or
  /// was killed over a limit), Cancelled.
  void get();

  [[nodiscard]] std::uint32_t slices() const noexcept;
  /// How many are final, to show progress. Never goes back while a worker lives; cheap.
  [[nodiscard]] std::uint32_t finished_slices() const noexcept;
  /// Whether every slice is final. Only looks: who waits for it in a loop of his own calls wait() with no time, which
  /// also sees to it that a killed template is replaced.
  [[nodiscard]] bool finished() const noexcept;
  /// No further slice is begun; running ones are waited for, and see SliceContext::cancelled().
  void cancel() noexcept;
  /// Cancels, and kills the workers that are at work for this launch. The pool replaces them.
  void terminate() noexcept;
  /// The account of a slice, by its number as the body knows it. What it says of a slice that is not final may be old
  /// at once. Throws logic_error for another number, or once the pool has begun its next launch.
  [[nodiscard]] SliceOutcome outcome(std::uint32_t slice) const;
  /// The number of the first slice, from `from` on, that is final and not done; last slice + 1 if there is none.
  [[nodiscard]] std::uint32_t first_not_done(std::uint32_t from = 0) const;

 private:
  friend struct detail::PoolState;
  Launch(std::shared_ptr<detail::PoolState> pool, std::uint32_t epoch, const LaunchOptions& options) noexcept;
  void check_number(std::uint32_t slice) const;
  [[noreturn]] void throw_for(std::uint32_t slice, SliceOutcome outcome) const;
  std::shared_ptr<detail::PoolState> pool_;
  std::uint32_t epoch_ = 0;
  std::uint32_t slices_ = 0;
  std::uint32_t first_slice_ = 0;
};

namespace detail {

/// Called in the worker with the worker's own copy of the closure.
using SliceBody = void (*)(const std::byte* closure, SliceContext& context);

template <class Closure>
void call_closure(const std::byte* closure, SliceContext& context) {
  // The closure is trivially copyable and the buffer is aligned for it, so its bytes are the object.
  (*reinterpret_cast<const Closure*>(closure))(context);
}

/// What names a kernel's code to workers that have it at other addresses.
class KernelEntry : public CodeEntry {
 public:
  explicit constexpr KernelEntry(SliceBody function) noexcept : CodeEntry(CodeKind::kernel), body(function) {}
  const SliceBody body;
};

template <class Closure>
struct KernelOf {
  static constinit inline KernelEntry entry{&call_closure<Closure>};
  static inline const CodeRegistration registration{entry};
};

/// The entry for kernels of this type. Whoever mentions it has it in the table of its module.
template <class Closure>
[[nodiscard]] const KernelEntry& kernel_for() noexcept {
  (void)&KernelOf<Closure>::registration;  // odr-used, so that the module has it
  return KernelOf<Closure>::entry;
}

}  // namespace detail
}  // namespace runrig
