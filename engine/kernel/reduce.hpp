#pragma once

#include <cstddef>
#include <cstdint>

#include "runrig/engine/expression.hpp"
#include "runrig/engine/statistics.hpp"
#include "runrig/shm/dtype.hpp"

namespace runrig::detail {

/// Writes what `op` gives for all elements summarised in `of`, as NumPy does: an element of reduced_type(op, of.dtype)
/// at `to`. Throws std::logic_error for min and max of nothing.
void store_reduced(ReduceOp op, const Statistics& of, std::byte* to);

/// An array seen as outer x reduced x inner elements in C order.
struct ReducedAxes {
  std::uint64_t outer = 1;
  std::uint64_t reduced = 1;
  std::uint64_t inner = 1;
};

/// Reduces along the middle axis, which has elements: for the columns [first, first + count) of the `outer` times
/// `inner` that there are, numbered in C order. `to` is the result's first element of all, of reduced_type().
void reduce_columns(ReduceOp op, DType dtype, const std::byte* data, const ReducedAxes& axes, std::uint64_t first,
                    std::uint64_t count, std::byte* to);

}  // namespace runrig::detail
