#include "socket.hpp"

#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/time.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstring>
#include <memory>

#include "runrig/sync/error.hpp"
#include "runrig/sync/poll.hpp"

namespace runrig::detail {
namespace {

void set_option(int socket, int level, int option, int value, const Address& address) {
  check_errno(::setsockopt(socket, level, option, &value, sizeof value), "set up a socket for", to_string(address));
}

void set_blocking(int socket, bool blocking, const Address& address) {
  const int flags = check_errno(::fcntl(socket, F_GETFL), "set up a socket for", to_string(address));
  const int wanted = blocking ? flags & ~O_NONBLOCK : flags | O_NONBLOCK;
  check_errno(::fcntl(socket, F_SETFL, wanted), "set up a socket for", to_string(address));
}

SocketAddress unix_address(const Address& address) {
  SocketAddress result;
  sockaddr_un unix_socket{};
  unix_socket.sun_family = AF_UNIX;
  const std::size_t begin = address.family() == Address::Family::abstract_socket ? 1 : 0;
  std::memcpy(unix_socket.sun_path + begin, address.path().data(), address.path().size());
  std::memcpy(&result.storage, &unix_socket, sizeof unix_socket);
  // An abstract name is as long as is said; a path ends with its zero byte.
  result.size = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + address.path().size() + 1);
  return result;
}

// A Unix socket's connect waits, if at all, for room in the listener's backlog, and only where it may block.
bool connect_unix(int socket, const SocketAddress& to, Deadline deadline, const Address& address) {
  if (deadline.when()) {
    const auto left = std::chrono::ceil<std::chrono::microseconds>(deadline.remaining());
    // Zero would mean for ever.
    const timeval limit{left.count() / 1'000'000, std::max<std::int64_t>(left.count() % 1'000'000, 1)};
    check_errno(::setsockopt(socket, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit), "set up a socket for",
                to_string(address));
  }
  const int result = retry_on_eintr([&] { return ::connect(socket, to.get(), to.size); });
  const int code = errno;
  if (deadline.when()) {
    const timeval none{};
    check_errno(::setsockopt(socket, SOL_SOCKET, SO_SNDTIMEO, &none, sizeof none), "set up a socket for",
                to_string(address));
  }
  errno = code;
  return result == 0;
}

bool connect_inet(int socket, const SocketAddress& to, Deadline deadline, const Address& address) {
  set_blocking(socket, false, address);
  if (::connect(socket, to.get(), to.size) != 0) {
    // Interrupted, it goes on by itself, as it does in progress.
    if (errno != EINPROGRESS && errno != EINTR) return false;
    if (!wait_writable(socket, deadline)) {
      errno = EAGAIN;
      return false;
    }
    int code = 0;
    socklen_t size = sizeof code;
    check_errno(::getsockopt(socket, SOL_SOCKET, SO_ERROR, &code, &size), "connect to", to_string(address));
    if (code != 0) {
      errno = code;
      return false;
    }
  }
  set_blocking(socket, true, address);
  return true;
}

}  // namespace

std::vector<SocketAddress> resolve(const Address& address) {
  if (address.family() != Address::Family::inet) return {unix_address(address)};
  addrinfo hints{};
  hints.ai_family = address.host().find(':') != std::string::npos ? AF_INET6 : AF_INET;
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = AI_NUMERICSERV | AI_PASSIVE;
  addrinfo* found = nullptr;
  const std::string port = std::to_string(address.port());
  const char* const host = address.host().empty() ? nullptr : address.host().c_str();
  const int code = retry_on_eintr([&] { return ::getaddrinfo(host, port.c_str(), &hints, &found); });
  if (code == EAI_SYSTEM) check_errno(-1, "find the address of", address.host());
  if (code != 0) {
    throw Error(std::errc::address_not_available, "find the address (" + std::string(::gai_strerror(code)) + ") of",
                address.host());
  }
  const std::unique_ptr<addrinfo, decltype(&::freeaddrinfo)> owned(found, &::freeaddrinfo);
  std::vector<SocketAddress> results;
  for (const addrinfo* each = found; each != nullptr; each = each->ai_next) {
    SocketAddress result;
    std::memcpy(&result.storage, each->ai_addr, each->ai_addrlen);
    result.size = each->ai_addrlen;
    results.push_back(result);
  }
  return results;
}

std::optional<Address> to_address(const SocketAddress& address) {
  if (address.storage.ss_family != AF_INET && address.storage.ss_family != AF_INET6) return std::nullopt;
  std::array<char, NI_MAXHOST> host{};
  std::array<char, NI_MAXSERV> port{};
  const int code = ::getnameinfo(address.get(), address.size, host.data(), host.size(), port.data(), port.size(),
                                 NI_NUMERICHOST | NI_NUMERICSERV);
  if (code != 0) return std::nullopt;
  return Address(host.data(), static_cast<std::uint16_t>(std::stoi(port.data())));
}

UniqueFd make_socket(int family, const Address& address) {
  return UniqueFd(
      check_errno(::socket(family, SOCK_STREAM | SOCK_CLOEXEC, 0), "make a socket for", to_string(address)));
}

void set_up_tcp(int socket, const Address& address) {
  if (address.family() != Address::Family::inet) return;
  set_option(socket, IPPROTO_TCP, TCP_NODELAY, 1, address);
  set_option(socket, SOL_SOCKET, SO_KEEPALIVE, 1, address);
}

UniqueFd connect_to(const Address& address, Deadline deadline) {
  const bool inet = address.family() == Address::Family::inet;
  int code = 0;
  for (const SocketAddress& each : resolve(address)) {
    UniqueFd socket = make_socket(each.storage.ss_family, address);
    set_up_tcp(socket.get(), address);
    const auto connect = inet ? connect_inet : connect_unix;
    if (connect(socket.get(), each, deadline, address)) return socket;
    code = errno;
    if (code == EAGAIN) throw TimeoutError("connect to", to_string(address));
  }
  errno = code;
  check_errno(-1, "connect to", to_string(address));
  return UniqueFd();
}

void check_peer_user(int socket, const Address& address) {
  if (address.family() == Address::Family::inet) return;
  ucred peer{};
  socklen_t size = sizeof peer;
  check_errno(::getsockopt(socket, SOL_SOCKET, SO_PEERCRED, &peer, &size), "ask who is at", to_string(address));
  if (peer.uid == ::geteuid() || peer.uid == 0) return;
  throw AuthenticationError("authenticate (process " + std::to_string(peer.pid) + " belongs to another user, uid " +
                                std::to_string(peer.uid) + ") with",
                            to_string(address));
}

}  // namespace runrig::detail
