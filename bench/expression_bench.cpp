// Expressions and statistics in one thread, each beside the plain serial loop over the same arrays.
#include <benchmark/benchmark.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <random>
#include <vector>

#include "runrig/engine/expression.hpp"
#include "runrig/engine/statistics.hpp"

namespace runrig {
namespace {

constexpr std::size_t inputs = 3;

template <class T>
std::array<std::vector<T>, inputs> random_arrays(std::size_t elements) {
  std::mt19937_64 random(1);
  std::uniform_real_distribution<double> between(0.1, 3.0);
  std::array<std::vector<T>, inputs> arrays;
  for (auto& array : arrays) {
    array.resize(elements);
    for (T& each : array) each = static_cast<T>(between(random));
  }
  return arrays;
}

struct Magnitude {
  static constexpr const char* text = "sqrt(a*a + b*b)";
  template <class T>
  static T plain(T a, T b, T) {
    return std::sqrt(a * a + b * b);
  }
};
struct Transcendental {
  static constexpr const char* text = "exp(-a*a)*sin(b) + log1p(c*c)";
  template <class T>
  static T plain(T a, T b, T c) {
    return std::exp(-a * a) * std::sin(b) + std::log1p(c * c);
  }
};

/// Arrays read plus array written.
template <class T>
void set_bytes(benchmark::State& state, std::size_t elements, std::size_t arrays) {
  state.SetBytesProcessed(state.iterations() * static_cast<std::int64_t>(elements * arrays * sizeof(T)));
}

template <class Formula, class T>
void BM_Plain(benchmark::State& state) {
  const auto elements = static_cast<std::size_t>(state.range(0));
  const auto arrays = random_arrays<T>(elements);
  std::vector<T> out(elements);
  for (auto _ : state) {
    for (std::size_t i = 0; i < elements; ++i) out[i] = Formula::plain(arrays[0][i], arrays[1][i], arrays[2][i]);
    benchmark::DoNotOptimize(out.data());
    benchmark::ClobberMemory();
  }
  set_bytes<T>(state, elements, Expression::parse(Formula::text).variables().size() + 1);
}

template <class Formula, class T>
void BM_Expression(benchmark::State& state) {
  const auto elements = static_cast<std::size_t>(state.range(0));
  const auto arrays = random_arrays<T>(elements);
  const auto expression = Expression::parse(Formula::text);
  const std::vector<DType> types(expression.variables().size(), dtype_of<T>);
  const Program program = expression.bind(types);
  std::vector<Operand> operands;
  for (std::size_t i = 0; i < types.size(); ++i)
    operands.push_back({std::as_bytes(std::span(arrays[i])).data(), false});
  std::vector<T> out(elements);
  std::vector<std::byte> scratch(program.scratch_bytes());
  for (auto _ : state) {
    run_program(program.code(), operands, std::as_writable_bytes(std::span(out)).data(), elements, scratch.data());
    benchmark::ClobberMemory();
  }
  for (std::size_t i = 0; i < elements; i += 97) {
    const T plain = Formula::plain(arrays[0][i], arrays[1][i], arrays[2][i]);
    if (std::fabs(out[i] - plain) > std::fabs(plain) * (sizeof(T) == 8 ? T(1e-14) : T(1e-5))) {
      state.SkipWithError("wrong result");
    }
  }
  set_bytes<T>(state, elements, types.size() + 1);
}

/// Count, minimum, maximum, mean and standard deviation in two plain passes.
template <class T>
void BM_PlainStatistics(benchmark::State& state) {
  const auto elements = static_cast<std::size_t>(state.range(0));
  const auto array = random_arrays<T>(elements)[0];
  for (auto _ : state) {
    double sum = 0;
    T min = array[0];
    T max = array[0];
    std::size_t nan = 0;
    for (const T each : array) {
      nan += std::isnan(each) ? 1U : 0U;
      sum += static_cast<double>(each);
      min = std::min(min, each);
      max = std::max(max, each);
    }
    const double mean = sum / static_cast<double>(elements);
    double squares = 0;
    for (const T each : array) squares += (static_cast<double>(each) - mean) * (static_cast<double>(each) - mean);
    benchmark::DoNotOptimize(squares + static_cast<double>(min + max) + static_cast<double>(nan));
  }
  set_bytes<T>(state, elements, 1);
}

template <class T>
void BM_Statistics(benchmark::State& state) {
  const auto elements = static_cast<std::size_t>(state.range(0));
  const auto array = random_arrays<T>(elements)[0];
  const auto* const data = std::as_bytes(std::span(array)).data();
  double mean = 0;
  for (auto _ : state) {
    StatisticsTree tree(dtype_of<T>);
    for (std::size_t first = 0; first < elements; first += statistics_block_elements) {
      tree.add(summarize_block(dtype_of<T>, data + first * sizeof(T),
                               std::min(statistics_block_elements, elements - first)));
    }
    benchmark::DoNotOptimize(mean = tree.result().mean());
  }
  double sum = 0;
  for (const T each : array) sum += static_cast<double>(each);
  if (std::fabs(mean - sum / static_cast<double>(elements)) > 1e-9) state.SkipWithError("wrong mean");
  set_bytes<T>(state, elements, 1);
}

/// In the caches, and far beyond them.
void sizes(benchmark::internal::Benchmark* benchmark) { benchmark->ArgName("elements")->Arg(1 << 14)->Arg(1 << 24); }

BENCHMARK(BM_Plain<Magnitude, double>)->Apply(sizes);
BENCHMARK(BM_Expression<Magnitude, double>)->Apply(sizes);
BENCHMARK(BM_Plain<Magnitude, float>)->Apply(sizes);
BENCHMARK(BM_Expression<Magnitude, float>)->Apply(sizes);
BENCHMARK(BM_Plain<Transcendental, double>)->Apply(sizes);
BENCHMARK(BM_Expression<Transcendental, double>)->Apply(sizes);
BENCHMARK(BM_Plain<Transcendental, float>)->Apply(sizes);
BENCHMARK(BM_Expression<Transcendental, float>)->Apply(sizes);
BENCHMARK(BM_PlainStatistics<double>)->Apply(sizes);
BENCHMARK(BM_Statistics<double>)->Apply(sizes);
BENCHMARK(BM_PlainStatistics<float>)->Apply(sizes);
BENCHMARK(BM_Statistics<float>)->Apply(sizes);
BENCHMARK(BM_PlainStatistics<std::int16_t>)->Apply(sizes);
BENCHMARK(BM_Statistics<std::int16_t>)->Apply(sizes);
BENCHMARK(BM_Statistics<std::int32_t>)->Apply(sizes);
BENCHMARK(BM_Statistics<std::int64_t>)->Apply(sizes);

}  // namespace
}  // namespace runrig

BENCHMARK_MAIN();
