#include <algorithm>
#include <array>
#include <cstring>

#include "evaluate_memory.hpp"
#include "runrig/engine/evaluate.hpp"
#include "runrig/engine/quantile.hpp"

namespace runrig {
namespace {

/// A contiguous array in slices.
struct SlicedArray {
  SlicePlan plan;
  detail::FlatArray array;
  DType dtype{};

  template <class Executor>
  SlicedArray(Executor& executor, const AnyArrayRef& ref, std::uint64_t slice_elements)
      : plan(detail::plan_slices(std::array{ref}, slice_elements)),
        array(detail::flatten(executor, ref)),
        dtype(ref.dtype) {}
  template <class Located>
  [[nodiscard]] const std::byte* begin(std::uint32_t slice, const Located& located) const {
    return located(array) + plan.begin(slice) * item_bytes(dtype);
  }
  [[nodiscard]] std::size_t count(std::uint32_t slice) const {
    return static_cast<std::size_t>(plan.end(slice) - plan.begin(slice));
  }
};

struct SummaryBody {
  SlicedArray sliced;
  Statistics* blocks = nullptr;
  std::uint64_t blocks_per_slice = 1;

  [[nodiscard]] static std::size_t slice_scratch() { return 0; }
  template <class Located>
  void run(std::uint32_t slice, std::byte* /*scratch*/, const Located& located) const {
    const std::byte* const from = sliced.begin(slice, located);
    const std::size_t elements = sliced.count(slice);
    Statistics* to = blocks + slice * blocks_per_slice;
    for (std::size_t first = 0; first < elements; first += statistics_block_elements) {
      *to++ = summarize_block(sliced.dtype, from + first * item_bytes(sliced.dtype),
                              std::min(elements - first, statistics_block_elements));
    }
  }
};

template <class Executor>
Statistics summarize_on(Executor& executor, const AnyArrayRef& array, const ParallelOptions& options) {
  const std::uint64_t elements = array.size();
  const std::uint64_t blocks = elements / statistics_block_elements + (elements % statistics_block_elements != 0);
  const std::uint64_t per_slice = blocks / max_slices + 1;
  SummaryBody body{SlicedArray(executor, array, per_slice * statistics_block_elements)};
  StatisticsTree tree(array.dtype);
  if (body.sliced.plan.slices == 0) return tree.result();
  const detail::SharedBytes shared(executor, blocks * sizeof(Statistics));
  body.blocks = reinterpret_cast<Statistics*>(shared.data());
  body.blocks_per_slice = per_slice;
  detail::run_body(executor, body, body.sliced.plan, options);
  for (std::uint64_t i = 0; i < blocks; ++i) tree.add(body.blocks[i]);
  return tree.result();
}

struct HistogramBody {
  SlicedArray sliced;
  const double* edges = nullptr;
  std::size_t bins = 0;
  std::uint64_t* counts = nullptr;  // a row for each slice

  [[nodiscard]] static std::size_t slice_scratch() { return 0; }
  template <class Located>
  void run(std::uint32_t slice, std::byte* /*scratch*/, const Located& located) const {
    std::uint64_t* const row = counts + slice * bins;
    std::fill_n(row, bins, std::uint64_t{0});
    count_in_bins(sliced.dtype, sliced.begin(slice, located), sliced.count(slice), {edges, bins + 1}, row);
  }
};

template <class Executor>
std::vector<std::uint64_t> histogram_on(Executor& executor, const AnyArrayRef& array, std::span<const double> edges,
                                        const ParallelOptions& options) {
  const bool rise = edges.size() >= 2 && std::is_sorted(edges.begin(), edges.end()) && edges.front() < edges.back();
  if (!rise) throw std::logic_error("histogram: the edges must rise, and be two at least");
  // Rows of counts are written and read once more: slices have many more elements than that.
  constexpr std::uint64_t least = std::uint64_t{1} << 18;
  const std::size_t bins = edges.size() - 1;
  HistogramBody body{
      SlicedArray(executor, array, std::max<std::uint64_t>({least, std::uint64_t{64} * bins, array.size() / 1024}))};
  std::vector<std::uint64_t> result(bins);
  const std::uint32_t slices = body.sliced.plan.slices;
  if (slices == 0) return result;
  const std::size_t edges_bytes = detail::padded(edges.size_bytes());
  const detail::SharedBytes shared(executor, edges_bytes + slices * bins * sizeof(std::uint64_t));
  std::memcpy(shared.data(), edges.data(), edges.size_bytes());
  body.edges = reinterpret_cast<const double*>(shared.data());
  body.bins = bins;
  body.counts = reinterpret_cast<std::uint64_t*>(shared.data() + edges_bytes);
  detail::run_body(executor, body, body.sliced.plan, options);
  for (std::size_t i = 0; i < slices * bins; ++i) result[i % bins] += body.counts[i];
  return result;
}

}  // namespace

Statistics summarize(Pool& pool, const AnyArrayRef& array, const ParallelOptions& options) {
  return summarize_on(pool, array, options);
}
Statistics summarize(Threads& threads, const AnyArrayRef& array, const ParallelOptions& options) {
  return summarize_on(threads, array, options);
}

std::vector<std::uint64_t> histogram(Pool& pool, const AnyArrayRef& array, std::span<const double> edges,
                                     const ParallelOptions& options) {
  return histogram_on(pool, array, edges, options);
}
std::vector<std::uint64_t> histogram(Threads& threads, const AnyArrayRef& array, std::span<const double> edges,
                                     const ParallelOptions& options) {
  return histogram_on(threads, array, edges, options);
}

}  // namespace runrig
