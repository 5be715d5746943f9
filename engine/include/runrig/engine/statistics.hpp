#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <type_traits>
#include <variant>
#include <vector>

#include "runrig/shm/dtype.hpp"

namespace runrig {

/// The unit of summarize_block(): a stream is cut into blocks of this many elements, in order, the last one shorter.
/// The blocks depend on the stream's length alone, so its summary has the same bits whoever computes which block.
inline constexpr std::size_t statistics_block_elements = 65536;

/// An element as a number, exactly: int64_t for signed integers, uint64_t for unsigned ones and booleans, double for
/// floats and for either part of a complex number.
using Number = std::variant<std::int64_t, std::uint64_t, double>;
/// All digits of an integer; for a double the shortest text that reads back as the same ("0.1", "1e+300", "nan").
[[nodiscard]] std::string number_text(const Number& number);

/// What of a complex number is meant. Real numbers have a real part only.
enum class Part : std::uint8_t { real, imaginary };

/// The summary of a stream of elements of one dtype. NaNs are counted and left out of everything else; a complex number
/// is NaN if one of its parts is. Complex numbers are ordered as NumPy does: by the real parts, then by the imaginary
/// ones. A plain value of fixed layout that may lie in shared memory; make it with summarize_block() or StatisticsTree.
struct Statistics {
  DType dtype = DType::float64;
  std::uint64_t count = 0;  ///< all elements, with NaNs
  std::uint64_t nan = 0;

  /// Elements that are not NaN.
  [[nodiscard]] std::uint64_t valid() const noexcept { return count - nan; }
  /// None if there are no valid elements.
  [[nodiscard]] std::optional<Number> min(Part part = Part::real) const noexcept;
  [[nodiscard]] std::optional<Number> max(Part part = Part::real) const noexcept;
  /// Mean of the valid elements; NaN if there are none, or if infinities of both signs met.
  [[nodiscard]] double mean(Part part = Part::real) const noexcept;
  /// Population standard deviation (NumPy's ddof=0), of complex numbers the root of the mean of |x - mean|^2; NaN if
  /// there are no valid elements or one is infinite.
  [[nodiscard]] double stddev() const noexcept;
  /// Floats: accumulated in float64, zero if there are no valid elements. Integers and booleans: the nearest double.
  [[nodiscard]] double sum(Part part = Part::real) const noexcept;
  /// Integers and booleans: the exact sum, all digits. Others: number_text(sum()).
  [[nodiscard]] std::string sum_text() const;

  // What the accessors read. min and max: the bits of an int64_t, uint64_t or double, by dtype. The sum of integers:
  // a two's complement number of 128 bits; of floats: the bits of a double (high), and of another that is what the
  // first lacks (low).
  std::uint64_t min_bits = 0;
  std::uint64_t max_bits = 0;
  std::uint64_t sum_low = 0;
  std::uint64_t sum_high = 0;
  double squares = 0;  // sum of squared deviations from the mean
  // The same of imaginary parts; `squares` is of both.
  std::uint64_t imaginary_min_bits = 0;
  std::uint64_t imaginary_max_bits = 0;
  std::uint64_t imaginary_sum_low = 0;
  std::uint64_t imaginary_sum_high = 0;
};
static_assert(std::is_trivially_copyable_v<Statistics> && std::is_standard_layout_v<Statistics> &&
                  sizeof(Statistics) == 96,
              "separate processes share it");

/// Summarises `elements` (at most statistics_block_elements, else std::logic_error) contiguous elements in native
/// order, aligned to the item size. The result depends on the values and their order alone. Allocates nothing and may
/// run anywhere at once.
[[nodiscard]] Statistics summarize_block(DType dtype, const std::byte* data, std::size_t elements);

/// Joins the summaries of a stream's blocks, given in their order, along a binary tree that the block numbers fix.
/// Needs memory for the logarithm of the number of blocks only.
class StatisticsTree {
 public:
  explicit StatisticsTree(DType dtype) noexcept : dtype_(dtype) {}
  /// Throws std::logic_error if its dtype is another.
  void add(const Statistics& next_block);
  /// As `times` calls of add() with the same block, with the same bits, in time logarithmic in `times`.
  void add_repeated(const Statistics& block, std::uint64_t times);
  /// The summary of all blocks so far; of no elements if there were none. More may be added afterwards.
  [[nodiscard]] Statistics result() const;

 private:
  void add_tree(Statistics tree, unsigned level);

  DType dtype_;
  std::uint64_t blocks_ = 0;
  std::vector<Statistics> levels_;  // one for each bit set in blocks_: the largest subtree first
};

}  // namespace runrig
