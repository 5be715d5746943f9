#include "runrig/engine/statistics.hpp"

#include <algorithm>
#include <array>
#include <bit>
#include <charconv>
#include <cmath>
#include <complex>
#include <functional>
#include <limits>
#include <stdexcept>

#include "expression_literal.hpp"
#include "runrig/shm/complex.hpp"
#include "statistics_loops.hpp"

namespace runrig {
namespace {

using detail::wide_integer;
// NOLINTNEXTLINE(modernize-use-using): as wide_integer
__extension__ typedef unsigned __int128 wide_unsigned;

wide_integer integer_sum(const Statistics& of) noexcept {
  return static_cast<wide_integer>(wide_unsigned{of.sum_high} << 64U | of.sum_low);
}
void set_integer_sum(Statistics& of, wide_integer sum) noexcept {
  of.sum_low = static_cast<std::uint64_t>(sum);
  of.sum_high = static_cast<std::uint64_t>(static_cast<wide_unsigned>(sum) >> 64U);
}

/// A sum of floats: the nearest double, and what it lacks. Means of blocks may differ by less than a double of their
/// size can show, and the spread of the whole depends on it.
struct FloatSum {
  double high = 0;
  double low = 0;
};
FloatSum float_sum(const Statistics& of, Part part) noexcept {
  const bool real = part == Part::real;
  return {std::bit_cast<double>(real ? of.sum_high : of.imaginary_sum_high),
          std::bit_cast<double>(real ? of.sum_low : of.imaginary_sum_low)};
}
void set_float_sum(Statistics& of, Part part, FloatSum sum) noexcept {
  const bool real = part == Part::real;
  (real ? of.sum_high : of.imaginary_sum_high) = std::bit_cast<std::uint64_t>(sum.high);
  (real ? of.sum_low : of.imaginary_sum_low) = std::bit_cast<std::uint64_t>(std::isfinite(sum.high) ? sum.low : 0);
}
/// Knuth's exact addition of two doubles, and then of the small parts.
FloatSum add(FloatSum a, FloatSum b) noexcept {
  const double high = a.high + b.high;
  const double part = high - a.high;
  const double lost = (a.high - (high - part)) + (b.high - part);
  const double low = lost + (a.low + b.low);
  const double sum = high + low;
  return {sum, low - (sum - high)};
}
/// The mean in two parts like a sum.
FloatSum float_mean(const Statistics& of, Part part) noexcept {
  const auto count = static_cast<double>(of.valid());
  const FloatSum sum = float_sum(of, part);
  const double high = sum.high / count;
  return {high, (std::fma(-high, count, sum.high) + sum.low) / count};
}

/// The exact mean of integers: a whole number below it and what is left, of `valid` parts.
struct WholeMean {
  wide_integer whole;
  std::uint64_t rest;
};
WholeMean whole_mean(const Statistics& of) noexcept {
  const wide_integer sum = integer_sum(of);
  const auto count = static_cast<wide_integer>(of.valid());
  wide_integer whole = sum / count;
  if (sum % count < 0) --whole;
  return {whole, static_cast<std::uint64_t>(sum - whole * count)};
}
double fraction(const WholeMean& mean, std::uint64_t count) noexcept {
  return static_cast<double>(mean.rest) / static_cast<double>(count);
}

bool is_made_of_floats(DType dtype) noexcept { return is_floating(dtype) || is_complex(dtype); }

Number number_of(DType dtype, std::uint64_t bits) noexcept {
  if (is_made_of_floats(dtype)) return std::bit_cast<double>(bits);
  if (is_signed(dtype)) return std::bit_cast<std::int64_t>(bits);
  return bits;
}

/// b's mean minus a's. Of integers through their exact sums: means of large numbers that differ by little are equal
/// as doubles.
double mean_difference(const Statistics& a, const Statistics& b, Part part) noexcept {
  if (is_made_of_floats(a.dtype)) {
    const FloatSum mean_a = float_mean(a, part);
    const FloatSum mean_b = float_mean(b, part);
    return (mean_b.high - mean_a.high) + (mean_b.low - mean_a.low);
  }
  const WholeMean mean_a = whole_mean(a);
  const WholeMean mean_b = whole_mean(b);
  return static_cast<double>(mean_b.whole - mean_a.whole) + (fraction(mean_b, b.valid()) - fraction(mean_a, a.valid()));
}

/// What is the least of complex numbers, and what the greatest.
void merge_complex_bounds(Statistics& to, const Statistics& next) noexcept {
  using Parts = std::pair<double, double>;
  const auto parts = [](std::uint64_t real, std::uint64_t imaginary) {
    return Parts(std::bit_cast<double>(real), std::bit_cast<double>(imaginary));
  };
  if (parts(next.min_bits, next.imaginary_min_bits) < parts(to.min_bits, to.imaginary_min_bits)) {
    to.min_bits = next.min_bits;
    to.imaginary_min_bits = next.imaginary_min_bits;
  }
  if (parts(next.max_bits, next.imaginary_max_bits) > parts(to.max_bits, to.imaginary_max_bits)) {
    to.max_bits = next.max_bits;
    to.imaginary_max_bits = next.imaginary_max_bits;
  }
}

/// Chan, Golub and LeVeque's way to join sums of squared deviations.
Statistics merge(const Statistics& a, const Statistics& b) {
  Statistics result = a.valid() == 0 ? b : a;
  result.count = a.count + b.count;
  result.nan = a.nan + b.nan;
  if (a.valid() == 0 || b.valid() == 0) return result;
  if (is_complex(a.dtype)) {
    merge_complex_bounds(result, b);
  } else {
    const Number b_min = number_of(b.dtype, b.min_bits);
    const Number b_max = number_of(b.dtype, b.max_bits);
    if (b_min < number_of(a.dtype, a.min_bits)) result.min_bits = b.min_bits;
    if (b_max > number_of(a.dtype, a.max_bits)) result.max_bits = b.max_bits;
  }
  const auto count_a = static_cast<double>(a.valid());
  const auto count_b = static_cast<double>(b.valid());
  const double difference = mean_difference(a, b, Part::real);
  double distance = difference * difference;
  if (is_complex(a.dtype)) {
    const double imaginary = mean_difference(a, b, Part::imaginary);
    distance += imaginary * imaginary;
    set_float_sum(result, Part::imaginary, add(float_sum(a, Part::imaginary), float_sum(b, Part::imaginary)));
  }
  result.squares = a.squares + b.squares + distance * (count_a * (count_b / (count_a + count_b)));
  if (is_made_of_floats(a.dtype)) {
    set_float_sum(result, Part::real, add(float_sum(a, Part::real), float_sum(b, Part::real)));
  } else {
    set_integer_sum(result, integer_sum(a) + integer_sum(b));
  }
  return result;
}

/// In one pass, but for numbers so large that the differences of two of them overflow.
template <class T, class Loop>
void summarize_floats(Statistics& result, const T* numbers, std::size_t elements, Loop summary) {
  detail::FloatSummary found = summary(numbers, elements, nullptr);
  result.nan = found.nan;
  if (result.valid() == 0) return;
  const auto count = static_cast<double>(result.valid());
  if (!std::isfinite(found.sum) || !std::isfinite(found.squares)) {
    constexpr double zero = 0;
    found = summary(numbers, elements, &zero);
    const double mean = found.sum / count;
    if (std::isfinite(mean)) found = summary(numbers, elements, &mean);
  }
  result.min_bits = std::bit_cast<std::uint64_t>(found.min);
  result.max_bits = std::bit_cast<std::uint64_t>(found.max);
  result.squares = found.squares - found.sum * (found.sum / count);
  const double whole = found.centre * count;
  set_float_sum(result, Part::real,
                std::isfinite(whole) && std::isfinite(found.sum)
                    ? add({whole, std::fma(found.centre, count, -whole)}, {found.sum, 0})
                    : FloatSum{whole + found.sum, 0});
}

/// The parts side by side, both NaN where one is, so that real numbers are what is summarised.
template <class T>
struct SplitParts {
  static constexpr std::size_t most = 2048;
  alignas(64) std::array<T, most> real;
  alignas(64) std::array<T, most> imaginary;

  SplitParts(const std::complex<T>* numbers, std::size_t elements) noexcept {
    for (std::size_t i = 0; i < elements; ++i) {
      const T re = numbers[i].real();
      const T im = numbers[i].imag();
      const bool missing = re != re || im != im;
      real[i] = missing ? std::numeric_limits<T>::quiet_NaN() : re;
      imaginary[i] = missing ? std::numeric_limits<T>::quiet_NaN() : im;
    }
  }
  /// The least (or greatest) imaginary part of those numbers whose real part is `of`. There is one.
  template <class Better>
  [[nodiscard]] double imaginary_at(double of, std::size_t elements, Better better) const noexcept {
    double best = std::numeric_limits<double>::quiet_NaN();
    for (std::size_t i = 0; i < elements; ++i) {
      const auto each = static_cast<double>(imaginary[i]);
      if (static_cast<double>(real[i]) == of && !better(best, each)) best = each;
    }
    return best + 0.0;
  }
};

template <class T, class Loop>
void summarize_complex(Statistics& result, const std::complex<T>* numbers, std::size_t elements, Loop summary) {
  Statistics whole = result;
  whole.count = 0;
  for (std::size_t first = 0; first < elements; first += SplitParts<T>::most) {
    const std::size_t count = std::min(elements - first, SplitParts<T>::most);
    const SplitParts<T> parts(numbers + first, count);
    Statistics here;
    here.dtype = result.dtype;
    here.count = count;
    Statistics imaginary = here;
    summarize_floats(here, parts.real.data(), count, summary);
    summarize_floats(imaginary, parts.imaginary.data(), count, summary);
    if (here.valid() > 0) {
      here.imaginary_sum_high = imaginary.sum_high;
      here.imaginary_sum_low = imaginary.sum_low;
      here.squares += imaginary.squares;
      here.imaginary_min_bits = std::bit_cast<std::uint64_t>(
          parts.imaginary_at(std::bit_cast<double>(here.min_bits), count, std::less_equal<>()));
      here.imaginary_max_bits = std::bit_cast<std::uint64_t>(
          parts.imaginary_at(std::bit_cast<double>(here.max_bits), count, std::greater_equal<>()));
    }
    whole = merge(whole, here);
  }
  result = whole;
}

void summarize_integers(Statistics& result, const std::byte* data, std::size_t elements) {
  if (elements == 0) return;
  const auto index = static_cast<std::size_t>(result.dtype) - static_cast<std::size_t>(DType::int8);
  const detail::IntegerLoops& loops = detail::best_statistics_loops().integers[index];
  const detail::IntegerSummary found = loops.summary(data, elements);
  result.min_bits = found.min_bits;
  result.max_bits = found.max_bits;
  const wide_integer sum = static_cast<wide_integer>(found.upper_sum) * (wide_integer{1} << 32) + found.sum;
  set_integer_sum(result, sum);
  const auto count = static_cast<wide_integer>(elements);
  if (item_bytes(result.dtype) <= 2) {  // exact up to here
    const wide_integer scaled = count * static_cast<wide_integer>(found.squares) - sum * sum;
    result.squares = static_cast<double>(scaled) / static_cast<double>(elements);
    return;
  }
  // Through differences to a whole number near the mean: they are exact, and small where it matters.
  const WholeMean mean = whole_mean(result);
  const bool near =
      found.max_bits - found.min_bits <= static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max());
  const double squares = loops.squares(data, elements, static_cast<std::uint64_t>(mean.whole), near);
  result.squares = std::max(0.0, squares - static_cast<double>(mean.rest) * fraction(mean, elements));
}

/// Any byte that is not zero is true.
void summarize_booleans(Statistics& result, const std::uint8_t* bytes, std::size_t elements) {
  if (elements == 0) return;
  std::uint64_t set = 0;
  for (std::size_t i = 0; i < elements; ++i) set += bytes[i] != 0 ? 1U : 0U;
  result.min_bits = set == elements ? 1 : 0;
  result.max_bits = set == 0 ? 0 : 1;
  result.sum_low = set;
  result.squares = static_cast<double>(set * (elements - set)) / static_cast<double>(elements);
}

}  // namespace

std::string number_text(const Number& number) {
  if (const auto* real = std::get_if<double>(&number)) {
    if (std::isnan(*real)) return "nan";
    std::array<char, 32> text{};
    const auto [end, error] = std::to_chars(text.data(), text.data() + text.size(), *real);
    return {text.data(), end};
  }
  if (const auto* integer = std::get_if<std::int64_t>(&number)) return std::to_string(*integer);
  return std::to_string(std::get<std::uint64_t>(number));
}

std::optional<Number> Statistics::min(Part part) const noexcept {
  if (valid() == 0) return std::nullopt;
  return number_of(dtype, part == Part::real ? min_bits : imaginary_min_bits);
}

std::optional<Number> Statistics::max(Part part) const noexcept {
  if (valid() == 0) return std::nullopt;
  return number_of(dtype, part == Part::real ? max_bits : imaginary_max_bits);
}

double Statistics::mean(Part part) const noexcept {
  if (valid() == 0) return std::numeric_limits<double>::quiet_NaN();
  if (is_made_of_floats(dtype)) return float_sum(*this, part).high / static_cast<double>(valid());
  const WholeMean mean = whole_mean(*this);
  return static_cast<double>(mean.whole) + fraction(mean, valid());
}

double Statistics::stddev() const noexcept {
  if (valid() == 0) return std::numeric_limits<double>::quiet_NaN();
  // Rounding may leave a sum of squares just below zero; a NaN passes.
  return std::sqrt(squares < 0 ? 0 : squares / static_cast<double>(valid()));
}

double Statistics::sum(Part part) const noexcept {
  return is_made_of_floats(dtype) ? float_sum(*this, part).high : static_cast<double>(integer_sum(*this));
}

std::string Statistics::sum_text() const {
  return is_made_of_floats(dtype) ? number_text(sum()) : detail::integer_text(integer_sum(*this));
}

Statistics summarize_block(DType dtype, const std::byte* data, std::size_t elements) {
  if (elements > statistics_block_elements) throw std::logic_error("summarize_block: more than one block");
  Statistics result;
  result.dtype = dtype;
  result.count = elements;
  const detail::StatisticsLoops& loops = detail::best_statistics_loops();
  visit_any_dtype(dtype, [&]<class T>(std::type_identity<T>) {
    if constexpr (std::is_same_v<T, std::complex<float>>) {
      summarize_complex(result, reinterpret_cast<const T*>(data), elements, loops.float_summary);
    } else if constexpr (std::is_same_v<T, std::complex<double>>) {
      summarize_complex(result, reinterpret_cast<const T*>(data), elements, loops.double_summary);
    } else if constexpr (std::is_same_v<T, bool>) {
      summarize_booleans(result, reinterpret_cast<const std::uint8_t*>(data), elements);
    } else if constexpr (std::is_same_v<T, half>) {
      summarize_floats(result, reinterpret_cast<const std::uint16_t*>(data), elements, loops.half_summary);
    } else if constexpr (std::is_same_v<T, float>) {
      summarize_floats(result, reinterpret_cast<const float*>(data), elements, loops.float_summary);
    } else if constexpr (std::is_same_v<T, double>) {
      summarize_floats(result, reinterpret_cast<const double*>(data), elements, loops.double_summary);
    } else {
      summarize_integers(result, data, elements);
    }
  });
  return result;
}

void StatisticsTree::add(const Statistics& next_block) {
  if (next_block.dtype != dtype_) throw std::logic_error("StatisticsTree::add: a block of another dtype");
  add_tree(next_block, 0);
}

// Like a binary counter: as long as two trees are of one size, they are joined. `tree` has 2^level blocks, and the
// trees here have no fewer.
void StatisticsTree::add_tree(Statistics tree, unsigned level) {
  for (std::uint64_t carry = blocks_ >> level; (carry & 1U) != 0; carry >>= 1U) {
    tree = merge(levels_.back(), tree);
    levels_.pop_back();
  }
  levels_.push_back(tree);
  blocks_ += std::uint64_t{1} << level;
}

void StatisticsTree::add_repeated(const Statistics& block, std::uint64_t times) {
  if (block.dtype != dtype_) throw std::logic_error("StatisticsTree::add_repeated: a block of another dtype");
  // Upwards: trees of twice the size each time. One is added where the tree of that size waits for its other half; an
  // odd one that is left is added last, on the way down, when all that is larger is in its place.
  std::vector<std::pair<unsigned, Statistics>> left;
  Statistics tree = block;
  for (unsigned level = 0; times > 0; ++level) {
    if ((blocks_ >> level & 1U) != 0) {
      add_tree(tree, level);
      --times;
    }
    if ((times & 1U) != 0) left.emplace_back(level, tree);
    times >>= 1U;
    if (times > 0) tree = merge(tree, tree);
  }
  for (; !left.empty(); left.pop_back()) add_tree(left.back().second, left.back().first);
}

Statistics StatisticsTree::result() const {
  Statistics result;
  result.dtype = dtype_;
  if (levels_.empty()) return result;
  result = levels_.back();
  for (std::size_t i = levels_.size() - 1; i-- > 0;) result = merge(levels_[i], result);
  return result;
}

}  // namespace runrig
