#include "runrig/channel/transfer.hpp"

#include <gmock/gmock.h>

#include <filesystem>
#include <limits>
#include <map>
#include <set>
#include <unordered_map>
#include <unordered_set>

#include "samples.hpp"
#include "support.hpp"
#include "transfer_samples.hpp"
#include "transfer_support.hpp"

namespace runrig::pickle {
namespace {

using namespace test_samples;
using namespace std::string_literals;
using namespace std::string_view_literals;

/// There and back, on both ways, and with the same meaning to loads().
template <class T>
void expect_returns(const T& value) {
  const auto bytes = encoded(value);
  EXPECT_EQ(decode<T>(bytes), value);
  const Object object = loads(bytes);
  EXPECT_EQ(from_object<T>(object), value);
  EXPECT_EQ(decode<T>(dumps(object, 2)), value) << "through an Object, in an old protocol";
  std::vector<std::byte> room(bytes.size());
  EXPECT_EQ(encode_to(std::span(room), value), bytes.size());
  EXPECT_EQ(room, bytes) << "memory of fixed size";
}

TEST(TransferTest, IntegersOfEachWidthReturn) {
  const auto limits = []<class T>(std::type_identity<T>) {
    expect_returns(std::numeric_limits<T>::min());
    expect_returns(std::numeric_limits<T>::max());
    expect_returns(T{0});
    expect_returns(T{1});
  };
  limits(std::type_identity<std::int8_t>{});
  limits(std::type_identity<std::uint8_t>{});
  limits(std::type_identity<std::int16_t>{});
  limits(std::type_identity<std::uint16_t>{});
  limits(std::type_identity<std::int32_t>{});
  limits(std::type_identity<std::uint32_t>{});
  limits(std::type_identity<std::int64_t>{});
  limits(std::type_identity<std::uint64_t>{});
  limits(std::type_identity<long long>{});
  limits(std::type_identity<char32_t>{});
  for (int bit = 0; bit < 64; ++bit) {
    expect_returns(std::uint64_t{1} << bit);
    expect_returns((std::uint64_t{1} << bit) - 1);
    expect_returns(-static_cast<std::int64_t>((std::uint64_t{1} << bit) / 2) - 1);
  }
}

TEST(TransferTest, AnIntegerThatDoesNotFitIsNamed) {
  const auto text_of = []<class T>(std::type_identity<T>, auto value) {
    const auto bytes = encoded(value);
    EXPECT_EQ(test::thrown_code([&] { (void)decode<T>(bytes); }), make_error_code(ErrorKind::format));
    return test::thrown_text([&] { (void)decode<T>(bytes); });
  };
  EXPECT_EQ(text_of(std::type_identity<std::uint8_t>{}, 256),
            "read 'pickle': at byte 5: 256 does not fit into an unsigned integer of 8 bits");
  EXPECT_THAT(text_of(std::type_identity<std::int8_t>{}, -129), ::testing::HasSubstr("-129 does not fit"));
  EXPECT_THAT(text_of(std::type_identity<std::uint64_t>{}, -1), ::testing::HasSubstr("-1 does not fit"));
  EXPECT_THAT(text_of(std::type_identity<std::int64_t>{}, std::uint64_t{1} << 63),
              ::testing::HasSubstr("9223372036854775808 does not fit"));
  EXPECT_THAT(text_of(std::type_identity<std::int64_t>{}, BigInt::from_bytes(std::vector(9, std::byte{1}))),
              ::testing::HasSubstr("18519084246547628289 does not fit"));
}

TEST(TransferTest, RealsReturnBitByBit) {
  for (const double each : {0.0, -0.0, 0.1, 5e-324, 1e308, std::numeric_limits<double>::infinity()}) {
    expect_returns(each);
    EXPECT_EQ(std::signbit(decode<double>(encoded(each))), std::signbit(each));
  }
  EXPECT_TRUE(std::isnan(decode<double>(encoded(std::numeric_limits<double>::quiet_NaN()))));
  expect_returns(std::numeric_limits<float>::max());
  expect_returns(std::numeric_limits<float>::denorm_min());
  EXPECT_EQ(decode<double>(encoded(7)), 7.0) << "an int where a float is expected";
  EXPECT_THROW((void)decode<float>(encoded(1e39)), FormatError);
  EXPECT_TRUE(std::isinf(decode<float>(encoded(std::numeric_limits<double>::infinity()))));
}

TEST(TransferTest, SmallTypesReturn) {
  expect_returns(true);
  expect_returns(false);
  expect_returns('x');
  expect_returns('\xff');
  expect_returns(std::byte{200});
  expect_returns(Colour::blue);
  expect_returns(std::complex<double>(1.5, -0.5));
  expect_returns(std::complex<float>(1.5F, -0.5F));
  expect_returns(std::monostate{});
  expect_returns(nullptr);
  expect_returns(std::chrono::milliseconds(-5));
  expect_returns(std::chrono::duration<double>(0.25));
  expect_returns(std::chrono::steady_clock::now());
  expect_returns(BigInt::from_bytes(std::vector(300, std::byte{7})));
  expect_returns(BigInt(-3));
}

TEST(TransferTest, TextOfAnyBytesReturns) {
  for (const auto& each : {""s, "x"s, "\xc3\xbc\xe2\x82\xac"s, std::string(255, 'a'), std::string(256, 'a'),
                           std::string(70'000, 'a'), "\0z"s, "\xff\xfe broken"s, "\xed\xb2\x80"s, "1234567\xc3"s}) {
    expect_returns(each);
  }
  expect_returns(std::filesystem::path("/a/\xff"));
  static_assert(std::is_same_v<Received<const char*>, std::string>);
  static_assert(std::is_same_v<Received<std::string_view>, std::string>);
  static_assert(std::is_same_v<Received<const char(&)[4]>, std::string>);
  EXPECT_EQ(decode<const char*>(encoded("abc")), "abc");
  EXPECT_EQ(decode<std::string_view>(encoded("abc"sv)), "abc");
  EXPECT_THROW(encoded(static_cast<const char*>(nullptr)), std::logic_error);
}

TEST(TransferTest, ContainersReturn) {
  expect_returns(std::vector<int>{});
  expect_returns(std::vector<int>{1, -2, 300, 70'000});
  expect_returns(std::vector<bool>{true, false});
  expect_returns(std::vector<double>(3000, 0.5));
  expect_returns(std::vector<std::vector<std::string>>{{}, {"a", "b"}, {"c"}});
  expect_returns(counted_bytes(1000));
  expect_returns(std::vector<unsigned char>{1, 2, 255});
  expect_returns(std::vector<char>{'a', '\xff'});
  expect_returns(std::array<int, 3>{1, 2, 3});
  expect_returns(std::array<int, 0>{});
  expect_returns(std::array<std::byte, 2>{std::byte{1}, std::byte{2}});
  expect_returns(std::tuple<>{});
  expect_returns(std::tuple<int>{1});
  expect_returns(std::tuple(1, "x"s, std::tuple(2.5, true)));
  expect_returns(std::pair(1, std::pair("y"s, 2)));
  expect_returns(std::map<std::string, std::vector<int>>{{"a", {1}}, {"b", {}}});
  expect_returns(std::unordered_map<int, std::string>{{1, "x"}, {-70'000, "y"}});
  expect_returns(std::map<std::pair<int, std::string>, Colour>{{{1, "x"}, Colour::red}});
  expect_returns(std::set<std::string>{"x", "y"});
  expect_returns(std::unordered_set<int>{});
  EXPECT_EQ(decode<std::vector<std::string_view>>(encoded(std::vector{"a"sv, "b"sv})), (std::vector{"a"s, "b"s}));
  const std::vector<int> numbers{1, 2, 3};
  EXPECT_EQ(decode<std::span<const int>>(encoded(std::span(numbers))), numbers);
}

TEST(TransferTest, OptionalsAndVariantsReturn) {
  expect_returns(std::optional<int>{});
  expect_returns(std::optional<int>{5});
  using Nested = std::optional<std::optional<int>>;
  expect_returns(Nested{});
  expect_returns(Nested{std::optional<int>{}});
  expect_returns(Nested{std::optional<int>{5}});
  expect_returns(std::optional<std::monostate>{});
  expect_returns(std::optional<std::monostate>{std::monostate{}});
  expect_returns(std::optional<std::pair<std::optional<int>, int>>{{std::nullopt, 1}});
  expect_returns(std::optional<std::pair<std::optional<int>, int>>{});
  using Choice = std::variant<std::monostate, int, std::string, std::vector<int>, int>;
  expect_returns(Choice{});
  expect_returns(Choice{std::in_place_index<1>, 5});
  expect_returns(Choice{std::in_place_index<4>, 5});
  expect_returns(Choice{"x"});
  EXPECT_THAT(test::thrown_text([] { (void)decode<Choice>(encoded(std::tuple(5, 1))); }),
              ::testing::HasSubstr("alternative 5 of 5"));
}

TEST(TransferTest, AggregatesTravelAsTuplesOfTheirFields) {
  expect_returns(Nothing{});
  expect_returns(Point{1.5, -2});
  expect_returns(Line{{0, 1}, {2, 3}, "edge"});
  Record record{.id = 7, .name = "seven", .label = "abc", .matrix = {{1, 2}, {3, 4}}, .more = {{{1, 2}}}};
  expect_returns(record);
  expect_returns(Wide{.last = 32});
  EXPECT_EQ(loads(encoded(Point{1.5, -2})), Object::tuple({1.5, -2.0}));
  EXPECT_EQ(decode<Point>(encoded(std::pair(1.5, -2.0))), (Point{1.5, -2}));
}

TEST(TransferTest, DeclaredTypesTravelAsTheirBytes) {
  const Opaque value(0x0102030405060708);
  expect_returns(value);
  EXPECT_EQ(loads(encoded(value)).kind(), Kind::bytes);
  EXPECT_THAT(test::thrown_text([] { (void)decode<Opaque>(encoded(std::vector<std::byte>(7))); }),
              ::testing::HasSubstr("expected a value of 8 bytes, found 7"));
}

TEST(TransferTest, TypesOfTheirOwnSayHow) {
  expect_returns(Fraction::of(1, 3));
  EXPECT_THROW((void)decode<Fraction>(encoded(std::pair(1, 0))), FormatError);
}

TEST(TransferTest, ObjectsTravelAmongOthers) {
  const Object shared = Object::list({1, "x"});
  const auto value =
      std::tuple(1, Object::tuple({shared, shared}), Object::list({shared, shared}), std::optional<Object>(Object()));
  const auto back = decode<std::remove_const_t<decltype(value)>>(encoded(value));
  EXPECT_EQ(back, value);
  expect_returns(NdBuffer("<f8", {2}, Order::c, std::vector<std::byte>(16)));
  EXPECT_EQ(from_object<std::vector<int>>(to_object(std::vector{1, 2})), (std::vector{1, 2}));
}

TEST(TransferTest, ArgumentsTravelInOneTuple) {
  std::vector<std::byte> bytes;
  encode_tuple(bytes, 1, "two", 3.0, std::vector{4, 5});
  const auto [one, two, three, more] = decode_tuple<int, const char*, double, std::vector<int>>(bytes);
  EXPECT_EQ(one, 1);
  EXPECT_EQ(two, "two");
  EXPECT_EQ(three, 3.0);
  EXPECT_EQ(more, (std::vector{4, 5}));
  bytes.clear();
  encode_tuple(bytes);
  EXPECT_EQ(loads(bytes), Object::tuple());
  EXPECT_NO_THROW((void)decode_tuple<>(bytes));
}

TEST(TransferTest, EncodingAppendsAndLeavesWhatWasThere) {
  std::vector<std::byte> bytes = bytes_of("before");
  encode(bytes, 5);
  EXPECT_EQ(std::vector(bytes.begin(), bytes.begin() + 6), bytes_of("before"));
  EXPECT_EQ(decode<int>(std::span(bytes).subspan(6)), 5);
  bytes = bytes_of("before");
  EXPECT_THROW(encode_tuple(bytes, std::string(1000, 'x'), static_cast<const char*>(nullptr)), std::logic_error);
  EXPECT_EQ(bytes, bytes_of("before"));
}

TEST(TransferTest, EncodingUsesMemoryThatIsThere) {
  std::vector<std::byte> bytes;
  encode_tuple(bytes, 1, 2);
  const auto* const place = bytes.data();
  bytes.clear();
  encode_tuple(bytes, 1, 2);
  EXPECT_EQ(bytes.data(), place);
  std::vector<std::byte> exact;
  exact.reserve(bytes.size());
  const auto* const exact_place = exact.data();
  encode_tuple(exact, 1, 2);
  EXPECT_EQ(exact.data(), exact_place);
}

TEST(TransferTest, WhatDoesNotFitIsCounted) {
  const auto value = std::tuple(1, std::string(100, 'x'), 3.5, Object::list({1, 2}));
  const std::size_t needed = encoded(value).size();
  for (std::size_t size = 0; size < needed + 2; ++size) {
    std::vector<std::byte> room(size + 8, std::byte{0x55});
    EXPECT_EQ(encode_to(std::span(room).first(size), value), needed);
    EXPECT_EQ(std::vector(room.begin() + static_cast<std::ptrdiff_t>(size), room.end()),
              std::vector(8, std::byte{0x55}))
        << "beyond the room";
  }
}

}  // namespace
}  // namespace runrig::pickle
