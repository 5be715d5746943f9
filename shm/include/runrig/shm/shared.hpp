#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <new>
#include <type_traits>
#include <utility>

#include "runrig/shm/heap.hpp"
#include "runrig/sync/address_free.hpp"
#include "runrig/sync/clock.hpp"
#include "runrig/sync/lock.hpp"

/// One object in shared memory, and what Value, Array and their raw kinds (value.hpp) are built on.
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

/// Names a Value or an Array to another process.
struct LockedHandle {
  BlockHandle data;
  BlockHandle lock;
};
static_assert(std::is_trivially_copyable_v<LockedHandle>);

/// What a Value and an Array have in common: the lock. They are BasicLockables themselves, as Python's are context
/// managers: `std::lock_guard guard(counter);` takes the lock for several accesses in one step.
///
/// If the holder of the lock died, each access throws OwnerDied until someone recovers it: get_lock().recover().
template <class L>
class SynchronizedBase {
 public:
  [[nodiscard]] L& get_lock() const noexcept { return *lock_; }
  /// Those of the lock.
  void lock() const { lock_->lock(); }
  [[nodiscard]] bool try_lock() const { return lock_->try_lock(); }
  void unlock() const { lock_->unlock(); }
  template <class Rep = std::int64_t, class Period = std::nano>
  [[nodiscard]] bool acquire(std::chrono::duration<Rep, Period> timeout = forever) const {
    return lock_->acquire(timeout);
  }
  void release() const { lock_->release(); }

 protected:
  explicit SynchronizedBase(Shared<L> lock) : lock_(std::move(lock)) {}
  [[nodiscard]] const Shared<L>& shared_lock() const noexcept { return lock_; }

 private:
  Shared<L> lock_;
};

}  // namespace runrig
