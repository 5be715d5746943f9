#include "globals.hpp"

#include <array>
#include <limits>

#include "connection_globals.hpp"
#include "node.hpp"
#include "proxy_globals.hpp"
#include "text.hpp"

namespace runrig::pickle::detail {
namespace {

using Id = Global::Id;

// Protocols 0 to 2 use Python 2's module names; NumPy 2 renamed its core.
constexpr std::array<Global, 33> globals{{
    {"builtins", "set", Id::set},
    {"__builtin__", "set", Id::set},
    {"builtins", "frozenset", Id::frozenset},
    {"__builtin__", "frozenset", Id::frozenset},
    {"builtins", "bytes", Id::bytes},
    {"__builtin__", "bytes", Id::bytes},
    {"builtins", "bytearray", Id::bytearray},
    {"__builtin__", "bytearray", Id::bytearray},
    {"builtins", "complex", Id::complex},
    {"__builtin__", "complex", Id::complex},
    {"builtins", "slice", Id::slice},
    {"__builtin__", "slice", Id::slice},
    {"builtins", "range", Id::range},
    {"__builtin__", "xrange", Id::range},
    {"_codecs", "encode", Id::encode},
    {"collections", "OrderedDict", Id::ordered_dict},
    {"numpy", "ndarray", Id::ndarray},
    {"numpy", "dtype", Id::dtype},
    {"numpy.core.multiarray", "_reconstruct", Id::reconstruct},
    {"numpy._core.multiarray", "_reconstruct", Id::reconstruct},
    {"numpy.core.multiarray", "scalar", Id::scalar},
    {"numpy._core.multiarray", "scalar", Id::scalar},
    {"numpy.core.numeric", "_frombuffer", Id::frombuffer},
    {"numpy._core.numeric", "_frombuffer", Id::frombuffer},
    {"datetime", "date", Id::date},
    {"datetime", "time", Id::time},
    {"datetime", "datetime", Id::datetime},
    {"datetime", "timedelta", Id::timedelta},
    {"datetime", "timezone", Id::timezone},
    {managers_module, "Token", Id::token},
    {managers_module, "RebuildProxy", Id::rebuild_proxy},
    {sharer_module, "DupFd", Id::shared_handle},
    {connection_module, "rebuild_connection", Id::rebuild_connection},
}};

}  // namespace

void expect_argument(bool condition, std::string_view what) {
  if (!condition) throw Refused("arguments that Python does not write for " + std::string(what));
}

bool is_str(const Object& object, std::string_view text) {
  return object.kind() == Kind::string && object.as_string() == text;
}

bool is_int(const Object& object, std::int64_t value) {
  return object.kind() == Kind::integer && object == Object(value);
}

std::optional<Global> find_global(std::string_view module, std::string_view name) noexcept {
  for (const Global& each : globals) {
    if (each.module == module && each.name == name) return each;
  }
  if (module == managers_module) {
    const std::string_view proxy = find_proxy_type(name);
    if (!proxy.empty()) return Global{managers_module, proxy, Id::proxy_type};
  }
  const ExceptionType* const exception = find_exception_type(module, name);
  if (exception == nullptr) return std::nullopt;
  return Global{exception->module(), exception->name(), Id::exception, exception};
}

Object Constructor::call(const Global& global, std::span<const Object> arguments) {
  switch (global.id) {
    case Id::set:
      return set(Kind::set, arguments);
    case Id::frozenset:
      return set(Kind::frozenset, arguments);
    case Id::bytearray:
      return bytearray(arguments);
    case Id::encode:
      return encode(arguments);
    case Id::dtype:
      return dtype(arguments);
    case Id::scalar:
      return scalar(arguments);
    case Id::reconstruct:
      return reconstruct(arguments);
    case Id::frombuffer:
      return frombuffer(arguments);
    case Id::bytes:
      expect_argument(arguments.empty(), "bytes");
      budget_.charge_node<BytesNode>();
      return Object::bytes(std::vector<std::byte>());
    case Id::ordered_dict:
      return ordered_dict(arguments);
    case Id::complex:
      expect_argument(arguments.size() == 2 && arguments[0].kind() == Kind::real && arguments[1].kind() == Kind::real,
                      "complex");
      budget_.charge_node<ComplexNode>();
      return std::complex<double>(arguments[0].as_real(), arguments[1].as_real());
    case Id::ndarray:
      return ndarray(arguments);
    case Id::date:
      return date(arguments);
    case Id::time:
      return time(arguments);
    case Id::datetime:
      return datetime(arguments);
    case Id::timedelta:
      return timedelta(arguments);
    case Id::timezone:
      return timezone(arguments);
    case Id::exception:
      return exception(global, arguments);
    case Id::slice:
      return slice(arguments);
    case Id::range:
      return range(arguments);
    case Id::rebuild_proxy:
      return proxy(arguments);
    case Id::rebuild_connection:
      return connection(arguments);
    case Id::token:
    case Id::shared_handle:
    case Id::proxy_type:
      break;
  }
  throw Refused("'" + std::string(global.module) + " " + std::string(global.name) + "' is not to be called");
}

Object Constructor::make_new(const Global& global, std::span<const Object> arguments) {
  if (global.id == Id::token) return new_token(arguments);
  if (global.id == Id::shared_handle) return new_shared_handle(arguments);
  throw Refused("an instance of '" + std::string(global.module) + " " + std::string(global.name) +
                "', which is made in another way");
}

Object Constructor::set(Kind kind, std::span<const Object> arguments) {
  expect_argument(arguments.size() == 1 && arguments[0].kind() == Kind::list, kind_name(kind));
  budget_.charge_node<SetNode>();
  Object result = Access::make<SetNode>(kind);
  for (const Object& member : arguments[0].items()) add_to_set(result, member);
  return result;
}

// Of Python 3 it is empty here and gets its items one by one; Python 2 gives it a list of lists of two.
Object Constructor::ordered_dict(std::span<const Object> arguments) {
  constexpr std::string_view what = "OrderedDict";
  budget_.charge_node<DictNode>();
  Object result = Object::ordered_dict();
  if (arguments.empty()) return result;
  expect_argument(arguments.size() == 1 && arguments[0].kind() == Kind::list, what);
  for (const Object& pair : arguments[0].items()) {
    expect_argument((pair.kind() == Kind::list || pair.kind() == Kind::tuple) && pair.size() == 2, what);
    budget_.charge(KeyIndex::bytes_per_key);  // for doublets, too: as in add_to_set()
    add_to_dict(result, pair.items()[0], pair.items()[1]);
  }
  return result;
}

Object Constructor::bytearray(std::span<const Object> arguments) {
  budget_.charge_node<BytesNode>();
  if (arguments.empty()) return Object::bytearray({});
  if (arguments.size() == 2 && is_str(arguments[1], "latin-1")) return Object::bytearray(latin1(arguments[0]));
  expect_argument(arguments.size() == 1 && arguments[0].kind() == Kind::bytes, "bytearray");
  const auto bytes = arguments[0].as_bytes();
  budget_.charge_copy(bytes.size());
  return Object::bytearray({bytes.begin(), bytes.end()});
}

Object Constructor::encode(std::span<const Object> arguments) {
  expect_argument(arguments.size() == 2 && (is_str(arguments[1], "latin1") || is_str(arguments[1], "latin-1")),
                  "bytes");
  budget_.charge_node<BytesNode>();
  return Object::bytes(latin1(arguments[0]));
}

std::vector<std::byte> Constructor::latin1(const Object& text) {
  expect_argument(text.kind() == Kind::string, "bytes");
  std::string_view rest = text.as_string();
  budget_.charge_copy(rest.size());
  std::vector<std::byte> bytes;
  bytes.reserve(rest.size());
  while (!rest.empty()) {
    const auto character = first_character(rest);
    if (character.code > 0xFFU) throw Refused("bytes written as text with a character that is no byte");
    bytes.push_back(static_cast<std::byte>(character.code));
    rest.remove_prefix(character.bytes);
  }
  return bytes;
}

Object Constructor::slice(std::span<const Object> arguments) {
  const auto bound = [](const Object& object) -> std::optional<std::int64_t> {
    if (object.is_none()) return std::nullopt;
    expect_argument(object.kind() == Kind::integer, "slice");
    const auto value = object.as_big_int().to_int64();
    expect_argument(value.has_value(), "slice");
    return value;
  };
  expect_argument(arguments.size() == 3, "slice");
  budget_.charge_node<ValueNode<Slice>>();
  return Slice{bound(arguments[0]), bound(arguments[1]), bound(arguments[2])};
}

// The list of its numbers, which is what is wanted of one that is sent somewhere.
Object Constructor::range(std::span<const Object> arguments) {
  expect_argument(arguments.size() == 3, "range");
  std::array<std::int64_t, 3> numbers{};
  for (std::size_t i = 0; i < 3; ++i) {
    expect_argument(arguments[i].kind() == Kind::integer, "range");
    const auto value = arguments[i].as_big_int().to_int64();
    expect_argument(value.has_value(), "range");
    numbers[i] = *value;
  }
  const auto [start, stop, step] = numbers;
  expect_argument(step != 0, "range");
  // Unsigned, where differences of all 64-bit numbers fit.
  const std::uint64_t stride = step < 0 ? 0 - static_cast<std::uint64_t>(step) : static_cast<std::uint64_t>(step);
  const std::uint64_t length = step < 0 ? static_cast<std::uint64_t>(start) - static_cast<std::uint64_t>(stop)
                                        : static_cast<std::uint64_t>(stop) - static_cast<std::uint64_t>(start);
  const std::uint64_t count = (step < 0 ? stop < start : start < stop) ? (length - 1) / stride + 1 : 0;
  if (count > std::numeric_limits<std::size_t>::max() / sizeof(Object)) budget_.charge(SIZE_MAX);
  budget_.charge_node<SequenceNode>();
  budget_.charge(static_cast<std::size_t>(count) * sizeof(Object));
  std::vector<Object> items;
  items.reserve(static_cast<std::size_t>(count));
  for (std::uint64_t i = 0; i < count; ++i) {
    items.emplace_back(
        static_cast<std::int64_t>(static_cast<std::uint64_t>(start) + i * static_cast<std::uint64_t>(step)));
  }
  return Object::list(std::move(items));
}

Object Constructor::exception(const Global& global, std::span<const Object> arguments) {
  budget_.charge_node<ExceptionNode>();
  budget_.charge((arguments.size() + 1) * sizeof(Object));
  return Access::make<ExceptionNode>(exception_type_made(*global.exception, arguments),
                                     std::vector<Object>(arguments.begin(), arguments.end()));
}

void Constructor::set_state(const Object& object, const Object& state) {
  switch (object.kind()) {
    case Kind::array:
      return set_array_state(object, state);
    case Kind::numpy_dtype:
      return set_dtype_state(object, state);
    case Kind::exception:
      return set_exception_state(object, state);
    case Kind::manager_token:
      return set_token_state(object, state);
    case Kind::shared_handle:
      return set_shared_handle_state(object, state);
    default:
      throw Refused("state for a " + std::string(kind_name(object.kind())));
  }
}

void Constructor::set_exception_state(const Object& exception, const Object& state) {
  if (state.is_none()) return;
  expect_argument(state.kind() == Kind::dict, "an exception's state");
  if (state.entries().empty()) return;
  auto& node = Access::as<ExceptionNode>(exception);
  if (!node.attributes().is_none()) throw Refused("state for an exception that has some");
  node.items.back() = state;
}

Fingerprint Constructor::hash(const Object& key) {
  if (const auto fingerprint = hasher_(key)) return *fingerprint;
  throw Refused("a " + std::string(kind_name(key.kind())) + " (or what it holds) as a key");
}

void Constructor::add_to_dict(const Object& dict, const Object& key, const Object& value) {
  const auto fingerprint = hash(key);
  auto& node = Access::as<DictNode>(dict);
  if (const auto position = node.index.find(fingerprint)) {
    node.entries[*position].second = value;
    return;
  }
  budget_.charge(KeyIndex::bytes_per_key);
  budget_.grow(node.entries, 1);
  add_entry(node, fingerprint, {key, value});
}

void Constructor::add_to_set(const Object& set, const Object& member) {
  const auto fingerprint = hash(member);
  auto& node = Access::as<SetNode>(set);
  // Charged for doublets, too: a list made into a set again and again is work as well.
  budget_.charge(KeyIndex::bytes_per_key);
  if (node.index.find(fingerprint)) return;
  budget_.grow(node.members, 1);
  add_member(node, fingerprint, member);
}

}  // namespace runrig::pickle::detail
