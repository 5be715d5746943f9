#pragma once

#include <cstddef>
#include <span>
#include <vector>

#include "handshake.hpp"
#include "runrig/channel/connection.hpp"
#include "stream.hpp"

namespace runrig::detail {

/// Messages through a connection of both directions, until a deadline: whatever the other end does or leaves, nothing
/// takes longer. After a TimeoutError the connection is of no use.
class TimedMessages {
 public:
  TimedMessages(Connection& connection, Deadline deadline);
  void send(std::span<const std::byte> bytes) const;
  [[nodiscard]] std::vector<std::byte> receive(std::size_t max_bytes) const;
  [[nodiscard]] const Stream& stream() const noexcept;

 private:
  ConnectionState& state_;
  Deadline deadline_;
};

/// A side of a handshake through a connection, within the authentication's time limit. Throws AuthenticationError,
/// TimeoutError.
void authenticate(Connection& connection, const Authentication& authentication, std::span<const Handshake::Turn> turns);

}  // namespace runrig::detail
