#include "challenge.hpp"

#include <nettle/hmac.h>
#include <nettle/memops.h>
#include <nettle/nettle-meta.h>

#include <algorithm>
#include <array>
#include <cassert>
#include <cstring>
#include <optional>
#include <stdexcept>
#include <string>

#include "runrig/sync/error.hpp"

namespace runrig {
namespace detail {
namespace {

constexpr std::string_view challenge_head = "#CHALLENGE#";
constexpr std::size_t legacy_challenge_bytes = 20;  // of Python 3.11 and older
constexpr std::size_t legacy_answer_bytes = 16;
constexpr std::array all_digests{Digest::md5, Digest::sha256, Digest::sha3_256, Digest::sha384, Digest::sha3_384};

const nettle_hash& hash_of(Digest digest) noexcept {
  switch (digest) {
    case Digest::md5:
      return nettle_md5;
    case Digest::sha256:
      return nettle_sha256;
    case Digest::sha3_256:
      return nettle_sha3_256;
    case Digest::sha384:
      return nettle_sha384;
    case Digest::sha3_384:
      return nettle_sha3_384;
  }
  return nettle_sha384;
}

std::span<const std::byte> bytes_of(std::string_view text) noexcept { return std::as_bytes(std::span(text)); }
std::string_view text_of(std::span<const std::byte> bytes) noexcept {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}
void append(std::vector<std::byte>& to, std::span<const std::byte> bytes) {
  // Not insert(), of which GCC 12 says at -O3 that it writes past what it took.
  const std::size_t before = to.size();
  to.resize(before + bytes.size());
  std::copy(bytes.begin(), bytes.end(), to.begin() + static_cast<std::ptrdiff_t>(before));
}
std::string prefix(Digest digest) { return "{" + std::string(digest_name(digest)) + "}"; }

[[noreturn]] void refuse(const std::string& why, std::string_view peer) {
  throw AuthenticationError("authenticate (" + why + ") with", peer);
}

// The digest that a message begins with, in braces, if it is one that is known.
std::optional<Digest> named_digest(std::string_view message) noexcept {
  for (const Digest each : all_digests) {
    if (message.starts_with(prefix(each))) return each;
  }
  return std::nullopt;
}

bool allows(const Authentication& authentication, Digest digest) noexcept {
  return digest == Digest::md5 ? authentication.allow_md5 : digest >= authentication.minimum_digest;
}

[[noreturn]] void refuse_digest(const Authentication& authentication, Digest digest, std::string_view peer) {
  const std::string name(digest_name(digest));
  refuse(digest == Digest::md5 ? "it wants MD5, as Python 3.11 and older do, which is not allowed here (allow_md5)"
                               : "it wants " + name + ", and the minimum here is " +
                                     std::string(digest_name(authentication.minimum_digest)),
         peer);
}

}  // namespace

std::vector<std::byte> hmac(Digest digest, std::span<const std::byte> key, std::span<const std::byte> message) {
  const nettle_hash& hash = hash_of(digest);
  struct alignas(std::max_align_t) Context {
    std::array<std::byte, 512> bytes;
  };
  std::array<Context, 3> contexts{};
  assert(hash.context_size <= sizeof(Context));
  auto& [outer, inner, state] = contexts;
  hmac_set_key(&outer, &inner, &state, &hash, key.size(), reinterpret_cast<const std::uint8_t*>(key.data()));
  hmac_update(&state, &hash, message.size(), reinterpret_cast<const std::uint8_t*>(message.data()));
  std::vector<std::byte> mac(hash.digest_size);
  hmac_digest(&outer, &inner, &state, &hash, mac.size(), reinterpret_cast<std::uint8_t*>(mac.data()));
  ::explicit_bzero(contexts.data(), sizeof contexts);
  return mac;
}

void check_authentication(const Authentication& authentication) {
  if (authentication.key.empty()) {
    throw std::logic_error("authenticate with an empty key: it would keep nobody out; 32 random bytes are a good key");
  }
  if (authentication.minimum_digest != Digest::sha256 && authentication.minimum_digest != Digest::sha384) {
    throw std::logic_error(
        "authenticate with a minimum digest that is neither sha256 nor sha384; md5 is allowed, if need be, by "
        "allow_md5");
  }
}

std::vector<std::byte> challenge_message(const Authentication& authentication,
                                         std::span<const std::byte, challenge_nonce_bytes> nonce) {
  std::vector<std::byte> message;
  append(message, bytes_of(challenge_head));
  append(message, bytes_of(prefix(authentication.minimum_digest)));
  append(message, nonce);
  return message;
}

std::vector<std::byte> challenge_answer(const Authentication& authentication, std::span<const std::byte> message,
                                        std::string_view peer) {
  if (!text_of(message).starts_with(challenge_head)) refuse("it sends no challenge; it may have no key", peer);
  const auto challenge = message.subspan(challenge_head.size());
  if (challenge.size() < legacy_challenge_bytes) refuse("its challenge is too short", peer);
  if (challenge.size() == legacy_challenge_bytes) {
    if (!allows(authentication, Digest::md5)) refuse_digest(authentication, Digest::md5, peer);
    return hmac(Digest::md5, authentication.key, challenge);
  }
  const auto digest = named_digest(text_of(challenge));
  if (!digest) refuse("its challenge names no digest that is known", peer);
  if (!allows(authentication, *digest)) refuse_digest(authentication, *digest, peer);
  std::vector<std::byte> answer;
  append(answer, bytes_of(prefix(*digest)));
  append(answer, hmac(*digest, authentication.key, challenge));
  return answer;
}

void check_challenge_answer(const Authentication& authentication, std::span<const std::byte> message,
                            std::span<const std::byte> answer, std::string_view peer) {
  const auto challenge = message.subspan(challenge_head.size());
  Digest digest = Digest::md5;
  std::span<const std::byte> mac = answer;
  if (answer.size() != legacy_answer_bytes) {
    const auto named = named_digest(text_of(answer));
    if (!named) refuse("its answer names no digest that is known", peer);
    digest = *named;
    mac = answer.subspan(prefix(digest).size());
  }
  if (!allows(authentication, digest)) refuse_digest(authentication, digest, peer);
  const auto expected = hmac(digest, authentication.key, challenge);
  // The length is no secret. The bytes are compared in a time that does not depend on them.
  if (mac.size() != expected.size() || ::memeql_sec(mac.data(), expected.data(), expected.size()) != 1) {
    refuse("its key is another one", peer);
  }
}

}  // namespace detail

std::string_view digest_name(Digest digest) noexcept {
  switch (digest) {
    case Digest::md5:
      return "md5";
    case Digest::sha256:
      return "sha256";
    case Digest::sha3_256:
      return "sha3_256";
    case Digest::sha384:
      return "sha384";
    case Digest::sha3_384:
      return "sha3_384";
  }
  return "";
}

}  // namespace runrig
