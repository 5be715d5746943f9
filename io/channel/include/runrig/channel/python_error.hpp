#pragma once

#include <exception>
#include <memory>
#include <stdexcept>
#include <string>
#include <string_view>

#include "runrig/channel/object.hpp"

/// Python's exceptions as C++ exceptions, and back: what a Python program raised, to be thrown here, and what was
/// thrown here, to be raised there. (Between processes of one program, the engine carries C++ exceptions as what they
/// are.)
namespace runrig::pickle {

/// What every exception that came from Python is, besides the C++ type that stands for its own.
class PythonError {
 public:
  explicit PythonError(Object error) : object_(std::make_shared<const Object>(std::move(error))) {}
  virtual ~PythonError() = default;
  PythonError(const PythonError&) = default;
  PythonError& operator=(const PythonError&) = default;

  /// The whole exception, of Kind::exception.
  [[nodiscard]] const Object& object() const noexcept { return *object_; }
  /// "ValueError", "queue.Empty".
  [[nodiscard]] std::string_view type() const { return object_->exception_type(); }
  /// Whether Python's `except base` would catch it.
  [[nodiscard]] bool is(std::string_view base) const { return exception_is(type(), base); }

 private:
  std::shared_ptr<const Object> object_;  // whose copy cannot throw, as an exception's must not
};

/// "ValueError: the text", as the last line of Python's traceback.
[[nodiscard]] std::string exception_line(const Object& error);

/// Throws the C++ exception for one of Python's: it is a PythonError, what() is exception_line(), and it is an
///
///     std::out_of_range (IndexError, KeyError), std::overflow_error (OverflowError), std::invalid_argument
///     (ValueError), std::bad_alloc (MemoryError), std::system_error (OSError with an error number, which is its code),
///     runrig::TimeoutError, EndOfStream (EOFError), AuthenticationError, BufferTooShort, BrokenBarrier,
///
/// or else a std::runtime_error. Throws FormatError if `error` is no exception.
[[noreturn]] void throw_python_error(const Object& error);

/// The exception that Python has for a C++ one: the reverse of the above, a RuntimeError with what() for all others.
/// One that came from Python is what it was.
[[nodiscard]] Object to_python_error(const std::exception& error);
/// The same for what may be anything.
[[nodiscard]] Object to_python_error(const std::exception_ptr& error);

}  // namespace runrig::pickle
