#pragma once

#include <cstddef>
#include <initializer_list>
#include <memory>
#include <mutex>
#include <new>
#include <span>
#include <stdexcept>
#include <type_traits>
#include <utility>

#include "runrig/shm/heap.hpp"
#include "runrig/sync/address_free.hpp"
#include "runrig/sync/lock.hpp"

/// Small objects in shared memory, after Python's multiprocessing.Value and its kin.
///
/// All of these are *references* to memory from the heap: a copy names the same memory. A child made by fork uses the
/// parent's at once; any other process attaches by handle(), a plain value that can be sent. The memory belongs to the
/// process that made it and is given back with the last copy there (see SharedBlock), so the maker must keep one as
/// long as others use it. Access is not synchronised, except where a lock is named.
namespace runrig {

/// Types whose bytes mean the same in every process. Pointers are excluded where C++ can see them; a struct
/// with a pointer inside cannot be told, and is the caller's fault.
template <class T>
concept PlainData = std::is_trivially_copyable_v<T> && std::is_trivially_destructible_v<T> && !std::is_pointer_v<T> &&
                    !std::is_member_pointer_v<T> && !std::is_reference_v<T> && !std::is_const_v<T>;

namespace detail {
/// A block of its own cache line at least, whatever T asks.
template <class T>
inline constexpr std::size_t block_alignment = alignof(T) > cache_line ? alignof(T) : cache_line;
/// Throws Error not_enough_memory if the product does not fit.
[[nodiscard]] std::size_t block_bytes(std::size_t count, std::size_t item_bytes);
/// Throws std::logic_error unless the block has `bytes` bytes.
void check_block(const BlockHandle& handle, std::size_t bytes);
void check_index(std::size_t index, std::size_t size);
}  // namespace detail

/// What Shared<T> can hold.
template <class T>
concept Shareable = PlainData<T> ||(is_address_free<T> && !std::is_const_v<T>);

/// One object of type T in shared memory: a primitive of sync, or plain data. Made in place from the arguments; the
/// memory is given back without running a destructor, which shareable types do not need.
template <Shareable T>
class Shared {
 public:
  template <class... Arguments>
  requires std::is_constructible_v<T, Arguments...>
  explicit Shared(std::in_place_t, Arguments&&... arguments)
      : Shared(SharedBlock::allocate(sizeof(T), detail::block_alignment<T>)) {
    ::new (static_cast<void*>(block_.bytes().data())) T(std::forward<Arguments>(arguments)...);
  }
  /// Value-initialised.
  Shared() : Shared(std::in_place) {}

  /// Refers to an object that another process made. Throws Error if its memory is gone, std::logic_error if it was
  /// freed or has another size.
  [[nodiscard]] static Shared attach(const BlockHandle& handle) {
    Shared shared(SharedBlock::attach(handle));
    detail::check_block(handle, sizeof(T));
    return shared;
  }

  [[nodiscard]] T& operator*() const noexcept { return *get(); }
  [[nodiscard]] T* operator->() const noexcept { return get(); }
  [[nodiscard]] T* get() const noexcept { return std::launder(reinterpret_cast<T*>(block_.bytes().data())); }
  [[nodiscard]] BlockHandle handle() const { return block_.handle(); }
  [[nodiscard]] const SharedBlock& block() const noexcept { return block_; }

 private:
  explicit Shared(SharedBlock block) : block_(std::move(block)) {}

  SharedBlock block_;
};

/// A number or plain struct in shared memory, without a lock. Assigning a T writes it there; assigning another RawValue
/// makes this one refer to what the other refers to, as names in Python do.
template <PlainData T>
class RawValue {
 public:
  using value_type = T;

  explicit RawValue(const T& initial = T{}) : shared_(std::in_place, initial) {}
  [[nodiscard]] static RawValue attach(const BlockHandle& handle) { return RawValue(Shared<T>::attach(handle)); }

  [[nodiscard]] T& value() const noexcept { return *shared_; }
  operator T() const noexcept { return *shared_; }  // NOLINT(google-explicit-constructor): reads as a T does
  const RawValue& operator=(const T& value) const noexcept {
    *shared_ = value;
    return *this;
  }
  [[nodiscard]] BlockHandle handle() const { return shared_.handle(); }

 private:
  explicit RawValue(Shared<T> shared) : shared_(std::move(shared)) {}

  Shared<T> shared_;
};

/// A fixed number of elements in shared memory, without a lock.
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
  [[nodiscard]] BlockHandle handle() const { return block_.handle(); }

 private:
  explicit RawArray(SharedBlock block) : block_(std::move(block)) {}

  SharedBlock block_;
};

/// Names a Value or an Array to another process.
struct LockedHandle {
  BlockHandle data;
  BlockHandle lock;
};
static_assert(std::is_trivially_copyable_v<LockedHandle>);

/// A number or plain struct with a lock, by default an RLock, as in Python. Each single access takes the lock;
/// for several in one step:
///
///     counter.with_lock([](int& value) { ++value; });
///     const std::lock_guard guard(counter.get_lock());    // the same; get() and set() inside take an RLock again
///     counter.set(counter.get() + 1);
///
/// If the holder of the lock died, each access throws OwnerDied until someone recovers it: get_lock().recover().
template <PlainData T, class L = RLock>
class Value {
 public:
  using value_type = T;

  explicit Value(const T& initial = T{}) : raw_(initial) {}
  /// Guarded by a lock that others may share.
  Value(const T& initial, Shared<L> lock) : lock_(std::move(lock)), raw_(initial) {}
  [[nodiscard]] static Value attach(const LockedHandle& handle) {
    return Value(Shared<L>::attach(handle.lock), RawValue<T>::attach(handle.data));
  }

  [[nodiscard]] T get() const {
    const std::lock_guard guard(*lock_);
    return raw_.value();
  }
  void set(const T& value) const {
    const std::lock_guard guard(*lock_);
    raw_.value() = value;
  }
  operator T() const { return get(); }  // NOLINT(google-explicit-constructor): reads as a T does
  const Value& operator=(const T& value) const {
    set(value);
    return *this;
  }
  /// Calls `function(T&)` with the lock held and returns what it returns. What it changed before throwing stays.
  template <class Function>
  decltype(auto) with_lock(Function&& function) const {
    const std::lock_guard guard(*lock_);
    return std::forward<Function>(function)(raw_.value());
  }

  [[nodiscard]] L& get_lock() const noexcept { return *lock_; }
  /// The value without its lock.
  [[nodiscard]] const RawValue<T>& get_obj() const noexcept { return raw_; }
  [[nodiscard]] LockedHandle handle() const { return {raw_.handle(), lock_.handle()}; }

 private:
  Value(Shared<L> lock, RawValue<T> raw) : lock_(std::move(lock)), raw_(std::move(raw)) {}

  Shared<L> lock_;
  RawValue<T> raw_;
};

/// A fixed number of elements with a lock, by default an RLock. As Value.
template <PlainData T, class L = RLock>
class Array {
 public:
  using value_type = T;

  /// `count` elements, all bytes zero.
  explicit Array(std::size_t count) : raw_(count) {}
  explicit Array(std::span<const T> initial) : raw_(initial) {}
  Array(std::initializer_list<T> initial) : raw_(initial) {}
  Array(std::span<const T> initial, Shared<L> lock) : lock_(std::move(lock)), raw_(initial) {}
  [[nodiscard]] static Array attach(const LockedHandle& handle) {
    return Array(Shared<L>::attach(handle.lock), RawArray<T>::attach(handle.data));
  }

  [[nodiscard]] std::size_t size() const noexcept { return raw_.size(); }
  /// Throw std::out_of_range.
  [[nodiscard]] T get(std::size_t index) const {
    const std::lock_guard guard(*lock_);
    return raw_.at(index);
  }
  void set(std::size_t index, const T& value) const {
    const std::lock_guard guard(*lock_);
    raw_.at(index) = value;
  }
  /// Calls `function(std::span<T>)` with the lock held and returns what it returns.
  template <class Function>
  decltype(auto) with_lock(Function&& function) const {
    const std::lock_guard guard(*lock_);
    return std::forward<Function>(function)(raw_.span());
  }

  [[nodiscard]] L& get_lock() const noexcept { return *lock_; }
  /// The elements without their lock.
  [[nodiscard]] const RawArray<T>& get_obj() const noexcept { return raw_; }
  [[nodiscard]] LockedHandle handle() const { return {raw_.handle(), lock_.handle()}; }

 private:
  Array(Shared<L> lock, RawArray<T> raw) : lock_(std::move(lock)), raw_(std::move(raw)) {}

  Shared<L> lock_;
  RawArray<T> raw_;
};

}  // namespace runrig
