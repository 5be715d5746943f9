#include "globals.hpp"

#include <array>

#include "node.hpp"
#include "text.hpp"

namespace runrig::pickle::detail {
namespace {

using Id = Global::Id;

// Protocols 0 to 2 use Python 2's module names; NumPy 2 renamed its core.
constexpr std::array<Global, 20> globals{{
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
}};

void expect(bool condition, std::string_view what) {
  if (!condition) throw Refused("arguments that Python does not write for " + std::string(what));
}

bool is_text(const Object& object, std::string_view text) {
  return object.kind() == Kind::string && object.as_string() == text;
}

bool is_int(const Object& object, std::int64_t value) {
  return object.kind() == Kind::integer && object == Object(value);
}

/// "<f8" from Python's "f8", in the machine's order.
std::string native_dtype(std::string_view code) {
  for (const char order : {'<', '|'}) {
    const std::string dtype = order + std::string(code.substr(0, 4));
    if (code.size() <= 3 && numpy_item_bytes(dtype)) return dtype;
  }
  throw Refused("a NumPy type that is not numeric: '" + printable(code) + "'");
}

Shape shape_of(const Object& tuple) {
  expect(tuple.kind() == Kind::tuple, "an array's shape");
  if (tuple.size() > max_rank) throw Refused("an array of more than " + std::to_string(max_rank) + " axes");
  Shape shape;
  for (const Object& extent : tuple.items()) {
    expect(extent.kind() == Kind::integer && extent.as_big_int().to_int64().value_or(-1) >= 0, "an array's shape");
    shape.push_back(extent.as_uint());
  }
  return shape;
}

}  // namespace

const Global* find_global(std::string_view module, std::string_view name) noexcept {
  for (const Global& each : globals) {
    if (each.module == module && each.name == name) return &each;
  }
  return nullptr;
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
      expect(arguments.empty(), "bytes");
      budget_.charge_node<BytesNode>();
      return Object::bytes(std::vector<std::byte>());
    case Id::ordered_dict:
      expect(arguments.empty(), "OrderedDict");
      budget_.charge_node<DictNode>();
      return Object::ordered_dict();
    case Id::complex:
      expect(arguments.size() == 2 && arguments[0].kind() == Kind::real && arguments[1].kind() == Kind::real,
             "complex");
      budget_.charge_node<ComplexNode>();
      return std::complex<double>(arguments[0].as_real(), arguments[1].as_real());
    case Id::ndarray:
      break;
  }
  throw Refused("'" + std::string(global.module) + " " + std::string(global.name) + "' is not to be called");
}

Object Constructor::set(Kind kind, std::span<const Object> arguments) {
  expect(arguments.size() == 1 && arguments[0].kind() == Kind::list, kind_name(kind));
  budget_.charge_node<SetNode>();
  const Object result = Access::make<SetNode>(kind);
  for (const Object& member : arguments[0].items()) add_to_set(result, member);
  return result;
}

Object Constructor::bytearray(std::span<const Object> arguments) {
  budget_.charge_node<BytesNode>();
  if (arguments.empty()) return Object::bytearray({});
  if (arguments.size() == 2 && is_text(arguments[1], "latin-1")) return Object::bytearray(latin1(arguments[0]));
  expect(arguments.size() == 1 && arguments[0].kind() == Kind::bytes, "bytearray");
  const auto bytes = arguments[0].as_bytes();
  budget_.charge_copy(bytes.size());
  return Object::bytearray({bytes.begin(), bytes.end()});
}

Object Constructor::encode(std::span<const Object> arguments) {
  expect(arguments.size() == 2 && (is_text(arguments[1], "latin1") || is_text(arguments[1], "latin-1")), "bytes");
  budget_.charge_node<BytesNode>();
  return Object::bytes(latin1(arguments[0]));
}

std::vector<std::byte> Constructor::latin1(const Object& text) {
  expect(text.kind() == Kind::string, "bytes");
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

Object Constructor::dtype(std::span<const Object> arguments) {
  // (code, align, copy); NumPy writes False, True, or 0, 1 before 1.17.
  expect(arguments.size() == 3 && arguments[0].kind() == Kind::string, "numpy.dtype");
  budget_.charge_node<DTypeNode>();
  return Access::make<DTypeNode>(native_dtype(arguments[0].as_string()));
}

Object Constructor::scalar(std::span<const Object> arguments) {
  expect(arguments.size() == 2, "a NumPy scalar");
  return array(Kind::numpy_scalar, arguments[0], Object::tuple(), Order::c, arguments[1]);
}

Object Constructor::reconstruct(std::span<const Object> arguments) {
  expect(arguments.size() == 3, "a NumPy array");
  const Node* const type = Access::raw_node(arguments[0]);
  if (type == nullptr || type->kind != kind_global || static_cast<const GlobalNode*>(type)->global.id != Id::ndarray) {
    throw Refused("a subclass of numpy.ndarray");
  }
  expect(arguments[1] == Object::tuple({0}) && arguments[2] == Object::bytes({std::byte{'b'}}), "a NumPy array");
  budget_.charge_node<ArrayNode>();
  return NdBuffer(DType::int8, Shape{0}, {});  // as in NumPy, until BUILD gives it its contents
}

Object Constructor::frombuffer(std::span<const Object> arguments) {
  expect(arguments.size() == 4, "a NumPy array");
  const bool fortran = is_text(arguments[3], "F");
  if (!fortran && !is_text(arguments[3], "C"))
    throw Refused("an array whose axes are neither in C's nor in Fortran's order");
  return array(Kind::array, arguments[1], arguments[2], fortran ? Order::fortran : Order::c, arguments[0]);
}

Object Constructor::array(Kind kind, const Object& dtype, const Object& shape_tuple, Order order, const Object& bytes) {
  expect(dtype.kind() == Kind::numpy_dtype, "a NumPy array's dtype");
  expect(bytes.kind() == Kind::bytes || bytes.kind() == Kind::bytearray, "a NumPy array's bytes");
  const Shape shape = shape_of(shape_tuple);
  const auto content = bytes.as_bytes();
  if (shape.checked_bytes(*numpy_item_bytes(dtype.as_dtype())) != content.size()) {
    throw Refused("an array of " + dtype.as_dtype() + " and shape " + to_string(shape) + " with " +
                  std::to_string(content.size()) + " bytes");
  }
  budget_.charge_node<ArrayNode>();
  // The array shares the bytes with the object that the stream made first; both are immutable here.
  return Access::make<ArrayNode>(kind, NdBuffer(dtype.as_dtype(), shape, order, content, Access::node(bytes)));
}

void Constructor::set_state(const Object& object, const Object& state) {
  const Kind kind = object.kind();
  if (kind == Kind::array) {
    expect(state.kind() == Kind::tuple && state.size() == 5 && is_int(state.at(0), 1) &&
               state.at(3).kind() == Kind::boolean,
           "a NumPy array's state");
    const Order order = state.at(3).as_bool() ? Order::fortran : Order::c;
    Access::as<ArrayNode>(object).value = array(kind, state.at(2), state.at(1), order, state.at(4)).as_array();
    return;
  }
  if (kind == Kind::numpy_dtype) {
    // (3, order, subdtype, names, fields, item size, alignment, flags); structured types would use 3 to 5.
    expect(state.kind() == Kind::tuple && state.size() == 8 && is_int(state.at(0), 3) &&
               state.at(1).kind() == Kind::string && state.at(2).is_none() && state.at(3).is_none() &&
               state.at(4).is_none(),
           "a numeric dtype's state");
    std::string& dtype = Access::as<DTypeNode>(object).value;
    const std::string& order = state.at(1).as_string();
    const std::string ordered = (order == "=" ? dtype.substr(0, 1) : order.substr(0, 2)) + dtype.substr(1);
    expect(numpy_item_bytes(ordered).has_value(), "a numeric dtype's byte order");
    dtype = ordered;
    return;
  }
  throw Refused("state for a " + std::string(kind_name(kind)));
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
