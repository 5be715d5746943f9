#include <stdexcept>
#include <string>
#include <string_view>

#include "datetime_state.hpp"
#include "form_bytes.hpp"
#include "runrig/channel/decoder.hpp"
#include "runrig/sync/error.hpp"
#include "tree.hpp"

/// Values of datetime, read without an Object in between where an Encoder wrote them.
namespace runrig::pickle {

using detail::form;
using detail::Op;

namespace {
std::vector<std::byte> head_of(std::string_view type) {
  return form([=](auto forms) { forms.global("datetime", type); });
}
const std::vector<std::byte>& timedelta_head() {
  static const auto head = head_of("timedelta");
  return head;
}
const std::vector<std::byte>& datetime_head() {
  static const auto head = head_of("datetime");
  return head;
}
}  // namespace

// Out of an Object. What is copied is charged for: one name may be that of many zones.
template <class Value>
Value Decoder::copied(const Value& value, const std::optional<TimeZone>& zone) {
  if (zone && zone->name) charge(zone->name->size());
  return value;
}

// What follows the state of a time.
std::optional<TimeZone> Decoder::zone() {
  std::optional<TimeZone> found;
  if (at_ != end_ && *at_ != static_cast<std::byte>(Op::tuple1)) found = timezone();
  expect(found ? Op::tuple2 : Op::tuple1);
  expect(Op::reduce);
  return found;
}

Date Decoder::date() {
  if (tree_) return tree_->take(Kind::date).as_date();
  static const auto head = head_of("date");
  if (!try_form(head)) unexpected();
  const auto value = detail::parse_date_state(bytes());
  expect(Op::tuple1);
  expect(Op::reduce);
  if (!value) unexpected();
  return *value;
}

Time Decoder::time() {
  if (tree_) {
    const Time& value = tree_->take(Kind::time).as_time();
    return copied(value, value.zone);
  }
  static const auto head = head_of("time");
  if (!try_form(head)) unexpected();
  auto value = detail::parse_time_state(bytes());
  if (!value) unexpected();
  value->zone = zone();
  return *std::move(value);
}

DateTime Decoder::datetime() {
  if (tree_) {
    const DateTime& value = tree_->take(Kind::datetime).as_datetime();
    return copied(value, value.time.zone);
  }
  if (!try_form(datetime_head())) unexpected();
  auto value = detail::parse_datetime_state(bytes());
  if (!value) unexpected();
  value->time.zone = zone();
  return *std::move(value);
}

TimeDelta Decoder::timedelta() {
  if (tree_) return tree_->take(Kind::timedelta).as_timedelta();
  if (!try_form(timedelta_head())) unexpected();
  TimeDelta value;
  for (std::int32_t* const each : {&value.days, &value.seconds, &value.microseconds}) {
    *each = integer<std::int32_t>();
  }
  expect(Op::tuple3);
  expect(Op::reduce);
  if (find_fault(value) != nullptr) unexpected();
  return value;
}

TimeZone Decoder::timezone() {
  if (tree_) {
    const TimeZone& value = tree_->take(Kind::timezone).as_timezone();
    return copied(value, value);
  }
  static const auto head = head_of("timezone");
  if (!try_form(head)) unexpected();
  TimeZone value{timedelta(), std::nullopt};
  if (at_ != end_ && *at_ != static_cast<std::byte>(Op::tuple1)) {
    const auto name = take_payload(Op::short_binunicode, Op::binunicode, Op::binunicode8);
    value.name.emplace(reinterpret_cast<const char*>(name.data()), name.size());
    if (!is_text(*value.name)) unexpected();
  }
  expect(value.name ? Op::tuple2 : Op::tuple1);
  expect(Op::reduce);
  if (find_fault(value) != nullptr) unexpected();
  return value;
}

bool Decoder::next_is(Kind kind) const {
  if (tree_) {
    const Object* const next = tree_->next();
    return next != nullptr && next->kind() == kind;
  }
  const auto& head = kind == Kind::timedelta ? timedelta_head() : datetime_head();
  return static_cast<std::size_t>(end_ - at_) >= head.size() && std::equal(head.begin(), head.end(), at_);
}

std::optional<std::chrono::microseconds> Decoder::try_duration() {
  if (!next_is(Kind::timedelta)) return std::nullopt;
  const TimeDelta found = timedelta();
  try {
    return found.to_duration();
  } catch (const Error&) {
    fail("a timedelta of " + std::to_string(found.days) + " days does not fit into 64 bits of microseconds");
  }
}

std::optional<std::chrono::sys_time<std::chrono::microseconds>> Decoder::try_moment() {
  if (!next_is(Kind::datetime)) return std::nullopt;
  const DateTime found = datetime();
  if (!found.time.zone) fail("a datetime without a zone names no moment");
  return found.to_sys();
}

}  // namespace runrig::pickle
