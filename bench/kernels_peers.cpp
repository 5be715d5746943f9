#include "kernels_peers.hpp"

#if defined(__SSE2__)
#include <immintrin.h>
#endif
#include <omp.h>
#include <oneapi/tbb/blocked_range.h>
#include <oneapi/tbb/parallel_for.h>
#include <oneapi/tbb/parallel_reduce.h>
#include <oneapi/tbb/task_arena.h>

#include <Eigen/Core>
#include <algorithm>
#include <cmath>
#include <functional>

namespace runrig::bench {

void triad(double* out, const Inputs& in, int threads) {
  const auto elements = static_cast<std::ptrdiff_t>(in.elements);
  const double* const a = in.a;
  const double* const b = in.b;
#pragma omp parallel num_threads(threads)
  {
#if defined(__AVX512F__)
    const __m512d factor = _mm512_set1_pd(3);
#pragma omp for schedule(static)
    for (std::ptrdiff_t i = 0; i < elements / 8; ++i) {
      _mm512_stream_pd(out + 8 * i, _mm512_loadu_pd(a + 8 * i) + factor * _mm512_loadu_pd(b + 8 * i));
    }
    _mm_sfence();
#elif defined(__AVX__)
    const __m256d factor = _mm256_set1_pd(3);
#pragma omp for schedule(static)
    for (std::ptrdiff_t i = 0; i < elements / 4; ++i) {
      _mm256_stream_pd(out + 4 * i, _mm256_loadu_pd(a + 4 * i) + factor * _mm256_loadu_pd(b + 4 * i));
    }
    _mm_sfence();
#else
#pragma omp for schedule(static)
    for (std::ptrdiff_t i = 0; i < elements; ++i) out[i] = a[i] + 3 * b[i];
#endif
  }
}

namespace openmp {

void magnitude(double* out, const Inputs& in, int threads) {
  const auto elements = static_cast<std::ptrdiff_t>(in.elements);
#pragma omp parallel for simd num_threads(threads) schedule(static)
  for (std::ptrdiff_t i = 0; i < elements; ++i) out[i] = std::sqrt(in.a[i] * in.a[i] + in.b[i] * in.b[i]);
}

void transcendental(double* out, const Inputs& in, int threads) {
  const auto elements = static_cast<std::ptrdiff_t>(in.elements);
#pragma omp parallel for simd num_threads(threads) schedule(static)
  for (std::ptrdiff_t i = 0; i < elements; ++i) {
    out[i] = std::exp(-in.a[i] * in.a[i]) * std::sin(in.b[i]) + std::log1p(in.c[i] * in.c[i]);
  }
}

double sum(const Inputs& in, int threads) {
  const auto elements = static_cast<std::ptrdiff_t>(in.elements);
  double total = 0;
#pragma omp parallel for simd num_threads(threads) schedule(static) reduction(+ : total)
  for (std::ptrdiff_t i = 0; i < elements; ++i) total += in.a[i];
  return total;
}

Spread spread(const Inputs& in, int threads) {
  constexpr std::size_t block = 1024;
  const auto blocks = static_cast<std::ptrdiff_t>((in.elements + block - 1) / block);
  double count = 0;
  double mean = 0;
  double squares = 0;
#pragma omp parallel num_threads(threads)
  {
    double own_count = 0;
    double own_mean = 0;
    double own_squares = 0;
    const auto join = [](double& n, double& m, double& s, double n2, double m2, double s2) {
      if (n2 == 0) return;
      const double difference = m2 - m;
      const double all = n + n2;
      m += difference * (n2 / all);
      s += s2 + difference * difference * (n * n2 / all);
      n = all;
    };
#pragma omp for schedule(static)
    for (std::ptrdiff_t i = 0; i < blocks; ++i) {
      const std::size_t first = static_cast<std::size_t>(i) * block;
      const std::size_t here = std::min(block, in.elements - first);
      const double* const x = in.a + first;
      double total = 0;
      for (std::size_t j = 0; j < here; ++j) total += x[j];
      const double block_mean = total / static_cast<double>(here);
      double block_squares = 0;
      for (std::size_t j = 0; j < here; ++j) block_squares += (x[j] - block_mean) * (x[j] - block_mean);
      join(own_count, own_mean, own_squares, static_cast<double>(here), block_mean, block_squares);
    }
#pragma omp critical
    join(count, mean, squares, own_count, own_mean, own_squares);
  }
  return {mean, std::sqrt(squares / count)};
}

Bounds bounds(const Inputs& in, int threads) {
  const auto elements = static_cast<std::ptrdiff_t>(in.elements);
  double low = in.a[0];
  double high = in.a[0];
#pragma omp parallel for simd num_threads(threads) schedule(static) reduction(min : low) reduction(max : high)
  for (std::ptrdiff_t i = 0; i < elements; ++i) {
    low = std::min(low, in.a[i]);
    high = std::max(high, in.a[i]);
  }
  return {low, high};
}

Counts histogram(const Inputs& in, double low, double high, int threads) {
  const auto elements = static_cast<std::ptrdiff_t>(in.elements);
  const double scale = static_cast<double>(histogram_bins) / (high - low);
  Counts result{};
#pragma omp parallel num_threads(threads)
  {
    Counts own{};
#pragma omp for schedule(static)
    for (std::ptrdiff_t i = 0; i < elements; ++i) {
      const double x = in.a[i];
      if (!(x >= low && x <= high)) continue;
      ++own[std::min(static_cast<std::size_t>((x - low) * scale), histogram_bins - 1)];
    }
#pragma omp critical
    for (std::size_t i = 0; i < histogram_bins; ++i) result[i] += own[i];
  }
  return result;
}

}  // namespace openmp

namespace eigen {
namespace {

using Range = oneapi::tbb::blocked_range<std::size_t>;
constexpr std::size_t grain = 65536;
Eigen::Map<const Eigen::ArrayXd> part(const double* data, const Range& range) {
  return {data + range.begin(), static_cast<Eigen::Index>(range.size())};
}
Eigen::Map<Eigen::ArrayXd> part(double* data, const Range& range) {
  return {data + range.begin(), static_cast<Eigen::Index>(range.size())};
}

oneapi::tbb::task_arena& arena(int threads) {
  static oneapi::tbb::task_arena of(threads);
  return of;
}
template <class Body>
void for_each_part(std::size_t elements, int threads, const Body& body) {
  arena(threads).execute([&] { oneapi::tbb::parallel_for(Range(0, elements, grain), body); });
}

}  // namespace

void magnitude(double* out, const Inputs& in, int threads) {
  for_each_part(in.elements, threads, [&](const Range& range) {
    const auto a = part(in.a, range);
    const auto b = part(in.b, range);
    part(out, range) = (a * a + b * b).sqrt();
  });
}

void transcendental(double* out, const Inputs& in, int threads) {
  for_each_part(in.elements, threads, [&](const Range& range) {
    const auto a = part(in.a, range);
    const auto c = part(in.c, range);
    part(out, range) = (-a * a).exp() * part(in.b, range).sin() + (c * c).log1p();
  });
}

double sum(const Inputs& in, int threads) {
  return arena(threads).execute([&] {
    return oneapi::tbb::parallel_reduce(
        Range(0, in.elements, grain), 0.0,
        [&](const Range& range, double so_far) { return so_far + part(in.a, range).sum(); }, std::plus<>{});
  });
}

Bounds bounds(const Inputs& in, int threads) {
  const Bounds first{in.a[0], in.a[0]};
  const auto join = [](const Bounds& x, const Bounds& y) {
    return Bounds{std::min(x.min, y.min), std::max(x.max, y.max)};
  };
  return arena(threads).execute([&] {
    return oneapi::tbb::parallel_reduce(
        Range(0, in.elements, grain), first,
        [&](const Range& range, const Bounds& so_far) {
          const auto a = part(in.a, range);
          return join(so_far, {a.minCoeff(), a.maxCoeff()});
        },
        join);
  });
}

}  // namespace eigen
}  // namespace runrig::bench
