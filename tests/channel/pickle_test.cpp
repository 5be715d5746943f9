#include "runrig/channel/pickle.hpp"

#include <limits>

#include "samples.hpp"
#include "support.hpp"

namespace runrig::pickle {
namespace {

using test_samples::bytes_of;
using namespace std::string_view_literals;

TEST(PickleTest, RandomObjectsSurviveEachProtocol) {
  test_samples::Generator generate(20261121);
  for (int i = 0; i < 400; ++i) {
    const Object object = generate();
    for (int protocol = 2; protocol <= 5; ++protocol) {
      ASSERT_EQ(loads(dumps(object, protocol)), object) << "object " << i << ", protocol " << protocol;
    }
  }
}

TEST(PickleTest, SharedPartsStayShared) {
  Object shared = Object::list({1});
  const Object copy = loads(dumps(Object::tuple({shared, shared})));
  Object first = copy.at(0);
  first.append(2);
  EXPECT_EQ(copy.at(1).size(), 2U);
}

TEST(PickleTest, AListWithinItselfComesBackAndIsFreed) {
  Object inner;
  {
    Object list = Object::list({1});
    list.append(Object::back_reference(list));
    Object copy = loads(dumps(list));
    ASSERT_TRUE(copy.at(1).is_back_reference());
    EXPECT_EQ(copy.at(1).at(1).at(0).as_int(), 1);
    inner = copy.at(1);
  }
  EXPECT_THROW((void)inner.kind(), std::logic_error) << "nobody holds the list any more";
}

TEST(PickleTest, ATupleWithinItselfThroughAListComesBack) {
  for (const int others : {0, 5}) {  // short tuples and long ones are written differently
    Object list = Object::list();
    std::vector<Object> items(static_cast<std::size_t>(others), Object("x"));
    items.push_back(list);
    const Object tuple = Object::tuple(items);
    list.append(Object::back_reference(tuple));
    for (int protocol = 2; protocol <= 5; ++protocol) {
      const Object copy = loads(dumps(tuple, protocol));
      ASSERT_EQ(copy, tuple);
      EXPECT_TRUE(copy.items().back().at(0).is_back_reference());
    }
  }
}

TEST(PickleTest, RecursionThatTheResultDoesNotHoldIsFreedAsWell) {
  // A list in the memo that holds itself and a counted one; then it is dropped. The sanitizer looks for leaks.
  EXPECT_TRUE(loads(bytes_of("]q\x00h\x00"
                             "a0N."sv))
                  .is_none());
  EXPECT_TRUE(loads(bytes_of("]2a0N."sv)).is_none());
  EXPECT_TRUE(loads(bytes_of("]q\x00(h\x00h\x00ta0N."sv)).is_none());
  EXPECT_THROW((void)loads(bytes_of("]q\x00h\x00"
                                    "a0"sv)),
               FormatError);
  EXPECT_THROW((void)loads(bytes_of("}q\x00Nh\x00s0"sv)), FormatError);
}

TEST(PickleTest, PicklesThatFollowOneAnotherAreReadOneByOne) {
  std::vector<std::byte> stream = dumps("first");
  const std::size_t length = stream.size();
  dumps_to(stream, 2);
  const auto [first, consumed] = load_first(stream);
  EXPECT_EQ(first.as_string(), "first");
  EXPECT_EQ(consumed, length);
  EXPECT_EQ(loads(std::span(stream).subspan(consumed)).as_int(), 2);
  EXPECT_EQ(test::thrown_code([&] { (void)loads(stream); }), ErrorKind::format);
}

TEST(PickleTest, AFailedWriteLeavesTheBufferAsItWas) {
  std::vector<std::byte> out = bytes_of("kept");
  EXPECT_EQ(test::thrown_code([&] { dumps_to(out, Object::list({1, "\xff"})); }), std::errc::illegal_byte_sequence);
  EXPECT_EQ(out, bytes_of("kept"));
  EXPECT_NO_THROW(dumps_to(out, escape_text("\xff")));
}

TEST(PickleTest, WritingIsBoundedInDepthAndProtocol) {
  Object deep;
  for (int i = 0; i < 2000; ++i) deep = Object::list({deep});
  EXPECT_EQ(test::thrown_code([&] { (void)dumps(deep); }), std::errc::value_too_large);
  Object allowed;
  for (int i = 0; i < 1000; ++i) allowed = Object::tuple({allowed});
  EXPECT_EQ(loads(dumps(allowed)), allowed);
  EXPECT_THROW((void)dumps(1, 1), std::logic_error);
  EXPECT_THROW((void)dumps(1, 6), std::logic_error);
}

TEST(PickleTest, ErrorsSayWhereAndInWhat) {
  const auto text = test::thrown_text([] { (void)loads(bytes_of("\x80\x04K\x01K"), {.source = "reply of worker 3"}); });
  EXPECT_EQ(text, "read 'reply of worker 3': at byte 4: the stream ends 1 byte too early");
}

TEST(PickleTest, ArraysShareTheBytesOfTheirPickleObject) {
  const NdBuffer array("<f8", {2, 3}, Order::fortran, std::vector<std::byte>(48, std::byte{7}));
  const Object copy = loads(dumps(array));
  EXPECT_EQ(copy.as_array(), array);
  EXPECT_EQ(copy.as_array().native_dtype(), DType::float64);
  const std::vector<std::byte> elsewhere(16);
  EXPECT_EQ(loads(dumps(NdBuffer("<i8", {2}, Order::c, elsewhere, nullptr))).as_array().bytes().size(), 16U);
}

// Python 2.7 gives it a list of lists: pickle.dumps(collections.OrderedDict([('b', 1), ('a', [])]), 2).
TEST(PickleTest, AnOrderedDictOfPython2IsRead) {
  const auto python2 = bytes_of(
      "\x80\x02"
      "ccollections\nOrderedDict\nq\x09]q\x01(]q\x02(U\x01"
      "bq\x03K\x01"
      "e]q\x04(U\x01"
      "aq\x05]q\x06"
      "ee\x85q\x07Rq\x08.");
  EXPECT_EQ(loads(python2), Object::ordered_dict({{"b", 1}, {"a", Object::list()}}));
  const auto tuples = bytes_of("ccollections\nOrderedDict\n((lp0\n(I1\nI2\ntp1\nag1\natR.");
  EXPECT_EQ(loads(tuples), Object::ordered_dict({{1, 2}}));
  for (const char* arguments : {"(I1\nt", "((lI1\nat", "((l(lI1\naat", "((l(I1\nI2\nI3\ntat", "((l(ltI2\ntat", "((tt",
                                "((l(l(I1\nttatN", "((l(lp0\nI1\nag0\nat"}) {
    EXPECT_THROW((void)loads(bytes_of("ccollections\nOrderedDict\n" + std::string(arguments) + "R.")), FormatError)
        << arguments;
  }
}

TEST(PickleTest, ALongListMadeIntoAnOrderedDictAgainAndAgainIsRefused) {
  std::string stream = "\x80\x02(ccollections\nOrderedDict\nq\x01]q\x02(K\x01K\x02\x86q\x03";
  for (int i = 0; i < 10'000; ++i) stream += "h\x03";
  stream += "e";
  for (int i = 0; i < 10'000; ++i) stream += "h\x01h\x02\x85R0";
  EXPECT_THROW((void)loads(bytes_of(stream + "1N."), {.max_memory = std::size_t{64} << 20}), FormatError);
}

TEST(PickleTest, TextFormsOfTheOldestProtocolAreRead) {
  EXPECT_EQ(loads(bytes_of("I42\n.")), Object(42));
  EXPECT_EQ(loads(bytes_of("I01\n.")), Object(true));
  EXPECT_EQ(loads(bytes_of("I00\n.")), Object(false));
  EXPECT_EQ(loads(bytes_of("L-123456789012345678901234567890L\n.")),
            Object(*BigInt::from_decimal("-123456789012345678901234567890")));
  EXPECT_EQ(loads(bytes_of("F1e+16\n.")), Object(1e16));
  EXPECT_EQ(loads(bytes_of("F-inf\n.")), Object(-std::numeric_limits<double>::infinity()));
  EXPECT_EQ(loads(bytes_of("V\\u20ac\\U0001f600\\x\xfc\n.")), Object("\xe2\x82\xac\xf0\x9f\x98\x80\\x\xc3\xbc"));
  EXPECT_EQ(loads(bytes_of("(lp0\nI1\nag0\na0(dp1\nVk\nNs.")).kind(), Kind::dict);
}

}  // namespace
}  // namespace runrig::pickle
