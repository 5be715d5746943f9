#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>

#include "runrig/shm/handle.hpp"
#include "runrig/shm/mapping.hpp"
#include "runrig/sync/unique_fd.hpp"

namespace runrig::detail {

/// Where shm_open puts segments, and so Python.
inline constexpr const char* segment_directory = "/dev/shm";

/// "/dev/shm/NAME" without allocation, for use after a fork.
class SegmentPath {
 public:
  explicit SegmentPath(std::string_view name) noexcept;  // at most longest_segment_name
  [[nodiscard]] const char* c_str() const noexcept { return text_.data(); }

 private:
  std::array<char, 224> text_{};
};

/// Throws Error invalid_argument unless is_segment_name(name).
void check_segment_name(std::string_view name, std::string_view attempted);

/// A file that was opened and looked at.
struct SegmentFile {
  UniqueFd fd;
  SegmentId id;
  std::uint64_t size_bytes = 0;
};

/// Opens what lies at `path` after checking that it is a regular file of ours that no other user may write and that is
/// not empty. Nothing but such a file is ever really opened: opening a FIFO may hang, and opening a device may do
/// something. Throws Error as SharedMemory::attach() does.
[[nodiscard]] SegmentFile open_segment_file(const char* path, Access access, std::string_view attempted,
                                            std::string_view name);
/// The same for /proc/PID/fd/N, which is a link by nature.
[[nodiscard]] SegmentFile open_through_link(const char* path, Access access, std::string_view attempted,
                                            std::string_view name);

/// Whether `path` is that very file. False also if it cannot be looked at.
[[nodiscard]] bool leads_to(const char* path, SegmentId id) noexcept;

}  // namespace runrig::detail
