#pragma once

#include <sys/types.h>

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>
#include <type_traits>

#include "runrig/engine/launch.hpp"
#include "runrig/sync/futex.hpp"

/// What a pool's processes share: one mapping, made before the fork, at one address in all of them.
///
/// Three roles write here. The *parent* publishes launches. *Workers* claim slices and book them. The *template* books
/// for workers that died. No step needs two stores to happen together: a process that is killed between any two of
/// them leaves a state from which the others go on, as said at each step.
namespace runrig::detail {

inline constexpr std::size_t exception_text_bytes = 4096;
inline constexpr std::size_t exception_type_bytes = 256;
inline constexpr std::size_t start_text_bytes = 512;
inline constexpr std::size_t failure_log_bytes = std::size_t{64} << 20;
inline constexpr int most_workers = 4096;
inline constexpr int most_kills = 63;

static_assert(std::atomic<std::uint64_t>::is_always_lock_free, "a locking atomic locks per process");

/// One slice's entry, all in one word so that each change is one atomic step:
/// launch epoch (32 bits) | state (4) | attempts (6) | pid of the worker (22, the kernel's own limit on pids).
/// An entry of an older epoch, and so an untouched one, is a slice that is pending: nothing is cleared at a launch.
struct SliceWord {
  std::uint32_t epoch = 0;
  SliceState state = SliceState::pending;
  int attempts = 0;
  pid_t pid = 0;

  [[nodiscard]] static SliceWord unpack(std::uint64_t word) noexcept {
    return {static_cast<std::uint32_t>(word >> 32), static_cast<SliceState>((word >> 28) & 0xF),
            static_cast<int>((word >> 22) & 0x3F), static_cast<pid_t>(word & 0x3FFFFF)};
  }
  [[nodiscard]] std::uint64_t pack() const noexcept {
    return std::uint64_t{epoch} << 32 | std::uint64_t{static_cast<std::uint8_t>(state)} << 28 |
           static_cast<std::uint64_t>(attempts & 0x3F) << 22 | static_cast<std::uint64_t>(pid & 0x3FFFFF);
  }
};

/// An epoch and a number in one word, so that a number can only be changed by who means that launch.
struct EpochWord {
  std::uint32_t epoch = 0;
  std::uint32_t number = 0;

  [[nodiscard]] static EpochWord unpack(std::uint64_t word) noexcept {
    return {static_cast<std::uint32_t>(word >> 32), static_cast<std::uint32_t>(word)};
  }
  [[nodiscard]] std::uint64_t pack() const noexcept { return std::uint64_t{epoch} << 32 | number; }
};

/// What a launch is, as the parent writes it and workers copy it.
struct LaunchRecord {
  std::uint64_t code = 0;  // the body, as PoolState::name_for_workers() has it
  std::int64_t cpu_limit_ns = 0;
  std::int64_t wall_limit_ns = 0;
  std::uint32_t epoch = 0;
  std::uint32_t slices = 0;
  std::uint32_t first_slice = 0;
  std::uint32_t closure_bytes = 0;
  std::int32_t max_kills = 1;
  std::uint8_t retry_crashes = 0;
  std::uint8_t keep_going = 0;
  std::uint8_t unused[2]{};
};
static_assert(std::is_trivially_copyable_v<LaunchRecord> && sizeof(LaunchRecord) % sizeof(std::uint64_t) == 0);

/// A process's own copy of a launch.
struct LocalLaunch {
  LaunchRecord record;
  alignas(64) std::array<std::uint64_t, max_closure_bytes / sizeof(std::uint64_t)> closure;
};

/// A launch in shared memory. The parent may write the next one while a late worker still copies this one, so it is a
/// sequence lock over relaxed words: a torn copy is noticed and dropped.
class SharedLaunch {
 public:
  /// Parent only. `closure` may be anything trivially copyable of record.closure_bytes bytes.
  void publish(const LaunchRecord& record, const void* closure) noexcept;
  /// The launch of now; false if it is `known_epoch` or there is none yet. Never waits for the parent: while the parent
  /// writes there is nothing to do yet, and the bell rings afterwards.
  [[nodiscard]] bool copy_newer(std::uint32_t known_epoch, LocalLaunch& copy) const noexcept;
  /// The record alone, of the launch of now; none if there is none or it is being written.
  [[nodiscard]] std::optional<LaunchRecord> record() const noexcept;

 private:
  static constexpr std::size_t record_words = sizeof(LaunchRecord) / sizeof(std::uint64_t);
  std::atomic<std::uint32_t> sequence_;  // odd while it is being written
  std::array<std::atomic<std::uint64_t>, record_words> record_;
  alignas(64) std::array<std::atomic<std::uint64_t>, max_closure_bytes / sizeof(std::uint64_t)> closure_;
};

// `leaving`: it found itself damaged and ends by itself, between two slices. `retired`: the slot gets no worker any
// more.
enum class WorkerPhase : std::uint32_t { none, starting, ready, leaving, retired };

/// One worker's line. Only that worker writes to it, and the template when it is dead; a successor gets it
/// when the template is done with that.
struct alignas(cache_line) WorkerSlot {
  std::atomic<std::int32_t> pid;
  std::atomic<WorkerPhase> phase;
  std::atomic<std::uint64_t> intent;     // EpochWord: slice index + 1 that it claims, runs or books; 0 none
  std::atomic<std::uint64_t> finishing;  // EpochWord: what `finished` becomes when that slice is final
  std::atomic<std::uint64_t> finished;   // EpochWord: slices that it made final
  std::atomic<std::int64_t> began_ns;    // monotonic; when it began the slice
  std::atomic<std::int64_t> began_cpu_ns;
  std::atomic<std::uint32_t> mapped;  // for tests: foreign segments that it has mapped
};
static_assert(sizeof(WorkerSlot) == 64);

/// Why a slice failed. Followed by the bytes of type and text.
struct FailureRecord {
  std::int32_t pid = 0;
  std::int32_t signal = 0;
  std::int32_t exit_code = 0;
  std::uint32_t out_of_memory = 0;
  std::uint32_t type_bytes = 0;
  std::uint32_t text_bytes = 0;
};

/// Segments that the parent closed, newest last; see segments.hpp.
struct ClosedSegments {
  struct Entry {
    std::atomic<std::uint64_t> device;
    std::atomic<std::uint64_t> inode;
  };
  std::atomic<std::uint32_t> count;
  std::array<Entry, 256> entries;
};

enum class PoolPhase : std::uint32_t { starting, running, failed_to_start, broken };

/// The head of the mapping. All-zero bytes are its initial state.
struct Control {
  // Workers sleep on this word; one more whenever there may be something to do for them.
  alignas(cache_line) std::atomic<std::uint32_t> bell;
  std::atomic<std::uint32_t> stopping;

  // The next slice to look at, an EpochWord. A hint where to look, not a claim: see claim().
  alignas(cache_line) std::atomic<std::uint64_t> next;
  // The epoch that was cancelled last, and the one whose workers are to be killed.
  alignas(cache_line) std::atomic<std::uint32_t> cancelled;
  std::atomic<std::uint32_t> terminated;

  // The parent sleeps on this word; one more when a launch is complete, and at each step of the template.
  alignas(cache_line) std::atomic<std::uint32_t> progress;
  std::atomic<PoolPhase> phase;
  std::atomic<std::int32_t> start_errno;
  std::atomic<std::uint64_t> deaths;
  std::atomic<std::uint64_t> forks;
  std::atomic<std::uint64_t> failure_bytes;  // used of the failure log
  std::int32_t workers;
  std::int64_t grace_ms;

  alignas(cache_line) ClosedSegments closed;
  alignas(cache_line) SharedLaunch launch;
  // Why the last worker that could not start could not. Written by whoever fails to start, for people only.
  std::array<char, start_text_bytes> start_text;
};

// See task_table.hpp.
struct TaskControl;
struct TaskSlot;
struct TaskLine;

/// Where the parts for tasks lie.
struct TaskView {
  TaskControl* control = nullptr;
  TaskSlot* slots = nullptr;
  TaskLine* lines = nullptr;  // one for each worker
  std::byte* regions = nullptr;
  std::uint64_t region_bytes = 0;  // of each worker

  [[nodiscard]] std::byte* region(std::uint32_t worker) const noexcept { return regions + worker * region_bytes; }
};

/// Where the parts of the mapping lie. A plain value, the same in all processes.
struct ControlView {
  Control* control = nullptr;
  WorkerSlot* slots = nullptr;                     // workers, then one for the template
  std::atomic<std::uint64_t>* table = nullptr;     // SliceWord, max_slices
  std::atomic<std::uint32_t>* failures = nullptr;  // of a final slice that is not done: its place in the log, see below
  std::byte* failure_log = nullptr;
  TaskView tasks;

  [[nodiscard]] WorkerSlot& template_slot() const noexcept { return slots[control->workers]; }
};

[[nodiscard]] inline bool is_final(SliceState state) noexcept { return state >= SliceState::done; }

/// Makes `pid` the one that runs what `entry` stands for: pending under `epoch`, it becomes running. Returns which
/// attempt that is, from 1; 0 if it was not pending, or another was faster; -1 if the entry is of a newer epoch.
/// `Stale` says what an entry of an older epoch is: in the table of a launch, a slice that is pending.
enum class Stale { pending, not_ours };
[[nodiscard]] int try_claim(std::atomic<std::uint64_t>& entry, std::uint32_t epoch, pid_t pid,
                            Stale stale = Stale::not_ours) noexcept;

// --- claiming and booking
// ---------------------------------------------------------------------------------------------

struct Claim {
  std::uint32_t index;
  int attempt;
};

/// Makes the calling worker the one that runs some slice; none if none is left. The claim is the change of the slice's
/// entry. The counter only says where to look, so that a worker killed between taking a number and changing the entry
/// loses nothing: the template sets the counter back to the first pending slice after each death.
[[nodiscard]] std::optional<Claim> claim(const ControlView& view, WorkerSlot& slot, std::uint32_t epoch,
                                         std::uint32_t slices) noexcept;

/// Makes the claimed slice final. `failure` is its place in the failure log, 0 for none.
void finish(const ControlView& view, WorkerSlot& slot, std::uint32_t epoch, Claim claimed, SliceState state,
            std::uint32_t failure) noexcept;

/// How many slices of the launch are final.
[[nodiscard]] std::uint32_t count_finished(const ControlView& view, std::uint32_t epoch) noexcept;

/// Sets the counter back to the first slice that is pending; true if there is one.
bool rewind_to_pending(const ControlView& view, std::uint32_t epoch, std::uint32_t slices) noexcept;

/// For whoever counts a slice in: wakes the parent if that was the last one.
void announce_if_complete(const ControlView& view, std::uint32_t epoch, std::uint32_t slices) noexcept;

void ring(Control& control) noexcept;             // wakes the workers
void report_progress(Control& control) noexcept;  // wakes the parent

// --- booking for the dead: the template, or the parent when the template is dead
// ----------------------------------------

/// The slice that a dead worker left, if any: running under its pid, in this launch.
struct Orphan {
  std::uint32_t index;
  int attempts;
};
/// Counts in what the dead worker made final but did not count, and returns what it left running.
[[nodiscard]] std::optional<Orphan> settle_dead_worker(const ControlView& view, WorkerSlot& slot, pid_t pid,
                                                       std::uint32_t epoch) noexcept;
/// To be run again; the caller rewinds.
void make_pending(const ControlView& view, std::uint32_t epoch, Orphan orphan, int attempts) noexcept;
/// Final, counted in for the template.
void make_final(const ControlView& view, std::uint32_t epoch, Orphan orphan, pid_t pid, SliceState state,
                std::uint32_t failure) noexcept;
/// With all workers dead: makes every pending slice, and every running one, final as `state`, and counts anew.
void settle_all(const ControlView& view, const LaunchRecord& record, SliceState state, std::uint32_t failure) noexcept;
/// With all workers dead, before new ones are made: running slices become pending again, or lost where they may not be
/// repeated any more; counts anew.
void recover_all(const ControlView& view, const LaunchRecord& record, std::uint32_t failure) noexcept;

// --- the failure log
// ----------------------------------------------------------------------------------------------------

/// Appends; returns the place (0 if the log is full: the message is dropped, the state is not). Texts are cut.
[[nodiscard]] std::uint32_t log_failure(const ControlView& view, FailureRecord record, std::string_view type,
                                        std::string_view text) noexcept;
/// Fills in what is known of the failure at `place`. Lengths are checked, texts made valid UTF-8.
void read_failure(const ControlView& view, std::uint32_t place, SliceOutcome& outcome);

}  // namespace runrig::detail
