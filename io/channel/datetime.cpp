#include "runrig/channel/datetime.hpp"

#include <algorithm>
#include <stdexcept>

#include "datetime_state.hpp"
#include "runrig/sync/error.hpp"

namespace runrig::pickle {
namespace {

using std::chrono::microseconds;

constexpr std::int64_t microseconds_per_second = 1'000'000;
constexpr std::int64_t seconds_per_day = 86'400;
constexpr std::int64_t microseconds_per_day = seconds_per_day * microseconds_per_second;
constexpr std::int32_t most_days = 999'999'999;
constexpr unsigned fold_bit = 0x80;
constexpr const char* unknown_year = "a date whose year is not 1 to 9999";

std::chrono::year_month_day calendar(const Date& date) noexcept {
  return {std::chrono::year(date.year), std::chrono::month(static_cast<unsigned>(date.month)),
          std::chrono::day(static_cast<unsigned>(date.day))};
}

constexpr std::chrono::sys_days first_day{std::chrono::year(1) / 1 / 1};
constexpr std::chrono::sys_days last_day{std::chrono::year(9999) / 12 / 31};

/// Whole days, and from there what is not negative. By hand, because std::chrono::floor() goes through microseconds
/// that the earliest day does not have.
struct Split {
  std::chrono::days days;
  microseconds rest;
};
Split split(microseconds length) noexcept {
  const std::int64_t rest = length.count() % microseconds_per_day;
  const auto whole = std::chrono::days(length.count() / microseconds_per_day);
  if (rest >= 0) return {whole, microseconds(rest)};
  return {whole - std::chrono::days(1), microseconds(rest + microseconds_per_day)};
}

template <class T>
const T& checked(const T& value) {
  if (const char* const fault = find_fault(value)) throw std::logic_error(fault);
  return value;
}

unsigned field(std::span<const std::byte> state, std::size_t place) noexcept {
  return std::to_integer<unsigned>(state[place]);
}
int wide_field(std::span<const std::byte> state, std::size_t place, std::size_t bytes) noexcept {
  unsigned value = 0;
  for (std::size_t i = 0; i < bytes; ++i) value = value << 8 | field(state, place + i);
  return static_cast<int>(value);
}
std::byte low_byte(int value) noexcept { return static_cast<std::byte>(static_cast<unsigned>(value) & 0xFFU); }

}  // namespace

const char* find_fault(const TimeDelta& value) noexcept {
  if (value.days < -most_days || value.days > most_days) return "a timedelta of more than 999999999 days";
  if (value.seconds < 0 || value.seconds >= seconds_per_day) return "a timedelta whose seconds are not 0 to 86399";
  if (value.microseconds < 0 || value.microseconds >= microseconds_per_second) {
    return "a timedelta whose microseconds are not 0 to 999999";
  }
  return nullptr;
}

const char* find_fault(const TimeZone& value) noexcept {
  if (const char* const fault = find_fault(value.offset)) return fault;
  // Strictly between -24 hours, which is -1 day and 0 seconds, and 24 hours.
  const bool least = value.offset == TimeDelta{-1, 0, 0};
  if (value.offset.days < -1 || value.offset.days > 0 || least) return "a timezone of 24 hours or more";
  return nullptr;
}

const char* find_fault(const Date& value) noexcept {
  if (value.year < 1 || value.year > 9999) return unknown_year;
  if (value.month < 1 || value.month > 12) return "a date whose month is not 1 to 12";
  if (value.day < 1 || value.day > 31 || !calendar(value).ok()) return "a date whose day is not in its month";
  return nullptr;
}

const char* find_fault(const Time& value) noexcept {
  if (value.hour < 0 || value.hour > 23) return "a time whose hour is not 0 to 23";
  if (value.minute < 0 || value.minute > 59) return "a time whose minute is not 0 to 59";
  if (value.second < 0 || value.second > 59) return "a time whose second is not 0 to 59";
  if (value.microsecond < 0 || value.microsecond > 999'999) return "a time whose microsecond is not 0 to 999999";
  if (value.fold != 0 && value.fold != 1) return "a time whose fold is not 0 or 1";
  return value.zone ? find_fault(*value.zone) : nullptr;
}

const char* find_fault(const DateTime& value) noexcept {
  const char* const fault = find_fault(value.date);
  return fault != nullptr ? fault : find_fault(value.time);
}

TimeDelta TimeDelta::of(std::chrono::microseconds length) noexcept {
  const auto [days, rest] = split(length);
  return {static_cast<std::int32_t>(days.count()), static_cast<std::int32_t>(rest.count() / microseconds_per_second),
          static_cast<std::int32_t>(rest.count() % microseconds_per_second)};
}

std::chrono::microseconds TimeDelta::to_duration() const {
  checked(*this);
  std::int64_t count = 0;
  // From the middle of the day: for the earliest that fits, whole days alone would not.
  const bool negative = days < 0;
  const std::int64_t rest =
      seconds * microseconds_per_second + microseconds - (negative ? microseconds_per_day : std::int64_t{0});
  if (__builtin_mul_overflow(days + (negative ? 1 : 0), microseconds_per_day, &count) ||
      __builtin_add_overflow(count, rest, &count)) {
    throw Error(std::errc::value_too_large, "convert", "timedelta of " + std::to_string(days) + " days");
  }
  return std::chrono::microseconds(count);
}

Date Date::of(std::chrono::year_month_day day) {
  const Date date{static_cast<int>(day.year()), static_cast<int>(static_cast<unsigned>(day.month())),
                  static_cast<int>(static_cast<unsigned>(day.day()))};
  return checked(date);
}

std::chrono::sys_days Date::to_days() const { return calendar(checked(*this)); }

DateTime DateTime::of(std::chrono::sys_time<microseconds> when) {
  const auto [days, rest] = split(when.time_since_epoch());
  const std::chrono::sys_days day(days);
  // Here, because of longer years than it can hold std::chrono makes others.
  if (day < first_day || day > last_day) throw std::logic_error(unknown_year);
  const std::chrono::hh_mm_ss clock(rest);
  return {Date::of(day),
          {static_cast<int>(clock.hours().count()), static_cast<int>(clock.minutes().count()),
           static_cast<int>(clock.seconds().count()), static_cast<int>(clock.subseconds().count()), 0, TimeZone{}}};
}

std::chrono::sys_time<microseconds> DateTime::to_sys() const {
  checked(*this);
  if (!time.zone) {
    throw std::logic_error("convert a datetime without a zone: it names no moment; set time.zone to what it is of");
  }
  return date.to_days() + microseconds(detail::microseconds_of_day(time) - detail::offset_microseconds(*time.zone));
}

namespace detail {

std::int64_t microseconds_of_day(const Time& time) noexcept {
  return ((time.hour * 60 + time.minute) * 60 + time.second) * microseconds_per_second + time.microsecond;
}

std::int64_t offset_microseconds(const TimeZone& zone) noexcept {
  return (zone.offset.days * seconds_per_day + zone.offset.seconds) * microseconds_per_second +
         zone.offset.microseconds;
}

std::array<std::byte, 4> date_state(const Date& date) noexcept {
  return {low_byte(date.year >> 8), low_byte(date.year), low_byte(date.month), low_byte(date.day)};
}

std::array<std::byte, 6> time_state(const Time& time) noexcept {
  return {low_byte(time.hour) | (time.fold != 0 ? std::byte{fold_bit} : std::byte{0}),
          low_byte(time.minute),
          low_byte(time.second),
          low_byte(time.microsecond >> 16),
          low_byte(time.microsecond >> 8),
          low_byte(time.microsecond)};
}

std::array<std::byte, 10> datetime_state(const DateTime& value) noexcept {
  std::array<std::byte, 10> state{};
  const auto date = date_state(value.date);
  auto time = time_state(value.time);
  time[0] = low_byte(value.time.hour);
  std::copy(date.begin(), date.end(), state.begin());
  std::copy(time.begin(), time.end(), state.begin() + date.size());
  if (value.time.fold != 0) state[2] |= std::byte{fold_bit};
  return state;
}

std::optional<Date> parse_date_state(std::span<const std::byte> state) noexcept {
  if (state.size() != 4) return std::nullopt;
  const Date date{wide_field(state, 0, 2), wide_field(state, 2, 1), wide_field(state, 3, 1)};
  return find_fault(date) == nullptr ? std::optional(date) : std::nullopt;
}

std::optional<Time> parse_time_state(std::span<const std::byte> state) noexcept {
  if (state.size() != 6) return std::nullopt;
  const Time time{static_cast<int>(field(state, 0) & ~fold_bit), wide_field(state, 1, 1), wide_field(state, 2, 1),
                  wide_field(state, 3, 3), (field(state, 0) & fold_bit) != 0 ? 1 : 0};
  return find_fault(time) == nullptr ? std::optional(time) : std::nullopt;
}

std::optional<DateTime> parse_datetime_state(std::span<const std::byte> state) noexcept {
  if (state.size() != 10) return std::nullopt;
  std::array<std::byte, 4> day{};
  std::copy_n(state.begin(), day.size(), day.begin());
  const bool fold = (day[2] & std::byte{fold_bit}) != std::byte{0};
  day[2] &= ~std::byte{fold_bit};
  const auto date = parse_date_state(day);
  auto time = parse_time_state(state.subspan(day.size()));
  if (!date || !time || time->fold != 0) return std::nullopt;  // the fold is with the month here
  time->fold = fold ? 1 : 0;
  return DateTime{*date, *time};
}

}  // namespace detail
}  // namespace runrig::pickle
