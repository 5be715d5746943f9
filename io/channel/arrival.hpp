#pragma once

#include <cstddef>
#include <optional>
#include <vector>

#include "handshake.hpp"
#include "runrig/channel/address.hpp"
#include "stream.hpp"

namespace runrig::detail {

/// Who has connected to a Listener, and has yet to prove the key. Never waits.
class Arrival {
 public:
  /// Sends the challenge. Throws AuthenticationError.
  Arrival(Stream stream, std::optional<Address> from, const Authentication& authentication);
  /// Takes what has come and answers it; true once the key is proved. Throws AuthenticationError, also if the time
  /// limit has passed.
  [[nodiscard]] bool proceed();

  [[nodiscard]] int fileno() const noexcept { return stream_.fd.get(); }
  [[nodiscard]] Deadline deadline() const noexcept { return deadline_; }
  [[nodiscard]] const std::string& name() const noexcept { return stream_.name; }
  [[nodiscard]] const std::optional<Address>& from() const noexcept { return from_; }
  [[nodiscard]] UniqueFd take_socket() noexcept { return std::move(stream_.fd); }

 private:
  void send(const std::vector<Handshake::Message>& messages) const;
  // Whether a whole message is there.
  [[nodiscard]] bool receive();

  Stream stream_;
  std::optional<Address> from_;
  Handshake handshake_;
  Deadline deadline_;
  FrameHeadReader head_;
  std::vector<std::byte> message_;
  std::size_t filled_ = 0;
};

}  // namespace runrig::detail
