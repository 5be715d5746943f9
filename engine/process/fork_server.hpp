#pragma once

#include <sys/types.h>

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "runrig/sync/unique_fd.hpp"

/// The fork server: this program, started anew, which waits in init() with a single thread and forks on request.
///
/// Requests come over a socketpair, one message each: a Preparation (or a memfd that holds it), and the descriptors of
/// the child. The server answers when it has forked. Its children are children of the process that asked
/// (CLONE_PARENT): it neither waits for them nor knows how they end, and its own death is nothing to them.
///
/// A server that is killed between fork and answer leaves no doubt either: the kernel writes the child's number into a
/// page that both sides map, before the child takes its first step (CLONE_PARENT_SETTID).
namespace runrig::detail {

inline constexpr std::size_t server_page_bytes = 4096;
/// The page.
struct ServerPage {
  std::atomic<std::int32_t> child;  ///< cleared by who asks; the kernel writes a plain int
};
static_assert(sizeof(std::atomic<std::int32_t>) == sizeof(pid_t) && std::atomic<std::int32_t>::is_always_lock_free);

/// The head of a request; the encoded Preparation follows, unless it comes in a memfd.
struct ServerRequest {
  static constexpr std::uint32_t right_magic = 0x52525153;
  std::uint32_t magic = right_magic;
  std::uint32_t in_file = 0;
  std::uint32_t has_stdout = 0;
  std::uint32_t has_stderr = 0;
};
inline constexpr std::size_t most_inline_bytes = std::size_t{48} << 10;
/// The descriptors go in this order: current directory; stdout and stderr, where there are; the memfd; those of the
/// child. The kernel passes 253 at most.
inline constexpr std::size_t most_passed_descriptors = 240;

/// The answer: 0, or why there is no child.
struct ServerAnswer {
  std::int32_t code = 0;
};

/// The life of the server. `descriptors`: its end of the socketpair, and the page's memfd.
[[noreturn]] void run_fork_server(pid_t parent, std::vector<UniqueFd> descriptors);

/// Ends this process' server, if it has one. Its children are not touched.
void stop_fork_server() noexcept;
/// For tests and people: that of the last one, which may be dead; 0 if there is none.
[[nodiscard]] pid_t fork_server_pid() noexcept;

}  // namespace runrig::detail
