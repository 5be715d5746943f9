#include "exception_types.hpp"

#include <algorithm>
#include <array>
#include <cerrno>

namespace runrig::pickle {
namespace detail {
namespace {

// Bases stand before what derives from them.
constexpr std::array exception_types{
    ExceptionType{"BaseException", "", true},
    ExceptionType{"BaseExceptionGroup", "BaseException"},
    ExceptionType{"GeneratorExit", "BaseException", true},
    ExceptionType{"KeyboardInterrupt", "BaseException", true},
    ExceptionType{"SystemExit", "BaseException", true},
    ExceptionType{"Exception", "BaseException", true},
    ExceptionType{"ExceptionGroup", "BaseExceptionGroup"},  // and of Exception
    ExceptionType{"ArithmeticError", "Exception", true},
    ExceptionType{"FloatingPointError", "ArithmeticError", true},
    ExceptionType{"OverflowError", "ArithmeticError", true},
    ExceptionType{"ZeroDivisionError", "ArithmeticError", true},
    ExceptionType{"AssertionError", "Exception", true},
    ExceptionType{"AttributeError", "Exception", true},
    ExceptionType{"BufferError", "Exception", true},
    ExceptionType{"EOFError", "Exception", true},
    ExceptionType{"ImportError", "Exception", true},
    ExceptionType{"ModuleNotFoundError", "ImportError"},
    ExceptionType{"LookupError", "Exception", true},
    ExceptionType{"IndexError", "LookupError", true},
    ExceptionType{"KeyError", "LookupError", true},
    ExceptionType{"MemoryError", "Exception", true},
    ExceptionType{"NameError", "Exception", true},
    ExceptionType{"UnboundLocalError", "NameError", true},
    ExceptionType{"OSError", "Exception", true},
    ExceptionType{"BlockingIOError", "OSError"},
    ExceptionType{"ChildProcessError", "OSError"},
    ExceptionType{"ConnectionError", "OSError"},
    ExceptionType{"BrokenPipeError", "ConnectionError"},
    ExceptionType{"ConnectionAbortedError", "ConnectionError"},
    ExceptionType{"ConnectionRefusedError", "ConnectionError"},
    ExceptionType{"ConnectionResetError", "ConnectionError"},
    ExceptionType{"FileExistsError", "OSError"},
    ExceptionType{"FileNotFoundError", "OSError"},
    ExceptionType{"InterruptedError", "OSError"},
    ExceptionType{"IsADirectoryError", "OSError"},
    ExceptionType{"NotADirectoryError", "OSError"},
    ExceptionType{"PermissionError", "OSError"},
    ExceptionType{"ProcessLookupError", "OSError"},
    ExceptionType{"TimeoutError", "OSError"},
    ExceptionType{"ReferenceError", "Exception", true},
    ExceptionType{"RuntimeError", "Exception", true},
    ExceptionType{"NotImplementedError", "RuntimeError", true},
    ExceptionType{"PythonFinalizationError", "RuntimeError"},
    ExceptionType{"RecursionError", "RuntimeError"},
    ExceptionType{"StopAsyncIteration", "Exception"},
    ExceptionType{"StopIteration", "Exception", true},
    ExceptionType{"SyntaxError", "Exception", true},
    ExceptionType{"IndentationError", "SyntaxError", true},
    ExceptionType{"TabError", "IndentationError", true},
    ExceptionType{"_IncompleteInputError", "SyntaxError"},  // what an interactive interpreter of 3.13 raises
    ExceptionType{"SystemError", "Exception", true},
    ExceptionType{"TypeError", "Exception", true},
    ExceptionType{"ValueError", "Exception", true},
    ExceptionType{"UnicodeError", "ValueError", true},
    ExceptionType{"UnicodeDecodeError", "UnicodeError", true},
    ExceptionType{"UnicodeEncodeError", "UnicodeError", true},
    ExceptionType{"UnicodeTranslateError", "UnicodeError", true},
    ExceptionType{"Warning", "Exception", true},
    ExceptionType{"BytesWarning", "Warning", true},
    ExceptionType{"DeprecationWarning", "Warning", true},
    ExceptionType{"EncodingWarning", "Warning"},
    ExceptionType{"FutureWarning", "Warning", true},
    ExceptionType{"ImportWarning", "Warning", true},
    ExceptionType{"PendingDeprecationWarning", "Warning", true},
    ExceptionType{"ResourceWarning", "Warning"},
    ExceptionType{"RuntimeWarning", "Warning", true},
    ExceptionType{"SyntaxWarning", "Warning", true},
    ExceptionType{"UnicodeWarning", "Warning", true},
    ExceptionType{"UserWarning", "Warning", true},
    // What multiprocessing and what it serves raise.
    ExceptionType{"queue.Empty", "Exception"},
    ExceptionType{"queue.Full", "Exception"},
    ExceptionType{"queue.ShutDown", "Exception"},
    ExceptionType{"threading.BrokenBarrierError", "RuntimeError"},
    ExceptionType{"multiprocessing.context.ProcessError", "Exception"},
    ExceptionType{"multiprocessing.context.AuthenticationError", "multiprocessing.context.ProcessError"},
    ExceptionType{"multiprocessing.context.BufferTooShort", "multiprocessing.context.ProcessError"},
    ExceptionType{"multiprocessing.context.TimeoutError", "multiprocessing.context.ProcessError"},
    ExceptionType{"multiprocessing.managers.RemoteError", "Exception"},
    ExceptionType{"multiprocessing.pool.MaybeEncodingError", "Exception"},
    ExceptionType{"pickle.PickleError", "Exception"},
    ExceptionType{"pickle.PicklingError", "pickle.PickleError"},
    ExceptionType{"pickle.UnpicklingError", "pickle.PickleError"},
};

struct Alias {
  std::string_view module;
  std::string_view name;
  std::string_view type;
};
// Old names, and modules that have them besides the one that they are documented in.
constexpr std::array<Alias, 14> aliases{{
    {"exceptions", "StandardError", "Exception"},
    {"exceptions", "IOError", "OSError"},
    {"exceptions", "EnvironmentError", "OSError"},
    {"builtins", "IOError", "OSError"},
    {"builtins", "EnvironmentError", "OSError"},
    {"socket", "error", "OSError"},
    {"select", "error", "OSError"},
    {"socket", "timeout", "TimeoutError"},
    {"_queue", "Empty", "queue.Empty"},
    {"Queue", "Empty", "queue.Empty"},
    {"Queue", "Full", "queue.Full"},
    {"_pickle", "PickleError", "pickle.PickleError"},
    {"_pickle", "PicklingError", "pickle.PicklingError"},
    {"_pickle", "UnpicklingError", "pickle.UnpicklingError"},
}};

struct NumberedType {
  int code;
  std::string_view type;
};
constexpr std::array<NumberedType, 18> os_error_types{{
    {EAGAIN, "BlockingIOError"},
    {EALREADY, "BlockingIOError"},
    {EINPROGRESS, "BlockingIOError"},
    {EPIPE, "BrokenPipeError"},
    {ESHUTDOWN, "BrokenPipeError"},
    {ECHILD, "ChildProcessError"},
    {ECONNABORTED, "ConnectionAbortedError"},
    {ECONNREFUSED, "ConnectionRefusedError"},
    {ECONNRESET, "ConnectionResetError"},
    {EEXIST, "FileExistsError"},
    {ENOENT, "FileNotFoundError"},
    {EISDIR, "IsADirectoryError"},
    {ENOTDIR, "NotADirectoryError"},
    {EINTR, "InterruptedError"},
    {EACCES, "PermissionError"},
    {EPERM, "PermissionError"},
    {ESRCH, "ProcessLookupError"},
    {ETIMEDOUT, "TimeoutError"},
}};

}  // namespace

std::string_view ExceptionType::module() const noexcept {
  const auto dot = type.rfind('.');
  return dot == std::string_view::npos ? "builtins" : type.substr(0, dot);
}

std::string_view ExceptionType::name() const noexcept { return type.substr(type.rfind('.') + 1); }

const ExceptionType* find_exception_type(std::string_view type) noexcept {
  const auto* const found = std::ranges::find(exception_types, type, &ExceptionType::type);
  return found != exception_types.end() ? found : nullptr;
}

const ExceptionType* find_exception_type(std::string_view module, std::string_view name) noexcept {
  for (const Alias& each : aliases) {
    if (each.module == module && each.name == name) return find_exception_type(each.type);
  }
  if (module == "exceptions" || module == "__builtin__") module = "builtins";
  if (module == "multiprocessing") module = "multiprocessing.context";
  for (const ExceptionType& each : exception_types) {
    if (each.name() == name && each.module() == module) return &each;
  }
  return nullptr;
}

const ExceptionType& exception_type_made(const ExceptionType& type, std::span<const Object> arguments) {
  constexpr std::size_t fewest = 2;
  constexpr std::size_t most = 5;
  if (type.type != "OSError" || arguments.size() < fewest || arguments.size() > most) return type;
  const Object& code = arguments[0];
  if (code.kind() != Kind::integer) return type;
  for (const NumberedType& each : os_error_types) {
    if (code == Object(each.code)) return *find_exception_type(each.type);
  }
  return type;
}

}  // namespace detail

bool exception_is(std::string_view type, std::string_view base) noexcept {
  // The one type of two bases.
  if (type == "ExceptionGroup" && base == "Exception") return true;
  while (type != base) {
    const auto* const known = detail::find_exception_type(type);
    if (known == nullptr) return false;
    type = known->base;
  }
  return !base.empty();
}

}  // namespace runrig::pickle
