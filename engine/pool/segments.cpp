#include "segments.hpp"

#include "runrig/engine/parallel_detail.hpp"
#include "worker.hpp"

namespace runrig::detail {
namespace {

std::span<std::byte> whole(const SegmentMapping& mapping, Access access) {
  if (access == Access::read_write) return mapping.writable_bytes();
  const auto bytes = mapping.bytes();
  return {const_cast<std::byte*>(bytes.data()), bytes.size()};  // whoever writes there is stopped by the page tables
}

}  // namespace

std::span<std::byte> WorkerSegments::map(const SegmentHandle& handle, Access access, WorkerSlot& slot) {
  const auto found = mapped_.find(handle.id);
  if (found != mapped_.end()) {
    if (found->second.access == Access::read_write || access == Access::read_only) {
      return whole(found->second.mapping, found->second.access);
    }
    mapped_.erase(found);  // now it is to be written
  }
  const auto made = mapped_.emplace(handle.id, Mapped{SegmentMapping::attach(handle, access), access}).first;
  slot.mapped.store(static_cast<std::uint32_t>(mapped_.size()), std::memory_order_relaxed);  // for tests to look at
  return whole(made->second.mapping, access);
}

void WorkerSegments::drop_closed(const ControlView& view, WorkerSlot& slot) {
  const auto& ring = view.control->closed;
  // Acquire: pairs with announce_closed_segment(); the entries before this number are there.
  const std::uint32_t now = ring.count.load(std::memory_order_acquire);
  if (now == seen_) return;
  bool complete = now - seen_ <= ring.entries.size();
  for (std::uint32_t i = seen_; complete && i != now; ++i) {
    const auto& entry = ring.entries[i % ring.entries.size()];
    // Acquire: should the parent be writing this entry anew, then what is read next shows that it went on.
    const SegmentId id{entry.device.load(std::memory_order_acquire), entry.inode.load(std::memory_order_acquire)};
    mapped_.erase(id);
  }
  // One entry less than the ring holds: the parent writes the entry before it raises the count.
  if (!complete || ring.count.load(std::memory_order_relaxed) - seen_ >= ring.entries.size()) mapped_.clear();
  seen_ = now;
  slot.mapped.store(static_cast<std::uint32_t>(mapped_.size()), std::memory_order_relaxed);
}

void announce_closed_segment(const ControlView& view, SegmentId id) noexcept {
  auto& ring_of_closed = view.control->closed;
  const std::uint32_t count = ring_of_closed.count.load(std::memory_order_relaxed);  // one writer at a time
  auto& entry = ring_of_closed.entries[count % ring_of_closed.entries.size()];
  entry.device.store(id.device, std::memory_order_release);  // pairs with drop_closed()
  entry.inode.store(id.inode, std::memory_order_release);
  ring_of_closed.count.store(count + 1, std::memory_order_release);
  ring(*view.control);
}

std::span<std::byte> map_in_worker(const SliceContext& context, const SegmentHandle& handle, Access access) {
  WorkerState& state = SliceContextAccess::state(context);
  return state.segments->map(handle, access, state.slot());
}

}  // namespace runrig::detail
