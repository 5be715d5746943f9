#include <algorithm>
#include <array>
#include <cmath>
#include <type_traits>
#include <vector>

#include "runrig/engine/quantile.hpp"
#include "statistics_loops.hpp"

namespace runrig {
namespace {

/// Counts have 32 bits.
constexpr std::size_t most_at_once = std::size_t{1} << 31;

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

/// The bin of one number, by comparison with the edges.
void count_exactly(double x, std::span<const double> edges, std::uint64_t* counts) {
  if (!(x >= edges.front() && x <= edges.back())) return;
  const auto inner = edges.subspan(1, edges.size() - 2);
  ++counts[std::upper_bound(inner.begin(), inner.end(), x) - inner.begin()];
}

/// A number's place is its distance from the first edge in widths of a bin, which rounding and edges of unequal
/// distance move. It never falls where numbers rise, so none lies further from its bin than that bin's edges do.
detail::HistogramPlan plan_of(std::span<const double> edges) {
  const std::size_t bins = edges.size() - 1;
  detail::HistogramPlan plan{.low = edges.front(), .high = edges.back(), .bins = static_cast<std::uint32_t>(bins)};
  const double scale = static_cast<double>(bins) / (plan.high - plan.low);
  if (!std::isfinite(plan.high - plan.low) || !std::isfinite(scale) || bins > max_histogram_bins) {
    plan.tolerance = 1;  // each is compared with the edges
    return plan;
  }
  plan.scale = scale;
  for (std::size_t i = 0; i <= bins; ++i) {
    const double place = (edges[i] - plan.low) * scale;
    constexpr double rounding = 0x1p-50;  // of the loop itself, at most
    plan.tolerance = std::max(plan.tolerance, std::fabs(place - static_cast<double>(i)) + rounding);
  }
  return plan;
}

/// Each bin's counts lie side by side, element i of a chunk takes the one at i modulo their number.
template <std::uint32_t shift>
class BinCounts {
 public:
  BinCounts(const detail::HistogramPlan& plan, std::span<const double> edges)
      : plan_(plan), edges_(edges), all_((plan.bins + std::size_t{1}) << shift) {
    plan_.counts_shift = shift;
  }

  /// Of a chunk at most. `next`: where the next one comes from, with elements of so many bytes.
  void add(const double* numbers, std::size_t elements, std::uint64_t* counts, const std::byte* next,
           std::size_t next_item) {
    alignas(64) std::array<std::uint64_t, detail::histogram_chunk_elements> index;
    loop_(numbers, elements, plan_, index.data(), next, next_item);
    const std::uint32_t before = count_of(plan_.bins);
    std::uint32_t* const all = all_.data();
    std::size_t i = 0;
    for (; i + each <= elements; i += each) {
#pragma GCC unroll 8
      for (std::size_t k = 0; k < each; ++k) ++all[static_cast<std::uint32_t>(index[i + k]) + k];
    }
    for (; i < elements; ++i) ++all[static_cast<std::uint32_t>(index[i])];
    if (count_of(plan_.bins) == before) return;
    for (i = 0; i < elements; ++i) {
      if (static_cast<std::uint32_t>(index[i]) == plan_.bins << shift) count_exactly(numbers[i], edges_, counts);
    }
  }
  void add_to(std::uint64_t* counts) const {
    for (std::size_t bin = 0; bin < plan_.bins; ++bin) counts[bin] += count_of(bin);
  }

 private:
  static constexpr std::size_t each = std::size_t{1} << shift;

  /// As a number of 32 bits, which all that is counted at once fits.
  [[nodiscard]] std::uint32_t count_of(std::size_t bin) const {
    std::uint32_t sum = 0;
    for (std::size_t k = 0; k < each; ++k) sum += all_[(bin << shift) + k];
    return sum;
  }

  detail::HistogramLoop loop_ = detail::best_statistics_loops().histogram;
  detail::HistogramPlan plan_;
  std::span<const double> edges_;
  std::vector<std::uint32_t> all_;
};

}  // namespace

void count_in_bins(DType dtype, const std::byte* data, std::size_t elements, std::span<const double> edges,
                   std::uint64_t* counts) {
  const std::size_t bins = edges.size() - 1;
  const std::size_t item = item_bytes(dtype);
  alignas(64) std::array<double, detail::histogram_chunk_elements> buffer;
  const auto for_chunks = [&](std::size_t begin, std::size_t end, auto&& add) {
    for (std::size_t first = begin; first < end; first += buffer.size()) {
      const std::size_t count = std::min(end - first, buffer.size());
      add(as_doubles(dtype, data, first, count, buffer.data()), count, data + (first + count) * item);
    }
  };
  // Of few elements the tables would be the larger part.
  const detail::HistogramPlan plan = elements < 4 * bins ? detail::HistogramPlan{.tolerance = 1} : plan_of(edges);
  if (plan.tolerance >= 0.25) {
    for_chunks(0, elements, [&](const double* numbers, std::size_t count, const std::byte* /*next*/) {
      for (std::size_t i = 0; i < count; ++i) count_exactly(numbers[i], edges, counts);
    });
    return;
  }
  const auto count = [&]<std::uint32_t shift>(std::integral_constant<std::uint32_t, shift>) {
    for (std::size_t begin = 0; begin < elements; begin += most_at_once) {
      BinCounts<shift> bin_counts(plan, edges);
      for_chunks(begin, std::min(elements, begin + most_at_once),
                 [&](const double* numbers, std::size_t in_chunk, const std::byte* next) {
                   bin_counts.add(numbers, in_chunk, counts, next, item);
                 });
      bin_counts.add_to(counts);
    }
  };
  if (bins > detail::many_histogram_bins) {
    count(std::integral_constant<std::uint32_t, detail::histogram_counts_shift_of_many_bins>());
  } else {
    count(std::integral_constant<std::uint32_t, detail::histogram_counts_shift>());
  }
}

}  // namespace runrig
