#pragma once

#include <cstdint>
#include <string_view>

#include "exception_types.hpp"

namespace runrig::pickle::detail {

/// A class or function that a stream may name. There are no others, and none of them is Python's own code: each
/// stands for one constructor of ours.
struct Global {
  enum class Id : std::uint8_t {
    set,
    frozenset,
    bytes,
    bytearray,
    complex,
    encode,
    ordered_dict,
    ndarray,
    dtype,
    reconstruct,
    scalar,
    frombuffer,
    date,
    time,
    datetime,
    timedelta,
    timezone,
    exception,
    slice,
    range,
    token,
    rebuild_proxy,
    proxy_type,
    shared_handle,
    rebuild_connection,
  };
  std::string_view module;
  std::string_view name;
  Id id;
  const ExceptionType* exception = nullptr;
};

}  // namespace runrig::pickle::detail
