#include "response.hpp"

#include <stdexcept>

#include "runrig/channel/python_error.hpp"
#include "runrig/engine/managed.hpp"
#include "runrig/sync/error.hpp"

namespace runrig::detail {

using pickle::Kind;
using pickle::Object;

namespace {

Object message(const char* kind, Object value) { return Object::tuple({kind, std::move(value)}); }

[[noreturn]] void raise(const Object& exception) {
  if (exception.exception_type() == "queue.Empty") throw Empty("managed queue");
  if (exception.exception_type() == "queue.Full") throw Full("managed queue");
  pickle::throw_python_error(exception);
}

}  // namespace

ManagerRequest read_request(const Object& message) {
  if (message.kind() != Kind::tuple || message.size() != 4) {
    throw FormatError("read a request", "manager", "it is no tuple of ident, method, arguments and keywords");
  }
  const auto part = [&](std::size_t place) -> const Object& { return message.at(place); };
  if (part(2).kind() != Kind::tuple && part(2).kind() != Kind::list) {
    throw FormatError("read a request", "manager", "its arguments are no tuple");
  }
  if (part(3).kind() != Kind::dict) throw FormatError("read a request", "manager", "its keywords are no dict");
  return {part(0), part(1).as_string(), {part(2).items().begin(), part(2).items().end()}, part(3)};
}

Object request_message(Object ident, std::string_view method, std::vector<Object> args, Object kwargs) {
  return Object::tuple({std::move(ident), method, Object::tuple(std::move(args)), std::move(kwargs)});
}

Object return_message(Object value) { return message("#RETURN", std::move(value)); }
Object proxy_message(Object value) { return message("#PROXY", std::move(value)); }
Object traceback_message(std::string_view text) { return message("#TRACEBACK", text); }

Object error_message(const std::exception_ptr& error) { return message("#ERROR", python_exception(error)); }

const Object* proxy_of_response(const Object& message) {
  if (message.kind() != Kind::tuple || message.size() != 2) return nullptr;
  const Object& kind = message.at(std::size_t{0});
  if (kind.kind() != Kind::string || kind.as_string() != "#PROXY") return nullptr;
  const Object& value = message.at(std::size_t{1});
  if (value.kind() != Kind::tuple || value.size() != 2 || value.at(std::size_t{1}).kind() != Kind::manager_token) {
    throw FormatError("read a response", "manager", "its proxy is no pair of methods and token");
  }
  return &value;
}

Object value_of_response(const Object& message) {
  if (message.kind() != Kind::tuple || message.size() != 2) {
    throw FormatError("read a response", "manager", "it is no pair of kind and value");
  }
  const std::string& kind = message.at(std::size_t{0}).as_string();
  const Object& value = message.at(std::size_t{1});
  if (kind == "#RETURN") return value;
  if (kind == "#ERROR" && value.kind() == Kind::exception) raise(value);
  if ((kind == "#TRACEBACK" || kind == "#UNSERIALIZABLE") && value.kind() == Kind::string) {
    throw RemoteError("RemoteError", value.as_string(), 0, "call of a manager");
  }
  throw FormatError("read a response", "manager", "its kind '" + kind + "' is not known, or its value none of that");
}

}  // namespace runrig::detail
