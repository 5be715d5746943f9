#pragma once

#include <span>
#include <string>

#include "forms.hpp"
#include "runrig/channel/address.hpp"

namespace runrig::pickle::detail {

/// How an address is written: a str, bytes for an abstract one, (host, port). See Forms.
template <class Sink>
void put_address(Forms<Sink>& forms, const Address& value) {
  switch (value.family()) {
    case Address::Family::unix_socket:
      // Python has paths that are not UTF-8 with surrogates, as file names are there.
      return forms.text(escape_text(value.path()));
    case Address::Family::abstract_socket: {
      const std::string name = '\0' + value.path();
      return forms.bytes(std::as_bytes(std::span(name)));
    }
    case Address::Family::inet:
      if (!is_text(value.host())) throw Error(std::errc::illegal_byte_sequence, "write", "address");
      forms.text(value.host());
      forms.integer(value.port());
      return forms.close_tuple(2);
  }
}

}  // namespace runrig::pickle::detail
