#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "journal.hpp"
#include "runrig/engine/launch.hpp"
#include "state.hpp"

namespace runrig::batch {

/// Worker: makes one small output from its beginning to its end, all but the sync and the final name. `plan` is memory
/// in the arena. To the journal goes one record, with "notes" and, if it does not count them itself, "bytes": of the
/// arrays it made. Without that record nothing was made.
using SmallBody = void (*)(SliceContext& context, const void* plan, const Journal& journal);

/// What is known of a small output that was made.
struct SmallReport {
  std::vector<std::string> notes;
  std::uint64_t bytes = 0;
  double seconds = 0;  // that its worker spent on it
};

/// Small outputs, each made by one worker alone, many at a time: what a file costs besides its bytes is done by all
/// workers, and nobody waits for another.
class SmallOutputs {
 public:
  explicit SmallOutputs(Session::State& state);
  SmallOutputs(const SmallOutputs&) = delete;
  SmallOutputs& operator=(const SmallOutputs&) = delete;
  ~SmallOutputs();  // ends what is under way

  /// `owner` keeps the plan.
  void add(SmallBody body, const void* plan, std::shared_ptr<const void> owner);
  /// The process that has the input of the last one open, and should make it if it has the time.
  void last_is_open_in(int worker) { added_.back().worker = worker; }
  /// Begins to make them, in the readers.
  void begin();
  /// Waits. For each output what its worker reported, in the order of add(); none if something went wrong, so that it
  /// is to be made in the way of large ones, which says what. Throws Cancelled.
  [[nodiscard]] std::vector<std::optional<SmallReport>> finish();

 private:
  struct Task {
    SmallBody body = nullptr;
    const void* plan = nullptr;
    Journal journal;
    double seconds = 0;
    int worker = 0;
    std::uint32_t taken = 0;  // by the slice of the number before
  };
  static Task* take(Task* tasks, std::uint32_t count, std::uint32_t slice);

  Session::State& state_;
  std::vector<Task> added_;
  std::vector<std::shared_ptr<const void>> owners_;
  ArenaBlock journals_;
  std::optional<ArenaWriter> memory_;
  Task* tasks_ = nullptr;
  Launch launch_;  // ended before the memory goes
};

/// Read for an output of that kind and made, with a chunk of each, at most. Much more, and many workers are faster than
/// one.
[[nodiscard]] std::uint64_t small_output_bytes(const Session::State& state);

}  // namespace runrig::batch
