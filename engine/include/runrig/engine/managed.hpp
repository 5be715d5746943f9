#pragma once

#include <chrono>
#include <cstddef>
#include <functional>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <tuple>
#include <type_traits>
#include <utility>
#include <vector>

#include "runrig/channel/pickle.hpp"
#include "runrig/channel/transfer.hpp"
#include "runrig/sync/error.hpp"

/// What managers serve: types by name, with the methods that clients may call.
namespace runrig {

/// An exception of Python's, thrown by a managed object's method: the caller gets it as that, in either language.
class ManagedError : public std::runtime_error {
 public:
  /// `type` as Python has it: "ValueError", "queue.Empty".
  explicit ManagedError(std::string type, std::vector<pickle::Object> arguments = {});
  [[nodiscard]] const std::string& type() const noexcept { return type_; }
  [[nodiscard]] const std::vector<pickle::Object>& arguments() const noexcept { return *arguments_; }

 private:
  std::string type_;
  std::shared_ptr<const std::vector<pickle::Object>> arguments_;  // whose copy cannot throw
};

namespace detail {

/// Who calls.
class ManagedCaller {
 public:
  virtual ~ManagedCaller() = default;
  /// The connection, which is to the server what a thread is to a program. Never 0.
  [[nodiscard]] virtual std::uint64_t connection() const noexcept = 0;
  /// The process at its other end, the same for all of its connections; 0 if that cannot be known.
  [[nodiscard]] virtual std::uint64_t process() const noexcept = 0;
  /// Whether nobody waits for the answer any more: the other end is gone, or the server is stopping.
  [[nodiscard]] virtual bool gone() const noexcept = 0;
};

struct ManagedCall {
  std::string_view method;
  std::span<const pickle::Object> args;
  /// By name: a dict.
  const pickle::Object& kwargs;
  const ManagedCaller& caller;
};

/// An object that a manager serves. Called by several threads at a time.
class Referent {
 public:
  Referent() = default;
  Referent(const Referent&) = delete;
  Referent& operator=(const Referent&) = delete;
  virtual ~Referent() = default;
  /// What is thrown goes to the caller.
  virtual pickle::Object call(const ManagedCall& call) = 0;
  /// What Python's str() of a proxy shows.
  [[nodiscard]] virtual std::string text() const = 0;
  /// What Python's copies of a proxy get ("#GETVALUE").
  [[nodiscard]] virtual pickle::Object value() const;
  /// The process is gone: what it held is given back.
  virtual void forget_process(std::uint64_t /*process*/) {}
  /// The connection is closed, or its process gone.
  virtual void forget_connection(std::uint64_t /*connection*/) {}
};

using MakeReferent =
    std::function<std::shared_ptr<Referent>(std::span<const pickle::Object> args, const pickle::Object& kwargs)>;
struct ManagedType {
  MakeReferent make;
  std::vector<std::string> exposed;
};

template <class T>
using ManagedMethod = std::function<pickle::Object(T& object, std::span<const pickle::Object> args)>;
template <class T>
using ManagedMethods = std::map<std::string, ManagedMethod<T>, std::less<>>;

/// Throws ManagedError TypeError.
[[noreturn]] void wrong_number_of_arguments(std::string_view what, std::size_t expected, std::size_t given);
[[noreturn]] void wrong_argument(std::string_view what, const char* why);
[[noreturn]] void not_exposed(std::string_view method);

/// The arguments as C++ values.
template <class... Args>
std::tuple<std::decay_t<Args>...> managed_arguments(std::string_view what, std::span<const pickle::Object> args) {
  if (args.size() != sizeof...(Args)) wrong_number_of_arguments(what, sizeof...(Args), args.size());
  try {
    return [&]<std::size_t... i>(std::index_sequence<i...>) {
      return std::tuple<std::decay_t<Args>...>(pickle::from_object<std::decay_t<Args>>(args[i])...);
    }
    (std::index_sequence_for<Args...>());
  } catch (const FormatError& error) {
    wrong_argument(what, error.what());
  }
}

template <class T, class Function, class Result, class... Args>
ManagedMethod<T> managed_method(std::string name, Function function) {
  return [name = std::move(name), function](T& object, std::span<const pickle::Object> args) {
    auto values = managed_arguments<Args...>(name, args);
    const auto invoke = [&](auto&&... each) -> decltype(auto) {
      return std::invoke(function, object, std::forward<decltype(each)>(each)...);
    };
    if constexpr (std::is_void_v<Result>) {
      std::apply(invoke, std::move(values));
      return pickle::Object();
    } else {
      return pickle::to_object<std::decay_t<Result>>(std::apply(invoke, std::move(values)));
    }
  };
}

template <class T>
class TypedReferent final : public Referent {
 public:
  TypedReferent(std::shared_ptr<T> object, std::shared_ptr<const ManagedMethods<T>> methods, std::string name)
      : object_(std::move(object)), methods_(std::move(methods)), name_(std::move(name)) {}
  pickle::Object call(const ManagedCall& call) override {
    const auto found = methods_->find(call.method);
    if (found == methods_->end()) not_exposed(call.method);
    if (call.kwargs.size() != 0) wrong_argument(call.method, "it takes no arguments by name");
    return found->second(*object_, call.args);
  }
  [[nodiscard]] std::string text() const override { return "<" + name_ + ">"; }

 private:
  std::shared_ptr<T> object_;
  std::shared_ptr<const ManagedMethods<T>> methods_;
  std::string name_;
};

}  // namespace detail

/// The methods of a managed type, while it is registered: `types.add<Counter>("Counter").method("add", &Counter::add)`.
template <class T>
class ManagedMethodList {
 public:
  ManagedMethodList(detail::ManagedType& type, std::shared_ptr<detail::ManagedMethods<T>> methods)
      : type_(type), methods_(std::move(methods)) {}
  /// A member function; or with a function of T& and values, anything. Arguments and result are Transferable.
  template <class Result, class... Args>
  ManagedMethodList& method(const std::string& name, Result (T::*function)(Args...)) {
    return add(name, detail::managed_method<T, decltype(function), Result, Args...>(name, function));
  }
  template <class Result, class... Args>
  ManagedMethodList& method(const std::string& name, Result (T::*function)(Args...) const) {
    return add(name, detail::managed_method<T, decltype(function), Result, Args...>(name, function));
  }
  template <class Result, class... Args>
  ManagedMethodList& method(const std::string& name, Result (*function)(T&, Args...)) {
    return add(name, detail::managed_method<T, decltype(function), Result, Args...>(name, function));
  }

 private:
  ManagedMethodList& add(const std::string& name, detail::ManagedMethod<T> method) {
    type_.exposed.push_back(name);
    methods_->insert_or_assign(name, std::move(method));
    return *this;
  }
  detail::ManagedType& type_;
  std::shared_ptr<detail::ManagedMethods<T>> methods_;
};

/// The types that a manager serves, by the names under which clients create their objects: what Python's
/// BaseManager.register() collects. Registered before a server is made of it.
///
/// **Threads.** A server calls an object's methods for several clients at the same time: a type of your own sees to
/// that itself, as one shared by threads does. What a method throws goes to its caller; ManagedError as Python's
/// exception.
class ManagedTypes {
 public:
  /// None.
  ManagedTypes() = default;
  /// Those of Python's SyncManager: list, dict, Namespace, Queue, JoinableQueue, Value, Array, Lock, RLock, Semaphore,
  /// BoundedSemaphore, Condition, Event, Barrier.
  [[nodiscard]] static ManagedTypes standard();

  /// Objects of T, each made by T(arguments of create()...): `add<T, int, std::string>(...)` takes an int and a str.
  template <class T, class... ConstructorArgs>
  ManagedMethodList<T> add(const std::string& type_id) {
    auto methods = std::make_shared<detail::ManagedMethods<T>>();
    detail::ManagedType& type = types_[type_id];
    type = {};
    type.make = [methods, type_id](std::span<const pickle::Object> args, const pickle::Object& kwargs) {
      if (kwargs.size() != 0) detail::wrong_argument(type_id, "it takes no arguments by name");
      auto object =
          std::apply([](auto&&... each) { return std::make_shared<T>(std::forward<decltype(each)>(each)...); },
                     detail::managed_arguments<ConstructorArgs...>(type_id, args));
      return std::make_shared<detail::TypedReferent<T>>(std::move(object), methods, type_id);
    };
    return {type, std::move(methods)};
  }
  /// One object, which every client gets that asks for it: Python's register(name, callable=lambda: object).
  template <class T>
  ManagedMethodList<T> share(const std::string& type_id, std::shared_ptr<T> object) {
    auto methods = std::make_shared<detail::ManagedMethods<T>>();
    detail::ManagedType& type = types_[type_id];
    type = {};
    const auto referent = std::make_shared<detail::TypedReferent<T>>(std::move(object), methods, type_id);
    type.make = [referent, type_id](std::span<const pickle::Object> args, const pickle::Object& kwargs) {
      if (!args.empty() || kwargs.size() != 0) detail::wrong_argument(type_id, "it takes no arguments");
      return referent;
    };
    return {type, std::move(methods)};
  }
  /// The same of a type that is registered already: `share("get_queue", "Queue")` is a queue for all clients.
  void share(const std::string& type_id, const std::string& registered, std::vector<pickle::Object> args = {});

  /// Null if there is none of that name.
  [[nodiscard]] const detail::ManagedType* find(std::string_view type_id) const noexcept;
  void add(const std::string& type_id, detail::ManagedType type) { types_[type_id] = std::move(type); }

 private:
  std::map<std::string, detail::ManagedType, std::less<>> types_;
};

}  // namespace runrig
