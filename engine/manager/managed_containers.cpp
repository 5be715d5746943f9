#include <algorithm>
#include <cmath>
#include <list>
#include <unordered_map>

#include "standard_referents.hpp"

/// list, dict, Namespace, Value and Array.
namespace runrig::detail {
namespace {

using pickle::Kind;
using pickle::Object;

// Objects in here are never changed, only replaced: so what a method returns is encoded while others go on.

[[noreturn]] void index_error(const char* what) {
  throw ManagedError("IndexError", {std::string(what) + " index out of range"});
}

std::size_t place_of(std::int64_t index, std::size_t size, const char* what) {
  const std::int64_t from_start = index < 0 ? index + static_cast<std::int64_t>(size) : index;
  if (from_start < 0 || from_start >= static_cast<std::int64_t>(size)) index_error(what);
  return static_cast<std::size_t>(from_start);
}

// What of Python's order there is: numbers among themselves, and strings.
bool comes_before(const Object& a, const Object& b) {
  const auto is_number = [](const Object& each) {
    return each.kind() == Kind::integer || each.kind() == Kind::real || each.kind() == Kind::boolean;
  };
  const auto number = [](const Object& each) {
    return each.kind() == Kind::boolean ? static_cast<double>(each.as_bool()) : each.as_number();
  };
  if (a.kind() == Kind::integer && b.kind() == Kind::integer) return a.as_int() < b.as_int();
  if (is_number(a) && is_number(b)) return number(a) < number(b);
  if (a.kind() == Kind::string && b.kind() == Kind::string) return a.as_string() < b.as_string();
  throw ManagedError("TypeError", {"'<' not supported between instances of '" + std::string(kind_name(a.kind())) +
                                   "' and '" + std::string(kind_name(b.kind())) + "'"});
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
    case Kind::list:
    case Kind::dict:
    case Kind::ordered_dict:
    case Kind::set:
    case Kind::bytearray:
    case Kind::array:
      throw ManagedError("TypeError", {"unhashable type: '" + std::string(kind_name(key.kind())) + "'"});
    default:
      return key;
  }
}

bool equal(const Object& a, const Object& b) {
  if (a == b) return true;
  const auto is_number = [](const Object& each) {
    return each.kind() == Kind::integer || each.kind() == Kind::real || each.kind() == Kind::boolean;
  };
  return is_number(a) && is_number(b) && canonical(a) == canonical(b);
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
    default:
      throw ManagedError("TypeError", {"'" + std::string(kind_name(iterable.kind())) + "' object is not iterable"});
  }
}

class List final : public TableReferent<List> {
 public:
  explicit List(std::vector<Object> items) : items_(std::move(items)) {}
  static const Table& table();
  [[nodiscard]] std::string text() const override { return repr(value()); }
  [[nodiscard]] Object value() const override {
    const std::scoped_lock guard(mutex_);
    return Object::list(items_);
  }

 private:
  using Call = const ManagedCall&;
  Object len(Call call) {
    const Arguments none(call.method, call.args, call.kwargs, {});
    const std::scoped_lock guard(mutex_);
    return items_.size();
  }
  Object get(Call call) {
    const Arguments args(call.method, call.args, call.kwargs, {"index"});
    const std::scoped_lock guard(mutex_);
    return items_[place_of(args.integer(0), items_.size(), "list")];
  }
  Object set(Call call) {
    const Arguments args(call.method, call.args, call.kwargs, {"index", "value"});
    const std::scoped_lock guard(mutex_);
    items_[place_of(args.integer(0), items_.size(), "list assignment")] = args.at(1);
    return {};
  }
  Object del(Call call) {
    const Arguments args(call.method, call.args, call.kwargs, {"index"});
    const std::scoped_lock guard(mutex_);
    const std::size_t place = place_of(args.integer(0), items_.size(), "list assignment");
    items_.erase(items_.begin() + static_cast<std::ptrdiff_t>(place));
    return {};
  }
  Object contains(Call call) { return find(call) != npos; }
  Object append(Call call) {
    const Arguments args(call.method, call.args, call.kwargs, {"object"});
    const std::scoped_lock guard(mutex_);
    items_.push_back(args.at(0));
    return {};
  }
  Object extend(Call call) {
    const Arguments args(call.method, call.args, call.kwargs, {"iterable"});
    const auto more = elements_of(args.at(0));
    const std::scoped_lock guard(mutex_);
    items_.insert(items_.end(), more.begin(), more.end());
    return {};
  }
  Object insert(Call call) {
    const Arguments args(call.method, call.args, call.kwargs, {"index", "object"});
    const std::scoped_lock guard(mutex_);
    const auto size = static_cast<std::int64_t>(items_.size());
    std::int64_t place = args.integer(0);
    if (place < 0) place = std::max<std::int64_t>(place + size, 0);
    items_.insert(items_.begin() + std::min(place, size), args.at(1));
    return {};
  }
  Object pop(Call call) {
    const Arguments args(call.method, call.args, call.kwargs, {"index"});
    const std::scoped_lock guard(mutex_);
    if (items_.empty()) throw ManagedError("IndexError", {"pop from empty list"});
    const std::size_t place = place_of(args.integer(0, -1), items_.size(), "pop");
    Object item = items_[place];
    items_.erase(items_.begin() + static_cast<std::ptrdiff_t>(place));
    return item;
  }
  Object remove(Call call) {
    const std::scoped_lock guard(mutex_);
    const std::size_t place = find_held(call);
    if (place == npos) throw ManagedError("ValueError", {"list.remove(x): x not in list"});
    items_.erase(items_.begin() + static_cast<std::ptrdiff_t>(place));
    return {};
  }
  Object index(Call call) {
    const std::size_t place = find(call);
    if (place == npos) throw ManagedError("ValueError", {repr(call.args[0]) + " is not in list"});
    return place;
  }
  Object count(Call call) {
    const Arguments args(call.method, call.args, call.kwargs, {"value"});
    const Object& wanted = args.at(0);
    const std::scoped_lock guard(mutex_);
    return std::count_if(items_.begin(), items_.end(), [&](const Object& each) { return equal(each, wanted); });
  }
  Object reverse(Call call) {
    const Arguments none(call.method, call.args, call.kwargs, {});
    const std::scoped_lock guard(mutex_);
    std::reverse(items_.begin(), items_.end());
    return {};
  }
  Object sort(Call call) {
    const Arguments args(call.method, call.args, call.kwargs, {"key", "reverse"});
    if (args.find(0) != nullptr && !args.at(0).is_none()) wrong_argument(call.method, "a key function cannot cross");
    const bool backwards = args.boolean(1, false);
    const std::scoped_lock guard(mutex_);
    std::vector<Object> sorted = items_;  // what cannot be compared throws halfway
    std::stable_sort(sorted.begin(), sorted.end(), [&](const Object& a, const Object& b) {
      return backwards ? comes_before(b, a) : comes_before(a, b);
    });
    items_ = std::move(sorted);
    return {};
  }
  Object clear(Call call) {
    const Arguments none(call.method, call.args, call.kwargs, {});
    const std::scoped_lock guard(mutex_);
    items_.clear();
    return {};
  }
  Object copy(Call call) {
    const Arguments none(call.method, call.args, call.kwargs, {});
    return value();
  }
  Object add(Call call) {
    const Arguments args(call.method, call.args, call.kwargs, {"value"});
    if (args.at(0).kind() != Kind::list) wrong_argument(call.method, "a list is added to lists only");
    const Object own = value();
    std::vector<Object> sum(own.items().begin(), own.items().end());
    sum.insert(sum.end(), args.at(0).items().begin(), args.at(0).items().end());
    return Object::list(std::move(sum));
  }
  Object multiply(Call call) {
    const Object own = value();
    return Object::list(repeated({own.items().begin(), own.items().end()}, call));
  }
  Object multiply_here(Call call) {
    const std::scoped_lock guard(mutex_);
    items_ = repeated(items_, call);
    return {};
  }

  static constexpr std::size_t npos = static_cast<std::size_t>(-1);
  [[nodiscard]] std::size_t find_held(Call call) const {
    const Arguments args(call.method, call.args, call.kwargs, {"value"});
    const Object& wanted = args.at(0);
    const auto found =
        std::find_if(items_.begin(), items_.end(), [&](const Object& each) { return equal(each, wanted); });
    return found == items_.end() ? npos : static_cast<std::size_t>(found - items_.begin());
  }
  [[nodiscard]] std::size_t find(Call call) const {
    const std::scoped_lock guard(mutex_);
    return find_held(call);
  }
  static std::vector<Object> repeated(const std::vector<Object>& items, Call call) {
    const Arguments args(call.method, call.args, call.kwargs, {"n"});
    const std::int64_t times = std::max<std::int64_t>(args.integer(0), 0);
    constexpr std::size_t most = std::size_t{1} << 26;
    if (times != 0 && items.size() > most / static_cast<std::size_t>(times)) throw ManagedError("MemoryError");
    std::vector<Object> result;
    for (std::int64_t i = 0; i < times; ++i) result.insert(result.end(), items.begin(), items.end());
    return result;
  }

  mutable std::mutex mutex_;
  std::vector<Object> items_;
};

const List::Table& List::table() {
  static const Table methods{{"__len__", &List::len},
                             {"__getitem__", &List::get},
                             {"__setitem__", &List::set},
                             {"__delitem__", &List::del},
                             {"__contains__", &List::contains},
                             {"__add__", &List::add},
                             {"__mul__", &List::multiply},
                             {"__rmul__", &List::multiply},
                             {"__imul__", &List::multiply_here},
                             {"append", &List::append},
                             {"clear", &List::clear},
                             {"copy", &List::copy},
                             {"count", &List::count},
                             {"extend", &List::extend},
                             {"index", &List::index},
                             {"insert", &List::insert},
                             {"pop", &List::pop},
                             {"remove", &List::remove},
                             {"reverse", &List::reverse},
                             {"sort", &List::sort}};
  return methods;
}

/// Entries in order of insertion, found by the bytes of their canonical key.
class Dict final : public TableReferent<Dict> {
 public:
  static const Table& table();
  void update_from(const Object& source) {
    if (source.kind() == Kind::dict || source.kind() == Kind::ordered_dict) {
      for (const auto& [key, value] : source.entries()) assign(key, value);
      return;
    }
    for (const Object& pair : elements_of(source)) {
      if (pair.kind() != Kind::tuple && pair.kind() != Kind::list) {
        throw ManagedError("TypeError", {"cannot convert dictionary update sequence element to a sequence"});
      }
      if (pair.size() != 2) throw ManagedError("ValueError", {"dictionary update sequence element has not two items"});
      assign(pair.at(std::size_t{0}), pair.at(std::size_t{1}));
    }
  }
  [[nodiscard]] std::string text() const override { return repr(value()); }
  [[nodiscard]] Object value() const override {
    const std::scoped_lock guard(mutex_);
    Object copy = Object::dict();
    for (const auto& [key, value] : entries_) copy.insert_or_assign(key, value);
    return copy;
  }

 private:
  using Call = const ManagedCall&;
  using Entries = std::list<Object::Pair>;
  static std::string bytes_of(const Object& key) {
    const auto bytes = pickle::dumps(canonical(key));
    return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
  }
  [[noreturn]] static void key_error(const Object& key) { throw ManagedError("KeyError", {key}); }
  void assign(const Object& key, const Object& value) {
    const auto [place, fresh] = places_.try_emplace(bytes_of(key), entries_.end());
    if (fresh) {
      place->second = entries_.insert(entries_.end(), {key, value});
    } else {
      place->second->second = value;
    }
  }
  [[nodiscard]] const Object* find(const Object& key) const {
    const auto found = places_.find(bytes_of(key));
    return found == places_.end() ? nullptr : &found->second->second;
  }
  Object take(const Object& key) {
    const auto found = places_.find(bytes_of(key));
    if (found == places_.end()) key_error(key);
    Object value = found->second->second;
    entries_.erase(found->second);
    places_.erase(found);
    return value;
  }

  Object len(Call call) {
    const Arguments none(call.method, call.args, call.kwargs, {});
    const std::scoped_lock guard(mutex_);
    return entries_.size();
  }
  Object get_item(Call call) {
    const Arguments args(call.method, call.args, call.kwargs, {"key"});
    const std::scoped_lock guard(mutex_);
    const Object* const found = find(args.at(0));
    if (found == nullptr) key_error(args.at(0));
    return *found;
  }
  Object set_item(Call call) {
    const Arguments args(call.method, call.args, call.kwargs, {"key", "value"});
    const std::scoped_lock guard(mutex_);
    assign(args.at(0), args.at(1));
    return {};
  }
  Object del_item(Call call) {
    const Arguments args(call.method, call.args, call.kwargs, {"key"});
    const std::scoped_lock guard(mutex_);
    (void)take(args.at(0));
    return {};
  }
  Object contains(Call call) {
    const Arguments args(call.method, call.args, call.kwargs, {"key"});
    const std::scoped_lock guard(mutex_);
    return find(args.at(0)) != nullptr;
  }
  Object get(Call call) {
    const Arguments args(call.method, call.args, call.kwargs, {"key", "default"});
    const std::scoped_lock guard(mutex_);
    const Object* const found = find(args.at(0));
    if (found != nullptr) return *found;
    return args.find(1) != nullptr ? args.at(1) : Object();
  }
  Object set_default(Call call) {
    const Arguments args(call.method, call.args, call.kwargs, {"key", "default"});
    const std::scoped_lock guard(mutex_);
    if (find(args.at(0)) == nullptr) assign(args.at(0), args.find(1) != nullptr ? args.at(1) : Object());
    return *find(args.at(0));
  }
  Object pop(Call call) {
    const Arguments args(call.method, call.args, call.kwargs, {"key", "default"});
    const std::scoped_lock guard(mutex_);
    if (args.find(1) != nullptr && find(args.at(0)) == nullptr) return args.at(1);
    return take(args.at(0));
  }
  Object pop_item(Call call) {
    const Arguments none(call.method, call.args, call.kwargs, {});
    const std::scoped_lock guard(mutex_);
    if (entries_.empty()) throw ManagedError("KeyError", {"popitem(): dictionary is empty"});
    const Object key = entries_.back().first;
    Object value = take(key);
    return Object::tuple({key, std::move(value)});
  }
  Object update(Call call) {
    if (call.args.size() > 1) wrong_number_of_arguments(call.method, 1, call.args.size());
    const std::scoped_lock guard(mutex_);
    if (!call.args.empty()) update_from(call.args[0]);
    update_from(call.kwargs);
    return {};
  }
  Object clear(Call call) {
    const Arguments none(call.method, call.args, call.kwargs, {});
    const std::scoped_lock guard(mutex_);
    places_.clear();
    entries_.clear();
    return {};
  }
  Object copy(Call call) {
    const Arguments none(call.method, call.args, call.kwargs, {});
    return value();
  }
  template <class Pick>
  Object picked(Call call, Pick pick) {
    const Arguments none(call.method, call.args, call.kwargs, {});
    const std::scoped_lock guard(mutex_);
    std::vector<Object> items;
    for (const auto& each : entries_) items.push_back(pick(each));
    return Object::list(std::move(items));
  }
  Object keys(Call call) {
    return picked(call, [](const Object::Pair& each) { return each.first; });
  }
  Object values(Call call) {
    return picked(call, [](const Object::Pair& each) { return each.second; });
  }
  Object items(Call call) {
    return picked(call, [](const Object::Pair& each) { return Object::tuple({each.first, each.second}); });
  }

  mutable std::mutex mutex_;
  Entries entries_;
  std::unordered_map<std::string, Entries::iterator> places_;
};

const Dict::Table& Dict::table() {
  static const Table methods{{"__len__", &Dict::len},
                             {"__getitem__", &Dict::get_item},
                             {"__setitem__", &Dict::set_item},
                             {"__delitem__", &Dict::del_item},
                             {"__contains__", &Dict::contains},
                             {"clear", &Dict::clear},
                             {"copy", &Dict::copy},
                             {"get", &Dict::get},
                             {"items", &Dict::items},
                             {"keys", &Dict::keys},
                             {"pop", &Dict::pop},
                             {"popitem", &Dict::pop_item},
                             {"setdefault", &Dict::set_default},
                             {"update", &Dict::update},
                             {"values", &Dict::values}};
  return methods;
}

class Namespace final : public TableReferent<Namespace> {
 public:
  explicit Namespace(const Object& attributes) {
    for (const auto& [name, value] : attributes.entries()) attributes_[name.as_string()] = value;
  }
  static const Table& table() {
    static const Table methods{
        {"__getattribute__", &Namespace::get}, {"__setattr__", &Namespace::set}, {"__delattr__", &Namespace::del}};
    return methods;
  }
  [[nodiscard]] std::string text() const override {
    const std::scoped_lock guard(mutex_);
    std::string inside;
    for (const auto& [name, value] : attributes_) inside += (inside.empty() ? "" : ", ") + name + "=" + repr(value);
    return "Namespace(" + inside + ")";
  }

 private:
  using Call = const ManagedCall&;
  [[noreturn]] static void none_such(const std::string& name) {
    throw ManagedError("AttributeError", {"'Namespace' object has no attribute '" + name + "'"});
  }
  static const std::string& name_of(const Arguments& args) {
    if (args.at(0).kind() != Kind::string) throw ManagedError("TypeError", {"attribute name must be string"});
    return args.at(0).as_string();
  }
  Object get(Call call) {
    const Arguments args(call.method, call.args, call.kwargs, {"name"});
    const std::scoped_lock guard(mutex_);
    const auto found = attributes_.find(name_of(args));
    if (found == attributes_.end()) none_such(name_of(args));
    return found->second;
  }
  Object set(Call call) {
    const Arguments args(call.method, call.args, call.kwargs, {"name", "value"});
    const std::scoped_lock guard(mutex_);
    attributes_[name_of(args)] = args.at(1);
    return {};
  }
  Object del(Call call) {
    const Arguments args(call.method, call.args, call.kwargs, {"name"});
    const std::scoped_lock guard(mutex_);
    if (attributes_.erase(name_of(args)) == 0) none_such(name_of(args));
    return {};
  }
  mutable std::mutex mutex_;
  std::map<std::string, Object> attributes_;
};

class Value final : public TableReferent<Value> {
 public:
  Value(std::string type_code, Object value) : type_code_(std::move(type_code)), value_(std::move(value)) {}
  static const Table& table() {
    static const Table methods{{"get", &Value::get}, {"set", &Value::set}};
    return methods;
  }
  [[nodiscard]] std::string text() const override {
    const std::scoped_lock guard(mutex_);
    return "Value('" + type_code_ + "', " + repr(value_) + ")";
  }

 private:
  Object get(const ManagedCall& call) {
    const Arguments none(call.method, call.args, call.kwargs, {});
    const std::scoped_lock guard(mutex_);
    return value_;
  }
  Object set(const ManagedCall& call) {
    const Arguments args(call.method, call.args, call.kwargs, {"value"});
    const std::scoped_lock guard(mutex_);
    value_ = args.at(0);
    return {};
  }
  mutable std::mutex mutex_;
  std::string type_code_;
  Object value_;
};

/// Numbers of one type; what does not fit it is an error, as with array.array.
class Array final : public TableReferent<Array> {
 public:
  Array(std::string type_code, const std::vector<Object>& items) : type_code_(std::move(type_code)) {
    constexpr std::string_view known = "bBhHiIlLqQfd";
    if (type_code_.size() != 1 || known.find(type_code_) == std::string_view::npos) {
      throw ManagedError("ValueError", {"bad typecode (must be b, B, h, H, i, I, l, L, q, Q, f or d)"});
    }
    for (const Object& each : items) items_.push_back(fitting(each));
  }
  static const Table& table() {
    static const Table methods{{"__len__", &Array::len}, {"__getitem__", &Array::get}, {"__setitem__", &Array::set}};
    return methods;
  }
  [[nodiscard]] std::string text() const override {
    const std::scoped_lock guard(mutex_);
    return "array('" + type_code_ + "', " + repr(Object::list(items_)) + ")";
  }

 private:
  [[nodiscard]] Object fitting(const Object& item) const {
    const bool real = type_code_ == "f" || type_code_ == "d";
    if (item.kind() != Kind::integer && item.kind() != Kind::boolean && (!real || item.kind() != Kind::real)) {
      throw ManagedError("TypeError", {real ? "must be real number" : "an integer is required"});
    }
    if (real) {
      const double value = item.kind() == Kind::boolean ? static_cast<double>(item.as_bool()) : item.as_number();
      return type_code_ == "f" ? Object(static_cast<double>(static_cast<float>(value))) : Object(value);
    }
    const Object number = item.kind() == Kind::boolean ? Object(std::int64_t{item.as_bool()}) : item;
    static const std::map<char, int> bits{{'b', 8}, {'h', 16}, {'i', 32}, {'l', 64}, {'q', 64}};
    const char code = type_code_[0];
    const int width = bits.at(static_cast<char>(code | 0x20));
    const bool is_signed = (code & 0x20) != 0;
    if (!fits(number, width, is_signed)) throw ManagedError("OverflowError", {"number does not fit the array's type"});
    return number;
  }
  static bool fits(const Object& number, int width, bool is_signed) {
    const auto small = number.as_big_int().to_int64();
    if (!small) {
      if (is_signed || width != 64) return false;
      try {
        return number.as_uint() != 0;
      } catch (const FormatError&) {
        return false;
      }
    }
    if (width == 64) return is_signed || *small >= 0;
    const std::int64_t low = is_signed ? -(std::int64_t{1} << (width - 1)) : 0;
    const std::int64_t high = (std::int64_t{1} << (is_signed ? width - 1 : width)) - 1;
    return *small >= low && *small <= high;
  }
  Object len(const ManagedCall& call) {
    const Arguments none(call.method, call.args, call.kwargs, {});
    const std::scoped_lock guard(mutex_);
    return items_.size();
  }
  Object get(const ManagedCall& call) {
    const Arguments args(call.method, call.args, call.kwargs, {"index"});
    const std::scoped_lock guard(mutex_);
    return items_[place_of(args.integer(0), items_.size(), "array")];
  }
  Object set(const ManagedCall& call) {
    const Arguments args(call.method, call.args, call.kwargs, {"index", "value"});
    const std::scoped_lock guard(mutex_);
    Object fitted = fitting(args.at(1));
    items_[place_of(args.integer(0), items_.size(), "array assignment")] = std::move(fitted);
    return {};
  }
  mutable std::mutex mutex_;
  std::string type_code_;
  std::vector<Object> items_;
};

std::string type_code_of(const Arguments& args) {
  if (args.at(0).kind() != Kind::string) throw ManagedError("TypeError", {"a typecode is a str"});
  return args.at(0).as_string();
}

}  // namespace

void add_containers(ManagedTypes& types) {
  using Span = std::span<const Object>;
  add_standard<List>(types, "list", [](Span args, const Object& kwargs) {
    const Arguments given("list", args, kwargs, {"iterable"});
    return std::make_shared<List>(given.find(0) != nullptr ? elements_of(given.at(0)) : std::vector<Object>());
  });
  add_standard<Dict>(types, "dict", [](Span args, const Object& kwargs) {
    if (args.size() > 1) wrong_number_of_arguments("dict", 1, args.size());
    auto dict = std::make_shared<Dict>();
    if (!args.empty()) dict->update_from(args[0]);
    dict->update_from(kwargs);
    return dict;
  });
  add_standard<Namespace>(types, "Namespace", [](Span args, const Object& kwargs) {
    if (!args.empty()) wrong_number_of_arguments("Namespace", 0, args.size());
    return std::make_shared<Namespace>(kwargs);
  });
  add_standard<Value>(types, "Value", [](Span args, const Object& kwargs) {
    const Arguments given("Value", args, kwargs, {"typecode", "value", "lock"});
    return std::make_shared<Value>(type_code_of(given), given.at(1));
  });
  add_standard<Array>(types, "Array", [](Span args, const Object& kwargs) {
    const Arguments given("Array", args, kwargs, {"typecode", "sequence", "lock"});
    return std::make_shared<Array>(type_code_of(given), elements_of(given.at(1)));
  });
}

}  // namespace runrig::detail
