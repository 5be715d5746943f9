#pragma once

#include <cstddef>
#include <map>
#include <span>

#include "control.hpp"
#include "runrig/shm/handle.hpp"

namespace runrig::detail {

/// A worker's cache of mapped segments.
///
/// A mapping pins the segment's memory, so the worker must let go when the parent does: the parent writes each
/// segment that it closes into a ring in shared memory and rings the bell; workers read the ring when they wake, before
/// they look for work. A worker that was too busy to see every entry drops all that it has: what is still needed is
/// mapped again.
class WorkerSegments {
 public:
  [[nodiscard]] std::span<std::byte> map(const SegmentHandle& handle, Access access, WorkerSlot& slot);
  void drop_closed(const ControlView& view, WorkerSlot& slot);

 private:
  struct Mapped {
    SegmentMapping mapping;
    Access access;
  };
  std::map<SegmentId, Mapped> mapped_;
  std::uint32_t seen_ = 0;  // entries of the ring
};

/// For the parent: the segment is closed here.
void announce_closed_segment(const ControlView& view, SegmentId id) noexcept;

}  // namespace runrig::detail
