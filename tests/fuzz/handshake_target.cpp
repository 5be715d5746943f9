#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>

#include "challenge.hpp"
#include "runrig/channel/authentication.hpp"
#include "runrig/channel/connection.hpp"
#include "runrig/sync/error.hpp"
#include "target.hpp"

// Any bytes from somebody without the key, in each part of a handshake. The first byte says which, and what is allowed.
namespace runrig {
namespace {

std::vector<std::byte> key() {
  const auto bytes = std::as_bytes(std::span(std::string_view("the key of the fuzzers")));
  return {bytes.begin(), bytes.end()};
}

Authentication authentication(unsigned options) {
  Authentication made{.key = key()};
  made.allow_md5 = (options & 2U) != 0;
  if ((options & 4U) != 0) made.minimum_digest = Digest::sha384;
  return made;
}

bool refused(const auto& step) {
  try {
    step();
    return false;
  } catch (const AuthenticationError&) {
    return true;
  }
}

/// The functions by themselves.
void check_messages(const Authentication& ours, std::span<const std::byte> bytes) {
  std::array<std::byte, detail::challenge_nonce_bytes> nonce{};
  std::copy_n(bytes.begin(), std::min(bytes.size(), nonce.size()), nonce.begin());
  const auto challenge = detail::challenge_message(ours, nonce);
  const auto answer = detail::challenge_answer(ours, challenge, "fuzzer");
  detail::check_challenge_answer(ours, challenge, answer, "fuzzer");
  fuzz::require(std::ranges::equal(bytes, answer) ||
                    refused([&] { detail::check_challenge_answer(ours, challenge, bytes, "fuzzer"); }),
                "only the right answer is one");
  (void)refused([&] {
    const auto reply = detail::challenge_answer(ours, bytes, "fuzzer");
    fuzz::require(reply.size() <= detail::most_handshake_bytes, "an answer fits into a message");
  });
}

void check_connection(const Authentication& ours, std::span<const std::byte> bytes, bool delivers) {
  Pipe pipe;
  fuzz::require(::write(pipe.second.fileno(), bytes.data(), bytes.size()) == static_cast<ssize_t>(bytes.size()),
                "the kernel takes all of it");
  ::shutdown(pipe.second.fileno(), SHUT_WR);
  if (delivers) {
    fuzz::require(refused([&] { deliver_challenge(pipe.first, ours); }), "nobody without the key is let in");
  } else {
    (void)refused([&] { answer_challenge(pipe.first, ours); });
  }
}

}  // namespace
}  // namespace runrig

int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace runrig;
  if (size == 0 || size > 4096) return 0;
  const auto ours = authentication(data[0]);
  const auto bytes = fuzz::bytes_of(data + 1, size - 1);
  check_messages(ours, bytes);
  check_connection(ours, bytes, (data[0] & 1U) != 0);
  return 0;
}
