#include "runrig/channel/python_error.hpp"

#include <limits>
#include <new>
#include <optional>
#include <span>
#include <system_error>
#include <utility>
#include <vector>

#include "runrig/sync/error.hpp"

namespace runrig::pickle {
namespace {

/// An E that came from Python.
template <class E>
class Raised final : public E, public PythonError {
 public:
  template <class... Arguments>
  explicit Raised(const Object& error, Arguments&&... arguments)
      : E(std::forward<Arguments>(arguments)...), PythonError(error), line_(exception_line(error)) {}
  [[nodiscard]] const char* what() const noexcept override { return line_.what(); }

 private:
  std::runtime_error line_;  // whose copy cannot throw
};

std::optional<int> error_number(const Object& error) {
  if (error.size() < 2 || error.at(0).kind() != Kind::integer) return std::nullopt;
  const auto number = error.at(0).as_big_int().to_int64();
  if (!number || *number <= 0 || *number > std::numeric_limits<int>::max()) return std::nullopt;
  return static_cast<int>(*number);
}

std::vector<std::byte> message_of(const Object& error) {
  if (error.size() != 1 || (error.at(0).kind() != Kind::bytes && error.at(0).kind() != Kind::bytearray)) return {};
  const auto bytes = error.at(0).as_bytes();
  return {bytes.begin(), bytes.end()};
}

template <class E>
std::optional<Object> as(const std::exception& error, std::string_view type) {
  if (dynamic_cast<const E*>(&error) == nullptr) return std::nullopt;
  return Object::exception(type, {escape_text(error.what())});
}

}  // namespace

std::string exception_line(const Object& error) {
  std::string line(error.exception_type());
  // Of the number and text of an OSError, the text; of arguments of other types, their kind.
  const std::size_t shown = error_number(error) && exception_is(error.exception_type(), "OSError") ? 1 : 0;
  if (error.size() <= shown) return line;
  const Object& argument = error.at(shown);
  return line + ": " +
         (argument.kind() == Kind::string ? argument.as_string() : "(" + std::string(kind_name(argument.kind())) + ")");
}

void throw_python_error(const Object& error) {
  const std::string_view type = error.exception_type();
  const auto is = [type](std::string_view base) { return exception_is(type, base); };
  const std::string line = exception_line(error);
  if (is("IndexError") || is("KeyError")) throw Raised<std::out_of_range>(error, line);
  if (is("OverflowError")) throw Raised<std::overflow_error>(error, line);
  if (is("ValueError")) throw Raised<std::invalid_argument>(error, line);
  if (is("MemoryError")) throw Raised<std::bad_alloc>(error);
  if (is("EOFError")) throw Raised<EndOfStream>(error, line, type);
  if (is("TimeoutError") || is("multiprocessing.context.TimeoutError")) throw Raised<TimeoutError>(error, line, type);
  if (is("multiprocessing.context.AuthenticationError")) throw Raised<AuthenticationError>(error, line, type);
  if (is("multiprocessing.context.BufferTooShort")) throw Raised<BufferTooShort>(error, line, type, message_of(error));
  if (is("threading.BrokenBarrierError")) throw Raised<BrokenBarrier>(error, line);
  if (const auto number = error_number(error); number && is("OSError")) {
    throw Raised<std::system_error>(error, std::error_code(*number, std::system_category()), line);
  }
  throw Raised<std::runtime_error>(error, line);
}

Object to_python_error(const std::exception& error) {
  if (const auto* const python = dynamic_cast<const PythonError*>(&error)) return python->object();
  if (const auto* const shorter = dynamic_cast<const BufferTooShort*>(&error)) {
    return Object::exception("multiprocessing.context.BufferTooShort",
                             {Object::bytes(std::span<const std::byte>(shorter->message()))});
  }
  if (auto made = as<TimeoutError>(error, "multiprocessing.context.TimeoutError")) return *made;
  if (auto made = as<EndOfStream>(error, "EOFError")) return *made;
  if (auto made = as<AuthenticationError>(error, "multiprocessing.context.AuthenticationError")) return *made;
  if (auto made = as<BrokenBarrier>(error, "threading.BrokenBarrierError")) return *made;
  if (auto made = as<FormatError>(error, "ValueError")) return *made;
  if (const auto* const system = dynamic_cast<const std::system_error*>(&error)) {
    // A generic and a system code are both an errno here; codes of other categories mean nothing to Python.
    if (system->code().category() == std::system_category() || system->code().category() == std::generic_category()) {
      return Object::exception("OSError", {system->code().value(), escape_text(error.what())});
    }
  }
  if (auto made = as<std::bad_alloc>(error, "MemoryError")) return *made;
  if (auto made = as<std::out_of_range>(error, "IndexError")) return *made;
  if (auto made = as<std::overflow_error>(error, "OverflowError")) return *made;
  if (auto made = as<std::invalid_argument>(error, "ValueError")) return *made;
  if (auto made = as<std::domain_error>(error, "ValueError")) return *made;
  if (auto made = as<std::length_error>(error, "ValueError")) return *made;
  if (auto made = as<std::range_error>(error, "ValueError")) return *made;
  return Object::exception("RuntimeError", {escape_text(error.what())});
}

Object to_python_error(const std::exception_ptr& error) {
  try {
    std::rethrow_exception(error);
  } catch (const std::exception& known) {
    return to_python_error(known);
  } catch (...) {
    return Object::exception("RuntimeError", {"something was thrown that is no std::exception"});
  }
}

}  // namespace runrig::pickle
