#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <mutex>
#include <span>
#include <type_traits>

#include "queue_blocks.hpp"
#include "runrig/channel/queue_base.hpp"
#include "runrig/shm/anonymous_memory.hpp"
#include "runrig/sync/clock.hpp"
#include "runrig/sync/domain_table.hpp"
#include "runrig/sync/futex.hpp"
#include "runrig/sync/lock.hpp"
#include "runrig/sync/participant.hpp"
#include "runrig/sync/waiting.hpp"

/// The bytes of a queue, and what is done to them.
///
///     QueueHeader | table of blocks | blocks (queue_blocks.hpp)
///
/// Messages are records, one behind the other in blocks of `chunk_bytes`, each of which ends with the number of the
/// next. A message that is longer than `queue_inline_bytes` lies in a block of its own, which its record names.
///
/// **Two ends, two locks.** Who puts holds the lock of the one end, who gets that of the other; they meet only in two
/// counts: how many messages were put, and how many were taken. One step of such a count is what makes a message
/// belong to the queue, or not any more. The place that belongs to a count is written before it, into the half of a
/// pair that the count's lowest bit chooses, so that nothing has to be undone when its writer is killed. Nothing that
/// takes time is done under a lock: values are encoded before and decoded afterwards.
///
/// **Hands.** What a process has of the queue outside its locks stands in a *hand* with its name: a block that it
/// writes a message to, a message that it has taken and not yet read. So a message is, as seen by its cell: free;
/// reserved (in the hand of who puts it); ready (counted as put); taken (in the hand of who gets it); free. The hands
/// of the dead are emptied by whoever comes by (sweep()), and what was in them and is lost is counted, exactly once.
namespace runrig::detail {

inline constexpr std::size_t chunk_bytes = std::size_t{32} << 10;
inline constexpr std::uint32_t get_hands = 128;
inline constexpr std::uint32_t put_hands = 64;

/// Lines that two processors write are kept apart by two: processors fetch them in pairs.
inline constexpr std::size_t apart = 2 * cache_line;

/// A count of messages, and in bit 0 whether somebody sleeps until it changes. They sleep on its low half.
using CountWord = std::atomic<std::uint64_t>;
inline constexpr std::uint64_t somebody_sleeps = 1;
inline constexpr std::uint64_t one_message = 2;
[[nodiscard]] constexpr std::uint64_t count_in(std::uint64_t word) noexcept { return word >> 1; }

/// Where a record is, or will be: the number of its chunk, and bytes from there.
struct RecordPlace {
  std::uint32_t chunk = 0;
  std::uint32_t offset = 0;
};

/// What those at one end share. All of it is guarded by the lock.
struct alignas(apart) QueueEnd {
  Lock lock;
  std::uint64_t other_count;           // of the other end, when somebody last looked
  RecordPlace places[2];               // of the next record: that of count n is places[n % 2]
  std::atomic<std::uint64_t> holding;  // a chunk that is between the queue and the free blocks
  std::uint32_t pauses;                // before the other end's count is looked at again
};
static_assert(std::is_standard_layout_v<QueueEnd> && sizeof(QueueEnd) == apart);

struct alignas(cache_line) QueueHand {
  std::atomic<std::uint64_t> owner;  // key of its process; 0: empty
  /// 1 + the count of puts before the message (taken; or about to be put), 0: none.
  std::atomic<std::uint64_t> position;
  std::atomic<std::uint64_t> block;  // name; 0: none
};

struct QueueHeader {
  std::uint64_t magic;
  std::uint32_t layout_version;
  std::uint32_t kind;
  std::uint64_t segment_bytes;
  std::uint64_t maxsize;  // 0: no bound
  std::uint64_t table_offset;
  std::uint64_t data_offset;
  std::uint64_t most_blocks;
  Identity creator;
  DomainTable domains;
  // Holders of the locks that were found dead since the last sweep(). Here, since each put and get looks at it, and
  // nobody writes to these lines.
  std::atomic<std::uint32_t> deaths;

  QueueEnd put_end;
  QueueEnd get_end;
  alignas(apart) CountWord put_count;
  alignas(apart) CountWord got_count;
  alignas(apart) CountWord done_count;
  std::atomic<std::uint64_t> lost_count;
  // Of a loss that is being counted: what the count will be, and 1 + the hand that is emptied with it.
  std::uint64_t lost_next;
  std::atomic<std::uint32_t> settling;

  alignas(apart) BlocksHeader blocks;
  alignas(apart) QueueHand taking[get_hands];
  alignas(apart) QueueHand putting[put_hands];
};
static_assert(std::is_standard_layout_v<QueueHeader> && std::is_trivially_destructible_v<QueueHeader>,
              "separately built processes share it");

/// A queue in a mapping. Keeps no state but where it is. Bounds are those of the mapping.
class QueueCore {
 public:
  /// How the segment is laid out.
  struct Layout {
    std::uint64_t segment_bytes = 0;
    std::uint64_t table_offset = 0;
    std::uint64_t data_offset = 0;
    std::uint64_t most_blocks = 0;
  };
  [[nodiscard]] static Layout layout(std::uint64_t segment_bytes) noexcept;
  /// Makes fresh memory an empty queue.
  static void format(AnonymousMemory& memory, const Layout& layout, std::uint64_t maxsize, QueueKind kind);
  /// Throws FormatError unless it is a queue of this layout and kind.
  QueueCore(AnonymousMemory& memory, QueueKind kind);

  [[nodiscard]] QueueHeader& header() const noexcept { return header_; }
  [[nodiscard]] QueueBlocks& blocks() noexcept { return blocks_; }
  [[nodiscard]] std::uint64_t maxsize() const noexcept { return maxsize_; }

  /// The lock of an end, repaired if its holder died; without it when the deadline has passed. One that has passed
  /// already still leaves others the time for what they do under it.
  [[nodiscard]] std::unique_lock<Lock> lock_put(Deadline deadline);
  [[nodiscard]] std::unique_lock<Lock> lock_get(Deadline deadline);

  /// With the lock of the put end: whether there is a place.
  [[nodiscard]] bool has_place() noexcept;
  /// With that lock and a place: adds a message, which lies in `payload` or in the block of `hand`. Returns whether
  /// consumers are to be woken, after unlocking. Throws Error not_enough_memory; the queue is as before then.
  [[nodiscard]] bool add(std::span<const std::byte> payload, QueueHand* hand, std::size_t block_message_bytes);

  /// What was taken: a hand, and the message in a block or in `room`.
  struct Taken {
    QueueHand* hand = nullptr;
    std::span<const std::byte> bytes;
    bool wake_producers = false;  // after unlocking
  };
  /// With the lock of the get end: takes the next message, if there is one and a hand for it.
  enum class Take { taken, empty, no_hand };
  [[nodiscard]] Take take(std::uint64_t key, std::uint32_t& hint, std::span<std::byte> room, Taken& taken);
  /// The message was read.
  void finish(QueueHand& hand) noexcept;

  /// An empty hand of this process for a message that needs a block; null if there is none now.
  [[nodiscard]] QueueHand* claim_putting_hand(std::uint64_t key) noexcept;
  /// After the message was put, or was given up.
  void leave_putting_hand(QueueHand& hand, bool was_put) noexcept;

  /// Empties the hands of the dead. Takes the locks of both ends, one after the other.
  void sweep();
  /// True, once, after somebody was found dead.
  [[nodiscard]] bool sweep_is_due() noexcept;

  [[nodiscard]] std::uint64_t own_key() noexcept { return header_.domains.key_of(process_now()); }
  [[nodiscard]] std::uint64_t put_count() const noexcept;
  [[nodiscard]] std::uint64_t got_count() const noexcept;

  /// Wakes one who sleeps on a count, after it has changed and had the flag.
  static void wake_one(CountWord& word) noexcept;
  static void wake_all(CountWord& word) noexcept;

 private:
  struct Record;
  [[nodiscard]] std::unique_lock<Lock> lock_end(QueueEnd& end, void (QueueCore::*repair)(), Deadline deadline);
  void repair_put_end();
  void repair_get_end();
  void sweep_putting();
  void sweep_taking();
  [[nodiscard]] Record* record_at(RecordPlace place) const;
  [[nodiscard]] RecordPlace place_for(std::size_t record_bytes, RecordPlace now);
  [[nodiscard]] QueueHand* empty_taking_hand(std::uint32_t& hint) noexcept;
  void leave_chunk(QueueEnd& end, std::uint32_t still_used);
  [[nodiscard]] bool is_dead(std::uint64_t key) const noexcept;

  QueueHeader& header_;
  std::uint64_t maxsize_;
  QueueBlocks blocks_;
};

}  // namespace runrig::detail
