#pragma once

#include <algorithm>
#include <concepts>
#include <cstddef>
#include <initializer_list>
#include <iterator>
#include <memory>
#include <mutex>
#include <ranges>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "runrig/shm/shared.hpp"
#include "runrig/shm/slice.hpp"

namespace runrig {

namespace detail {
/// Throw std::invalid_argument and std::length_error.
void check_same_count(std::uint64_t given, std::uint64_t selected);
void check_text_fits(std::size_t text_bytes, std::size_t array_bytes);

/// What makes an array of char: "text", std::string, std::string_view.
template <class Text, class T>
concept TextOf = std::same_as<T, char> && std::convertible_to<const Text&, std::string_view>;
/// What makes an array of T element by element, and does not lie in memory as one.
template <class Range, class T>
concept ElementsOf = std::ranges::input_range<const Range> && std::ranges::sized_range<const Range> &&
                     std::convertible_to<std::ranges::range_reference_t<const Range>, T> &&
                     !std::convertible_to<const Range&, std::span<const T>> &&
                     !TextOf<Range, T>;
}  // namespace detail

/// A fixed number of elements in shared memory, without a lock. Assigning another RawArray makes this one refer to what
/// the other refers to.
///
/// An array of char holds a string as well, with or without NULs: value() and raw().
template <PlainData T>
class RawArray {
 public:
  using value_type = T;

  /// `count` elements, all bytes zero. Throws Error not_enough_memory.
  explicit RawArray(std::size_t count)
      : block_(SharedBlock::allocate(detail::block_bytes(count, sizeof(T)), detail::block_alignment<T>)) {}
  explicit RawArray(std::span<const T> initial) : RawArray(initial.size()) {
    std::uninitialized_copy(initial.begin(), initial.end(), begin());
  }
  RawArray(std::initializer_list<T> initial) : RawArray(std::span(initial.begin(), initial.size())) {}
  /// From any range that knows its size, such as std::views::iota(0, 10).
  template <detail::ElementsOf<T> Range>
  explicit RawArray(const Range& initial) : RawArray(static_cast<std::size_t>(std::ranges::size(initial))) {
    std::ranges::transform(initial, begin(), [](const auto& each) { return static_cast<T>(each); });
  }
  /// The characters of a text, without a NUL behind them.
  template <detail::TextOf<T> Text>
  explicit RawArray(const Text& text) : RawArray(std::span<const char>(std::string_view(text))) {}

  /// Throws std::logic_error if the block is not a whole number of elements, and as Shared::attach() does.
  [[nodiscard]] static RawArray attach(const BlockHandle& handle) {
    RawArray array(SharedBlock::attach(handle));
    detail::check_block(handle, handle.bytes / sizeof(T) * sizeof(T));
    return array;
  }

  [[nodiscard]] std::size_t size() const noexcept { return block_.bytes().size() / sizeof(T); }
  [[nodiscard]] bool empty() const noexcept { return size() == 0; }
  [[nodiscard]] T* data() const noexcept { return reinterpret_cast<T*>(block_.bytes().data()); }
  [[nodiscard]] std::span<T> span() const noexcept { return {data(), size()}; }
  [[nodiscard]] T* begin() const noexcept { return data(); }
  [[nodiscard]] T* end() const noexcept { return data() + size(); }
  [[nodiscard]] T& operator[](std::size_t index) const noexcept { return data()[index]; }
  /// Throws std::out_of_range.
  [[nodiscard]] T& at(std::size_t index) const {
    detail::check_index(index, size());
    return data()[index];
  }

  /// Copies of the selected elements: get({-2, {}}) are the last two, get() all.
  [[nodiscard]] std::vector<T> get(const Slice& slice = {}) const {
    const auto selected = slice.resolve(size());
    std::vector<T> copies;
    copies.reserve(selected.count);
    for (std::uint64_t i = 0; i < selected.count; ++i) copies.push_back(data()[selected.at(i)]);
    return copies;
  }
  /// Assigns to the selected elements. Throws std::invalid_argument unless there are as many values.
  void set(const Slice& slice, std::span<const T> values) const {
    const auto selected = slice.resolve(size());
    detail::check_same_count(values.size(), selected.count);
    for (std::uint64_t i = 0; i < selected.count; ++i) data()[selected.at(i)] = values[i];
  }
  void set(const Slice& slice, std::initializer_list<T> values) const {
    set(slice, std::span(values.begin(), values.size()));
  }

  /// ctypes' `value`: the characters up to the first NUL, or to the end.
  [[nodiscard]] std::string value() const requires std::same_as<T, char> {
    return std::string(begin(), std::find(begin(), end(), '\0'));
  }
  /// Writes the text, and a NUL behind it if there is room; what follows stays. Throws std::length_error if it is too
  /// long.
  void set_value(std::string_view text) const requires std::same_as<T, char> {
    set_raw(text);
    if (text.size() < size()) data()[text.size()] = '\0';
  }
  /// ctypes' `raw`: all characters.
  [[nodiscard]] std::string raw() const requires std::same_as<T, char> { return std::string(begin(), end()); }
  /// Writes just these; what follows stays. Throws std::length_error if there are too many.
  void set_raw(std::string_view bytes) const requires std::same_as<T, char> {
    detail::check_text_fits(bytes.size(), size());
    std::copy(bytes.begin(), bytes.end(), begin());
  }

  [[nodiscard]] BlockHandle handle() const { return block_.handle(); }

 private:
  explicit RawArray(SharedBlock block) : block_(std::move(block)) {}

  SharedBlock block_;
};

/// A fixed number of elements with a lock, by default an RLock: as Value. Each call takes the lock, once for a whole
/// slice or text; with_lock() and get_obj() do more in one step.
template <PlainData T, class L = RLock>
class Array : public SynchronizedBase<L> {
 public:
  using value_type = T;

  /// As those of RawArray: `count` zeros, elements, or a text.
  explicit Array(std::size_t count) : Array(count, Shared<L>()) {}
  explicit Array(std::span<const T> initial) : Array(initial, Shared<L>()) {}
  Array(std::initializer_list<T> initial) : Array(initial, Shared<L>()) {}
  template <class Initial>
  requires(detail::ElementsOf<Initial, T> || detail::TextOf<Initial, T>) explicit Array(const Initial& initial)
      : Array(initial, Shared<L>()) {}
  /// The same, guarded by a lock that others may share.
  Array(std::size_t count, Shared<L> lock) : Array(std::move(lock), RawArray<T>(count)) {}
  Array(std::span<const T> initial, Shared<L> lock) : Array(std::move(lock), RawArray<T>(initial)) {}
  Array(std::initializer_list<T> initial, Shared<L> lock) : Array(std::move(lock), RawArray<T>(initial)) {}
  template <class Initial>
  requires(detail::ElementsOf<Initial, T> || detail::TextOf<Initial, T>) Array(const Initial& initial, Shared<L> lock)
      : Array(std::move(lock), RawArray<T>(initial)) {}
  /// A wrapper around an array that is there: see synchronized().
  [[nodiscard]] static Array around(RawArray<T> raw, Shared<L> lock) { return Array(std::move(lock), std::move(raw)); }
  [[nodiscard]] static Array attach(const LockedHandle& handle) {
    return Array(Shared<L>::attach(handle.lock), RawArray<T>::attach(handle.data));
  }

  [[nodiscard]] std::size_t size() const noexcept { return raw_.size(); }
  [[nodiscard]] bool empty() const noexcept { return raw_.empty(); }
  /// Throw std::out_of_range.
  [[nodiscard]] T get(std::size_t index) const {
    const std::lock_guard guard(this->get_lock());
    return raw_.at(index);
  }
  void set(std::size_t index, const T& value) const {
    const std::lock_guard guard(this->get_lock());
    raw_.at(index) = value;
  }
  /// As those of RawArray, in one step.
  [[nodiscard]] std::vector<T> get(const Slice& slice = {}) const {
    const std::lock_guard guard(this->get_lock());
    return raw_.get(slice);
  }
  void set(const Slice& slice, std::span<const T> values) const {
    const std::lock_guard guard(this->get_lock());
    raw_.set(slice, values);
  }
  void set(const Slice& slice, std::initializer_list<T> values) const {
    set(slice, std::span(values.begin(), values.size()));
  }
  [[nodiscard]] std::string value() const requires std::same_as<T, char> {
    const std::lock_guard guard(this->get_lock());
    return raw_.value();
  }
  void set_value(std::string_view text) const requires std::same_as<T, char> {
    const std::lock_guard guard(this->get_lock());
    raw_.set_value(text);
  }
  [[nodiscard]] std::string raw() const requires std::same_as<T, char> {
    const std::lock_guard guard(this->get_lock());
    return raw_.raw();
  }
  void set_raw(std::string_view bytes) const requires std::same_as<T, char> {
    const std::lock_guard guard(this->get_lock());
    raw_.set_raw(bytes);
  }
  /// Calls `function(std::span<T>)` with the lock held and returns what it returns.
  template <class Function>
  decltype(auto) with_lock(Function&& function) const {
    const std::lock_guard guard(this->get_lock());
    return std::forward<Function>(function)(raw_.span());
  }

  /// Goes through copies of the elements, taking the lock for each.
  class Iterator {
   public:
    using value_type = T;
    using difference_type = std::ptrdiff_t;
    using iterator_concept = std::input_iterator_tag;

    Iterator() = default;
    [[nodiscard]] T operator*() const { return array_->get(index_); }
    Iterator& operator++() noexcept {
      ++index_;
      return *this;
    }
    Iterator operator++(int) noexcept { return {array_, index_++}; }
    friend bool operator==(const Iterator&, const Iterator&) = default;

   private:
    friend class Array;
    Iterator(const Array* array, std::size_t index) noexcept : array_(array), index_(index) {}
    const Array* array_ = nullptr;
    std::size_t index_ = 0;
  };
  [[nodiscard]] Iterator begin() const noexcept { return {this, 0}; }
  [[nodiscard]] Iterator end() const noexcept { return {this, size()}; }

  /// The elements without their lock.
  [[nodiscard]] const RawArray<T>& get_obj() const noexcept { return raw_; }
  [[nodiscard]] LockedHandle handle() const { return {raw_.handle(), this->shared_lock().handle()}; }

 private:
  Array(Shared<L> lock, RawArray<T> raw) : SynchronizedBase<L>(std::move(lock)), raw_(std::move(raw)) {}

  RawArray<T> raw_;
};

}  // namespace runrig
