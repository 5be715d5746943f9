#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

#include "runrig/shm/dtype.hpp"
#include "runrig/shm/shape.hpp"

namespace runrig {

struct Statistics;

/// What is made of the elements along some axes. NumPy's functions of these names; `count` is the number of elements
/// that are not NaN. A complex number is NaN if one of its parts is; they are ordered by their real parts, then by the
/// imaginary ones, and var and std are real: of |x - mean|.
enum class Reduction : std::uint8_t { sum, prod, mean, var, stddev, min, max, argmin, argmax, count, any, all };
inline constexpr std::size_t reduction_count = 12;

/// "sum", "prod", "mean", "var", "std", "min", "max", "argmin", "argmax", "count", "any", "all".
[[nodiscard]] std::string_view reduction_name(Reduction operation) noexcept;
[[nodiscard]] std::optional<Reduction> parse_reduction(std::string_view name) noexcept;
/// Whether there is a result of no elements at all (NumPy: an identity, or NaN).
[[nodiscard]] bool has_result_of_nothing(Reduction operation) noexcept;
/// NumPy's: sums and products of integers are int64 or uint64, their means float64; floats and complex numbers stay
/// what they are, but for var and std of these.
[[nodiscard]] DType reduction_dtype(Reduction operation, DType elements) noexcept;

/// NaN wherever there is a NaN, or as if NaNs were not there (NumPy's nansum and its kind).
enum class NanPolicy : std::uint8_t { propagate, skip };

/// The axes of an array that are reduced, and how the elements are walked: as two axes only. The index along the
/// reduced ones, in C order, is k, of 0 .. length - 1; that along the kept ones j, of 0 .. results - 1. Depends on
/// shape and axes alone, and so do the bits of what is computed. A plain value, fit for shared memory.
struct ReductionAxes {
  Shape shape;
  std::array<bool, max_rank> reduced{};
  Shape kept;                 ///< the shape of the result
  std::uint64_t length = 1;   ///< elements of the sequence that one result is made of
  std::uint64_t results = 1;  ///< elements of `kept`
  /// How a part of the array lies in memory for Reducer: all j of one k side by side (columns), else all k of one j.
  bool columns = false;
  /// A sequence is cut into segments of so many elements, the last one shorter, which are reduced by themselves and
  /// joined in their order.
  std::uint64_t segment = 1;

  /// Without `axes` all are reduced. Negative ones count from the end. Throws FormatError for one that is not there or
  /// is named twice, which says "use " and `named`; Error value_too_large if the elements cannot be counted.
  [[nodiscard]] static ReductionAxes resolve(const Shape& shape, const std::optional<std::vector<std::int64_t>>& axes,
                                             std::string_view named = "--axis");
};

/// Accumulators, one for each of n sequences: plane p of sequence i is the 8 bytes at memory + (p * pitch + i) * 8.
/// Owns nothing. Plain memory that may be copied and shared between processes.
struct ReductionStates {
  std::byte* memory = nullptr;
  std::size_t pitch = 0;

  [[nodiscard]] ReductionStates from(std::size_t sequence) const noexcept { return {memory + sequence * 8, pitch}; }
};

namespace detail {
struct ReductionRun;
using ReductionLoop = void (*)(std::byte* states, std::size_t pitch, const ReductionRun& run);
}  // namespace detail

/// Elements k of a sequence that is alone in a row go to accumulator k modulo this, so that vectors can be used; the
/// accumulators are folded when the segment ends.
inline constexpr std::size_t reduction_lanes = 16;

/// The arithmetic of one reduction. Floats are summed as pairs of doubles, so a sum is as good as exact before it is
/// rounded; spread is measured from the sequence's first element. Each accumulator takes its elements one by one in
/// their order: a sequence may be cut anywhere between two calls, and the bits stay. Allocates nothing; any number may
/// work at once.
class Reducer {
 public:
  /// Throws Error as kernel_level() does.
  Reducer(Reduction operation, DType elements, NanPolicy nan);

  [[nodiscard]] Reduction operation() const noexcept { return operation_; }
  [[nodiscard]] DType elements() const noexcept { return elements_; }
  [[nodiscard]] NanPolicy nan() const noexcept { return skip_ ? NanPolicy::skip : NanPolicy::propagate; }
  [[nodiscard]] DType result() const noexcept { return reduction_dtype(operation_, elements_); }
  /// Bytes of the accumulator of one sequence.
  [[nodiscard]] std::size_t state_bytes() const noexcept { return planes_ * 8; }

  /// Accumulators of n sequences of which nothing was seen yet. `first` are their first elements (k = 0), `stride`
  /// elements apart, and must be those also where a later segment begins; null where there are none.
  void begin(ReductionStates states, std::size_t n, const std::byte* first, std::size_t stride) const noexcept;
  /// The same, from accumulators that know the first elements, `stride` accumulators apart.
  void begin_like(ReductionStates states, std::size_t n, ReductionStates of, std::size_t stride = 1) const noexcept;

  /// Rows of one element for each of n sequences, `pitch` elements from one row to the next (0: the same row again);
  /// the first row is element `k` of each sequence.
  void add_columns(ReductionStates states, std::size_t n, const std::byte* data, std::size_t rows, std::size_t pitch,
                   std::uint64_t k) const noexcept;
  /// As add_columns() of `rows` rows all of which are the one element, as often as not without looking at each.
  void add_constant(ReductionStates states, std::size_t n, const std::byte* element, std::uint64_t rows,
                    std::uint64_t k) const noexcept;
  /// Elements k, k + 1, ... of one sequence, to its reduction_lanes accumulators.
  void add_row(ReductionStates lanes, const std::byte* data, std::uint64_t elements, std::uint64_t k) const noexcept;
  /// As add_row() of so many copies of the one element.
  void add_constant_row(ReductionStates lanes, const std::byte* element, std::uint64_t elements,
                        std::uint64_t k) const noexcept;
  /// Folds the accumulators of a row into its first one.
  void fold(ReductionStates lanes) const noexcept;

  /// Takes `next`, accumulators of later elements of the same sequences, into `states`.
  void join(ReductionStates states, ReductionStates next, std::size_t n) const noexcept;

  /// The results, in result() and one beside the other. False if one of them is none: an argmin where all are NaN.
  [[nodiscard]] bool finish(ReductionStates states, std::size_t n, std::uint64_t length, std::byte* out) const noexcept;

 private:
  void run(ReductionStates states, std::size_t n, const std::byte* data, std::uint64_t rows, std::size_t pitch,
           std::uint64_t k, std::uint64_t k_row, std::uint64_t k_column) const noexcept;
  [[nodiscard]] bool add_at_once(ReductionStates states, std::size_t n, const std::byte* element, std::uint64_t rows,
                                 std::uint64_t k, std::uint64_t k_row, std::uint64_t k_column) const noexcept;
  void add_constants(ReductionStates states, std::size_t n, const std::byte* element, std::uint64_t rows,
                     std::uint64_t k, std::uint64_t k_row, std::uint64_t k_column) const noexcept;
  void join_places(ReductionStates states, ReductionStates next, std::size_t i) const noexcept;
  [[nodiscard]] double mean(ReductionStates states, std::size_t i, std::uint64_t length) const noexcept;
  // The same of complex elements.
  void begin_complex(ReductionStates states, std::size_t n, const std::byte* first, std::size_t stride) const noexcept;
  [[nodiscard]] bool complex_is_once(ReductionStates states, std::size_t n, const std::byte* element,
                                     std::uint64_t rows) const noexcept;
  void join_complex(ReductionStates states, ReductionStates next, std::size_t n) const noexcept;
  [[nodiscard]] bool finish_complex(ReductionStates states, std::size_t n, std::uint64_t length,
                                    std::byte* out) const noexcept;

  Reduction operation_;
  DType elements_;
  bool skip_;
  std::size_t planes_;
  detail::ReductionLoop loop_;
};

/// Whether statistics of all elements tell the result of the operation on them, which store_reduction() then writes, as
/// one element of reducer.result(), where elements are real. The minimum and the maximum of nothing are written as 0,
/// or NaN.
[[nodiscard]] bool is_told_by_statistics(Reduction operation) noexcept;
void store_reduction(const Reducer& reducer, const Statistics& of, std::byte* out);

/// Writes a number as a float of that dtype, rounded once.
void store_real(DType dtype, double value, std::byte* out) noexcept;

/// Joins the accumulators of segments, given in their order, along a binary tree that the segments' numbers fix, as
/// StatisticsTree does.
class ReductionTree {
 public:
  ReductionTree(const Reducer& reducer, std::size_t n) : reducer_(reducer), n_(n) {}
  void add(ReductionStates segment);
  /// As `times` calls of add(), with the same bits, in time logarithmic in `times`.
  void add_repeated(ReductionStates segment, std::uint64_t times);
  /// Accumulators of all segments so far, of which there must be one at least; valid until the next call. More cannot
  /// be added.
  [[nodiscard]] ReductionStates result();

 private:
  using Block = std::vector<std::byte>;
  [[nodiscard]] ReductionStates states(Block& block) const noexcept { return {block.data(), n_}; }
  [[nodiscard]] Block copy(ReductionStates segment) const;
  void add_tree(Block tree, unsigned level);

  Reducer reducer_;
  std::size_t n_;
  std::uint64_t segments_ = 0;
  std::vector<Block> levels_;  // one for each bit set in segments_: the largest subtree first
};

/// Makes `n` results of as many whole sequences that lie in memory as `axes` says: `pitch` elements from one k to the
/// next (columns), else from one j to the next; `data` is element k = 0 of the first. False as finish().
[[nodiscard]] bool reduce_sequences(const Reducer& reducer, const ReductionAxes& axes, const std::byte* data,
                                    std::size_t n, std::size_t pitch, std::byte* out);
/// One result, of axes.length copies of one element: what reduce_sequences() would make of them. Takes no time.
[[nodiscard]] bool reduce_constant(const Reducer& reducer, const ReductionAxes& axes, const std::byte* element,
                                   std::byte* out);

}  // namespace runrig
