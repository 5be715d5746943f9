#pragma once

#include <sys/types.h>

#include <functional>
#include <string_view>
#include <vector>

#include "preparation.hpp"
#include "process_state.hpp"

/// The life of a child, whichever way it was made.
namespace runrig::detail {

/// What a child is, beside what it does.
struct Newborn {
  ProcessPtr self;
  StartMethod method = StartMethod::fork;
  pid_t parent_pid = 0;
  std::string_view parent_name;  ///< as for become()
  UniqueFd lifeline;             ///< of its parent, if it is to end with it
};

/// All of this, up to the call of `body`, is what the start of each process costs: in the copy of a process each page
/// that is written to is copied first, and each one that is only read is at least looked up; so nothing is allocated,
/// and no code is passed through that has nothing to do.
///
/// Takes on that identity, with signals and standard input in order; runs `body`; leaves with 0, or with 1 and a line
/// on stderr if it throws. exit() in it leaves with its code, without the exit handlers that were inherited.
[[noreturn]] void live(Newborn newborn, const std::function<void()>& body);
/// The same for one that was told what it is. `descriptors`: its lifeline if it is a daemon, then those of the entry.
[[noreturn]] void live_as_told(const Preparation& told, std::vector<UniqueFd> descriptors);

/// Ends the daemons among the children of this process, waits for the others, flushes stdout, leaves.
[[noreturn]] void leave_process(int code);
/// The first half of that, at the end of any process. Once registered, exit() of the main process does it.
void end_children();
void register_end_of_children();

}  // namespace runrig::detail
