#pragma once

#include <sys/socket.h>
#include <sys/un.h>

#include <optional>
#include <string>
#include <vector>

#include "runrig/channel/address.hpp"
#include "runrig/sync/clock.hpp"
#include "runrig/sync/unique_fd.hpp"

/// Stream sockets at the addresses of Listeners.
namespace runrig::detail {

/// An Address as the kernel takes it.
struct SocketAddress {
  sockaddr_storage storage{};
  socklen_t size = 0;
  [[nodiscard]] const sockaddr* get() const noexcept { return reinterpret_cast<const sockaddr*>(&storage); }
  [[nodiscard]] sockaddr* get() noexcept { return reinterpret_cast<sockaddr*>(&storage); }
};

/// All that an address may mean: one of a Unix socket, as many as the host has of TCP (IPv4, unless the host is an IPv6
/// address). Asks the resolver, and so may take its time. Throws Error.
[[nodiscard]] std::vector<SocketAddress> resolve(const Address& address);
/// None for what is no IP address.
[[nodiscard]] std::optional<Address> to_address(const SocketAddress& address);

/// Close-on-exec.
[[nodiscard]] UniqueFd make_socket(int family, const Address& address);
/// Messages leave at once, and a machine that is gone is noticed in the end. For TCP; nothing for others.
void set_up_tcp(int socket, const Address& address);
/// Connected to whatever `address` means, in blocking mode. Throws Error, TimeoutError.
[[nodiscard]] UniqueFd connect_to(const Address& address, Deadline deadline);

/// Throws AuthenticationError if the other end of a Unix socket belongs to neither this user nor root. Nothing for
/// others.
void check_peer_user(int socket, const Address& address);

}  // namespace runrig::detail
