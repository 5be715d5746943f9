#pragma once

#include <cstddef>
#include <span>
#include <string_view>
#include <vector>

#include "runrig/channel/authentication.hpp"

/// The messages of CPython's handshake, without the connection that they go through.
///
///     deliver: "#CHALLENGE#" M        M = "{sha256}" and 40 random bytes; to 3.11, 20 random bytes
///     answer:  "{sha256}" HMAC(M)     the digest that is named, over all of M; to 3.11, the 16 bytes of HMAC-MD5
///     deliver: "#WELCOME#" or "#FAILURE#"
namespace runrig::detail {

inline constexpr std::size_t challenge_nonce_bytes = 40;
/// No message of a handshake is longer: others are refused by their length.
inline constexpr std::size_t most_handshake_bytes = 256;
inline constexpr std::string_view welcome_message = "#WELCOME#";
inline constexpr std::string_view failure_message = "#FAILURE#";

/// HMAC of `message`.
[[nodiscard]] std::vector<std::byte> hmac(Digest digest, std::span<const std::byte> key,
                                          std::span<const std::byte> message);

/// Throws std::logic_error for a key or minimum that makes no sense.
void check_authentication(const Authentication& authentication);

/// The whole first message.
[[nodiscard]] std::vector<std::byte> challenge_message(const Authentication& authentication,
                                                       std::span<const std::byte, challenge_nonce_bytes> nonce);
/// What to answer to a first message; throws AuthenticationError, which names the `peer`, if it is none, or asks for
/// what is not allowed.
[[nodiscard]] std::vector<std::byte> challenge_answer(const Authentication& authentication,
                                                      std::span<const std::byte> message, std::string_view peer);
/// Throws AuthenticationError unless `answer` proves that who gave it to `message`, which challenge_message() made, has
/// the key. Takes as long for one wrong proof as for another of its length.
void check_challenge_answer(const Authentication& authentication, std::span<const std::byte> message,
                            std::span<const std::byte> answer, std::string_view peer);

}  // namespace runrig::detail
