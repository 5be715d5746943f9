#include <algorithm>
#include <optional>
#include <stdexcept>
#include <string>
#include <vector>

#include "../pool/pool_state.hpp"
#include "../pool/worker.hpp"
#include "runrig/engine/parallel_detail.hpp"
#include "runrig/engine/threads.hpp"
#include "runrig/sync/error.hpp"

namespace runrig::detail {
namespace {

// Slices that a worker's second-level cache holds, and multiples of what any vector and page needs; enough of them for
// smaller arrays to keep many workers busy.
constexpr std::uint64_t most_slice_bytes = std::uint64_t{512} << 10;
constexpr std::uint64_t slice_step = 1024;
constexpr std::uint64_t least_slice_elements = 4 * slice_step;
constexpr std::uint64_t wanted_slices = 64;

std::uint64_t divide_up(std::uint64_t value, std::uint64_t divisor) { return value / divisor + (value % divisor != 0); }

std::uint64_t choose_slice_elements(std::uint64_t elements, std::size_t item_bytes_of_largest) {
  const std::uint64_t wanted = divide_up(divide_up(elements, wanted_slices), slice_step) * slice_step;
  return std::clamp(wanted, least_slice_elements, most_slice_bytes / item_bytes_of_largest);
}

void check_alike(std::span<const AnyArrayRef> arrays) {
  for (const AnyArrayRef& each : arrays) {
    if (each.shape != arrays.front().shape) {
      throw std::logic_error("kernel on arrays of different shapes: " + to_string(arrays.front().shape) + " and " +
                             to_string(each.shape));
    }
    if (!each.contiguous()) {
      throw std::logic_error("kernel on an array of shape " + to_string(each.shape) +
                             " with gaps or in another order; take rows of it, or copy it");
    }
  }
}

bool ranges_meet(std::uint64_t a, std::uint64_t b, std::uint64_t a_bytes, std::uint64_t b_bytes) {
  return a < b + b_bytes && b < a + a_bytes;
}

std::uint64_t bytes_of(const AnyArrayRef& array) { return array.size() * item_bytes(array.dtype); }

bool share_memory(const AnyArrayRef& a, const AnyArrayRef& b) {
  if (a.segment && a.segment.id == b.segment.id) {  // perhaps mapped twice, at two addresses
    return ranges_meet(a.byte_offset, b.byte_offset, bytes_of(a), bytes_of(b));
  }
  return ranges_meet(reinterpret_cast<std::uintptr_t>(a.data), reinterpret_cast<std::uintptr_t>(b.data), bytes_of(a),
                     bytes_of(b));
}

std::string elements_text(const SlicePlan& plan, std::uint32_t slice) {
  return "slice " + std::to_string(slice) + " (elements " + std::to_string(plan.begin(slice)) + " to " +
         std::to_string(plan.end(slice)) + ")";
}

[[noreturn]] void throw_for(const SlicePlan& plan, std::uint32_t slice, SliceOutcome outcome) {
  const std::string where = elements_text(plan, slice);
  if (outcome.state == SliceState::failed) {
    throw RemoteError(std::move(outcome.exception_type), std::move(outcome.message), outcome.worker, where);
  }
  throw WorkerLost(outcome.worker, outcome.signal, "run a kernel on " + where + ": its worker " + outcome.message);
}

void append_range(std::vector<SliceLost::Range>& ranges, SliceLost::Range range) {
  if (!ranges.empty() && ranges.back().end == range.begin) {
    ranges.back().end = range.end;
  } else {
    ranges.push_back(range);
  }
}

}  // namespace

SlicePlan plan_slices(std::span<const AnyArrayRef> arrays, std::uint64_t slice_elements) {
  check_alike(arrays);
  SlicePlan plan;
  plan.elements = arrays.front().shape.elements();
  std::size_t largest = 1;
  for (const AnyArrayRef& each : arrays) largest = std::max(largest, item_bytes(each.dtype));
  plan.slice_elements = slice_elements > 0 ? slice_elements : choose_slice_elements(plan.elements, largest);
  const std::uint64_t least = divide_up(divide_up(plan.elements, max_slices), slice_step) * slice_step;
  if (divide_up(plan.elements, plan.slice_elements) > max_slices) plan.slice_elements = least;
  plan.slices = static_cast<std::uint32_t>(divide_up(plan.elements, plan.slice_elements));
  return plan;
}

bool reads_what_it_writes(std::span<const AnyArrayRef> arrays, Writing writing) {
  if (writing == Writing::in_place) {
    return std::any_of(arrays.begin(), arrays.end(),
                       [](const AnyArrayRef& each) { return each.access == Access::read_write; });
  }
  const auto inputs = arrays.subspan(1);
  return std::any_of(inputs.begin(), inputs.end(),
                     [&](const AnyArrayRef& each) { return share_memory(arrays.front(), each); });
}

FlatArray flatten(Pool& pool, const AnyArrayRef& array) {
  FlatArray flat;
  flat.byte_offset = array.byte_offset;
  flat.size_bytes = bytes_of(array);
  flat.segment = array.segment;
  flat.access = array.access;
  PoolState& state = PoolAccess::usable_state(pool, "run a kernel");
  if (state.options.arena->contains(array.data, flat.size_bytes)) {
    flat.direct = array.data;
  } else if (array.segment) {
    state.share_segment(array.segment.id);
  } else if (flat.size_bytes > 0) {
    throw std::logic_error(
        "kernel on an array in private memory, which workers do not see; use an NdArray, the pool's "
        "arena, or Threads");
  }
  return flat;
}

FlatArray flatten(Threads& /*threads*/, const AnyArrayRef& array) {
  FlatArray flat;
  flat.direct = array.data;
  return flat;
}

std::byte* locate(const SliceContext& context, const FlatArray& array) {
  if (array.direct != nullptr) return array.direct;
  const auto segment = map_in_worker(context, array.segment, array.access);
  if (array.byte_offset > segment.size() || array.size_bytes > segment.size() - array.byte_offset) {
    throw Error(std::errc::invalid_argument, "map array longer than its segment", array.segment.name_view());
  }
  return segment.data() + array.byte_offset;
}

void check_captures(Pool& pool, const void* captures, std::size_t size_bytes) {
  PoolState& state = PoolAccess::usable_state(pool, "run a kernel");
  state.check_kernel_captures(captures, size_bytes);
}

std::byte* partial_memory(Pool& pool, std::size_t size_bytes) {
  PoolState& state = PoolAccess::usable_state(pool, "run a kernel");
  if (state.launch_under_way()) throw std::logic_error("run a kernel: a launch is under way on the pool; wait for it");
  if (state.partials.size_bytes() < size_bytes) {
    state.partials.reset();
    state.partials = state.options.arena->allocate(size_bytes);
  }
  return state.partials.data();
}

void finish_launch(Launch& launch, const SlicePlan& plan, Rerun rerun, const std::stop_token& stop) {
  {
    const std::stop_callback on_stop(stop, [&launch] { launch.cancel(); });
    launch.wait();
  }
  std::vector<SliceLost::Range> lost;
  std::string why;
  std::optional<std::uint32_t> first_bad;
  bool cancelled = false;
  for (std::uint32_t slice = launch.first_not_done(); slice < plan.slices; slice = launch.first_not_done(slice + 1)) {
    const SliceOutcome outcome = launch.outcome(slice);
    if (outcome.state == SliceState::cancelled) {
      cancelled = true;
      continue;
    }
    if (!first_bad) first_bad = slice;
    if (rerun == Rerun::forbidden && outcome.state != SliceState::failed) {
      append_range(lost, {plan.begin(slice), plan.end(slice)});
      if (why.empty()) why = "worker " + std::to_string(outcome.worker) + " " + outcome.message;
    }
  }
  if (!lost.empty()) throw SliceLost(std::move(lost), why);
  if (first_bad) throw_for(plan, *first_bad, launch.outcome(*first_bad));
  if (cancelled) throw Cancelled("run a kernel");
}

}  // namespace runrig::detail
