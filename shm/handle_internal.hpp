#pragma once

#include <stdexcept>
#include <string>
#include <string_view>

#include "runrig/shm/handle.hpp"
#include "segment_file.hpp"

namespace runrig::detail {

/// Opens the very segment that the handle names; as map_segment().
[[nodiscard]] SegmentFile open_by_handle(const SegmentHandle& handle, Access access);
[[nodiscard]] SegmentHandle make_handle(int fd, SegmentId id, std::size_t size_bytes, std::string_view name) noexcept;

/// Throws Error invalid_argument unless `fd` is a memfd whose size nobody can change any more.
void check_sealed(int fd, std::string_view attempted, std::string_view name);

/// Tells all SegmentCloseListeners.
void notify_closed(SegmentId id) noexcept;

inline void check_open(const Mapping& mapping, std::string_view name) {
  if (!mapping) throw std::logic_error("use of segment '" + std::string(name) + "' after close() or move");
}

}  // namespace runrig::detail
