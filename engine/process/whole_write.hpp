#pragma once

#include <string_view>

namespace runrig::detail {

/// Writes all of `text` to `fd`, so that nothing of another process or thread that also writes with this function comes
/// in between, however long it is and whatever `fd` is.
///
/// A single write() is only whole on files, and on pipes up to PIPE_BUF. So a write lock (fcntl) is held on the file
/// meanwhile: it needs no memory in common, so it works between all processes that have the pipe or file, however they
/// were made, and the kernel releases it when its holder dies. A holder that is stopped is waited for one second, then
/// the text is written nevertheless; so it is where there can be no lock.
///
/// Where `fd` takes nothing for a second although it is non-blocking, or is broken, the rest is dropped: what is
/// written here are messages, which must not stop the program. No SIGPIPE, no exception; errno is kept. Any thread.
void write_whole(int fd, std::string_view text) noexcept;

}  // namespace runrig::detail
