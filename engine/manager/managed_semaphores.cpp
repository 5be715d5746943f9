#include <algorithm>

#include "standard_referents.hpp"

/// Semaphore, BoundedSemaphore, Event and Barrier of Python's module threading. What a process holds that is gone is
/// given back.
namespace runrig::detail {
namespace {

using pickle::Object;

class Semaphore final : public TableReferent<Semaphore> {
 public:
  Semaphore(std::int64_t value, bool bounded) : value_(value), initial_(value), bounded_(bounded) {
    if (value < 0) throw ManagedError("ValueError", {"semaphore initial value must be >= 0"});
  }
  static const Table& table() {
    static const Table methods{{"acquire", &Semaphore::acquire}, {"release", &Semaphore::release}};
    return methods;
  }
  [[nodiscard]] std::string text() const override {
    const auto guard = monitor_.lock();
    return "<Semaphore, value " + std::to_string(value_) + ">";
  }
  void forget_process(std::uint64_t process) override {
    const auto guard = monitor_.lock();
    const auto held = held_.find(process);
    if (held == held_.end()) return;
    value_ += held->second;
    if (bounded_) value_ = std::min(value_, initial_);
    held_.erase(held);
    monitor_.changed();
  }

 private:
  Object acquire(const ManagedCall& call) {
    const Deadline deadline = acquire_deadline(call);
    auto guard = monitor_.lock();
    const auto outcome = monitor_.wait(guard, deadline, call.caller, [&] { return value_ > 0; });
    if (outcome == Monitor::Outcome::gone || call.caller.gone()) throw CallerGone();
    if (outcome == Monitor::Outcome::timed_out) return false;
    --value_;
    if (call.caller.process() != 0) ++held_[call.caller.process()];
    return true;
  }
  Object release(const ManagedCall& call) {
    const Arguments args(call.method, call.args, call.kwargs, {"n"});
    const std::int64_t count = args.integer(0, 1);
    if (count < 1) throw ManagedError("ValueError", {"n must be one or more"});
    const auto guard = monitor_.lock();
    if ((bounded_ && value_ + count > initial_) || value_ > INT64_MAX - count) {
      throw ManagedError("ValueError", {"Semaphore released too many times"});
    }
    value_ += count;
    const auto held = held_.find(call.caller.process());
    if (held != held_.end() && (held->second -= count) <= 0) held_.erase(held);
    monitor_.changed();
    return {};
  }
  mutable Monitor monitor_;
  std::int64_t value_;
  const std::int64_t initial_;
  const bool bounded_;
  std::map<std::uint64_t, std::int64_t> held_;
};

class Event final : public TableReferent<Event> {
 public:
  static const Table& table() {
    static const Table methods{
        {"is_set", &Event::is_set}, {"set", &Event::set}, {"clear", &Event::clear}, {"wait", &Event::wait}};
    return methods;
  }
  [[nodiscard]] std::string text() const override {
    const auto guard = monitor_.lock();
    return set_ ? "<Event: set>" : "<Event: unset>";
  }

 private:
  Object is_set(const ManagedCall& call) {
    const Arguments none(call.method, call.args, call.kwargs, {});
    const auto guard = monitor_.lock();
    return set_;
  }
  Object change(const ManagedCall& call, bool to) {
    const Arguments none(call.method, call.args, call.kwargs, {});
    const auto guard = monitor_.lock();
    set_ = to;
    if (to) ++times_set_;
    monitor_.changed();
    return {};
  }
  Object set(const ManagedCall& call) { return change(call, true); }
  Object clear(const ManagedCall& call) { return change(call, false); }
  Object wait(const ManagedCall& call) {
    const Arguments args(call.method, call.args, call.kwargs, {"timeout"});
    const Deadline deadline = args.deadline(0);
    auto guard = monitor_.lock();
    // A set() that is followed by clear() at once wakes all who waited.
    const std::uint64_t before = times_set_;
    const auto outcome = monitor_.wait(guard, deadline, call.caller, [&] { return set_ || times_set_ != before; });
    if (outcome == Monitor::Outcome::gone) throw CallerGone();
    return outcome == Monitor::Outcome::ready;
  }
  mutable Monitor monitor_;
  bool set_ = false;
  std::uint64_t times_set_ = 0;
};

class Barrier final : public TableReferent<Barrier> {
 public:
  Barrier(std::int64_t parties, Object timeout) : parties_(parties), timeout_(std::move(timeout)) {
    if (parties < 1) throw ManagedError("ValueError", {"parties must be > 0"});
  }
  static const Table& table() {
    static const Table methods{{"__getattribute__", &Barrier::attribute},
                               {"abort", &Barrier::abort},
                               {"reset", &Barrier::reset},
                               {"wait", &Barrier::wait}};
    return methods;
  }
  [[nodiscard]] std::string text() const override {
    const auto guard = monitor_.lock();
    return "<Barrier of " + std::to_string(parties_) + ", " + std::to_string(waiting_) + " waiting>";
  }

 private:
  // One coming together of all parties.
  struct Round {
    bool complete = false;
    bool broken = false;
  };
  Object attribute(const ManagedCall& call) {
    const Arguments args(call.method, call.args, call.kwargs, {"name"});
    const std::string name = args.at(0).kind() == pickle::Kind::string ? args.at(0).as_string() : "";
    const auto guard = monitor_.lock();
    if (name == "parties") return parties_;
    if (name == "n_waiting") return waiting_;
    if (name == "broken") return broken_;
    throw ManagedError("AttributeError", {"'Barrier' object has no attribute '" + name + "'"});
  }
  void break_round() {
    round_->broken = true;
    round_ = std::make_shared<Round>();
    waiting_ = 0;
    monitor_.changed();
  }
  Object abort(const ManagedCall& call) {
    const Arguments none(call.method, call.args, call.kwargs, {});
    const auto guard = monitor_.lock();
    broken_ = true;
    break_round();
    return {};
  }
  Object reset(const ManagedCall& call) {
    const Arguments none(call.method, call.args, call.kwargs, {});
    const auto guard = monitor_.lock();
    broken_ = false;
    break_round();
    return {};
  }
  Object wait(const ManagedCall& call) {
    const Arguments args(call.method, call.args, call.kwargs, {"timeout"});
    const Object no_kwargs = Object::dict();
    const bool own = args.find(0) != nullptr && !args.at(0).is_none();
    const std::vector<Object> default_timeout{timeout_};
    const Deadline deadline =
        own ? args.deadline(0) : Arguments("wait", default_timeout, no_kwargs, {"timeout"}).deadline(0);
    auto guard = monitor_.lock();
    if (broken_) throw ManagedError("threading.BrokenBarrierError");
    const std::shared_ptr<Round> round = round_;
    const std::int64_t index = waiting_++;
    if (waiting_ == parties_) {
      round->complete = true;
      round_ = std::make_shared<Round>();
      waiting_ = 0;
      monitor_.changed();
      return index;
    }
    const auto outcome = monitor_.wait(guard, deadline, call.caller, [&] { return round->complete || round->broken; });
    if (outcome == Monitor::Outcome::ready && round->complete) return index;
    if (outcome != Monitor::Outcome::ready) {
      broken_ = true;
      break_round();
    }
    if (outcome == Monitor::Outcome::gone) throw CallerGone();
    throw ManagedError("threading.BrokenBarrierError");
  }
  mutable Monitor monitor_;
  const std::int64_t parties_;
  const Object timeout_;
  std::int64_t waiting_ = 0;
  bool broken_ = false;
  std::shared_ptr<Round> round_ = std::make_shared<Round>();
};

}  // namespace

void add_semaphores(ManagedTypes& types) {
  using Span = std::span<const Object>;
  for (const bool bounded : {false, true}) {
    const char* const type_id = bounded ? "BoundedSemaphore" : "Semaphore";
    add_standard<Semaphore>(types, type_id, [type_id, bounded](Span args, const Object& kwargs) {
      const Arguments given(type_id, args, kwargs, {"value"});
      return std::make_shared<Semaphore>(given.integer(0, 1), bounded);
    });
  }
  add_standard<Event>(types, "Event", [](Span args, const Object& kwargs) {
    const Arguments none("Event", args, kwargs, {});
    return std::make_shared<Event>();
  });
  add_standard<Barrier>(types, "Barrier", [](Span args, const Object& kwargs) {
    const Arguments given("Barrier", args, kwargs, {"parties", "action", "timeout"});
    if (given.find(1) != nullptr && !given.at(1).is_none()) wrong_argument("Barrier", "an action cannot cross");
    return std::make_shared<Barrier>(given.integer(0), given.find(2) != nullptr ? given.at(2) : Object());
  });
}

}  // namespace runrig::detail
