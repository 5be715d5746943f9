#pragma once

#include <chrono>
#include <cstddef>
#include <memory>
#include <optional>

#include "runrig/channel/address.hpp"
#include "runrig/channel/authentication.hpp"
#include "runrig/channel/connection.hpp"

namespace runrig {

struct ListenerOptions {
  /// Whoever connects proves that it has the key, and gets our proof. Without, everybody gets in who may connect.
  std::optional<Authentication> authentication{};
  /// How many may wait in the kernel to be accepted.
  int backlog = 128;
  /// On Unix sockets, who may connect: by default processes of this user and of root. The kernel says who they are.
  bool any_user = false;
  /// How many may be in the middle of proving the key at a time; of more, the one that has taken longest is dropped.
  std::size_t most_handshakes = 256;
};

/// Waits for Clients, C++ or Python: Python's `multiprocessing.connection.Listener`.
///
///     runrig::Listener listener({"localhost", 6000}, {.authentication = Authentication{key}});
///     runrig::Connection connection = listener.accept();
///     auto message = connection.recv();
///
/// A Unix socket's file has mode 0600, and 0666 with `any_user`; it is removed at the end by the process that made the
/// listener, if it still is the same. One that lies there already is an error, even if nobody listens to it.
///
/// **Threads.** One at a time may call accept(); stop() is for any.
class Listener {
 public:
  /// At a Unix socket in a new folder, which only this user can enter, in the folder for temporary files. If this
  /// process is killed it stays, until the next such listener of this user is made, or `runrig shm gc`.
  explicit Listener(ListenerOptions options = {});
  /// Throws Error: address_in_use and others; std::logic_error for an authentication that makes no sense.
  explicit Listener(const Address& address, ListenerOptions options = {});
  Listener(Listener&&) noexcept;
  Listener& operator=(Listener&&) noexcept;
  ~Listener();

  /// The next connection. Clients that take their time to prove the key keep nobody else waiting.
  ///
  /// Throws AuthenticationError for one that came and did not prove it in time, or belongs to another user. That one is
  /// gone, and the listener goes on: call accept() again. TimeoutError if there is none in `timeout`; Error cancelled
  /// after stop(); Error if the kernel has no more descriptors.
  [[nodiscard]] Connection accept(std::chrono::nanoseconds timeout = forever);
  /// Ends this and every later accept(), in whichever thread.
  void stop() noexcept;

  /// Where it listens: with the port that was given, as numbers.
  [[nodiscard]] const Address& address() const;
  /// Where the last connection came from; none before, and for Unix sockets, which have no address at that end.
  [[nodiscard]] std::optional<Address> last_accepted() const;
  /// Closes it, and those that have not proved the key yet. Harmless the second time.
  void close() noexcept;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

/// Removes the folders of sockets that killed listeners of this user have left; returns how many. Those in use stay.
int sweep_listener_folders();

struct ClientOptions {
  /// As the listener's.
  std::optional<Authentication> authentication{};
  /// For connecting. The handshake has a limit of its own.
  std::chrono::nanoseconds connect_timeout = forever;
  /// On Unix sockets, whom to talk to: by default processes of this user and of root. The kernel says who they are.
  bool any_user = false;
};

/// A connection to a Listener, C++ or Python: Python's `multiprocessing.connection.Client`. It is all in the
/// constructor:
///
///     runrig::Connection connection = runrig::Client({"localhost", 6000}, {.authentication = Authentication{key}});
class Client : public Connection {
 public:
  /// Throws Error connection_refused, no_such_file_or_directory and others; TimeoutError; AuthenticationError if the
  /// other side does not have the key, or belongs to another user; std::logic_error.
  explicit Client(const Address& address, const ClientOptions& options = {});
};

}  // namespace runrig
