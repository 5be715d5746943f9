#include "handshake.hpp"

#include <sys/random.h>

#include <array>
#include <string_view>
#include <utility>

#include "runrig/sync/error.hpp"

namespace runrig::detail {
namespace {

Handshake::Message message_of(std::string_view text) {
  const auto bytes = std::as_bytes(std::span(text));
  return {bytes.begin(), bytes.end()};
}

std::array<std::byte, challenge_nonce_bytes> random_nonce() {
  std::array<std::byte, challenge_nonce_bytes> nonce{};  // so few bytes come whole
  check_errno(retry_on_eintr([&] { return ::getrandom(nonce.data(), nonce.size(), 0); }), "make", "challenge");
  return nonce;
}

}  // namespace

Handshake::Handshake(Authentication authentication, std::string peer, std::span<const Turn> turns)
    : authentication_(std::move(authentication)), peer_(std::move(peer)), turns_(turns.begin(), turns.end()) {
  check_authentication(authentication_);
}

std::vector<Handshake::Message> Handshake::begin() {
  std::vector<Message> out;
  take_turn(out);
  return out;
}

void Handshake::take_turn(std::vector<Message>& out) {
  if (done()) return;
  if (turns_[turn_] == Turn::answer) {
    awaited_ = Awaited::challenge;
    return;
  }
  challenge_ = challenge_message(authentication_, random_nonce());
  out.push_back(challenge_);
  awaited_ = Awaited::proof;
}

std::vector<Handshake::Message> Handshake::took(std::span<const std::byte> message) {
  std::vector<Message> out;
  switch (awaited_) {
    case Awaited::challenge:
      out.push_back(challenge_answer(authentication_, message, peer_));
      awaited_ = Awaited::verdict;
      break;
    case Awaited::proof:
      try {
        check_challenge_answer(authentication_, challenge_, message, peer_);
      } catch (const AuthenticationError&) {
        last_words_ = message_of(failure_message);
        throw;
      }
      out.push_back(message_of(welcome_message));
      ++turn_;
      take_turn(out);
      break;
    case Awaited::verdict:
      if (Message(message.begin(), message.end()) != message_of(welcome_message)) {
        throw AuthenticationError("authenticate (our proof was refused: the keys differ) with", peer_);
      }
      ++turn_;
      take_turn(out);
      break;
  }
  return out;
}

}  // namespace runrig::detail
