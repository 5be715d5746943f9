#pragma once

#include <sys/types.h>

#include <cstddef>
#include <span>
#include <vector>

#include "runrig/sync/unique_fd.hpp"

/// Descriptors that travel with bytes over Unix sockets (SCM_RIGHTS).
namespace runrig::detail {

/// How many descriptors the kernel takes at once (SCM_MAX_FD).
inline constexpr std::size_t most_descriptors_at_once = 253;

/// One sendmsg: how many bytes of both parts were sent, on a SOCK_SEQPACKET socket always all of them; -1 with errno.
/// The descriptors go with the first byte. No SIGPIPE; `flags` may add MSG_DONTWAIT.
[[nodiscard]] ssize_t send_with_descriptors(int socket, std::span<const std::byte> head,
                                            std::span<const std::byte> body, std::span<const int> descriptors,
                                            int flags = 0);

struct ReceivedMessage {
  enum class Kind { message, end, failed } kind = Kind::failed;
  std::size_t size_bytes = 0;
  /// Of `failed`: EMSGSIZE for what did not fit, EMFILE if there was no room for the descriptors (the bytes are there
  /// then), or what the kernel said.
  int code = 0;
  std::vector<UniqueFd> descriptors;
};
/// One recvmsg. Close-on-exec descriptors. What was received of a message that failed is closed.
[[nodiscard]] ReceivedMessage receive_with_descriptors(int socket, std::span<std::byte> buffer, int flags = 0);

}  // namespace runrig::detail
