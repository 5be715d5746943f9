#pragma once

#include <mutex>
#include <new>
#include <utility>

#include "runrig/shm/array.hpp"
#include "runrig/shm/shared.hpp"

/// Small objects in shared memory, after Python's multiprocessing.Value, Array and sharedctypes.
///
/// Python's `lock` argument is a matter of types here: `lock=True` is Value and Array, `lock=some_lock` their
/// constructors that take a Shared<Lock> or Shared<RLock>, `lock=False` is RawValue and RawArray.
namespace runrig {

/// A number or plain struct in shared memory, without a lock. Assigning a T writes it there; assigning another RawValue
/// makes this one refer to what the other refers to, as names in Python do.
template <PlainData T>
class RawValue {
 public:
  using value_type = T;

  /// Zero (T{}) or as given.
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

/// A number or plain struct with a lock, by default an RLock, as in Python. Each single access takes the lock;
/// for several in one step:
///
///     counter.with_lock([](int& value) { ++value; });
///     const std::lock_guard guard(counter.get_lock());    // the same; get() and set() inside take an RLock again
///     counter.set(counter.get() + 1);
template <PlainData T, class L = RLock>
class Value : public SynchronizedBase<L> {
 public:
  using value_type = T;

  explicit Value(const T& initial = T{}) : Value(initial, Shared<L>()) {}
  /// Guarded by a lock that others may share.
  Value(const T& initial, Shared<L> lock) : Value(std::move(lock), RawValue<T>(initial)) {}
  /// A wrapper around a value that is there: see synchronized().
  [[nodiscard]] static Value around(RawValue<T> raw, Shared<L> lock) { return Value(std::move(lock), std::move(raw)); }
  [[nodiscard]] static Value attach(const LockedHandle& handle) {
    return Value(Shared<L>::attach(handle.lock), RawValue<T>::attach(handle.data));
  }

  [[nodiscard]] T get() const {
    const std::lock_guard guard(this->get_lock());
    return raw_.value();
  }
  void set(const T& value) const {
    const std::lock_guard guard(this->get_lock());
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
    const std::lock_guard guard(this->get_lock());
    return std::forward<Function>(function)(raw_.value());
  }

  /// The value without its lock.
  [[nodiscard]] const RawValue<T>& get_obj() const noexcept { return raw_; }
  [[nodiscard]] LockedHandle handle() const { return {raw_.handle(), this->shared_lock().handle()}; }

 private:
  Value(Shared<L> lock, RawValue<T> raw) : SynchronizedBase<L>(std::move(lock)), raw_(std::move(raw)) {}

  RawValue<T> raw_;
};

/// A new object in shared memory with the same contents. Of a locked one, the contents are those of one moment, and the
/// copy has a lock of its own.
template <PlainData T>
[[nodiscard]] RawValue<T> copy(const RawValue<T>& original) {
  return RawValue<T>(original.value());
}
template <PlainData T, class L>
[[nodiscard]] Value<T, L> copy(const Value<T, L>& original) {
  return Value<T, L>(original.get());
}
template <PlainData T>
[[nodiscard]] RawArray<T> copy(const RawArray<T>& original) {
  return RawArray<T>(original.span());
}
template <PlainData T, class L>
[[nodiscard]] Array<T, L> copy(const Array<T, L>& original) {
  return original.with_lock([](std::span<T> elements) { return Array<T, L>(elements); });
}

/// The same object (not a copy), guarded by `lock`. Without one, by a new RLock. Whoever uses `raw` itself goes round
/// the lock.
template <PlainData T, class L = RLock>
[[nodiscard]] Value<T, L> synchronized(RawValue<T> raw, Shared<L> lock = Shared<L>()) {
  return Value<T, L>::around(std::move(raw), std::move(lock));
}
template <PlainData T, class L = RLock>
[[nodiscard]] Array<T, L> synchronized(RawArray<T> raw, Shared<L> lock = Shared<L>()) {
  return Array<T, L>::around(std::move(raw), std::move(lock));
}

}  // namespace runrig
