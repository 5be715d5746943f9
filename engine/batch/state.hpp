#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

#include "journal.hpp"
#include "runrig/batch/session.hpp"
#include "runrig/engine/arena.hpp"
#include "runrig/engine/pool.hpp"
#include "runrig/sync/clock.hpp"
#include "worker.hpp"

namespace runrig::batch {

class DryRunner;

/// What a session has: the memory and the processes, and how the parent waits for them.
struct Session::State {
  explicit State(Options wanted);

  Options options;
  std::size_t memory_bytes;
  std::size_t wave_files;  // looked at together
  std::shared_ptr<Arena> arena;
  Pool readers;
  Progress progress;
  DryRunner* dry_run = nullptr;  // not null: the call at hand says what it would do, and does nothing

  /// Throws std::logic_error in a session that is read-only.
  void check_outputs_allowed() const;
  /// One process, so that what it opened in one launch it has in the next. Only where outputs are allowed.
  [[nodiscard]] Pool& writer() { return writer_.value(); }

  /// Waits for a launch, showing progress and watching for an interrupt. Throws Cancelled after ending the launch.
  void wait(Launch& launch);
  /// Shows progress if the last time was long ago, or in any case if it must.
  void show_progress(bool must = false);
  /// Throws Cancelled if an interrupt came.
  void check_interrupt() const;

  /// Limits and retries as all HDF5 work has them: a crash is tried once more in another worker, since the first may
  /// have been damaged by an earlier file; a stall is final. `bytes` is what one slice has to get through: honest work
  /// on them is no stall.
  [[nodiscard]] LaunchOptions launch_options(std::uint32_t slices, std::uint64_t bytes) const;

  /// Bytes that workers have got through, added to by them. In the arena.
  [[nodiscard]] std::atomic<std::uint64_t>& bytes_done() const noexcept;

 private:
  std::optional<Pool> writer_;
  ArenaBlock counter_;
  Clock::time_point shown_;
};

/// Memory in the arena that is filled piece by piece with plain values and texts for one launch.
class ArenaWriter {
 public:
  ArenaWriter(Arena& arena, std::size_t bytes) : block_(arena.allocate(bytes)) {}
  /// A copy of `text` that ends with a NUL. Throws std::logic_error if the block was made too small.
  const char* add(std::string_view text);
  /// `count` values, value-initialised.
  template <class T>
  T* add(std::size_t count) {
    static_assert(std::is_trivially_copyable_v<T>);
    T* values = reinterpret_cast<T*>(take(count * sizeof(T), alignof(T)));
    for (std::size_t i = 0; i < count; ++i) new (values + i) T();
    return values;
  }
  std::byte* take(std::size_t bytes, std::size_t alignment);

 private:
  ArenaBlock block_;
  std::size_t used_ = 0;
};

/// The slice of a finished launch that ended it: the first that failed, stalled or was lost. None if all are done.
struct SliceFailure {
  std::uint32_t slice = 0;
  std::string reason;  // one line; speaks of `action` where the worker could not say itself what happened
};
[[nodiscard]] std::optional<SliceFailure> first_failure(const Launch& launch, std::string_view action);
/// The reason for one slice; empty if it is done.
[[nodiscard]] std::string failure_text(const SliceOutcome& outcome, std::string_view action);

/// Work on one dataset or output cannot go on; what() is a whole sentence, made by a worker or about one.
class TaskError : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};
/// Throws TaskError if a slice of the finished launch failed.
void check_launch(const Launch& launch, std::string_view action);

/// A failure whose text does not say again which file and dataset it is about.
[[nodiscard]] Failure make_failure(const std::string& file, const std::string& dataset, std::string_view reason);

/// Makes one line of what may be any text.
[[nodiscard]] std::string one_line(std::string_view text);

}  // namespace runrig::batch
