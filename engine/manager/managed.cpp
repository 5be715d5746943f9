#include "runrig/engine/managed.hpp"

#include "runrig/channel/python_error.hpp"
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
namespace {

Object exception_of(const std::string& type, const std::vector<Object>& arguments) {
  try {
    return Object::exception(type, arguments);
  } catch (const std::logic_error&) {
    return Object::exception("RuntimeError", {type});  // it is not one of Python's
  }
}

}  // namespace

Object python_exception(const std::exception_ptr& error) {
  try {
    std::rethrow_exception(error);
  } catch (const ManagedError& managed) {
    return exception_of(managed.type(), managed.arguments());
  } catch (...) {
    return pickle::to_python_error(error);
  }
}

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
  auto referent = type->make(*this, args, Object::dict());
  shared.make = [referent, type_id](const ManagedTypes& /*types*/, std::span<const Object> given,
                                    const Object& kwargs) {
    if (!given.empty() || kwargs.size() != 0) detail::wrong_argument(type_id, "it takes no arguments");
    return referent;
  };
  types_[type_id] = std::move(shared);
}

const detail::ManagedType* ManagedTypes::find(std::string_view type_id) const noexcept {
  const auto found = types_.find(type_id);
  return found == types_.end() ? nullptr : &found->second;
}

std::shared_ptr<const detail::PoolFunction> ManagedTypes::find_function(std::string_view name) const {
  const auto found = functions_.find(name);
  return found == functions_.end() ? nullptr : found->second;
}

const detail::ManagedType& detail::registered_type(const ManagedTypes& types, const std::string& type_id,
                                                   std::type_index of) {
  const ManagedType* const type = types.find(type_id);
  if (type == nullptr || type->of != of) {
    throw std::logic_error("register a method that returns a '" + type_id +
                           "': no type of that name is registered for what it returns; register it first");
  }
  return *type;
}

ManagedTypes ManagedTypes::standard() {
  ManagedTypes types;
  detail::add_dict(types);
  detail::add_list(types);
  detail::add_pool(types);
  detail::add_locks(types);
  detail::add_queues(types);
  detail::add_semaphores(types);
  detail::add_values(types);
  return types;
}

}  // namespace runrig
