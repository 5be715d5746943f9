#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>

/// Dates and times as Python's module datetime has them: plain values, without arithmetic of their own. std::chrono
/// computes, and is converted from and to.
namespace runrig::pickle {

/// A length of time: datetime.timedelta. Normalised as there: only `days` is negative, at most 999,999,999 either way.
struct TimeDelta {
  std::int32_t days = 0;
  std::int32_t seconds = 0;       ///< 0 to 86,399
  std::int32_t microseconds = 0;  ///< 0 to 999,999

  [[nodiscard]] static TimeDelta of(std::chrono::microseconds length) noexcept;
  /// Throws Error value_too_large beyond some 292,000 years.
  [[nodiscard]] std::chrono::microseconds to_duration() const;
  friend bool operator==(const TimeDelta&, const TimeDelta&) noexcept = default;
};

/// A fixed distance from UTC, of less than a day either way: datetime.timezone.
struct TimeZone {
  TimeDelta offset;
  std::optional<std::string> name;  ///< UTF-8

  friend bool operator==(const TimeZone&, const TimeZone&) noexcept = default;
};

/// A day from year 1 to 9999: datetime.date.
struct Date {
  int year = 1;
  int month = 1;
  int day = 1;

  /// Throws std::logic_error for a day that is not in the calendar, or not in those years.
  [[nodiscard]] static Date of(std::chrono::year_month_day day);
  [[nodiscard]] std::chrono::sys_days to_days() const;
  friend bool operator==(const Date&, const Date&) noexcept = default;
};

/// A time of day: datetime.time. Without a zone it is "naive", of wherever somebody thinks.
struct Time {
  int hour = 0;
  int minute = 0;
  int second = 0;
  int microsecond = 0;
  int fold = 0;  ///< 1 for the second of two equal times, where clocks are set back
  std::optional<TimeZone> zone{};

  friend bool operator==(const Time&, const Time&) noexcept = default;
};

/// datetime.datetime.
struct DateTime {
  Date date;
  Time time;

  /// In UTC. Throws std::logic_error outside of the years 1 to 9999.
  [[nodiscard]] static DateTime of(std::chrono::sys_time<std::chrono::microseconds> when);
  /// Throws std::logic_error for one without a zone, which names no moment.
  [[nodiscard]] std::chrono::sys_time<std::chrono::microseconds> to_sys() const;
  friend bool operator==(const DateTime&, const DateTime&) noexcept = default;
};

/// What is wrong with a value (a sentence for people), or null if Python can have it.
[[nodiscard]] const char* find_fault(const TimeDelta& value) noexcept;
[[nodiscard]] const char* find_fault(const TimeZone& value) noexcept;
[[nodiscard]] const char* find_fault(const Date& value) noexcept;
[[nodiscard]] const char* find_fault(const Time& value) noexcept;
[[nodiscard]] const char* find_fault(const DateTime& value) noexcept;

}  // namespace runrig::pickle
