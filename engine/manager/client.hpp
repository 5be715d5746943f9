#pragma once

#include <unistd.h>

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "runrig/channel/listener.hpp"
#include "runrig/channel/pickle.hpp"

namespace runrig::detail {

/// Requests to a manager's server. Thread-safe.
class ManagerClient {
 public:
  ManagerClient(Address address, Authentication authentication);
  /// To the server itself, through a connection of its own.
  pickle::Object ask_server(std::string_view method, std::vector<pickle::Object> args) const;
  /// To an object, through this thread's connection.
  pickle::Object ask_object(const std::string& ident, std::string_view method, std::vector<pickle::Object> args) const;
  [[nodiscard]] const Address& address() const noexcept { return address_; }

 private:
  [[nodiscard]] Connection connect() const;
  Address address_;
  Authentication authentication_;
  std::uint64_t number_;  // among all of this process
};

/// What a Proxy refers to; its end gives the reference back.
struct ProxyReference {
  ProxyReference(std::shared_ptr<const ManagerClient> of, std::string type, std::string object,
                 std::vector<std::string> methods)
      : client(std::move(of)), type_id(std::move(type)), ident(std::move(object)), exposed(std::move(methods)) {}
  ProxyReference(const ProxyReference&) = delete;
  ProxyReference& operator=(const ProxyReference&) = delete;
  ~ProxyReference();

  const std::shared_ptr<const ManagerClient> client;
  const std::string type_id;
  const std::string ident;
  const std::vector<std::string> exposed;
  const pid_t process = ::getpid();  // a forked child's copy is not counted
};

}  // namespace runrig::detail
