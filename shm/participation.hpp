#pragma once

#include "liveness.hpp"

namespace runrig::detail {

/// What a process needs to enter a segment into the registry.
struct Membership {
  Registry registry;
  FileName session{};
  bool founded = false;  ///< just now, by this call
};

/// Makes this process a member of a session, if it is not yet (or not any more, having closed all its descriptors), and
/// sees to it that the session has a living tracker. Thread-safe. Throws Error.
[[nodiscard]] Membership join_session();

/// Gives the sentence to the WarningHandler.
void warn(std::string_view sentence);

/// The life of a tracker, from just after the fork: gets rid of all that was inherited, writes a byte to `ready`, waits
/// for the end of the session, removes what it left, leaves. `session_file` is the caller's descriptor of the session's
/// file. Does what is safe in a fork of a process that had threads, and nothing else.
[[noreturn]] void run_tracker(int session_file, int ready, const char* session) noexcept;

}  // namespace runrig::detail
