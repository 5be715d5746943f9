#include "runrig/engine/launch.hpp"

#include <algorithm>
#include <stdexcept>
#include <utility>

#include "../process/failure_text.hpp"
#include "pool_state.hpp"
#include "runrig/sync/error.hpp"

namespace runrig {
namespace detail {
namespace {

constexpr std::chrono::milliseconds liveness_check(100);

LaunchRecord make_record(const LaunchOptions& options, std::uintptr_t code, std::size_t closure_bytes,
                         std::uint32_t epoch) {
  if (options.slices > max_slices) {
    throw std::logic_error("launch: " + std::to_string(options.slices) + " slices; at most " +
                           std::to_string(max_slices) + " are possible");
  }
  if (options.first_slice > UINT32_MAX - options.slices) throw std::logic_error("launch: first_slice is too large");
  if (options.max_kills < 1 || options.max_kills > most_kills) {
    throw std::logic_error("launch: max_kills is " + std::to_string(options.max_kills) + "; 1 to " +
                           std::to_string(most_kills) + " are possible");
  }
  LaunchRecord record;
  record.code = code;
  record.cpu_limit_ns = options.cpu_limit.count();
  record.wall_limit_ns = options.wall_limit.count();
  record.epoch = epoch;
  record.slices = options.slices;
  record.first_slice = options.first_slice;
  record.closure_bytes = static_cast<std::uint32_t>(closure_bytes);
  record.max_kills = options.max_kills;
  record.retry_crashes = options.retry_crashes ? 1 : 0;
  record.keep_going = options.keep_going ? 1 : 0;
  return record;
}

}  // namespace

Launch PoolState::launch(const LaunchOptions& given, const KernelEntry& kernel, const void* closure,
                         std::size_t closure_bytes) {
  const std::unique_lock guard(launch_mutex, std::try_to_lock);
  if (!guard.owns_lock() || launch_under_way()) {
    throw std::logic_error("launch on pool '" + options.name +
                           "': another launch is under way; wait for it, or make a second pool");
  }
  Garbage garbage;  // destroyed after the mutex is free
  const std::lock_guard books(tasks.mutex());
  end_if_done_or_broken(garbage);
  check_takes_tasks("launch", false);
  const std::uintptr_t code = name_for_workers(kernel, reinterpret_cast<std::uintptr_t>(kernel.body));
  if (!given.trust_captures) check_kernel_captures(closure, closure_bytes);
  std::uint32_t epoch = current.epoch + 1;
  if (epoch == 0) ++epoch;  // 0 is "none"
  current = make_record(given, code, closure_bytes, epoch);
  memory.clear_failures();
  Control& control = *view.control;
  control.launch.publish(current, closure);
  // After the record: a worker that has the old record finds an epoch here that it does not know, and takes nothing.
  // Release as the ring is; workers that do see it early only find the next record.
  control.next.store(EpochWord{epoch, 0}.pack(), std::memory_order_release);
  current_epoch.store(epoch, std::memory_order_release);
  if (given.slices > 0) {
    ring(control);
    if (current.cpu_limit_ns > 0 || current.wall_limit_ns > 0) poke_template();
  }
  return {shared_from_this(), epoch, given};
}

bool PoolState::is_finished(std::uint32_t epoch) const noexcept {
  // A newer launch could only begin when this one was finished.
  return current_epoch.load(std::memory_order_acquire) != epoch || count_finished(view, epoch) == current.slices;
}

bool PoolState::wait(std::uint32_t epoch, Deadline deadline) {
  Control& control = *view.control;
  bool looked = false;  // whether the template lives: who only asks now and then is to learn of its death as well
  for (;;) {
    // Acquire: pairs with report_progress(). Read first, so that a report in between ends the wait at once.
    const std::uint32_t seen = control.progress.load(std::memory_order_acquire);
    if (is_finished(epoch)) {
      const std::lock_guard guard(tasks.mutex());
      template_restarts = 0;
      return true;
    }
    check_usable_here("wait for a launch");
    {
      Garbage garbage;
      const std::lock_guard guard(tasks.mutex());
      (void)tasks.drain(garbage);  // workers with no room for their results run no slices
      end_if_done_or_broken(garbage);
    }
    if (is_finished(epoch)) continue;
    if (looked && deadline.passed()) return false;
    // The template wakes us for all but its own death, so this wait is cut to look for that.
    if (!deadline.passed() &&
        futex_wait(control.progress, seen, deadline.sooner(Deadline::after(liveness_check))) != FutexWait::timed_out) {
      continue;
    }
    Garbage garbage;
    const std::lock_guard guard(tasks.mutex());
    look_after_template(garbage);
    looked = true;
  }
}

void PoolState::settle_as_lost(const std::string& why) noexcept {
  if (current.epoch == 0 || is_finished(current.epoch)) return;
  const FailureRecord details{};
  settle_all(view, current, SliceState::lost, log_failure(view, details, "", "was not run to its end: " + why));
  report_progress(*view.control);
}

void PoolState::cancel(std::uint32_t epoch) noexcept {
  // Relaxed: nothing goes with it, and a moment later is early enough.
  if (epoch != 0) view.control->cancelled.store(epoch, std::memory_order_relaxed);
}

void PoolState::share_segment(SegmentId id) {
  const std::lock_guard guard(segments_mutex);
  segments.insert(id);
}

std::uintptr_t PoolState::name_for_workers(const CodeEntry& entry, std::uintptr_t function) const {
  if (is_forked()) {
    captures.check_code(function);
    return function;
  }
  const auto address = reinterpret_cast<std::uintptr_t>(&entry);
  if (!modules.still_has(address, entry.code())) CaptureCheck::refuse_code();
  return address;
}

void PoolState::check_function(std::uintptr_t function) const {
  if (is_forked()) return captures.check_code(function);
  if (!modules.name(function)) CaptureCheck::refuse_code();
}

void PoolState::check_kernel_captures(const void* closure, std::size_t closure_bytes) const {
  check_captures({"launch: the kernel's",
                  "capture numbers by value, pass arrays as arguments, and put shared data into the pool's arena"},
                 {static_cast<const std::byte*>(closure), closure_bytes});
}

void PoolState::check_captures(const CaptureCheck::Words& words, std::span<const std::byte> closure) const {
  const Arena& arena = *options.arena;
  captures.check_captures(words, closure, [&arena](const void* address) { return arena.contains(address); });
}

}  // namespace detail

Launch::Launch(std::shared_ptr<detail::PoolState> pool, std::uint32_t epoch, const LaunchOptions& options) noexcept
    : pool_(std::move(pool)), epoch_(epoch), slices_(options.slices), first_slice_(options.first_slice) {}

Launch::Launch(Launch&& other) noexcept
    : pool_(std::move(other.pool_)),
      epoch_(std::exchange(other.epoch_, 0)),
      slices_(std::exchange(other.slices_, 0)),
      first_slice_(std::exchange(other.first_slice_, 0)) {}

Launch& Launch::operator=(Launch&& other) noexcept {
  if (this != &other) {
    Launch old(std::move(*this));  // its destructor cancels and waits
    pool_ = std::move(other.pool_);
    epoch_ = std::exchange(other.epoch_, 0);
    slices_ = std::exchange(other.slices_, 0);
    first_slice_ = std::exchange(other.first_slice_, 0);
  }
  return *this;
}

Launch::~Launch() {
  if (!pool_ || !pool_->owned_here() || in_worker_process()) return;
  cancel();
  (void)pool_->wait(epoch_, Deadline());
}

bool Launch::wait(Deadline deadline) { return !pool_ || pool_->wait(epoch_, deadline); }

void Launch::wait() { (void)wait(Deadline()); }

void Launch::get() {
  wait();
  const std::uint32_t slice = first_not_done(first_slice_);
  if (slice == first_slice_ + slices_) return;
  SliceOutcome outcome = this->outcome(slice);
  // A cancelled slice tells nothing if another one is the reason.
  for (std::uint32_t at = slice; outcome.state == SliceState::cancelled && at < first_slice_ + slices_;) {
    at = first_not_done(at + 1);
    if (at < first_slice_ + slices_) {
      if (auto other = this->outcome(at); other.state != SliceState::cancelled) {
        throw_for(at, std::move(other));
      }
    }
  }
  throw_for(slice, std::move(outcome));
}

void Launch::throw_for(std::uint32_t slice, SliceOutcome outcome) const {
  const std::string where = "slice " + std::to_string(slice);
  switch (outcome.state) {
    case SliceState::failed:
      throw RemoteError(std::move(outcome.exception_type), std::move(outcome.message), outcome.worker, where);
    case SliceState::cancelled:
      throw Cancelled("run " + where + " on pool '" + pool_->options.name + "'");
    default:
      throw WorkerLost(outcome.worker, outcome.signal,
                       where + " on pool '" + pool_->options.name + "': its worker " + outcome.message);
  }
}

std::uint32_t Launch::slices() const noexcept { return slices_; }

std::uint32_t Launch::finished_slices() const noexcept {
  if (!pool_) return 0;
  if (pool_->is_finished(epoch_)) return slices_;
  return detail::count_finished(pool_->view, epoch_);
}

bool Launch::finished() const noexcept { return !pool_ || pool_->is_finished(epoch_); }

void Launch::cancel() noexcept {
  if (pool_ && !finished()) pool_->cancel(epoch_);
}

void Launch::terminate() noexcept {
  if (!pool_ || finished()) return;
  pool_->cancel(epoch_);
  // Relaxed: the template only acts on it for a launch that it finds under way.
  pool_->view.control->terminated.store(epoch_, std::memory_order_relaxed);
  pool_->poke_template();
}

void Launch::check_number(std::uint32_t slice) const {
  if (slice < first_slice_ || slice - first_slice_ >= slices_) {
    throw std::logic_error("look at slice " + std::to_string(slice) + " of a launch: it has slices " +
                           std::to_string(first_slice_) + " to " + std::to_string(first_slice_ + slices_));
  }
  // Acquire: pairs with launch(); its table is the newest launch's.
  if (pool_->current_epoch.load(std::memory_order_acquire) != epoch_) {
    throw std::logic_error("look at a slice of a launch: the pool has begun another one since");
  }
}

SliceOutcome Launch::outcome(std::uint32_t slice) const {
  check_number(slice);
  const std::uint32_t index = slice - first_slice_;
  // Acquire: pairs with whoever made the slice final; then its failure record can be read.
  const auto word = detail::SliceWord::unpack(pool_->view.table[index].load(std::memory_order_acquire));
  SliceOutcome outcome;
  if (word.epoch != epoch_) return outcome;
  outcome.state = word.state;
  outcome.attempts = word.attempts;
  outcome.worker = word.pid;
  if (word.state == SliceState::failed || word.state == SliceState::lost || word.state == SliceState::stalled) {
    const std::uint32_t place = pool_->view.failures[index].load(std::memory_order_relaxed);
    detail::read_failure(pool_->view, place, outcome);
  }
  return outcome;
}

std::uint32_t Launch::first_not_done(std::uint32_t from) const {
  const std::uint32_t end = first_slice_ + slices_;
  if (slices_ == 0) return end;
  check_number(first_slice_);
  for (std::uint32_t slice = std::max(from, first_slice_); slice < end; ++slice) {
    const std::uint64_t bits =
        pool_->view.table[slice - first_slice_].load(std::memory_order_acquire);  // as in outcome()
    const auto word = detail::SliceWord::unpack(bits);
    if (word.epoch == epoch_ && detail::is_final(word.state) && word.state != SliceState::done) return slice;
  }
  return end;
}

}  // namespace runrig
