#pragma once

#include <sys/types.h>
#include <unistd.h>

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "runrig/channel/address.hpp"
#include "runrig/channel/authentication.hpp"

namespace runrig::detail {

class ManagerClient;

/// A client's session with a server; see session_request. Ends with this object, in the process that began it.
class ManagerSession {
 public:
  /// Of a server that knows none.
  ManagerSession() = default;
  /// Takes the descriptor.
  ManagerSession(std::string name, int fd) noexcept : name_(std::move(name)), fd_(fd) {}
  ManagerSession(const ManagerSession&) = delete;
  ManagerSession& operator=(const ManagerSession&) = delete;
  ~ManagerSession();
  /// Empty if there is none.
  [[nodiscard]] const std::string& name() const noexcept { return name_; }
  [[nodiscard]] bool is_here() const noexcept;
  /// For the fork of a process: the child's copy would keep the session alive beyond its process.
  void close_in_child() const noexcept;

 private:
  const std::string name_{};
  const int fd_ = -1;
  const pid_t process_ = ::getpid();
};

/// The managers that this process serves or uses, by their addresses, with their keys: for proxies that it receives.
/// Its children know them, too, however they are started. Thread-safe, also across forks.
class KnownManagers {
 public:
  KnownManagers() = default;
  KnownManagers(const KnownManagers&) = delete;
  KnownManagers& operator=(const KnownManagers&) = delete;
  /// Counted: forgotten as often.
  void add(const Address& address, const Authentication& authentication);
  void forget(const Address& address) noexcept;
  [[nodiscard]] std::optional<Authentication> find(const Address& address) const;

  /// Whoever uses the manager at that address, if anybody does.
  [[nodiscard]] std::shared_ptr<const ManagerClient> client_at(const Address& address) const;
  void add_client(const std::shared_ptr<const ManagerClient>& client);

  /// A client's session, begun in this process; null if there is none yet.
  [[nodiscard]] std::shared_ptr<const ManagerSession> session_of(std::uint64_t client) const;
  /// Returns the one that was there before, if another thread was faster.
  std::shared_ptr<const ManagerSession> add_session(std::uint64_t client,
                                                    std::shared_ptr<const ManagerSession> session);
  void end_session(std::uint64_t client) noexcept;

  /// Addresses and keys, for a child; nothing if there are none. Only between a parent and its child.
  [[nodiscard]] std::vector<std::byte> tell() const;
  /// Throws FormatError.
  void learn(std::span<const std::byte> told);

 private:
  struct Known {
    Authentication authentication;
    int count = 0;
  };
  friend struct ForkOfKnownManagers;
  mutable std::mutex mutex_;
  std::map<std::string, Known> managers_;
  std::map<std::string, std::weak_ptr<const ManagerClient>> clients_;
  std::map<std::uint64_t, std::shared_ptr<const ManagerSession>> sessions_;
};

[[nodiscard]] KnownManagers& known_managers();

}  // namespace runrig::detail
