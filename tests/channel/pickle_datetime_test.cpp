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

}  // namespace
}  // namespace runrig::pickle
