#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>

namespace runrig::detail {

/// "4.0 MiB", for people; exact below 1 KiB.
[[nodiscard]] std::string format_bytes(std::uint64_t bytes);

/// How many more bytes of shared memory this process could fill before the kernel kills somebody: the least of what the
/// machine and each memory cgroup around us have left, swap and cached files counted as free. None if unknown.
struct MemoryRoom {
  std::uint64_t bytes = 0;
  const char* limited_by = "";  ///< "the machine" or "the memory cgroup"
};
[[nodiscard]] std::optional<MemoryRoom> memory_room();

/// Throw Error, with what is needed and what there is: not_enough_memory past the memory_room(); no_space_on_device
/// past the free space of the file system at `directory`; file_too_large past RLIMIT_FSIZE, before the kernel sends
/// SIGXFSZ for it.
void check_memory_room(std::size_t size_bytes, std::string_view attempted, std::string_view name);
void check_file_system_room(const char* directory, std::size_t size_bytes, std::string_view attempted,
                            std::string_view name);
void check_file_size_limit(std::size_t size_bytes, std::string_view attempted, std::string_view name);

/// Gives each page of the range its memory, extending the file if need be. Signals, however frequent, neither
/// fail nor stall it. Throws Error (no_space_on_device, not_enough_memory); pages reserved before the failure stay.
void reserve_pages(int fd, std::size_t offset_bytes, std::size_t size_bytes, std::string_view attempted,
                   std::string_view name);

}  // namespace runrig::detail
