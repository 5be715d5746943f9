#include "runrig/channel/authentication.hpp"

#include <sys/random.h>

#include <array>
#include <string>

#include "challenge.hpp"
#include "frame.hpp"
#include "runrig/sync/error.hpp"
#include "stream.hpp"
#include "timed_messages.hpp"

namespace runrig {
namespace detail {
namespace {

std::span<const std::byte> bytes_of(std::string_view text) noexcept { return std::as_bytes(std::span(text)); }
bool is(std::span<const std::byte> message, std::string_view text) noexcept {
  return std::string_view(reinterpret_cast<const char*>(message.data()), message.size()) == text;
}

std::array<std::byte, challenge_nonce_bytes> random_nonce() {
  std::array<std::byte, challenge_nonce_bytes> nonce{};  // so few bytes come whole
  check_errno(retry_on_eintr([&] { return ::getrandom(nonce.data(), nonce.size(), 0); }), "make", "challenge");
  return nonce;
}

// What happens to the connection in a handshake is a failed handshake, whichever way the peer makes it fail.
template <class Steps>
void as_handshake(const Stream& stream, const Steps& steps) {
  try {
    steps();
  } catch (const AuthenticationError&) {
    throw;
  } catch (const TimeoutError&) {
    throw TimeoutError("authenticate with", stream.name);
  } catch (const Error& error) {
    throw AuthenticationError("authenticate (" + std::string(error.what()) + ") with", stream.name);
  }
}

}  // namespace
}  // namespace detail

void deliver_challenge(Connection& connection, const Authentication& authentication) {
  detail::check_authentication(authentication);
  const detail::TimedMessages messages(connection, Deadline::after(authentication.time_limit));
  const auto challenge = detail::challenge_message(authentication, detail::random_nonce());
  detail::as_handshake(messages.stream(), [&] {
    messages.send(challenge);
    const auto answer = messages.receive(detail::most_handshake_bytes);
    try {
      detail::check_challenge_answer(authentication, challenge, answer, messages.stream().name);
    } catch (const AuthenticationError&) {
      messages.send(detail::bytes_of(detail::failure_message));
      throw;
    }
    messages.send(detail::bytes_of(detail::welcome_message));
  });
}

void answer_challenge(Connection& connection, const Authentication& authentication) {
  detail::check_authentication(authentication);
  const detail::TimedMessages messages(connection, Deadline::after(authentication.time_limit));
  detail::as_handshake(messages.stream(), [&] {
    const auto challenge = messages.receive(detail::most_handshake_bytes);
    messages.send(detail::challenge_answer(authentication, challenge, messages.stream().name));
    const auto verdict = messages.receive(detail::most_handshake_bytes);
    if (!detail::is(verdict, detail::welcome_message)) {
      throw AuthenticationError("authenticate (our proof was refused: the keys differ) with", messages.stream().name);
    }
  });
}

}  // namespace runrig
