#include <gmock/gmock.h>

#include <random>

#include "runrig/sync/error.hpp"
#include "samples.hpp"
#include "support.hpp"
#include "transfer_samples.hpp"
#include "transfer_support.hpp"
#include "transfer_typed_samples.hpp"

// Bytes from a broken or hostile peer, where a value of a known type is expected.
namespace runrig::pickle {
namespace {

using namespace test_samples;
using ::testing::HasSubstr;

TEST(TransferHostileTest, AWrongTypeIsNamedWithItsPlace) {
  EXPECT_EQ(refusal<int>(encoded("x")), "read 'pickle': at byte 3: expected int, found str");
  EXPECT_THAT(refusal<std::string>(encoded(5)), HasSubstr("expected str, found int"));
  EXPECT_THAT(refusal<bool>(encoded(1)), HasSubstr("expected bool, found int"));
  EXPECT_THAT(refusal<int>(encoded(true)), HasSubstr("expected int, found bool"));
  EXPECT_THAT(refusal<double>(encoded("x")), HasSubstr("expected float, found str"));
  EXPECT_THAT(refusal<std::vector<int>>(encoded(5)), HasSubstr("expected list, found int"));
  EXPECT_THAT(refusal<std::monostate>(encoded(5)), HasSubstr("expected None"));
  EXPECT_THAT(refusal<char>(encoded(std::vector<char>{'a', 'b'})), HasSubstr("expected one byte, found 2"));
  EXPECT_THAT(refusal<NdBuffer>(encoded(5)), HasSubstr("expected numpy.ndarray, found int"));
  EXPECT_THAT((refusal<std::pair<int, int>>(encoded(std::tuple(1, 2, 3)))), HasSubstr("expected 2 elements, found 3"));
  EXPECT_THAT((refusal<std::vector<Line>>(encoded(std::vector{std::tuple(Point{}, std::pair(1.0, "x"), "edge")}))),
              HasSubstr("in [0][1][1]: expected float, found str"));
  EXPECT_THAT((refusal<std::map<int, std::string>>(encoded(std::map<int, int>{{1, 2}}))),
              HasSubstr("in [0].value: expected str, found int"));
  EXPECT_THAT((refusal<std::optional<std::optional<int>>>(encoded(std::vector<int>{}))), HasSubstr("a list of one"));
  EXPECT_THAT((refusal<std::optional<std::optional<int>>>(encoded(std::vector<int>{1, 2}))),
              HasSubstr("a list of one"));
  EXPECT_THAT((refusal<std::array<std::byte, 3>>(encoded(counted_bytes(4)))), HasSubstr("expected 3 bytes, found 4"));
}

TEST(TransferHostileTest, TheSourceIsNamed) {
  EXPECT_THAT(refusal<int>(encoded("x"), {.source = "result of task 7"}), HasSubstr("read 'result of task 7'"));
}

TEST(TransferHostileTest, EachCutIsRefused) {
  for (const auto& each : typed_samples()) {
    const std::size_t step = each.encoded.size() > 1000 ? each.encoded.size() / 97 : 1;
    for (std::size_t length = 0; length < each.encoded.size(); length += step) {
      EXPECT_THROW((void)each.encode_again(std::span(each.encoded).first(length), {}), FormatError)
          << each.python << " cut to " << length;
    }
    auto longer = each.encoded;
    longer.push_back(std::byte{'.'});
    EXPECT_THROW((void)each.encode_again(longer, {}), FormatError) << each.python;
  }
}

// Whatever is read is a whole value, which travels on; whatever is not ends in a FormatError, and nothing else.
TEST(TransferHostileTest, RandomChangesNeverDoHarm) {
  std::mt19937_64 random(20261128);
#ifdef RUNRIG_NIGHTLY
  const int rounds = 20'000;
#else
  const int rounds = 400;
#endif
  int refused = 0;
  int read = 0;
  for (const auto& each : typed_samples()) {
    if (each.encoded.size() > 10'000) continue;
    for (int i = 0; i < rounds; ++i) {
      auto stream = each.encoded;
      for (std::uint64_t changes = 1 + random() % 4; changes > 0 && !stream.empty(); --changes) {
        const auto place = static_cast<std::ptrdiff_t>(random() % stream.size());
        switch (random() % 4) {
          case 0:
            stream[static_cast<std::size_t>(place)] = std::byte(random() % 256);
            break;
          case 1:
            stream.erase(stream.begin() + place);
            break;
          case 2:
            stream.insert(stream.begin() + place, std::byte(random() % 256));
            break;
          default:
            stream[static_cast<std::size_t>(place)] = stream[random() % stream.size()];
            break;
        }
      }
      try {
        const auto again = each.encode_again(stream, {});
        EXPECT_EQ(loads(each.encode_again(again, {})), loads(again)) << each.python;
        ++read;
      } catch (const FormatError&) {
        ++refused;
      }
    }
  }
  EXPECT_GT(refused, read / 2);
  EXPECT_GT(read, 0);
}

TEST(TransferHostileTest, LengthsAreNotBelieved) {
  // Each says that gigabytes follow.
  for (const char* const head : {"\x80\x05X\xff\xff\xff\x7f",
                                 "\x80\x05"
                                 "B\xff\xff\xff\x7f",
                                 "\x80\x05\x8b\xff\xff\xff\x7f"}) {
    auto bytes = bytes_of(head);
    bytes.push_back(std::byte{'.'});
    EXPECT_THROW((void)decode<std::string>(bytes), FormatError);
    EXPECT_THROW((void)decode<std::vector<std::byte>>(bytes), FormatError);
    EXPECT_THROW((void)decode<BigInt>(bytes), FormatError);
  }
}

TEST(TransferHostileTest, ASmallStreamMakesNoLargeVector) {
  struct Large {
    std::array<double, 512> numbers{};
  };
  const std::vector<std::optional<Large>> many(20'000);  // a byte each, which would become 4 KiB each
  const auto bytes = encoded(many);
  ASSERT_LT(bytes.size(), 21'000);
  EXPECT_THAT(refusal<std::vector<std::optional<Large>>>(bytes), HasSubstr("Limits::max_memory"));
  EXPECT_EQ((decode<std::vector<std::optional<Large>>>(bytes, unlimited).size()), many.size());
}

TEST(TransferHostileTest, ASharedObjectIsCountedEachTimeThatItIsCopied) {
  const Object text = Object(std::string(100'000, 'x'));
  const auto bytes = dumps(Object::list(std::vector<Object>(1000, text)));
  ASSERT_LT(bytes.size(), 200'000);
  EXPECT_THAT(refusal<std::vector<std::string>>(bytes), HasSubstr("Limits::max_memory"));
}

TEST(TransferHostileTest, AnObjectWithinItselfIsNoEndlessValue) {
  Object list = Object::list();
  list.append(Object::back_reference(list));
  EXPECT_THROW((void)decode<std::vector<std::vector<std::vector<int>>>>(dumps(list)), FormatError);
}

TEST(TransferHostileTest, LimitsAreTheCallersToSet) {
  const auto bytes = encoded(std::vector<int>(1000, 1));
  EXPECT_NO_THROW((void)decode<std::vector<int>>(bytes));
  EXPECT_THAT(refusal<std::vector<int>>(bytes, {.max_bytes = 100}), HasSubstr("Limits::max_bytes"));
  EXPECT_THAT(refusal<std::vector<int>>(bytes, {.max_memory = 0}), HasSubstr("Limits::max_memory"));
  EXPECT_THROW((void)decode<std::vector<std::vector<int>>>(encoded(std::vector<std::vector<int>>(3)), {.max_depth = 1}),
               FormatError);
}

}  // namespace
}  // namespace runrig::pickle
