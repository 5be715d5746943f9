#include "reduce_slice.hpp"

#include <cstring>
#include <span>

#include "runrig/engine/quantile.hpp"

namespace runrig::batch {
namespace {

class SliceReducer {
 public:
  SliceReducer(SliceContext& context, const ReducePlan& plan)
      : context_(context), plan_(plan), axes_(*plan.axes), reducer_(plan.operation, plan.dtype, plan.nan) {}

  void run(std::uint32_t slice) {
    const std::uint32_t block = slice / plan_.pieces;
    const std::size_t first = block * plan_.block;
    const std::size_t n = std::min(plan_.block, plan_.sequences - first);
    const std::size_t item = item_bytes(plan_.dtype);
    if (plan_.results != nullptr) {
      const std::size_t pitch = axes_.columns ? plan_.sequences : static_cast<std::size_t>(plan_.elements);
      const std::byte* const data = plan_.values + first * (axes_.columns ? 1 : pitch) * item;
      std::byte* const out = plan_.results + first * item_bytes(reducer_.result());
      plan_.found[block] = 1;
      if (plan_.quantile >= 0) {
        quantiles(data, n, out);
      } else if (!reduce_sequences(reducer_, axes_, data, n, pitch, out)) {
        plan_.found[block] = 0;
      }
    } else if (axes_.columns) {
      columns(slice % plan_.pieces, first, n);
    } else {
      rows(slice % plan_.pieces, first, n);
    }
  }

 private:
  [[nodiscard]] ReductionStates states(std::byte* memory, std::size_t first) const {
    return ReductionStates{memory, plan_.sequences}.from(first);
  }
  [[nodiscard]] ReductionStates closed(std::uint32_t number, std::size_t first) const {
    return states(plan_.closed + number * reducer_.state_bytes() * plan_.sequences, first);
  }
  void copy(ReductionStates to, ReductionStates from, std::size_t n) const {
    for (std::size_t plane = 0; plane * 8 < reducer_.state_bytes(); ++plane) {
      std::memcpy(to.memory + plane * to.pitch * 8, from.memory + plane * from.pitch * 8, n * 8);
    }
  }

  void quantiles(const std::byte* data, std::size_t n, std::byte* out) const {
    const auto elements = static_cast<std::size_t>(plan_.elements);
    const std::size_t bytes = elements * item_bytes(plan_.dtype);
    std::byte* const scratch = context_.scratch(bytes);
    for (std::size_t i = 0; i < n; ++i) {
      context_.heartbeat();
      store_real(reducer_.result(),
                 quantile_of(plan_.dtype, data + i * bytes, elements, plan_.quantile, plan_.nan, scratch),
                 out + i * item_bytes(reducer_.result()));
    }
  }

  void columns(std::uint32_t number, std::size_t first, std::size_t n) const {
    const Piece piece = plan_.piece(number);
    const ReductionStates into = piece.closes ? closed(number, first) : states(plan_.open_out, first);
    if (piece.opens) {
      reducer_.begin_like(into, n, states(plan_.origins, first));
    } else {
      copy(into, states(plan_.open_in, first), n);
    }
    const std::size_t row = plan_.sequences * item_bytes(plan_.dtype);
    reducer_.add_columns(into, n, plan_.values + (piece.begin - plan_.k) * row + first * item_bytes(plan_.dtype),
                         static_cast<std::size_t>(piece.end - piece.begin), plan_.sequences, piece.begin);
  }

  void rows(std::uint32_t number, std::size_t first, std::size_t n) const {
    const Piece piece = plan_.piece(number);
    const std::size_t lanes_bytes = reducer_.state_bytes() * reduction_lanes;
    const ReductionStates lanes{context_.scratch(lanes_bytes), reduction_lanes};
    for (std::size_t i = first; i < first + n; ++i) {
      if (piece.opens) {
        reducer_.begin_like(lanes, reduction_lanes, states(plan_.origins, i), 0);
      } else {
        std::memcpy(lanes.memory, plan_.open_in + i * lanes_bytes, lanes_bytes);
      }
      const std::uint64_t at = i * plan_.elements + (piece.begin - plan_.k);
      reducer_.add_row(lanes, plan_.values + at * item_bytes(plan_.dtype), piece.end - piece.begin, piece.begin);
      if (piece.closes) {
        reducer_.fold(lanes);
        copy(closed(number, i), lanes, 1);
      } else {
        std::memcpy(plan_.open_out + i * lanes_bytes, lanes.memory, lanes_bytes);
      }
    }
  }

  SliceContext& context_;
  const ReducePlan& plan_;
  const ReductionAxes& axes_;
  Reducer reducer_;
};

}  // namespace

void StepJob::operator()(SliceContext& context) const {
  // Reads first: they take longer.
  if (context.slice() < reading->box_count) {
    read(context);
  } else {
    SliceReducer(context, *reducing).run(context.slice() - reading->box_count);
  }
}

void StepJob::read(SliceContext& context) const {
  const MemoryFence fence(reading->data_bytes);
  const hdf5::Box& box = reading->boxes[context.slice()];
  try {
    reading->source->read(context, box, reading->target, {reading->strides, box.start.rank()});
  } catch (...) {
    context.retire();
    throw;
  }
  // Relaxed: a number to show, nothing hangs on it.
  reading->bytes_done->fetch_add(box.count.elements() * reading->item, std::memory_order_relaxed);
}

}  // namespace runrig::batch
