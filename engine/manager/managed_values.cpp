#include "python_values.hpp"
#include "standard_referents.hpp"

/// Namespace, Value and Array. Objects in here are never changed, only replaced: so what a method returns is encoded
/// while others go on.
namespace runrig::detail {
namespace {

using pickle::Kind;
using pickle::Object;

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
    Object number = item.kind() == Kind::boolean ? Object(std::int64_t{item.as_bool()}) : item;
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
    if (args.at(0).kind() == Kind::slice) {  // a list, where Python gives an array.array
      const SlicePlaces places = places_of(args.at(0).as_slice(), items_.size());
      std::vector<Object> picked(places.count);
      for (std::size_t i = 0; i < places.count; ++i) picked[i] = items_[places[i]];
      return Object::list(std::move(picked));
    }
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

void add_values(ManagedTypes& types) {
  using Span = std::span<const Object>;
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
