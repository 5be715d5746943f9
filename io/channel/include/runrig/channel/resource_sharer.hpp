#pragma once

#include <chrono>
#include <cstddef>
#include <memory>

#include "runrig/channel/listener.hpp"
#include "runrig/channel/shared_handle.hpp"
#include "runrig/sync/unique_fd.hpp"

/// Connections and other descriptors in messages to and from Python programs, which send them as Python's
/// `multiprocessing.resource_sharer` does: the message only says where to fetch them. (Between our own programs they go
/// along with the message: Connection::send().)
///
/// Both sides prove that they have the same key, so set Python's `multiprocessing.current_process().authkey`, and give
/// the same here; a Process of ours and a child of a Python program have their parent's. Python 3.11 and older take
/// `allow_md5`.
namespace runrig {

/// Keeps descriptors of this process until other processes, ours or Python's, fetch them: Python's
/// `multiprocessing.resource_sharer`, whose thread is here this object's.
///
///     runrig::ResourceSharer sharer(Authentication{current_process().authkey()});
///     to_python.send(pickle::Object(sharer.share(connection)));   // there it is a Connection
///
/// **Threads.** All functions may be called from any. The thread of its own sleeps until somebody connects. It is one
/// of the program's for a fork, so a process with a sharer starts others by spawn or forkserver, or before it makes
/// one. In a forked child the object can only be destroyed; what it keeps stays open there until the child ends.
class ResourceSharer {
 public:
  /// Listens at a Unix socket in a new folder, as Listener() does. Throws Error; std::logic_error for an authentication
  /// that makes no sense.
  explicit ResourceSharer(Authentication authentication);
  ResourceSharer(const ResourceSharer&) = delete;
  ResourceSharer& operator=(const ResourceSharer&) = delete;
  /// Closes what nobody has fetched, and hangs up on whoever is in the middle of asking.
  ~ResourceSharer();

  /// A connection for whoever fetches it first (fetch_connection()). This process keeps its own end, which may be
  /// closed at once. Throws Error too_many_files_open; std::logic_error if it is closed, or in a forked child.
  [[nodiscard]] pickle::SharedConnection share(const Connection& connection);
  /// The same for any descriptor, as Python's `multiprocessing.reduction.DupFd`; `descriptor` stays the caller's.
  /// Throws Error bad_file_descriptor, too_many_files_open; std::logic_error in a forked child.
  [[nodiscard]] pickle::SharedHandle share(int descriptor);

  /// How many have not been fetched yet.
  [[nodiscard]] std::size_t size() const;
  /// Where it listens.
  [[nodiscard]] const Address& address() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

/// Fetches what a Python program, or a ResourceSharer, keeps: Python's `DupFd.detach()`. It can be had once.
/// Close-on-exec. Throws EndOfStream if it is not there (any more); Error no_such_file_or_directory or
/// connection_refused if the other process is gone; AuthenticationError if that has another key, or belongs to another
/// user; TimeoutError if all that takes longer than `timeout`.
[[nodiscard]] UniqueFd fetch_handle(const pickle::SharedHandle& handle, const ClientOptions& options,
                                    std::chrono::nanoseconds timeout = forever);
/// The same for a connection, which Python does when it reads one (`rebuild_connection`):
///
///     pickle::Object message = from_python.recv();
///     Connection theirs = fetch_connection(message.as_connection(), {.authentication = Authentication{key}});
///
/// Throws Error invalid_argument, too, if the descriptor is none of a pipe or a stream socket.
[[nodiscard]] Connection fetch_connection(const pickle::SharedConnection& connection, const ClientOptions& options,
                                          std::chrono::nanoseconds timeout = forever);

}  // namespace runrig
