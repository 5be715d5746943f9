#pragma once

#include <chrono>
#include <cstddef>
#include <exception>
#include <functional>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <tuple>
#include <type_traits>
#include <typeindex>
#include <utility>
#include <vector>

#include "runrig/channel/pickle.hpp"
#include "runrig/channel/transfer.hpp"
#include "runrig/sync/error.hpp"

/// What managers serve: types by name, with the methods that clients may call.
namespace runrig {

class ManagedTypes;

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

class Referent;
struct PoolFunction;  // see managed_pool.hpp

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
  /// Serves one more object, to which the caller gets the first reference. What this returns is the result of the call
  /// then: the caller gets a proxy.
  virtual pickle::Object serve(std::shared_ptr<Referent> made, std::string_view type_id,
                               std::vector<std::string> exposed) = 0;
};

struct ManagedCall {
  std::string_view method;
  std::span<const pickle::Object> args;
  /// By name: a dict.
  const pickle::Object& kwargs;
  ManagedCaller& caller;
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
  /// Whose proxies are the same object's: of two with the same identity and type, the first is served.
  [[nodiscard]] virtual const void* identity() const noexcept { return this; }
  /// What Python's str() of a proxy shows.
  [[nodiscard]] virtual std::string text() const = 0;
  /// What Python's copies of a proxy get ("#GETVALUE").
  [[nodiscard]] virtual pickle::Object value() const;
  /// The process is gone: what it held is given back.
  virtual void forget_process(std::uint64_t /*process*/) {}
  /// The connection is closed, or its process gone.
  virtual void forget_connection(std::uint64_t /*connection*/) {}
};

using MakeReferent = std::function<std::shared_ptr<Referent>(
    const ManagedTypes& types, std::span<const pickle::Object> args, const pickle::Object& kwargs)>;
struct ManagedType {
  MakeReferent make;
  std::vector<std::string> exposed{};
  /// The methods of a type of the program's own: ManagedMethods<of>.
  std::shared_ptr<void> methods{};
  std::type_index of = typeid(void);
};

template <class T>
using ManagedMethod = std::function<pickle::Object(T& object, const ManagedCall& call)>;
template <class T>
using ManagedMethods = std::map<std::string, ManagedMethod<T>, std::less<>>;

/// Throws ManagedError TypeError.
[[noreturn]] void wrong_number_of_arguments(std::string_view what, std::size_t expected, std::size_t given);
[[noreturn]] void wrong_argument(std::string_view what, const char* why);
[[noreturn]] void not_exposed(std::string_view method);
/// What a managed object's method threw, as Python's exception.
[[nodiscard]] pickle::Object python_exception(const std::exception_ptr& error);

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

/// Calls `function(object, args...)` with the arguments of `call`; what it returns goes to `answer`.
template <class T, class... Args, class Function, class Answer>
pickle::Object managed_invoke(const Function& function, T& object, const ManagedCall& call, const Answer& answer) {
  auto values = managed_arguments<Args...>(call.method, call.args);
  const auto invoke = [&](auto&&... each) -> decltype(auto) {
    return std::invoke(function, object, std::forward<decltype(each)>(each)...);
  };
  if constexpr (std::is_void_v<decltype(std::apply(invoke, std::move(values)))>) {
    std::apply(invoke, std::move(values));
    return pickle::Object();
  } else {
    return answer(std::apply(invoke, std::move(values)));
  }
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
    return found->second(*object_, call);
  }
  [[nodiscard]] const void* identity() const noexcept override { return object_.get(); }
  [[nodiscard]] std::string text() const override { return "<" + name_ + ">"; }

 private:
  std::shared_ptr<T> object_;
  std::shared_ptr<const ManagedMethods<T>> methods_;
  std::string name_;
};

template <class T>
struct MethodTraits;
template <class R, class T, class... A>
struct MethodTraits<R (T::*)(A...)> {
  using Result = R;
  template <class Object, class Function, class Answer>
  static pickle::Object invoke(const Function& function, Object& object, const ManagedCall& call,
                               const Answer& answer) {
    return managed_invoke<Object, A...>(function, object, call, answer);
  }
};
template <class R, class T, class... A>
struct MethodTraits<R (T::*)(A...) const> : MethodTraits<R (T::*)(A...)> {};
template <class R, class T, class... A>
struct MethodTraits<R (*)(T&, A...)> : MethodTraits<R (std::remove_const_t<T>::*)(A...)> {};

}  // namespace detail

/// The methods of a managed type, while it is registered: `types.add<Counter>("Counter").method("add", &Counter::add)`.
template <class T>
class ManagedMethodList {
 public:
  ManagedMethodList(ManagedTypes& types, detail::ManagedType& type, std::shared_ptr<detail::ManagedMethods<T>> methods)
      : types_(types), type_(type), methods_(std::move(methods)) {}
  /// A member function, or a function of T& and values. Arguments and result are Transferable; a Proxy among them is
  /// one.
  template <class Function>
  ManagedMethodList& method(const std::string& name, Function function) {
    return add(name, [function](T& object, const detail::ManagedCall& call) {
      return detail::MethodTraits<Function>::invoke(function, object, call, [](auto&& result) {
        return pickle::to_object<std::decay_t<decltype(result)>>(std::forward<decltype(result)>(result));
      });
    });
  }
  /// The same of one that returns a std::shared_ptr<U>, which is served as a `type_id`, a type of U's that is
  /// registered already: the caller gets a proxy of it, the same one of the same object, or None for a null. Python's
  /// method_to_typeid. Throws std::logic_error if there is no such type.
  template <class Function>
  ManagedMethodList& method(const std::string& name, Function function, const std::string& type_id);

 private:
  ManagedMethodList& add(const std::string& name, detail::ManagedMethod<T> method) {
    type_.exposed.push_back(name);
    methods_->insert_or_assign(name, std::move(method));
    return *this;
  }
  ManagedTypes& types_;
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
  /// BoundedSemaphore, Condition, Event, Barrier, Pool.
  [[nodiscard]] static ManagedTypes standard();

  /// Objects of T, each made by T(arguments of create()...): `add<T, int, std::string>(...)` takes an int and a str.
  template <class T, class... ConstructorArgs>
  ManagedMethodList<T> add(const std::string& type_id) {
    auto [type, methods] = fresh<T>(type_id);
    type.make = [methods = methods, type_id](const ManagedTypes& /*types*/, std::span<const pickle::Object> args,
                                             const pickle::Object& kwargs) {
      if (kwargs.size() != 0) detail::wrong_argument(type_id, "it takes no arguments by name");
      auto object =
          std::apply([](auto&&... each) { return std::make_shared<T>(std::forward<decltype(each)>(each)...); },
                     detail::managed_arguments<ConstructorArgs...>(type_id, args));
      return std::make_shared<detail::TypedReferent<T>>(std::move(object), methods, type_id);
    };
    return {*this, type, std::move(methods)};
  }
  /// Objects that clients cannot create, but get from methods: Python's register(create_method=False).
  template <class T>
  ManagedMethodList<T> add_without_create(const std::string& type_id) {
    auto [type, methods] = fresh<T>(type_id);
    type.make = [type_id](const ManagedTypes& /*types*/, std::span<const pickle::Object> /*args*/,
                          const pickle::Object& /*kwargs*/) -> std::shared_ptr<detail::Referent> {
      detail::wrong_argument(type_id, "objects of this type are not for clients to create");
    };
    return {*this, type, std::move(methods)};
  }
  /// One object, which every client gets that asks for it: Python's register(name, callable=lambda: object).
  template <class T>
  ManagedMethodList<T> share(const std::string& type_id, std::shared_ptr<T> object) {
    auto [type, methods] = fresh<T>(type_id);
    const auto referent = std::make_shared<detail::TypedReferent<T>>(std::move(object), methods, type_id);
    type.make = [referent, type_id](const ManagedTypes& /*types*/, std::span<const pickle::Object> args,
                                    const pickle::Object& kwargs) {
      if (!args.empty() || kwargs.size() != 0) detail::wrong_argument(type_id, "it takes no arguments");
      return referent;
    };
    return {*this, type, std::move(methods)};
  }
  /// The same of a type that is registered already: `share("get_queue", "Queue")` is a queue for all clients.
  void share(const std::string& type_id, const std::string& registered, std::vector<pickle::Object> args = {});

  /// Null if there is none of that name.
  [[nodiscard]] const detail::ManagedType* find(std::string_view type_id) const noexcept;
  void add(const std::string& type_id, detail::ManagedType type) { types_.insert_or_assign(type_id, std::move(type)); }

  /// A function that managed Pools run under that name, with a managed pool's only way to name one: code does not
  /// travel. Its arguments and its result are Transferable. Include managed_pool.hpp.
  template <auto function>
  void function(const std::string& name);
  void add_function(const std::string& name, std::shared_ptr<const detail::PoolFunction> function) {
    functions_.insert_or_assign(name, std::move(function));
  }
  /// Null if there is none of that name.
  [[nodiscard]] std::shared_ptr<const detail::PoolFunction> find_function(std::string_view name) const;

 private:
  template <class T>
  std::pair<detail::ManagedType&, std::shared_ptr<detail::ManagedMethods<T>>> fresh(const std::string& type_id) {
    auto methods = std::make_shared<detail::ManagedMethods<T>>();
    detail::ManagedType& type = types_[type_id];
    type = {};
    type.methods = methods;
    type.of = typeid(T);
    return {type, std::move(methods)};
  }

  std::map<std::string, detail::ManagedType, std::less<>> types_;
  std::map<std::string, std::shared_ptr<const detail::PoolFunction>, std::less<>> functions_;
};

namespace detail {
/// The type, which was registered for objects of `of`. Throws std::logic_error.
[[nodiscard]] const ManagedType& registered_type(const ManagedTypes& types, const std::string& type_id,
                                                 std::type_index of);
}  // namespace detail

template <class T>
template <class Function>
ManagedMethodList<T>& ManagedMethodList<T>::method(const std::string& name, Function function,
                                                   const std::string& type_id) {
  using U = typename detail::MethodTraits<Function>::Result::element_type;
  // Methods that the type gets later are its own, too, also where it is the one that is being registered: which must
  // not hold itself.
  const std::weak_ptr<detail::ManagedMethods<U>> known =
      std::static_pointer_cast<detail::ManagedMethods<U>>(detail::registered_type(types_, type_id, typeid(U)).methods);
  return add(name, [function, known, type_id](T& object, const detail::ManagedCall& call) {
    return detail::MethodTraits<Function>::invoke(function, object, call, [&](std::shared_ptr<U> made) {
      const auto methods = known.lock();
      if (made == nullptr || methods == nullptr) return pickle::Object();
      std::vector<std::string> exposed;
      for (const auto& [each, unused] : *methods) exposed.push_back(each);
      return call.caller.serve(std::make_shared<detail::TypedReferent<U>>(std::move(made), methods, type_id), type_id,
                               std::move(exposed));
    });
  });
}

}  // namespace runrig
