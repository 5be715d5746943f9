#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "challenge.hpp"

namespace runrig::detail {

/// One side of a handshake: what to send, upon what comes. Whoever uses it carries the messages.
class Handshake {
 public:
  using Message = std::vector<std::byte>;
  enum class Turn : std::uint8_t { deliver, answer };
  /// Of CPython's Listener, and of its Client.
  static constexpr Turn of_listener[] = {Turn::deliver, Turn::answer};
  static constexpr Turn of_client[] = {Turn::answer, Turn::deliver};

  /// `peer` is for errors. Throws std::logic_error for an authentication that makes no sense.
  Handshake(Authentication authentication, std::string peer, std::span<const Turn> turns);

  /// What to send first.
  [[nodiscard]] std::vector<Message> begin();
  /// What to send upon the next message of the other side. Throws AuthenticationError, and then last_words() are to be
  /// sent, unless empty, before the connection is closed.
  [[nodiscard]] std::vector<Message> took(std::span<const std::byte> message);
  [[nodiscard]] bool done() const noexcept { return turn_ == turns_.size(); }
  [[nodiscard]] const Message& last_words() const noexcept { return last_words_; }

 private:
  enum class Awaited : std::uint8_t { challenge, proof, verdict };
  void take_turn(std::vector<Message>& out);

  Authentication authentication_;
  std::string peer_;
  std::vector<Turn> turns_;
  std::size_t turn_ = 0;
  Awaited awaited_ = Awaited::challenge;
  Message challenge_;
  Message last_words_;
};

}  // namespace runrig::detail
