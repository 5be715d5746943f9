#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <exception>
#include <functional>
#include <iterator>
#include <memory>
#include <optional>
#include <type_traits>
#include <utility>
#include <variant>
#include <vector>

#include "runrig/engine/async_result.hpp"

namespace runrig {
namespace detail {

enum class Order { of_input, of_completion };

/// Results of a map that are taken while others are still to come. The index of a task is its number, from 0.
template <class R>
class ImapState : public ResultState {
 public:
  using Payload = std::conditional_t<std::is_void_v<R>, std::monostate, std::vector<Stored<R>>>;
  /// What one task gave. Of void, `items` says how many.
  struct Chunk {
    Payload values;
    std::exception_ptr error;
    std::size_t items = 0;
  };
  ImapState(std::shared_ptr<TaskBackend> backend, Order order) : ResultState(std::move(backend)), order_(order) {}

  // All of these with the mutex held.

  /// Another task is about to be submitted. Returns its number.
  [[nodiscard]] std::uint64_t expect(std::size_t items) {
    expected_.push_back({items, std::nullopt});
    return first_ + expected_.size() - 1;
  }
  void set(std::uint64_t number, Payload&& payload) {
    Entry& entry = expected_[number - first_];
    if constexpr (!std::is_void_v<R>) {
      if (payload.size() != entry.items) throw FormatError("results of", "imap", "they are not as many as asked for");
    }
    arrived(number, Chunk{std::move(payload), nullptr, entry.items});
  }
  void fail(std::uint64_t number, std::exception_ptr error) noexcept {
    arrived(number, Chunk{{}, std::move(error), 0});
  }
  /// How many were expected and not taken.
  [[nodiscard]] std::size_t outstanding() const noexcept { return outstanding_after(expected_.size()); }
  /// Whether there is something to take, or nothing to wait for.
  [[nodiscard]] bool satisfied() const noexcept override {
    if (outstanding() == 0) return true;
    return order_ == Order::of_input ? expected_.front().chunk.has_value() : !arrivals_.empty();
  }
  /// The next one; none if it is still to come.
  [[nodiscard]] std::optional<Chunk> take() {
    std::optional<Chunk> taken;
    if (outstanding() == 0 || !satisfied()) return taken;
    if (order_ == Order::of_input) {
      taken = std::move(expected_.front().chunk);
      expected_.pop_front();
      ++first_;
      return taken;
    }
    Entry& entry = expected_[arrivals_.front() - first_];
    arrivals_.pop_front();
    taken = std::move(*entry.chunk);
    entry.chunk.reset();
    entry.taken = true;
    ++taken_behind_;
    while (!expected_.empty() && expected_.front().taken) {
      expected_.pop_front();
      ++first_;
      --taken_behind_;
    }
    return taken;
  }

 private:
  struct Entry {
    std::size_t items = 0;
    std::optional<Chunk> chunk;
    bool taken = false;
  };
  [[nodiscard]] std::size_t outstanding_after(std::size_t expected) const noexcept { return expected - taken_behind_; }
  void arrived(std::uint64_t number, Chunk&& chunk) noexcept {
    expected_[number - first_].chunk.emplace(std::move(chunk));
    if (order_ == Order::of_completion) arrivals_.push_back(number);
  }

  const Order order_;
  std::uint64_t first_ = 0;  // the number of the front
  std::deque<Entry> expected_;
  std::deque<std::uint64_t> arrivals_;  // numbers, in the order of completion
  std::size_t taken_behind_ = 0;        // entries behind the front that were taken
};

}  // namespace detail

/// Results of Pool::imap and imap_unordered, taken one by one while later ones are computed.
///
/// The input is consumed as results are taken: a window of tasks is under way or waits to be taken, no more, so an
/// input may be endless. Nothing happens between two calls of next() but in the workers. For one thread at a time;
/// move-only. An input given as an lvalue must outlive this. Dropping it ends the consumption of the input; tasks that
/// were begun go on and their results are dropped.
template <class R>
class ImapIterator {
 public:
  using value_type = detail::Stored<R>;

  /// For the pools. `submit()` has the next task submitted; false when the input is at its end.
  ImapIterator(std::shared_ptr<detail::ImapState<R>> state, std::size_t window, std::function<bool()> submit)
      : state_(std::move(state)), window_(window), submit_(std::move(submit)) {
    top_up();
  }
  ImapIterator(ImapIterator&&) noexcept = default;
  ImapIterator& operator=(ImapIterator&&) noexcept = default;

  /// The next result; none at the end. Throws what its call threw, after which the results behind it can be had; in a
  /// chunk of several, none of that chunk's is. Throws TimeoutError at the deadline, and may be called again. Throws
  /// what the input threw, in its place, which ends it.
  [[nodiscard]] std::optional<value_type> next(Deadline deadline = {}) {
    for (;;) {
      if (at_ < items_) return take_item();
      top_up();
      if (!state_->backend().wait(*state_, deadline)) detail::throw_timeout();
      std::optional<typename detail::ImapState<R>::Chunk> chunk;
      {
        const std::lock_guard guard(state_->backend().mutex());
        chunk = state_->take();
      }
      if (!chunk) {
        if (!at_end_) continue;
        if (input_error_) std::rethrow_exception(std::exchange(input_error_, nullptr));
        return std::nullopt;
      }
      top_up();
      if (chunk->error) std::rethrow_exception(chunk->error);
      values_ = std::move(chunk->values);
      items_ = chunk->items;
      at_ = 0;
    }
  }
  template <class Rep, class Period>
  [[nodiscard]] std::optional<value_type> next(std::chrono::duration<Rep, Period> timeout) {
    return next(Deadline::after(timeout));
  }

  /// For `for (auto& result : pool.imap(...))`.
  class iterator {
   public:
    using iterator_concept = std::input_iterator_tag;
    using value_type = detail::Stored<R>;
    using difference_type = std::ptrdiff_t;
    iterator() noexcept = default;
    explicit iterator(ImapIterator& from) : from_(&from) {}
    [[nodiscard]] value_type& operator*() const { return *from_->current_; }
    iterator& operator++() {
      from_->current_ = from_->next();
      return *this;
    }
    void operator++(int) { ++*this; }
    [[nodiscard]] friend bool operator==(const iterator& at, std::default_sentinel_t /*end*/) { return at.ended(); }

   private:
    [[nodiscard]] bool ended() const { return !from_->current_.has_value(); }
    ImapIterator* from_ = nullptr;
  };
  /// Takes the first result that is left.
  [[nodiscard]] iterator begin() {
    current_ = next();
    return iterator(*this);
  }
  [[nodiscard]] std::default_sentinel_t end() const noexcept { return {}; }

 private:
  value_type take_item() {
    if constexpr (std::is_void_v<R>) {
      ++at_;
      return {};
    } else {
      return std::move(values_[at_++]);
    }
  }
  void top_up() {
    while (!at_end_ && window_left() > 0) {
      try {
        at_end_ = !submit_();
      } catch (...) {
        at_end_ = true;
        input_error_ = std::current_exception();
      }
    }
  }
  [[nodiscard]] std::size_t window_left() const {
    const std::lock_guard guard(state_->backend().mutex());
    const std::size_t outstanding = state_->outstanding();
    return outstanding < window_ ? window_ - outstanding : 0;
  }

  std::shared_ptr<detail::ImapState<R>> state_;
  std::size_t window_;
  std::function<bool()> submit_;
  bool at_end_ = false;
  std::exception_ptr input_error_;  // what the input threw, or the pool when it took no more
  typename detail::ImapState<R>::Payload values_{};
  std::size_t items_ = 0;
  std::size_t at_ = 0;
  std::optional<value_type> current_;
};

}  // namespace runrig
