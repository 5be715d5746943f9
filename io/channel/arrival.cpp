#include "arrival.hpp"

#include <span>
#include <string>
#include <utility>

#include "runrig/sync/error.hpp"

namespace runrig::detail {
namespace {

Deadline at_once() { return Deadline::after(std::chrono::nanoseconds(0)); }

// Whatever a peer does in its handshake is a handshake that failed.
template <class Steps>
auto as_handshake(const std::string& peer, const Steps& steps) {
  try {
    return steps();
  } catch (const AuthenticationError&) {
    throw;
  } catch (const Error& error) {
    throw AuthenticationError("authenticate (" + std::string(error.what()) + ") with", peer);
  }
}

}  // namespace

Arrival::Arrival(Stream stream, std::optional<Address> from, const Authentication& authentication)
    : stream_(std::move(stream)),
      from_(std::move(from)),
      handshake_(authentication, stream_.name, Handshake::of_listener),
      deadline_(Deadline::after(authentication.time_limit)) {
  as_handshake(stream_.name, [&] { send(handshake_.begin()); });
}

// All that a handshake says fits into a socket's empty buffer many times: where it does not, nobody reads.
void Arrival::send(const std::vector<Handshake::Message>& messages) const {
  for (const auto& each : messages) send_whole(stream_, FrameHead(each.size()).bytes(), each, {}, at_once());
}

bool Arrival::receive() {
  const auto take = [&](std::span<std::byte> wanted) {
    const auto got = receive_some(stream_, wanted, at_once());
    if (got == 0) throw AuthenticationError("authenticate (it went away) with", stream_.name);
    return static_cast<std::size_t>(got == -1 ? 0 : got);
  };
  while (!head_.complete()) {
    const std::size_t got = take(head_.wanted());
    if (got == 0) return false;
    head_.took(got, stream_.name);
    if (!head_.complete()) continue;
    check_frame_length(head_.body_bytes(), most_handshake_bytes, stream_.name);
    message_.resize(static_cast<std::size_t>(head_.body_bytes()));
    filled_ = 0;
  }
  while (filled_ < message_.size()) {
    const std::size_t got = take(std::span(message_).subspan(filled_));
    if (got == 0) return false;
    filled_ += got;
  }
  head_ = {};
  return true;
}

bool Arrival::proceed() {
  return as_handshake(stream_.name, [&] {
    while (!handshake_.done() && receive()) {
      try {
        send(handshake_.took(message_));
      } catch (const AuthenticationError&) {
        if (!handshake_.last_words().empty()) send({handshake_.last_words()});
        throw;
      }
    }
    if (!handshake_.done() && deadline_.passed()) {
      throw AuthenticationError("authenticate (it took too long) with", stream_.name);
    }
    return handshake_.done();
  });
}

}  // namespace runrig::detail
