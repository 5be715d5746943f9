#pragma once

#include <utility>

#include "liveness.hpp"
#include "runrig/shm/handle.hpp"
#include "runrig/sync/unique_fd.hpp"

namespace runrig::detail {

/// Holds the shared lock of a session that this process is no member of, for the time of a creation. Released, and not
/// only closed: another thread may have forked meanwhile.
class SessionVisit {
 public:
  SessionVisit() noexcept = default;
  explicit SessionVisit(UniqueFd file) noexcept : file_(std::move(file)) {}
  SessionVisit(SessionVisit&&) noexcept = default;
  SessionVisit& operator=(SessionVisit&&) = delete;
  ~SessionVisit() {
    if (file_) unlock(file_.get());
  }
  /// False if the session was ended meanwhile, by an owner that would not wait.
  [[nodiscard]] bool still_there() const noexcept;

 private:
  UniqueFd file_;
};

/// What a process needs to enter a segment into the registry.
struct Membership {
  Registry registry;
  FileName session{};
  bool founded = false;  ///< just now, by this call
  SessionVisit visit{};  ///< in a session of others
};

/// Makes this process a member of a session, if it is not yet (or not any more, having closed all its descriptors), and
/// sees to it that the session has a living tracker. Thread-safe. Throws Error.
[[nodiscard]] Membership join_session();

/// A session of one process alone, the one that makes this object: no child inherits its lock. It ends with end(), or
/// with that process, however that ends; then its tracker, or end(), removes what was made in it. Neither copied
/// nor moved: forks look for it at its place.
class OwnedSession {
 public:
  /// Throws Error.
  OwnedSession();
  OwnedSession(const OwnedSession&) = delete;
  OwnedSession& operator=(const OwnedSession&) = delete;
  ~OwnedSession();

  [[nodiscard]] const ManagerHandle& handle() const noexcept { return handle_; }
  /// True in the process that made it, until end().
  [[nodiscard]] bool owned() const noexcept { return file_ >= 0; }
  /// When it returns, everything made in the session has lost its name.
  void end() noexcept;

 private:
  friend void give_up_owned_sessions() noexcept;
  void give_up() noexcept;

  ManagerHandle handle_;
  // Guarded by participation_mutex(), as is the list of all of these in this process.
  int file_ = -1;
  OwnedSession* next_ = nullptr;
};

/// For a moment's membership in somebody else's session. Throws Error no_such_file_or_directory if it has ended,
/// invalid_argument for what is no handle.
[[nodiscard]] Membership visit_session(const ManagerHandle& handle);

/// In the child, at the end of a fork: the locks stay the parent's alone. Called with participation_mutex() held.
void give_up_owned_sessions() noexcept;

/// Removes what was made in the session, but for what is persistent, and its file. For whoever has its exclusive lock.
void remove_session(const Registry& registry, const char* session) noexcept;

/// Whoever founds a session first removes what killed processes left. That this fails is told to the WarningHandler,
/// and is no reason not to create.
void sweep_at_start();

/// Gives the sentence to the WarningHandler.
void warn(std::string_view sentence);

/// The life of a tracker, from just after the fork: gets rid of all that was inherited, writes a byte to `ready`, waits
/// for the end of the session, removes what it left, leaves. `session_file` is the caller's descriptor of the session's
/// file. Does what is safe in a fork of a process that had threads, and nothing else.
[[noreturn]] void run_tracker(int session_file, int ready, const char* session) noexcept;

}  // namespace runrig::detail
