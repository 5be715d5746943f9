#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "runrig/channel/connection.hpp"

namespace runrig {

/// What a proof of the key is computed with (HMAC). Weakest first.
enum class Digest : std::uint8_t { md5, sha256, sha3_256, sha384, sha3_384 };
/// As it is named on the wire: "sha256".
[[nodiscard]] std::string_view digest_name(Digest digest) noexcept;

/// How two ends of a connection prove to each other that they know the same key. The key itself is never sent.
///
/// The proof is CPython's. It says who is there when it is made; what is sent later is neither encrypted nor protected
/// against somebody in between, so between machines it belongs into a tunnel (ssh, TLS, WireGuard).
struct Authentication {
  /// Any bytes; empty is a std::logic_error when used. 32 random ones are a good key.
  std::vector<std::byte> key{};
  /// sha256 (then sha3_256 is good enough, too) or sha384 (then sha3_384 is): the digest that we ask for. A weaker one
  /// is neither accepted nor answered with.
  Digest minimum_digest = Digest::sha256;
  /// Also speak with Python 3.11 and older, which know MD5 only. Any peer may then choose it.
  bool allow_md5 = false;
  /// For all of a proof, whatever the peer does.
  std::chrono::nanoseconds time_limit = std::chrono::seconds(5);
};

/// Demands a proof from the other end: sends it a random message and checks its answer. The other end must answer it
/// (answer_challenge(), Python's function of that name). Throws AuthenticationError if the proof is wrong, weaker than
/// allowed, or the peer goes away or says something else; TimeoutError; std::logic_error for an empty key or an
/// impossible minimum. After a throw, the connection is of no use, and should be closed.
void deliver_challenge(Connection& connection, const Authentication& authentication);
/// Gives the proof that the other end demands by deliver_challenge(). Throws the same, also if it is refused.
void answer_challenge(Connection& connection, const Authentication& authentication);

}  // namespace runrig
