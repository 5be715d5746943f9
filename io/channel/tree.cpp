#include "tree.hpp"

#include <algorithm>
#include <type_traits>

#include "node.hpp"
#include "runrig/sync/error.hpp"

namespace runrig::pickle::detail {
namespace {

/// A NumPy scalar as the plain number that it stands for: what NumPy computes is wanted as a number elsewhere. Other
/// objects as they are.
Object plain(const Object& object) {
  if (object.kind() != Kind::numpy_scalar) return object;
  const NdBuffer& array = object.as_array();
  const auto dtype = array.native_dtype();
  if (!dtype || array.bytes().size() != item_bytes(*dtype)) return object;
  if (is_complex(*dtype)) return complex_number(*dtype, array.bytes());
  return visit_dtype(*dtype, [&]<class T>(std::type_identity<T>) -> Object {
    const T value = native_element<T>(array.bytes());
    if constexpr (std::is_same_v<T, half>) {
      return static_cast<float>(value);
    } else {
      return value;
    }
  });
}

}  // namespace

const Object* Tree::next() const noexcept {
  if (levels.empty()) return root_taken ? nullptr : &root;
  const Level& level = levels.back();
  if (!more()) return nullptr;
  if (!level.dict) return &level.items[level.taken];
  const Object::Pair& entry = level.entries[level.taken / 2];
  return level.taken % 2 == 0 ? &entry.first : &entry.second;
}

bool Tree::more() const noexcept {
  const Level& level = levels.back();
  return level.taken < (level.dict ? 2 * level.entries.size() : level.items.size());
}

const Object& Tree::take() {
  const Object* const found = next();
  if (found == nullptr) fail("fewer values than expected");
  if (levels.empty()) {
    root_taken = true;
  } else {
    ++levels.back().taken;
  }
  return *found;
}

const Object& Tree::take(Kind kind) {
  const Object& object = take();
  if (object.kind() != kind) fail_kind(kind_name(kind), object);
  return object;
}

bool Tree::try_none() {
  const Object* const found = next();
  if (found == nullptr || !found->is_none()) return false;
  (void)take();
  return true;
}

bool Tree::boolean() {
  const Object object = plain(take());
  if (object.kind() != Kind::boolean) fail_kind("bool", object);
  return object.as_bool();
}

Integer Tree::integer() {
  const Object object = plain(take());
  if (object.kind() != Kind::integer) fail_kind("int", object);
  if (Access::raw_node(object) == nullptr) {
    const std::int64_t value = object.as_int();
    return {static_cast<std::uint64_t>(value), value < 0};
  }
  const BigInt value = object.as_big_int();
  if (const auto small = value.to_int64()) return {static_cast<std::uint64_t>(*small), *small < 0};
  if (const auto large = value.to_uint64()) return {*large, false};
  constexpr std::size_t short_bytes = 64;  // writing a number out takes time quadratic in its length
  fail((value.bytes().size() <= short_bytes ? value.to_decimal()
                                            : "an int of " + std::to_string(value.bytes().size()) + " bytes") +
       " does not fit into 64 bits");
}

BigInt Tree::big_int() {
  const Object object = plain(take());
  if (object.kind() != Kind::integer) fail_kind("int", object);
  return object.as_big_int();
}

double Tree::real() {
  const Object object = plain(take());
  if (object.kind() == Kind::real) return object.as_real();
  if (object.kind() != Kind::integer) fail_kind("float", object);
  const BigInt value = object.as_big_int();
  if (const auto small = value.to_int64()) return static_cast<double>(*small);
  if (const auto large = value.to_uint64()) return static_cast<double>(*large);
  fail("an int of more than 64 bits, where a float was expected");
}

std::complex<double> Tree::complex() {
  const Object object = plain(take());
  if (object.kind() == Kind::real) return object.as_real();
  if (object.kind() != Kind::complex) fail_kind("complex", object);
  return object.as_complex();
}

std::string_view Tree::text() {
  const Object& object = take();
  if (object.kind() != Kind::string) fail_kind("str", object);
  return object.as_string();
}

std::span<const std::byte> Tree::bytes() {
  const Object& object = take();
  if (object.kind() != Kind::bytes && object.kind() != Kind::bytearray) fail_kind("bytes", object);
  return object.as_bytes();
}

NdBuffer Tree::array() {
  const Object& object = take();
  if (object.kind() != Kind::array && object.kind() != Kind::numpy_scalar) fail_kind(kind_name(Kind::array), object);
  return object.as_array();
}

void Tree::begin_sequence(std::optional<std::size_t> elements) {
  const Object& object = take();
  if (object.kind() != Kind::tuple && object.kind() != Kind::list) fail_kind(elements ? "tuple" : "list", object);
  if (elements && object.size() != *elements) {
    fail("expected " + std::to_string(*elements) + " elements, found " + std::to_string(object.size()));
  }
  levels.push_back({.items = object.items(), .entries = {}});
}

void Tree::begin_dict() {
  const Object& object = take();
  if (object.kind() != Kind::dict && object.kind() != Kind::ordered_dict) fail_kind("dict", object);
  levels.push_back({.items = {}, .entries = object.entries(), .dict = true});
}

void Tree::begin_set() {
  const Object& object = take();
  if (object.kind() != Kind::set && object.kind() != Kind::frozenset) fail_kind("set", object);
  levels.push_back({.items = object.items(), .entries = {}});
}

std::string Tree::place() const {
  std::string text;
  for (const Level& level : levels) {
    if (level.taken == 0) break;  // just begun: the container itself is meant
    const std::size_t last = level.taken - 1;
    text += "[" + std::to_string(level.dict ? last / 2 : last) + "]";
    if (level.dict) text += last % 2 == 0 ? ".key" : ".value";
  }
  return text;
}

void Tree::fail(const std::string& why) const {
  std::string where;
  if (byte) where += "at byte " + std::to_string(*byte) + ": ";
  if (const std::string path = place(); !path.empty()) where += "in " + path + ": ";
  throw FormatError("read", source, where + why);
}

void Tree::fail_kind(std::string_view expected, const Object& found) const {
  fail("expected " + std::string(expected) + ", found " + std::string(kind_name(found.kind())));
}

}  // namespace runrig::pickle::detail
