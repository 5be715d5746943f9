#include "runrig/engine/thread_pool.hpp"

#include <algorithm>
#include <array>
#include <cstddef>
#include <deque>
#include <new>
#include <stdexcept>
#include <system_error>
#include <thread>

#include "../process/child.hpp"
#include "../process/own_threads.hpp"
#include "callbacks.hpp"
#include "runrig/engine/machine.hpp"
#include "runrig/sync/error.hpp"
#include "runrig/sync/futex.hpp"
#include "runrig/sync/participant.hpp"

namespace runrig {
namespace detail {

/// The threads of a ThreadPool, and what they have to do. Threads sleep on words of their own and not on
/// std::condition_variable, whose destruction waits for sleepers that a forked child does not have.
class ThreadTeam final : public TaskBackend, public std::enable_shared_from_this<ThreadTeam> {
 public:
  explicit ThreadTeam(const ThreadPoolOptions& options);

  [[nodiscard]] bool wait(const Awaited& awaited, Deadline deadline) override;
  void notify() noexcept override;
  [[nodiscard]] Callbacks& callbacks() noexcept override { return callbacks_; }
  [[nodiscard]] std::shared_ptr<void> keep_alive() override { return shared_from_this(); }

  void start(const std::function<void()>& initializer);
  void submit(std::unique_ptr<ThreadJob> job, bool admitted);
  [[nodiscard]] std::shared_ptr<void> admit();
  void close();
  void terminate() noexcept;
  void join();
  void end_threads() noexcept;
  void check_usable(const char* what) const;
  [[nodiscard]] int size() const noexcept { return size_; }
  [[nodiscard]] bool owned_here() const noexcept { return this_process_identity() == owner_; }

 private:
  void run(const std::function<void()>& initializer);
  void check_open(const char* what, bool admitted) const;
  // With the mutex held.
  void ended() noexcept;
  [[nodiscard]] std::size_t unfinished() const noexcept { return jobs_.size() + running_; }

  const std::string name_;
  const int size_;
  const Identity owner_;
  std::vector<std::thread> threads_;
  std::atomic<std::uint32_t> work_{0};    // one more when there is something to do; the threads sleep on it
  std::atomic<std::uint32_t> change_{0};  // one more when a waiter should look again
  // All below with the mutex held.
  std::deque<std::unique_ptr<ThreadJob>> jobs_;
  std::size_t running_ = 0;
  int idle_ = 0;  // threads that sleep, or are about to
  int started_ = 0;
  std::exception_ptr start_error_;
  bool open_ = true;
  bool stopping_ = false;
  int admitted_ = 0;
  // Tasks that ended; and at which count the first of those who sleep wants to be woken.
  std::uint64_t ended_ = 0;
  std::uint64_t wake_at_ = UINT64_MAX;
  Callbacks callbacks_;
};

namespace {

// In which team's thread this is.
thread_local const ThreadTeam* own_team = nullptr;

int checked_size(const ThreadPoolOptions& options) {
  if (options.workers < 0) {
    throw std::logic_error("make thread pool '" + options.name + "': " + std::to_string(options.workers) + " threads");
  }
  return options.workers == 0 ? usable_cpu_count() : options.workers;
}

}  // namespace

ThreadTeam::ThreadTeam(const ThreadPoolOptions& options)
    : name_(options.name), size_(checked_size(options)), owner_(this_process_identity()) {}

void ThreadTeam::start(const std::function<void()>& initializer) {
  {
    const SignalsBlocked blocked;  // the new threads inherit that
    try {
      for (int i = 0; i < size_; ++i) threads_.emplace_back([this, &initializer] { run(initializer); });
    } catch (const std::system_error& error) {
      end_threads();
      throw Error(error.code(), "start the threads of thread pool", name_);
    }
  }
  struct AllStarted final : Awaited {
    explicit AllStarted(const ThreadTeam& team) : of(team) {}
    [[nodiscard]] bool satisfied() const noexcept override { return of.started_ == of.size_; }
    [[nodiscard]] std::size_t missing() const noexcept override { return 0; }  // they notify
    const ThreadTeam& of;
  };
  (void)wait(AllStarted(*this), Deadline());
  std::exception_ptr error;
  {
    const std::lock_guard guard(mutex());
    error = start_error_;
  }
  if (!error) return;
  end_threads();
  std::rethrow_exception(error);
}

void ThreadTeam::run(const std::function<void()>& initializer) {
  own_team = this;
  std::exception_ptr error;
  try {
    if (initializer) initializer();
  } catch (...) {
    error = std::current_exception();
  }
  {
    const std::lock_guard guard(mutex());
    if (error && !start_error_) start_error_ = std::move(error);
    ++started_;
  }
  notify();
  for (;;) {
    // Acquire: pairs with submit(). Read before the queue is looked at, so that a job in between ends the sleep.
    const std::uint32_t seen = work_.load(std::memory_order_acquire);
    std::unique_ptr<ThreadJob> job;
    {
      const std::lock_guard guard(mutex());
      if (jobs_.empty()) {
        if (stopping_) return;
        ++idle_;
      } else {
        job = std::move(jobs_.front());
        jobs_.pop_front();
        ++running_;
      }
    }
    if (!job) {
      (void)futex_wait(work_, seen, Deadline());
      const std::lock_guard guard(mutex());
      --idle_;
      continue;
    }
    job->run();
    {
      const std::lock_guard guard(mutex());
      job->deliver();
      --running_;
      ended();
    }
    job.reset();  // with the mutex free: it may be the last owner of the result
  }
}

void ThreadTeam::ended() noexcept {
  if (++ended_ < wake_at_) return;
  wake_at_ = UINT64_MAX;
  notify();
}

void ThreadTeam::notify() noexcept {
  // Release: pairs with the acquire in wait().
  change_.fetch_add(1, std::memory_order_release);
  futex_wake_all(change_);
}

bool ThreadTeam::wait(const Awaited& awaited, Deadline deadline) {
  for (;;) {
    const std::uint32_t seen = change_.load(std::memory_order_acquire);
    check_usable("wait for a result");
    {
      const std::lock_guard guard(mutex());
      if (awaited.satisfied()) return true;
      if (const std::size_t missing = awaited.missing(); missing > 0) wake_at_ = std::min(wake_at_, ended_ + missing);
    }
    if (deadline.passed()) return false;
    const OutsideGate outside;
    (void)futex_wait(change_, seen, deadline);
  }
}

void ThreadTeam::check_usable(const char* what) const {
  if (!owned_here()) throw std::logic_error(std::string(what) + ": only the process that made the thread pool may");
}

void ThreadTeam::check_open(const char* what, bool admitted) const {
  check_usable(what);
  if (!open_ && (!admitted || stopping_)) {
    throw std::logic_error(std::string(what) + " on thread pool '" + name_ + "': the pool was closed");
  }
}

void ThreadTeam::submit(std::unique_ptr<ThreadJob> job, bool admitted) {
  bool wake = false;
  {
    const std::lock_guard guard(mutex());
    check_open("submit a task", admitted);
    jobs_.push_back(std::move(job));
    wake = idle_ > 0;
  }
  work_.fetch_add(1, std::memory_order_release);  // pairs with run()
  if (wake) futex_wake(work_, 1);
}

std::shared_ptr<void> ThreadTeam::admit() {
  const std::lock_guard guard(mutex());
  check_open("submit a map", false);
  ++admitted_;
  return {nullptr, [team = shared_from_this()](void* /*nothing*/) {
            if (!team->owned_here()) return;
            const std::lock_guard guard_of_end(team->mutex());
            --team->admitted_;
          }};
}

void ThreadTeam::close() {
  check_usable("close a thread pool");
  const std::lock_guard guard(mutex());
  open_ = false;
}

void ThreadTeam::terminate() noexcept {
  std::deque<std::unique_ptr<ThreadJob>> dropped;  // destroyed when the mutex is free
  {
    const std::lock_guard guard(mutex());
    open_ = false;
    stopping_ = true;
    dropped.swap(jobs_);
    const auto error = std::make_exception_ptr(Cancelled("run a task on thread pool '" + name_ + "', which was ended"));
    for (const auto& each : dropped) each->drop(error);
  }
  notify();
}

void ThreadTeam::join() {
  check_usable("join a thread pool");
  if (own_team == this) throw std::logic_error("join thread pool '" + name_ + "': a task of it cannot wait for itself");
  struct AllDone final : Awaited {
    explicit AllDone(ThreadTeam& team) : of(team) {}
    [[nodiscard]] bool satisfied() const noexcept override {
      return missing() == 0 && (in_own_thread() || of.callbacks_.outstanding() == 0);
    }
    [[nodiscard]] std::size_t missing() const noexcept override { return of.unfinished(); }
    ThreadTeam& of;
  };
  {
    const std::lock_guard guard(mutex());
    if (open_) {
      throw std::logic_error("join thread pool '" + name_ + "': it is still running; close or terminate it first");
    }
  }
  (void)wait(AllDone(*this), Deadline());
  end_threads();
  std::exception_ptr error;
  {
    const std::lock_guard guard(mutex());
    error = callbacks_.take_error();
  }
  if (error) std::rethrow_exception(error);
}

void ThreadTeam::end_threads() noexcept {
  std::vector<std::thread> ending;
  {
    const std::lock_guard guard(mutex());
    open_ = false;
    stopping_ = true;
    ending.swap(threads_);
  }
  work_.fetch_add(1, std::memory_order_release);
  futex_wake_all(work_);
  for (std::thread& each : ending) each.join();
  callbacks_.stop(*this);
}

std::shared_ptr<TaskBackend> ThreadCalls::backend() const noexcept { return team_; }
int ThreadCalls::workers() const noexcept { return team_->size(); }
std::shared_ptr<void> ThreadCalls::admit() { return team_->admit(); }
void ThreadCalls::submit(std::unique_ptr<ThreadJob> job, bool admitted) { team_->submit(std::move(job), admitted); }

namespace {

// The end of a pool; in a forked child its threads do not exist, and what they held then is held for ever: it is left.
void end_team(std::shared_ptr<ThreadTeam> team) noexcept {
  if (!team) return;
  if (!team->owned_here()) {
    // Moved to where no destructor is called.
    using Left = std::shared_ptr<ThreadTeam>;
    alignas(Left) std::array<std::byte, sizeof(Left)> left;
    new (left.data()) Left(std::move(team));
    return;
  }
  team->terminate();
  team->end_threads();
}

}  // namespace
}  // namespace detail

ThreadPool::ThreadPool(int workers)
    : ThreadPool([&] {
        ThreadPoolOptions options;
        options.workers = workers;
        return options;
      }()) {}

ThreadPool::ThreadPool(const ThreadPoolOptions& options) : team_(std::make_shared<detail::ThreadTeam>(options)) {
  team_->start(options.initializer);
}

ThreadPool::ThreadPool(ThreadPool&&) noexcept = default;

ThreadPool& ThreadPool::operator=(ThreadPool&& other) noexcept {
  if (this != &other) {
    detail::end_team(std::move(team_));
    team_ = std::move(other.team_);
  }
  return *this;
}

ThreadPool::~ThreadPool() { detail::end_team(std::move(team_)); }

int ThreadPool::size() const noexcept { return team_->size(); }

detail::ThreadCalls ThreadPool::calls(const char* what) {
  if (!team_) throw std::logic_error(std::string(what) + ": the thread pool was moved from");
  team_->check_usable(what);
  return detail::ThreadCalls(team_);
}

void ThreadPool::close() { (void)calls("close"), team_->close(); }

void ThreadPool::terminate() noexcept {
  if (team_ && team_->owned_here()) team_->terminate();
}

void ThreadPool::join() { (void)calls("join"), team_->join(); }

}  // namespace runrig
