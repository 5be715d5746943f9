#include "queue_core.hpp"

#include <algorithm>
#include <chrono>
#include <cstring>
#include <new>

#include "runrig/sync/error.hpp"
#include "runrig/sync/killpoint.hpp"
#include "runrig/sync/waiting.hpp"

// What a kill leaves, step by step:
//
//   add   before the step of the count (queue.put.chunk_taken, .written, .announced) there is no message: what was
//         written lies behind the end, and a chunk taken for it stands in `holding`, from where the next holder of the
//         lock frees it. After it (queue.put.counted) the message is in the queue; the chunk is that of the count.
//   take  before the step of the count (queue.get.in_hand, .copied) the message is still in the queue: the next holder
//         of the lock empties the hand that claims it. After it (queue.get.counted, .chunk_left, .unlocked, .read) it
//         is in the hand of the dead, and lost: sweep() counts it.
//   sweep what is done for a hand can be done again, and leads to the same: a block is freed by the name of its use,
//         and a loss is counted by writing what the count will be (queue.sweep.settling) before the count
//         (queue.sweep.counted), so that whoever comes next writes the same.

namespace runrig::detail {
namespace {

constexpr std::uint64_t queue_magic = 0x31657565'75717272;  // "rrqueue1"
constexpr std::uint32_t queue_layout = 1;
constexpr std::size_t page_bytes = 4096;
constexpr std::size_t record_unit = 8;
// A timeout of zero still waits so long for what others do under a lock, which takes far less than a microsecond unless
// they are stopped.
constexpr std::chrono::milliseconds patience{100};
constexpr std::uint64_t enough_at_once = 8;
constexpr std::uint32_t most_pauses = 16;

constexpr std::size_t round_up(std::size_t value, std::size_t unit) { return (value + unit - 1) / unit * unit; }

[[noreturn]] void refuse(std::string_view why) { throw FormatError("use", "queue", why); }

}  // namespace

struct QueueCore::Record {
  enum Kind : std::uint32_t { inlined = 1, block = 2, chunk = 3 };
  std::uint32_t kind;
  std::uint32_t bytes;  // of the payload; of `chunk`: its number
  [[nodiscard]] std::byte* payload() noexcept { return reinterpret_cast<std::byte*>(this + 1); }
};

namespace {
/// The payload of a record whose message lies elsewhere.
struct ElsewherePayload {
  BlockName block;
  std::uint64_t bytes;
};
constexpr std::size_t record_head = 8;
}  // namespace

QueueCore::Layout QueueCore::layout(std::uint64_t segment_bytes) noexcept {
  Layout made;
  made.segment_bytes = segment_bytes;
  made.table_offset = round_up(sizeof(QueueHeader), page_bytes);
  made.most_blocks = std::min<std::uint64_t>(segment_bytes / chunk_bytes, (std::uint64_t{1} << block_index_bits) - 2);
  made.data_offset = round_up(made.table_offset + made.most_blocks * sizeof(BlockEntry), chunk_bytes);
  return made;
}

void QueueCore::format(AnonymousMemory& memory, const Layout& layout, std::uint64_t maxsize, QueueKind kind) {
  memory.reserve(0, layout.table_offset);
  auto& header = *new (memory.writable_bytes().data()) QueueHeader{};
  header.layout_version = queue_layout;
  header.kind = static_cast<std::uint32_t>(kind);
  header.segment_bytes = layout.segment_bytes;
  header.maxsize = maxsize;
  header.table_offset = layout.table_offset;
  header.data_offset = layout.data_offset;
  header.most_blocks = layout.most_blocks;
  header.creator = this_process_identity();
  QueueBlocks blocks(memory, header.blocks,
                     {layout.table_offset, static_cast<std::uint32_t>(layout.most_blocks), layout.data_offset});
  const std::uint32_t first = index_of(blocks.allocate(chunk_bytes, header.put_end.holding).name);
  header.put_end.holding.store(0, std::memory_order_relaxed);  // relaxed: nobody else has the segment yet
  header.put_end.places[0] = header.get_end.places[0] = {first, 0};
  header.magic = queue_magic;
}

namespace {
QueueHeader& checked_header(AnonymousMemory& memory, QueueKind kind) {
  const auto fail = [](std::string_view why) { throw FormatError("attach", "queue", why); };
  const auto bytes = memory.writable_bytes();
  if (bytes.size() < round_up(sizeof(QueueHeader), page_bytes)) fail("its memory is too short");
  auto& header = *reinterpret_cast<QueueHeader*>(bytes.data());
  if (header.magic != queue_magic) fail("it is no queue");
  if (header.layout_version != queue_layout) fail("it was made by another version of the library");
  if (header.segment_bytes != bytes.size()) fail("it was made with another length");
  if (header.kind != static_cast<std::uint32_t>(kind)) fail("it is a queue of another kind");
  const auto layout = QueueCore::layout(bytes.size());
  if (header.table_offset != layout.table_offset || header.data_offset != layout.data_offset ||
      header.most_blocks != layout.most_blocks) {
    fail("its parts lie elsewhere");
  }
  return header;
}
BlocksPlace place_in(std::uint64_t segment_bytes) {
  const auto layout = QueueCore::layout(segment_bytes);
  return {layout.table_offset, static_cast<std::uint32_t>(layout.most_blocks), layout.data_offset};
}
}  // namespace

QueueCore::QueueCore(AnonymousMemory& memory, QueueKind kind)
    : header_(checked_header(memory, kind)),
      maxsize_(header_.maxsize),
      blocks_(memory, header_.blocks, place_in(memory.size_bytes())) {}

std::uint64_t QueueCore::put_count() const noexcept {
  // Acquire: pairs with the release in add(): who sees a message counted sees it.
  return count_in(header_.put_count.load(std::memory_order_acquire));
}
std::uint64_t QueueCore::got_count() const noexcept {
  // Acquire: pairs with the release in take(), so that what is decided by it comes after.
  return count_in(header_.got_count.load(std::memory_order_acquire));
}

// Locks
// ----------------------------------------------------------------------------------------------------------------

std::unique_lock<Lock> QueueCore::lock_end(QueueEnd& end, void (QueueCore::*repair)(), Deadline deadline) {
  for (bool patient = false;;) {
    try {
      if (end.lock.lock_before(deadline)) return std::unique_lock<Lock>(end.lock, std::adopt_lock);
      if (patient) return {};
      patient = true;
      deadline = Deadline::after(patience);
    } catch (const OwnerDied&) {
      if (auto recovery = end.lock.recover()) {
        (this->*repair)();
        // Relaxed: only says that there may be something to do, for which sweep() takes the lock.
        header_.deaths.fetch_add(1, std::memory_order_relaxed);
        recovery->commit();
        return std::unique_lock<Lock>(end.lock, std::adopt_lock);
      }
    }
  }
}

std::unique_lock<Lock> QueueCore::lock_put(Deadline deadline) {
  return lock_end(header_.put_end, &QueueCore::repair_put_end, deadline);
}
std::unique_lock<Lock> QueueCore::lock_get(Deadline deadline) {
  return lock_end(header_.get_end, &QueueCore::repair_get_end, deadline);
}

// A chunk that the dead took for the message that it did not count, or had left and not freed.
void QueueCore::leave_chunk(QueueEnd& end, std::uint32_t still_used) {
  // Relaxed, here and in the repairs: the lock, or its recovery, has ordered what its holders wrote.
  const BlockName held = end.holding.load(std::memory_order_relaxed);
  if (held != 0 && index_of(held) != still_used) blocks_.free(held);
  // Release: after it was freed; whoever dies between frees it again, by a name that then frees nothing.
  end.holding.store(0, std::memory_order_release);
}

void QueueCore::repair_put_end() {
  const std::uint64_t count = count_in(header_.put_count.load(std::memory_order_relaxed));
  // The hand that announced the message that was not put: its owner is dead, and sweep() frees the block.
  for (QueueHand& each : header_.putting) {
    if (each.position.load(std::memory_order_relaxed) == count + 1) each.position.store(0, std::memory_order_relaxed);
  }
  RUNRIG_KILLPOINT("queue.put.repairing");
  leave_chunk(header_.put_end, header_.put_end.places[count % 2].chunk);
}

void QueueCore::repair_get_end() {
  if (const std::uint32_t settling = header_.settling.load(std::memory_order_relaxed); settling != 0) {
    header_.lost_count.store(header_.lost_next, std::memory_order_relaxed);
    header_.taking[(settling - 1) % get_hands].owner.store(0, std::memory_order_relaxed);
    header_.settling.store(0, std::memory_order_release);  // last, for who dies here
  }
  const std::uint64_t count = count_in(header_.got_count.load(std::memory_order_relaxed));
  for (QueueHand& each : header_.taking) {
    if (each.owner.load(std::memory_order_relaxed) != 0 && each.position.load(std::memory_order_relaxed) == count + 1) {
      each.owner.store(0, std::memory_order_relaxed);
    }
  }
  RUNRIG_KILLPOINT("queue.get.repairing");
  leave_chunk(header_.get_end, header_.get_end.places[count % 2].chunk);
}

// Putting
// --------------------------------------------------------------------------------------------------------------

bool QueueCore::has_place() noexcept {
  if (maxsize_ == 0) return true;
  // Relaxed: only holders of this lock change it.
  const std::uint64_t count = count_in(header_.put_count.load(std::memory_order_relaxed));
  if (count - header_.put_end.other_count < maxsize_) return true;
  // Looked at only when the queue seems full: the line is that of the other end.
  header_.put_end.other_count = got_count();
  return count - header_.put_end.other_count < maxsize_;
}

QueueCore::Record* QueueCore::record_at(RecordPlace place) const {
  if (place.offset > chunk_bytes - record_head || place.offset % record_unit != 0) refuse("a message lies nowhere");
  // That the chunk is a block was looked at when it came into use.
  return reinterpret_cast<Record*>(blocks_.data(place.chunk) + place.offset);
}

// Where a record of that length can be: in this chunk, or at the head of the next, which is entered at the end of this.
RecordPlace QueueCore::place_for(std::size_t record_bytes, RecordPlace now) {
  if (now.offset + record_bytes + record_head <= chunk_bytes) return now;
  const auto next = blocks_.allocate(chunk_bytes, header_.put_end.holding);
  RUNRIG_KILLPOINT("queue.put.chunk_taken");
  Record& last = *record_at(now);
  last.kind = Record::chunk;
  last.bytes = index_of(next.name);
  return {index_of(next.name), 0};
}

bool QueueCore::add(std::span<const std::byte> payload, QueueHand* hand, std::size_t block_message_bytes) {
  QueueEnd& end = header_.put_end;
  // Relaxed: only holders of this lock change the count.
  const std::uint64_t count = count_in(header_.put_count.load(std::memory_order_relaxed));
  ElsewherePayload elsewhere{};
  if (hand != nullptr) {
    elsewhere = {hand->block.load(std::memory_order_relaxed), block_message_bytes};  // relaxed: this process wrote it
    payload = std::as_bytes(std::span(&elsewhere, 1));
  }
  const std::size_t record_bytes = record_head + round_up(payload.size(), record_unit);
  const RecordPlace now = end.places[count % 2];
  const RecordPlace place = place_for(record_bytes, now);
  Record& record = *record_at(place);
  // Lines further on, which the other end had last, are asked for while this message is written.
  prefetch_to_write(reinterpret_cast<std::byte*>(&record) + 6 * cache_line);
  prefetch_to_write(reinterpret_cast<std::byte*>(&record) + 7 * cache_line);
  record.kind = hand != nullptr ? Record::block : Record::inlined;
  record.bytes = static_cast<std::uint32_t>(payload.size());
  std::memcpy(record.payload(), payload.data(), payload.size());
  RUNRIG_KILLPOINT("queue.put.written");
  if (hand != nullptr) {
    // Release: against reordering by the compiler. Before the count: else the dead would free a block that is in the
    // queue.
    hand->position.store(count + 1, std::memory_order_release);
    RUNRIG_KILLPOINT("queue.put.announced");
  }
  end.places[(count + 1) % 2] = {place.chunk, place.offset + static_cast<std::uint32_t>(record_bytes)};
  // Release: pairs with the acquire of who takes it, and of put_count(). That the flag is read in the same step is why
  // no fence is needed: whoever raises it compares the count in that step, too.
  const std::uint64_t before = header_.put_count.fetch_add(one_message, std::memory_order_release);
  RUNRIG_KILLPOINT("queue.put.counted");
  // Release: not before the count.
  if (place.chunk != now.chunk) end.holding.store(0, std::memory_order_release);
  return (before & somebody_sleeps) != 0;
}

QueueHand* QueueCore::claim_putting_hand(std::uint64_t key) noexcept {
  for (QueueHand& each : header_.putting) {
    std::uint64_t nobody = 0;
    // Acquire: pairs with the release of who emptied it.
    if (each.owner.load(std::memory_order_relaxed) == 0 &&
        each.owner.compare_exchange_strong(nobody, key, std::memory_order_acquire, std::memory_order_relaxed)) {
      RUNRIG_KILLPOINT("queue.put.hand_claimed");
      return &each;
    }
  }
  return nullptr;
}

void QueueCore::leave_putting_hand(QueueHand& hand, bool was_put) noexcept {
  if (!was_put) blocks_.release(hand.block.load(std::memory_order_relaxed));  // relaxed: this process wrote it
  // In this order: a block that is named without a position is freed by sweep().
  hand.block.store(0, std::memory_order_release);
  hand.position.store(0, std::memory_order_release);
  hand.owner.store(0, std::memory_order_release);  // pairs with the acquire in claim_putting_hand()
}

// Getting
// --------------------------------------------------------------------------------------------------------------

// With the lock of the get end: they are given out under it, and given back without.
QueueHand* QueueCore::empty_taking_hand(std::uint32_t& hint) noexcept {
  for (std::uint32_t i = 0; i < get_hands; ++i) {
    QueueHand& hand = header_.taking[(hint + i) % get_hands];
    // Acquire: pairs with the release in finish(): what its last user had was freed.
    if (hand.owner.load(std::memory_order_acquire) == 0) {
      hint = (hint + i) % get_hands;
      return &hand;
    }
  }
  return nullptr;
}

QueueCore::Take QueueCore::take(std::uint64_t key, std::uint32_t& hint, std::span<std::byte> room, Taken& taken) {
  QueueEnd& end = header_.get_end;
  // Relaxed: only holders of this lock change the count.
  const std::uint64_t count = count_in(header_.got_count.load(std::memory_order_relaxed));
  if (end.other_count == count) {
    // Looked at only when all that was known to be there is taken: the line is that of the other end.
    for (std::uint32_t i = 0; i < end.pauses; ++i) pause_processor();
    end.other_count = put_count();
    if (end.other_count == count) {
      end.pauses = 0;
      return Take::empty;
    }
    // So few that the other end lost its line for them, and had it back at once: next time they may gather for a
    // moment.
    if (end.other_count - count < enough_at_once) {
      end.pauses = std::min(end.pauses + 2, most_pauses);
    }
  }
  QueueHand* const hand = empty_taking_hand(hint);
  if (hand == nullptr) return Take::no_hand;
  RecordPlace place = end.places[count % 2];
  Record* record = record_at(place);
  BlockName left = 0;
  if (record->kind == Record::chunk) {
    left = blocks_.name_of(place.chunk);
    place = {record->bytes, 0};
    (void)blocks_.bytes(blocks_.name_of(place.chunk), chunk_bytes);  // it is one
    record = record_at(place);
  }
  const std::size_t bytes = record->bytes;
  if (bytes > room.size() || bytes > chunk_bytes - record_head - place.offset) refuse("a message has no end");
  BlockName block = 0;
  std::span<std::byte> message = room.first(bytes);
  if (record->kind == Record::block && bytes == sizeof(ElsewherePayload)) {
    ElsewherePayload elsewhere{};
    std::memcpy(&elsewhere, record->payload(), sizeof elsewhere);
    message = blocks_.bytes(elsewhere.block, elsewhere.bytes);
    block = elsewhere.block;
  } else if (record->kind != Record::inlined) {
    refuse("a message is of no kind");
  } else {
    std::memcpy(message.data(), record->payload(), bytes);
  }
  RUNRIG_KILLPOINT("queue.get.copied");
  // Release: against reordering by the compiler around what a kill may cut; others look under the lock only. The owner
  // last: it makes the hand one.
  hand->block.store(block, std::memory_order_relaxed);
  hand->position.store(count + 1, std::memory_order_relaxed);
  hand->owner.store(key, std::memory_order_release);
  RUNRIG_KILLPOINT("queue.get.in_hand");
  if (left != 0) end.holding.store(left, std::memory_order_release);
  end.places[(count + 1) % 2] = {place.chunk,
                                 place.offset + static_cast<std::uint32_t>(record_head + round_up(bytes, record_unit))};
  // Release: pairs with got_count(): who sees it taken may use its place again. The flag is read in the same step, as
  // in add().
  const std::uint64_t before = header_.got_count.fetch_add(one_message, std::memory_order_release);
  RUNRIG_KILLPOINT("queue.get.counted");
  if (left != 0) {
    leave_chunk(end, place.chunk);
    RUNRIG_KILLPOINT("queue.get.chunk_left");
  }
  taken = {hand, message, (before & somebody_sleeps) != 0};
  return Take::taken;
}

void QueueCore::finish(QueueHand& hand) noexcept {
  RUNRIG_KILLPOINT("queue.get.read");
  const BlockName block = hand.block.load(std::memory_order_relaxed);  // relaxed: this process wrote it
  if (block != 0) {
    blocks_.release(block);
    RUNRIG_KILLPOINT("queue.get.freed");
  }
  hand.owner.store(0, std::memory_order_release);  // pairs with the acquire in empty_taking_hand()
}

// For the dead
// ---------------------------------------------------------------------------------------------------------

bool QueueCore::is_dead(std::uint64_t key) const noexcept {
  return liveness(header_.domains.identity_in(key, ParticipantKind::process)) == Liveness::dead;
}

bool QueueCore::sweep_is_due() noexcept {
  // Relaxed: see lock_end().
  return header_.deaths.load(std::memory_order_relaxed) != 0;
}

void QueueCore::sweep() {
  header_.deaths.store(0, std::memory_order_relaxed);  // before the look; relaxed: as in lock_end()
  // Who is stopped with a lock keeps nobody from going on here: then the next sweep does it.
  const auto soon = Deadline::after(patience);
  const auto do_with = [&](const std::unique_lock<Lock>& lock, void (QueueCore::*part)()) {
    if (lock) {
      (this->*part)();
    } else {
      header_.deaths.fetch_add(1, std::memory_order_relaxed);
    }
  };
  do_with(lock_put(soon), &QueueCore::sweep_putting);
  do_with(lock_get(soon), &QueueCore::sweep_taking);
}

void QueueCore::sweep_putting() {
  const std::uint64_t me = own_key();
  for (QueueHand& each : header_.putting) {
    // Acquire: what a living owner has written before it went; of the dead nothing more comes.
    const std::uint64_t owner = each.owner.load(std::memory_order_acquire);
    if (owner == 0 || owner == me || !is_dead(owner)) continue;
    // With a position it was put, or the repair of the lock would have taken that away: then the queue has the block.
    if (each.position.load(std::memory_order_relaxed) == 0) blocks_.free(each.block.load(std::memory_order_relaxed));
    RUNRIG_KILLPOINT("queue.sweep.freed");
    each.block.store(0, std::memory_order_release);  // in this order: as in leave_putting_hand()
    each.position.store(0, std::memory_order_release);
    each.owner.store(0, std::memory_order_release);
  }
}

void QueueCore::sweep_taking() {
  const std::uint64_t me = own_key();
  bool lost = false;
  for (std::uint32_t i = 0; i < get_hands; ++i) {
    QueueHand& each = header_.taking[i];
    const std::uint64_t owner = each.owner.load(std::memory_order_acquire);  // as above
    if (owner == 0 || owner == me || !is_dead(owner)) continue;
    blocks_.free(each.block.load(std::memory_order_relaxed));
    // Relaxed: guarded by the lock. Release where the compiler must not move a store across a place of death.
    header_.lost_next = header_.lost_count.load(std::memory_order_relaxed) + 1;
    header_.settling.store(i + 1, std::memory_order_release);
    RUNRIG_KILLPOINT("queue.sweep.settling");
    header_.lost_count.store(header_.lost_next, std::memory_order_release);
    RUNRIG_KILLPOINT("queue.sweep.counted");
    each.owner.store(0, std::memory_order_release);
    header_.settling.store(0, std::memory_order_release);
    lost = true;
  }
  if (lost) wake_all(header_.done_count);
}

// Sleepers
// -------------------------------------------------------------------------------------------------------------

void QueueCore::wake_one(CountWord& word) noexcept {
  if (futex_wake(futex_of(word), 1) > 0) return;
  wake_all(word);
}

void QueueCore::wake_all(CountWord& word) noexcept {
  // Relaxed: the flag says nothing about other memory. Whoever is on the way to sleep compares the word, and raises it
  // again; whoever fell asleep by the flag that is gone now is woken here.
  word.fetch_and(~somebody_sleeps, std::memory_order_relaxed);
  futex_wake_all(futex_of(word));
}

}  // namespace runrig::detail
