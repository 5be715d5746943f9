#include <list>
#include <unordered_map>

#include "python_values.hpp"
#include "standard_referents.hpp"

/// A dictionary. Objects in here are never changed, only replaced: so what a method returns is encoded while others go
/// on.
namespace runrig::detail {
namespace {

using pickle::Kind;
using pickle::Object;

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
    const Object source = call.args.empty() ? Object::dict() : resolved(call.args[0]);
    const std::scoped_lock guard(mutex_);
    update_from(source);
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

  // Over the keys that there are now; Python's ends with an error once their number changes.
  Object iterate(Call call) {
    const Object all = keys(call);
    return Iterator::serve(call, {all.items().begin(), all.items().end()});
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
                             {"__iter__", &Dict::iterate},
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

}  // namespace

void add_dict(ManagedTypes& types) {
  using Span = std::span<const Object>;
  add_standard<Dict>(types, "dict", [](Span args, const Object& kwargs) {
    if (args.size() > 1) wrong_number_of_arguments("dict", 1, args.size());
    auto dict = std::make_shared<Dict>();
    if (!args.empty()) dict->update_from(resolved(args[0]));
    dict->update_from(kwargs);
    return dict;
  });
}

}  // namespace runrig::detail
