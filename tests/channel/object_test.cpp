#include "runrig/channel/object.hpp"

#include <limits>

#include "key_index.hpp"
#include "support.hpp"

namespace runrig::pickle {
namespace {

TEST(ObjectTest, AccessorsGiveWhatWasPutIn) {
  EXPECT_TRUE(Object().is_none());
  EXPECT_EQ(Object(true).as_bool(), true);
  EXPECT_EQ(Object(-7).as_int(), -7);
  EXPECT_EQ(Object(2.5F).as_real(), 2.5);
  EXPECT_EQ(Object("text").as_string(), "text");
  EXPECT_EQ(Object(std::complex<double>(1, -2)).as_complex(), std::complex<double>(1, -2));
  EXPECT_EQ(Object::bytes({std::byte{1}, std::byte{2}}).as_bytes().size(), 2U);
  EXPECT_EQ(Object::list({1, "two", 3.0}).at(1).as_string(), "two");
  EXPECT_EQ(Object::dict({{"a", 1}, {"b", Object::list({2})}}).at("b").at(0).as_int(), 2);
  EXPECT_EQ(Object(7).as_number(), 7.0);
  EXPECT_EQ(Object(std::numeric_limits<std::uint64_t>::max()).as_number(), 18446744073709551616.0);
}

TEST(ObjectTest, UnsignedIntegersBeyondInt64KeepTheirValue) {
  constexpr auto most = std::numeric_limits<std::uint64_t>::max();
  EXPECT_EQ(Object(most).as_uint(), most);
  EXPECT_EQ(Object(most).as_big_int().to_decimal(), "18446744073709551615");
  EXPECT_EQ(test::thrown_code([] { (void)Object(most).as_int(); }), ErrorKind::format);
  EXPECT_EQ(test::thrown_code([] { (void)Object(-1).as_uint(); }), ErrorKind::format);
  EXPECT_EQ(Object(BigInt(5)), Object(5));
}

TEST(ObjectTest, AnotherTypeIsAFormatErrorThatNamesBoth) {
  EXPECT_EQ(test::thrown_text([] { (void)Object("x").as_int(); }), "read 'object': expected int of 64 bits, found str");
  for (const auto& call : std::vector<std::function<void()>>{
           [] { (void)Object(1).as_bool(); }, [] { (void)Object(true).as_int(); }, [] { (void)Object(1).as_real(); },
           [] { (void)Object().as_string(); }, [] { (void)Object("x").as_bytes(); }, [] { (void)Object(1).size(); },
           [] { (void)Object::dict().items(); }, [] { (void)Object::list().entries(); },
           [] { (void)Object::list({1}).at(1); }, [] { (void)Object::dict().at("k"); },
           [] { (void)Object::list().find("k"); }, [] { (void)Object(1.0).as_array(); },
           [] { (void)Object(1).as_complex(); }, [] { (void)Object(1).as_dtype(); },
           [] { (void)Object::list().contains(1); }}) {
    EXPECT_EQ(test::thrown_code(call), ErrorKind::format);
  }
}

TEST(ObjectTest, CopiesOfAContainerAreTheSameContainer) {
  Object list = Object::list();
  const Object alias = list;
  list.append(1);
  EXPECT_EQ(alias.size(), 1U);
}

TEST(ObjectTest, DictKeepsOrderAndTakesEqualNumbersAsOneKey) {
  Object dict = Object::dict({{"z", 1}, {"a", 2}, {1, "int"}});
  dict.insert_or_assign(1.0, "float");
  dict.insert_or_assign(true, "bool");
  dict.insert_or_assign("z", 3);
  ASSERT_EQ(dict.size(), 3U);
  EXPECT_EQ(dict.entries()[0].first.as_string(), "z");
  EXPECT_EQ(dict.at("z").as_int(), 3);
  EXPECT_EQ(dict.entries()[2].first.kind(), Kind::integer);  // the first key stays, as in Python
  EXPECT_EQ(dict.find(1)->as_string(), "bool");
  EXPECT_EQ(dict.find(2), nullptr);
  EXPECT_EQ(dict.find("missing"), nullptr);
}

TEST(ObjectTest, EqualKeysOfAllNumericTypesMeet) {
  const double big = 0x1p70;
  const std::vector<std::pair<Object, Object>> equal{
      {1, true},
      {0.0, false},
      {-0.0, 0},
      {big, *BigInt::from_decimal("1180591620717411303424")},
      {std::complex<double>(2, 0), 2},
      {Object::tuple({1, 2.0}), Object::tuple({1.0, 2})},
      {Object::frozenset({1, 2, 3}), Object::frozenset({3.0, 2, true})},
      {Object::numpy_scalar(NdBuffer(DType::boolean, {}, {std::byte{129}})), true},
      {Object::numpy_scalar(NdBuffer(DType::int8, {}, {std::byte{0xFF}})), -1},
  };
  for (const auto& [a, b] : equal) EXPECT_TRUE(Object::set({a}).contains(b)) << kind_name(a.kind());
  const std::vector<std::pair<Object, Object>> different{{1, "1"},
                                                         {"a", Object::bytes({std::byte{'a'}})},
                                                         {0, Object()},
                                                         {Object::tuple(), Object::frozenset()},
                                                         {1, 1.5}};
  for (const auto& [a, b] : different) EXPECT_FALSE(Object::set({a}).contains(b)) << kind_name(a.kind());
}

TEST(ObjectTest, LargeDictsAndSetsFindEveryKey) {
  Object dict = Object::dict();
  Object set = Object::set();
  for (int i = 0; i < 5000; ++i) {
    dict.insert_or_assign(std::to_string(i), i);
    EXPECT_TRUE(set.insert(i * 7));
    EXPECT_FALSE(set.insert(i * 7));
  }
  for (int i = 0; i < 5000; ++i) ASSERT_EQ(dict.at(std::to_string(i)).as_int(), i);
  EXPECT_EQ(set.size(), 5000U);
  EXPECT_FALSE(set.contains(1));
}

TEST(ObjectTest, WhatPythonCannotHashIsNoKey) {
  EXPECT_THROW(Object::dict().insert_or_assign(Object::list(), 1), std::logic_error);
  EXPECT_THROW((void)Object::set({Object::tuple({Object::dict()})}), std::logic_error);
  EXPECT_THROW(Object::list().insert(1), std::logic_error);
  EXPECT_THROW(Object::tuple().append(1), std::logic_error);
}

TEST(ObjectTest, EqualityAsksForTypesAndSigns) {
  const double nan = std::numeric_limits<double>::quiet_NaN();
  EXPECT_EQ(Object(nan), Object(nan));
  EXPECT_FALSE(Object(1) == Object(1.0));
  EXPECT_FALSE(Object(0.0) == Object(-0.0));
  EXPECT_FALSE(Object::list({1}) == Object::tuple({1}));
  EXPECT_EQ(Object::dict({{1, 2}, {3, 4}}), Object::dict({{3, 4}, {1, 2}}));
  EXPECT_FALSE(Object::dict({{1, 2}}) == Object::dict({{1.0, 2}}));
  EXPECT_FALSE(Object::ordered_dict({{1, 2}, {3, 4}}) == Object::ordered_dict({{3, 4}, {1, 2}}));
  EXPECT_EQ(Object::set({1, 2}), Object::set({2, 1}));
  EXPECT_FALSE(Object::set({1, 2}) == Object::set({1, 3}));
}

TEST(ObjectTest, EqualityOfSharedPartsTakesNoExponentialTime) {
  Object a = Object::list();
  Object b = Object::list();
  for (int i = 0; i < 100; ++i) {  // 2^100 paths to the bottom
    a = Object::list({a, a});
    b = Object::list({b, b});
  }
  EXPECT_EQ(a, b);
}

TEST(ObjectTest, ABackReferenceKeepsNothingAliveAndSaysSo) {
  Object inner;
  {
    Object outer = Object::list();
    inner = Object::list({Object::back_reference(outer)});
    outer.append(inner);
    EXPECT_EQ(inner.at(0).size(), 1U);
    EXPECT_EQ(outer, inner.at(0));
  }
  EXPECT_TRUE(inner.at(0).is_back_reference());
  EXPECT_THROW((void)inner.at(0).kind(), std::logic_error);
  EXPECT_THROW((void)Object::back_reference(1), std::logic_error);
}

TEST(ObjectTest, ManyLevelsAreFreedWithoutTheirStack) {
  Object list = Object::list();
  Object tuple = Object::tuple();
  Object dict = Object::dict();
  for (int i = 0; i < 300'000; ++i) {
    list = Object::list({list});
    tuple = Object::tuple({tuple, i});
    dict = Object::dict({{"k", dict}});
  }
  EXPECT_EQ(list.size(), 1U);
}

TEST(TextTest, AnyBytesBecomeTextAndComeBack) {
  std::string all;
  for (int i = 0; i < 256; ++i) all.push_back(static_cast<char>(i));
  const std::vector<std::string> samples{
      "plain", "gr\xc3\xbc\xc3\x9f", "\xff", "\xc3", "\xc3\x28", "\xf0\x9f\x98\x80", "\xed\xa0\x80", "\xc0\x80", all};
  for (const std::string& bytes : samples) {
    EXPECT_TRUE(is_text(escape_text(bytes)));
    EXPECT_EQ(unescape_text(escape_text(bytes)), bytes);
  }
  EXPECT_EQ(escape_text("gr\xc3\xbc\xc3\x9f"), "gr\xc3\xbc\xc3\x9f");
  EXPECT_EQ(escape_text("\xff"), "\xed\xb3\xbf");  // U+DCFF
  for (const char* bad : {"\x80", "\xc1\xbf", "\xe0\x80\x80", "\xf4\x90\x80\x80", "\xf8\x88\x80\x80\x80"}) {
    EXPECT_FALSE(is_text(bad));
  }
}

TEST(NdBufferTest, BytesMustBeWhatTypeAndShapeSay) {
  EXPECT_NO_THROW(NdBuffer(">i2", {2, 3}, Order::fortran, std::vector<std::byte>(12)));
  EXPECT_NO_THROW(NdBuffer("<c16", {}, Order::c, std::vector<std::byte>(16)));
  EXPECT_NO_THROW(NdBuffer(DType::float64, {0, 7}, {}));
  EXPECT_THROW(NdBuffer("<f8", {2}, Order::c, std::vector<std::byte>(15)), std::logic_error);
  EXPECT_THROW(NdBuffer("f8", {}, Order::c, std::vector<std::byte>(8)), std::logic_error);
  EXPECT_THROW(NdBuffer("|f8", {}, Order::c, std::vector<std::byte>(8)), std::logic_error);
  EXPECT_THROW(NdBuffer("<i1", {}, Order::c, std::vector<std::byte>(1)), std::logic_error);
  EXPECT_THROW(NdBuffer("|S4", {}, Order::c, std::vector<std::byte>(4)), std::logic_error);
  EXPECT_THROW(NdBuffer("<f8", {std::uint64_t{1} << 32, std::uint64_t{1} << 32}, Order::c, {}), std::logic_error);
}

// Its authors' test vectors: key 00 01 ... 0f, messages empty and 00 01 ... 0e.
TEST(KeyIndexTest, SipHashGivesItsAuthorsValues) {
  constexpr detail::Fingerprint key{0x0706050403020100ULL, 0x0f0e0d0c0b0a0908ULL};
  std::vector<std::byte> message;
  EXPECT_EQ(detail::siphash(message, key), (detail::Fingerprint{0xe6a825ba047f81a3ULL, 0x930255c71472f66dULL}));
  for (int i = 0; i < 15; ++i) message.push_back(std::byte(i));
  EXPECT_EQ(detail::siphash(message, key), (detail::Fingerprint{0x11a8b03399e99354ULL, 0xd9c3cf970fec087eULL}));
}

}  // namespace
}  // namespace runrig::pickle
