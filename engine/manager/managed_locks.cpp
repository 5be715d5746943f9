#include <algorithm>
#include <deque>

#include "object_table.hpp"
#include "standard_referents.hpp"

/// Lock, RLock and Condition: those of Python's module threading, whose threads are here the clients' connections. What
/// a process holds that is gone is released.
namespace runrig::detail {
namespace {

using pickle::Object;

/// What a Condition waits with: a Lock or an RLock.
class ConditionLock {
 public:
  /// How it was held.
  struct Hold {
    std::uint64_t depth = 1;
  };
  ConditionLock() = default;
  ConditionLock(const ConditionLock&) = delete;
  ConditionLock& operator=(const ConditionLock&) = delete;
  virtual ~ConditionLock() = default;
  virtual Object acquire(const ManagedCall& call) = 0;
  virtual Object release(const ManagedCall& call) = 0;
  [[nodiscard]] virtual std::string shown() const = 0;
  virtual void forget(std::uint64_t process, std::uint64_t connection) = 0;
  // With the monitor's lock held:
  [[nodiscard]] virtual bool is_owned(const ManagedCall& call) const = 0;
  virtual Hold let_go() = 0;
  /// False if it was not to be had before the deadline. Throws CallerGone.
  [[nodiscard]] virtual bool take(std::unique_lock<std::mutex>& guard, const ManagedCall& call, Deadline deadline,
                                  Hold hold) = 0;
  [[nodiscard]] Monitor& monitor() const noexcept { return monitor_; }

 protected:
  mutable Monitor monitor_;
};

class Lock final : public TableReferent<Lock>, public ConditionLock {
 public:
  static const Table& table() {
    static const Table methods{{"acquire", &Lock::acquire}, {"release", &Lock::release}, {"locked", &Lock::locked}};
    return methods;
  }
  [[nodiscard]] std::string text() const override { return shown(); }
  void forget_process(std::uint64_t process) override { forget(process, 0); }

  [[nodiscard]] std::string shown() const override {
    const auto guard = monitor_.lock();
    return locked_ ? "<locked Lock>" : "<unlocked Lock>";
  }
  void forget(std::uint64_t process, std::uint64_t /*connection*/) override {
    const auto guard = monitor_.lock();
    if (!locked_ || process == 0 || holder_ != process) return;
    locked_ = false;
    monitor_.changed();
  }
  Object acquire(const ManagedCall& call) override {
    const Deadline deadline = acquire_deadline(call);
    auto guard = monitor_.lock();
    return take(guard, call, deadline, {});
  }
  Object release(const ManagedCall& call) override {
    const Arguments none(call.method, call.args, call.kwargs, {});
    const auto guard = monitor_.lock();
    if (!locked_) throw ManagedError("RuntimeError", {"release unlocked lock"});
    (void)let_go();
    return {};
  }
  // Python's Condition cannot tell whose it is either.
  [[nodiscard]] bool is_owned(const ManagedCall& /*call*/) const override { return locked_; }
  Hold let_go() override {
    locked_ = false;
    monitor_.changed();
    return {};
  }
  [[nodiscard]] bool take(std::unique_lock<std::mutex>& guard, const ManagedCall& call, Deadline deadline,
                          Hold /*hold*/) override {
    const auto outcome = monitor_.wait(guard, deadline, call.caller, [&] { return !locked_; });
    if (outcome == Monitor::Outcome::gone || call.caller.gone()) throw CallerGone();
    if (outcome == Monitor::Outcome::timed_out) return false;
    locked_ = true;
    holder_ = call.caller.process();
    return true;
  }

 private:
  Object locked(const ManagedCall& call) {
    const Arguments none(call.method, call.args, call.kwargs, {});
    const auto guard = monitor_.lock();
    return locked_;
  }
  bool locked_ = false;
  std::uint64_t holder_ = 0;
};

/// Belongs to a connection.
class RLock final : public TableReferent<RLock>, public ConditionLock {
 public:
  static const Table& table() {
    static const Table methods{{"acquire", &RLock::acquire}, {"release", &RLock::release}};
    return methods;
  }
  [[nodiscard]] std::string text() const override { return shown(); }
  void forget_connection(std::uint64_t connection) override { forget(0, connection); }

  [[nodiscard]] std::string shown() const override {
    const auto guard = monitor_.lock();
    return depth_ != 0 ? "<locked RLock>" : "<unlocked RLock>";
  }
  void forget(std::uint64_t /*process*/, std::uint64_t connection) override {
    const auto guard = monitor_.lock();
    if (connection == 0 || owner_ != connection) return;
    (void)let_go();
  }
  Object acquire(const ManagedCall& call) override {
    const Deadline deadline = acquire_deadline(call);
    auto guard = monitor_.lock();
    if (!is_owned(call)) return take(guard, call, deadline, {});
    ++depth_;
    return true;
  }
  Object release(const ManagedCall& call) override {
    const Arguments none(call.method, call.args, call.kwargs, {});
    const auto guard = monitor_.lock();
    if (!is_owned(call)) throw ManagedError("RuntimeError", {"cannot release un-acquired lock"});
    if (--depth_ == 0) (void)let_go();
    return {};
  }
  [[nodiscard]] bool is_owned(const ManagedCall& call) const override { return owner_ == call.caller.connection(); }
  Hold let_go() override {
    const Hold hold{depth_};
    owner_ = depth_ = 0;
    monitor_.changed();
    return hold;
  }
  [[nodiscard]] bool take(std::unique_lock<std::mutex>& guard, const ManagedCall& call, Deadline deadline,
                          Hold hold) override {
    const auto outcome = monitor_.wait(guard, deadline, call.caller, [&] { return owner_ == 0; });
    if (outcome == Monitor::Outcome::gone || call.caller.gone()) throw CallerGone();
    if (outcome == Monitor::Outcome::timed_out) return false;
    owner_ = call.caller.connection();
    depth_ = hold.depth;
    return true;
  }

 private:
  std::uint64_t owner_ = 0;  // no connection has the number 0
  std::uint64_t depth_ = 0;
};

class Condition final : public TableReferent<Condition> {
 public:
  /// With an RLock of its own, or a lock that may be an object by itself.
  explicit Condition(std::shared_ptr<ConditionLock> lock) : lock_(std::move(lock)) {}
  static const Table& table() {
    static const Table methods{{"acquire", &Condition::acquire},
                               {"release", &Condition::release},
                               {"wait", &Condition::wait},
                               {"notify", &Condition::notify},
                               {"notify_all", &Condition::notify_all}};
    return methods;
  }
  [[nodiscard]] std::string text() const override { return "<Condition(" + lock_->shown() + ")>"; }
  void forget_process(std::uint64_t process) override { lock_->forget(process, 0); }
  void forget_connection(std::uint64_t connection) override { lock_->forget(0, connection); }

 private:
  Object acquire(const ManagedCall& call) { return lock_->acquire(call); }
  Object release(const ManagedCall& call) { return lock_->release(call); }
  Object wait(const ManagedCall& call) {
    const Arguments args(call.method, call.args, call.kwargs, {"timeout"});
    const Deadline deadline = args.deadline(0);
    Monitor& monitor = lock_->monitor();
    auto guard = monitor.lock();
    if (!lock_->is_owned(call)) throw ManagedError("RuntimeError", {"cannot wait on un-acquired lock"});
    const auto self = std::make_shared<bool>(false);
    waiters_.push_back(self);
    const auto hold = lock_->let_go();
    const auto outcome = monitor.wait(guard, deadline, call.caller, [&] { return *self; });
    // Whoever was not notified does not stand in the way of those that wait.
    if (!*self) std::erase(waiters_, self);
    if (outcome == Monitor::Outcome::gone) throw CallerGone();
    (void)lock_->take(guard, call, {}, hold);
    return outcome == Monitor::Outcome::ready;
  }
  Object notify(const ManagedCall& call) {
    const Arguments args(call.method, call.args, call.kwargs, {"n"});
    return wake(call, static_cast<std::size_t>(std::max<std::int64_t>(args.integer(0, 1), 0)));
  }
  Object notify_all(const ManagedCall& call) {
    const Arguments none(call.method, call.args, call.kwargs, {});
    return wake(call, SIZE_MAX);
  }
  Object wake(const ManagedCall& call, std::size_t count) {
    const auto guard = lock_->monitor().lock();
    if (!lock_->is_owned(call)) throw ManagedError("RuntimeError", {"cannot notify on un-acquired lock"});
    for (; count != 0 && !waiters_.empty(); --count) {
      *waiters_.front() = true;
      waiters_.pop_front();
    }
    lock_->monitor().changed();
    return {};
  }
  const std::shared_ptr<ConditionLock> lock_;
  std::deque<std::shared_ptr<bool>> waiters_;  // guarded by the lock's monitor
};

}  // namespace

void add_locks(ManagedTypes& types) {
  using Span = std::span<const Object>;
  add_standard<Lock>(types, "Lock", [](Span args, const Object& kwargs) {
    const Arguments none("Lock", args, kwargs, {});
    return std::make_shared<Lock>();
  });
  add_standard<RLock>(types, "RLock", [](Span args, const Object& kwargs) {
    const Arguments none("RLock", args, kwargs, {});
    return std::make_shared<RLock>();
  });
  add_standard<Condition>(types, "Condition", [](Span args, const Object& kwargs) {
    const Arguments given("Condition", args, kwargs, {"lock"});
    if (given.find(0) == nullptr || given.at(0).is_none())
      return std::make_shared<Condition>(std::make_shared<RLock>());
    auto lock = std::dynamic_pointer_cast<ConditionLock>(served_object(given.at(0)));
    if (lock == nullptr) wrong_argument("Condition", "'lock' is no Lock or RLock of this manager");
    return std::make_shared<Condition>(std::move(lock));
  });
}

}  // namespace runrig::detail
