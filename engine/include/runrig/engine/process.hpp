#pragma once

#include <sys/types.h>

#include <chrono>
#include <cstddef>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <tuple>
#include <type_traits>
#include <utility>
#include <vector>

#include "runrig/channel/wait.hpp"
#include "runrig/engine/call.hpp"
#include "runrig/engine/fork_only.hpp"
#include "runrig/engine/start_method.hpp"
#include "runrig/sync/clock.hpp"

namespace runrig {

namespace detail {
struct ProcessState;
struct ProcessAccess;
}  // namespace detail

struct ProcessOptions {
  /// For people. Empty: Process-N, where N counts the processes that this one makes; Process-N:M for children of
  /// children.
  std::string name{};
  /// A daemon is ended with its parent and may have no children. None: as this process.
  std::optional<bool> daemon{};
  /// None: get_start_method(), asked at start().
  std::optional<StartMethod> start_method{};
  /// For start method fork.
  OtherThreads other_threads = OtherThreads::refuse;
};

/// An activity in a process of its own; Python's multiprocessing.Process.
///
///     runrig::Process process(count_words, std::string("a.txt"));   // nothing happens yet
///     process.start();
///     process.join();
///     process.exit_code();   // 0
///
/// The callable is a function, or a lambda or functor whose captures are plain values; its arguments are Transferable.
/// Both cross by every start method; whatever else can be called crosses by fork only, see fork_only(). Or a type is
/// derived from Process, with a run() of its own: it works by fork as it is, and by all methods if it is a Subprocess.
///
/// **The child** runs run() and leaves: with 0 if that returns, with N if it calls exit(N), with 1 if an exception
/// comes out of it, after a line "Process NAME: TYPE: TEXT" on stderr; a signal N that kills it shows as -N. It leaves
/// by _exit: what its own code registered by atexit is called when it calls exit(), what it inherited is not; stdout is
/// flushed, other streams are the business of who opened them. Before it leaves, it ends the daemons among its own
/// children and waits for the others, as this process does at its normal end (return from main, exit).
///
/// **Daemons** get SIGTERM at the normal end of their parent, and SIGKILL two seconds later. If the parent is killed,
/// or leaves by _exit, the kernel kills them at once. Others outlive a parent that is killed.
///
/// **Ctrl-C** goes to all processes of the terminal's foreground group, so to children as well, which have no handlers
/// of the parent: they end with -SIGINT unless they install one.
///
/// **Connections** among the arguments are given to the new process: once it is started, this one has them no more.
///
///     auto [ours, theirs] = runrig::Pipe();
///     runrig::Process child([](runrig::Connection connection) { connection.send(42); }, std::move(theirs));
///
/// An object is a name for a process: destroying it neither ends nor joins the process, which stays a child, found by
/// active_children(). start, join, is_alive, exit_code, terminate, kill, close and sentinel are for the process that
/// made the object; elsewhere, and used out of their order, they throw std::logic_error, saying what is wrong. All of
/// them may be called by several threads. Deaths are learnt from a pidfd: there is no thread and no signal handler of
/// ours. If the host program ignores SIGCHLD, or waits for all of its children itself, how a child ended cannot be
/// known (see exit_code()).
class Process {
 public:
  /// A process that will call `function(args...)`. Fails to compile, in words, for what cannot cross.
  template <class F, class... Args>
  requires(!std::is_base_of_v<Process, F> && !std::is_same_v<F, ProcessOptions>) explicit Process(F function,
                                                                                                  Args... args)
      : Process(ProcessOptions{}, std::move(function), std::move(args)...) {}
  template <class F, class... Args>
  requires(!std::is_base_of_v<Process, F>) Process(ProcessOptions options, F function, Args... args)
      : Process(std::move(options), detail::Call::make(std::move(function), std::move(args)...)) {}
  template <class F>
  explicit Process(ForkOnly<F> function) : Process(ProcessOptions{}, std::move(function)) {}
  template <class F>
  Process(ProcessOptions options, ForkOnly<F> function)
      : Process(std::move(options), detail::Call::fork_only(std::move(function.callable))) {}
  /// Nothing to call; and the head of a type with a run() of its own.
  explicit Process(ProcessOptions options = {});
  Process(Process&&) noexcept;
  Process& operator=(Process&&) noexcept;
  virtual ~Process();

  /// What the child does: calls the function, if there is one. Here, it calls it in this process.
  virtual void run();

  /// Makes the process. Once per object. Joins all children that have ended meanwhile.
  /// Throws std::logic_error: started before; this process is a daemon; for fork, other threads; for other methods,
  /// runrig:: init() was not called, or a callable or type that cannot cross. Throws Error if there can be no new
  /// process.
  void start();
  /// Waits for the end of the process, `timeout` at most; true if it has ended. As often as you like. Throws
  /// std::logic_error before start(), and in the process itself.
  bool join(std::chrono::nanoseconds timeout = forever);
  /// From start() on until it ends. Joins it then.
  [[nodiscard]] bool is_alive() const;
  /// None before the end. 255 if nobody can know it, see exit_code_is_known().
  [[nodiscard]] std::optional<int> exit_code() const;
  /// False only if it has ended, and somebody else took its status.
  [[nodiscard]] bool exit_code_is_known() const;
  /// None before start().
  [[nodiscard]] std::optional<pid_t> pid() const;

  [[nodiscard]] std::string name() const;
  void set_name(std::string name);
  [[nodiscard]] bool daemon() const;
  /// Before start() only.
  void set_daemon(bool daemon);
  /// A secret that all processes of a program share, unless it is set anew: random, inherited by children. For
  /// connections. Never logged, in no command line.
  [[nodiscard]] std::vector<std::byte> authkey() const;
  void set_authkey(std::span<const std::byte> key);
  /// None: not decided yet.
  [[nodiscard]] std::optional<StartMethod> start_method() const;

  /// SIGTERM. Its exit handlers do not run, its children are not ended, locks that it holds are found orphaned.
  void terminate();
  /// SIGKILL.
  void kill();
  /// Lets go of all that belongs to the process. Only name(), daemon() and start_method() may be asked afterwards.
  /// Harmless the second time. Throws std::logic_error while it runs.
  void close();
  /// A descriptor that becomes readable when the process ends, and stays so: for wait(), poll, epoll. A pidfd. Valid
  /// until close(), or until the last object that stands for the process is gone.
  [[nodiscard]] int sentinel() const;

 protected:
  /// What does the same in a process that has no copy of this object; nothing if there is no such thing.
  [[nodiscard]] virtual detail::Call call_elsewhere() const;

 private:
  friend struct detail::ProcessAccess;
  explicit Process(std::shared_ptr<detail::ProcessState> state) noexcept;
  Process(ProcessOptions options, detail::Call call);

  std::shared_ptr<detail::ProcessState> state_;
  detail::Call call_;
};

/// A type of process with a run() of its own, for all start methods:
///
///     class Counter : public runrig::Subprocess<Counter> {
///      public:
///       Counter(std::string text, int limit, runrig::ProcessOptions options = {});
///       void run() override;
///       auto transfer() const { return std::tuple(text_, limit_); }
///     };
///
/// By spawn and forkserver a Counter is made in the child from what transfer() returns (values that are Transferable),
/// as Counter(text, limit), and its run() called there. By fork the child has a copy of the object, with all members.
template <class Derived>
class Subprocess : public Process {
 public:
  explicit Subprocess(ProcessOptions options = {});

 protected:
  [[nodiscard]] detail::Call call_elsewhere() const override;

 private:
  template <class... Args>
  static void run_elsewhere(Args... args);
};

/// The children of this process that run, oldest first. Joins those that have ended.
[[nodiscard]] std::vector<Process> active_children();
/// This process. In the main process its name is "MainProcess". It has no exit code and cannot be joined.
[[nodiscard]] Process current_process();
/// The process that started this one; none in the main process. It can be asked for its name, pid, sentinel and whether
/// it is alive, and joined with a timeout.
[[nodiscard]] std::optional<Process> parent_process();

/// How many CPUs the machine has. Of how many this process may use see usable_cpu_count().
[[nodiscard]] int cpu_count();

/// For people: "Process 'Process-1' (initial)", "(started, pid 7)", "(stopped, exit code -15)", "(closed)".
[[nodiscard]] std::string to_string(const Process& process);

namespace detail {
/// While it lives, the next Process object that is made stands for this process, and is no child to be.
class MadeAsThisProcess {
 public:
  MadeAsThisProcess() noexcept;
  MadeAsThisProcess(const MadeAsThisProcess&) = delete;
  MadeAsThisProcess& operator=(const MadeAsThisProcess&) = delete;
  ~MadeAsThisProcess();
};
}  // namespace detail

template <class Derived>
Subprocess<Derived>::Subprocess(ProcessOptions options) : Process(std::move(options)) {}

template <class Derived>
template <class... Args>
void Subprocess<Derived>::run_elsewhere(Args... args) {
  std::optional<detail::MadeAsThisProcess> adopting(std::in_place);
  Derived object(std::move(args)...);
  adopting.reset();
  static_cast<Process&>(object).run();
}

template <class Derived>
detail::Call Subprocess<Derived>::call_elsewhere() const {
  static_assert(std::is_base_of_v<Subprocess, Derived>, "derive it as: class Name : public Subprocess<Name>");
  return std::apply(
      []<class... Args>(Args... args) { return detail::Call::make(&run_elsewhere<Args...>, std::move(args)...); },
      static_cast<const Derived&>(*this).transfer());
}

}  // namespace runrig
