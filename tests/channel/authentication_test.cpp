#include "runrig/channel/authentication.hpp"

#include <unistd.h>

#include <csignal>
#include <thread>

#include "challenge.hpp"
#include "python_peer.hpp"
#include "samples.hpp"

namespace runrig {
namespace {

using namespace std::chrono_literals;
using pickle::test_samples::bytes_of;

std::string hex(std::span<const std::byte> bytes) {
  std::string text;
  for (const std::byte each : bytes) {
    for (const unsigned digit : {std::to_integer<unsigned>(each) >> 4U, std::to_integer<unsigned>(each) & 15U}) {
      text += "0123456789abcdef"[digit];
    }
  }
  return text;
}

Authentication key_of(std::string_view key) { return {.key = bytes_of(std::string(key)), .time_limit = 60s}; }
const Authentication ours = key_of("secret password");
Authentication allowing_md5() {
  Authentication all = ours;
  all.allow_md5 = true;
  return all;
}

std::array<std::byte, 40> counted_nonce() {
  std::array<std::byte, 40> nonce{};
  for (std::size_t i = 0; i < nonce.size(); ++i) nonce[i] = static_cast<std::byte>(i);
  return nonce;
}
std::vector<std::byte> joined(std::string_view head, std::span<const std::byte> tail) {
  auto whole = bytes_of(std::string(head));
  whole.insert(whole.end(), tail.begin(), tail.end());
  return whole;
}

// The handshake of Python 3.12 and later with the key "secret password" and the nonce 00 01 02 ... 27: what CPython's
// own hmac says.
constexpr std::string_view sha256_mac = "dff5756e964dc0ba9d1a61c0c3f731f0f09811a907abc551d07b614a8eaad8aa";
constexpr std::string_view md5_over_modern = "f79aef2a543b083a8cfa1ae0a9e5ea49";

TEST(ChallengeTest, TheModernHandshakeIsTheRecordedOne) {
  const auto challenge = detail::challenge_message(ours, counted_nonce());
  EXPECT_EQ(challenge, joined("#CHALLENGE#{sha256}", counted_nonce()));
  const auto answer = detail::challenge_answer(ours, challenge, "peer");
  EXPECT_EQ(hex(answer), hex(bytes_of("{sha256}")) + std::string(sha256_mac));
  EXPECT_NO_THROW(detail::check_challenge_answer(ours, challenge, answer, "peer"));
}

TEST(ChallengeTest, EachDigestIsComputedAsCPythonDoes) {
  const std::vector<std::pair<Digest, std::string>> recorded{
      {Digest::md5, "6da4c2a293b0eb7afd5ba56b4552efdb"},
      {Digest::sha256, std::string(sha256_mac)},
      {Digest::sha384,
       "1e102d068e1f04f7b49dfd7381003d7766263bec5820561de353a516a83e6522152f63622cc3c6f30113ea7bbb769f8a"},
      {Digest::sha3_256, "d0eb650e27ee0057ca62f8f003c3312d811388a6e01d1d842e7860819ec017e5"},
      {Digest::sha3_384,
       "aa3d48e95573d708ba68b4b38896f50e0e45e17c1962430f9745aef47fc4d0fa4b9e6a3f9c5bf1e69015280bfcb9e23a"},
  };
  for (const auto& [digest, mac] : recorded) {
    const auto message = joined("{" + std::string(digest_name(digest)) + "}", counted_nonce());
    EXPECT_EQ(hex(detail::hmac(digest, ours.key, message)), mac) << digest_name(digest);
  }
  const std::vector<std::byte> long_key(300, std::byte{'k'});
  EXPECT_EQ(hex(detail::hmac(Digest::sha3_256, long_key, joined("{sha3_256}", counted_nonce()))),
            "5e7b4498f76d5217627652030301ff84a2ff7285cbadd75b84604f2ff2e4c481");
}

TEST(ChallengeTest, TheOldHandshakeIsSpokenOnlyWhereMd5IsAllowed) {
  const auto nonce = counted_nonce();
  const auto old_challenge = joined("#CHALLENGE#", std::span(nonce).first(20));
  EXPECT_THROW((void)detail::challenge_answer(ours, old_challenge, "peer"), AuthenticationError);
  EXPECT_EQ(hex(detail::challenge_answer(allowing_md5(), old_challenge, "peer")), "ab9e0fb85dc2fde9977e617c35111d6b");
  // Python 3.11 answers to what it takes for a long random message.
  const auto challenge = detail::challenge_message(ours, nonce);
  const auto old_answer =
      detail::hmac(Digest::md5, ours.key, std::span(challenge).subspan(std::string_view("#CHALLENGE#").size()));
  EXPECT_EQ(hex(old_answer), md5_over_modern);
  EXPECT_THROW(detail::check_challenge_answer(ours, challenge, old_answer, "peer"), AuthenticationError);
  EXPECT_NO_THROW(detail::check_challenge_answer(allowing_md5(), challenge, old_answer, "peer"));
  // Nor by its modern name.
  EXPECT_THROW((void)detail::challenge_answer(ours, joined("#CHALLENGE#{md5}", nonce), "peer"), AuthenticationError);
  EXPECT_THROW(detail::check_challenge_answer(ours, challenge, joined("{md5}", old_answer), "peer"),
               AuthenticationError);
}

TEST(ChallengeTest, TheMinimumGovernsWhatIsAskedTakenAndAnswered) {
  Authentication strict = ours;
  strict.minimum_digest = Digest::sha384;
  const auto challenge = detail::challenge_message(strict, counted_nonce());
  EXPECT_EQ(challenge, joined("#CHALLENGE#{sha384}", counted_nonce()));
  const auto proof = [&](Digest digest) {
    return joined("{" + std::string(digest_name(digest)) + "}",
                  detail::hmac(digest, ours.key, std::span(challenge).subspan(11)));
  };
  for (const Digest each : {Digest::sha384, Digest::sha3_384}) {
    EXPECT_NO_THROW(detail::check_challenge_answer(strict, challenge, proof(each), "peer"));
  }
  for (const Digest each : {Digest::sha256, Digest::sha3_256, Digest::md5}) {
    EXPECT_THROW(detail::check_challenge_answer(strict, challenge, proof(each), "peer"), AuthenticationError);
  }
  EXPECT_THROW((void)detail::challenge_answer(strict, joined("#CHALLENGE#{sha256}", counted_nonce()), "peer"),
               AuthenticationError);
}

TEST(ChallengeTest, EveryOtherAnswerIsRefused) {
  const auto challenge = detail::challenge_message(ours, counted_nonce());
  const auto right = detail::challenge_answer(ours, challenge, "peer");
  const auto refused = [&](std::span<const std::byte> answer) {
    EXPECT_THROW(detail::check_challenge_answer(ours, challenge, answer, "peer"), AuthenticationError);
  };
  for (std::size_t cut = 0; cut < right.size(); ++cut) refused(std::span(right).first(cut));
  refused(joined(std::string_view(reinterpret_cast<const char*>(right.data()), right.size()), bytes_of("x")));
  for (std::size_t i = 0; i < right.size(); ++i) {
    for (unsigned bit = 0; bit < 8; ++bit) {
      auto wrong = right;
      wrong[i] ^= static_cast<std::byte>(1U << bit);
      refused(wrong);
    }
  }
  refused(detail::challenge_answer(key_of("another"), challenge, "peer"));
  // Pitfall A1: of who has no key at all.
  refused(joined("{sha256}", detail::hmac(Digest::sha256, {}, std::span(challenge).subspan(11))));
  for (const char* const each : {"{sha1}", "{sha512}", "{}", "{", "}", "#WELCOME#"}) refused(joined(each, right));
}

TEST(ChallengeTest, EveryOtherChallengeIsRefused) {
  const auto nonce = counted_nonce();
  const std::vector<std::vector<std::byte>> wrong{
      {},
      bytes_of("#WELCOME#"),
      bytes_of("#CHALLENGE#"),
      joined("#CHALLENGE#", std::span(nonce).first(19)),  // too short
      joined("#CHALLENGE#", std::span(nonce).first(21)),  // neither old nor modern
      joined("#CHALLENGE#{sha1}", nonce),
      joined("#CHALLENGE#{sha256", nonce),
      joined("challenge#{sha256}", nonce),
  };
  for (const auto& each : wrong) {
    EXPECT_THROW((void)detail::challenge_answer(ours, each, "peer"), AuthenticationError) << hex(each);
  }
}

// Delivers at one end and answers at the other; true if both were content, and if not, whether neither was.
void shake_hands(const Authentication& delivering, const Authentication& answering, bool expect_success) {
  auto [first, second] = Pipe();
  std::error_code code;
  std::thread thread([&, &other = second] { code = test::thrown_code([&] { answer_challenge(other, answering); }); });
  const auto delivered = test::thrown_code([&] { deliver_challenge(first, delivering); });
  first.close();
  thread.join();
  EXPECT_EQ(delivered == std::error_code(), expect_success);
  EXPECT_EQ(code == std::error_code(), expect_success);
  if (!expect_success) {
    EXPECT_EQ(delivered, ErrorKind::authentication);
    EXPECT_EQ(code, ErrorKind::authentication);
  }
}

TEST(AuthenticationTest, DeliverChallenge_TheSameKeyIsWelcomeAnyOtherRefusedAtBothEnds) {
  shake_hands(ours, ours, true);
  for (const std::size_t length : {1UL, 63UL, 64UL, 65UL, 100000UL}) {
    const std::string key(length, 'k');
    shake_hands(key_of(key), key_of(key), true);
    shake_hands(key_of(key), ours, false);
    shake_hands(ours, key_of(key), false);
  }
}

TEST(AuthenticationTest, EmptyKeysAndImpossibleMinimaAreMistakes) {
  auto [first, second] = Pipe();
  EXPECT_THROW(deliver_challenge(first, {}), std::logic_error);
  EXPECT_THROW(answer_challenge(second, {}), std::logic_error);
  Authentication wrong = ours;
  wrong.minimum_digest = Digest::md5;
  EXPECT_THROW(deliver_challenge(first, wrong), std::logic_error);
}

TEST(AuthenticationTest, APeerThatSaysNothingIsGivenUpAtTheTimeLimit) {
  Authentication brief = ours;
  brief.time_limit = 50ms;
  for (const bool deliver : {true, false}) {
    auto [first, second] = Pipe();
    EXPECT_EQ(test::thrown_code(
                  [&, &end = first] { deliver ? deliver_challenge(end, brief) : answer_challenge(end, brief); }),
              ErrorKind::timeout);
  }
  auto [first, second] = Pipe();
  ASSERT_EQ(::write(second.fileno(), "\0\0\0\x28half", 8), 8);  // a message that is never completed
  EXPECT_EQ(test::thrown_code([&, &end = first] { deliver_challenge(end, brief); }), ErrorKind::timeout);
}

TEST(AuthenticationTest, APeerThatLeavesOrSaysTooMuchFailsTheAuthentication) {
  for (const std::size_t size_bytes : {0UL, 257UL, 1UL << 30U}) {
    auto [first, second] = Pipe();
    const std::uint32_t head = __builtin_bswap32(static_cast<std::uint32_t>(size_bytes));
    ASSERT_EQ(::write(second.fileno(), &head, sizeof head), 4);
    EXPECT_EQ(test::thrown_code([&, &end = first] { deliver_challenge(end, ours); }), ErrorKind::authentication);
  }
  auto [first, second] = Pipe();
  second.close();
  EXPECT_EQ(test::thrown_code([&, &end = first] { answer_challenge(end, ours); }), ErrorKind::authentication);
}

// Python 3.11 and older need MD5; later ones are spoken to by the same calls, with or without it.
TEST(AuthenticationPythonTest, DeliverAndAnswerChallenge_WithPythonInBothRoles) {
  RUNRIG_FOR_EACH_PYTHON(python, "multiprocessing.connection") {
    test::PythonPeer peer(python, R"(
from multiprocessing.connection import deliver_challenge, answer_challenge
answer_challenge(c, b'secret password')
deliver_challenge(c, b'secret password')
c.send(c.recv())
)");
    deliver_challenge(peer.connection(), allowing_md5());
    answer_challenge(peer.connection(), allowing_md5());
    peer.connection().send(7);
    EXPECT_EQ(peer.connection().recv<int>(), 7);
  }
}

TEST(AuthenticationPythonTest, WrongKeysAreRefusedByBothLanguages) {
  RUNRIG_FOR_EACH_PYTHON(python, "multiprocessing.connection") {
    for (const std::string step : {"answer_challenge", "deliver_challenge"}) {
      test::PythonPeer peer(python, "import multiprocessing.connection as m\ntry: m." + step +
                                        "(c, b'another')\nexcept m.AuthenticationError: sys.exit(0)\nsys.exit(3)");
      EXPECT_EQ(test::thrown_code([&] {
                  step == "answer_challenge" ? deliver_challenge(peer.connection(), allowing_md5())
                                             : answer_challenge(peer.connection(), allowing_md5());
                }),
                ErrorKind::authentication);
    }
  }
}

TEST(AuthenticationPythonTest, Md5OfOldPythonsIsRefusedUnlessAllowed) {
  RUNRIG_FOR_EACH_PYTHON(python, "multiprocessing.connection") {
    const auto old = test::run_command({python, "-c", "import sys; sys.exit(sys.version_info < (3, 12))"});
    if (old.exit_code == 0) continue;
    test::PythonPeer peer(python, R"(
import multiprocessing.connection as m
try: m.answer_challenge(c, b'secret password')
except m.AuthenticationError: sys.exit(0)
sys.exit(3)
)");
    const auto text = test::thrown_text([&] { deliver_challenge(peer.connection(), ours); });
    EXPECT_NE(text.find("allow_md5"), std::string::npos) << text;
  }
}

}  // namespace
}  // namespace runrig
