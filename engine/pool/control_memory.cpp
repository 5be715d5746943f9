#include "control_memory.hpp"

#include <sys/mman.h>

#include <algorithm>

#include "runrig/engine/machine.hpp"
#include "runrig/sync/error.hpp"
#include "task_table.hpp"

namespace runrig::detail {
namespace {

constexpr std::size_t page_round(std::size_t bytes) { return (bytes + 4095) / 4096 * 4096; }

// Hands out the parts of a mapping, one after the other; with no mapping yet, it only adds up.
class Parts {
 public:
  explicit Parts(std::byte* base) : base_(base) {}
  // Fresh pages are zero, which is the initial state of everything here: nothing is constructed.
  template <class T>
  T* take(std::size_t count = 1) {
    T* const part = base_ == nullptr ? nullptr : reinterpret_cast<T*>(base_ + bytes_);
    bytes_ += page_round(sizeof(T) * count);
    return part;
  }
  [[nodiscard]] std::size_t bytes() const noexcept { return bytes_; }

 private:
  std::byte* base_;
  std::size_t bytes_ = 0;
};

std::size_t lay_out_parts(std::byte* base, int workers, std::uint64_t region_bytes, ControlView& view) {
  const auto count = static_cast<std::size_t>(workers);
  Parts parts(base);
  view.control = parts.take<Control>();
  view.slots = parts.take<WorkerSlot>(count + 1);
  view.table = parts.take<std::atomic<std::uint64_t>>(max_slices);
  view.failures = parts.take<std::atomic<std::uint32_t>>(max_slices);
  view.failure_log = parts.take<std::byte>(failure_log_bytes);
  view.tasks.control = parts.take<TaskControl>();
  view.tasks.slots = parts.take<TaskSlot>(task_slots);
  view.tasks.lines = parts.take<TaskLine>(count);
  view.tasks.regions = parts.take<std::byte>(region_bytes * count);
  view.tasks.region_bytes = region_bytes;
  return parts.bytes();
}

}  // namespace

ControlView lay_out(std::byte* base, int workers, std::uint64_t region_bytes) noexcept {
  ControlView view;
  (void)lay_out_parts(base, workers, region_bytes, view);
  return view;
}

ControlMemory::ControlMemory(int workers) {
  // Address space for the largest launch and the largest results; only pages that are touched get memory. Where the
  // address space is limited (RLIMIT_AS), results have to be smaller.
  constexpr std::uint64_t all_regions = std::uint64_t{1} << 44;
  constexpr std::uint64_t smallest_region = std::uint64_t{16} << 20;
  std::uint64_t region = page_round(std::min(usable_memory_bytes(), all_regions / static_cast<unsigned>(workers)));
  while (!memory_) {
    const std::size_t bytes = lay_out_parts(nullptr, workers, region, view_);
    try {
      memory_ = AnonymousMemory::create("runrig-pool", bytes, Reserve::lazily, Placement::apart);
    } catch (const Error&) {
      if (region / 4 < smallest_region) throw;
      region = page_round(region / 4);
    }
  }
  view_ = lay_out(memory_->writable_bytes().data(), workers, region);
  view_.control->workers = workers;
}

void ControlMemory::clear_failures() noexcept {
  constexpr std::uint64_t kept = 1 << 20;
  // Relaxed: nobody else is at work, and the launch that follows publishes it.
  const std::uint64_t used = view_.control->failure_bytes.exchange(0, std::memory_order_relaxed);
  if (used > kept) ::madvise(view_.failure_log, failure_log_bytes, MADV_REMOVE);
}

}  // namespace runrig::detail
