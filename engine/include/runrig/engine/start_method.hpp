#pragma once

#include <array>
#include <optional>
#include <string_view>

namespace runrig {

/// How a new process is made.
///
/// - `fork`: a copy of this process as it is now, with all of its memory. The fastest. Only the calling thread is
/// copied,
///   so it is refused in a process with threads of other libraries or of the program (see OtherThreads).
/// - `spawn`: this program started anew, up to runrig::init() in its main. It has nothing of this process' memory and
///   only the descriptors that it needs.
/// - `forkserver`: a copy of a clean process, the *fork server*: this program started anew once, waiting in
///   runrig::init() with one thread and no state of the program's main. Nearly as fast as fork, nearly as clean as
///   spawn. Started when it is first needed, ends with this process, is started again when somebody killed it.
///
/// In all of them the new process starts in the current directory of its parent, with its environment, its standard
/// output and error, and with /dev/null as standard input; and it has the parent's ignored signals ignored (but
/// SIGTERM), no signal handlers and no signals blocked, as after an exec.
///
/// Python lets modules be loaded into its fork server beforehand (set_forkserver_preload). There is nothing to load
/// here: the server is this very program, with all its code.
enum class StartMethod { fork, spawn, forkserver };

/// What to do when a fork is asked for in a process that has other threads. It copies only the calling thread: a lock
/// that another one holds at that moment stays locked in the child for ever. Threads of this library do not count: they
/// hold nothing then.
enum class OtherThreads { refuse, allow };

/// "fork", "spawn", "forkserver", as in Python.
[[nodiscard]] std::string_view to_string(StartMethod method) noexcept;
/// The other way round. Throws std::invalid_argument, naming what is possible.
[[nodiscard]] StartMethod start_method_from(std::string_view name);
/// All that there are, the default (fork) first.
[[nodiscard]] std::array<StartMethod, 3> start_methods() noexcept;

/// Whether a choice may be made a second time.
enum class Force { no, yes };
/// Decides how processes of this program are started from now on, where nothing else is asked for. To be called once,
/// at the head of main. No method takes the choice back. Throws std::logic_error if it was made before, also by
/// get_start_method() or by starting a process, unless it is forced. Libraries use get_context() instead.
///
/// In a child the choice is made: the method that it was started by itself. Thread-safe.
void set_start_method(std::optional<StartMethod> method, Force force = Force::no);
/// The method that was chosen; the default, which is thereby chosen, if none was yet.
[[nodiscard]] StartMethod get_start_method() noexcept;
/// The same without choosing: none if nothing was chosen yet.
[[nodiscard]] std::optional<StartMethod> try_get_start_method() noexcept;

}  // namespace runrig
