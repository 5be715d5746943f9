#include "worker.hpp"

#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <exception>
#include <new>
#include <type_traits>

#include "runrig/sync/error.hpp"

namespace runrig::bench {

double sum_of(std::span<const double> values) noexcept {
  using Lanes [[gnu::vector_size(64)]] = double;
  constexpr std::size_t width = sizeof(Lanes) / sizeof(double);
  Lanes lanes{};
  std::size_t i = 0;
  for (; i + width <= values.size(); i += width) {
    Lanes next;
    std::memcpy(&next, values.data() + i, sizeof next);
    lanes += next;
  }
  double sum = 0;
  for (std::size_t lane = 0; lane < width; ++lane) sum += lanes[lane];
  for (; i < values.size(); ++i) sum += values[i];
  return sum;
}

bool move_to_cpu(int cpu) noexcept {
  cpu_set_t only;
  CPU_ZERO(&only);
  CPU_SET(cpu, &only);
  return ::sched_setaffinity(0, sizeof only, &only) == 0;
}

Placement::Placement() noexcept {
  if (::sched_getaffinity(0, sizeof before_, &before_) != 0) return;  // more CPUs than a cpu_set_t holds
  std::optional<int> first, last;
  for (int cpu = 0; cpu < CPU_SETSIZE; ++cpu) {
    if (!CPU_ISSET(cpu, &before_)) continue;
    if (!first) first = cpu;
    last = cpu;  // far from the first: neighbours may be two threads of one core
  }
  if (first == last || !move_to_cpu(*first)) return;
  asking_ = first;
  worker_ = last;
}

Placement::~Placement() {
  if (asking_) (void)::sched_setaffinity(0, sizeof before_, &before_);
}

/// What both processes see. Requests are numbered; the parent asks for one only when it has the answer to the last.
struct Worker::Board {
  alignas(cache_line) std::atomic<std::uint32_t> asked{0};
  alignas(cache_line) std::atomic<std::uint32_t> answered{0};
  double sum = 0;
  char error[500] = {};  // empty: `sum` is right
};

Worker::Worker(std::string name, const std::function<std::function<double()>()>& prepare,
               std::function<bool()> cancelled, std::optional<int> cpu)
    : name_(std::move(name)),
      cancelled_(std::move(cancelled)),
      memory_(AnonymousMemory::create("runrig-bench", sizeof(Board))) {
  static_assert(std::is_standard_layout_v<Board>);
  new (memory_.writable_bytes().data()) Board;
  const int parent = ::getpid();
  // NOLINTNEXTLINE(cppcoreguidelines-prefer-member-initializer): when all else is there
  pid_ = check_errno(::fork(), "fork", name_);
  if (pid_ == 0) work(parent, cpu, prepare);
  // An unreaped child keeps its number, so this finds the right process.
  pidfd_.reset(static_cast<int>(::syscall(SYS_pidfd_open, pid_, 0)));
}

Worker::~Worker() {
  ::kill(pid_, SIGKILL);
  int status = 0;
  (void)retry_on_eintr([&] { return ::waitpid(pid_, &status, 0); });
}

Worker::Board& Worker::board() const noexcept {
  return *std::launder(reinterpret_cast<Board*>(memory_.writable_bytes().data()));
}

void Worker::work(int parent, std::optional<int> cpu,
                  const std::function<std::function<double()>()>& prepare) const noexcept {
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (::getppid() != parent) ::_exit(1);  // it died before that call
  ::signal(SIGINT, SIG_IGN);              // Ctrl-C goes to the whole group; the parent decides
  if (cpu) (void)move_to_cpu(*cpu);
  std::function<double()> task;
  try {
    task = prepare();
  } catch (...) {
    task = [failure = std::current_exception()]() -> double { std::rethrow_exception(failure); };
  }
  for (std::uint32_t number = 1;; ++number) {
    // Acquire: pairs with the release in ask(); what the parent wrote before it asked is seen.
    while (board().asked.load(std::memory_order_acquire) != number) {
      futex_wait(board().asked, number - 1, Deadline());
    }
    answer(task, number);
  }
}

void Worker::answer(const std::function<double()>& task, std::uint32_t number) const noexcept {
  try {
    board().sum = task();
  } catch (const std::exception& error) {
    std::strncpy(board().error, error.what(), sizeof board().error - 1);  // the last byte stays 0
  }
  // Release: pairs with the acquire in ask(); who sees the number sees sum and error.
  board().answered.store(number, std::memory_order_release);
  futex_wake_all(board().answered);
}

void Worker::check() const {
  if (cancelled_ && cancelled_()) throw Cancelled("measure " + name_);
  pollfd death{pidfd_.get(), POLLIN, 0};
  if (::poll(&death, 1, 0) > 0) throw Error(std::errc::no_such_process, "measure", name_ + ": the worker died");
  check_answer();
}

void Worker::check_answer() const {
  // Acquire: pairs with the release in answer(). Relaxed: only this process writes `asked`.
  const std::uint32_t number = board().answered.load(std::memory_order_acquire);
  if (number == board().asked.load(std::memory_order_relaxed) && board().error[0] != '\0') {
    throw Error(std::errc::io_error, "measure", name_ + ": in the worker: " + board().error);
  }
}

double Worker::ask(const std::function<void()>& hand_over) {
  check();
  // Relaxed: only this process writes it.
  const std::uint32_t number = board().asked.load(std::memory_order_relaxed) + 1;
  // Release: pairs with the acquire in work().
  board().asked.store(number, std::memory_order_release);
  futex_wake_all(board().asked);
  if (hand_over) hand_over();
  // Acquire: pairs with the release in answer().
  while (board().answered.load(std::memory_order_acquire) != number) {
    if (futex_wait(board().answered, number - 1, Deadline::after(look_around)) == FutexWait::timed_out) check();
  }
  check_answer();
  return board().sum;
}

}  // namespace runrig::bench
