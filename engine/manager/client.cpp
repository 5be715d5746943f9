#include "client.hpp"

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

Object ask(Connection& connection, Object ident, std::string_view method, std::vector<Object> args) {
  connection.send(request_message(std::move(ident), method, std::move(args)));
  return connection.recv();
}

}  // namespace

ManagerClient::ManagerClient(Address address, Authentication authentication)
    : address_(std::move(address)), authentication_(std::move(authentication)), number_(next_number()) {}

Connection ManagerClient::connect() const { return Client(address_, {.authentication = authentication_}); }

Object ManagerClient::ask_server(std::string_view method, std::vector<Object> args) const {
  Connection connection = connect();
  return value_of_response(ask(connection, {}, method, std::move(args)));
}

Object ManagerClient::ask_object(const std::string& ident, std::string_view method, std::vector<Object> args) const {
  of_this_thread.begin_use();
  auto& connections = of_this_thread.connections;
  auto found = connections.find(number_);
  if (found == connections.end()) {
    Connection connection = connect();
    (void)value_of_response(ask(connection, {}, "accept_connection", {current_process().name()}));
    found = connections.emplace(number_, std::move(connection)).first;
  }
  Object response;
  try {
    response = ask(found->second, ident, method, std::move(args));
  } catch (const Error&) {
    connections.erase(found);  // whatever follows there belongs to this request
    throw;
  }
  return value_of_response(response);
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
const std::vector<std::string>& Proxy::exposed() const { return used(reference_).exposed; }
std::string Proxy::str() const { return call<std::string>("__str__"); }

}  // namespace runrig
