#include "evaluate_reduction.hpp"

#include <algorithm>
#include <array>
#include <stdexcept>
#include <string>

#include "runrig/engine/statistics.hpp"
#include "runrig/sync/error.hpp"

namespace runrig::detail {
namespace {

/// Values that are computed and then reduced while they are in a cache.
constexpr std::size_t batch_elements = 16384;
/// Elements that keep a worker busy for a while.
constexpr std::uint64_t slice_elements = std::uint64_t{1} << 20;
/// Sequences side by side in one slice.
constexpr std::uint64_t columns_at_once = 4096;

/// Summaries of blocks.
struct SummaryBody {
  ToldProgram program;
  SlicePlan plan;
  Statistics* blocks;

  [[nodiscard]] std::size_t slice_scratch() const {
    return program.scratch_bytes() + statistics_block_elements * item_bytes(program.result);
  }
  template <class Located>
  void run(std::uint32_t slice, std::byte* scratch, const Located& located) const {
    const auto count = static_cast<std::size_t>(plan.end(slice) - plan.begin(slice));
    std::byte* const values = scratch + program.scratch_bytes();
    program.run(located, plan.begin(slice), count, values, scratch);
    blocks[slice] = summarize_block(program.result, values, count);
  }
};

/// Slices are segments of sequences, or some sequences whole. The program's elements are walked as ReductionAxes says:
/// sequences side by side (columns) or one behind the other.
struct ReductionBody {
  ToldProgram program;
  ReductionAxes axes;
  Reduction operation{};
  NanPolicy nan{};
  std::uint64_t segments = 1;     // of each sequence
  std::uint64_t sequences = 1;    // in a slice, or fewer in the last one
  std::byte* states = nullptr;    // for each slice, where there are several segments
  FlatArray out;                  // else
  std::uint8_t* found = nullptr;  // for each slice: no result is missing

  [[nodiscard]] std::uint64_t blocks() const { return (axes.results + sequences - 1) / sequences; }
  [[nodiscard]] std::uint64_t slices() const { return blocks() * segments; }
  /// Accumulators that a slice leaves: those of segment s and block b are number b * segments + s.
  [[nodiscard]] std::size_t states_bytes(const Reducer& reducer) const {
    return reducer.state_bytes() * static_cast<std::size_t>(sequences);
  }
  [[nodiscard]] std::size_t working_states() const {
    return axes.columns ? static_cast<std::size_t>(sequences) : reduction_lanes;
  }
  [[nodiscard]] std::size_t slice_scratch() const {
    return program.scratch_bytes() + (batch_elements + columns_at_once + 1) * item_bytes(program.result) +
           padded(Reducer(operation, program.result, nan).state_bytes() * working_states());
  }

  template <class Located>
  void run(std::uint32_t slice, std::byte* scratch, const Located& located) const {
    const Reducer reducer(operation, program.result, nan);
    const std::size_t item = item_bytes(program.result);
    std::byte* const memory = scratch + program.scratch_bytes();
    std::byte* const values = memory + padded(reducer.state_bytes() * working_states());
    std::byte* const first = values + batch_elements * item;  // elements of each sequence's beginning
    const std::uint64_t segment = slice % segments;
    const std::uint64_t begin = segment * axes.segment;
    const std::uint64_t end = std::min(axes.length, begin + axes.segment);
    const std::uint64_t j = slice / segments * sequences;
    const auto n = static_cast<std::size_t>(std::min(sequences, axes.results - j));
    const auto compute = [&](std::uint64_t at, std::uint64_t count, std::byte* to) {
      program.run(located, at, static_cast<std::size_t>(count), to, scratch);
    };
    // What a slice leaves of sequences j + i, ...: their results, or the accumulators of this segment.
    bool all_found = true;
    const auto leave = [&](ReductionStates from, std::size_t i, std::size_t count) {
      if (segments == 1) {
        std::byte* const to = located(out) + (j + i) * item_bytes(reducer.result());
        all_found = reducer.finish(from, count, axes.length, to) && all_found;
        return;
      }
      const ReductionStates to = ReductionStates{states + slice * states_bytes(reducer), n}.from(i);
      for (std::size_t plane = 0; plane * 8 < reducer.state_bytes(); ++plane) {
        std::copy_n(from.memory + plane * from.pitch * 8, count * 8, to.memory + plane * to.pitch * 8);
      }
    };

    if (axes.columns) {
      const ReductionStates accumulators{memory, n};
      compute(j, n, first);
      reducer.begin(accumulators, n, first, 1);
      if (n == axes.results) {  // rows lie one behind the other
        const std::uint64_t rows = std::max<std::uint64_t>(batch_elements / n, 1);
        for (std::uint64_t k = begin; k < end; k += rows) {
          const std::uint64_t here = std::min(rows, end - k);
          compute(k * n, here * n, values);
          reducer.add_columns(accumulators, n, values, static_cast<std::size_t>(here), n, k);
        }
      } else {
        for (std::uint64_t k = begin; k < end; ++k) {
          compute(k * axes.results + j, n, values);
          reducer.add_columns(accumulators, n, values, 1, n, k);
        }
      }
      leave(accumulators, 0, n);
    } else {
      const ReductionStates lanes{memory, reduction_lanes};
      if (segments > 1) {  // of one sequence
        compute(j * axes.length, 1, first);
        reducer.begin(lanes, reduction_lanes, first, 0);
      }
      std::uint64_t k = begin;
      std::size_t i = 0;
      const std::uint64_t stop = (j + n - 1) * axes.length + end;
      for (std::uint64_t at = j * axes.length + begin; at < stop;) {
        const std::uint64_t here = std::min<std::uint64_t>(batch_elements, stop - at);
        compute(at, here, values);
        for (std::uint64_t done = 0; done < here;) {
          if (segments == 1 && k == 0) reducer.begin(lanes, reduction_lanes, values + done * item, 0);
          const std::uint64_t part = std::min(here - done, end - k);
          reducer.add_row(lanes, values + done * item, part, k);
          done += part;
          k += part;
          if (k == end) {
            reducer.fold(lanes);
            leave(lanes, i++, 1);
            k = begin;
          }
        }
        at += here;
      }
    }
    found[slice] = all_found ? 1 : 0;
  }
};

std::string text_of(Reduction operation, NanPolicy nan) {
  return (nan == NanPolicy::skip ? "nan" : "") + std::string(reduction_name(operation)) + "()";
}

/// The order in which the program's elements are walked.
std::vector<std::size_t> walk_of(const ReductionAxes& axes) {
  std::vector<std::size_t> order;
  for (const bool slow : {true, false}) {  // with columns the reduced axes are the slow ones
    for (std::size_t axis = 0; axis < axes.shape.rank(); ++axis) {
      if (axes.reduced[axis] == (axes.columns == slow)) order.push_back(axis);
    }
  }
  return order;
}

template <class Executor>
class ProgramReduction {
 public:
  ProgramReduction(Executor& executor, const ProgramOnArrays& program, const ReductionAxes& axes,
                   const Reducer& reducer, const ParallelOptions& options)
      : executor_(executor), program_(program), axes_(axes), reducer_(reducer), options_(options) {}

  void of_all(std::byte* out) {
    StatisticsTree tree(reducer_.elements());
    SummaryBody body{};
    body.plan = program_.plan(statistics_block_elements);
    if (body.plan.slices > 0) {
      if (body.plan.slice_elements != statistics_block_elements) too_large();
      const SharedBytes shared(executor_, program_.told_bytes() + body.plan.slices * sizeof(Statistics));
      body.program = program_.tell(shared.data());
      body.blocks = reinterpret_cast<Statistics*>(shared.data() + program_.told_bytes());
      run_body(executor_, body, body.plan, options_);
      for (std::uint32_t i = 0; i < body.plan.slices; ++i) tree.add(body.blocks[i]);
    }
    store_reduction(reducer_, tree.result(), out);
  }

  void along_axes(const AnyArrayRef& out) {
    ReductionBody body;
    body.axes = axes_;
    body.operation = reducer_.operation();
    body.nan = reducer_.nan();
    body.segments = (axes_.length + axes_.segment - 1) / axes_.segment;
    if (axes_.columns) {
      body.sequences = std::min(axes_.results, columns_at_once);
    } else if (body.segments == 1) {
      body.sequences = std::clamp<std::uint64_t>(slice_elements / axes_.length, 1, axes_.results);
    }
    if (body.slices() > max_slices) too_large();
    SlicePlan plan;
    plan.elements = body.slices();
    plan.slices = static_cast<std::uint32_t>(body.slices());
    const std::size_t states = body.segments > 1 ? plan.slices * body.states_bytes(reducer_) : 0;
    const SharedBytes shared(executor_, program_.told_bytes() + padded(plan.slices) + states);
    body.program = program_.tell(shared.data());
    body.found = reinterpret_cast<std::uint8_t*>(shared.data() + program_.told_bytes());
    body.states = shared.data() + program_.told_bytes() + padded(plan.slices);
    body.out = flatten(executor_, out);
    run_body(executor_, body, plan, options_);
    bool all_found = true;
    if (body.segments > 1) {
      all_found = join(body, out.data);
    } else {
      all_found = std::all_of(body.found, body.found + plan.slices, [](std::uint8_t each) { return each == 1; });
    }
    if (!all_found) {
      throw Error(std::errc::argument_out_of_domain, "evaluate " + text_of(reducer_.operation(), reducer_.nan()),
                  "elements that are all NaN");
    }
  }

 private:
  [[noreturn]] void too_large() const {
    throw std::logic_error("evaluate: an array of shape " + to_string(axes_.shape) + " is too large to be reduced");
  }

  bool join(const ReductionBody& body, std::byte* out) const {
    bool all_found = true;
    for (std::uint64_t block = 0; block < body.blocks(); ++block) {
      const std::uint64_t first = block * body.sequences;
      const auto n = static_cast<std::size_t>(std::min(body.sequences, axes_.results - first));
      ReductionTree tree(reducer_, n);
      for (std::uint64_t segment = 0; segment < body.segments; ++segment) {
        tree.add({body.states + (block * body.segments + segment) * body.states_bytes(reducer_), n});
      }
      std::byte* const to = out + first * item_bytes(reducer_.result());
      all_found = reducer_.finish(tree.result(), n, axes_.length, to) && all_found;
    }
    return all_found;
  }

  Executor& executor_;
  const ProgramOnArrays& program_;
  const ReductionAxes& axes_;
  const Reducer& reducer_;
  const ParallelOptions& options_;
};

}  // namespace

template <class Executor>
void reduce_program(Executor& executor, const Program& program, const Shape& shape, std::span<const AnyArrayRef> inputs,
                    const ReductionAxes& axes, Reduction operation, NanPolicy nan, const AnyArrayRef& out,
                    const ParallelOptions& options) {
  if (axes.results == 0) return;
  const Reducer reducer(operation, program.result(), nan);
  if (axes.length == 0) {
    if (!has_result_of_nothing(operation)) {
      throw std::logic_error("evaluate: " + text_of(operation, nan) + " of no elements has no result");
    }
    (void)reduce_sequences(reducer, axes, nullptr, static_cast<std::size_t>(axes.results), 1, out.data);
    return;
  }
  const bool all = std::all_of(axes.reduced.begin(), axes.reduced.begin() + static_cast<std::ptrdiff_t>(shape.rank()),
                               [](bool each) { return each; });
  const ProgramOnArrays on_arrays(executor, program, shape, inputs, walk_of(axes));
  ProgramReduction<Executor> reduction(executor, on_arrays, axes, reducer, options);
  if (all && is_told_by_statistics(operation)) {
    reduction.of_all(out.data);
  } else {
    reduction.along_axes(out);
  }
}

template void reduce_program(Pool&, const Program&, const Shape&, std::span<const AnyArrayRef>, const ReductionAxes&,
                             Reduction, NanPolicy, const AnyArrayRef&, const ParallelOptions&);
template void reduce_program(Threads&, const Program&, const Shape&, std::span<const AnyArrayRef>, const ReductionAxes&,
                             Reduction, NanPolicy, const AnyArrayRef&, const ParallelOptions&);

}  // namespace runrig::detail
