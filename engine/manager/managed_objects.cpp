#include <fmt/format.h>

#include <algorithm>

#include "runrig/channel/proxy_state.hpp"
#include "standard_referents.hpp"

/// What the standard referents share.
namespace runrig::detail {

using pickle::Kind;
using pickle::Object;

Arguments::Arguments(std::string_view method, std::span<const Object> args, const Object& kwargs,
                     std::initializer_list<const char*> names)
    : method_(method), names_(names.begin(), names.end()), values_(names.size(), nullptr) {
  if (args.size() > names_.size()) wrong_number_of_arguments(method_, names_.size(), args.size());
  for (std::size_t i = 0; i < args.size(); ++i) values_[i] = &args[i];
  for (const auto& [name, value] : kwargs.entries()) {
    const auto found =
        name.kind() == Kind::string ? std::find(names_.begin(), names_.end(), name.as_string()) : names_.end();
    const auto place = static_cast<std::size_t>(found - names_.begin());
    if (found == names_.end() || values_[place] != nullptr) {
      wrong_argument(method_, "an argument of that name is not known, or was given twice");
    }
    values_[place] = &value;
  }
}

const Object& Arguments::at(std::size_t place) const {
  if (values_.at(place) == nullptr) wrong_argument(method_, ("'" + names_[place] + "' is missing").c_str());
  return *values_[place];
}

std::int64_t Arguments::integer(std::size_t place) const {
  const Object& value = at(place);
  if (value.kind() == Kind::boolean) return value.as_bool() ? 1 : 0;
  if (value.kind() != Kind::integer) wrong_argument(method_, ("'" + names_[place] + "' is no int").c_str());
  const auto number = value.as_big_int().to_int64();
  if (!number) throw ManagedError("OverflowError", {"int too large"});
  return *number;
}

std::int64_t Arguments::integer(std::size_t place, std::int64_t otherwise) const {
  return find(place) == nullptr ? otherwise : integer(place);
}

bool Arguments::boolean(std::size_t place, bool otherwise) const {
  if (find(place) == nullptr) return otherwise;
  const Object& value = at(place);
  return value.kind() == Kind::boolean ? value.as_bool() : integer(place) != 0;
}

Deadline Arguments::deadline(std::size_t place) const {
  const Object* const value = find(place);
  if (value == nullptr || value->is_none()) return {};
  if (value->kind() != Kind::real && value->kind() != Kind::integer) {
    wrong_argument(method_, "a timeout is a number of seconds, or None");
  }
  return Deadline::after(std::chrono::duration<double>(value->as_number()));
}

Deadline acquire_deadline(const ManagedCall& call) {
  const Arguments args(call.method, call.args, call.kwargs, {"blocking", "timeout"});
  if (!args.boolean(0, true)) return Deadline::after(std::chrono::nanoseconds(0));
  const Object* const timeout = args.find(1);
  if (timeout == nullptr || timeout->is_none() || timeout->as_number() < 0) return {};
  return args.deadline(1);
}

const Iterator::Table& Iterator::table() {
  static const Table methods{{"__next__", &Iterator::next},
                             {"send", &Iterator::send},
                             {"throw", &Iterator::raise},
                             {"close", &Iterator::close}};
  return methods;
}

Object Iterator::serve(const ManagedCall& call, Next next) {
  return call.caller.serve(std::make_shared<Iterator>(std::move(next)), "Iterator", exposed());
}

Object Iterator::serve(const ManagedCall& call, std::vector<Object> items) {
  return serve(call, [items = std::move(items), at = std::size_t{0}](const ManagedCall&) mutable {
    return at < items.size() ? std::optional(items[at++]) : std::nullopt;
  });
}

Object Iterator::next(const ManagedCall& call) {
  const std::scoped_lock guard(mutex_);
  auto element = next_ ? next_(call) : std::nullopt;
  if (element) return *std::move(element);
  next_ = nullptr;
  throw ManagedError("StopIteration");
}

Object Iterator::send(const ManagedCall& call) {
  const Arguments args(call.method, call.args, call.kwargs, {"value"});
  if (!args.at(0).is_none()) wrong_argument(call.method, "there is no generator that takes values here");
  return next({call.method, {}, Object::dict(), call.caller});
}

// A generator that does not catch it: it ends, and the exception comes back.
Object Iterator::raise(const ManagedCall& call) {
  const Arguments args(call.method, call.args, call.kwargs, {"type", "value", "traceback"});
  {
    const std::scoped_lock guard(mutex_);
    next_ = nullptr;
  }
  const Object& given = args.at(0);
  if (given.kind() != Kind::exception) wrong_argument(call.method, "exceptions must derive from BaseException");
  const auto arguments = given.items();
  throw ManagedError(std::string(given.exception_type()), {arguments.begin(), arguments.end()});
}

Object Iterator::close(const ManagedCall& call) {
  const Arguments none(call.method, call.args, call.kwargs, {});
  const std::scoped_lock guard(mutex_);
  next_ = nullptr;
  return {};
}

namespace {

std::string quoted(std::string_view text) {
  std::string result = "'";
  for (const char each : text) {
    if (each == '\'' || each == '\\') result += '\\';
    if (each == '\n') {
      result += "\\n";
    } else {
      result += each;
    }
  }
  return result + "'";
}

std::string joined(std::span<const Object> items, int depth) {
  std::string result;
  for (const Object& each : items) result += (result.empty() ? "" : ", ") + repr(each, depth + 1);
  return result;
}

std::string real_text(double value) {
  std::string text = fmt::format("{}", value);
  return text.find_first_of(".enai") == std::string::npos ? text + ".0" : text;
}

}  // namespace

std::string repr(const Object& object, int depth) {
  // Deeper ones would be shown to nobody's use.
  if (depth > 20) return "...";
  switch (object.kind()) {
    case Kind::none:
      return "None";
    case Kind::boolean:
      return object.as_bool() ? "True" : "False";
    case Kind::integer: {
      const auto number = object.as_big_int().to_int64();
      return number ? std::to_string(*number) : "<a large int>";
    }
    case Kind::real:
      return real_text(object.as_real());
    case Kind::string:
      return quoted(object.as_string());
    case Kind::list:
      return "[" + joined(object.items(), depth) + "]";
    case Kind::tuple:
      return "(" + joined(object.items(), depth) + (object.size() == 1 ? ",)" : ")");
    case Kind::dict: {
      std::string result;
      for (const auto& [key, value] : object.entries()) {
        result += (result.empty() ? "" : ", ") + repr(key, depth + 1) + ": " + repr(value, depth + 1);
      }
      return "{" + result + "}";
    }
    case Kind::proxy: {
      const pickle::ProxyState& proxy = object.as_proxy();
      return "<" + proxy.type + " object, typeid " + quoted(proxy.token.type_id) + " at 0x" + proxy.token.id + ">";
    }
    default:
      return "<" + std::string(pickle::kind_name(object.kind())) + ">";
  }
}

}  // namespace runrig::detail
