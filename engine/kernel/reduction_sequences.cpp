#include <algorithm>
#include <cstring>
#include <limits>
#include <utility>
#include <variant>

#include "runrig/engine/reduction.hpp"
#include "runrig/engine/statistics.hpp"

namespace runrig {

ReductionTree::Block ReductionTree::copy(ReductionStates segment) const {
  Block block(reducer_.state_bytes() * n_);
  for (std::size_t plane = 0; plane * 8 < reducer_.state_bytes(); ++plane) {
    std::memcpy(block.data() + plane * n_ * 8, segment.memory + plane * segment.pitch * 8, n_ * 8);
  }
  return block;
}

void ReductionTree::add(ReductionStates segment) { add_tree(copy(segment), 0); }

// As StatisticsTree does it: like a binary counter.
void ReductionTree::add_tree(Block tree, unsigned level) {
  for (std::uint64_t carry = segments_ >> level; (carry & 1U) != 0; carry >>= 1U) {
    reducer_.join(states(levels_.back()), states(tree), n_);
    tree = std::move(levels_.back());
    levels_.pop_back();
  }
  levels_.push_back(std::move(tree));
  segments_ += std::uint64_t{1} << level;
}

void ReductionTree::add_repeated(ReductionStates segment, std::uint64_t times) {
  std::vector<std::pair<unsigned, Block>> left;
  Block tree = copy(segment);
  for (unsigned level = 0; times > 0; ++level) {
    if ((segments_ >> level & 1U) != 0) {
      add_tree(tree, level);
      --times;
    }
    if ((times & 1U) != 0) left.emplace_back(level, tree);
    times >>= 1U;
    if (times > 0) {
      Block twice = tree;
      reducer_.join(states(twice), states(tree), n_);
      tree = std::move(twice);
    }
  }
  for (; !left.empty(); left.pop_back()) add_tree(std::move(left.back().second), left.back().first);
}

ReductionStates ReductionTree::result() {
  for (; levels_.size() > 1; levels_.pop_back()) {
    reducer_.join(states(levels_[levels_.size() - 2]), states(levels_.back()), n_);
  }
  return states(levels_.back());
}

namespace {

/// Reduces `n` sequences side by side, or one in lanes, segment by segment. `add(states, n, k, elements)` adds to the
/// accumulators of one segment.
template <class Add>
ReductionStates reduce_segments(const Reducer& reducer, const ReductionAxes& axes, std::size_t n, ReductionTree& tree,
                                std::vector<std::byte>& memory, const std::byte* first, Add add) {
  const std::size_t width = axes.columns ? n : reduction_lanes;
  memory.resize(2 * reducer.state_bytes() * width);
  const ReductionStates origin{memory.data(), width};
  const ReductionStates part{memory.data() + reducer.state_bytes() * width, width};
  reducer.begin(origin, width, first, axes.columns ? 1 : 0);
  if (axes.length == 0) return origin;
  for (std::uint64_t k = 0; k < axes.length; k += axes.segment) {
    reducer.begin_like(part, width, origin);
    add(part, k, std::min(axes.segment, axes.length - k));
    if (!axes.columns) reducer.fold(part);
    if (axes.length <= axes.segment) return part;
    tree.add(part);
  }
  return tree.result();
}

}  // namespace

bool reduce_sequences(const Reducer& reducer, const ReductionAxes& axes, const std::byte* data, std::size_t n,
                      std::size_t pitch, std::byte* out) {
  const std::size_t item = item_bytes(reducer.elements());
  const auto first = [&](std::size_t i) { return axes.length > 0 ? data + i * item : nullptr; };
  std::vector<std::byte> memory;
  if (axes.columns) {
    ReductionTree tree(reducer, n);
    const ReductionStates all = reduce_segments(
        reducer, axes, n, tree, memory, first(0), [&](ReductionStates states, std::uint64_t k, std::uint64_t rows) {
          reducer.add_columns(states, n, data + k * pitch * item, static_cast<std::size_t>(rows), pitch, k);
        });
    return reducer.finish(all, n, axes.length, out);
  }
  bool found = true;
  for (std::size_t i = 0; i < n; ++i) {
    ReductionTree tree(reducer, 1);
    const std::byte* const row = data + i * pitch * item;
    const ReductionStates all = reduce_segments(reducer, axes, 1, tree, memory, first(i * pitch),
                                                [&](ReductionStates states, std::uint64_t k, std::uint64_t elements) {
                                                  reducer.add_row(states, row + k * item, elements, k);
                                                });
    found = reducer.finish(all, 1, axes.length, out + i * item_bytes(reducer.result())) && found;
  }
  return found;
}

bool reduce_constant(const Reducer& reducer, const ReductionAxes& axes, const std::byte* element, std::byte* out) {
  const std::size_t width = axes.columns ? 1 : reduction_lanes;
  std::vector<std::byte> memory(3 * reducer.state_bytes() * width);
  const auto states = [&](std::size_t i) {
    return ReductionStates{memory.data() + i * reducer.state_bytes() * width, width};
  };
  reducer.begin(states(0), width, axes.length > 0 ? element : nullptr, 0);
  if (axes.length == 0) return reducer.finish(states(0), 1, 0, out);
  const auto segment = [&](ReductionStates into, std::uint64_t k, std::uint64_t elements) {
    reducer.begin_like(into, width, states(0));
    if (axes.columns) {
      reducer.add_constant(into, 1, element, elements, k);
    } else {
      reducer.add_constant_row(into, element, elements, k);
      reducer.fold(into);
    }
  };
  ReductionTree tree(reducer, 1);
  const std::uint64_t whole = axes.length / axes.segment;
  const std::uint64_t rest = axes.length % axes.segment;
  // The first by itself: it has the index of the first of equal elements.
  if (whole > 0) {
    segment(states(1), 0, axes.segment);
    tree.add(states(1));
  }
  if (whole > 1) {
    segment(states(1), axes.segment, axes.segment);
    tree.add_repeated(states(1), whole - 1);
  }
  if (rest > 0) {
    segment(states(2), whole * axes.segment, rest);
    tree.add(states(2));
  }
  return reducer.finish(tree.result(), 1, axes.length, out);
}

bool is_told_by_statistics(Reduction operation) noexcept {
  switch (operation) {
    case Reduction::sum:
    case Reduction::mean:
    case Reduction::var:
    case Reduction::stddev:
    case Reduction::min:
    case Reduction::max:
    case Reduction::count:
      return true;
    default:
      return false;
  }
}

void store_reduction(const Reducer& reducer, const Statistics& of, std::byte* out) {
  const DType dtype = reducer.result();
  const auto put = [&](auto number) {
    if (is_floating(dtype)) {
      store_real(dtype, static_cast<double>(number), out);
    } else {
      std::memcpy(out, &number, item_bytes(dtype));  // the low bytes: modulo 2^64, as NumPy has it
    }
  };
  constexpr double nan = std::numeric_limits<double>::quiet_NaN();
  const bool spoilt = of.nan > 0 && reducer.nan() == NanPolicy::propagate;
  switch (reducer.operation()) {
    case Reduction::count:
      put(of.valid());
      break;
    case Reduction::mean:
      put(spoilt ? nan : of.mean());
      break;
    case Reduction::stddev:
      put(spoilt ? nan : of.stddev());
      break;
    case Reduction::var: {
      const auto count = static_cast<double>(of.valid());
      // Rounding may leave a sum of squares just below zero; a NaN passes.
      put(spoilt || count == 0 ? nan : of.squares < 0 ? 0.0 : of.squares / count);
      break;
    }
    case Reduction::min:
    case Reduction::max: {
      const auto found = reducer.operation() == Reduction::min ? of.min() : of.max();
      const Number none = is_floating(dtype) ? Number(nan) : Number(std::uint64_t{0});
      std::visit(put, spoilt ? Number(nan) : found.value_or(none));
      break;
    }
    default:
      if (is_floating(dtype)) {
        put(spoilt ? nan : of.sum());
      } else {
        put(of.sum_low);
      }
      break;
  }
}

}  // namespace runrig
