#pragma once

#include <span>
#include <string_view>

#include "runrig/channel/object.hpp"

namespace runrig::pickle::detail {

/// An exception of Python's standard library.
struct ExceptionType {
  std::string_view type;  ///< "ValueError" of builtins, "queue.Empty" of other modules
  std::string_view base;  ///< empty for BaseException
  bool in_python2 = false;

  /// "builtins" for those without a dot.
  [[nodiscard]] std::string_view module() const noexcept;
  [[nodiscard]] std::string_view name() const noexcept;
};

/// By its type; null for others.
[[nodiscard]] const ExceptionType* find_exception_type(std::string_view type) noexcept;
/// By what a pickle names it: protocols 0 to 2 use Python 2's names. Null for others.
[[nodiscard]] const ExceptionType* find_exception_type(std::string_view module, std::string_view name) noexcept;
/// What calling `type` makes: of OSError with an error number, the type that Python has for that number.
[[nodiscard]] const ExceptionType& exception_type_made(const ExceptionType& type, std::span<const Object> arguments);

}  // namespace runrig::pickle::detail
