#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <type_traits>

#include "runrig/shm/handle.hpp"
#include "runrig/sync/clock.hpp"

/// What all kinds of queues are made of; see queue.hpp for what programs use.
namespace runrig {

/// Names a queue to any other process of the same user and PID namespace. A plain value of fixed size; it keeps nothing
/// alive: it works while the process that made it has the queue.
struct QueueHandle {
  SegmentHandle segment;
};
static_assert(std::is_trivially_copyable_v<QueueHandle>);

namespace detail {

enum class QueueKind : std::uint32_t { plain = 1, simple = 2, joinable = 3 };

/// The longest message, in bytes of its pickle, that lies beside others in the queue's memory: handles of arrays do.
/// Longer ones get a block of their own.
inline constexpr std::size_t queue_inline_bytes = 2048;

struct QueueHand;
class SharedQueue;

/// Memory of a queue that a long message is written to, before it is put. Given back by the destructor unless it was.
/// False if none could be had before `deadline`, since too many are being written and none is put.
class QueueRoom {
 public:
  QueueRoom(SharedQueue& queue, std::size_t bytes, Deadline deadline);
  QueueRoom(const QueueRoom&) = delete;
  QueueRoom& operator=(const QueueRoom&) = delete;
  ~QueueRoom();
  [[nodiscard]] explicit operator bool() const noexcept { return hand_ != nullptr; }
  [[nodiscard]] std::span<std::byte> bytes() const noexcept { return bytes_; }

 private:
  friend class SharedQueue;
  SharedQueue& queue_;
  QueueHand* hand_ = nullptr;
  std::span<std::byte> bytes_;
  bool was_put_ = false;
};

/// A message that was taken out of a queue and is being read. The destructor says that it was.
class QueueMessage {
 public:
  // By `= default`, QueueMessage() would clear the room.
  QueueMessage() noexcept {}  // NOLINT(modernize-use-equals-default)
  QueueMessage(const QueueMessage&) = delete;
  QueueMessage& operator=(const QueueMessage&) = delete;
  ~QueueMessage();
  [[nodiscard]] std::span<const std::byte> bytes() const noexcept { return bytes_; }

 private:
  friend class SharedQueue;
  SharedQueue* queue_ = nullptr;
  QueueHand* hand_ = nullptr;
  std::span<const std::byte> bytes_;
  std::array<std::byte, queue_inline_bytes> room_;
};

/// A queue as this process has it; its Queue objects share this. Any thread.
class SharedQueue {
 public:
  /// `maxsize` of 0 or less: no bound. Throws Error: no memory, no descriptors.
  [[nodiscard]] static std::shared_ptr<SharedQueue> create(std::int64_t maxsize, QueueKind kind);
  [[nodiscard]] static std::shared_ptr<SharedQueue> attach(const QueueHandle& handle, QueueKind kind);
  SharedQueue(const SharedQueue&) = delete;
  SharedQueue& operator=(const SharedQueue&) = delete;
  ~SharedQueue();

  /// False if there was no place before `deadline`. Throws std::logic_error after close(), Error not_enough_memory.
  [[nodiscard]] bool put(std::span<const std::byte> message, Deadline deadline);
  /// The same for the first `bytes` of a room of this queue.
  [[nodiscard]] bool put(QueueRoom& room, std::size_t bytes, Deadline deadline);
  /// The next message; false if none came before `deadline`. Throws std::logic_error after close().
  [[nodiscard]] bool take(QueueMessage& message, Deadline deadline);

  [[nodiscard]] std::uint64_t size() const;
  [[nodiscard]] std::int64_t maxsize() const noexcept;
  [[nodiscard]] std::uint64_t lost();
  void task_done();
  [[nodiscard]] bool join(Deadline deadline);

  // Relaxed: close() makes no promise about calls of other threads that are under way.
  void close() noexcept { closed_.store(true, std::memory_order_relaxed); }
  [[nodiscard]] bool closed() const noexcept { return closed_.load(std::memory_order_relaxed); }
  void check_open() const {
    if (closed()) [[unlikely]]
      throw_closed();
  }
  [[nodiscard]] QueueHandle handle() const;

 private:
  friend class QueueRoom;
  friend class QueueMessage;
  struct State;
  explicit SharedQueue(std::unique_ptr<State> state);
  [[nodiscard]] bool add(std::span<const std::byte> message, QueueRoom* room, Deadline deadline);
  void look_for_the_dead();
  [[noreturn]] static void throw_closed();

  std::unique_ptr<State> state_;
  std::atomic<bool> closed_{false};
};

}  // namespace detail
}  // namespace runrig
