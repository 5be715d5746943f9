#pragma once

#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <stdexcept>
#include <type_traits>
#include <utility>
#include <vector>

#include "runrig/channel/pickle.hpp"
#include "runrig/channel/queue_base.hpp"
#include "runrig/channel/transfer.hpp"
#include "runrig/sync/clock.hpp"
#include "runrig/sync/error.hpp"

/// Queues between processes: Python's multiprocessing.Queue, SimpleQueue and JoinableQueue, in shared memory.
namespace runrig {
namespace detail {

/// False if there was no place before `deadline`.
template <class T>
[[nodiscard]] bool put_value(SharedQueue& queue, const T& value, Deadline deadline) {
  queue.check_open();
  if constexpr (std::is_same_v<T, pickle::Object>) {
    return queue.put(pickle::dumps(value), deadline);
  } else {
    // Encoded before anything of the queue is touched: what T does then is its own business. On the stack, or if it is
    // too long for that, straight to its place.
    std::array<std::byte, queue_inline_bytes> room;
    const std::size_t bytes = pickle::encode_to(room, value);
    if (bytes <= room.size()) return queue.put(std::span(room).first(bytes), deadline);
    QueueRoom place(queue, bytes, deadline);
    if (!place) return false;
    if (pickle::encode_to(place.bytes(), value) != bytes) {
      throw std::logic_error("put a value that another thread changes, or that is not encoded twice in the same way");
    }
    return queue.put(place, bytes, deadline);
  }
}

template <class T>
[[nodiscard]] typename Arriving<T>::Type read_value(const QueueMessage& message) {
  return pickle::decode<T>(message.bytes(), pickle::unlimited);
}
/// Nothing if no message came before `deadline`.
template <class T>
[[nodiscard]] std::optional<typename Arriving<T>::Type> try_take_value(SharedQueue& queue, Deadline deadline) {
  QueueMessage message;
  if (!queue.take(message, deadline)) return std::nullopt;
  return read_value<T>(message);
}
/// Throws Empty then.
template <class T>
[[nodiscard]] typename Arriving<T>::Type take_value(SharedQueue& queue, Deadline deadline) {
  QueueMessage message;
  if (!queue.take(message, deadline)) throw Empty("queue");
  return read_value<T>(message);
}

inline Deadline at_once() noexcept { return Deadline::at(Clock::time_point::min()); }

}  // namespace detail

/// A queue of messages between any number of processes and threads, each of which may put and get: Python's
/// multiprocessing.Queue, without its feeder thread.
///
///     runrig::Queue<std::string> questions;
///     runrig::Process worker([](runrig::Queue<std::string> queue) { answer(queue.get()); }, questions);
///     worker.start();
///     questions.put("What is a rig?");
///
/// A message is any Transferable T, or with `Queue<>` a pickle::Object, which is anything. It crosses as a pickle,
/// which put() writes straight into shared memory: when put() has returned, the message is in the queue, also if its
/// process ends or is killed then. **What already lies in shared memory** (NdArray, views, Value, Shared...) crosses as
/// its handle, in the time of a small message, and is not copied. Its memory must be there when it is received: the
/// process that put it keeps it until then, as with any handle. If it is gone, get() throws Error
/// no_such_file_or_directory; the message is taken then, and the queue goes on.
///
/// **Order.** First in, first out: of the messages that one thread puts, and of all for which one put() returned before
/// the other began.
///
/// **Bounds.** At most `maxsize` messages, if that is above 0; else as many as memory holds: the queue grows, and gives
/// most of its memory back when it is empty again. No memory left is an Error not_enough_memory of put(), and the queue
/// goes on. A name in the file system it has none, nor anything in /dev/shm: it vanishes with its last user.
///
/// **When a process is killed**, at any moment, the queue goes on, and nobody waits for the dead for longer than a
/// second. A message that it was putting is there as a whole, or not at all. A message that it was getting is still
/// there, or, if it had left the queue, lost: lost() counts it. At most one message of each thread is. (What get()
/// has returned is not the queue's any more.) A process that is stopped in the midst of a put() or get(), which is a
/// matter of some ten nanoseconds, keeps others that put (or get) waiting, up to their timeouts.
///
/// **Timeouts** run on the monotonic clock; one of zero or less does not wait. Waiting spins for a moment, then sleeps.
///
/// A Queue object is a reference: copies are cheap, name the same queue, and may be used by several threads. A child of
/// any start method gets it as an argument; forked ones have it anyway. It also travels through connections and queues.
/// Anybody who may write the memory can break the queue: it serves processes that cooperate.
template <class T = pickle::Object>
class Queue {
 public:
  /// What arrives when a T is put: see Received.
  using Arrives = typename detail::Arriving<T>::Type;

  /// An empty queue; `maxsize` of 0 or less: without a bound. Throws Error: no memory, no descriptors.
  explicit Queue(std::int64_t maxsize = 0) : Queue(detail::SharedQueue::create(maxsize, detail::QueueKind::plain)) {}
  /// Refers to a queue of another process. Throws Error if it is gone, FormatError if it is none of this kind.
  [[nodiscard]] static Queue attach(const QueueHandle& handle) {
    return Queue(detail::SharedQueue::attach(handle, detail::QueueKind::plain));
  }
  [[nodiscard]] QueueHandle handle() const { return queue_->handle(); }

  /// Adds a message at the end; waits for a place while there are `maxsize`. Throws Error not_enough_memory;
  /// std::logic_error after close(), or for what cannot be sent.
  void put(const T& value) const { static_cast<void>(detail::put_value<T>(*queue_, value, Deadline())); }
  /// The same; throws Full if there was no place within `timeout`.
  template <class Rep, class Period>
  void put(const T& value, std::chrono::duration<Rep, Period> timeout) const {
    if (!detail::put_value<T>(*queue_, value, Deadline::after(timeout))) throw Full("queue");
  }
  /// The same; throws Full if there is no place now.
  void put_nowait(const T& value) const {
    if (!detail::put_value<T>(*queue_, value, detail::at_once())) throw Full("queue");
  }
  /// False where the others throw Full.
  [[nodiscard]] bool try_put(const T& value) const { return detail::put_value<T>(*queue_, value, detail::at_once()); }
  template <class Rep, class Period>
  [[nodiscard]] bool try_put_for(const T& value, std::chrono::duration<Rep, Period> timeout) const {
    return detail::put_value<T>(*queue_, value, Deadline::after(timeout));
  }

  /// Takes the first message out; waits for one. Throws std::logic_error after close(); FormatError if the message is
  /// no T, and what attaching it throws: it is taken then.
  [[nodiscard]] Arrives get() const { return detail::take_value<T>(*queue_, Deadline()); }
  /// The same; throws Empty if none came within `timeout`.
  template <class Rep, class Period>
  [[nodiscard]] Arrives get(std::chrono::duration<Rep, Period> timeout) const {
    return detail::take_value<T>(*queue_, Deadline::after(timeout));
  }
  /// The same; throws Empty if there is none now.
  [[nodiscard]] Arrives get_nowait() const { return detail::take_value<T>(*queue_, detail::at_once()); }
  /// Nothing where the others throw Empty.
  [[nodiscard]] std::optional<Arrives> try_get() const { return detail::try_take_value<T>(*queue_, detail::at_once()); }
  template <class Rep, class Period>
  [[nodiscard]] std::optional<Arrives> try_get_for(std::chrono::duration<Rep, Period> timeout) const {
    return detail::try_take_value<T>(*queue_, Deadline::after(timeout));
  }

  /// How many messages there are, whether there are none, or as many as it takes: true when it was looked at. Throw
  /// std::logic_error after close().
  [[nodiscard]] std::uint64_t qsize() const { return queue_->size(); }
  [[nodiscard]] bool empty() const { return queue_->size() == 0; }
  [[nodiscard]] bool full() const { return maxsize() > 0 && queue_->size() >= static_cast<std::uint64_t>(maxsize()); }
  /// 0: no bound.
  [[nodiscard]] std::int64_t maxsize() const noexcept { return queue_->maxsize(); }
  /// How many messages were lost with processes that died in get(), since the queue was made.
  [[nodiscard]] std::uint64_t lost() const { return queue_->lost(); }

  /// This process puts and gets no more here, through no copy of the object: that is a std::logic_error from now on.
  /// Other processes are not concerned. Harmless the second time.
  void close() const noexcept { queue_->close(); }
  [[nodiscard]] bool closed() const noexcept { return queue_->closed(); }
  /// Python's wait for the thread that feeds the queue, after close(). There is none here: whatever was put is in the
  /// queue already, so this returns at once. Throws std::logic_error before close().
  void join_thread() const {
    if (!closed()) throw std::logic_error("join_thread() of a queue comes after close()");
  }
  /// Python's leave to end without waiting for that thread. Does nothing: nothing is ever waited for, and nothing lost.
  void cancel_join_thread() const noexcept {}

 protected:
  explicit Queue(std::shared_ptr<detail::SharedQueue> queue) : queue_(std::move(queue)) {}

  std::shared_ptr<detail::SharedQueue> queue_;
};

/// A Queue that knows when all that was put has been dealt with: Python's JoinableQueue.
///
/// Whoever has taken a message and is done with it says task_done(). A message that is lost with a consumer that died
/// in get() counts as done (and as lost()). One whose consumer died later is not: nobody knows what became of it, so
/// join() has a timeout.
template <class T = pickle::Object>
class JoinableQueue : public Queue<T> {
 public:
  explicit JoinableQueue(std::int64_t maxsize = 0)
      : Queue<T>(detail::SharedQueue::create(maxsize, detail::QueueKind::joinable)) {}
  [[nodiscard]] static JoinableQueue attach(const QueueHandle& handle) {
    return JoinableQueue(detail::SharedQueue::attach(handle, detail::QueueKind::joinable));
  }

  /// One message that was taken is dealt with. Throws std::logic_error if called more often than messages were put.
  void task_done() const { this->queue_->task_done(); }
  /// Waits until task_done() was called for each message that was put. All that was done before those calls is seen.
  void join() const { static_cast<void>(this->queue_->join(Deadline())); }
  /// The same; false if that was not so within `timeout`.
  template <class Rep, class Period>
  [[nodiscard]] bool join(std::chrono::duration<Rep, Period> timeout) const {
    return this->queue_->join(Deadline::after(timeout));
  }

 private:
  explicit JoinableQueue(std::shared_ptr<detail::SharedQueue> queue) : Queue<T>(std::move(queue)) {}
};

/// Python's SimpleQueue: put, get, empty and close of a Queue without a bound. put() never waits.
template <class T = pickle::Object>
class SimpleQueue {
 public:
  using Arrives = typename detail::Arriving<T>::Type;

  SimpleQueue() : SimpleQueue(detail::SharedQueue::create(0, detail::QueueKind::simple)) {}
  [[nodiscard]] static SimpleQueue attach(const QueueHandle& handle) {
    return SimpleQueue(detail::SharedQueue::attach(handle, detail::QueueKind::simple));
  }
  [[nodiscard]] QueueHandle handle() const { return queue_->handle(); }

  /// As Queue's.
  void put(const T& value) const { static_cast<void>(detail::put_value<T>(*queue_, value, Deadline())); }
  [[nodiscard]] Arrives get() const { return detail::take_value<T>(*queue_, Deadline()); }
  [[nodiscard]] bool empty() const { return queue_->size() == 0; }
  [[nodiscard]] std::uint64_t lost() const { return queue_->lost(); }
  void close() const noexcept { queue_->close(); }

 private:
  explicit SimpleQueue(std::shared_ptr<detail::SharedQueue> queue) : queue_(std::move(queue)) {}

  std::shared_ptr<detail::SharedQueue> queue_;
};

}  // namespace runrig
