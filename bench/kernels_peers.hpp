#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <vector>

/// What others write in C++ for the workloads of bench/kernels: plain loops with OpenMP, and Eigen's expressions on
/// oneTBB's threads. Compiled for this machine, with -ffast-math, so that GCC may use its vector mathematics.
namespace runrig::bench {

struct Inputs {
  const double* a;
  const double* b;
  const double* c;
  std::size_t elements;
};
struct Spread {
  double mean;
  double stddev;
};
struct Bounds {
  double min;
  double max;
};
inline constexpr std::size_t histogram_bins = 256;
using Counts = std::array<std::uint64_t, histogram_bins>;

/// The limit: out = a + 3 b of STREAM, whose stores go past the caches.
void triad(double* out, const Inputs& in, int threads);

namespace openmp {
void magnitude(double* out, const Inputs& in, int threads);
void transcendental(double* out, const Inputs& in, int threads);
double sum(const Inputs& in, int threads);
/// In one pass, stable: of blocks, which are joined.
Spread spread(const Inputs& in, int threads);
Bounds bounds(const Inputs& in, int threads);
Counts histogram(const Inputs& in, double low, double high, int threads);
}  // namespace openmp

namespace eigen {
void magnitude(double* out, const Inputs& in, int threads);
void transcendental(double* out, const Inputs& in, int threads);
double sum(const Inputs& in, int threads);
Bounds bounds(const Inputs& in, int threads);
}  // namespace eigen

}  // namespace runrig::bench
