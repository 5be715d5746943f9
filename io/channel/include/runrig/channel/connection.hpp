#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "runrig/channel/transfer.hpp"
#include "runrig/sync/clock.hpp"
#include "runrig/sync/unique_fd.hpp"

namespace runrig {

/// Which way messages go through an end of a connection.
enum class Direction : std::uint8_t { duplex, receive, send };

namespace detail {
struct ConnectionState;
struct Incoming;
class TimedMessages;
/// A message on its way.
struct Outgoing {
  std::vector<std::byte> bytes;
  pickle::Descriptors descriptors;
};
}  // namespace detail

/// One end of a connection: whole messages through a pipe or a stream socket, on the wire those of CPython's
/// `multiprocessing.connection.Connection`, so that a Python program can be at the other end.
///
///     auto [ours, theirs] = runrig::Pipe();
///     ours.send(std::vector{1, 2, 3});               // a pickle
///     auto numbers = theirs.recv<std::vector<int>>();
///     pickle::Object anything = theirs.recv();        // blocks: there is no second message
///
/// **Ends.** When the other end is closed, or its last process dead, recv() throws EndOfStream once all messages are
/// read; if it died in the middle of one, Error connection_aborted. (A forked child has copies of all ends that its
/// parent has: an end is gone when the last copy is, so close those that are not used.) Sending to it is an Error
/// broken_pipe, and never a SIGPIPE.
///
/// **Bytes from outside.** A message that is announced as longer than the caller's limit is refused before memory is
/// taken, memory is taken only as bytes arrive, and reading a pickle runs no code. After a message was refused for its
/// length, or was cut off, what follows cannot be found: all further receiving throws Error connection_aborted.
///
/// **Threads.** One thread may send while another receives; two that send, or two that receive, must take turns (as
/// with Python's). The same holds for processes that share an end.
///
/// Closing is for when nobody else uses the object. Signals do not interrupt anything. Used when closed, or in the
/// direction that it does not have, it throws std::logic_error.
class Connection {
 public:
  /// What recv_bytes() takes if nothing else is said: as much as a pickle (pickle::Limits).
  static constexpr std::size_t default_max_bytes = pickle::Limits{}.max_bytes;

  /// Closed.
  Connection() noexcept = default;
  /// Of the end of a pipe or a connected stream socket, which may be non-blocking. `name` is for errors. Throws Error
  /// invalid_argument if it is anything else.
  explicit Connection(UniqueFd fd, Direction direction = Direction::duplex, std::string_view name = "connection");
  Connection(Connection&&) noexcept;
  Connection& operator=(Connection&&) noexcept;
  ~Connection();

  /// Sends a Transferable value, or a pickle::Object, as a pickle of protocol 5, which Python 3.8 and later read.
  /// Connections in it travel as descriptors, through local sockets only; this process keeps its own.
  /// Blocks while the other end does not read and the kernel's buffer is full. Throws Error; std::logic_error for what
  /// cannot be sent, before anything is.
  template <class T>
  void send(const T& value);
  /// The next message, which is a pickle. Throws EndOfStream, FormatError (the message is taken then, and the next may
  /// be received), Error message_size for one of more than limits.max_bytes.
  template <class T = pickle::Object>
  [[nodiscard]] typename detail::Arriving<T>::Type recv(const pickle::Limits& limits = {});

  /// Sends bytes as they are, any number.
  void send_bytes(std::span<const std::byte> bytes);
  /// The next message as it is. Throws Error message_size if it has more than `max_bytes`.
  [[nodiscard]] std::vector<std::byte> recv_bytes(std::size_t max_bytes = default_max_bytes);
  /// The next message to the beginning of `buffer`; returns its length. Throws BufferTooShort, which has the message,
  /// if it is longer (and Error message_size if longer than `max_bytes`, too).
  [[nodiscard]] std::size_t recv_bytes_into(std::span<std::byte> buffer, std::size_t max_bytes = default_max_bytes);

  /// Whether there is something to receive, be it the end, within `timeout`: at once by default, `forever` waits.
  [[nodiscard]] bool poll(std::chrono::nanoseconds timeout = std::chrono::nanoseconds(0)) const;
  /// For wait(), poll(2) and the like.
  [[nodiscard]] int fileno() const;
  [[nodiscard]] Direction direction() const;
  [[nodiscard]] bool closed() const noexcept;
  /// Harmless the second time.
  void close() noexcept;
  /// Another object for the same end, with a descriptor of its own.
  [[nodiscard]] Connection duplicate() const;

 private:
  template <class T>
  friend struct Transfer;
  friend class detail::TimedMessages;
  [[nodiscard]] detail::Outgoing& begin_send();
  void finish_send();
  [[nodiscard]] detail::Incoming begin_recv(const pickle::Limits& limits);
  [[nodiscard]] detail::ConnectionState& usable(Direction needed) const;
  [[nodiscard]] std::shared_ptr<UniqueFd> descriptor_to_send() const;

  std::shared_ptr<detail::ConnectionState> state_;  // never shared with another Connection, but with who gives it away
};

/// Two connected ends, close-on-exec: `auto [first, second] = runrig::Pipe();`
///
/// Duplex by default (a pair of Unix sockets). Of a Pipe(Direction::receive) as of Python's Pipe(duplex=False), the
/// first end only receives and the second only sends (a pipe); Direction::send is the other way round.
struct Pipe {
  explicit Pipe(Direction direction_of_first = Direction::duplex);
  Connection first;
  Connection second;
};

namespace detail {
/// A message, in memory of the connection that is used again.
struct Incoming {
  Incoming(ConnectionState& from, std::span<const std::byte> message, std::vector<UniqueFd> carried,
           const pickle::Limits& given);
  Incoming(const Incoming&) = delete;
  Incoming& operator=(const Incoming&) = delete;
  ~Incoming();
  ConnectionState& state;
  std::span<const std::byte> bytes;
  std::vector<UniqueFd> descriptors;
  pickle::Limits limits;
};
}  // namespace detail

template <class T>
void Connection::send(const T& value) {
  require_transferable<const T&>();
  if constexpr (Transferable<const T&>) {
    detail::Outgoing& out = begin_send();
    pickle::encode(out.bytes, value, &out.descriptors);
    finish_send();
  }
}

template <class T>
typename detail::Arriving<T>::Type Connection::recv(const pickle::Limits& limits) {
  const detail::Incoming in = begin_recv(limits);
  return pickle::decode<T>(in.bytes, in.limits, in.descriptors);
}

/// As a descriptor, through another connection that is a Unix socket (a duplex Pipe): the receiver gets one of its own,
/// and the sender's stays open. Anywhere else, as through a one-way pipe, send() throws std::logic_error.
template <>
struct Transfer<Connection> {
  static void write(pickle::Encoder& encoder, const Connection& connection);
  static Connection read(pickle::Decoder& decoder);
};

}  // namespace runrig
