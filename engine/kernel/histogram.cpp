#include "histogram.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <stdexcept>

namespace runrig {
namespace detail {
namespace {

/// Rounding moves (x - low) * scale by a few units of the last place of the number of bins.
constexpr double relative_tolerance = 0x1p-40;

/// The bin of one number, by comparison with the edges.
void count_exactly(double x, const HistogramPlan& plan, std::span<const double> edges, std::uint64_t* counts) {
  if (!(x >= plan.low && x <= plan.high)) return;
  const auto inner = edges.subspan(1, plan.bins - std::size_t{1});
  ++counts[std::upper_bound(inner.begin(), inner.end(), x) - inner.begin()];
}

/// `elements` of at most a chunk as doubles: where they lie, or in `buffer`.
const double* as_doubles(DType dtype, const std::byte* data, std::size_t first, std::size_t elements, double* buffer) {
  return visit_dtype(dtype, [&]<class T>(std::type_identity<T>) -> const double* {
    if constexpr (std::is_same_v<T, double>) {
      return reinterpret_cast<const double*>(data) + first;
    } else if constexpr (std::is_same_v<T, half>) {
      const auto* const numbers = reinterpret_cast<const half*>(data) + first;
      for (std::size_t i = 0; i < elements; ++i) buffer[i] = static_cast<double>(static_cast<float>(numbers[i]));
      return buffer;
    } else if constexpr (std::is_same_v<T, bool>) {
      for (std::size_t i = 0; i < elements; ++i) buffer[i] = data[first + i] != std::byte{0} ? 1 : 0;
      return buffer;
    } else {
      const auto* const numbers = reinterpret_cast<const T*>(data) + first;
      for (std::size_t i = 0; i < elements; ++i) buffer[i] = static_cast<double>(numbers[i]);
      return buffer;
    }
  });
}

}  // namespace

HistogramPlan plan_histogram(const HistogramBins& bins) {
  if (bins.count == 0 || bins.count > max_histogram_bins) {
    throw std::logic_error("histogram: the number of bins is between 1 and 2**20");
  }
  if (!std::isfinite(bins.low) || !std::isfinite(bins.high) || !(bins.low < bins.high)) {
    throw std::logic_error("histogram: the range must be finite, and begin below its end");
  }
  const double width = bins.high - bins.low;
  const double scale = static_cast<double>(bins.count) / width;
  // Where the width overflows, or bins are narrower than numbers lie, each element is compared with the edges.
  const bool plain = std::isfinite(width) && std::isfinite(scale) &&
                     width / bins.count > 0x1p-40 * std::max(std::fabs(bins.low), std::fabs(bins.high)) * 4;
  return {.low = bins.low,
          .high = bins.high,
          .scale = std::isfinite(scale) ? scale : 0,
          .tolerance = plain ? relative_tolerance * bins.count +
                                   std::max(std::fabs(bins.low), std::fabs(bins.high)) * scale * 0x1p-50
                             : 1,
          .bins = bins.count};
}

void count_elements(DType dtype, const std::byte* data, std::size_t elements, const HistogramPlan& plan,
                    std::span<const double> edges, std::uint64_t* counts) {
  const HistogramLoop loop = best_statistics_loops().histogram;
  const std::size_t row = plan.bins + std::size_t{1};
  std::vector<std::uint32_t> tables(histogram_tables * row);
  alignas(64) std::array<double, histogram_chunk_elements> buffer;
  alignas(64) std::array<std::int32_t, histogram_chunk_elements> index;
  for (std::size_t first = 0; first < elements; first += histogram_chunk_elements) {
    const std::size_t count = std::min(elements - first, histogram_chunk_elements);
    const double* const numbers = as_doubles(dtype, data, first, count, buffer.data());
    loop(numbers, count, plan, index.data());
    const auto put_aside = [&] {
      std::uint32_t sum = 0;
      for (std::size_t table = 0; table < histogram_tables; ++table) sum += tables[table * row + plan.bins];
      return sum;
    };
    const std::uint32_t before = put_aside();
    std::uint32_t* const table = tables.data();
    std::size_t i = 0;
    for (; i + histogram_tables <= count; i += histogram_tables) {
      ++table[index[i]];
      ++table[row + static_cast<std::size_t>(index[i + 1])];
      ++table[2 * row + static_cast<std::size_t>(index[i + 2])];
      ++table[3 * row + static_cast<std::size_t>(index[i + 3])];
    }
    for (; i < count; ++i) ++table[index[i]];
    if (put_aside() == before) continue;
    for (i = 0; i < count; ++i) {
      if (index[i] == static_cast<std::int32_t>(plan.bins)) count_exactly(numbers[i], plan, edges, counts);
    }
  }
  for (std::size_t table = 0; table < histogram_tables; ++table) {
    for (std::size_t bin = 0; bin < plan.bins; ++bin) counts[bin] += tables[table * row + bin];
  }
}

}  // namespace detail

std::vector<double> HistogramBins::edges() const {
  std::vector<double> result(count + std::size_t{1});
  // As numpy.linspace rounds. Halved where the difference overflows.
  const double step = std::isfinite(high - low) ? (high - low) / count : (high / 2 - low / 2) / count * 2;
  for (std::size_t i = 0; i < count; ++i) result[i] = static_cast<double>(i) * step + low;
  result[count] = high;
  return result;
}

HistogramBins histogram_bins(const Statistics& of, std::uint32_t count) {
  const auto as_double = [](const Number& number) {
    return std::visit([](auto each) { return static_cast<double>(each); }, number);
  };
  if (of.valid() == 0) return {count, 0, 1};
  const double low = as_double(*of.min());
  const double high = as_double(*of.max());
  if (!std::isfinite(low) || !std::isfinite(high)) {
    throw std::logic_error("histogram: the elements reach from " + number_text(low) + " to " + number_text(high) +
                           ", which cannot be cut into bins; name a finite range");
  }
  if (low == high) return {count, low - 0.5, high + 0.5};
  return {count, low, high};
}

}  // namespace runrig
