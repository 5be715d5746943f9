#include <limits>
#include <optional>

#include "datetime_state.hpp"
#include "globals.hpp"
#include "node.hpp"

/// The constructors of the module datetime.
namespace runrig::pickle::detail {
namespace {

template <class Value>
Object make(Budget& budget, Kind kind, Value value) {
  if (const char* const fault = find_fault(value)) throw Refused(fault);
  budget.charge_node<ValueNode<Value>>();
  return Access::make<ValueNode<Value>>(kind, std::move(value));
}

/// The state of a date or time: the only argument, or the first of two.
std::span<const std::byte> state_of(std::span<const Object> arguments, std::size_t most, std::string_view what) {
  expect_argument(!arguments.empty() && arguments.size() <= most && arguments[0].kind() == Kind::bytes, what);
  return arguments[0].as_bytes();
}

std::int32_t number(const Object& object) {
  expect_argument(object.kind() == Kind::integer, "datetime.timedelta");
  const auto value = object.as_big_int().to_int64();
  expect_argument(
      value && *value >= std::numeric_limits<std::int32_t>::min() && *value <= std::numeric_limits<std::int32_t>::max(),
      "datetime.timedelta");
  return static_cast<std::int32_t>(*value);
}

}  // namespace

std::optional<TimeZone> Constructor::zone(std::span<const Object> arguments, std::size_t place) {
  if (arguments.size() <= place || arguments[place].is_none()) return std::nullopt;
  expect_argument(arguments[place].kind() == Kind::timezone, "a datetime's zone");
  const TimeZone& zone = arguments[place].as_timezone();
  if (zone.name) budget_.charge(zone.name->size());  // a copy
  return zone;
}

Object Constructor::date(std::span<const Object> arguments) {
  const auto date = parse_date_state(state_of(arguments, 1, "datetime.date"));
  expect_argument(date.has_value(), "datetime.date");
  return make(budget_, Kind::date, *date);
}

Object Constructor::time(std::span<const Object> arguments) {
  auto time = parse_time_state(state_of(arguments, 2, "datetime.time"));
  expect_argument(time.has_value(), "datetime.time");
  time->zone = zone(arguments, 1);
  return make(budget_, Kind::time, *std::move(time));
}

Object Constructor::datetime(std::span<const Object> arguments) {
  auto value = parse_datetime_state(state_of(arguments, 2, "datetime.datetime"));
  expect_argument(value.has_value(), "datetime.datetime");
  value->time.zone = zone(arguments, 1);
  return make(budget_, Kind::datetime, *std::move(value));
}

Object Constructor::timedelta(std::span<const Object> arguments) {
  expect_argument(arguments.size() == 3, "datetime.timedelta");
  return make(budget_, Kind::timedelta, TimeDelta{number(arguments[0]), number(arguments[1]), number(arguments[2])});
}

Object Constructor::timezone(std::span<const Object> arguments) {
  expect_argument((arguments.size() == 1 || arguments.size() == 2) && arguments[0].kind() == Kind::timedelta,
                  "datetime.timezone");
  TimeZone zone{arguments[0].as_timedelta(), std::nullopt};
  if (arguments.size() == 2) {
    expect_argument(arguments[1].kind() == Kind::string, "datetime.timezone");
    budget_.charge(arguments[1].as_string().size());
    zone.name = arguments[1].as_string();
  }
  return make(budget_, Kind::timezone, std::move(zone));
}

}  // namespace runrig::pickle::detail
