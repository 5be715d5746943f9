#include "runrig/channel/passed_descriptors.hpp"

#include <sys/socket.h>

#include <array>
#include <cerrno>
#include <cstring>

#include "runrig/sync/error.hpp"

namespace runrig::detail {

ssize_t send_with_descriptors(int socket, std::span<const std::byte> head, std::span<const std::byte> body,
                              std::span<const int> descriptors, int flags) {
  std::array<iovec, 2> parts{
      {{const_cast<std::byte*>(head.data()), head.size()}, {const_cast<std::byte*>(body.data()), body.size()}}};
  std::vector<std::byte> control(CMSG_SPACE(descriptors.size_bytes()));
  msghdr message{};
  message.msg_iov = parts.data();
  message.msg_iovlen = parts.size();
  if (!descriptors.empty()) {
    message.msg_control = control.data();
    message.msg_controllen = control.size();
    cmsghdr* const header = CMSG_FIRSTHDR(&message);
    header->cmsg_level = SOL_SOCKET;
    header->cmsg_type = SCM_RIGHTS;
    header->cmsg_len = CMSG_LEN(descriptors.size_bytes());
    std::memcpy(CMSG_DATA(header), descriptors.data(), descriptors.size_bytes());
  }
  return retry_on_eintr([&] { return ::sendmsg(socket, &message, MSG_NOSIGNAL | flags); });
}

ReceivedMessage receive_with_descriptors(int socket, std::span<std::byte> buffer, int flags) {
  iovec part{buffer.data(), buffer.size()};
  alignas(cmsghdr) std::array<std::byte, CMSG_SPACE(most_descriptors_at_once * sizeof(int))> control;
  msghdr message{};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  message.msg_control = control.data();
  message.msg_controllen = control.size();
  const auto got = retry_on_eintr([&] { return ::recvmsg(socket, &message, MSG_CMSG_CLOEXEC | flags); });
  ReceivedMessage received;
  if (got == -1) {
    received.code = errno;
    return received;
  }
  for (cmsghdr* each = CMSG_FIRSTHDR(&message); each != nullptr; each = CMSG_NXTHDR(&message, each)) {
    if (each->cmsg_level != SOL_SOCKET || each->cmsg_type != SCM_RIGHTS) continue;
    const std::size_t count = (each->cmsg_len - CMSG_LEN(0)) / sizeof(int);
    for (std::size_t i = 0; i < count; ++i) {
      int fd = -1;
      std::memcpy(&fd, CMSG_DATA(each) + i * sizeof fd, sizeof fd);
      received.descriptors.emplace_back(fd);
    }
  }
  // Nobody sends an empty message.
  received.kind = got == 0 ? ReceivedMessage::Kind::end : ReceivedMessage::Kind::message;
  received.size_bytes = static_cast<std::size_t>(got);
  if ((message.msg_flags & (MSG_TRUNC | MSG_CTRUNC)) != 0) {
    received.kind = ReceivedMessage::Kind::failed;
    received.code = (message.msg_flags & MSG_CTRUNC) != 0 ? EMFILE : EMSGSIZE;
    received.descriptors.clear();
  }
  return received;
}

}  // namespace runrig::detail
