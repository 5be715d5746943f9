#include "python_values.hpp"

#include "object_table.hpp"

#include <cmath>
#include <string>

#include "runrig/engine/managed.hpp"

namespace runrig::detail {

using pickle::Kind;
using pickle::Object;

namespace {

[[noreturn]] void index_error(const char* what) {
  throw ManagedError("IndexError", {std::string(what) + " index out of range"});
}

}  // namespace

std::size_t place_of(std::int64_t index, std::size_t size, const char* what) {
  const std::int64_t from_start = index < 0 ? index + static_cast<std::int64_t>(size) : index;
  if (from_start < 0 || from_start >= static_cast<std::int64_t>(size)) index_error(what);
  return static_cast<std::size_t>(from_start);
}

bool is_number(const Object& object) {
  return object.kind() == Kind::integer || object.kind() == Kind::real || object.kind() == Kind::boolean;
}

// One of the equal keys of Python: 1, 1.0 and True are the same one.
Object canonical(const Object& key) {
  switch (key.kind()) {
    case Kind::boolean:
      return Object(std::int64_t{key.as_bool()});
    case Kind::real: {
      const double value = key.as_real();
      constexpr double exact = 9007199254740992.0;  // 2^53: every integer up to it is a double
      if (std::abs(value) <= exact && std::trunc(value) == value) return Object(static_cast<std::int64_t>(value));
      return key;
    }
    case Kind::tuple: {
      std::vector<Object> items;
      for (const Object& each : key.items()) items.push_back(canonical(each));
      return Object::tuple(std::move(items));
    }
    case Kind::none:
    case Kind::integer:
    case Kind::complex:
    case Kind::string:
    case Kind::bytes:
    case Kind::frozenset:
    case Kind::numpy_scalar:
    case Kind::date:
    case Kind::time:
    case Kind::datetime:
    case Kind::timedelta:
    case Kind::timezone:
      return key;
    default:
      throw ManagedError("TypeError", {"unhashable type: '" + std::string(kind_name(key.kind())) + "'"});
  }
}

bool equal(const Object& a, const Object& b) {
  if (a == b) return true;
  return is_number(a) && is_number(b) && canonical(a) == canonical(b);
}

Object resolved(const Object& object) {
  const auto served = served_object(object);
  return served == nullptr ? object : served->value();
}

std::vector<Object> elements_of(const Object& iterable) {
  switch (iterable.kind()) {
    case Kind::list:
    case Kind::tuple:
    case Kind::set:
    case Kind::frozenset:
      return {iterable.items().begin(), iterable.items().end()};
    case Kind::dict:
    case Kind::ordered_dict: {
      std::vector<Object> keys;
      for (const auto& [key, value] : iterable.entries()) keys.push_back(key);
      return keys;
    }
    case Kind::proxy:
      if (const Object value = resolved(iterable); value.kind() != Kind::proxy) {
        auto elements = elements_of(value);
        if (elements.size() > most_copied) throw ManagedError("MemoryError");
        return elements;
      }
      [[fallthrough]];
    default:
      throw ManagedError("TypeError", {"'" + std::string(kind_name(iterable.kind())) + "' object is not iterable"});
  }
}

SlicePlaces places_of(const pickle::Slice& slice, std::size_t size) {
  const std::int64_t step = slice.step.value_or(1);
  if (step == 0) throw ManagedError("ValueError", {"slice step cannot be zero"});
  const auto length = static_cast<std::int64_t>(size);
  // Backwards, the places are 0 to length - 1, and before them -1; forwards, beyond them is length.
  const std::int64_t low = step < 0 ? -1 : 0;
  const std::int64_t high = step < 0 ? length - 1 : length;
  const auto bound = [&](std::int64_t index) {
    if (index < 0) return index < -length ? low : std::max(index + length, low);
    return std::min(index, high);
  };
  const std::int64_t start = slice.start ? bound(*slice.start) : (step < 0 ? high : low);
  const std::int64_t stop = slice.stop ? bound(*slice.stop) : (step < 0 ? low : high);
  SlicePlaces places{start, step, 0};
  const auto distance = static_cast<std::uint64_t>(step < 0 ? start - stop : stop - start);
  const std::uint64_t stride =
      step < 0 ? std::uint64_t{0} - static_cast<std::uint64_t>(step) : static_cast<std::uint64_t>(step);
  if (step < 0 ? stop < start : start < stop) places.count = static_cast<std::size_t>((distance - 1) / stride + 1);
  return places;
}

}  // namespace runrig::detail
