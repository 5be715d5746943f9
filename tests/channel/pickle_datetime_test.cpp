#include <gtest/gtest.h>

#include <limits>

#include "runrig/channel/transfer.hpp"
#include "samples.hpp"
#include "support.hpp"

// Dates and times. With a real Python: pickle_python_test.cpp.
namespace runrig::pickle {
namespace {

using namespace std::chrono_literals;
using test_samples::bytes_of;

TEST(PickleDatetimeTest, TimeDeltasAreDurationsAndBack) {
  for (const std::chrono::microseconds length : {0us, 1us, -1us, 86'400'000'000us, -86'400'000'000us, 123'456'789'012us,
                                                 std::chrono::microseconds::max(), std::chrono::microseconds::min()}) {
    EXPECT_EQ(find_fault(TimeDelta::of(length)), nullptr);
    EXPECT_EQ(TimeDelta::of(length).to_duration(), length) << length.count();
  }
  EXPECT_EQ(TimeDelta::of(-1us), (TimeDelta{-1, 86'399, 999'999}));
  EXPECT_EQ(test::thrown_code([] { (void)TimeDelta{999'999'999, 0, 0}.to_duration(); }), std::errc::value_too_large);
  EXPECT_EQ(test::thrown_code([] { (void)TimeDelta{-999'999'999, 0, 0}.to_duration(); }), std::errc::value_too_large);
}

TEST(PickleDatetimeTest, DatetimesAreMomentsAndBack) {
  using std::chrono::sys_days;
  const auto moment = sys_days(std::chrono::year(2026) / 11 / 29) + 10h + 39min + 30s + 5us;
  const DateTime utc = DateTime::of(moment);
  EXPECT_EQ(utc.date, (Date{2026, 11, 29}));
  EXPECT_EQ(utc.time.hour, 10);
  EXPECT_EQ(utc.time.microsecond, 5);
  EXPECT_EQ(utc.to_sys(), moment);
  DateTime west = utc;
  west.time.zone = TimeZone{TimeDelta::of(-210min), "west"};
  EXPECT_EQ(west.to_sys(), moment + 210min);
  west.time.zone.reset();
  EXPECT_THROW((void)west.to_sys(), std::logic_error);
  EXPECT_EQ(DateTime::of(sys_days(std::chrono::year(1901) / 1 / 1) - 1us).date, (Date{1900, 12, 31}));
  EXPECT_THROW((void)DateTime::of(sys_days(std::chrono::year(10'000) / 1 / 1)), std::logic_error);
  // Of those, 4464 is what 70000 is in 16 bits.
  for (const auto far :
       {std::chrono::sys_time<std::chrono::microseconds>::min(), sys_days(std::chrono::days(24'847'500)) + 0us,
        std::chrono::sys_time<std::chrono::microseconds>::max()}) {
    EXPECT_THROW((void)DateTime::of(far), std::logic_error);
  }
  EXPECT_THROW((void)Date::of(std::chrono::year(2026) / 2 / 29), std::logic_error);
}

TEST(PickleDatetimeTest, ValuesThatPythonCannotHaveAreTheCallersMistake) {
  EXPECT_THROW(Object(Date{0, 1, 1}), std::logic_error);
  EXPECT_THROW(Object(Date{2026, 13, 1}), std::logic_error);
  EXPECT_THROW(Object(Date{2026, 2, 29}), std::logic_error);
  EXPECT_THROW(Object(Date{2026, 2, 256}), std::logic_error);
  EXPECT_THROW(Object(Time{24}), std::logic_error);
  EXPECT_THROW(Object(Time{.second = 60}), std::logic_error);
  EXPECT_THROW(Object(Time{.microsecond = -1}), std::logic_error);
  EXPECT_THROW(Object(Time{.fold = 2}), std::logic_error);
  EXPECT_THROW(Object(TimeDelta{1'000'000'000, 0, 0}), std::logic_error);
  EXPECT_THROW(Object(TimeDelta{0, 86'400, 0}), std::logic_error);
  EXPECT_THROW(Object(TimeZone{{1, 0, 0}, {}}), std::logic_error);
  EXPECT_THROW(Object(TimeZone{{-1, 0, 0}, {}}), std::logic_error);
  EXPECT_NO_THROW(Object(TimeZone{{-1, 0, 1}, {}}));
  EXPECT_EQ(test::thrown_code([] { (void)dumps(TimeZone{{}, "\xff"}); }), std::errc::illegal_byte_sequence);
}

TEST(PickleDatetimeTest, AsKeysTheyAreEqualWhereTheyAreInPython) {
  const TimeZone utc{};
  const TimeZone east{TimeDelta::of(1h), "east"};
  const auto at = [](int hour, std::optional<TimeZone> zone) { return Time{.hour = hour, .zone = std::move(zone)}; };
  const auto same = [](const Object& a, const Object& b) { return Object::set({a}).contains(b); };
  EXPECT_TRUE(same(at(12, utc), at(13, east)));
  EXPECT_FALSE(same(at(12, utc), at(12, {})));
  EXPECT_TRUE(same(DateTime{{2026, 1, 1}, at(0, east)}, DateTime{{2025, 12, 31}, at(23, utc)}));
  EXPECT_FALSE(same(DateTime{{2026, 1, 1}, at(0, {})}, DateTime{{2026, 1, 1}, at(0, utc)}));
  EXPECT_FALSE(same(DateTime{{2026, 1, 1}, {}}, Date{2026, 1, 1}));
  EXPECT_TRUE(same(east, TimeZone{TimeDelta::of(1h), {}}));
  EXPECT_TRUE(same(Time{.fold = 1}, Time{}));
  EXPECT_FALSE(same(TimeDelta{1}, TimeDelta{2}));
  EXPECT_NE(Object(Time{.fold = 1}), Object(Time{})) << "operator== compares all there is";
}

TEST(PickleDatetimeTest, StatesThatNoValueHasAreRefused) {
  const auto refused = [](const std::string& stream) {
    EXPECT_THROW((void)loads(bytes_of(stream)), FormatError) << stream;
  };
  using namespace std::string_literals;
  for (const std::string& state : {"\x07\xea\x00\x01"s, "\x07\xea\x02\x1e"s, "\x00\x00\x01\x01"s, "\x07\xea\x01"s,
                                   "\x07\xea\x01\x01\x01"s, "\xff\xff\x01\x01"s, ""s}) {
    refused("cdatetime\ndate\nC" + std::string(1, static_cast<char>(state.size())) + state + "\x85R.");
  }
  refused("cdatetime\ntime\nC\x06\x18\x00\x00\x00\x00\x00\x85R."s);
  refused("cdatetime\ntime\nC\x06\x00\x00\x00\xff\xff\xff\x85R."s);
  refused("cdatetime\ntime\nC\x06\x00\x00\x00\x00\x00\x00N\x86Nb."s);
  refused("cdatetime\ntime\nC\x06\x00\x00\x00\x00\x00\x00I1\n\x86R."s);
  refused("cdatetime\ndatetime\nC\x0a\x07\xea\x01\x01\x98\x00\x00\x00\x00\x00\x85R."s);
  refused("cdatetime\ntimedelta\n(I0\nI86400\nI0\ntR.");
  refused("cdatetime\ntimedelta\n(L99999999999999999999L\nI0\nI0\ntR.");
  refused("cdatetime\ntimedelta\n(I0\ntR.");
  refused("cdatetime\ntimezone\n(cdatetime\ntimedelta\n(I1\nI0\nI0\ntRtR.");
  refused("cdatetime\ntimezone\n(I0\ntR.");
  refused("cdatetime\ndate\n.");
  EXPECT_EQ(loads(bytes_of("cdatetime\ndate\nC\x04\x07\xea\x01\x01\x85R.")).as_date(), (Date{2026, 1, 1}));
}

TEST(PickleDatetimeTest, OneLongNameIsNotCopiedWithoutEnd) {
  std::string stream = "(cdatetime\ntimezone\n(cdatetime\ntimedelta\n(I0\nI0\nI0\ntRV" + std::string(1 << 20, 'z') +
                       "\ntRq\x01"
                       "C\x06";
  stream += std::string(6, '\0') + "q\x02";
  for (int i = 0; i < 10'000; ++i) stream += "cdatetime\ntime\nh\x02h\x01\x86R";
  EXPECT_THROW((void)loads(bytes_of(stream + "t.")), FormatError);
}

TEST(PickleDatetimeTest, TheyTravelAsThemselves) {
  std::vector<std::byte> bytes;
  const std::tuple sent(Date{2026, 11, 29}, Time{.hour = 1}, DateTime{{2026, 1, 2}, {.zone = TimeZone{}}},
                        TimeDelta{-3}, TimeZone{TimeDelta::of(1h), "x"});
  encode(bytes, sent);
  EXPECT_EQ(decode<std::decay_t<decltype(sent)>>(bytes), sent);
  EXPECT_EQ(loads(bytes).at(0).kind(), Kind::date);
  EXPECT_EQ(test::thrown_text([] { (void)decode<Date>(dumps(5)); }),
            "read 'pickle': at byte 2: expected datetime.date, found int");
}

/// What a Decoder reads of the bytes alone, without an Object.
template <class T>
T read_directly(const std::vector<std::byte>& bytes) {
  Decoder decoder(bytes, {});
  T value = Transfer<T>::read(decoder);
  decoder.finish();
  return value;
}

TEST(PickleDatetimeTest, TheyAreReadWithoutAnObjectInBetween) {
  const TimeZone west{TimeDelta::of(-210min), "west \xc3\xbc"};
  const std::tuple sent(Date{1, 1, 1}, Time{23, 59, 58, 999'999, 1, west}, Time{.zone = TimeZone{}},
                        DateTime{{9999, 12, 31}, {.hour = 1, .fold = 1}}, DateTime{{2026, 1, 2}, {.zone = west}},
                        TimeDelta{-999'999'999, 86'399, 999'999}, west, TimeZone{{0, 60, 1}, ""});
  for (const int protocol : {4, 5}) {
    std::vector<std::byte> bytes;
    encode(bytes, sent, {.protocol = protocol});
    EXPECT_EQ(read_directly<std::decay_t<decltype(sent)>>(bytes), sent);
  }
  for (const int protocol : {2, 3}) {
    std::vector<std::byte> bytes;
    encode(bytes, sent, {.protocol = protocol});
    EXPECT_EQ(decode<std::decay_t<decltype(sent)>>(bytes), sent);
  }
}

TEST(PickleDatetimeTest, WhatIsNoSuchValueIsRefusedByEitherWay) {
  const auto first_changed = [](const auto& value, std::byte from, std::byte to) {
    std::vector<std::byte> bytes;
    encode(bytes, value);
    *std::find(bytes.begin() + 20, bytes.end(), from) = to;
    return bytes;
  };
  EXPECT_THROW((void)decode<Date>(first_changed(Date{2026, 11, 29}, std::byte{29}, std::byte{31})), FormatError);
  EXPECT_THROW((void)decode<Time>(first_changed(Time{.hour = 23}, std::byte{23}, std::byte{24})), FormatError);
  EXPECT_THROW((void)decode<DateTime>(first_changed(DateTime{{2026, 11, 29}, {}}, std::byte{11}, std::byte{13})),
               FormatError);
  EXPECT_THROW((void)decode<TimeZone>(first_changed(TimeZone{{}, "\xc3\xbc"}, std::byte{0xBC}, std::byte{'c'})),
               FormatError);
  std::vector<std::byte> bytes;
  EXPECT_THROW(encode(bytes, Date{2026, 2, 30}), std::logic_error);
  EXPECT_THROW(encode(bytes, TimeDelta{0, 86'400}), std::logic_error);
  EXPECT_EQ(test::thrown_code([&] { encode(bytes, TimeZone{{}, "\xff"}); }), std::errc::illegal_byte_sequence);
  EXPECT_TRUE(bytes.empty());
}

TEST(PickleDatetimeTest, ChronosTypesAreReadFromThem) {
  using std::chrono::sys_time;
  EXPECT_EQ(decode<std::chrono::milliseconds>(dumps(TimeDelta{-1, 1, 2000})), -24h + 1002ms);
  EXPECT_EQ(decode<std::chrono::hours>(dumps(TimeDelta{2})), 48h);
  EXPECT_EQ(decode<std::chrono::duration<double>>(dumps(TimeDelta{0, 1, 500'000})).count(), 1.5);
  EXPECT_EQ(decode<std::chrono::nanoseconds>(dumps(TimeDelta{0, 0, 1})), 1000ns);
  EXPECT_EQ((decode<std::vector<std::chrono::seconds>>(dumps(Object::list({5, TimeDelta{0, 6}})))),
            (std::vector{5s, 6s}));
  const DateTime noon{{2026, 11, 29}, {.hour = 12, .zone = TimeZone{TimeDelta::of(2h), {}}}};
  const auto moment = std::chrono::sys_days(std::chrono::year(2026) / 11 / 29) + 10h;
  EXPECT_EQ(decode<std::chrono::system_clock::time_point>(dumps(noon)), moment);
  EXPECT_EQ(decode<sys_time<std::chrono::seconds>>(dumps(noon)), moment);
  const auto day = std::chrono::year(2024) / 2 / 29;
  std::vector<std::byte> bytes;
  encode(bytes, std::tuple(day, moment));
  EXPECT_EQ(loads(bytes).at(0), Object(Date{2024, 2, 29}));
  EXPECT_EQ((read_directly<std::tuple<std::chrono::year_month_day, std::decay_t<decltype(moment)>>>(bytes)),
            std::tuple(day, moment));
  // And from what an Encoder wrote of them.
  bytes.clear();
  encode(bytes, std::tuple(TimeDelta{1}, noon));
  EXPECT_EQ((read_directly<std::tuple<std::chrono::minutes, sys_time<std::chrono::seconds>>>(bytes)),
            (std::tuple<std::chrono::minutes, sys_time<std::chrono::seconds>>(24h, moment)));
}

TEST(PickleDatetimeTest, WhatChronosTypesCannotHoldIsRefusedInWords) {
  const auto refused = [](const auto& read, std::string_view why) {
    const auto text = test::thrown_text(read);
    EXPECT_NE(text.find(why), std::string::npos) << text;
  };
  refused([] { (void)decode<std::chrono::seconds>(dumps(TimeDelta{0, 0, 1})); }, "1 us is no whole number of the unit");
  refused([] { (void)decode<std::chrono::nanoseconds>(dumps(TimeDelta{200'000})); }, "too large for it");
  refused([] { (void)decode<std::chrono::duration<std::uint8_t>>(dumps(TimeDelta{0, 256})); }, "too large for it");
  refused([] { (void)decode<std::chrono::duration<std::uint8_t>>(dumps(TimeDelta{-1})); }, "too large for it");
  refused([] { (void)decode<std::chrono::seconds>(dumps(TimeDelta{999'999'999})); }, "999999999 days does not fit");
  refused([] { (void)decode<std::chrono::system_clock::time_point>(dumps(DateTime{})); }, "names no moment");
  refused(
      [] {
        (void)decode<std::chrono::steady_clock::time_point>(dumps(DateTime{{}, {.zone = TimeZone{}}}));
      },
      "expected int, found datetime.datetime");
  std::vector<std::byte> bytes;
  EXPECT_THROW(encode(bytes, std::chrono::year(2023) / 2 / 29), std::logic_error);
}

TEST(PickleDatetimeTest, OneLongNameIsNotCopiedWithoutEndIntoTypedValuesEither) {
  const Object zone = TimeZone{{}, std::string(1 << 20, 'z')};
  std::vector<Object> many(1000, zone);
  const auto bytes = dumps(Object::list(std::move(many)));
  EXPECT_EQ(loads(bytes).size(), 1000U);
  EXPECT_THROW((void)decode<std::vector<TimeZone>>(bytes, {.max_memory = std::size_t{64} << 20}), FormatError);
}

}  // namespace
}  // namespace runrig::pickle
