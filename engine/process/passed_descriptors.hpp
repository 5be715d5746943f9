#pragma once

#include <cstddef>
#include <span>
#include <vector>

#include "runrig/sync/unique_fd.hpp"

/// Messages with descriptors over a SOCK_SEQPACKET socket.
namespace runrig::detail {

/// False with errno if the message cannot be sent. No SIGPIPE.
[[nodiscard]] bool send_with_descriptors(int socket, std::span<const std::byte> head, std::span<const std::byte> body,
                                         std::span<const int> descriptors);

struct ReceivedMessage {
  enum class Kind { message, end, failed } kind = Kind::failed;
  std::size_t size_bytes = 0;
  int code = 0;  ///< of `failed`: EMSGSIZE for what did not fit, EMFILE if there was no room for the descriptors
  std::vector<UniqueFd> descriptors;
};
/// Close-on-exec descriptors. What was received of a message that failed is closed.
[[nodiscard]] ReceivedMessage receive_with_descriptors(int socket, std::span<std::byte> buffer);

}  // namespace runrig::detail
