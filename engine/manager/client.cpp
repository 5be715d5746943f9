#include "client.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/random.h>

#include <array>
#include <atomic>
#include <map>
#include <stdexcept>
#include <utility>

#include "response.hpp"
#include "runrig/engine/log.hpp"
#include "runrig/engine/manager.hpp"
#include "runrig/sync/error.hpp"

namespace runrig {
namespace detail {
namespace {

using pickle::Object;

/// The connections of a thread, by their clients' numbers.
struct ThreadConnections {
  pid_t process = ::getpid();
  std::map<std::uint64_t, Connection> connections;
  /// A forked child has its parent's, which it must not use.
  void begin_use() {
    if (process == ::getpid()) return;
    connections.clear();
    process = ::getpid();
  }
};
thread_local ThreadConnections of_this_thread;

std::uint64_t next_number() {
  // Relaxed: only that they differ.
  static std::atomic<std::uint64_t> last{0};
  return last.fetch_add(1, std::memory_order_relaxed) + 1;
}

Object ask(Connection& connection, Object ident, std::string_view method, std::vector<Object> args,
           Object keywords = Object::dict()) {
  connection.send(request_message(std::move(ident), method, std::move(args), std::move(keywords)));
  return connection.recv();
}

std::string random_name() {
  std::array<std::uint64_t, 2> numbers{};
  check_errno(retry_on_eintr([&] { return ::getrandom(numbers.data(), sizeof numbers, 0); }), "name", "session");
  return fmt::format("{:016x}{:016x}", numbers[0], numbers[1]);
}

}  // namespace

ManagerClient::ManagerClient(Address address, Authentication authentication)
    : address_(std::move(address)), authentication_(std::move(authentication)), number_(next_number()) {}

std::shared_ptr<const ManagerClient> ManagerClient::make(Address address, Authentication authentication) {
  struct Public final : ManagerClient {
    Public(Address to, Authentication how) : ManagerClient(std::move(to), std::move(how)) {}
  };
  auto client = std::make_shared<const Public>(std::move(address), std::move(authentication));
  known_managers().add(client->address_, client->authentication_);
  known_managers().add_client(client);
  return client;
}

std::shared_ptr<const ManagerClient> ManagerClient::of(const Address& address) {
  if (auto client = known_managers().client_at(address)) return client;
  auto how = known_managers().find(address);
  if (!how) how = Authentication{.key = current_process().authkey()};
  return make(address, *std::move(how));
}

ManagerClient::~ManagerClient() {
  known_managers().end_session(number_);
  known_managers().forget(address_);
}

Connection ManagerClient::connect() const { return Client(address_, {.authentication = authentication_}); }

Object ManagerClient::session_keywords() const {
  // Of a Unix socket the kernel says whose it is.
  if (address_.family() != Address::Family::inet) return Object::dict();
  auto session = known_managers().session_of(number_);
  if (session == nullptr) {
    const std::string name = random_name();
    Connection connection = connect();
    const Object answer = ask(connection, {}, session_request, {name});
    try {
      (void)value_of_response(answer);
      const int fd = check_errno(::fcntl(connection.fileno(), F_DUPFD_CLOEXEC, 3), "keep", "manager's session");
      session = std::make_shared<const ManagerSession>(name, fd);
    } catch (const RemoteError& error) {
      get_logger().debug(error.what());  // a server of Python's
      session = std::make_shared<const ManagerSession>();
    }
    session = known_managers().add_session(number_, std::move(session));
  }
  if (session->name().empty()) return Object::dict();
  return Object::dict({{Object(session_key), Object(session->name())}});
}

Object ManagerClient::ask_server(std::string_view method, std::vector<Object> args) const {
  const bool counted = method == "create" || method == "incref" || method == "decref";
  Object keywords = counted ? session_keywords() : Object::dict();
  Connection connection = connect();
  return value_of_response(ask(connection, {}, method, std::move(args), std::move(keywords)));
}

Object ManagerClient::ask_object(const std::string& ident, std::string_view method, std::vector<Object> args) const {
  of_this_thread.begin_use();
  auto& connections = of_this_thread.connections;
  auto found = connections.find(number_);
  if (found == connections.end()) {
    Object keywords = session_keywords();
    Connection connection = connect();
    (void)value_of_response(ask(connection, {}, "accept_connection", {current_process().name()}, std::move(keywords)));
    found = connections.emplace(number_, std::move(connection)).first;
  }
  Object response;
  try {
    response = ask(found->second, ident, method, std::move(args));
  } catch (const Error&) {
    connections.erase(found);  // whatever follows there belongs to this request
    throw;
  }
  return value_of(response);
}

// A manager's host has many names; see the server's.
bool ManagerClient::is_own(const pickle::Token& token) const {
  return token.address == address_ ||
         (address_.family() == Address::Family::inet && token.address.family() == Address::Family::inet &&
          token.address.port() == address_.port());
}

Object ManagerClient::value_of(const Object& response) const {
  if (const Object* const made = proxy_of_response(response)) {
    const pickle::Token& token = made->at(std::size_t{1}).as_token();
    pickle::ProxyState proxy{std::string(pickle::proxy_type_of(token.type_id)), token};
    proxy.token.address = address_;
    for (const Object& each : made->at(std::size_t{0}).items()) proxy.exposed.push_back(each.as_string());
    proxy.keeper = std::make_shared<const ProxyReference>(shared_from_this(), token.type_id, token.id, proxy.exposed);
    return proxy;
  }
  Object value = value_of_response(response);
  // Now, while the server keeps what it has just sent.
  pickle::keep_proxies(value, [this](const pickle::ProxyState& proxy) -> std::shared_ptr<const pickle::ProxyKeeper> {
    if (!is_own(proxy.token)) return nullptr;  // of another manager: when it is used
    try {
      return ProxyReference::to(shared_from_this(), proxy);
    } catch (const RemoteError&) {
      return nullptr;  // another one's after all, or gone: whoever uses it is told
    }
  });
  return value;
}

std::shared_ptr<const ProxyReference> ProxyReference::to(std::shared_ptr<const ManagerClient> client,
                                                         const pickle::ProxyState& proxy) {
  (void)client->ask_server("incref", {proxy.token.id});
  return std::make_shared<const ProxyReference>(std::move(client), proxy.token.type_id, proxy.token.id, proxy.exposed);
}

ProxyReference::~ProxyReference() {
  if (process != ::getpid()) return;
  try {
    (void)client->ask_server("decref", {ident});
  } catch (const std::exception& error) {
    get_logger().debug(error.what());  // a server that is gone keeps nothing
  }
}

}  // namespace detail

using pickle::Object;

namespace {

const detail::ProxyReference& used(const std::shared_ptr<const detail::ProxyReference>& reference) {
  if (!reference) throw std::logic_error("use a Proxy that refers to nothing");
  return *reference;
}

}  // namespace

Object Proxy::call_with(std::string_view method, std::vector<Object> args) const {
  const auto& reference = used(reference_);
  return reference.client->ask_object(reference.ident, method, std::move(args));
}
const std::string& Proxy::type_id() const { return used(reference_).type_id; }
const std::string& Proxy::id() const { return used(reference_).ident; }
std::vector<std::string> Proxy::exposed() const {
  const auto& reference = used(reference_);
  if (!reference.exposed.empty()) return reference.exposed;
  const pickle::Token token{reference.type_id, reference.client->address(), reference.ident};
  std::vector<std::string> methods;
  const Object answer = reference.client->ask_server("get_methods", {Object(token)});
  for (const Object& each : answer.items()) methods.push_back(each.as_string());
  return methods;
}
bool operator==(const Proxy& a, const Proxy& b) {
  if (a.reference_ == nullptr || b.reference_ == nullptr) return a.reference_ == b.reference_;
  return a.reference_->ident == b.reference_->ident &&
         a.reference_->client->address() == b.reference_->client->address();
}
Object Proxy::to_object() const {
  const auto& reference = used(reference_);
  pickle::ProxyState state{std::string(pickle::proxy_type_of(reference.type_id)),
                           {reference.type_id, reference.client->address(), reference.ident}};
  if (state.type == "AutoProxy") state.exposed = exposed();
  state.keeper = reference_;
  return state;
}
Proxy Proxy::from_object(const Object& object) {
  const pickle::ProxyState& state = object.as_proxy();
  if (auto known = std::dynamic_pointer_cast<const detail::ProxyReference>(state.keeper))
    return Proxy(std::move(known));
  return Proxy(detail::ProxyReference::to(detail::ManagerClient::of(state.token.address), state));
}
std::string Proxy::str() const { return call<std::string>("__str__"); }

}  // namespace runrig
