#include <fmt/format.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>

#include <atomic>
#include <list>
#include <mutex>
#include <thread>

#include "client_processes.hpp"
#include "known_managers.hpp"
#include "object_table.hpp"
#include "response.hpp"
#include "runrig/engine/log.hpp"
#include "runrig/engine/manager.hpp"
#include "runrig/sync/error.hpp"
#include "standard_referents.hpp"

namespace runrig {
namespace {

using detail::ManagerRequest;
using pickle::Object;

Authentication with_key(Authentication authentication) {
  if (authentication.key.empty()) authentication.key = current_process().authkey();
  return authentication;
}

Listener listen(const ManagerOptions& options) {
  ListenerOptions how;
  how.authentication = with_key(options.authentication);
  return options.address ? Listener(*options.address, std::move(how)) : Listener(std::move(how));
}

// A machine that vanishes says nothing: within half a minute its session is over.
void notice_vanishing(int socket) {
  const auto set = [&](int level, int name, int value) {
    if (::setsockopt(socket, level, name, &value, sizeof value) != 0) {
      get_logger().debug("manager: no keep-alive for a session");  // it is no TCP connection
    }
  };
  set(SOL_SOCKET, SO_KEEPALIVE, 1);
  set(IPPROTO_TCP, TCP_KEEPIDLE, 15);
  set(IPPROTO_TCP, TCP_KEEPINTVL, 5);
  set(IPPROTO_TCP, TCP_KEEPCNT, 3);
}

}  // namespace

struct ManagerServer::State {
  State(ManagedTypes served, const ManagerOptions& given);
  State(const State&) = delete;
  State& operator=(const State&) = delete;
  ~State();

  /// A client's connection, and the thread that serves it.
  class Served final : public detail::ManagedCaller {
   public:
    Served(State& server, Connection accepted, std::uint64_t number, std::uint64_t process)
        : state_(server), connection_(std::move(accepted)), number_(number), process_(process) {}
    [[nodiscard]] std::uint64_t connection() const noexcept override { return number_; }
    [[nodiscard]] std::uint64_t process() const noexcept override { return process_; }
    [[nodiscard]] bool gone() const noexcept override;
    Object serve(std::shared_ptr<detail::Referent> made, std::string_view type_id,
                 std::vector<std::string> exposed) override;
    void start() {
      thread_ = std::thread([this] { run(); });
    }
    [[nodiscard]] bool done() const noexcept { return done_.load(std::memory_order_acquire); }
    void join() { thread_.join(); }
    void hang_up() const noexcept { ::shutdown(connection_.fileno(), SHUT_RDWR); }

   private:
    void run() noexcept;
    void serve_requests();
    void serve_objects();
    void serve_session(const ManagerRequest& request);
    /// If the request names its process's session, the process is known.
    void take_session(ManagerRequest& request);
    [[nodiscard]] Object answer_server_request(const ManagerRequest& request);
    [[nodiscard]] Object answer_object_request(const ManagerRequest& request);
    /// What the client sent, with its proxies of this server's objects kept.
    [[nodiscard]] Object receive();
    void send(const Object& message);

    State& state_;
    Connection connection_;
    const std::uint64_t number_;
    std::uint64_t process_;
    bool proxy_made_ = false;  // in the call that is being answered
    std::atomic<bool> done_{false};
    std::thread thread_;
  };

  void serve();
  void serve_one(Connection connection);
  void reap();
  void join_all();
  void stop() noexcept;
  [[nodiscard]] bool is_own(const pickle::Token& token) const;

  ManagedTypes types;
  ManagerOptions options;
  Listener listener;
  const std::shared_ptr<detail::ObjectTable> objects = std::make_shared<detail::ObjectTable>();
  // Relaxed suffices: it is only ever set, and whoever waits looks again.
  std::atomic<bool> stopping{false};
  std::uint64_t last_number = 0;
  std::mutex mutex;  // of the list, from which a thread does not take itself
  std::list<Served> connections;
  detail::ClientProcesses processes;  // the first to go: it calls the others
};

ManagerServer::State::State(ManagedTypes served, const ManagerOptions& given)
    : types(std::move(served)),
      options(given),
      listener(listen(given)),
      processes([this](std::uint64_t process) { objects->forget_process(process); }) {}

// Its hosts have many names: a port, and an ident that begins anywhere, are enough.
bool ManagerServer::State::is_own(const pickle::Token& token) const {
  const Address& own = listener.address();
  return token.address == own ||
         (own.family() == Address::Family::inet && token.address.family() == Address::Family::inet &&
          token.address.port() == own.port());
}

ManagerServer::State::~State() {
  stop();
  join_all();
}

void ManagerServer::State::stop() noexcept {
  stopping.store(true, std::memory_order_relaxed);
  listener.stop();
  const std::scoped_lock guard(mutex);
  for (const Served& each : connections) each.hang_up();
}

void ManagerServer::State::reap() {
  const std::scoped_lock guard(mutex);
  for (auto each = connections.begin(); each != connections.end();) {
    if (!each->done()) {
      ++each;
      continue;
    }
    each->join();
    each = connections.erase(each);
  }
}

void ManagerServer::State::serve_one(Connection connection) {
  reap();
  const std::uint64_t process = processes.number_of(connection.fileno());
  const std::scoped_lock guard(mutex);
  if (connections.size() >= options.most_connections) {
    get_logger().warning("manager: a connection was refused: there are as many as it may have");
    return;
  }
  Served& served = connections.emplace_back(*this, std::move(connection), ++last_number, process);
  try {
    served.start();
  } catch (const std::system_error& error) {
    connections.pop_back();
    get_logger().warning(std::string("manager: no thread for another connection: ") + error.what());
    return;
  }
  if (stopping.load(std::memory_order_relaxed)) served.hang_up();
}

void ManagerServer::State::serve() {
  while (!stopping.load(std::memory_order_relaxed)) {
    try {
      serve_one(listener.accept());
    } catch (const AuthenticationError& error) {
      get_logger().info(error.what());
    } catch (const Error& error) {
      if (error.code() == std::errc::operation_canceled) break;
      // No descriptors, or no memory: connections that end give them back.
      get_logger().warning(error.what());
      std::this_thread::sleep_for(std::chrono::milliseconds(50));
      reap();
    }
  }
  listener.close();
  stop();
  join_all();
}

void ManagerServer::State::join_all() {
  std::list<Served> last;
  {
    const std::scoped_lock guard(mutex);
    last.swap(connections);  // whose threads may still want the mutex
  }
  for (Served& each : last) each.join();
}

bool ManagerServer::State::Served::gone() const noexcept {
  if (state_.stopping.load(std::memory_order_relaxed)) return true;
  pollfd entry{connection_.fileno(), POLLRDHUP, 0};
  return ::poll(&entry, 1, 0) == 1 && (entry.revents & (POLLRDHUP | POLLHUP | POLLERR)) != 0;
}

Object ManagerServer::State::Served::serve(std::shared_ptr<detail::Referent> made, std::string_view type_id,
                                           std::vector<std::string> exposed) {
  std::string ident = state_.objects->add(std::move(made), type_id, exposed, process_);
  proxy_made_ = true;
  return Object::tuple({Object::tuple({exposed.begin(), exposed.end()}),
                        Object(pickle::Token{std::string(type_id), state_.listener.address(), std::move(ident)})});
}

void ManagerServer::State::Served::run() noexcept {
  try {
    serve_requests();
  } catch (const std::exception& error) {
    // The end of the stream, mostly. Bytes that are no request end their connection, and nothing else.
    get_logger().debug(error.what());
  }
  try {
    state_.objects->forget_connection(number_);
    // What its last request made after its end was told.
    if (process_ != 0 && state_.processes.has_ended(process_)) state_.objects->forget_process(process_);
  } catch (const std::exception& error) {
    get_logger().warning(error.what());
  }
  hang_up();
  // Release: all that it did is seen by who sees that it is done, and joins.
  done_.store(true, std::memory_order_release);
}

void ManagerServer::State::Served::send(const Object& message) {
  std::vector<std::byte> bytes;
  try {
    bytes = pickle::dumps(message);
  } catch (const std::exception& error) {
    bytes = pickle::dumps(Object::tuple({"#UNSERIALIZABLE", pickle::escape_text(error.what())}));
  }
  connection_.send_bytes(bytes);
}

Object ManagerServer::State::Served::receive() {
  Object message = pickle::loads(connection_.recv_bytes());
  pickle::keep_proxies(message, [this](const pickle::ProxyState& proxy) {
    return state_.is_own(proxy.token) ? state_.objects->hold(proxy.token.id) : nullptr;
  });
  return message;
}

// One request to the server; what follows accept_connection goes to objects.
void ManagerServer::State::Served::serve_requests() {
  ManagerRequest request;
  try {
    request = detail::read_request(receive());
  } catch (const FormatError& error) {
    return send(detail::traceback_message(pickle::escape_text(error.what())));
  }
  Object answer;
  try {
    if (request.method == detail::session_request) return serve_session(request);
    take_session(request);
    answer = answer_server_request(request);
  } catch (const std::exception& error) {
    send(detail::traceback_message(pickle::escape_text(error.what())));
    return;
  }
  send(answer);
  if (request.method == "accept_connection") serve_objects();
  if (request.method == "shutdown") state_.stop();
}

void ManagerServer::State::Served::take_session(ManagerRequest& request) {
  const Object* const session = request.kwargs.find(detail::session_key);
  if (session == nullptr) return;
  const std::string& name_of_session = session->as_string();
  if (process_ == 0) process_ = state_.processes.number_of_session(name_of_session);
  Object others = Object::dict();
  for (const auto& [name, value] : request.kwargs.entries()) {
    if (name != Object(detail::session_key)) others.insert_or_assign(name, value);
  }
  request.kwargs = std::move(others);
}

// Returns when it is over. Throws what was wrong with the request.
void ManagerServer::State::Served::serve_session(const ManagerRequest& request) {
  if (request.args.size() != 1) detail::wrong_number_of_arguments(request.method, 1, request.args.size());
  const std::string& session = request.args[0].as_string();
  if (session.empty() || !state_.processes.begin_session(session)) {
    throw ManagedError("ValueError", {"a session has a name, and begins once"});
  }
  try {
    notice_vanishing(connection_.fileno());
    send(detail::return_message({}));
    (void)connection_.recv_bytes(0);  // there is nothing to come but the end
  } catch (const std::exception& error) {
    get_logger().debug(error.what());
  }
  state_.processes.end_session(session);
}

Object ManagerServer::State::Served::answer_server_request(const ManagerRequest& request) {
  const auto ident = [&] {
    if (request.args.size() != 1) detail::wrong_number_of_arguments(request.method, 1, request.args.size());
    return request.args[0].as_string();
  };
  const std::string& method = request.method;
  if (method == "create") {
    if (request.args.empty()) detail::wrong_number_of_arguments(method, 1, 0);
    const std::string& type_id = request.args[0].as_string();
    const detail::ManagedType* const type = state_.types.find(type_id);
    if (type == nullptr) throw ManagedError("KeyError", {"no type '" + type_id + "' is registered"});
    const auto referent = type->make(state_.types, std::span(request.args).subspan(1), request.kwargs);
    std::string name = state_.objects->add(referent, type_id, type->exposed, process_);
    std::vector<Object> exposed(type->exposed.begin(), type->exposed.end());
    return detail::return_message(Object::tuple({std::move(name), Object::tuple(std::move(exposed))}));
  }
  if (method == "get_methods") {
    if (request.args.size() != 1) detail::wrong_number_of_arguments(method, 1, request.args.size());
    const auto exposed = state_.objects->find(request.args[0].as_token().id).exposed;
    return detail::return_message(Object::tuple({exposed.begin(), exposed.end()}));
  }
  if (method == "incref") {
    state_.objects->incref(ident(), process_);
  } else if (method == "decref") {
    state_.objects->decref(ident(), process_);
  } else if (method == "number_of_objects") {
    return detail::return_message(state_.objects->size());
  } else if (method == "debug_info") {
    return detail::return_message(state_.objects->description());
  } else if (method != "dummy" && method != "accept_connection" && method != "shutdown") {
    throw ManagedError("AttributeError", {"a manager has no '" + method + "'"});
  }
  return detail::return_message({});
}

void ManagerServer::State::Served::serve_objects() {
  // Lives until the next request: a proxy in it may be the last that its object has, until the client, which reads it
  // meanwhile, refers to the object itself.
  Object answer;
  for (;;) {
    ManagerRequest request;
    try {
      request = detail::read_request(receive());
    } catch (const FormatError& error) {
      // Whole, but nothing that is read here: a pickle of a function of the client's, mostly. The next may be better.
      answer = detail::traceback_message(pickle::escape_text(error.what()));
      send(answer);
      continue;
    }
    try {
      answer = answer_object_request(request);
    } catch (const detail::CallerGone&) {
      return;
    } catch (...) {
      answer = detail::error_message(std::current_exception());
    }
    send(answer);
  }
}

Object ManagerServer::State::Served::answer_object_request(const ManagerRequest& request) {
  detail::ObjectTable::Entry entry;
  try {
    entry = state_.objects->find(request.ident.as_string());
  } catch (const std::exception& error) {
    return detail::traceback_message(error.what());
  }
  const auto& exposed = entry.exposed;
  if (std::find(exposed.begin(), exposed.end(), request.method) != exposed.end()) {
    proxy_made_ = false;
    Object result = entry.referent->call({request.method, request.args, request.kwargs, *this});
    return proxy_made_ ? detail::proxy_message(std::move(result)) : detail::return_message(std::move(result));
  }
  if (request.method == "__str__" || request.method == "__repr__")
    return detail::return_message(entry.referent->text());
  if (request.method == "#GETVALUE") return detail::return_message(entry.referent->value());
  return detail::traceback_message(fmt::format("AttributeError: method '{}' of '{}' object is not exposed",
                                               pickle::escape_text(request.method), entry.type_id));
}

ManagerServer::ManagerServer(ManagedTypes types, const ManagerOptions& options)
    : state_(std::make_unique<State>(std::move(types), options)) {
  detail::known_managers().add(state_->listener.address(), with_key(options.authentication));
}
ManagerServer::~ManagerServer() { detail::known_managers().forget(state_->listener.address()); }
const Address& ManagerServer::address() const { return state_->listener.address(); }
void ManagerServer::serve_forever() { state_->serve(); }
void ManagerServer::stop() noexcept { state_->stop(); }
std::size_t ManagerServer::number_of_objects() const { return state_->objects->size(); }

}  // namespace runrig
