// The kernels of bench/kernels in C++: ours, and those of kernels_peers.hpp. Reads lines "<workload> <engine>" and
// answers each with the seconds of one run, so that runs of other programs may come between; "list" lists what there
// is. A wrong result ends it. Arguments: elements, workers, and "small" for arrays that are not in huge pages.
#include <algorithm>
#include <array>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <iostream>
#include <map>
#include <memory>
#include <string>
#include <utility>

#include "kernels_peers.hpp"
#include "runrig/engine/arena.hpp"
#include "runrig/engine/evaluate.hpp"
#include "runrig/engine/machine.hpp"
#include "runrig/engine/parallel.hpp"
#include "runrig/engine/pool.hpp"

namespace runrig::bench {
namespace {

constexpr double low = 0.1;
constexpr double high = 3.0;

std::shared_ptr<Arena> make_arena() { return std::make_shared<Arena>(); }
PoolOptions options_on(const std::shared_ptr<Arena>& arena, int workers) {
  PoolOptions options;
  options.workers = workers;
  options.arena = arena;
  return options;
}

class Bench {
 public:
  Bench(std::size_t elements, int workers, bool huge_pages)
      : elements_(elements),
        workers_(workers),
        arena_(make_arena()),
        blocks_{block(), block(), block(), block()},
        pool_(options_on(arena_, workers)),
        threads_(workers) {
    // As in a program that keeps its arrays. Those of NumPy, and so of numba and numexpr, are in huge pages as well.
    for (auto& each : blocks_) huge_bytes_ += huge_pages ? each.use_huge_pages() : 0;
    // Filled by the workers, as in a program whose arrays its kernels fill.
    for (std::size_t i = 0; i < 4; ++i) {
      auto filled = view(i);
      const auto shift = static_cast<double>(i);
      parallel_for(pool_, filled, [shift](auto part, SliceRange range) {
        for (Eigen::Index j = 0; j < part.size(); ++j) {
          const auto at = static_cast<double>(range.begin + static_cast<std::uint64_t>(j));
          const double turns = (at + shift) * 0.6180339887498949;
          part[j] = low + (high - low) * (turns - std::floor(turns));
        }
      });
    }
    in_ = {view(1).data(), view(2).data(), view(3).data(), elements};
    add_maps();
    add_reductions();
  }

  double run(const std::string& workload, const std::string& engine) {
    const auto& body = bodies_.at({workload, engine});
    const auto begin = std::chrono::steady_clock::now();
    body();
    const std::chrono::duration<double> took = std::chrono::steady_clock::now() - begin;
    if (workload == "m1") check([&](std::size_t i) { return std::sqrt(in_.a[i] * in_.a[i] + in_.b[i] * in_.b[i]); });
    if (workload == "m2") {
      check([&](std::size_t i) {
        return std::exp(-in_.a[i] * in_.a[i]) * std::sin(in_.b[i]) + std::log1p(in_.c[i] * in_.c[i]);
      });
    }
    return took.count();
  }
  void list() const {
    const std::size_t bytes = 4 * elements_ * sizeof(double);
    std::fprintf(stderr, "arrays: %.0f %% in huge pages\n",
                 100.0 * static_cast<double>(huge_bytes_) / static_cast<double>(bytes));
    for (const auto& each : bodies_) std::cout << each.first.first << ' ' << each.first.second << '\n';
    std::cout << "end" << std::endl;
  }

 private:
  ArenaBlock block() { return arena_->allocate(elements_ * sizeof(double)); }
  NdView<double> view(std::size_t index) const {
    return {reinterpret_cast<double*>(blocks_[index].data()), Shape{elements_}};
  }
  void add(const char* workload, const char* engine, std::function<void()> body) {
    bodies_[{workload, engine}] = std::move(body);
  }

  template <class Exact>
  void check(const Exact& exact) const {
    for (std::size_t i = 0; i < elements_; i += elements_ / 999 + 1) {
      expect_near(view(0).data()[i], exact(i));
    }
  }
  static void expect_near(double found, double expected) {
    if (std::fabs(found - expected) <= 1e-9 * (1 + std::fabs(expected))) return;
    std::fprintf(stderr, "wrong result: %.17g, not %.17g\n", found, expected);
    std::exit(1);
  }

  template <class Executor>
  void add_ours(const char* engine, Executor& executor) {
    const auto out = view(0).ref();
    const std::array inputs{view(1).ref(), view(2).ref(), view(3).ref()};
    add("m1", engine, [&executor, out, inputs] {
      evaluate(executor, Expression::parse("sqrt(a*a + b*b)"), out, std::span(inputs).first(2));
    });
    add("m2", engine, [&executor, out, inputs] {
      evaluate(executor, Expression::parse("exp(-a*a)*sin(b) + log1p(c*c)"), out, inputs);
    });
    add("sum", engine, [&executor, a = inputs[0]] { keep(summarize(executor, a).mean(), mean()); });
    add("mean+std", engine, [&executor, a = inputs[0]] {
      const Statistics found = summarize(executor, a);
      keep(found.mean(), mean());
      keep(found.stddev(), (high - low) / std::sqrt(12.0));
    });
    add("min/max", engine, [&executor, a = inputs[0]] {
      const Statistics found = summarize(executor, a);
      keep(std::get<double>(*found.min()), low);
      keep(std::get<double>(*found.max()), high);
    });
    add("histogram", engine, [&executor, a = inputs[0], this] {
      const auto counts = histogram(executor, a, histogram_edges(low, high, histogram_bins, DType::float64));
      keep(static_cast<double>(counts[100]) * histogram_bins / static_cast<double>(elements_), 1);
    });
  }

  void add_maps() {
    double* const out = view(0).data();
    add("triad", "limit", [this, out] { triad(out, in_, workers_); });
    add("m1", "OpenMP", [this, out] { openmp::magnitude(out, in_, workers_); });
    add("m2", "OpenMP", [this, out] { openmp::transcendental(out, in_, workers_); });
    add("m1", "oneTBB+Eigen", [this, out] { eigen::magnitude(out, in_, workers_); });
    add("m2", "oneTBB+Eigen", [this, out] { eigen::transcendental(out, in_, workers_); });
  }
  void add_reductions() {
    add_ours("ours, Pool", pool_);
    add_ours("ours, Threads", threads_);
    const auto count = static_cast<double>(elements_);
    add("sum", "OpenMP", [this, count] { keep(openmp::sum(in_, workers_) / count, mean()); });
    add("sum", "oneTBB+Eigen", [this, count] { keep(eigen::sum(in_, workers_) / count, mean()); });
    add("mean+std", "OpenMP", [this] { keep(openmp::spread(in_, workers_).mean, mean()); });
    add("min/max", "OpenMP", [this] { keep(openmp::bounds(in_, workers_).max, high); });
    add("min/max", "oneTBB+Eigen", [this] { keep(eigen::bounds(in_, workers_).max, high); });
    add("histogram", "OpenMP", [this, count] {
      keep(static_cast<double>(openmp::histogram(in_, low, high, workers_)[100]) * histogram_bins / count, 1);
    });
  }
  static double mean() { return (low + high) / 2; }
  /// The arrays are even enough for this.
  static void keep(double found, double expected) {
    if (std::fabs(found - expected) <= 0.02) return;
    std::fprintf(stderr, "wrong result: %.17g, not near %.17g\n", found, expected);
    std::exit(1);
  }

  std::size_t elements_;
  int workers_;
  std::shared_ptr<Arena> arena_;
  std::array<ArenaBlock, 4> blocks_;
  std::size_t huge_bytes_ = 0;
  Pool pool_;
  Threads threads_;
  Inputs in_{};
  std::map<std::pair<std::string, std::string>, std::function<void()>> bodies_;
};

}  // namespace
}  // namespace runrig::bench

int main(int argc, char** argv) {
  const std::size_t elements = argc > 1 ? std::strtoull(argv[1], nullptr, 10) : std::size_t{1} << 26;
  const int workers = argc > 2 ? std::atoi(argv[2]) : runrig::usable_cpu_count();
  const bool huge_pages = argc <= 3 || std::string(argv[3]) != "small";
  runrig::bench::Bench bench(elements, workers, huge_pages);
  std::string line;
  while (std::getline(std::cin, line)) {
    if (line == "list") {
      bench.list();
      continue;
    }
    const std::size_t space = line.find(' ');
    std::cout << bench.run(line.substr(0, space), line.substr(space + 1)) << std::endl;
  }
}
