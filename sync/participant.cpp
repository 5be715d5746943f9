#include "runrig/sync/participant.hpp"

#include <dirent.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <charconv>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <optional>
#include <string_view>

#include "runrig/sync/error.hpp"
#include "runrig/sync/unique_fd.hpp"

namespace runrig {
namespace {

constexpr int start_shift = 27;
constexpr int image_shift = 46;
constexpr std::uint64_t id_mask = 0x3fffff;
constexpr std::uint64_t start_mask = 0x7ffff;
constexpr std::uint64_t image_mask = 0x3ffff;
constexpr std::uint32_t initial_time_namespace = 0xEFFFFFFA;  // PROC_TIME_INIT_INO of the kernel

// Task flags that are set when a task will never run user code again: PF_EXITING, at the head of the exit path, long
// before a big process has given its memory back and becomes a zombie; PF_SIGNALED, before a core dump, which may
// take many seconds. Not in a public header, but printed in /proc/PID/stat and the same in every kernel since 2.6.
constexpr std::uint64_t flags_of_the_dying = 0x4 | 0x400;

// What /proc/PID/stat says that matters here.
struct TaskStat {
  int id = 0;
  char state = '?';
  std::uint64_t flags = 0, threads = 0, start = 0, code = 0, code_end = 0, stack = 0;

  [[nodiscard]] bool exiting() const noexcept {
    return state == 'Z' || state == 'X' || state == 'x' || (flags & flags_of_the_dying) != 0;
  }
};

enum class Look { found, gone, failed };

// The whole of a small /proc file, which the kernel makes at the first read: one consistent picture.
Look read_small(const char* path, std::array<char, 2048>& buffer, std::string_view& text) noexcept {
  const UniqueFd fd(retry_on_eintr([&] { return ::open(path, O_RDONLY | O_CLOEXEC); }));
  if (!fd) return errno == ENOENT || errno == ESRCH ? Look::gone : Look::failed;
  const auto got = retry_on_eintr([&] { return ::read(fd.get(), buffer.data(), buffer.size()); });
  if (got < 0) return errno == ESRCH ? Look::gone : Look::failed;
  text = {buffer.data(), static_cast<std::size_t>(got)};
  return Look::found;
}

Look read_stat(const char* path, TaskStat& stat) noexcept {
  std::array<char, 2048> buffer;
  std::string_view text;
  if (const Look look = read_small(path, buffer, text); look != Look::found) return look;
  std::from_chars(text.data(), text.data() + text.size(), stat.id);
  // The second field is the program's name in parentheses and may itself hold blanks and parentheses.
  const auto name_end = text.rfind(')');
  if (name_end == std::string_view::npos || name_end + 2 >= text.size()) return Look::failed;
  const char* at = text.data() + name_end + 2;
  const char* const end = text.data() + text.size();
  stat.state = *at;
  const auto is_blank = [](char c) { return c == ' ' || c == '\n'; };
  for (int field = 3; field <= 28; ++field) {
    std::uint64_t* wanted = field == 9    ? &stat.flags
                            : field == 20 ? &stat.threads
                            : field == 22 ? &stat.start
                            : field == 26 ? &stat.code
                            : field == 27 ? &stat.code_end
                            : field == 28 ? &stat.stack
                                          : nullptr;
    if (wanted != nullptr && std::from_chars(at, end, *wanted).ec != std::errc()) return Look::failed;
    while (at != end && !is_blank(*at)) ++at;
    while (at != end && is_blank(*at)) ++at;
  }
  return Look::found;
}

Look read_stat_of(int id, TaskStat& stat) noexcept {
  char path[32];
  std::snprintf(path, sizeof path, "/proc/%d/stat", id);
  return read_stat(path, stat);
}

// 18 bits that change with the program image, or 0 where the kernel does not show it: no memory any more, or not
// ours to see. Addresses are randomised at exec; the end of the text tells different programs apart even without.
std::uint64_t image_of(const TaskStat& stat) noexcept {
  if (stat.stack == 0 || stat.code <= 1) return 0;
  std::uint64_t hash = 0;
  for (const std::uint64_t each : {stat.start, stat.code, stat.code_end, stat.stack}) {
    hash = (hash ^ each) * 0x9E3779B97F4A7C15u;  // Fibonacci hashing; the high bits are the mixed ones
    hash ^= hash >> 32;
  }
  const std::uint64_t image = (hash * 0x9E3779B97F4A7C15u) >> image_shift;
  return image == 0 ? 1 : image;
}

std::uint64_t make_mark(int id, std::uint64_t start, std::uint64_t image) noexcept {
  return (static_cast<std::uint64_t>(id) & id_mask) | ((start & start_mask) << start_shift) |
         ((image & image_mask) << image_shift);
}

// Unique as far as chance goes, for a process that has no usable /proc.
std::uint64_t unjudged_mark(int id) noexcept {
  std::uint64_t random = 0;
  if (::getrandom(&random, sizeof random, GRND_NONBLOCK) != sizeof random) {
    random = static_cast<std::uint64_t>(Clock::now().time_since_epoch().count()) * 0x9E3779B97F4A7C15u;
  }
  return make_mark(id, random, (random >> 32) | 1);
}

// True if /proc numbers processes as our own PID namespace does: then "NSpid:" has one number, which is our pid.
// A container made without a /proc of its own sees its parent's numbers, or nothing.
bool proc_is_ours() noexcept {
  std::array<char, 2048> buffer;
  std::string_view text;
  if (read_small("/proc/self/status", buffer, text) != Look::found) return false;
  const auto line = text.find("\nNSpid:\t");
  if (line == std::string_view::npos) return false;
  int pid = 0;
  const char* const end = text.data() + text.size();
  const auto parsed = std::from_chars(text.data() + line + 8, end, pid);
  return parsed.ec == std::errc() && parsed.ptr != end && *parsed.ptr == '\n' && pid == ::getpid();
}

// The PID namespace, mixed with the time namespace where that is not the usual one: start times are counted from
// the reader's idea of boot. 0 if other processes cannot be looked up.
std::uint32_t read_domain() noexcept {
  struct stat pid_namespace {};
  if (!proc_is_ours() || ::stat("/proc/self/ns/pid", &pid_namespace) != 0) return 0;
  auto domain = static_cast<std::uint32_t>(pid_namespace.st_ino);
  struct stat time_namespace {};
  if (::stat("/proc/self/ns/time", &time_namespace) == 0 && time_namespace.st_ino != initial_time_namespace) {
    domain ^= static_cast<std::uint32_t>(time_namespace.st_ino) * 0x9E3779B1u;
  }
  return domain == 0 ? 1 : domain;
}

detail::Self own_fallback{};  // where no page can be had that the kernel wipes

const detail::Self* make_self_page() noexcept {
  void* page = ::mmap(nullptr, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (page != MAP_FAILED && ::madvise(page, 4096, MADV_WIPEONFORK) == 0) return ::new (page) detail::Self{};
  if (page != MAP_FAILED) ::munmap(page, 4096);
  static const int registered = ::pthread_atfork(nullptr, nullptr, [] {
    own_fallback.mark.store(0, std::memory_order_relaxed);  // relaxed: the child has one thread
    own_fallback.filling.store(0, std::memory_order_relaxed);
  });
  static_cast<void>(registered);
  return &own_fallback;
}

detail::Self nobody_yet{};

// The page of this process, made by whichever thread is first.
detail::Self& writable_self() noexcept {
  const detail::Self* page = detail::self_page.load(std::memory_order_acquire);  // pairs with the exchange below
  if (page == &nobody_yet) {
    const detail::Self* made = make_self_page();
    // Release: the page's content, zeroes, before its address. A loser gives its page back.
    if (detail::self_page.compare_exchange_strong(page, made, std::memory_order_acq_rel, std::memory_order_acquire)) {
      page = made;
    } else if (made != &own_fallback) {
      ::munmap(const_cast<detail::Self*>(made), 4096);
    }
  }
  return const_cast<detail::Self&>(*page);
}

// True if every thread of the process is in the exit path: its first thread ended, perhaps alone (pthread_exit).
bool all_threads_exiting(int pid) noexcept {
  char path[64];
  std::snprintf(path, sizeof path, "/proc/%d/task", pid);
  const std::unique_ptr<DIR, int (*)(DIR*)> directory(::opendir(path), ::closedir);
  if (!directory) return false;  // cannot tell: alive
  while (const dirent* entry = ::readdir(directory.get())) {
    if (entry->d_name[0] == '.') continue;
    std::snprintf(path, sizeof path, "/proc/%d/task/%.20s/stat", pid, entry->d_name);
    TaskStat stat;
    const Look look = read_stat(path, stat);
    if (look == Look::failed || (look == Look::found && !stat.exiting())) return false;
  }
  return true;
}

void find_out(detail::Self& self) noexcept {
  std::uint32_t domain = read_domain();
  std::uint64_t mark = 0;
  TaskStat process, thread;
  // The image from the calling thread: the first thread may have ended, and has no memory to show then.
  if (domain != 0 && read_stat("/proc/self/stat", process) == Look::found &&
      read_stat("/proc/thread-self/stat", thread) == Look::found) {
    thread.start = process.start;
    mark = make_mark(process.id, process.start, image_of(thread));
  } else {
    domain = 0;
    mark = unjudged_mark(::getpid());
  }
  self.domain.store(domain, std::memory_order_relaxed);
  self.mark.store(mark, std::memory_order_release);  // publishes the domain
}

bool no_such_id(int id) noexcept { return ::kill(id, 0) == -1 && errno == ESRCH; }

}  // namespace

namespace detail {
constinit std::atomic<const Self*> self_page{&nobody_yet};
constinit thread_local ThreadSelf thread_self{0, 0};
}  // namespace detail

Identity this_process_identity() noexcept {
  detail::Self& self = writable_self();
  // Acquire: pairs with the release in find_out(); who sees the mark sees the domain.
  while (self.mark.load(std::memory_order_acquire) == 0) {
    // Relaxed: only chooses who works; the results are published by the mark.
    if (self.filling.exchange(1, std::memory_order_relaxed) == 0) {
      find_out(self);
    } else {
      ::sched_yield();  // another thread is at it, for microseconds; a fork meanwhile wipes the flag too
    }
  }
  return {self.mark.load(std::memory_order_relaxed), self.domain.load(std::memory_order_relaxed),
          ParticipantKind::process};
}

Identity this_thread_identity() noexcept {
  const Identity process = this_process_identity();
  detail::ThreadSelf& self = detail::thread_self;
  if (self.process_mark != process.mark) {
    TaskStat stat;
    if (process.domain != 0 && read_stat("/proc/thread-self/stat", stat) == Look::found) {
      self.mark = make_mark(::gettid(), stat.start, image_of(stat));
    } else {
      self.mark = unjudged_mark(::gettid());
    }
    self.process_mark = process.mark;
  }
  return {self.mark, process.domain, ParticipantKind::thread};
}

Liveness liveness(const Identity& who) noexcept {
  if (who.kind == ParticipantKind::nobody || who.mark == 0) return Liveness::dead;
  const Identity me = this_process_identity();
  if (who == me) return Liveness::alive;
  if (me.domain == 0 || who.domain != me.domain) return Liveness::unknown;
  if (no_such_id(who.id())) return Liveness::dead;  // the usual case, for the price of one small call
  TaskStat stat;
  switch (read_stat_of(who.id(), stat)) {
    // It ended since, or /proc is mounted so that it hides others' processes from us.
    case Look::gone:
      return no_such_id(who.id()) ? Liveness::dead : Liveness::unknown;
    case Look::failed:
      return Liveness::unknown;  // such as no descriptor left: asked again later
    case Look::found:
      break;
  }
  if ((stat.start & start_mask) != ((who.mark >> start_shift) & start_mask)) return Liveness::dead;  // id reused
  const std::uint64_t image = image_of(stat), expected_image = who.mark >> image_shift;
  if (image != 0 && expected_image != 0 && image != expected_image) return Liveness::dead;  // exec
  if (!stat.exiting()) return Liveness::alive;
  const bool others = who.kind == ParticipantKind::process && stat.threads > 1;
  return others && !all_threads_exiting(who.id()) ? Liveness::alive : Liveness::dead;
}

bool is_gone(const Identity& who) noexcept {
  const Identity me = this_process_identity();
  return me.domain != 0 && who.domain == me.domain && who.id() != 0 && no_such_id(who.id());
}

Identity identity_of_process(int pid) noexcept {
  const Identity me = this_process_identity();
  TaskStat stat;
  if (me.domain == 0) return {unjudged_mark(pid), 0, ParticipantKind::process};
  if (read_stat_of(pid, stat) != Look::found || (stat.exiting() && stat.threads <= 1)) return {};
  return {make_mark(pid, stat.start, image_of(stat)), me.domain, ParticipantKind::process};
}

}  // namespace runrig
