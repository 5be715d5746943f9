#include <algorithm>

#include "runrig/engine/reduction.hpp"
#include "runrig/sync/error.hpp"

namespace runrig {
namespace {

// Elements of a segment where sequences are long: enough for a worker to be busy with.
constexpr std::uint64_t segment_elements = std::uint64_t{1} << 20;
// As many sequences side by side keep all workers busy without segments; but some bound there must be.
constexpr std::uint64_t many_results = 4096;
constexpr std::uint64_t longest_segment = std::uint64_t{1} << 16;
// Sequences so short are not worth the lanes.
constexpr std::uint64_t short_length = 32;

std::size_t axis_number(std::int64_t axis, const Shape& shape, std::string_view named) {
  const auto rank = static_cast<std::int64_t>(shape.rank());
  if (axis < -rank || axis >= rank) {
    throw FormatError("use " + std::string(named), std::to_string(axis),
                      rank == 0 ? "a single number has no axes"
                                : "the shape " + to_string(shape) + " has the axes " + std::to_string(-rank) + " to " +
                                      std::to_string(rank - 1));
  }
  return static_cast<std::size_t>(axis < 0 ? axis + rank : axis);
}

bool are_columns(const ReductionAxes& axes) {
  // What the fastest axis with more than one element is.
  bool kept = false;
  for (std::size_t axis = axes.shape.rank(); axis-- > 0;) {
    if (axes.shape[axis] == 1) continue;
    kept = !axes.reduced[axis];
    break;
  }
  return kept || (axes.length <= short_length && axes.results >= reduction_lanes);
}

std::uint64_t segment_length(const ReductionAxes& axes) {
  if (!axes.columns) return segment_elements;
  if (axes.results >= many_results) return longest_segment;
  return (segment_elements + axes.results - 1) / std::max<std::uint64_t>(axes.results, 1);
}

}  // namespace

ReductionAxes ReductionAxes::resolve(const Shape& shape, const std::optional<std::vector<std::int64_t>>& axes,
                                     std::string_view named) {
  ReductionAxes result;
  result.shape = shape;
  for (std::size_t axis = 0; axis < shape.rank(); ++axis) result.reduced[axis] = !axes;
  if (axes) {
    for (const std::int64_t each : *axes) {
      bool& reduced = result.reduced[axis_number(each, shape, named)];
      if (reduced) throw FormatError("use " + std::string(named), std::to_string(each), "it is named twice");
      reduced = true;
    }
  }
  Shape sequence;
  for (std::size_t axis = 0; axis < shape.rank(); ++axis) {
    (result.reduced[axis] ? sequence : result.kept).push_back(shape[axis]);
  }
  (void)shape.elements();  // throws if they cannot be counted
  result.length = sequence.elements();
  result.results = result.kept.elements();
  result.columns = are_columns(result);
  result.segment = segment_length(result);
  return result;
}

}  // namespace runrig
