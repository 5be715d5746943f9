#pragma once

#include <cstdint>

#include "runrig/channel/address.hpp"

/// Descriptors that another process keeps until somebody fetches them, as they travel in pickles. See
/// resource_sharer.hpp for who keeps and who fetches.
namespace runrig::pickle {

/// Python's multiprocessing.resource_sharer.DupFd: which descriptor of which sharer.
struct SharedHandle {
  /// A Unix socket's, be it abstract: there is no other way to hand over a descriptor.
  Address sharer{"/"};
  /// The sharer's number for it, from 1.
  std::int64_t key = 0;
  friend bool operator==(const SharedHandle&, const SharedHandle&) = default;
};

/// A multiprocessing.connection.Connection as Python pickles it: a call of rebuild_connection() with a DupFd.
struct SharedConnection {
  SharedHandle handle;
  /// What its end can do: one of them at least.
  bool readable = true;
  bool writable = true;
  friend bool operator==(const SharedConnection&, const SharedConnection&) = default;
};

}  // namespace runrig::pickle
