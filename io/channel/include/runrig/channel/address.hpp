#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "runrig/channel/object.hpp"

namespace runrig {

/// Where a Listener waits and a Client connects to: one of Python's address formats.
///
///     Address("build.example.org", 50000)     // TCP; Python's ('build.example.org', 50000), 'AF_INET'
///     Address("/run/user/1000/queue")         // a Unix socket with a name in the file system, 'AF_UNIX'
///     Address::abstract("queue")              // a Unix socket with a name of the kernel's; Python's '\0queue'
class Address {
 public:
  enum class Family : std::uint8_t { inet, unix_socket, abstract_socket };

  /// A host's name, IPv4 address or IPv6 address. To listen, an empty host means all IPv4 interfaces, and port 0 one
  /// that is free.
  Address(std::string host, std::uint16_t port);
  /// A path; an abstract name if it begins with a zero byte. Throws Error invalid_argument if it is empty,
  /// filename_too_long for more than the kernel takes (107 bytes), or invalid_argument for a zero byte in a path.
  Address(std::string path);  // NOLINT(google-explicit-constructor): an address is what a path means here
  Address(const char* path) : Address(std::string(path)) {}
  [[nodiscard]] static Address abstract(std::string_view name);
  /// As people write it: "HOST:PORT", "[::1]:PORT", "@NAME" for an abstract one, otherwise a path, which must have a
  /// slash in it. Throws Error invalid_argument.
  [[nodiscard]] static Address parse(std::string_view text);
  /// Of what Python takes for an address: str, bytes or (host, port). Throws FormatError for anything else.
  [[nodiscard]] static Address from_object(const pickle::Object& object);
  /// What Python calls it: a str; for an abstract one, bytes; (host, port).
  [[nodiscard]] pickle::Object to_object() const;

  [[nodiscard]] Family family() const noexcept { return family_; }
  /// Empty, and 0, unless it is TCP.
  [[nodiscard]] const std::string& host() const noexcept { return host_; }
  [[nodiscard]] std::uint16_t port() const noexcept { return port_; }
  /// Empty if it is TCP. Of an abstract one the name, without the zero byte.
  [[nodiscard]] const std::string& path() const noexcept { return path_; }

  friend bool operator==(const Address&, const Address&) = default;

 private:
  Family family_ = Family::unix_socket;
  std::string host_;
  std::uint16_t port_ = 0;
  std::string path_;
};
/// As parse() reads it.
[[nodiscard]] std::string to_string(const Address& address);

}  // namespace runrig
