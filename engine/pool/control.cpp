#include "control.hpp"

#include <algorithm>
#include <cstring>

#include "../process/failure_text.hpp"
#include "runrig/sync/killpoint.hpp"

namespace runrig::detail {
namespace {

// Whether `word` says that nobody has the slice in this launch.
bool is_pending(std::uint64_t word, std::uint32_t epoch) noexcept {
  const SliceWord slice = SliceWord::unpack(word);
  return slice.epoch != epoch || slice.state == SliceState::pending;
}

// Relaxed: `slot` has one writer at a time, and that is the caller.
EpochWord own_count(const WorkerSlot& slot, std::uint32_t epoch) noexcept {
  const EpochWord count = EpochWord::unpack(slot.finished.load(std::memory_order_relaxed));
  return count.epoch == epoch ? count : EpochWord{epoch, 0};
}

}  // namespace

void SharedLaunch::publish(const LaunchRecord& record, const void* closure) noexcept {
  std::array<std::uint64_t, record_words> record_copy{};
  std::memcpy(record_copy.data(), &record, sizeof record);
  const std::uint32_t before = sequence_.load(std::memory_order_relaxed);  // the parent alone writes it
  // Relaxed: each word's release store below carries it along. A reader that got a new word then finds an odd number.
  sequence_.store(before + 1, std::memory_order_relaxed);
  for (std::size_t i = 0; i < record_words; ++i) record_[i].store(record_copy[i], std::memory_order_release);
  const auto* bytes = static_cast<const std::byte*>(closure);
  for (std::size_t at = 0; at < record.closure_bytes; at += sizeof(std::uint64_t)) {
    std::uint64_t word = 0;
    std::memcpy(&word, bytes + at, std::min(sizeof word, record.closure_bytes - at));
    closure_[at / sizeof word].store(word, std::memory_order_release);
  }
  // Release: pairs with the first load in copy_newer(). Who sees the even number sees the whole launch.
  sequence_.store(before + 2, std::memory_order_release);
}

std::optional<LaunchRecord> SharedLaunch::record() const noexcept {
  const std::uint32_t before = sequence_.load(std::memory_order_acquire);
  if (before == 0 || before % 2 != 0) return std::nullopt;
  std::array<std::uint64_t, record_words> words{};
  // Acquire: pairs with publish(); a word of a newer launch makes the check below fail.
  for (std::size_t i = 0; i < record_words; ++i) words[i] = record_[i].load(std::memory_order_acquire);
  if (sequence_.load(std::memory_order_relaxed) != before) return std::nullopt;
  LaunchRecord record;
  std::memcpy(static_cast<void*>(&record), words.data(), sizeof record);
  return record;
}

bool SharedLaunch::copy_newer(std::uint32_t known_epoch, LocalLaunch& copy) const noexcept {
  const std::uint32_t before = sequence_.load(std::memory_order_acquire);
  const auto found = record();
  if (!found || found->epoch == known_epoch) return false;
  const std::size_t words = (found->closure_bytes + sizeof(std::uint64_t) - 1) / sizeof(std::uint64_t);
  for (std::size_t i = 0; i < words; ++i) copy.closure[i] = closure_[i].load(std::memory_order_acquire);  // as above
  if (sequence_.load(std::memory_order_relaxed) != before) return false;
  copy.record = *found;
  return true;
}

int try_claim(std::atomic<std::uint64_t>& entry, std::uint32_t epoch, pid_t pid, Stale stale) noexcept {
  // Acquire, here or below: who runs it sees what the parent wrote of it, or the template when it booked an attempt.
  std::uint64_t word = entry.load(std::memory_order_acquire);
  const SliceWord old = SliceWord::unpack(word);
  // Compared by difference, as numbers wrap: a newer entry is that of somebody who comes later.
  const bool older = static_cast<std::int32_t>(old.epoch - epoch) < 0;
  const bool mine = old.epoch == epoch && old.state == SliceState::pending;
  if (static_cast<std::int32_t>(old.epoch - epoch) > 0) return -1;
  if (!mine && !(older && stale == Stale::pending)) return 0;
  const int attempt = (old.epoch == epoch ? old.attempts : 0) + 1;
  const std::uint64_t running = SliceWord{epoch, SliceState::running, attempt, pid}.pack();
  // It fails if another was faster.
  return entry.compare_exchange_strong(word, running, std::memory_order_acquire, std::memory_order_relaxed) ? attempt
                                                                                                            : 0;
}

std::optional<Claim> claim(const ControlView& view, WorkerSlot& slot, std::uint32_t epoch,
                           std::uint32_t slices) noexcept {
  // Relaxed: written by this process itself before its first claim.
  const pid_t pid = slot.pid.load(std::memory_order_relaxed);
  std::atomic<std::uint64_t>& next = view.control->next;
  for (;;) {
    // Relaxed, here and in the exchange: it is a hint. What a slice needs to see came with the launch record.
    std::uint64_t hint = next.load(std::memory_order_relaxed);
    const EpochWord place = EpochWord::unpack(hint);
    if (place.epoch != epoch || place.number >= slices) return std::nullopt;
    if (!next.compare_exchange_weak(hint, EpochWord{epoch, place.number + 1}.pack(), std::memory_order_relaxed))
      continue;
    RUNRIG_KILLPOINT("pool.claim.counted");
    // Before the claim, so that the template knows where to look should this process die. Release: pairs with the
    // template's look at limits; it sees when this slice began, or a later one.
    slot.intent.store(EpochWord{epoch, place.number + 1}.pack(), std::memory_order_release);
    RUNRIG_KILLPOINT("pool.claim.intended");
    const int attempt = try_claim(view.table[place.number], epoch, pid, Stale::pending);
    if (attempt < 0) return std::nullopt;  // a newer launch has the table already: we slept for long
    // 0: claimed by another, as the counter was set back in between.
    if (attempt > 0) {
      RUNRIG_KILLPOINT("pool.claim.claimed");
      return Claim{place.number, attempt};
    }
  }
}

void finish(const ControlView& view, WorkerSlot& slot, std::uint32_t epoch, Claim claimed, SliceState state,
            std::uint32_t failure) noexcept {
  const EpochWord count = own_count(slot, epoch);
  const std::uint64_t counted = EpochWord{epoch, count.number + 1}.pack();
  // What the count will be goes first: should we die after the entry is final and before it is counted, the template
  // makes the count so. Whether we counted already makes no difference then. Relaxed: the entry's release carries it.
  slot.finishing.store(counted, std::memory_order_relaxed);
  view.failures[claimed.index].store(failure, std::memory_order_relaxed);
  RUNRIG_KILLPOINT("pool.finish.prepared");
  const pid_t pid = slot.pid.load(std::memory_order_relaxed);
  // Release: who sees the final state (the template, outcome()) sees what the body wrote.
  view.table[claimed.index].store(SliceWord{epoch, state, claimed.attempt, pid}.pack(), std::memory_order_release);
  RUNRIG_KILLPOINT("pool.finish.booked");
  // Sequentially consistent, as the loads in count_finished(): of two workers that finish the last two slices at once,
  // at least one sees both counts and wakes the parent. As a release it pairs with the parent's count.
  slot.finished.store(counted, std::memory_order_seq_cst);
  RUNRIG_KILLPOINT("pool.finish.counted");
  slot.intent.store(0, std::memory_order_relaxed);  // if it stays, the template finds the entry final and counted
}

std::uint32_t count_finished(const ControlView& view, std::uint32_t epoch) noexcept {
  std::uint32_t sum = 0;
  for (int i = 0; i <= view.control->workers; ++i) {
    // See finish().
    const EpochWord count = EpochWord::unpack(view.slots[i].finished.load(std::memory_order_seq_cst));
    if (count.epoch == epoch) sum += count.number;
  }
  return sum;
}

bool rewind_to_pending(const ControlView& view, std::uint32_t epoch, std::uint32_t slices) noexcept {
  // Relaxed everywhere: an entry that is being claimed meanwhile may be offered again, and is then passed over.
  std::uint32_t first = 0;
  while (first < slices && !is_pending(view.table[first].load(std::memory_order_relaxed), epoch)) ++first;
  if (first == slices) return false;
  std::uint64_t word = view.control->next.load(std::memory_order_relaxed);
  for (;;) {
    const EpochWord place = EpochWord::unpack(word);
    if (place.epoch != epoch || place.number <= first) return true;
    if (view.control->next.compare_exchange_weak(word, EpochWord{epoch, first}.pack(), std::memory_order_relaxed)) {
      return true;
    }
  }
}

void announce_if_complete(const ControlView& view, std::uint32_t epoch, std::uint32_t slices) noexcept {
  if (count_finished(view, epoch) == slices) report_progress(*view.control);
}

void ring(Control& control) noexcept {
  // Release: pairs with the acquire in the workers' loop. Who sees the new number sees what it was rung for.
  control.bell.fetch_add(1, std::memory_order_release);
  futex_wake_all(control.bell);
}

void report_progress(Control& control) noexcept {
  // Release: pairs with the acquire in the parent's wait.
  control.progress.fetch_add(1, std::memory_order_release);
  futex_wake_all(control.progress);
}

std::optional<Orphan> settle_dead_worker(const ControlView& view, WorkerSlot& slot, pid_t pid,
                                         std::uint32_t epoch) noexcept {
  // Relaxed on the dead one's own words: the kernel's notice of its death came after all its stores.
  const EpochWord intent = EpochWord::unpack(slot.intent.load(std::memory_order_relaxed));
  slot.intent.store(0, std::memory_order_relaxed);
  if (intent.epoch != epoch || intent.number == 0) return std::nullopt;
  const std::uint32_t index = intent.number - 1;
  // Acquire: pairs with finish(), for the parent, to whom our count below passes it on.
  const SliceWord word = SliceWord::unpack(view.table[index].load(std::memory_order_acquire));
  if (word.epoch != epoch || word.pid != pid) return std::nullopt;
  if (word.state == SliceState::running) return Orphan{index, word.attempts};
  if (is_final(word.state)) {
    slot.finished.store(slot.finishing.load(std::memory_order_relaxed), std::memory_order_seq_cst);  // as in finish()
  }
  return std::nullopt;
}

void make_pending(const ControlView& view, std::uint32_t epoch, Orphan orphan, int attempts) noexcept {
  // Release: pairs with the acquire of the next claim.
  view.table[orphan.index].store(SliceWord{epoch, SliceState::pending, attempts, 0}.pack(), std::memory_order_release);
}

void make_final(const ControlView& view, std::uint32_t epoch, Orphan orphan, pid_t pid, SliceState state,
                std::uint32_t failure) noexcept {
  view.failures[orphan.index].store(failure, std::memory_order_relaxed);  // carried by the next store
  view.table[orphan.index].store(SliceWord{epoch, state, orphan.attempts, pid}.pack(), std::memory_order_release);
  WorkerSlot& mine = view.template_slot();
  const EpochWord count = own_count(mine, epoch);
  mine.finished.store(EpochWord{epoch, count.number + 1}.pack(), std::memory_order_seq_cst);  // as in finish()
}

namespace {

// With nobody else alive: `decide(word)` gives the new entry of each slice that is not final; then all is counted anew,
// for the template.
template <class Decide>
void revise_all(const ControlView& view, const LaunchRecord& record, std::uint32_t failure, Decide decide) noexcept {
  std::uint32_t finals = 0;
  for (std::uint32_t index = 0; index < record.slices; ++index) {
    SliceWord word = SliceWord::unpack(view.table[index].load(std::memory_order_acquire));
    if (word.epoch != record.epoch) word = SliceWord{record.epoch, SliceState::pending, 0, 0};
    if (!is_final(word.state)) {
      word = decide(word);
      if (is_final(word.state)) view.failures[index].store(failure, std::memory_order_relaxed);
      view.table[index].store(word.pack(), std::memory_order_release);
    }
    if (is_final(word.state)) ++finals;
  }
  for (int i = 0; i <= view.control->workers; ++i) {
    view.slots[i].intent.store(0, std::memory_order_relaxed);
    const std::uint32_t counted = i == view.control->workers ? finals : 0;
    view.slots[i].finished.store(EpochWord{record.epoch, counted}.pack(), std::memory_order_seq_cst);
  }
}

}  // namespace

void settle_all(const ControlView& view, const LaunchRecord& record, SliceState state, std::uint32_t failure) noexcept {
  revise_all(view, record, failure, [state](SliceWord word) {
    word.state = state;
    return word;
  });
}

void recover_all(const ControlView& view, const LaunchRecord& record, std::uint32_t failure) noexcept {
  revise_all(view, record, failure, [&record](SliceWord word) {
    if (word.state != SliceState::running) return word;
    word.state = word.attempts < record.max_kills ? SliceState::pending : SliceState::lost;
    return word;
  });
  (void)rewind_to_pending(view, record.epoch, record.slices);
}

std::uint32_t log_failure(const ControlView& view, FailureRecord record, std::string_view type,
                          std::string_view text) noexcept {
  type = type.substr(0, exception_type_bytes);
  text = text.substr(0, exception_text_bytes);
  record.type_bytes = static_cast<std::uint32_t>(type.size());
  record.text_bytes = static_cast<std::uint32_t>(text.size());
  const std::uint64_t bytes = (sizeof record + type.size() + text.size() + cache_line - 1) / cache_line * cache_line;
  // Relaxed: the numbers only have to differ; the text is published with the slice's state.
  const std::uint64_t place = view.control->failure_bytes.fetch_add(bytes, std::memory_order_relaxed);
  if (place + bytes > failure_log_bytes) return 0;
  std::byte* at = view.failure_log + place;
  std::memcpy(at, &record, sizeof record);
  std::memcpy(at + sizeof record, type.data(), type.size());
  std::memcpy(at + sizeof record + type.size(), text.data(), text.size());
  return static_cast<std::uint32_t>(place / cache_line) + 1;
}

void read_failure(const ControlView& view, std::uint32_t place, SliceOutcome& outcome) {
  const std::uint64_t offset = (std::uint64_t{place} - 1) * cache_line;
  if (place == 0 || offset > failure_log_bytes - sizeof(FailureRecord)) {
    outcome.message = "its message was dropped: there were too many";
    return;
  }
  FailureRecord record;
  std::memcpy(&record, view.failure_log + offset, sizeof record);
  // A worker with a stray pointer may have written anything here.
  const std::size_t left = failure_log_bytes - offset - sizeof record;
  const std::size_t type_bytes = std::min({std::size_t{record.type_bytes}, exception_type_bytes, left});
  const std::size_t text_bytes = std::min({std::size_t{record.text_bytes}, exception_text_bytes, left - type_bytes});
  const auto* text = reinterpret_cast<const char*>(view.failure_log + offset + sizeof record);
  outcome.exception_type = valid_utf8({text, type_bytes});
  outcome.message = valid_utf8({text + type_bytes, text_bytes});
  outcome.signal = record.signal;
  outcome.exit_code = record.exit_code;
  outcome.likely_out_of_memory = record.out_of_memory != 0;
}

}  // namespace runrig::detail
