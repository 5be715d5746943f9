#pragma once

#include <unistd.h>

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "known_managers.hpp"
#include "runrig/channel/listener.hpp"
#include "runrig/channel/pickle.hpp"
#include "runrig/channel/proxy_state.hpp"

namespace runrig::detail {

/// Requests to a manager's server. Thread-safe.
class ManagerClient : public std::enable_shared_from_this<ManagerClient> {
 public:
  [[nodiscard]] static std::shared_ptr<const ManagerClient> make(Address address, Authentication authentication);
  /// For the manager at that address: with the key that is known for it, or else this process's own.
  [[nodiscard]] static std::shared_ptr<const ManagerClient> of(const Address& address);
  ManagerClient(const ManagerClient&) = delete;
  ManagerClient& operator=(const ManagerClient&) = delete;
  ~ManagerClient();

  /// To the server itself, through a connection of its own.
  pickle::Object ask_server(std::string_view method, std::vector<pickle::Object> args) const;
  /// To an object, through this thread's connection. Proxies in the result have references of their own.
  pickle::Object ask_object(const std::string& ident, std::string_view method, std::vector<pickle::Object> args) const;
  [[nodiscard]] const Address& address() const noexcept { return address_; }

 private:
  ManagerClient(Address address, Authentication authentication);
  [[nodiscard]] Connection connect() const;
  /// The keywords of a request to the server: this process's session, where that is needed and known.
  [[nodiscard]] pickle::Object session_keywords() const;
  [[nodiscard]] pickle::Object value_of(const pickle::Object& response) const;
  [[nodiscard]] bool is_own(const pickle::Token& token) const;

  const Address address_;
  const Authentication authentication_;
  const std::uint64_t number_;  // among all of this process
};

/// What a Proxy refers to; its end gives the reference back.
struct ProxyReference final : pickle::ProxyKeeper {
  /// Takes a reference that the server has counted already.
  ProxyReference(std::shared_ptr<const ManagerClient> of, std::string type, std::string object,
                 std::vector<std::string> methods)
      : client(std::move(of)), type_id(std::move(type)), ident(std::move(object)), exposed(std::move(methods)) {}
  /// Has the server count one. Throws as ask_server() does.
  [[nodiscard]] static std::shared_ptr<const ProxyReference> to(std::shared_ptr<const ManagerClient> client,
                                                                const pickle::ProxyState& proxy);
  ~ProxyReference() override;

  const std::shared_ptr<const ManagerClient> client;
  const std::string type_id;
  const std::string ident;
  const std::vector<std::string> exposed;  // if they were said
  const pid_t process = ::getpid();        // a forked child's copy is not counted
};

}  // namespace runrig::detail
