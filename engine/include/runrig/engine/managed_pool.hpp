#pragma once

#include <cstddef>
#include <exception>
#include <memory>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "runrig/engine/managed.hpp"
#include "runrig/engine/pool.hpp"

/// The functions of a manager's pools. A managed Pool runs functions registered by name only: what a client sends is
/// data, and no code.
///
///     double square(double x) { return x * x; }
///     runrig::ManagedTypes types = runrig::ManagedTypes::standard();
///     types.function<&square>("square");
///
/// In Python, then: `pool = manager.Pool(4); pool.map("square", [1, 2, 3])`.
namespace runrig {
namespace detail {

/// How a Pool runs a registered function on the arguments of clients. Each throws as the methods of Pool. What comes of
/// a call is a tuple, (True, value) or (False, exception), as in Python's own pools: exceptions are Python's for
/// whoever asked.
struct PoolFunction {
  using Arguments = std::vector<pickle::Object>;
  AsyncResult<pickle::Object> (*apply)(Pool& pool, const Arguments& arguments) = nullptr;
  AsyncResult<std::vector<pickle::Object>> (*map)(Pool& pool, const std::vector<Arguments>& calls,
                                                  std::size_t chunk_size) = nullptr;
  ImapIterator<pickle::Object> (*imap)(Pool& pool, std::vector<Arguments> calls, std::size_t chunk_size,
                                       bool in_order) = nullptr;
  void (*initialize)(PoolOptions& options, const Arguments& arguments) = nullptr;
};

template <auto function, class Signature = std::remove_pointer_t<decltype(function)>>
struct PoolFunctionOf;
template <auto function, class Result, class... Args>
struct PoolFunctionOf<function, Result(Args...)> {
  static pickle::Object call(const PoolFunction::Arguments& arguments) {
    auto values = managed_arguments<Args...>("function", arguments);
    if constexpr (std::is_void_v<Result>) {
      std::apply(function, std::move(values));
      return {};
    } else {
      return pickle::to_object<std::decay_t<Result>>(std::apply(function, std::move(values)));
    }
  }
  // In the worker; without captures, so that it crosses by its name.
  struct InWorker {
    pickle::Object operator()(const PoolFunction::Arguments& arguments) const {
      try {
        return pickle::Object::tuple({true, call(arguments)});
      } catch (...) {
        return pickle::Object::tuple({false, python_exception(std::current_exception())});
      }
    }
  };
  struct AtStart {
    void operator()(const PoolFunction::Arguments& arguments) const { (void)call(arguments); }
  };
  static AsyncResult<pickle::Object> apply(Pool& pool, const PoolFunction::Arguments& arguments) {
    return pool.apply_async(InWorker{}, arguments);
  }
  static AsyncResult<std::vector<pickle::Object>> map(Pool& pool, const std::vector<PoolFunction::Arguments>& calls,
                                                      std::size_t chunk_size) {
    return pool.map_async(InWorker{}, calls, {.chunk_size = chunk_size});
  }
  static ImapIterator<pickle::Object> imap(Pool& pool, std::vector<PoolFunction::Arguments> calls,
                                           std::size_t chunk_size, bool in_order) {
    const MapOptions options{.chunk_size = chunk_size};
    return in_order ? pool.imap(InWorker{}, std::move(calls), options)
                    : pool.imap_unordered(InWorker{}, std::move(calls), options);
  }
  static void initialize(PoolOptions& options, const PoolFunction::Arguments& arguments) {
    options.initialize_with(AtStart{}, arguments);
  }
  static inline const PoolFunction entry{&apply, &map, &imap, &initialize};
};

}  // namespace detail

template <auto function>
void ManagedTypes::function(const std::string& name) {
  add_function(name, std::make_shared<const detail::PoolFunction>(detail::PoolFunctionOf<function>::entry));
}

}  // namespace runrig
