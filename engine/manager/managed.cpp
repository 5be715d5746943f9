#include "runrig/engine/managed.hpp"

#include "standard_referents.hpp"

namespace runrig {

using pickle::Object;

namespace {

std::string describe(const std::string& type, const std::vector<Object>& arguments) {
  const bool said = !arguments.empty() && arguments.front().kind() == pickle::Kind::string;
  return said ? type + ": " + arguments.front().as_string() : type;
}

}  // namespace

ManagedError::ManagedError(std::string type, std::vector<Object> arguments)
    : std::runtime_error(describe(type, arguments)),
      type_(std::move(type)),
      arguments_(std::make_shared<const std::vector<Object>>(std::move(arguments))) {}

namespace detail {

Object Referent::value() const { throw ManagedError("TypeError", {"this object has no value of its own"}); }

void wrong_number_of_arguments(std::string_view what, std::size_t expected, std::size_t given) {
  throw ManagedError("TypeError", {std::string(what) + "() takes " + std::to_string(expected) + " arguments, and " +
                                   std::to_string(given) + " were given"});
}
void wrong_argument(std::string_view what, const char* why) {
  throw ManagedError("TypeError", {std::string(what) + "(): " + why});
}
void not_exposed(std::string_view method) {
  throw ManagedError("AttributeError", {"method '" + std::string(method) + "' is not exposed"});
}

}  // namespace detail

void ManagedTypes::share(const std::string& type_id, const std::string& registered, std::vector<Object> args) {
  const detail::ManagedType* const type = find(registered);
  if (type == nullptr) {
    throw std::logic_error("share '" + type_id + "': no type '" + registered + "' is registered");
  }
  detail::ManagedType shared = *type;
  const auto referent = type->make(args, Object::dict());
  shared.make = [referent, type_id](std::span<const Object> given, const Object& kwargs) {
    if (!given.empty() || kwargs.size() != 0) detail::wrong_argument(type_id, "it takes no arguments");
    return referent;
  };
  types_[type_id] = std::move(shared);
}

const detail::ManagedType* ManagedTypes::find(std::string_view type_id) const noexcept {
  const auto found = types_.find(type_id);
  return found == types_.end() ? nullptr : &found->second;
}

ManagedTypes ManagedTypes::standard() {
  ManagedTypes types;
  detail::add_dict(types);
  detail::add_list(types);
  detail::add_locks(types);
  detail::add_queues(types);
  detail::add_values(types);
  return types;
}

}  // namespace runrig
