#pragma once

#include <chrono>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <tuple>
#include <utility>
#include <vector>

#include "runrig/channel/python_error.hpp"
#include "runrig/engine/manager.hpp"

/// Proxies of the types that Python's SyncManager has, with their methods in C++ types: what Python's ListProxy,
/// DictProxy and so on are. They refer to objects of a server in C++ or in Python alike, and throw what Proxy::call()
/// throws: a pickle::PythonError for an IndexError or KeyError, FormatError for elements that are no T.
namespace runrig {

namespace detail {
/// A timeout as Python has it: seconds.
[[nodiscard]] inline double seconds_of(std::chrono::duration<double> timeout) noexcept { return timeout.count(); }
}  // namespace detail

/// Of a "list". T: what its elements are; pickle::Object for any; ListProxy<U> and the like for lists of lists.
template <class T = pickle::Object>
class ListProxy : public Proxy {
 public:
  ListProxy() noexcept = default;
  explicit ListProxy(Proxy proxy) noexcept : Proxy(std::move(proxy)) {}
  [[nodiscard]] std::size_t size() const { return call<std::size_t>("__len__"); }
  /// Negative indices are from the end, here and below.
  [[nodiscard]] T operator[](std::int64_t index) const { return call<T>("__getitem__", index); }
  [[nodiscard]] std::vector<T> operator[](const pickle::Slice& slice) const {
    return call<std::vector<T>>("__getitem__", pickle::Object(slice));
  }
  void set(std::int64_t index, const T& value) const { call<void>("__setitem__", index, value); }
  void set(const pickle::Slice& slice, const std::vector<T>& values) const {
    call<void>("__setitem__", pickle::Object(slice), values);
  }
  void erase(std::int64_t index) const { call<void>("__delitem__", index); }
  void erase(const pickle::Slice& slice) const { call<void>("__delitem__", pickle::Object(slice)); }
  void append(const T& value) const { call<void>("append", value); }
  void extend(const std::vector<T>& values) const { call<void>("extend", values); }
  void insert(std::int64_t index, const T& value) const { call<void>("insert", index, value); }
  T pop(std::int64_t index = -1) const { return call<T>("pop", index); }
  void remove(const T& value) const { call<void>("remove", value); }
  [[nodiscard]] std::size_t index(const T& value) const { return call<std::size_t>("index", value); }
  [[nodiscard]] std::size_t count(const T& value) const { return call<std::size_t>("count", value); }
  [[nodiscard]] bool contains(const T& value) const { return call<bool>("__contains__", value); }
  void reverse() const { call<void>("reverse"); }
  void sort() const { call<void>("sort"); }
  /// All elements, as they are now.
  [[nodiscard]] std::vector<T> copy() const { return (*this)[pickle::Slice{}]; }
};

/// What next() of Python's IteratorProxy is.
template <class T = pickle::Object>
class IteratorProxy : public Proxy {
 public:
  IteratorProxy() noexcept = default;
  explicit IteratorProxy(Proxy proxy) noexcept : Proxy(std::move(proxy)) {}
  /// None at the end.
  [[nodiscard]] std::optional<T> next() const {
    return taken([&] { return call<T>("__next__"); });
  }
  /// Of a pool's. Throws a PythonError for multiprocessing's TimeoutError.
  [[nodiscard]] std::optional<T> next(std::chrono::duration<double> timeout) const {
    return taken([&] { return call<T>("__next__", detail::seconds_of(timeout)); });
  }

 private:
  template <class Take>
  static std::optional<T> taken(const Take& take) {
    try {
      return take();
    } catch (const pickle::PythonError& error) {
      if (error.type() == "StopIteration") return std::nullopt;
      throw;
    }
  }
};

/// Of a "dict" with keys K and values V.
template <class K = pickle::Object, class V = pickle::Object>
class DictProxy : public Proxy {
 public:
  DictProxy() noexcept = default;
  explicit DictProxy(Proxy proxy) noexcept : Proxy(std::move(proxy)) {}
  [[nodiscard]] std::size_t size() const { return call<std::size_t>("__len__"); }
  /// Throws a PythonError KeyError if there is none.
  [[nodiscard]] V operator[](const K& key) const { return call<V>("__getitem__", key); }
  [[nodiscard]] std::optional<V> get(const K& key) const { return call<std::optional<V>>("get", key); }
  [[nodiscard]] V get(const K& key, const V& otherwise) const { return call<V>("get", key, otherwise); }
  void set(const K& key, const V& value) const { call<void>("__setitem__", key, value); }
  void erase(const K& key) const { call<void>("__delitem__", key); }
  [[nodiscard]] bool contains(const K& key) const { return call<bool>("__contains__", key); }
  V pop(const K& key) const { return call<V>("pop", key); }
  std::pair<K, V> pop_item() const { return call<std::pair<K, V>>("popitem"); }
  V set_default(const K& key, const V& value) const { return call<V>("setdefault", key, value); }
  void update(const std::map<K, V>& entries) const { call<void>("update", entries); }
  void clear() const { call<void>("clear"); }
  [[nodiscard]] std::vector<K> keys() const { return call<std::vector<K>>("keys"); }
  [[nodiscard]] std::vector<V> values() const { return call<std::vector<V>>("values"); }
  /// In order of insertion.
  [[nodiscard]] std::vector<std::pair<K, V>> items() const { return call<std::vector<std::pair<K, V>>>("items"); }
  /// Over the keys.
  [[nodiscard]] IteratorProxy<K> iterate() const { return IteratorProxy<K>(call<Proxy>("__iter__")); }
};

/// Of a "Namespace".
class NamespaceProxy : public Proxy {
 public:
  NamespaceProxy() noexcept = default;
  explicit NamespaceProxy(Proxy proxy) noexcept : Proxy(std::move(proxy)) {}
  /// Throws a PythonError AttributeError if there is none.
  template <class T = pickle::Object>
  [[nodiscard]] T get(const std::string& name) const {
    return call<T>("__getattribute__", name);
  }
  template <class T>
  void set(const std::string& name, const T& value) const {
    call<void>("__setattr__", name, value);
  }
  void erase(const std::string& name) const { call<void>("__delattr__", name); }
};

/// Of a "Value".
template <class T>
class ValueProxy : public Proxy {
 public:
  ValueProxy() noexcept = default;
  explicit ValueProxy(Proxy proxy) noexcept : Proxy(std::move(proxy)) {}
  [[nodiscard]] T get() const { return call<T>("get"); }
  void set(const T& value) const { call<void>("set", value); }
};

/// Of an "Array".
template <class T>
class ArrayProxy : public Proxy {
 public:
  ArrayProxy() noexcept = default;
  explicit ArrayProxy(Proxy proxy) noexcept : Proxy(std::move(proxy)) {}
  [[nodiscard]] std::size_t size() const { return call<std::size_t>("__len__"); }
  [[nodiscard]] T operator[](std::int64_t index) const { return call<T>("__getitem__", index); }
  void set(std::int64_t index, const T& value) const { call<void>("__setitem__", index, value); }
};

/// Of a "Queue" or "JoinableQueue". Throws Empty and Full.
template <class T = pickle::Object>
class QueueProxy : public Proxy {
 public:
  QueueProxy() noexcept = default;
  explicit QueueProxy(Proxy proxy) noexcept : Proxy(std::move(proxy)) {}
  void put(const T& item) const { call<void>("put", item); }
  void put(const T& item, std::chrono::duration<double> timeout) const {
    call<void>("put", item, true, detail::seconds_of(timeout));
  }
  void put_nowait(const T& item) const { call<void>("put_nowait", item); }
  T get() const { return call<T>("get"); }
  T get(std::chrono::duration<double> timeout) const { return call<T>("get", true, detail::seconds_of(timeout)); }
  T get_nowait() const { return call<T>("get_nowait"); }
  [[nodiscard]] std::size_t qsize() const { return call<std::size_t>("qsize"); }
  [[nodiscard]] bool empty() const { return call<bool>("empty"); }
  [[nodiscard]] bool full() const { return call<bool>("full"); }
  void task_done() const { call<void>("task_done"); }
  void join() const { call<void>("join"); }
};

/// Of a "Lock", "RLock", "Semaphore" or "BoundedSemaphore": Python's AcquirerProxy. Works with std::lock_guard and the
/// like. To a manager, a thread is what a thread is here: each has a connection of its own.
class AcquirerProxy : public Proxy {
 public:
  AcquirerProxy() noexcept = default;
  explicit AcquirerProxy(Proxy proxy) noexcept : Proxy(std::move(proxy)) {}
  void acquire() const { call<void>("acquire"); }
  /// False if it was not to be had in that time.
  [[nodiscard]] bool acquire(std::chrono::duration<double> timeout) const {
    return call<bool>("acquire", true, detail::seconds_of(timeout));
  }
  [[nodiscard]] bool try_acquire() const { return call<bool>("acquire", false); }
  void release() const { call<void>("release"); }
  void lock() const { acquire(); }
  [[nodiscard]] bool try_lock() const { return try_acquire(); }
  void unlock() const { release(); }
};

/// Of a "Condition".
class ConditionProxy : public AcquirerProxy {
 public:
  using AcquirerProxy::AcquirerProxy;
  void wait() const { call<void>("wait"); }
  /// False if it was not notified in that time.
  bool wait(std::chrono::duration<double> timeout) const { return call<bool>("wait", detail::seconds_of(timeout)); }
  template <class Predicate>
  void wait_until_true(Predicate predicate) const {
    while (!predicate()) wait();
  }
  void notify(std::size_t count = 1) const { call<void>("notify", count); }
  void notify_all() const { call<void>("notify_all"); }
};

/// Of an "Event".
class EventProxy : public Proxy {
 public:
  EventProxy() noexcept = default;
  explicit EventProxy(Proxy proxy) noexcept : Proxy(std::move(proxy)) {}
  [[nodiscard]] bool is_set() const { return call<bool>("is_set"); }
  void set() const { call<void>("set"); }
  void clear() const { call<void>("clear"); }
  void wait() const { call<void>("wait"); }
  /// False if it was not set in that time.
  bool wait(std::chrono::duration<double> timeout) const { return call<bool>("wait", detail::seconds_of(timeout)); }
};

/// Of a "Barrier". Throws BrokenBarrier.
class BarrierProxy : public Proxy {
 public:
  BarrierProxy() noexcept = default;
  explicit BarrierProxy(Proxy proxy) noexcept : Proxy(std::move(proxy)) {}
  /// Which of the parties this is.
  std::size_t wait() const { return call<std::size_t>("wait"); }
  std::size_t wait(std::chrono::duration<double> timeout) const {
    return call<std::size_t>("wait", detail::seconds_of(timeout));
  }
  void abort() const { call<void>("abort"); }
  void reset() const { call<void>("reset"); }
  [[nodiscard]] std::size_t parties() const { return call<std::size_t>("__getattribute__", std::string("parties")); }
  [[nodiscard]] std::size_t n_waiting() const {
    return call<std::size_t>("__getattribute__", std::string("n_waiting"));
  }
  [[nodiscard]] bool broken() const { return call<bool>("__getattribute__", std::string("broken")); }
};

/// Of a call that a managed Pool runs.
template <class T = pickle::Object>
class AsyncResultProxy : public Proxy {
 public:
  AsyncResultProxy() noexcept = default;
  explicit AsyncResultProxy(Proxy proxy) noexcept : Proxy(std::move(proxy)) {}
  /// Waits for the value, or throws what the function threw.
  T get() const { return call<T>("get"); }
  /// Throws a PythonError for multiprocessing's TimeoutError.
  T get(std::chrono::duration<double> timeout) const { return call<T>("get", detail::seconds_of(timeout)); }
  void wait() const { call<void>("wait"); }
  void wait(std::chrono::duration<double> timeout) const { call<void>("wait", detail::seconds_of(timeout)); }
  [[nodiscard]] bool ready() const { return call<bool>("ready"); }
  [[nodiscard]] bool successful() const { return call<bool>("successful"); }
};

/// Of a "Pool", which runs functions that the server has under a name: see managed_pool.hpp. R: what they return.
class PoolProxy : public Proxy {
 public:
  PoolProxy() noexcept = default;
  explicit PoolProxy(Proxy proxy) noexcept : Proxy(std::move(proxy)) {}
  template <class R = pickle::Object, class... Args>
  R apply(const std::string& function, const Args&... args) const {
    return call<R>("apply", function, std::tuple<Args...>(args...));
  }
  template <class R = pickle::Object, class... Args>
  [[nodiscard]] AsyncResultProxy<R> apply_async(const std::string& function, const Args&... args) const {
    return AsyncResultProxy<R>(call<Proxy>("apply_async", function, std::tuple<Args...>(args...)));
  }
  template <class R = pickle::Object, class T>
  [[nodiscard]] std::vector<R> map(const std::string& function, const std::vector<T>& items) const {
    return call<std::vector<R>>("map", function, items);
  }
  template <class R = pickle::Object, class T>
  [[nodiscard]] AsyncResultProxy<std::vector<R>> map_async(const std::string& function,
                                                           const std::vector<T>& items) const {
    return AsyncResultProxy<std::vector<R>>(call<Proxy>("map_async", function, items));
  }
  /// The items are tuples of arguments.
  template <class R = pickle::Object, class T>
  [[nodiscard]] std::vector<R> starmap(const std::string& function, const std::vector<T>& items) const {
    return call<std::vector<R>>("starmap", function, items);
  }
  template <class R = pickle::Object, class T>
  [[nodiscard]] IteratorProxy<R> imap(const std::string& function, const std::vector<T>& items) const {
    return IteratorProxy<R>(call<Proxy>("imap", function, items));
  }
  template <class R = pickle::Object, class T>
  [[nodiscard]] IteratorProxy<R> imap_unordered(const std::string& function, const std::vector<T>& items) const {
    return IteratorProxy<R>(call<Proxy>("imap_unordered", function, items));
  }
  void close() const { call<void>("close"); }
  void terminate() const { call<void>("terminate"); }
  void join() const { call<void>("join"); }
};

/// A manager of the types of Python's SyncManager, and perhaps more, with their proxies: `types` begins with
/// ManagedTypes::standard().
///
///     runrig::SyncManager manager;
///     manager.start();
///     auto numbers = manager.list<int>({3, 1, 2});
///     runrig::Process worker([](runrig::ListProxy<int> list) { list.append(4); }, numbers);
template <ManagedTypes (*types)()>
class SyncManagerOf : public ManagerOf<types> {
 public:
  using ManagerOf<types>::ManagerOf;
  template <class T = pickle::Object>
  [[nodiscard]] ListProxy<T> list(const std::vector<T>& items = {}) {
    return this->template create<ListProxy<T>>("list", items);
  }
  template <class K = pickle::Object, class V = pickle::Object>
  [[nodiscard]] DictProxy<K, V> dict(const std::map<K, V>& entries = {}) {
    return this->template create<DictProxy<K, V>>("dict", entries);
  }
  [[nodiscard]] NamespaceProxy Namespace() { return this->template create<NamespaceProxy>("Namespace"); }
  /// `type_code` as for Python's array and ctypes: 'i', 'd'.
  template <class T>
  [[nodiscard]] ValueProxy<T> Value(char type_code, const T& value) {
    return this->template create<ValueProxy<T>>("Value", std::string(1, type_code), value);
  }
  template <class T>
  [[nodiscard]] ArrayProxy<T> Array(char type_code, const std::vector<T>& items) {
    return this->template create<ArrayProxy<T>>("Array", std::string(1, type_code), items);
  }
  template <class T = pickle::Object>
  [[nodiscard]] QueueProxy<T> Queue(std::size_t maxsize = 0) {
    return this->template create<QueueProxy<T>>("Queue", maxsize);
  }
  template <class T = pickle::Object>
  [[nodiscard]] QueueProxy<T> JoinableQueue(std::size_t maxsize = 0) {
    return this->template create<QueueProxy<T>>("JoinableQueue", maxsize);
  }
  [[nodiscard]] AcquirerProxy Lock() { return this->template create<AcquirerProxy>("Lock"); }
  [[nodiscard]] AcquirerProxy RLock() { return this->template create<AcquirerProxy>("RLock"); }
  [[nodiscard]] AcquirerProxy Semaphore(std::size_t value = 1) {
    return this->template create<AcquirerProxy>("Semaphore", value);
  }
  [[nodiscard]] AcquirerProxy BoundedSemaphore(std::size_t value = 1) {
    return this->template create<AcquirerProxy>("BoundedSemaphore", value);
  }
  /// With an RLock of its own.
  [[nodiscard]] ConditionProxy Condition() { return this->template create<ConditionProxy>("Condition"); }
  /// With a Lock or RLock of this manager.
  [[nodiscard]] ConditionProxy Condition(const AcquirerProxy& lock) {
    return this->template create<ConditionProxy>("Condition", lock);
  }
  [[nodiscard]] EventProxy Event() { return this->template create<EventProxy>("Event"); }
  [[nodiscard]] BarrierProxy Barrier(std::size_t parties) {
    return this->template create<BarrierProxy>("Barrier", parties);
  }
  /// 0 processes: one for each CPU that the server may use.
  [[nodiscard]] PoolProxy Pool(std::size_t processes = 0) {
    return this->template create<PoolProxy>("Pool", processes == 0 ? std::optional<std::size_t>() : processes);
  }
};

/// Python's SyncManager, and what its Manager() returns once it is started.
using SyncManager = SyncManagerOf<&ManagedTypes::standard>;

}  // namespace runrig
