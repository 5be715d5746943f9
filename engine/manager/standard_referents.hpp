#pragma once

#include <chrono>
#include <condition_variable>
#include <functional>
#include <initializer_list>
#include <map>
#include <mutex>
#include <optional>
#include <string>
#include <utility>

#include "runrig/engine/managed.hpp"
#include "runrig/sync/clock.hpp"

/// The objects of Python's SyncManager, with the names, arguments and exceptions that its proxies know.
namespace runrig::detail {

void add_dict(ManagedTypes& types);
void add_list(ManagedTypes& types);
void add_locks(ManagedTypes& types);
void add_pool(ManagedTypes& types);
void add_queues(ManagedTypes& types);
void add_semaphores(ManagedTypes& types);
void add_values(ManagedTypes& types);

/// Arguments of a call by place and by name, as Python binds them. Reading one throws ManagedError TypeError.
class Arguments {
 public:
  /// `names` are all that the method knows, in their order.
  Arguments(std::string_view method, std::span<const pickle::Object> args, const pickle::Object& kwargs,
            std::initializer_list<const char*> names);
  /// Null if it was not given.
  [[nodiscard]] const pickle::Object* find(std::size_t place) const noexcept { return values_.at(place); }
  [[nodiscard]] const pickle::Object& at(std::size_t place) const;
  [[nodiscard]] std::int64_t integer(std::size_t place) const;
  [[nodiscard]] std::int64_t integer(std::size_t place, std::int64_t otherwise) const;
  [[nodiscard]] bool boolean(std::size_t place, bool otherwise) const;
  /// Seconds, none or None: for ever.
  [[nodiscard]] Deadline deadline(std::size_t place) const;

 private:
  std::string method_;
  std::vector<std::string> names_;
  std::vector<const pickle::Object*> values_;
};

/// That of acquire(blocking=True, timeout=-1): a negative timeout, or None, is for ever.
[[nodiscard]] Deadline acquire_deadline(const ManagedCall& call);

/// A Referent whose methods are in a table.
template <class Derived>
class TableReferent : public Referent {
 public:
  using Method = pickle::Object (Derived::*)(const ManagedCall& call);
  using Table = std::map<std::string_view, Method>;
  pickle::Object call(const ManagedCall& call) final {
    const auto& table = Derived::table();
    const auto found = table.find(call.method);
    if (found == table.end()) not_exposed(call.method);
    return (static_cast<Derived&>(*this).*found->second)(call);
  }
  [[nodiscard]] static std::vector<std::string> exposed() {
    std::vector<std::string> names;
    for (const auto& [name, method] : Derived::table()) names.emplace_back(name);
    return names;
  }
};

/// Registers a Derived made by `make(args, kwargs)`.
template <class Derived, class Make>
void add_standard(ManagedTypes& types, const std::string& type_id, Make make) {
  types.add(type_id,
            ManagedType{[make = std::move(make)](const ManagedTypes& /*types*/, std::span<const pickle::Object> args,
                                                 const pickle::Object& kwargs) { return make(args, kwargs); },
                        Derived::exposed()});
}

/// What a generator is to Python's IteratorProxy. One client's, mostly; calls by several take turns.
class Iterator final : public TableReferent<Iterator> {
 public:
  /// The next element; none at the end, and for ever after.
  using Next = std::function<std::optional<pickle::Object>(const ManagedCall& call)>;
  explicit Iterator(Next next) : next_(std::move(next)) {}
  static const Table& table();
  [[nodiscard]] std::string text() const override { return "<iterator>"; }
  /// The result of a call: a proxy of one that is made for it.
  [[nodiscard]] static pickle::Object serve(const ManagedCall& call, Next next);
  /// The same over what there is now.
  [[nodiscard]] static pickle::Object serve(const ManagedCall& call, std::vector<pickle::Object> items);

 private:
  pickle::Object next(const ManagedCall& call);
  pickle::Object send(const ManagedCall& call);
  pickle::Object raise(const ManagedCall& call);
  pickle::Object close(const ManagedCall& call);
  std::mutex mutex_;
  Next next_;
};

/// What a monitor's methods wait with: threads of the server, for other threads of the server. Ends early if the caller
/// is gone, which nobody would tell it otherwise.
class Monitor {
 public:
  enum class Outcome { ready, timed_out, gone };
  [[nodiscard]] std::unique_lock<std::mutex> lock() const { return std::unique_lock(mutex_); }
  template <class Predicate>
  [[nodiscard]] Outcome wait(std::unique_lock<std::mutex>& guard, Deadline deadline, const ManagedCaller& caller,
                             Predicate predicate) {
    while (!predicate()) {
      if (deadline.passed()) return Outcome::timed_out;
      if (caller.gone()) return Outcome::gone;
      const auto slice = std::min<std::chrono::nanoseconds>(deadline.remaining(), std::chrono::milliseconds(100));
      changed_.wait_for(guard, slice);
    }
    return Outcome::ready;
  }
  void changed() noexcept { changed_.notify_all(); }

 private:
  mutable std::mutex mutex_;
  std::condition_variable changed_;
};

/// What a call ends with whose caller does not wait for it any more. Never reaches anybody.
class CallerGone : public std::runtime_error {
 public:
  CallerGone() : std::runtime_error("the caller is gone") {}
};

/// repr() of simple values, for str() of proxies: numbers, text, and containers of them.
[[nodiscard]] std::string repr(const pickle::Object& object, int depth = 0);

}  // namespace runrig::detail
