#include "runrig/channel/object.hpp"

#include <stdexcept>

#include "connection_globals.hpp"
#include "node.hpp"
#include "proxy_globals.hpp"
#include "runrig/sync/error.hpp"
#include "text.hpp"

namespace runrig::pickle {

using detail::Access;

std::string_view kind_name(Kind kind) noexcept {
  switch (kind) {
    case Kind::none:
      return "NoneType";
    case Kind::boolean:
      return "bool";
    case Kind::integer:
      return "int";
    case Kind::real:
      return "float";
    case Kind::complex:
      return "complex";
    case Kind::string:
      return "str";
    case Kind::bytes:
      return "bytes";
    case Kind::bytearray:
      return "bytearray";
    case Kind::list:
      return "list";
    case Kind::tuple:
      return "tuple";
    case Kind::dict:
      return "dict";
    case Kind::ordered_dict:
      return "OrderedDict";
    case Kind::set:
      return "set";
    case Kind::frozenset:
      return "frozenset";
    case Kind::array:
      return "numpy.ndarray";
    case Kind::numpy_scalar:
      return "NumPy scalar";
    case Kind::numpy_dtype:
      return "numpy.dtype";
    case Kind::date:
      return "datetime.date";
    case Kind::time:
      return "datetime.time";
    case Kind::datetime:
      return "datetime.datetime";
    case Kind::timedelta:
      return "datetime.timedelta";
    case Kind::timezone:
      return "datetime.timezone";
    case Kind::slice:
      return "slice";
    case Kind::exception:
      return "exception";
    case Kind::manager_token:
      return "multiprocessing.managers.Token";
    case Kind::proxy:
      return "manager's proxy";
    case Kind::shared_handle:
      return "multiprocessing.resource_sharer.DupFd";
    case Kind::connection:
      return "multiprocessing.connection.Connection";
  }
  return "class or function";
}

namespace {

[[noreturn]] void throw_kind(std::string_view wanted, Kind found) {
  throw FormatError("read", "object", "expected " + std::string(wanted) + ", found " + std::string(kind_name(found)));
}

template <class NodeType>
const NodeType& expect(const Object& object, Kind wanted) {
  if (object.kind() != wanted) throw_kind(kind_name(wanted), object.kind());
  return Access::as<NodeType>(object);
}

bool is_dict(Kind kind) noexcept { return kind == Kind::dict || kind == Kind::ordered_dict; }
bool is_set(Kind kind) noexcept { return kind == Kind::set || kind == Kind::frozenset; }
bool is_sequence(Kind kind) noexcept { return kind == Kind::list || kind == Kind::tuple; }

detail::DictNode& expect_dict(const Object& object) {
  if (!is_dict(object.kind())) throw_kind("dict", object.kind());
  return Access::as<detail::DictNode>(object);
}

detail::Fingerprint hash_key(const Object& key) {
  if (const auto fingerprint = detail::KeyHasher()(key)) return *fingerprint;
  throw std::logic_error("a " + std::string(kind_name(key.kind())) + " (or what it holds) cannot be a key");
}

Object make_dict(Kind kind, std::initializer_list<Object::Pair> entries) {
  Object result = Access::make<detail::DictNode>(kind);
  for (const auto& [key, value] : entries) result.insert_or_assign(key, value);
  return result;
}

Object make_set(Kind kind, std::vector<Object>&& members) {
  Object result = Access::make<detail::SetNode>(kind);
  auto& node = Access::as<detail::SetNode>(result);
  detail::KeyHasher hasher;
  for (auto& member : members) {
    const auto key = hasher(member);
    if (!key) (void)hash_key(member);  // throws, with the reason
    if (!node.index.find(*key)) detail::add_member(node, *key, std::move(member));
  }
  return result;
}

}  // namespace

Object::Object(std::complex<double> value) : Object(Access::make<detail::ComplexNode>(value)) {}
Object::Object(std::string text) : Object(Access::make<detail::TextNode>(std::move(text))) {}
Object::Object(NdBuffer array) : Object(Access::make<detail::ArrayNode>(Kind::array, std::move(array))) {}
Object::Object(BigInt value) {
  if (const auto small = value.to_int64()) {
    value_ = *small;
  } else {
    *this = Access::make<detail::BigIntNode>(std::move(value));
  }
}

namespace {
template <class Value>
const Value& checked(const Value& value) {
  if (const char* const fault = find_fault(value)) throw std::logic_error(fault);
  return value;
}
}  // namespace
Object::Object(const Date& value) : Object(Access::make<detail::ValueNode<Date>>(Kind::date, checked(value))) {}
Object::Object(const Time& value) : Object(Access::make<detail::ValueNode<Time>>(Kind::time, checked(value))) {}
Object::Object(const DateTime& value)
    : Object(Access::make<detail::ValueNode<DateTime>>(Kind::datetime, checked(value))) {}
Object::Object(const TimeDelta& value)
    : Object(Access::make<detail::ValueNode<TimeDelta>>(Kind::timedelta, checked(value))) {}
Object::Object(const TimeZone& value)
    : Object(Access::make<detail::ValueNode<TimeZone>>(Kind::timezone, checked(value))) {}

Object::Object(const Slice& value) : Object(Access::make<detail::ValueNode<Slice>>(Kind::slice, value)) {}
Object::Object(const Token& value) : Object(Access::make<detail::TokenNode>(Kind::manager_token, value, true)) {}
Object::Object(const ProxyState& value) : Object(Access::make<detail::ProxyNode>(value)) {
  if (detail::find_proxy_type(value.type).empty()) {
    throw std::logic_error("make a proxy of type '" + detail::printable(value.type) + "', which Python does not have");
  }
}

namespace {
const SharedHandle& checked(const SharedHandle& value) {
  if (!detail::is_possible(value)) {
    throw std::logic_error("share a descriptor as number " + std::to_string(value.key) + " of '" +
                           to_string(value.sharer) + "': it takes a Unix socket and a number above 0");
  }
  return value;
}
}  // namespace
Object::Object(const SharedHandle& value)
    : Object(Access::make<detail::SharedHandleNode>(Kind::shared_handle, checked(value), true)) {}
Object::Object(const SharedConnection& value) : Object(Access::make<detail::ConnectionNode>(Kind::connection, value)) {
  (void)checked(value.handle);
  if (!value.readable && !value.writable) throw std::logic_error("share a connection that neither receives nor sends");
}

Object Object::from_unsigned(std::uint64_t value) { return BigInt::from_unsigned(value); }
Object Object::bytes(std::vector<std::byte> value) {
  return Access::make<detail::BytesNode>(Kind::bytes, std::move(value));
}
Object Object::bytes(std::span<const std::byte> value) {
  return bytes(std::vector<std::byte>(value.begin(), value.end()));
}
Object Object::bytearray(std::vector<std::byte> value) {
  return Access::make<detail::BytesNode>(Kind::bytearray, std::move(value));
}
Object Object::list(std::vector<Object> items) {
  return Access::make<detail::SequenceNode>(Kind::list, std::move(items));
}
Object Object::tuple(std::vector<Object> items) {
  return Access::make<detail::SequenceNode>(Kind::tuple, std::move(items));
}
Object Object::dict(std::initializer_list<Pair> entries) { return make_dict(Kind::dict, entries); }
Object Object::ordered_dict(std::initializer_list<Pair> entries) { return make_dict(Kind::ordered_dict, entries); }
Object Object::set(std::vector<Object> members) { return make_set(Kind::set, std::move(members)); }
Object Object::frozenset(std::vector<Object> members) { return make_set(Kind::frozenset, std::move(members)); }

Object Object::numpy_scalar(NdBuffer value) {
  if (value.shape().rank() != 0) throw std::logic_error("a NumPy scalar has the shape ()");
  return Access::make<detail::ArrayNode>(Kind::numpy_scalar, std::move(value));
}

Object Object::exception(std::string_view type, std::vector<Object> arguments, Object attributes) {
  const auto* const known = detail::find_exception_type(type);
  if (known == nullptr) {
    throw std::logic_error("make an exception of type '" + detail::printable(type) +
                           "', which is no type of Python's standard library that is known here");
  }
  if (!attributes.is_none() && !is_dict(attributes.kind())) {
    throw std::logic_error("attributes of an exception that are a " + std::string(kind_name(attributes.kind())) +
                           ", not a dict");
  }
  const auto& made = detail::exception_type_made(*known, arguments);
  return Access::make<detail::ExceptionNode>(made, std::move(arguments), std::move(attributes));
}

Object Object::back_reference(const Object& container) {
  const auto target = container.node();
  if (target == nullptr) throw std::logic_error("a back reference needs a container");
  target->weakly_referenced = true;
  Object result;
  result.value_ = WeakNode(target);
  return result;
}

Object::StrongNode Object::node() const {
  if (const auto* const strong = std::get_if<StrongNode>(&value_)) return *strong;
  const auto* const weak = std::get_if<WeakNode>(&value_);
  if (weak == nullptr) return nullptr;
  if (auto target = weak->lock()) return target;
  throw std::logic_error("the container that this refers back to is gone");
}

Kind Object::kind() const {
  switch (value_.index()) {
    case 0:
      return Kind::none;
    case 1:
      return Kind::boolean;
    case 2:
      return Kind::integer;
    case 3:
      return Kind::real;
    case 4:
      return std::get<StrongNode>(value_)->kind;
    default:
      return node()->kind;
  }
}

bool Object::as_bool() const {
  if (const bool* const value = std::get_if<bool>(&value_)) return *value;
  throw_kind("bool", kind());
}

std::int64_t Object::as_int() const {
  if (const auto* const value = std::get_if<std::int64_t>(&value_)) return *value;
  throw_kind("int of 64 bits", kind());
}

std::uint64_t Object::as_uint() const {
  if (kind() == Kind::integer) {
    if (const auto value = as_big_int().to_uint64()) return *value;
  }
  throw_kind("unsigned int of 64 bits", kind());
}

BigInt Object::as_big_int() const {
  if (const auto* const small = std::get_if<std::int64_t>(&value_)) return BigInt(*small);
  return expect<detail::BigIntNode>(*this, Kind::integer).value;
}

double Object::as_real() const {
  if (const double* const value = std::get_if<double>(&value_)) return *value;
  throw_kind("float", kind());
}

double Object::as_number() const {
  if (const auto* const value = std::get_if<std::int64_t>(&value_)) return static_cast<double>(*value);
  if (kind() == Kind::integer) return static_cast<double>(as_uint());
  return as_real();
}

std::complex<double> Object::as_complex() const { return expect<detail::ComplexNode>(*this, Kind::complex).value; }

const std::string& Object::as_string() const { return expect<detail::TextNode>(*this, Kind::string).value; }

std::span<const std::byte> Object::as_bytes() const {
  if (kind() != Kind::bytes && kind() != Kind::bytearray) throw_kind("bytes", kind());
  return Access::as<detail::BytesNode>(*this).value;
}

const NdBuffer& Object::as_array() const {
  if (kind() != Kind::array && kind() != Kind::numpy_scalar) throw_kind(kind_name(Kind::array), kind());
  return Access::as<detail::ArrayNode>(*this).value;
}

const std::string& Object::as_dtype() const { return expect<detail::DTypeNode>(*this, Kind::numpy_dtype).value; }

const Date& Object::as_date() const { return expect<detail::ValueNode<Date>>(*this, Kind::date).value; }
const Time& Object::as_time() const { return expect<detail::ValueNode<Time>>(*this, Kind::time).value; }
const DateTime& Object::as_datetime() const { return expect<detail::ValueNode<DateTime>>(*this, Kind::datetime).value; }
const TimeDelta& Object::as_timedelta() const {
  return expect<detail::ValueNode<TimeDelta>>(*this, Kind::timedelta).value;
}
const TimeZone& Object::as_timezone() const { return expect<detail::ValueNode<TimeZone>>(*this, Kind::timezone).value; }
const Slice& Object::as_slice() const { return expect<detail::ValueNode<Slice>>(*this, Kind::slice).value; }
const Token& Object::as_token() const { return expect<detail::TokenNode>(*this, Kind::manager_token).value; }
const ProxyState& Object::as_proxy() const { return expect<detail::ProxyNode>(*this, Kind::proxy).value; }
const SharedHandle& Object::as_shared_handle() const {
  return expect<detail::SharedHandleNode>(*this, Kind::shared_handle).value;
}
const SharedConnection& Object::as_connection() const {
  return expect<detail::ConnectionNode>(*this, Kind::connection).value;
}

std::string_view Object::exception_type() const {
  return expect<detail::ExceptionNode>(*this, Kind::exception).type.type;
}
const Object& Object::exception_attributes() const {
  return expect<detail::ExceptionNode>(*this, Kind::exception).attributes();
}

std::size_t Object::size() const { return is_dict(kind()) ? entries().size() : items().size(); }

std::span<const Object> Object::items() const {
  if (is_sequence(kind())) return Access::as<detail::SequenceNode>(*this).items;
  if (is_set(kind())) return Access::as<detail::SetNode>(*this).members;
  if (kind() == Kind::exception) return Access::as<detail::ExceptionNode>(*this).arguments();
  throw_kind("list, tuple or set", kind());
}

const Object& Object::at(std::size_t index) const {
  const auto all = items();
  if (index < all.size()) return all[index];
  throw FormatError("read", "object",
                    "no element " + std::to_string(index) + " in a " + std::string(kind_name(kind())) + " of " +
                        std::to_string(all.size()));
}

std::span<const Object::Pair> Object::entries() const { return expect_dict(*this).entries; }

const Object* Object::find(std::string_view key) const {
  const auto& dict = expect_dict(*this);
  const auto position = dict.index.find(detail::KeyHasher::of_text(key));
  return position ? &dict.entries[*position].second : nullptr;
}

const Object* Object::find(const Object& key) const {
  const auto& dict = expect_dict(*this);
  const auto position = dict.index.find(hash_key(key));
  return position ? &dict.entries[*position].second : nullptr;
}

const Object& Object::at(std::string_view key) const {
  if (const Object* const value = find(key)) return *value;
  throw FormatError("read", "object", "no key '" + detail::printable(key) + "'");
}

bool Object::contains(const Object& member) const {
  if (!is_set(kind())) throw_kind("set", kind());
  return Access::as<detail::SetNode>(*this).index.find(hash_key(member)).has_value();
}

void Object::append(Object item) {
  if (kind() != Kind::list) throw std::logic_error("append to a " + std::string(kind_name(kind())));
  Access::as<detail::SequenceNode>(*this).items.push_back(std::move(item));
}

void Object::insert_or_assign(Object key, Object value) {
  if (!is_dict(kind())) throw std::logic_error("assign in a " + std::string(kind_name(kind())));
  auto& dict = Access::as<detail::DictNode>(*this);
  const auto fingerprint = hash_key(key);
  if (const auto position = dict.index.find(fingerprint)) {
    dict.entries[*position].second = std::move(value);
    return;
  }
  detail::add_entry(dict, fingerprint, {std::move(key), std::move(value)});
}

bool Object::insert(Object member) {
  if (kind() != Kind::set) throw std::logic_error("insert into a " + std::string(kind_name(kind())));
  auto& set = Access::as<detail::SetNode>(*this);
  const auto fingerprint = hash_key(member);
  if (set.index.find(fingerprint)) return false;
  detail::add_member(set, fingerprint, std::move(member));
  return true;
}

}  // namespace runrig::pickle
