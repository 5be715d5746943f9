#include "runrig/channel/authentication.hpp"

#include <string>

#include "handshake.hpp"
#include "runrig/sync/error.hpp"
#include "timed_messages.hpp"

namespace runrig {
namespace detail {
namespace {

void take_turns(const TimedMessages& messages, Handshake& handshake) {
  for (const auto& each : handshake.begin()) messages.send(each);
  while (!handshake.done()) {
    const auto message = messages.receive(most_handshake_bytes);
    try {
      for (const auto& each : handshake.took(message)) messages.send(each);
    } catch (const AuthenticationError&) {
      if (!handshake.last_words().empty()) messages.send(handshake.last_words());
      throw;
    }
  }
}

}  // namespace

void authenticate(Connection& connection, const Authentication& authentication,
                  std::span<const Handshake::Turn> turns) {
  check_authentication(authentication);
  const TimedMessages messages(connection, Deadline::after(authentication.time_limit));
  const std::string& name = messages.stream().name;
  Handshake handshake(authentication, name, turns);
  // What happens to the connection in a handshake is a failed handshake, whichever way the peer makes it fail.
  try {
    take_turns(messages, handshake);
  } catch (const AuthenticationError&) {
    throw;
  } catch (const TimeoutError&) {
    throw TimeoutError("authenticate with", name);
  } catch (const Error& error) {
    throw AuthenticationError("authenticate (" + std::string(error.what()) + ") with", name);
  }
}

}  // namespace detail

void deliver_challenge(Connection& connection, const Authentication& authentication) {
  constexpr detail::Handshake::Turn turns[] = {detail::Handshake::Turn::deliver};
  detail::authenticate(connection, authentication, turns);
}

void answer_challenge(Connection& connection, const Authentication& authentication) {
  constexpr detail::Handshake::Turn turns[] = {detail::Handshake::Turn::answer};
  detail::authenticate(connection, authentication, turns);
}

}  // namespace runrig
