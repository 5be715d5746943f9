#include "runrig/channel/send_handle.hpp"

#include <sys/socket.h>

#include <array>
#include <cerrno>
#include <cstddef>
#include <span>
#include <stdexcept>
#include <string_view>

#include "runrig/channel/passed_descriptors.hpp"
#include "runrig/sync/error.hpp"
#include "runrig/sync/poll.hpp"

namespace runrig {
namespace {

constexpr std::string_view peer = "connection";
// Beside the descriptors goes one byte: how many there are.
constexpr std::byte one_descriptor{1};

int local_socket_of(const Connection& connection, Direction needed) {
  const int fd = connection.fileno();  // throws if it is closed
  int domain = 0;
  socklen_t length = sizeof domain;
  const bool local = ::getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &length) == 0 && domain == AF_UNIX;
  if (!local || (connection.direction() != Direction::duplex && connection.direction() != needed)) {
    throw std::logic_error(
        "send or receive a descriptor: only a Unix socket takes one, as of a duplex Pipe or a Client on this machine");
  }
  return fd;
}

}  // namespace

void send_handle(const Connection& connection, int descriptor) {
  const int socket = local_socket_of(connection, Direction::send);
  // Only the call itself may say that the socket is full: it may be one that does not block.
  while (detail::send_with_descriptors(socket, {&one_descriptor, 1}, {}, {&descriptor, 1}) != 1) {
    if (errno != EAGAIN) check_errno(-1, "send a descriptor to", peer);
    (void)detail::wait_writable(socket, Deadline());
  }
}

UniqueFd recv_handle(const Connection& connection, std::chrono::nanoseconds timeout) {
  const int socket = local_socket_of(connection, Direction::receive);
  const Deadline deadline = Deadline::after(timeout);
  std::byte count{};
  for (;;) {
    if (!detail::wait_readable(socket, deadline)) throw TimeoutError("receive a descriptor from", peer);
    detail::ReceivedMessage received = detail::receive_with_descriptors(socket, {&count, 1});
    switch (received.kind) {
      case detail::ReceivedMessage::Kind::end:
        throw EndOfStream("receive a descriptor from", peer);
      case detail::ReceivedMessage::Kind::failed:
        if (received.code == EAGAIN) continue;  // another process took it
        throw Error({received.code, std::system_category()}, "receive a descriptor from", peer);
      case detail::ReceivedMessage::Kind::message:
        if (count != one_descriptor || received.descriptors.size() != 1) {
          throw FormatError("receive", peer, "something else came where one descriptor was expected");
        }
        return std::move(received.descriptors.front());
    }
  }
}

}  // namespace runrig
