#pragma once

#include <sys/types.h>

#include <cstddef>
#include <cstdint>
#include <exception>
#include <span>
#include <stdexcept>
#include <string>
#include <string_view>
#include <type_traits>
#include <typeinfo>
#include <utility>
#include <vector>

#include "runrig/sync/error.hpp"

namespace runrig {

/// Where an exception was thrown first, when that was in another process.
///
/// What a task throws in a worker is thrown again in the parent, as an object that is both of the original's type and
/// of this one:
///
///     try { result.get(); }
///     catch (const std::out_of_range& error) {
///       if (auto* origin = dynamic_cast<const runrig::RemoteOrigin*>(&error)) std::cerr << origin->worker_name();
///     }
///
/// That holds for the standard library's exceptions, for the engine's, and for registered types (register_exception());
/// everything else arrives as RemoteError. what() is one line: the worker's name and process, the type, the text, and
/// the texts of nested exceptions, which std::rethrow_if_nested() gives one by one as well. A std::system_error keeps
/// its code; a category of the program's own compares by its name only.
class RemoteOrigin {
 public:
  RemoteOrigin(std::string_view worker_name, pid_t worker_pid, std::string_view type, std::string_view text)
      : worker_name_(std::string(worker_name)),
        worker_pid_(worker_pid),
        type_(std::string(type)),
        text_(std::string(text)) {}
  virtual ~RemoteOrigin() = default;
  RemoteOrigin(const RemoteOrigin&) = default;
  RemoteOrigin& operator=(const RemoteOrigin&) = default;

  /// The name of the process that threw: "ForkPoolWorker-2".
  [[nodiscard]] const char* worker_name() const noexcept { return worker_name_.what(); }
  [[nodiscard]] pid_t worker_pid() const noexcept { return worker_pid_; }
  /// The C++ name of what was thrown.
  [[nodiscard]] const char* type() const noexcept { return type_.what(); }
  /// Its own what(), as valid UTF-8, cut where it is too long to travel.
  [[nodiscard]] const char* text() const noexcept { return text_.what(); }

 private:
  // Texts whose copies cannot throw, as an exception's must not.
  std::runtime_error worker_name_;
  pid_t worker_pid_;
  std::runtime_error type_;
  std::runtime_error text_;
};

namespace detail {

/// An exception as it crosses: plain data, of at most max_exception_bytes when encoded.
struct ExceptionRecord {
  std::string type;     ///< the C++ name, for people
  std::string type_id;  ///< std::type_info::name(), by which the type is found again
  std::string text;     ///< what(), valid UTF-8
  /// Of a std::system_error; no category for others.
  int code = 0;
  std::string category;
  /// What else the type is made from: pid and signal of WorkerLost, paths of a filesystem_error.
  std::vector<std::int64_t> numbers;
  std::vector<std::string> texts;
  bool out_of_memory = false;
  std::vector<ExceptionRecord> nested;  ///< none or one
};
inline constexpr std::size_t max_exception_bytes = std::size_t{64} << 10;

/// Describes any exception, also what is no std::exception. Texts are made valid UTF-8 and cut; of deeper nesting than
/// eight only the outer ones are kept. If memory runs out meanwhile, the record says no more than that.
[[nodiscard]] ExceptionRecord capture(const std::exception_ptr& exception) noexcept;
/// "std::out_of_range: no such key: the inner text", without the worker.
[[nodiscard]] std::string describe(const ExceptionRecord& record);
/// Appends one pickle.
void encode(std::vector<std::byte>& out, const ExceptionRecord& record);
/// Throws FormatError.
[[nodiscard]] ExceptionRecord decode_exception(std::span<const std::byte> bytes);
/// Throws what the record describes, as said at RemoteOrigin.
[[noreturn]] void rethrow(const ExceptionRecord& record, std::string_view worker_name, pid_t worker_pid);
/// The same, not yet thrown.
[[nodiscard]] std::exception_ptr to_exception(const ExceptionRecord& record, std::string_view worker_name,
                                              pid_t worker_pid) noexcept;

/// What all exceptions thrown again have in common.
struct RemoteContext {
  const ExceptionRecord& record;
  std::string_view worker_name;
  pid_t worker_pid;
  std::string line;  ///< what()
};

/// An E that was thrown in another process.
template <class E>
class Remote : public E, public RemoteOrigin {
 public:
  template <class... Args>
  explicit Remote(const RemoteContext& context, Args&&... args)
      : E(std::forward<Args>(args)...),
        RemoteOrigin(context.worker_name, context.worker_pid, context.record.type, context.record.text),
        line_(context.line) {}
  [[nodiscard]] const char* what() const noexcept override { return line_.what(); }

 private:
  std::runtime_error line_;
};

/// Made while the nested exception is being handled.
template <class E>
class RemoteNested final : public Remote<E>, public std::nested_exception {
 public:
  using Remote<E>::Remote;
};

/// Throws Remote<E>(context, args...), with what is being handled nested in it if the record has something nested.
template <class E, class... Args>
[[noreturn]] void throw_remote(const RemoteContext& context, Args&&... args) {
  if (context.record.nested.empty()) throw Remote<E>(context, std::forward<Args>(args)...);
  throw RemoteNested<E>(context, std::forward<Args>(args)...);
}

/// How exceptions of one type cross.
struct ExceptionKind {
  /// Takes from the exception what the type is made from beyond its text; may be null.
  void (*collect)(const std::exception& error, ExceptionRecord& record);
  void (*raise)(const RemoteContext& context);
};
/// Enters a kind for its own lifetime, which is that of its module.
class ExceptionRegistration {
 public:
  ExceptionRegistration(const std::type_info& type, ExceptionKind kind);
  ExceptionRegistration(const ExceptionRegistration&) = delete;
  ExceptionRegistration& operator=(const ExceptionRegistration&) = delete;
  ~ExceptionRegistration();

 private:
  std::string type_id_;
};

template <class E>
struct RegisteredException {
  static void raise(const RemoteContext& context) {
    if constexpr (std::is_constructible_v<E, const std::string&>) {
      throw_remote<E>(context, context.record.text);
    } else if constexpr (std::is_constructible_v<E, const char*>) {
      throw_remote<E>(context, context.record.text.c_str());
    } else {
      throw_remote<E>(context);
    }
  }
  static inline const ExceptionRegistration registration{typeid(E), {nullptr, &raise}};
};

}  // namespace detail

/// Lets exceptions of exactly this type be thrown again as what they are, instead of as RemoteError. Mentioning it
/// anywhere in the program is enough, for all processes: the type is then entered when the program or module starts.
///
/// E derives from std::exception, is not final, and can be made from its text (std::string or const char*), or from
/// nothing; other members are not carried.
template <class E>
void register_exception() noexcept {
  static_assert(std::is_base_of_v<std::exception, E>, "an exception that travels must derive from std::exception");
  static_assert(!std::is_final_v<E>,
                "an exception that travels must not be final: what is thrown again derives from it and RemoteOrigin");
  static_assert(std::is_constructible_v<E, const std::string&> || std::is_constructible_v<E, const char*> ||
                    std::is_default_constructible_v<E>,
                "an exception that travels is made again from its text: give it a constructor that takes std::string");
  (void)&detail::RegisteredException<E>::registration;  // odr-used, so that the module has it
}

}  // namespace runrig
