#include <deque>

#include "standard_referents.hpp"

/// Queue and JoinableQueue: Python's queue.Queue.
namespace runrig::detail {
namespace {

using pickle::Object;

class ManagedQueue final : public TableReferent<ManagedQueue> {
 public:
  explicit ManagedQueue(std::int64_t maxsize) : maxsize_(maxsize) {}
  static const Table& table();
  [[nodiscard]] std::string text() const override { return "<queue.Queue object>"; }

 private:
  using Call = const ManagedCall&;
  [[nodiscard]] bool is_full() const { return maxsize_ > 0 && items_.size() >= static_cast<std::size_t>(maxsize_); }
  static Deadline deadline_of(const Arguments& args, std::size_t block) {
    if (!args.boolean(block, true)) return Deadline::after(std::chrono::nanoseconds(0));
    const Object* const timeout = args.find(block + 1);
    if (timeout != nullptr && !timeout->is_none() && timeout->as_number() < 0) {
      throw ManagedError("ValueError", {"'timeout' must be a non-negative number"});
    }
    return args.deadline(block + 1);
  }
  Object put_before(Call call, const Object& item, Deadline deadline) {
    auto guard = monitor_.lock();
    switch (monitor_.wait(guard, deadline, call.caller, [&] { return !is_full(); })) {
      case Monitor::Outcome::timed_out:
        throw ManagedError("queue.Full");
      case Monitor::Outcome::gone:
        throw CallerGone();
      case Monitor::Outcome::ready:
        break;
    }
    items_.push_back(item);
    ++unfinished_;
    monitor_.changed();
    return {};
  }
  Object get_before(Call call, Deadline deadline) {
    auto guard = monitor_.lock();
    switch (monitor_.wait(guard, deadline, call.caller, [&] { return !items_.empty(); })) {
      case Monitor::Outcome::timed_out:
        throw ManagedError("queue.Empty");
      case Monitor::Outcome::gone:
        throw CallerGone();
      case Monitor::Outcome::ready:
        break;
    }
    // A caller that has gone while others kept the queue busy would take it to nowhere.
    if (call.caller.gone()) throw CallerGone();
    Object item = std::move(items_.front());
    items_.pop_front();
    monitor_.changed();
    return item;
  }
  Object put(Call call) {
    const Arguments args(call.method, call.args, call.kwargs, {"item", "block", "timeout"});
    return put_before(call, args.at(0), deadline_of(args, 1));
  }
  Object put_nowait(Call call) {
    const Arguments args(call.method, call.args, call.kwargs, {"item"});
    return put_before(call, args.at(0), Deadline::after(std::chrono::nanoseconds(0)));
  }
  Object get(Call call) {
    const Arguments args(call.method, call.args, call.kwargs, {"block", "timeout"});
    return get_before(call, deadline_of(args, 0));
  }
  Object get_nowait(Call call) {
    const Arguments none(call.method, call.args, call.kwargs, {});
    return get_before(call, Deadline::after(std::chrono::nanoseconds(0)));
  }
  Object qsize(Call call) {
    const Arguments none(call.method, call.args, call.kwargs, {});
    const auto guard = monitor_.lock();
    return items_.size();
  }
  Object empty(Call call) {
    const Arguments none(call.method, call.args, call.kwargs, {});
    const auto guard = monitor_.lock();
    return items_.empty();
  }
  Object full(Call call) {
    const Arguments none(call.method, call.args, call.kwargs, {});
    const auto guard = monitor_.lock();
    return is_full();
  }
  Object task_done(Call call) {
    const Arguments none(call.method, call.args, call.kwargs, {});
    const auto guard = monitor_.lock();
    if (unfinished_ == 0) throw ManagedError("ValueError", {"task_done() called too many times"});
    --unfinished_;
    monitor_.changed();
    return {};
  }
  Object join(Call call) {
    const Arguments none(call.method, call.args, call.kwargs, {});
    auto guard = monitor_.lock();
    if (monitor_.wait(guard, {}, call.caller, [&] { return unfinished_ == 0; }) == Monitor::Outcome::gone) {
      throw CallerGone();
    }
    return {};
  }

  mutable Monitor monitor_;
  std::int64_t maxsize_;
  std::deque<Object> items_;
  std::size_t unfinished_ = 0;
};

const ManagedQueue::Table& ManagedQueue::table() {
  static const Table methods{{"put", &ManagedQueue::put},     {"put_nowait", &ManagedQueue::put_nowait},
                             {"get", &ManagedQueue::get},     {"get_nowait", &ManagedQueue::get_nowait},
                             {"qsize", &ManagedQueue::qsize}, {"empty", &ManagedQueue::empty},
                             {"full", &ManagedQueue::full},   {"task_done", &ManagedQueue::task_done},
                             {"join", &ManagedQueue::join}};
  return methods;
}

}  // namespace

void add_queues(ManagedTypes& types) {
  for (const char* type_id : {"Queue", "JoinableQueue"}) {
    add_standard<ManagedQueue>(types, type_id, [](std::span<const Object> args, const Object& kwargs) {
      const Arguments given("Queue", args, kwargs, {"maxsize"});
      return std::make_shared<ManagedQueue>(given.integer(0, 0));
    });
  }
}

}  // namespace runrig::detail
