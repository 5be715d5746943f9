#pragma once

#include <chrono>
#include <concepts>
#include <cstddef>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "runrig/channel/listener.hpp"
#include "runrig/engine/managed.hpp"
#include "runrig/engine/process.hpp"

/// Objects in a server process, used by clients on this machine or others, in C++ or Python: Python's
/// multiprocessing.managers, on the wire as there.
namespace runrig {

struct ManagerOptions {
  /// Where the server listens; none: a Unix socket in a folder of its own.
  std::optional<Address> address{};
  /// Whoever has the key may use everything that is served. An empty key stands for this process's authkey.
  Authentication authentication{};
  /// How many connections the server takes at a time, each of which costs it a thread. Of more, the newest is refused.
  std::size_t most_connections = 1000;
};

/// Serves managed objects in this process: Python's managers.Server, which BaseManager.get_server() returns.
///
///     runrig::ManagedTypes types = runrig::ManagedTypes::standard();
///     types.share("get_queue", "Queue");
///     runrig::ManagerServer server(types, {.address = Address("", 50000), .authentication = {.key = key}});
///     server.serve_forever();
///
/// **References.** An object lives as long as clients refer to it. What processes on this machine refer to and hold,
/// C++ or Python, is given back when they end, however they do: the kernel says who connects through a Unix socket, and
/// when that process is gone. Clients of ours that connect through TCP have a connection that says as much: it ends
/// with them, or within half a minute after their machine vanished. Of Python's through TCP only the end of each
/// connection is seen: locks of a thread (RLock, Condition) are released then; references stay until they are given
/// back, or the server ends.
class ManagerServer {
 public:
  /// Listens; nothing is served yet. Throws Error, std::logic_error.
  explicit ManagerServer(ManagedTypes types, const ManagerOptions& options = {});
  ManagerServer(const ManagerServer&) = delete;
  ManagerServer& operator=(const ManagerServer&) = delete;
  ~ManagerServer();

  [[nodiscard]] const Address& address() const;
  /// Serves until a client calls shutdown(), or stop() is called; then closes all connections.
  void serve_forever();
  /// From any thread.
  void stop() noexcept;
  /// How many objects are referred to.
  [[nodiscard]] std::size_t number_of_objects() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

namespace detail {
class ManagerClient;
struct ProxyReference;
}  // namespace detail

/// An object of a manager. Copies refer to the same one, which the server keeps as long as there are any.
///
/// Proxies can be sent to other processes, as arguments and by connections, to Python programs, too; and be put into
/// managed objects, which then keep what they refer to: a list of lists. Whoever sends one keeps it until it has
/// arrived. A proxy that was forked is used by the child on its parent's account.
///
/// Each thread that uses proxies of a manager has a connection of its own to it. The methods throw what the object's
/// methods throw: Empty and Full as these, all else as pickle::throw_python_error() does (a PythonError, which knows
/// Python's name of it, "KeyError"); RemoteError for what the server has only a text of; and Error if it is gone.
class Proxy {
 public:
  /// Refers to nothing; any call is a std::logic_error.
  Proxy() noexcept = default;
  explicit Proxy(std::shared_ptr<const detail::ProxyReference> reference) noexcept : reference_(std::move(reference)) {}

  /// Calls a method with Transferable arguments, or pickle::Objects. `R` is what the result is read as.
  template <class R = pickle::Object, class... Args>
  R call(std::string_view method, const Args&... args) const {
    std::vector<pickle::Object> objects{pickle::to_object(args)...};
    pickle::Object result = call_with(method, std::move(objects));
    if constexpr (!std::is_void_v<R>) return pickle::from_object<R>(result);
  }
  [[nodiscard]] const std::string& type_id() const;
  [[nodiscard]] const std::string& id() const;
  /// What may be called.
  [[nodiscard]] std::vector<std::string> exposed() const;
  /// Python's str(proxy): how the object describes itself.
  [[nodiscard]] std::string str() const;
  /// Whether they refer to the same object of the same manager.
  friend bool operator==(const Proxy& a, const Proxy& b);

  /// As it travels: Python's proxies of that type. The other way round has the server count one more reference, with
  /// the key that this process (or one it comes from) has for that manager, or its own. Throws FormatError for what is
  /// no proxy; as call() does.
  [[nodiscard]] pickle::Object to_object() const;
  [[nodiscard]] static Proxy from_object(const pickle::Object& object);

 private:
  [[nodiscard]] pickle::Object call_with(std::string_view method, std::vector<pickle::Object> args) const;
  std::shared_ptr<const detail::ProxyReference> reference_;
};

/// A proxy, and what is derived from it.
template <std::derived_from<Proxy> P>
struct Transfer<P> {
  static void write(pickle::Encoder& encoder, const P& value) { encoder.object(value.to_object()); }
  static P read(pickle::Decoder& decoder) { return P(Proxy::from_object(decoder.object())); }
};

/// A manager, as those see it who use its objects: Python's BaseManager.
///
///     runrig::BaseManager manager({.address = Address("build", 50000), .authentication = {.key = key}});
///     manager.connect();                                   // to one that is served elsewhere, in C++ or Python
///     runrig::Proxy queue = manager.create("get_queue");
///     queue.call("put", 42);
class BaseManager {
 public:
  explicit BaseManager(ManagerOptions options = {});
  BaseManager(BaseManager&&) noexcept;
  BaseManager& operator=(BaseManager&&) noexcept;
  /// Shuts down what it started.
  virtual ~BaseManager();

  /// Uses a server that is there already. Throws Error, AuthenticationError.
  void connect();
  /// Starts a server process of its own. It ends with shutdown(), with this object, or when this process ends.
  void start();
  /// Ends the server process that was started; waits for it. Harmless the second time.
  void shutdown() noexcept;
  [[nodiscard]] const Address& address() const;

  /// A new object of a registered type; or the one that is shared under that name. Positional arguments.
  /// `P` is Proxy or what can be made of one: a typed proxy (see proxies.hpp).
  template <class P = Proxy, class... Args>
  [[nodiscard]] P create(std::string_view type_id, const Args&... args) {
    return P(create_with(type_id, {pickle::to_object(args)...}));
  }
  /// How many objects the server keeps, and what it says of them.
  [[nodiscard]] std::size_t number_of_objects() const;
  [[nodiscard]] std::string debug_info() const;

 protected:
  /// What start() starts: a process that serves, and says its address through the connection.
  using Starter = Process (*)(ProcessOptions options, Connection ready, ManagerOptions told);
  BaseManager(ManagerOptions options, Starter starter);

 private:
  [[nodiscard]] Proxy create_with(std::string_view type_id, std::vector<pickle::Object> args);
  struct State;
  std::unique_ptr<State> state_;
};

namespace detail {
/// The whole life of a server process.
void serve_managed(ManagedTypes types, Connection ready, const std::string& address, const std::vector<std::byte>& key,
                   bool allow_md5);
/// Empty: none.
[[nodiscard]] std::string address_text(const std::optional<Address>& address);
}  // namespace detail

/// A manager that can start() a process which serves `types()`, by any start method:
///
///     runrig::ManagedTypes my_types() { ...; return types; }
///     runrig::ManagerOf<my_types> manager;
///     manager.start();
template <ManagedTypes (*types)()>
class ManagerOf : public BaseManager {
 public:
  explicit ManagerOf(ManagerOptions options = {}) : BaseManager(std::move(options), &start_process) {}

 private:
  static Process start_process(ProcessOptions options, Connection ready, ManagerOptions told) {
    return Process(
        std::move(options),
        [](Connection connection, const std::string& address, const std::vector<std::byte>& key, bool allow_md5) {
          detail::serve_managed(types(), std::move(connection), address, key, allow_md5);
        },
        std::move(ready), detail::address_text(told.address), std::move(told.authentication.key),
        told.authentication.allow_md5);
  }
};

}  // namespace runrig
