#include "process_state.hpp"

#include <fcntl.h>
#include <poll.h>
#include <sys/random.h>
#include <unistd.h>

#include <utility>

#include "runrig/sync/error.hpp"
#include "runrig/sync/fork_hooks.hpp"

namespace runrig::detail {
namespace {

using Phase = ProcessState::Phase;
using std::chrono::nanoseconds;

constexpr std::size_t key_bytes = 32;

struct Household {
  std::mutex mutex;  // of all
  ProcessPtr self;
  ProcessPtr parent;
  unsigned children_made = 0;
  // Those of this process from `first_own` on. Before them those that it has inherited over forks, which are no
  // children of its own; null where the state is gone.
  std::vector<ProcessState*> children;
  std::size_t first_own = 0;
  UniqueFd lifeline_reading;
  UniqueFd lifeline_writing;  // none while the reading end is still that of the parent
};

Household* make_household();

// Never destroyed: Process objects of static duration may be used by destructors that run after ours would.
Household& household() {
  static auto* const all = make_household();
  return *all;
}

void before_fork() { household().mutex.lock(); }
void after_fork_in_parent() { household().mutex.unlock(); }

void after_fork_in_child() {
  Household& all = household();
  // The parent's writing end; or, a generation on, the reading end of a lifeline that nobody took.
  if (!std::exchange(all.lifeline_writing, UniqueFd())) all.lifeline_reading.reset();
  for (std::size_t i = all.first_own; i < all.children.size(); ++i) {
    if (all.children[i] != nullptr) all.children[i]->pidfd.reset();
  }
  all.first_own = all.children.size();
  all.children_made = 0;
  all.mutex.unlock();
}

Household* make_household() {
  auto* const made = new Household;
  made->self = std::make_shared<ProcessState>();
  made->self->name = "MainProcess";
  made->self->phase = Phase::started;
  made->self->authkey.resize(key_bytes);
  check_errno(::getrandom(made->self->authkey.data(), key_bytes, 0), "make", "authentication key");
  add_fork_hooks(before_fork, after_fork_in_parent, after_fork_in_child);
  return made;
}

}  // namespace

std::unique_lock<std::mutex> lock_processes() { return std::unique_lock(household().mutex); }

// A mutex that is there can be locked.
// NOLINTNEXTLINE(bugprone-exception-escape)
ProcessState::~ProcessState() { unlist_child(*this); }

ProcessPtr this_process() {
  const auto guard = lock_processes();
  return household().self;
}

ProcessPtr parent_of_this_process() {
  const auto guard = lock_processes();
  return household().parent;
}

ProcessPtr make_child_state() {
  auto child = std::make_shared<ProcessState>();
  child->creator = ::getpid();
  const auto guard = lock_processes();
  Household& all = household();
  child->numbers = all.self->numbers + (all.self->numbers.empty() ? "" : ":") + std::to_string(++all.children_made);
  child->name = "Process-" + child->numbers;
  child->authkey = all.self->authkey;
  child->daemon = all.self->daemon;
  return child;
}

void become(ProcessPtr self, pid_t parent_pid, std::string_view parent_name) {
  const pid_t pid = ::getpid();
  ProcessPtr grandparent;  // released after the mutex, which its destructor takes
  const auto guard = lock_processes();
  Household& all = household();
  grandparent = std::exchange(all.parent, std::exchange(all.self, std::move(self)));
  if (!parent_name.empty()) all.parent->name = parent_name;
  all.parent->pid = parent_pid;
  all.parent->is_parent = true;
  all.parent->phase = Phase::started;
  all.parent->creator = pid;
  all.parent->method.reset();
  all.self->phase = Phase::started;
  all.self->pid = pid;
}

void list_child(const ProcessPtr& child, pid_t pid, UniqueFd pidfd) {
  const auto guard = lock_processes();
  Household& all = household();
  all.children.push_back(child.get());
  child->place = all.children.size() - 1;
  child->kept = child;
  child->pid = pid;
  child->pidfd = std::move(pidfd);
  child->phase = Phase::started;
}

// NOLINTNEXTLINE(bugprone-exception-escape): as above
void unlist_child(ProcessState& child) noexcept {
  const auto guard = lock_processes();
  Household& all = household();
  const std::size_t place = std::exchange(child.place, ProcessState::not_listed);
  if (place == ProcessState::not_listed) return;
  if (place < all.first_own) {
    all.children[place] = nullptr;
    return;
  }
  all.children[place] = all.children.back();
  all.children[place]->place = place;
  child.place = ProcessState::not_listed;  // it may have been the last one itself
  all.children.pop_back();
}

std::vector<ProcessPtr> living_children() {
  std::vector<ProcessPtr> children;
  std::vector<pollfd> sentinels;
  {
    const auto guard = lock_processes();
    const Household& all = household();
    for (std::size_t i = all.first_own; i < all.children.size(); ++i) {
      if (!all.children[i]->kept) continue;
      children.push_back(all.children[i]->kept);
      sentinels.push_back({all.children[i]->pidfd.get(), POLLIN, 0});
    }
  }
  // One call for all of them: what runs costs nothing more.
  if (children.empty() || retry_on_eintr([&] { return ::poll(sentinels.data(), sentinels.size(), 0); }) == 0) {
    return children;
  }
  std::vector<ProcessPtr> living;
  for (std::size_t i = 0; i < children.size(); ++i) {
    if (sentinels[i].revents == 0 || !await_end(children[i], Deadline::after(nanoseconds(0)))) {
      living.push_back(std::move(children[i]));
    }
  }
  return living;
}

bool await_end(const ProcessPtr& process, Deadline deadline) {
  int pidfd = -1;
  {
    const auto guard = lock_processes();
    if (process->phase == Phase::ended) return true;
    pidfd = process->pidfd.get();
  }
  if (!wait_readable(pidfd, deadline)) return false;
  ProcessPtr kept;  // released after the mutex, which the destructor takes
  const auto guard = lock_processes();
  if (process->phase != Phase::started) return true;  // another thread was faster
  process->status = try_reap(process->pidfd).value_or(ExitStatus{});
  process->phase = Phase::ended;
  kept.swap(process->kept);
  return true;
}

int lifeline() {
  const auto guard = lock_processes();
  Household& all = household();
  if (!all.lifeline_writing) {
    int ends[2];
    check_errno(::pipe2(ends, O_CLOEXEC), "make", "pipe for children");
    all.lifeline_reading.reset(ends[0]);
    all.lifeline_writing.reset(ends[1]);
  }
  return all.lifeline_reading.get();
}

UniqueFd take_parents_lifeline() noexcept {
  const auto guard = lock_processes();
  return household().lifeline_writing ? UniqueFd() : std::move(household().lifeline_reading);
}

}  // namespace runrig::detail
