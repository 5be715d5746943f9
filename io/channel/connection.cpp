#include "runrig/channel/connection.hpp"

#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <stdexcept>
#include <utility>

#include "runrig/channel/passed_descriptors.hpp"
#include "runrig/sync/error.hpp"
#include "runrig/sync/poll.hpp"
#include "stream.hpp"
#include "timed_messages.hpp"

namespace runrig {
namespace detail {

struct ConnectionState {
  Stream stream;
  Direction direction = Direction::duplex;
  bool lost = false;  // where the next message begins
  Outgoing out;
  ByteBuffer in;
};

namespace {

// What a connection keeps of its memory for the next message: enough for most, and not too much for many connections.
constexpr std::size_t most_bytes_kept = std::size_t{4} << 20;

constexpr bool allows(Direction has, Direction needed) noexcept {
  return has == Direction::duplex || needed == Direction::duplex || has == needed;
}

// The head of the next message. Whatever happens from here to its last byte loses the place of what follows.
class OneMessage {
 public:
  OneMessage(ConnectionState& state, std::size_t max_bytes, CarriedDescriptors* carried, Deadline deadline = {})
      : state_(state), deadline_(deadline) {
    if (state.lost) {
      throw Error(std::errc::connection_aborted, "receive after a message that was not taken as a whole from",
                  state.stream.name);
    }
    body_bytes_ = receive_head(state.stream, state_.lost, deadline, carried);
    state_.lost = true;
    check_frame_length(body_bytes_, max_bytes, state.stream.name);
  }
  [[nodiscard]] std::uint64_t body_bytes() const noexcept { return body_bytes_; }
  template <class Buffer>
  void take(Buffer& out) {
    receive_body(state_.stream, out, body_bytes_, deadline_);
    state_.lost = false;
  }
  void take_into(std::span<std::byte> out) {
    receive_rest(state_.stream, out, body_bytes_, deadline_);
    state_.lost = false;
  }

 private:
  ConnectionState& state_;
  Deadline deadline_;
  std::uint64_t body_bytes_ = 0;
};

}  // namespace

Incoming::Incoming(ConnectionState& from, std::span<const std::byte> message, std::vector<UniqueFd> carried,
                   const pickle::Limits& given)
    : state(from), bytes(message), descriptors(std::move(carried)), limits(given) {
  if (limits.source == pickle::Limits{}.source) limits.source = from.stream.name;
}

Incoming::~Incoming() {
  if (state.in.capacity() > most_bytes_kept) state.in.release();
}

}  // namespace detail

using detail::ConnectionState;

detail::TimedMessages::TimedMessages(Connection& connection, Deadline deadline)
    : state_(connection.usable(Direction::receive)), deadline_(deadline) {
  (void)connection.usable(Direction::send);
}
void detail::TimedMessages::send(std::span<const std::byte> bytes) const {
  send_whole(state_.stream, FrameHead(bytes.size()).bytes(), bytes, {}, deadline_);
}
std::vector<std::byte> detail::TimedMessages::receive(std::size_t max_bytes) const {
  OneMessage message(state_, max_bytes, nullptr, deadline_);
  std::vector<std::byte> bytes;
  message.take(bytes);
  return bytes;
}
const detail::Stream& detail::TimedMessages::stream() const noexcept { return state_.stream; }

Connection::Connection(UniqueFd fd, Direction direction, std::string_view name)
    : state_(std::make_shared<ConnectionState>()) {
  state_->stream = detail::make_stream(std::move(fd), std::string(name));
  state_->direction = direction;
}
Connection::Connection(Connection&&) noexcept = default;
Connection& Connection::operator=(Connection&& other) noexcept {
  if (this != &other) {
    close();
    state_ = std::move(other.state_);
  }
  return *this;
}
Connection::~Connection() { close(); }

ConnectionState& Connection::usable(Direction needed) const {
  if (closed()) {
    throw std::logic_error(state_ ? "use the connection '" + state_->stream.name +
                                        "': it is closed, or was given to another process"
                                  : "use a connection: the object is empty, or was moved from");
  }
  if (!detail::allows(state_->direction, needed)) {
    throw std::logic_error(needed == Direction::receive
                               ? "receive from '" + state_->stream.name + "': this end can only send"
                               : "send to '" + state_->stream.name + "': this end can only receive");
  }
  return *state_;
}

detail::Outgoing& Connection::begin_send() {
  ConnectionState& state = usable(Direction::send);
  state.out.bytes.clear();
  state.out.descriptors.clear();
  return state.out;
}

void Connection::finish_send() {
  ConnectionState& state = *state_;
  std::vector<int> descriptors;
  if (!state.out.descriptors.empty()) {
    if (state.stream.kind != detail::Stream::Kind::local_socket) {
      throw std::logic_error(
          "send a connection to '" + state.stream.name +
          "': only a Unix socket takes descriptors, as of a duplex Pipe or a Client on this machine");
    }
    if (state.out.descriptors.size() > detail::most_descriptors_at_once) {
      throw std::logic_error("send " + std::to_string(state.out.descriptors.size()) +
                             " connections in one message to '" + state.stream.name + "': at most " +
                             std::to_string(detail::most_descriptors_at_once) + " can travel at once");
    }
    for (const auto& each : state.out.descriptors) descriptors.push_back(each->get());
  }
  const detail::FrameHead head(state.out.bytes.size());
  detail::send_whole(state.stream, head.bytes(), state.out.bytes, descriptors);
  state.out.descriptors.clear();
  if (state.out.bytes.capacity() > detail::most_bytes_kept) std::vector<std::byte>().swap(state.out.bytes);
}

detail::Incoming Connection::begin_recv(const pickle::Limits& limits) {
  ConnectionState& state = usable(Direction::receive);
  detail::CarriedDescriptors carried;
  detail::OneMessage message(state, limits.max_bytes, &carried);
  message.take(state.in);
  if (carried.lost) {
    throw Error(std::errc::too_many_files_open, "take the descriptors that came with a message from",
                state.stream.name);
  }
  return {state, {state.in.data(), state.in.size()}, std::move(carried.descriptors), limits};
}

void Connection::send_bytes(std::span<const std::byte> bytes) {
  const ConnectionState& state = usable(Direction::send);
  const detail::FrameHead head(bytes.size());
  detail::send_whole(state.stream, head.bytes(), bytes);
}

std::vector<std::byte> Connection::recv_bytes(std::size_t max_bytes) {
  detail::OneMessage message(usable(Direction::receive), max_bytes, nullptr);
  std::vector<std::byte> bytes;
  message.take(bytes);
  return bytes;
}

std::size_t Connection::recv_bytes_into(std::span<std::byte> buffer, std::size_t max_bytes) {
  ConnectionState& state = usable(Direction::receive);
  detail::OneMessage message(state, std::max(max_bytes, buffer.size()), nullptr);
  if (message.body_bytes() <= buffer.size()) {
    const auto size_bytes = static_cast<std::size_t>(message.body_bytes());
    message.take_into(buffer.first(size_bytes));
    return size_bytes;
  }
  std::vector<std::byte> whole;
  message.take(whole);
  const std::size_t size_bytes = whole.size();
  throw BufferTooShort("receive a message of " + std::to_string(size_bytes) + " bytes into a buffer of " +
                           std::to_string(buffer.size()) + " from",
                       state.stream.name, std::move(whole));
}

bool Connection::poll(std::chrono::nanoseconds timeout) const {
  return detail::wait_readable(usable(Direction::receive).stream.fd.get(), Deadline::after(timeout));
}

int Connection::fileno() const { return usable(Direction::duplex).stream.fd.get(); }
Direction Connection::direction() const { return usable(Direction::duplex).direction; }
bool Connection::closed() const noexcept { return !state_ || !state_->stream.fd; }
void Connection::close() noexcept {
  if (state_) state_->stream.fd.reset();
}

Connection Connection::duplicate() const {
  const ConnectionState& state = usable(Direction::duplex);
  UniqueFd fd(check_errno(::fcntl(state.stream.fd.get(), F_DUPFD_CLOEXEC, 0), "duplicate", state.stream.name));
  return Connection(std::move(fd), state.direction, state.stream.name);
}

std::shared_ptr<UniqueFd> Connection::descriptor_to_send() const {
  (void)usable(Direction::duplex);
  return {state_, &state_->stream.fd};
}

Pipe::Pipe(Direction direction_of_first) {
  std::array<int, 2> fds{-1, -1};
  if (direction_of_first == Direction::duplex) {
    check_errno(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds.data()), "make", "pipe");
  } else {
    check_errno(::pipe2(fds.data(), O_CLOEXEC), "make", "pipe");
  }
  UniqueFd reading(fds[0]);
  UniqueFd writing(fds[1]);
  const bool duplex = direction_of_first == Direction::duplex;
  Connection reader(std::move(reading), duplex ? Direction::duplex : Direction::receive, "pipe");
  Connection writer(std::move(writing), duplex ? Direction::duplex : Direction::send, "pipe");
  first = std::move(direction_of_first == Direction::send ? writer : reader);
  second = std::move(direction_of_first == Direction::send ? reader : writer);
}

void Transfer<Connection>::write(pickle::Encoder& encoder, const Connection& connection) {
  encoder.begin_tuple(2);
  encoder.descriptor(connection.descriptor_to_send());
  encoder.integer(static_cast<std::int64_t>(connection.direction()));
  encoder.end_tuple(2);
}

Connection Transfer<Connection>::read(pickle::Decoder& decoder) {
  decoder.begin_tuple(2);
  UniqueFd fd = decoder.descriptor();
  const auto direction = decoder.integer<std::uint8_t>();
  if (direction > static_cast<std::uint8_t>(Direction::send)) decoder.fail("no direction of a connection");
  decoder.end_tuple(2);
  return Connection(std::move(fd), static_cast<Direction>(direction), "received connection");
}

}  // namespace runrig
