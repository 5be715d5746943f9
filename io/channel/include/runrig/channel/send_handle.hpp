#pragma once

#include <chrono>

#include "runrig/channel/connection.hpp"
#include "runrig/sync/unique_fd.hpp"

/// Descriptors by themselves, as Python's `multiprocessing.reduction` sends them: for peers that speak no pickles of
/// ours. Connections between our own programs travel in messages (Connection::send()).
namespace runrig {

/// Sends a descriptor, of which the other end gets one of its own by recv_handle(), ours or Python's. It is no message:
/// the other end must expect it here. `descriptor` stays open, and is the caller's. Blocks while the kernel's buffer is
/// full. Throws Error: broken_pipe, bad_file_descriptor and others; std::logic_error unless the connection is a Unix
/// socket that can send.
void send_handle(const Connection& connection, int descriptor);

/// The descriptor that the other end sends by send_handle(), ours or Python's; close-on-exec. Waits for it. Throws
/// EndOfStream if the other end is gone; TimeoutError if nothing came in `timeout`; FormatError for something else than
/// one descriptor, after which what follows on this connection is anything; Error too_many_files_open; std::logic_error
/// unless the connection is a Unix socket that can receive.
[[nodiscard]] UniqueFd recv_handle(const Connection& connection, std::chrono::nanoseconds timeout = forever);

}  // namespace runrig
