#include <algorithm>

#include "python_values.hpp"
#include "standard_referents.hpp"

/// A list. Objects in here are never changed, only replaced: so what a method returns is encoded while others go on.
namespace runrig::detail {
namespace {

using pickle::Kind;
using pickle::Object;

// What of Python's order there is: numbers among themselves, and strings.
bool comes_before(const Object& a, const Object& b) {
  const auto number = [](const Object& each) {
    return each.kind() == Kind::boolean ? static_cast<double>(each.as_bool()) : each.as_number();
  };
  if (a.kind() == Kind::integer && b.kind() == Kind::integer) return a.as_int() < b.as_int();
  if (is_number(a) && is_number(b)) return number(a) < number(b);
  if (a.kind() == Kind::string && b.kind() == Kind::string) return a.as_string() < b.as_string();
  throw ManagedError("TypeError", {"'<' not supported between instances of '" + std::string(kind_name(a.kind())) +
                                   "' and '" + std::string(kind_name(b.kind())) + "'"});
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
    if (args.at(0).kind() == Kind::slice) {
      const SlicePlaces places = places_of(args.at(0).as_slice(), items_.size());
      std::vector<Object> picked(places.count);
      for (std::size_t i = 0; i < places.count; ++i) picked[i] = items_[places[i]];
      return Object::list(std::move(picked));
    }
    return items_[place_of(args.integer(0), items_.size(), "list")];
  }
  Object set(Call call) {
    const Arguments args(call.method, call.args, call.kwargs, {"index", "value"});
    const bool is_slice = args.at(0).kind() == Kind::slice;
    auto values = is_slice ? elements_of(args.at(1)) : std::vector<Object>();
    const std::scoped_lock guard(mutex_);
    if (is_slice) return set_slice(args.at(0).as_slice(), std::move(values));
    items_[place_of(args.integer(0), items_.size(), "list assignment")] = args.at(1);
    return {};
  }
  Object del(Call call) {
    const Arguments args(call.method, call.args, call.kwargs, {"index"});
    const std::scoped_lock guard(mutex_);
    if (args.at(0).kind() == Kind::slice) return del_slice(args.at(0).as_slice());
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

  Object reversed(Call call) {
    const Arguments none(call.method, call.args, call.kwargs, {});
    const Object own = value();
    return Iterator::serve(call, {own.items().rbegin(), own.items().rend()});
  }

  // With the mutex held.
  Object set_slice(const pickle::Slice& slice, std::vector<Object> values) {
    const SlicePlaces places = places_of(slice, items_.size());
    if (places.step == 1) {
      const auto first = items_.begin() + places.start;
      const auto rest = items_.erase(first, first + static_cast<std::ptrdiff_t>(places.count));
      items_.insert(rest, values.begin(), values.end());
      return {};
    }
    if (values.size() != places.count) {
      throw ManagedError("ValueError", {"attempt to assign sequence of size " + std::to_string(values.size()) +
                                        " to extended slice of size " + std::to_string(places.count)});
    }
    for (std::size_t i = 0; i < places.count; ++i) items_[places[i]] = std::move(values[i]);
    return {};
  }
  Object del_slice(const pickle::Slice& slice) {
    const SlicePlaces places = places_of(slice, items_.size());
    std::vector<bool> taken(items_.size(), false);
    for (std::size_t i = 0; i < places.count; ++i) taken[places[i]] = true;
    std::vector<Object> left;
    for (std::size_t i = 0; i < items_.size(); ++i) {
      if (!taken[i]) left.push_back(std::move(items_[i]));
    }
    items_ = std::move(left);
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
    if (times != 0 && items.size() > most_copied / static_cast<std::size_t>(times)) throw ManagedError("MemoryError");
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
                             {"__reversed__", &List::reversed},
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

}  // namespace

void add_list(ManagedTypes& types) {
  using Span = std::span<const Object>;
  add_standard<List>(types, "list", [](Span args, const Object& kwargs) {
    const Arguments given("list", args, kwargs, {"iterable"});
    return std::make_shared<List>(given.find(0) != nullptr ? elements_of(given.at(0)) : std::vector<Object>());
  });
}

}  // namespace runrig::detail
