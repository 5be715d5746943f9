#pragma once

#include <exception>
#include <string>
#include <string_view>
#include <vector>

#include "runrig/channel/pickle.hpp"

/// The messages of CPython's managers: a request is (ident, method, args, kwargs), ident None for the server itself; a
/// response is (kind, value).
namespace runrig::detail {

struct ManagerRequest {
  pickle::Object ident;
  std::string method;
  std::vector<pickle::Object> args;
  pickle::Object kwargs;
};
/// Throws FormatError for anything else.
[[nodiscard]] ManagerRequest read_request(const pickle::Object& message);
[[nodiscard]] pickle::Object request_message(pickle::Object ident, std::string_view method,
                                             std::vector<pickle::Object> args,
                                             pickle::Object kwargs = pickle::Object::dict());

/// A request of our own to the server: a process begins a session, whose name is the argument, for as long as this
/// connection stays. Its other requests to the server name it by `session_key`. CPython's servers do not know it.
inline constexpr std::string_view session_request = "#SESSION";
inline constexpr std::string_view session_key = "#session";

[[nodiscard]] pickle::Object return_message(pickle::Object value);
/// A new object's proxy: its methods, and its Token.
[[nodiscard]] pickle::Object proxy_message(pickle::Object value);
/// The value of such a one; null for any other message. Throws FormatError.
[[nodiscard]] const pickle::Object* proxy_of_response(const pickle::Object& message);
/// What an object's method threw, as Python's exception.
[[nodiscard]] pickle::Object error_message(const std::exception_ptr& error);
/// What is shown to the caller as a text, as whatever fails in the server itself is.
[[nodiscard]] pickle::Object traceback_message(std::string_view text);
/// The value of a response. Throws what it says: Empty, Full, other exceptions as throw_python_error() does,
/// RemoteError for a text; FormatError.
[[nodiscard]] pickle::Object value_of_response(const pickle::Object& message);

}  // namespace runrig::detail
