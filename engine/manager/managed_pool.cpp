#include "runrig/engine/managed_pool.hpp"

#include <algorithm>
#include <atomic>
#include <mutex>
#include <optional>

#include "object_table.hpp"
#include "python_values.hpp"
#include "runrig/sync/error.hpp"
#include "standard_referents.hpp"

/// Pool: Python's, in the server's process, whose functions are those registered there.
namespace runrig::detail {
namespace {

using pickle::Kind;
using pickle::Object;

// How long a wait goes on before it looks whether its caller is still there.
constexpr auto slice = std::chrono::milliseconds(100);

/// A call that is under way.
class Result final : public TableReferent<Result> {
 public:
  struct Pending {
    /// False at the deadline.
    std::function<bool(Deadline deadline)> wait;
    std::function<bool()> successful;
    /// Once it is there. Throws what the call threw.
    std::function<Object()> value;
  };
  /// `keep` lives as long as this.
  Result(Pending pending, std::shared_ptr<void> keep) : keep_(std::move(keep)), pending_(std::move(pending)) {}
  static const Table& table() {
    static const Table methods{
        {"get", &Result::get}, {"ready", &Result::ready}, {"successful", &Result::successful}, {"wait", &Result::wait}};
    return methods;
  }
  [[nodiscard]] std::string text() const override { return "<AsyncResult>"; }

  [[nodiscard]] static Pending pending(AsyncResult<Object> result) {
    const auto kept = std::make_shared<AsyncResult<Object>>(std::move(result));
    return {[kept](Deadline deadline) { return kept->wait(deadline); },
            [kept] { return kept->successful() && succeeded(kept->get()); }, [kept] { return value_of(kept->get()); }};
  }
  /// Of a map: the error of the first of its calls that failed.
  [[nodiscard]] static Pending pending(AsyncResult<std::vector<Object>> result) {
    const auto kept = std::make_shared<AsyncResult<std::vector<Object>>>(std::move(result));
    return {[kept](Deadline deadline) { return kept->wait(deadline); },
            [kept] { return kept->successful() && std::all_of(kept->get().begin(), kept->get().end(), succeeded); },
            [kept] {
              std::vector<Object> values;
              for (const Object& each : kept->get()) values.push_back(value_of(each));
              return Object::list(std::move(values));
            }};
  }
  /// What a call in a worker gave, see PoolFunction. Throws what it threw.
  [[nodiscard]] static Object value_of(const Object& outcome) {
    if (succeeded(outcome)) return outcome.at(std::size_t{1});
    const Object& error = outcome.at(std::size_t{1});
    throw ManagedError(std::string(error.exception_type()), {error.items().begin(), error.items().end()});
  }
  /// Waits, looking after the caller meanwhile. False at the deadline.
  [[nodiscard]] static bool wait_for(const Pending& pending, Deadline deadline, const ManagedCaller& caller) {
    for (;;) {
      if (pending.wait(deadline.sooner(Deadline::after(slice)))) return true;
      if (deadline.passed()) return false;
      if (caller.gone()) throw CallerGone();
    }
  }

 private:
  [[nodiscard]] static bool succeeded(const Object& outcome) { return outcome.at(std::size_t{0}).as_bool(); }
  Object get(const ManagedCall& call) {
    const Arguments args(call.method, call.args, call.kwargs, {"timeout"});
    if (!wait_for(pending_, args.deadline(0), call.caller)) throw ManagedError("multiprocessing.context.TimeoutError");
    return pending_.value();
  }
  Object wait(const ManagedCall& call) {
    const Arguments args(call.method, call.args, call.kwargs, {"timeout"});
    (void)wait_for(pending_, args.deadline(0), call.caller);
    return {};
  }
  Object ready(const ManagedCall& call) {
    const Arguments none(call.method, call.args, call.kwargs, {});
    return pending_.wait(Deadline::after(std::chrono::nanoseconds(0)));
  }
  Object successful(const ManagedCall& call) {
    const Arguments none(call.method, call.args, call.kwargs, {});
    if (!pending_.wait(Deadline::after(std::chrono::nanoseconds(0)))) {
      throw ManagedError("ValueError", {"the result is not ready"});
    }
    return pending_.successful();
  }
  const std::shared_ptr<void> keep_;
  const Pending pending_;
};

/// The function that a client names.
const PoolFunction& function_of(const ManagedTypes& types, const Object& name) {
  if (name.kind() != Kind::string) {
    throw ManagedError("TypeError",
                       {"a function of a manager's pool is named by a str, under which the server has it"});
  }
  const auto found = types.find_function(name.as_string());
  if (found == nullptr) throw ManagedError("KeyError", {"no function '" + name.as_string() + "' is registered"});
  return *found;
}

class ManagedPool final : public TableReferent<ManagedPool>, public std::enable_shared_from_this<ManagedPool> {
 public:
  ManagedPool(PoolOptions options, ManagedTypes types) : types_(std::move(types)), pool_(std::move(options)) {}
  static const Table& table();
  [[nodiscard]] std::string text() const override { return "<Pool of " + std::to_string(pool_.size()) + " processes>"; }

 private:
  using Call = const ManagedCall&;
  using Calls = std::vector<PoolFunction::Arguments>;

  static Calls calls_of(const Object& iterable, bool star) {
    Calls calls;
    for (const Object& each : elements_of(iterable)) calls.push_back(star ? elements_of(each) : std::vector{each});
    return calls;
  }
  static std::size_t chunk_of(const Arguments& args, std::size_t place, std::int64_t otherwise) {
    if (args.find(place) == nullptr || args.at(place).is_none()) return static_cast<std::size_t>(otherwise);
    const std::int64_t size = args.integer(place);
    if (size < 1) throw ManagedError("ValueError", {"Chunksize must be 1+, not " + std::to_string(size)});
    return static_cast<std::size_t>(size);
  }
  static void refuse_callbacks(const Arguments& args, std::size_t place) {
    for (const std::size_t each : {place, place + 1}) {
      if (args.find(each) != nullptr && !args.at(each).is_none()) {
        throw ManagedError("TypeError", {"callbacks cannot cross to a manager"});
      }
    }
  }
  template <class Do>
  auto submitted(const Do& submit) {
    // Relaxed: of calls at the same time, either is right.
    if (ended_.load(std::memory_order_relaxed)) throw ManagedError("ValueError", {"Pool not running"});
    return submit();
  }
  [[nodiscard]] Result::Pending applied(const Arguments& args) {
    if (args.find(2) != nullptr && args.at(2).size() != 0) {
      throw ManagedError("TypeError", {"functions of a manager's pool take no arguments by name"});
    }
    const PoolFunction& called = function_of(types_, args.at(0));
    const auto arguments = args.find(1) != nullptr ? elements_of(args.at(1)) : std::vector<Object>();
    return noted(Result::pending(submitted([&] { return called.apply(pool_, arguments); })));
  }
  [[nodiscard]] Result::Pending mapped(const Arguments& args, bool star) {
    const PoolFunction& called = function_of(types_, args.at(0));
    const Calls calls = calls_of(args.at(1), star);
    const std::size_t chunk = chunk_of(args, 2, 0);
    return noted(Result::pending(submitted([&] { return called.map(pool_, calls, chunk); })));
  }
  /// For join(), which looks after its caller while it waits for them.
  Result::Pending noted(Result::Pending pending) {
    const std::scoped_lock guard(mutex_);
    std::erase_if(under_way_, [](const auto& each) { return each.wait(Deadline::after(std::chrono::seconds(0))); });
    under_way_.push_back(pending);
    return pending;
  }
  static Object awaited(Call call, const Result::Pending& pending) {
    (void)Result::wait_for(pending, {}, call.caller);
    return pending.value();
  }
  Object served(Call call, Result::Pending pending) {
    return call.caller.serve(std::make_shared<Result>(std::move(pending), shared_from_this()), "AsyncResult",
                             Result::exposed());
  }

  Object apply(Call call) {
    return awaited(call, applied({call.method, call.args, call.kwargs, {"func", "args", "kwds"}}));
  }
  Object apply_async(Call call) {
    const Arguments args(call.method, call.args, call.kwargs, {"func", "args", "kwds", "callback", "error_callback"});
    refuse_callbacks(args, 3);
    return served(call, applied(args));
  }
  Object map(Call call) {
    return awaited(call, mapped({call.method, call.args, call.kwargs, {"func", "iterable", "chunksize"}}, false));
  }
  Object starmap(Call call) {
    return awaited(call, mapped({call.method, call.args, call.kwargs, {"func", "iterable", "chunksize"}}, true));
  }
  Object map_later(Call call, bool star) {
    const Arguments args(call.method, call.args, call.kwargs,
                         {"func", "iterable", "chunksize", "callback", "error_callback"});
    refuse_callbacks(args, 3);
    return served(call, mapped(args, star));
  }
  Object map_async(Call call) { return map_later(call, false); }
  Object starmap_async(Call call) { return map_later(call, true); }

  Object map_lazily(Call call, bool in_order) {
    const Arguments args(call.method, call.args, call.kwargs, {"func", "iterable", "chunksize"});
    const PoolFunction& called = function_of(types_, args.at(0));
    const std::size_t chunk = chunk_of(args, 2, 1);
    Calls calls = calls_of(args.at(1), false);
    const auto results = std::make_shared<ImapIterator<Object>>(
        submitted([&] { return called.imap(pool_, std::move(calls), chunk, in_order); }));
    return Iterator::serve(call, [results, keep = shared_from_this()](Call next) {
      const Arguments given(next.method, next.args, next.kwargs, {"timeout"});
      const Deadline deadline = given.deadline(0);
      for (;;) {
        try {
          const auto outcome = results->next(deadline.sooner(Deadline::after(slice)));
          return outcome ? std::optional(Result::value_of(*outcome)) : std::nullopt;
        } catch (const TimeoutError&) {
          if (deadline.passed()) throw ManagedError("multiprocessing.context.TimeoutError");
          if (next.caller.gone()) throw CallerGone();
        }
      }
    });
  }
  Object imap(Call call) { return map_lazily(call, true); }
  Object imap_unordered(Call call) { return map_lazily(call, false); }

  Object close(Call call) {
    const Arguments none(call.method, call.args, call.kwargs, {});
    ended_.store(true, std::memory_order_relaxed);
    pool_.close();
    return {};
  }
  Object terminate(Call call) {
    const Arguments none(call.method, call.args, call.kwargs, {});
    ended_.store(true, std::memory_order_relaxed);
    pool_.terminate();
    return {};
  }
  Object join(Call call) {
    const Arguments none(call.method, call.args, call.kwargs, {});
    if (!ended_.load(std::memory_order_relaxed)) throw ManagedError("ValueError", {"Pool is still running"});
    std::vector<Result::Pending> left;
    {
      const std::scoped_lock guard(mutex_);
      left = under_way_;
    }
    for (const auto& each : left) (void)Result::wait_for(each, {}, call.caller);
    pool_.join();
    return {};
  }

  const ManagedTypes types_;  // for its functions
  std::atomic<bool> ended_{false};
  std::mutex mutex_;
  std::vector<Result::Pending> under_way_;  // guarded by the mutex, and perhaps some that are done
  Pool pool_;
};

const ManagedPool::Table& ManagedPool::table() {
  static const Table methods{{"apply", &ManagedPool::apply},
                             {"apply_async", &ManagedPool::apply_async},
                             {"close", &ManagedPool::close},
                             {"imap", &ManagedPool::imap},
                             {"imap_unordered", &ManagedPool::imap_unordered},
                             {"join", &ManagedPool::join},
                             {"map", &ManagedPool::map},
                             {"map_async", &ManagedPool::map_async},
                             {"starmap", &ManagedPool::starmap},
                             {"starmap_async", &ManagedPool::starmap_async},
                             {"terminate", &ManagedPool::terminate}};
  return methods;
}

std::shared_ptr<Referent> make_pool(const ManagedTypes& types, std::span<const Object> args, const Object& kwargs) {
  const Arguments given("Pool", args, kwargs, {"processes", "initializer", "initargs", "maxtasksperchild"});
  const auto number = [&](std::size_t place) {
    if (given.find(place) == nullptr || given.at(place).is_none()) return 0;
    const std::int64_t value = given.integer(place);
    constexpr std::int64_t most = 4096;
    if (value < 1 || value > most) {
      throw ManagedError("ValueError", {place == 0 ? "Number of processes must be at least 1, and at most 4096"
                                                   : "maxtasksperchild must be a positive int or None"});
    }
    return static_cast<int>(value);
  };
  PoolOptions options;
  options.name = "manager";
  // A server has a thread for each client, so it is not forked.
  options.start_method = StartMethod::spawn;
  options.workers = number(0);
  options.max_tasks_per_child = number(3);
  if (given.find(1) != nullptr && !given.at(1).is_none()) {
    const auto arguments = given.find(2) != nullptr ? elements_of(given.at(2)) : std::vector<Object>();
    function_of(types, given.at(1)).initialize(options, arguments);
  }
  try {
    return std::make_shared<ManagedPool>(std::move(options), types);
  } catch (const std::logic_error& error) {
    throw ManagedError("RuntimeError", {error.what()});
  }
}

}  // namespace

void add_pool(ManagedTypes& types) { types.add("Pool", ManagedType{make_pool, ManagedPool::exposed()}); }

}  // namespace runrig::detail
