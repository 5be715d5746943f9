#pragma once

#include <algorithm>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <memory>
#include <mutex>
#include <optional>
#include <ranges>
#include <stdexcept>
#include <type_traits>
#include <utility>
#include <vector>

#include "runrig/engine/async_result.hpp"
#include "runrig/engine/imap.hpp"

namespace runrig {

/// How one task is treated.
struct TaskOptions {
  /// How often it may be begun again after the death of the worker that ran it; the pool's own number (see PoolOptions)
  /// if none is given. Tasks that may not be run twice have 0.
  std::optional<int> retries = std::nullopt;
};

/// How a map is treated.
struct MapOptions {
  /// Items in one task, which are called one after the other in one worker. 0: for map, a quarter of what makes equal
  /// shares for all workers, as in Python; for imap, 1.
  std::size_t chunk_size = 0;
  /// As for TaskOptions, for each task.
  std::optional<int> retries = std::nullopt;
  /// imap only: how many tasks may be under way, or done and not taken yet. 0: eight for each worker, at least 64.
  std::size_t window = 0;
};

namespace detail {

/// Whether the elements of a map are arguments, or tuples of arguments.
enum class Star { no, yes };

[[nodiscard]] std::size_t automatic_chunk(std::size_t items, int workers) noexcept;
[[nodiscard]] std::size_t automatic_window(int workers) noexcept;

template <class Range>
using ItemOf = std::ranges::range_value_t<Range>;

/// Waits until no more than `enough` of the first `submitted` tasks of a map are under way.
template <class State>
class Ahead final : public Awaited {
 public:
  Ahead(const State& state, std::size_t submitted, std::size_t enough)
      : state_(state), submitted_(submitted), enough_(enough) {}
  [[nodiscard]] bool satisfied() const noexcept override { return under_way() <= enough_; }
  [[nodiscard]] std::size_t missing() const noexcept override { return under_way() - enough_; }

 private:
  [[nodiscard]] std::size_t under_way() const noexcept { return submitted_ - (state_.tasks() - state_.tasks_left()); }
  const State& state_;
  const std::size_t submitted_;
  const std::size_t enough_;
};

/// An input that is taken chunk by chunk.
template <class View>
class LazyInput {
 public:
  using Item = std::ranges::range_value_t<View>;
  explicit LazyInput(View view) : view_(std::move(view)) {}
  LazyInput(const LazyInput&) = delete;
  LazyInput& operator=(const LazyInput&) = delete;

  /// The next items, at most `count`; none at the end. Valid until the next call. If the input throws, what came before
  /// is returned first, and the exception thrown by the next call.
  [[nodiscard]] std::vector<Item>& take(std::size_t count) {
    if (error_) std::rethrow_exception(std::exchange(error_, nullptr));
    buffer_.clear();
    try {
      while (buffer_.size() < count && advance()) buffer_.emplace_back(**at_);
    } catch (...) {
      at_.reset();
      ended_ = true;
      if (buffer_.empty()) throw;
      error_ = std::current_exception();
    }
    return buffer_;
  }

 private:
  // Only when the next item is wanted: for some inputs, going on means computing it, or waiting for it.
  bool advance() {
    if (ended_) return false;
    if (at_) {
      ++*at_;
    } else {
      at_.emplace(std::ranges::begin(view_));
    }
    ended_ = *at_ == std::ranges::end(view_);
    return !ended_;
  }
  View view_;
  std::optional<std::ranges::iterator_t<View>> at_;
  bool ended_ = false;
  std::exception_ptr error_;
  std::vector<Item> buffer_;
};

/// The calls of a pool, whatever its workers are: Python's Pool.
///
/// `Derived` (Pool, ThreadPool) has calls(what), which returns a Calls, or throws if no call can be made now. Calls has
/// the types of results, and knows how tasks get to the workers.
template <class Derived, class Calls>
class TaskInterface {
  template <class F, class... Args>
  using CallValue = typename Calls::template Value<std::decay_t<F>, std::decay_t<Args>...>;
  template <Star star, class F, class T>
  using ItemValue = typename Calls::template ItemValue<star, std::decay_t<F>, T>;

 public:
  /// Calls `f(args...)` in a worker, waits, and returns what it returned, or throws what it threw.
  template <class F, class... Args>
  requires(!std::same_as<std::decay_t<F>, TaskOptions>) auto apply(F&& f, Args&&... args) {
    return apply(TaskOptions{}, std::forward<F>(f), std::forward<Args>(args)...);
  }
  template <class F, class... Args>
  auto apply(const TaskOptions& options, F&& f, Args&&... args) -> CallValue<F, Args...> {
    return calls("apply").apply(options, std::forward<F>(f), std::forward<Args>(args)...);
  }
  /// Calls `f(args...)` in a worker, and returns at once.
  template <class F, class... Args>
  requires(!std::same_as<std::decay_t<F>, TaskOptions>) [[nodiscard]] auto apply_async(F&& f, Args&&... args) {
    return apply_async(TaskOptions{}, std::forward<F>(f), std::forward<Args>(args)...);
  }
  template <class F, class... Args>
  [[nodiscard]] auto apply_async(const TaskOptions& options, F&& f, Args&&... args)
      -> AsyncResult<CallValue<F, Args...>> {
    return calls("apply_async").apply_async(options, std::forward<F>(f), std::forward<Args>(args)...);
  }

  /// Calls `f(item)` for each item, in chunks, waits for all, and returns the results in the order of the items: a
  /// vector, or nothing if `f` returns void. If calls failed, throws for the first of them in the input.
  template <class F, std::ranges::input_range Range>
  auto map(F f, Range&& items, const MapOptions& options = {}) {
    return map_now<Star::no>("map", std::move(f), std::forward<Range>(items), options);
  }
  /// The same, and returns at once; all items are sent, or copied, before.
  template <class F, std::ranges::input_range Range>
  [[nodiscard]] auto map_async(F f, Range&& items, const MapOptions& options = {}) {
    return map_later<Star::no>("map_async", std::move(f), std::forward<Range>(items), options);
  }
  /// Like map(), but each item is a tuple (or pair, or array) of the arguments of one call.
  template <class F, std::ranges::input_range Range>
  auto starmap(F f, Range&& items, const MapOptions& options = {}) {
    return map_now<Star::yes>("starmap", std::move(f), std::forward<Range>(items), options);
  }
  template <class F, std::ranges::input_range Range>
  [[nodiscard]] auto starmap_async(F f, Range&& items, const MapOptions& options = {}) {
    return map_later<Star::yes>("starmap_async", std::move(f), std::forward<Range>(items), options);
  }

  /// A lazy map: results come in the order of the items, each as soon as it is there; items are taken from the input as
  /// results are taken. See ImapIterator.
  template <class F, std::ranges::input_range Range>
  [[nodiscard]] auto imap(F f, Range&& items, const MapOptions& options = {}) {
    return map_lazily("imap", Order::of_input, std::move(f), std::forward<Range>(items), options);
  }
  /// The same in the order of completion. With one worker, that is the order of the items.
  template <class F, std::ranges::input_range Range>
  [[nodiscard]] auto imap_unordered(F f, Range&& items, const MapOptions& options = {}) {
    return map_lazily("imap_unordered", Order::of_completion, std::move(f), std::forward<Range>(items), options);
  }

 protected:
  TaskInterface() = default;
  TaskInterface(const TaskInterface&) = default;
  TaskInterface& operator=(const TaskInterface&) = default;
  ~TaskInterface() = default;

 private:
  // Chunks of a map under way at a time, so that a long input is not all sent at once.
  static constexpr std::size_t most_ahead = 1024;

  Calls calls(const char* what) { return static_cast<Derived&>(*this).calls(what); }

  template <Star star, class F, class Range>
  auto map_now(const char* what, F f, Range&& items, const MapOptions& options) {
    if constexpr (std::ranges::sized_range<Range>) {
      auto state = map_chunks<star>(what, f, items, std::ranges::size(items), options, most_ahead);
      return AsyncResult(std::move(state)).get();
    } else {
      std::vector<ItemOf<Range>> all;
      for (auto&& each : items) all.emplace_back(std::forward<decltype(each)>(each));
      return map_now<star>(what, std::move(f), std::move(all), options);
    }
  }
  template <Star star, class F, class Range>
  auto map_later(const char* what, F f, Range&& items, const MapOptions& options) {
    if constexpr (std::ranges::sized_range<Range>) {
      return AsyncResult(map_chunks<star>(what, f, items, std::ranges::size(items), options, SIZE_MAX));
    } else {
      std::vector<ItemOf<Range>> all;
      for (auto&& each : items) all.emplace_back(std::forward<decltype(each)>(each));
      return map_later<star>(what, std::move(f), std::move(all), options);
    }
  }

  template <Star star, class F, class Range>
  auto map_chunks(const char* what, const F& f, Range& items, std::size_t count, const MapOptions& options,
                  std::size_t ahead) {
    using T = ItemOf<Range>;
    using State = typename Calls::template StateFor<MapState<ItemValue<star, F, T>>>;
    auto calls = this->calls(what);
    const auto admission = calls.admit();
    const std::size_t chunk = count == 0               ? 0
                              : options.chunk_size > 0 ? options.chunk_size
                                                       : automatic_chunk(count, calls.workers());
    const auto state = std::make_shared<State>(calls.backend(), count, chunk);
    auto at = std::ranges::begin(items);
    const auto end = std::ranges::end(items);
    std::vector<T> buffer;
    std::size_t tasks = 0;
    for (std::size_t first = 0; first < count; first += chunk) {
      const std::size_t length = std::min(chunk, count - first);
      buffer.clear();
      buffer.reserve(length);
      for (; buffer.size() < length && at != end; ++at) buffer.emplace_back(*at);
      if (buffer.size() < length) throw std::logic_error("map: the input has fewer items than its size says");
      calls.template submit_chunk<star>(state, first, options.retries, f, buffer);
      // In halves, so that one is woken once for many.
      if (++tasks % (most_ahead / 2) == 0 && tasks >= ahead) {
        (void)calls.backend()->wait(Ahead(*state, tasks, most_ahead / 2), Deadline());
      }
    }
    return std::shared_ptr<typename State::Valued>(state);
  }

  template <class F, class Range>
  auto map_lazily(const char* what, Order order, F f, Range&& items, const MapOptions& options) {
    using T = ItemOf<Range>;
    using R = ItemValue<Star::no, F, T>;
    using State = typename Calls::template StateFor<ImapState<R>>;
    auto calls = this->calls(what);
    const std::size_t chunk = options.chunk_size > 0 ? options.chunk_size : 1;
    const std::size_t window = options.window > 0 ? options.window : automatic_window(calls.workers());
    const auto state = std::make_shared<State>(calls.backend(), order);
    // On the heap, as iterators may refer to their range; shared, as a std::function must be able to be copied.
    const auto input =
        std::make_shared<LazyInput<std::views::all_t<Range>>>(std::views::all(std::forward<Range>(items)));
    auto submit = [calls, admission = calls.admit(), state, input, f = std::move(f), chunk,
                   retries = options.retries]() mutable {
      auto& buffer = input->take(chunk);
      if (buffer.empty()) {
        admission.reset();
        return false;
      }
      std::uint64_t number = 0;
      {
        const std::lock_guard guard(calls.backend()->mutex());
        number = state->expect(buffer.size());
      }
      try {
        calls.template submit_chunk<Star::no>(state, number, retries, f, buffer);
        return true;
      } catch (...) {
        const std::lock_guard guard(calls.backend()->mutex());
        state->fail(number, std::current_exception());
        return false;
      }
    };
    return ImapIterator<R>(state, window, std::move(submit));
  }
};

}  // namespace detail
}  // namespace runrig
