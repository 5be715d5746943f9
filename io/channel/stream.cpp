#include "stream.hpp"

#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstdlib>
#include <new>
#include <utility>

#include "runrig/channel/passed_descriptors.hpp"
#include "runrig/sync/error.hpp"
#include "runrig/sync/no_sigpipe.hpp"
#include "runrig/sync/poll.hpp"

namespace runrig::detail {
namespace {

int socket_option(int fd, int option, const std::string& name) {
  int value = 0;
  socklen_t size = sizeof value;
  check_errno(::getsockopt(fd, SOL_SOCKET, option, &value, &size), "look at", name);
  return value;
}

/// What a local socket holds of what its other end has not taken yet: more than twice what Linux gives, so that a large
/// message needs fewer changes between its two processes (docs/performance.md has what that brings). With 1 MiB a
/// Python that receives reads so much at once that it touches new pages for each message.
constexpr int local_send_bytes = 256 << 10;

void give_room(int fd, const std::string& name) {
  // The kernel counts double, for its own needs beside the bytes, and cuts what it will not give (net.core.wmem_max).
  if (socket_option(fd, SO_SNDBUF, name) >= 2 * local_send_bytes) return;
  check_errno(::setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &local_send_bytes, sizeof local_send_bytes), "set up", name);
}

ssize_t write_parts(int pipe, std::span<const std::byte> head, std::span<const std::byte> body) {
  const std::array<iovec, 2> parts{
      {{const_cast<std::byte*>(head.data()), head.size()}, {const_cast<std::byte*>(body.data()), body.size()}}};
  NoSigpipe signals;
  const auto written = retry_on_eintr([&] { return ::writev(pipe, parts.data(), static_cast<int>(parts.size())); });
  const int code = errno;
  signals.raised = written == -1 && code == EPIPE;
  errno = code;
  return written;
}

bool would_block(int code) noexcept { return code == EAGAIN || code == EWOULDBLOCK; }

[[noreturn]] void ended_inside(const Stream& stream, const std::string& what) {
  throw Error(std::errc::connection_aborted, "receive the rest of a message (" + what + " came) from", stream.name);
}

ssize_t receive_once(const Stream& stream, std::span<std::byte> buffer, int flags, CarriedDescriptors* carried) {
  if (stream.kind == Stream::Kind::pipe) {
    return retry_on_eintr([&] { return ::read(stream.fd.get(), buffer.data(), buffer.size()); });
  }
  if (carried == nullptr || stream.kind != Stream::Kind::local_socket) {
    return retry_on_eintr([&] { return ::recv(stream.fd.get(), buffer.data(), buffer.size(), flags); });
  }
  ReceivedMessage got = receive_with_descriptors(stream.fd.get(), buffer, flags);
  if (got.kind == ReceivedMessage::Kind::failed && got.size_bytes == 0) {
    errno = got.code;
    return -1;
  }
  carried->lost |= got.kind == ReceivedMessage::Kind::failed;
  for (UniqueFd& each : got.descriptors) carried->descriptors.push_back(std::move(each));
  return static_cast<ssize_t>(got.size_bytes);
}

}  // namespace

Stream make_stream(UniqueFd fd, std::string name) {
  struct stat status {};
  check_errno(::fstat(fd.get(), &status), "look at", name);
  if (S_ISFIFO(status.st_mode)) return {std::move(fd), Stream::Kind::pipe, std::move(name)};
  if (!S_ISSOCK(status.st_mode) || socket_option(fd.get(), SO_TYPE, name) != SOCK_STREAM) {
    throw Error(std::errc::invalid_argument,
                "make a connection of a descriptor that is no pipe and no stream socket:", name);
  }
  const bool local = socket_option(fd.get(), SO_DOMAIN, name) == AF_UNIX;
  if (local) give_room(fd.get(), name);
  return {std::move(fd), local ? Stream::Kind::local_socket : Stream::Kind::socket, std::move(name)};
}

void send_whole(const Stream& stream, std::span<const std::byte> head, std::span<const std::byte> body,
                std::span<const int> descriptors, Deadline deadline) {
  const int flags = deadline.when() ? MSG_DONTWAIT : 0;
  while (!head.empty() || !body.empty()) {
    const auto sent = stream.kind == Stream::Kind::pipe
                          ? write_parts(stream.fd.get(), head, body)
                          : send_with_descriptors(stream.fd.get(), head, body, descriptors, flags);
    if (sent == -1 && would_block(errno)) {
      if (!wait_writable(stream.fd.get(), deadline)) throw TimeoutError("send to", stream.name);
      continue;
    }
    auto done = static_cast<std::size_t>(check_errno(sent, "send to", stream.name));
    const std::size_t of_head = std::min(done, head.size());
    head = head.subspan(of_head);
    body = body.subspan(done - of_head);
    descriptors = {};  // they are with the first byte
  }
}

std::ptrdiff_t receive_some(const Stream& stream, std::span<std::byte> buffer, Deadline deadline,
                            CarriedDescriptors* carried) {
  const bool timed = deadline.when().has_value();
  for (;;) {
    if (timed && !wait_readable(stream.fd.get(), deadline)) return -1;
    const auto got = receive_once(stream, buffer, timed ? MSG_DONTWAIT : 0, carried);
    if (got != -1) return got;
    if (!would_block(errno)) check_errno(got, "receive from", stream.name);
    if (!timed) (void)wait_readable(stream.fd.get(), deadline);  // the descriptor is non-blocking
  }
}

std::uint64_t receive_head(const Stream& stream, bool& begun, Deadline deadline, CarriedDescriptors* carried) {
  FrameHeadReader head;
  while (!head.complete()) {
    const auto got = receive_some(stream, head.wanted(), deadline, carried);
    if (got == -1) throw TimeoutError("receive from", stream.name);
    if (got == 0 && !head.begun()) throw EndOfStream("receive from", stream.name);
    if (got == 0) ended_inside(stream, "not even its length");
    begun = true;
    head.took(static_cast<std::size_t>(got), stream.name);
  }
  return head.body_bytes();
}

void receive_rest(const Stream& stream, std::span<std::byte> rest, std::uint64_t body_bytes, Deadline deadline) {
  while (!rest.empty()) {
    const auto got = receive_some(stream, rest, deadline);
    if (got == -1) throw TimeoutError("receive the rest of a message from", stream.name);
    if (got == 0) {
      ended_inside(stream, "not all of its " + std::to_string(body_bytes) + " bytes");
    }
    rest = rest.subspan(static_cast<std::size_t>(got));
  }
}

void ByteBuffer::resize(std::size_t size_bytes) {
  if (size_bytes > capacity_bytes_) {
    void* const moved = std::realloc(bytes_.get(), size_bytes);  // NOLINT(cppcoreguidelines-no-malloc): it moves pages
    if (moved == nullptr) throw std::bad_alloc();
    (void)bytes_.release();
    bytes_.reset(static_cast<std::byte*>(moved));
    capacity_bytes_ = size_bytes;
  }
  size_bytes_ = size_bytes;
}

void ByteBuffer::release() noexcept {
  bytes_.reset();
  size_bytes_ = capacity_bytes_ = 0;
}

void ByteBuffer::Free::operator()(std::byte* bytes) const noexcept {
  std::free(bytes);  // NOLINT(cppcoreguidelines-no-malloc): of realloc
}

}  // namespace runrig::detail
