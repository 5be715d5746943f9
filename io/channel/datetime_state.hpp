#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>

#include "runrig/channel/datetime.hpp"

/// The bytes that Python's datetime keeps of its values in a pickle: big-endian fields; a set highest bit in the hour
/// of a time or the month of a datetime is its fold.
namespace runrig::pickle::detail {

[[nodiscard]] std::array<std::byte, 4> date_state(const Date& date) noexcept;
[[nodiscard]] std::array<std::byte, 6> time_state(const Time& time) noexcept;
[[nodiscard]] std::array<std::byte, 10> datetime_state(const DateTime& value) noexcept;

/// The reverse, without a zone; none for bytes that no value has.
[[nodiscard]] std::optional<Date> parse_date_state(std::span<const std::byte> state) noexcept;
[[nodiscard]] std::optional<Time> parse_time_state(std::span<const std::byte> state) noexcept;
[[nodiscard]] std::optional<DateTime> parse_datetime_state(std::span<const std::byte> state) noexcept;

/// Microseconds since midnight, of the clock on the wall.
[[nodiscard]] std::int64_t microseconds_of_day(const Time& time) noexcept;
/// What Python compares a zone's times by.
[[nodiscard]] std::int64_t offset_microseconds(const TimeZone& zone) noexcept;

}  // namespace runrig::pickle::detail
