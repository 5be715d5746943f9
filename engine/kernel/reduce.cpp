#include "reduce.hpp"

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <cstring>
#include <limits>
#include <stdexcept>
#include <type_traits>

#include "expression_types.hpp"

namespace runrig::detail {
namespace {

/// Columns that are reduced together: their sums fit a first-level cache.
constexpr std::size_t column_block = 256;
/// Rows whose sums are added up before they go to the totals, so that rounding errors grow with the square root of the
/// number of rows at most.
constexpr std::uint64_t row_block = 256;

void store(double value, DType dtype, std::byte* to) {
  const std::uint64_t bits = bits_of(Literal::of_real(value), dtype);  // float16 as a float
  if (dtype == DType::float16) {
    const half narrow(std::bit_cast<float>(static_cast<std::uint32_t>(bits)));
    std::memcpy(to, &narrow, sizeof narrow);
  } else {
    std::memcpy(to, &bits, item_bytes(dtype));
  }
}
void store_integer(std::uint64_t bits, DType dtype, std::byte* to) { std::memcpy(to, &bits, item_bytes(dtype)); }

/// As numbers with arithmetic: booleans 0 or 1.
template <class T>
auto number_of(T value) {
  if constexpr (std::is_same_v<T, half>) {
    return static_cast<float>(value);
  } else {
    return value;
  }
}
template <class T>
using StoredAs = std::conditional_t<std::is_same_v<T, bool>, std::uint8_t, T>;
template <class T>
auto load(const std::byte* data, std::uint64_t index) {
  StoredAs<T> value;
  std::memcpy(&value, data + index * sizeof value, sizeof value);
  if constexpr (std::is_same_v<T, bool>) {
    return static_cast<std::uint8_t>(value != 0);
  } else {
    return number_of(value);
  }
}

/// One block of columns of one outer index.
struct Block {
  const std::byte* data;  // of the whole array
  std::uint64_t at;       // of its element in the first row
  std::uint64_t rows;
  std::uint64_t step;  // from row to row
  std::size_t columns;
};
using Sums = std::array<double, column_block>;

/// Sums of value(element, column), by blocks of rows.
template <class T, class Value>
void add_up(const Block& block, Sums& total, const Value& value) {
  std::fill_n(total.begin(), block.columns, 0.0);
  Sums part{};
  for (std::uint64_t row = 0; row < block.rows;) {
    std::fill_n(part.begin(), block.columns, 0.0);
    for (const std::uint64_t end = std::min(block.rows, row + row_block); row < end; ++row) {
      const std::uint64_t first = block.at + row * block.step;
      for (std::size_t i = 0; i < block.columns; ++i) {
        part[i] += value(static_cast<double>(load<T>(block.data, first + i)), i);
      }
    }
    for (std::size_t i = 0; i < block.columns; ++i) total[i] += part[i];
  }
}

template <class T>
void reduce_floats(ReduceOp op, const Block& block, DType result, std::byte* to) {
  Sums sums{};
  add_up<T>(block, sums, [](double x, std::size_t) { return x; });
  const auto rows = static_cast<double>(block.rows);
  if (op == ReduceOp::std || op == ReduceOp::var) {
    Sums means{};
    for (std::size_t i = 0; i < block.columns; ++i) means[i] = sums[i] / rows;
    add_up<T>(block, sums, [&](double x, std::size_t i) { return (x - means[i]) * (x - means[i]); });
  }
  for (std::size_t i = 0; i < block.columns; ++i) {
    double value = op == ReduceOp::sum ? sums[i] : sums[i] / rows;
    if (op == ReduceOp::std) value = std::sqrt(value);
    store(value, result, to + i * item_bytes(result));
  }
}

template <class T>
void reduce_integers(const Block& block, DType result, std::byte* to) {
  std::array<std::uint64_t, column_block> sums{};
  for (std::uint64_t row = 0; row < block.rows; ++row) {
    const std::uint64_t first = block.at + row * block.step;
    for (std::size_t i = 0; i < block.columns; ++i)
      sums[i] += static_cast<std::uint64_t>(load<T>(block.data, first + i));
  }
  for (std::size_t i = 0; i < block.columns; ++i) store_integer(sums[i], result, to + i * item_bytes(result));
}

template <class T>
void reduce_extremes(bool greater, const Block& block, std::byte* to) {
  using Number = decltype(load<T>(nullptr, 0));
  std::array<Number, column_block> best{};
  for (std::uint64_t row = 0; row < block.rows; ++row) {
    const std::uint64_t first = block.at + row * block.step;
    for (std::size_t i = 0; i < block.columns; ++i) {
      const Number x = load<T>(block.data, first + i);
      const bool better = greater ? x > best[i] : x < best[i];
      // A NaN is taken, and then kept.
      if (row == 0 || better || (x != x && best[i] == best[i])) best[i] = x;
    }
  }
  for (std::size_t i = 0; i < block.columns; ++i) {
    const auto stored = static_cast<StoredAs<T>>(best[i]);
    std::memcpy(to + i * sizeof stored, &stored, sizeof stored);
  }
}

void reduce_block(ReduceOp op, DType dtype, const Block& block, std::byte* to) {
  const DType result = reduced_type(op, dtype);
  visit_dtype(dtype, [&]<class T>(std::type_identity<T>) {
    if (op == ReduceOp::min || op == ReduceOp::max) {
      reduce_extremes<T>(op == ReduceOp::max, block, to);
    } else if (op == ReduceOp::sum && !is_floating(dtype)) {
      reduce_integers<T>(block, result, to);
    } else {
      reduce_floats<T>(op, block, result, to);
    }
  });
}

}  // namespace

void store_reduced(ReduceOp op, const Statistics& of, std::byte* to) {
  const DType result = reduced_type(op, of.dtype);
  const double nan = std::numeric_limits<double>::quiet_NaN();
  if (op == ReduceOp::min || op == ReduceOp::max) {
    if (of.count == 0) throw std::logic_error("evaluate: min() or max() of an array without elements");
    if (of.nan > 0) return store(nan, result, to);
    const std::uint64_t bits = op == ReduceOp::min ? of.min_bits : of.max_bits;
    if (is_floating(result)) return store(std::bit_cast<double>(bits), result, to);
    return store_integer(bits, result, to);
  }
  if (op == ReduceOp::sum) {
    if (!is_floating(of.dtype)) return store_integer(of.sum_low, result, to);
    return store(of.nan > 0 ? nan : of.count == 0 ? 0 : of.sum(), result, to);
  }
  if (of.nan > 0) return store(nan, result, to);
  const double deviation = of.stddev();
  store(op == ReduceOp::mean ? of.mean() : op == ReduceOp::std ? deviation : deviation * deviation, result, to);
}

void reduce_columns(ReduceOp op, DType dtype, const std::byte* data, const ReducedAxes& axes, std::uint64_t first,
                    std::uint64_t count, std::byte* to) {
  const std::size_t result_bytes = item_bytes(reduced_type(op, dtype));
  const std::size_t item = item_bytes(dtype);
  if (axes.inner == 1) {  // each is contiguous: the fast loops of whole arrays
    for (std::uint64_t i = first; i < first + count; ++i) {
      StatisticsTree tree(dtype);
      for (std::uint64_t done = 0; done < axes.reduced; done += statistics_block_elements) {
        tree.add(summarize_block(
            dtype, data + (i * axes.reduced + done) * item,
            static_cast<std::size_t>(std::min<std::uint64_t>(axes.reduced - done, statistics_block_elements))));
      }
      store_reduced(op, tree.result(), to + i * result_bytes);
    }
    return;
  }
  for (std::uint64_t i = first; i < first + count;) {
    const std::uint64_t outer = i / axes.inner;
    const std::uint64_t inner = i % axes.inner;
    const std::uint64_t left = std::min(first + count - i, axes.inner - inner);
    const auto columns = static_cast<std::size_t>(std::min<std::uint64_t>(left, column_block));
    const Block block{data, outer * axes.reduced * axes.inner + inner, axes.reduced, axes.inner, columns};
    reduce_block(op, dtype, block, to + i * result_bytes);
    i += columns;
  }
}

}  // namespace runrig::detail
