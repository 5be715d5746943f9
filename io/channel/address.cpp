#include "runrig/channel/address.hpp"

#include <sys/un.h>

#include <charconv>
#include <span>
#include <utility>

#include "runrig/sync/error.hpp"

namespace runrig {
namespace {

// With the zero byte that ends a path, or begins an abstract name.
constexpr std::size_t most_path_bytes = sizeof(sockaddr_un::sun_path) - 1;

[[noreturn]] void refuse(const std::string& why, std::string_view text) {
  throw Error(std::errc::invalid_argument, "read an address (" + why + "):", text);
}

}  // namespace

Address::Address(std::string host, std::uint16_t port) : family_(Family::inet), host_(std::move(host)), port_(port) {}

Address::Address(std::string path) : path_(std::move(path)) {
  if (path_.starts_with('\0')) {
    family_ = Family::abstract_socket;
    path_.erase(0, 1);
  }
  if (path_.empty()) refuse("it is empty", path_);
  if (path_.size() > most_path_bytes) {
    throw Error(std::errc::filename_too_long,
                "name a Unix socket by more than " + std::to_string(most_path_bytes) + " bytes:", path_);
  }
  if (family_ == Family::unix_socket && path_.find('\0') != std::string::npos) {
    refuse("a path has no zero byte inside", path_);
  }
}

Address Address::abstract(std::string_view name) { return Address(std::string(1, '\0').append(name)); }

Address Address::parse(std::string_view text) {
  if (text.starts_with('@')) return abstract(text.substr(1));
  if (text.find('/') != std::string_view::npos) return Address(std::string(text));
  const auto colon = text.rfind(':');
  if (colon == std::string_view::npos) refuse("it is neither HOST:PORT, nor a path with a slash, nor @NAME", text);
  std::string_view host = text.substr(0, colon);
  const std::string_view digits = text.substr(colon + 1);
  std::uint16_t port = 0;
  const auto [end, code] = std::from_chars(digits.data(), digits.data() + digits.size(), port);
  if (digits.empty() || code != std::errc() || end != digits.data() + digits.size()) {
    refuse("a port is a number from 0 to 65535", text);
  }
  if (host.starts_with('[') && host.ends_with(']')) {
    host = host.substr(1, host.size() - 2);
  } else if (host.find(':') != std::string_view::npos) {
    refuse("an IPv6 address is written in brackets, as in [::1]:5000", text);
  }
  return {std::string(host), port};
}

std::string to_string(const Address& address) {
  switch (address.family()) {
    case Address::Family::unix_socket:
      return address.path();
    case Address::Family::abstract_socket:
      return "@" + address.path();
    case Address::Family::inet:
      break;
  }
  const bool six = address.host().find(':') != std::string::npos;
  return (six ? "[" + address.host() + "]" : address.host()) + ":" + std::to_string(address.port());
}

pickle::Object Address::to_object() const {
  switch (family_) {
    case Family::unix_socket:
      return pickle::Object(path_);
    case Family::abstract_socket: {
      const std::string name = std::string(1, '\0') + path_;
      return pickle::Object::bytes(std::as_bytes(std::span(name)));
    }
    case Family::inet:
      break;
  }
  return pickle::Object::tuple({pickle::Object(host_), pickle::Object(std::int64_t{port_})});
}

Address Address::from_object(const pickle::Object& object) {
  using pickle::Kind;
  const Kind kind = object.kind();
  try {
    if (kind == Kind::string) return Address(object.as_string());
    if (kind == Kind::bytes) {
      const auto bytes = object.as_bytes();
      return Address(std::string(reinterpret_cast<const char*>(bytes.data()), bytes.size()));
    }
    if (kind == Kind::tuple && object.size() == 2) {
      const std::int64_t port = object.at(std::size_t{1}).as_int();
      if (port >= 0 && port <= 65535) {
        return {object.at(std::size_t{0}).as_string(), static_cast<std::uint16_t>(port)};
      }
    }
  } catch (const FormatError&) {
    throw;
  } catch (const Error& error) {
    throw FormatError("read an address", "pickle", error.what());
  }
  throw FormatError("read an address", "pickle", "it is neither a str, nor bytes, nor (host, port)");
}

}  // namespace runrig
