#include "runrig/engine/evaluate.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <cstring>
#include <limits>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "runrig/engine/arena.hpp"
#include "runrig/engine/pool.hpp"
#include "runrig/shm/nd_array.hpp"
#include "support.hpp"

namespace runrig {
namespace {

/// The same on both executors: a pool of two processes, and two threads.
class EvaluateTest : public ::testing::Test {
 protected:
  template <class T>
  NdView<T> array(const Shape& shape) {
    blocks_.push_back(arena_->allocate(shape.elements() * sizeof(T) + 1));
    return NdView<T>(reinterpret_cast<T*>(blocks_.back().data()), shape);
  }
  template <class T>
  NdView<T> random_array(const Shape& shape) {
    const NdView<T> result = array<T>(shape);
    for (T& each : result.span()) {
      each = static_cast<T>(std::uniform_real_distribution<double>(-5, 5)(random_));
    }
    return result;
  }
  template <class Action>
  void on_both(const Action& action) {
    {
      PoolOptions options;
      options.arena = arena_;
      options.workers = 2;
      options.other_threads = OtherThreads::allow;  // those of the tests before
      Pool pool(options);
      action(pool);
    }
    Threads threads(2);
    action(threads);
  }

  std::shared_ptr<Arena> arena_ = std::make_shared<Arena>(std::size_t{1} << 30);
  std::vector<ArenaBlock> blocks_;
  std::mt19937_64 random_{7};
};

TEST_F(EvaluateTest, GivesWhatRunProgramGives) {
  const Shape shape{300, 1001};
  const auto a = random_array<double>(shape);
  const auto b = random_array<float>(shape);
  const auto out = array<double>(shape);
  const auto expression = Expression::parse("sqrt(a*a + b*b) - a");
  const Program program = expression.bind(std::array{DType::float64, DType::float32});
  std::vector<double> expected(shape.elements());
  std::vector<std::byte> scratch(program.scratch_bytes());
  const std::array operands{Operand{.data = std::as_bytes(a.span()).data()},
                            Operand{.data = std::as_bytes(b.span()).data()}};
  run_program(program.code(), operands, std::as_writable_bytes(std::span(expected)).data(), expected.size(),
              scratch.data());
  on_both([&](auto& executor) {
    std::fill(out.span().begin(), out.span().end(), -1.0);
    evaluate(executor, expression, out.ref(), std::array{a.ref(), b.ref()});
    EXPECT_TRUE(std::equal(expected.begin(), expected.end(), out.span().begin()));
  });
}

TEST_F(EvaluateTest, WritesLargeResultsPastTheCachesWithTheSameBits) {
  const std::size_t elements = (std::size_t{16} << 20) / 8 + 777;
  const auto a = random_array<double>(Shape{elements});
  const auto out = array<double>(Shape{elements});
  const auto expression = Expression::parse("a * 2 + 1");
  on_both([&](auto& executor) {
    std::fill(out.span().begin(), out.span().end(), -1.0);
    evaluate(executor, expression, out.ref(), std::array{a.ref()});
    std::size_t wrong = 0;
    for (std::size_t i = 0; i < elements; ++i) wrong += out.data()[i] == a.data()[i] * 2 + 1 ? 0U : 1U;
    EXPECT_EQ(wrong, 0U);
  });
}

TEST_F(EvaluateTest, BroadcastsAsNumPyDoes) {
  const Shape shape{7, 130, 11};
  const auto full = random_array<double>(shape);
  const auto row = random_array<double>(Shape{11});
  const auto column = random_array<float>(Shape{130, 1});
  const auto planes = random_array<double>(Shape{7, 1, 1});
  const auto one = random_array<double>(Shape{});
  const auto out = array<double>(shape);
  const auto expression = Expression::parse("full + row * column - planes * one");
  on_both([&](auto& executor) {
    ParallelOptions options;
    options.slice_elements = 1024;  // cuts rows and planes
    evaluate(executor, expression, out.ref(), std::array{full.ref(), row.ref(), column.ref(), planes.ref(), one.ref()},
             options);
    std::size_t wrong = 0;
    for (std::size_t i = 0; i < 7; ++i) {
      for (std::size_t j = 0; j < 130; ++j) {
        for (std::size_t k = 0; k < 11; ++k) {
          const double product = row(k) * static_cast<double>(column(j, 0));
          const double expected = (full(i, j, k) + product) - planes(i, 0, 0) * one();
          wrong += out(i, j, k) == expected ? 0U : 1U;
        }
      }
    }
    EXPECT_EQ(wrong, 0U);
  });
}

TEST_F(EvaluateTest, RefusesWhatDoesNotFit) {
  const auto a = random_array<double>(Shape{4, 5});
  const auto b = random_array<double>(Shape{4});
  const auto whole = array<std::int32_t>(Shape{4, 5});
  Threads threads(2);
  const auto expression = Expression::parse("a + b");
  EXPECT_THROW(evaluate(threads, expression, a.ref(), std::array{a.ref(), b.ref()}), std::logic_error);
  EXPECT_THROW(evaluate(threads, expression, whole.ref(), std::array{a.ref(), a.ref()}), std::logic_error);
  EXPECT_THROW(evaluate(threads, expression, a.ref(), std::array{a.ref()}), std::logic_error);
  EXPECT_THROW(evaluate(threads, expression, a.slice(1, Slice{0, 3}).ref(), std::array{a.ref(), a.ref()}),
               std::logic_error);
}

TEST_F(EvaluateTest, MayWriteOverAnInputButNotOverARepeatedOne) {
  const auto a = random_array<double>(Shape{50, 40});
  const std::vector<double> before(a.span().begin(), a.span().end());
  Threads threads(2);
  evaluate(threads, Expression::parse("a * 3"), a.ref(), std::array{a.ref()});
  for (std::size_t i = 0; i < before.size(); ++i) ASSERT_EQ(a.data()[i], before[i] * 3);
  EXPECT_THROW(evaluate(threads, Expression::parse("a + b"), a.ref(), std::array{a.ref(), a.select(0, 3).ref()}),
               std::logic_error);
}

// Segments that are joined, blocks of columns, and several rows in one slice.
TEST_F(EvaluateTest, ReductionsHaveTheBitsOfReduceSequences) {
  struct Case {
    Shape shape;
    std::int64_t axis;
    const char* name;
    Reduction operation;
  };
  for (const Case& each :
       {Case{Shape{1'500'000, 2}, 0, "var", Reduction::var}, Case{Shape{2, 2'200'000}, 1, "sum", Reduction::sum},
        Case{Shape{1'300'000}, 0, "argmax", Reduction::argmax}, Case{Shape{5, 9'001}, 0, "mean", Reduction::mean},
        Case{Shape{9'000, 40}, 1, "std", Reduction::stddev}, Case{Shape{66'000, 600}, 0, "max", Reduction::max}}) {
    const auto x = array<float>(each.shape);
    std::uint32_t state = 1;
    for (float& number : x.span()) number = static_cast<float>((state = state * 1664525U + 1013904223U) >> 8) - 5e6F;
    const ReductionAxes axes = ReductionAxes::resolve(each.shape, std::vector<std::int64_t>{each.axis});
    const Reducer reducer(each.operation, DType::float32, NanPolicy::propagate);
    std::vector<std::byte> expected(axes.results * item_bytes(reducer.result()));
    ASSERT_TRUE(reduce_sequences(reducer, axes, std::as_bytes(x.span()).data(), axes.results,
                                 axes.columns ? axes.results : axes.length, expected.data()));
    const auto expression = Expression::parse(std::string(each.name) + "(x, axis=" + std::to_string(each.axis) + ")");
    on_both([&](auto& executor) {
      const ArenaBlock memory = arena_->allocate(expected.size());
      AnyArrayRef out;
      out.data = memory.data();
      out.dtype = reducer.result();
      out.access = Access::read_write;
      out.shape = axes.kept;
      out.strides = row_major_strides(axes.kept);
      evaluate(executor, expression, out, std::array{x.ref()});
      EXPECT_EQ(std::memcmp(memory.data(), expected.data(), expected.size()), 0)
          << each.name << " of " << to_string(each.shape);
    });
  }
}

TEST_F(EvaluateTest, ReductionsWithoutAResultAreRefused) {
  Threads threads(2);
  const auto x = array<double>(Shape{3, 4});
  for (double& each : x.span()) each = std::numeric_limits<double>::quiet_NaN();
  const auto out = array<std::int64_t>(Shape{3});
  EXPECT_THROW(evaluate(threads, Expression::parse("nanargmin(x, axis=1)"), out.ref(), std::array{x.ref()}), Error);
  EXPECT_THROW(evaluate(threads, Expression::parse("argmin(x, axis=2)"), out.ref(), std::array{x.ref()}), Error);
  const auto none = array<double>(Shape{3, 0});
  const auto numbers = array<double>(Shape{3});
  EXPECT_THROW(evaluate(threads, Expression::parse("max(x, axis=1)"), numbers.ref(), std::array{none.ref()}),
               std::logic_error);
  evaluate(threads, Expression::parse("sum(x, axis=1)"), numbers.ref(), std::array{none.ref()});
  EXPECT_EQ(numbers(2), 0);
}

TEST_F(EvaluateTest, SummariesAreThoseOfTheTree) {
  const auto a = random_array<float>(Shape{3, 100'000});
  a(1, 500) = std::numeric_limits<float>::quiet_NaN();
  StatisticsTree tree(DType::float32);
  for (std::size_t first = 0; first < a.size(); first += statistics_block_elements) {
    tree.add(summarize_block(DType::float32, reinterpret_cast<const std::byte*>(a.data() + first),
                             std::min<std::size_t>(statistics_block_elements, a.size() - first)));
  }
  const Statistics expected = tree.result();
  on_both([&](auto& executor) {
    const Statistics found = summarize(executor, a.ref());
    EXPECT_EQ(std::memcmp(&found, &expected, sizeof found), 0);
    EXPECT_EQ(summarize(executor, array<double>(Shape{0, 3}).ref()).count, 0U);
  });
}

TEST_F(EvaluateTest, HistogramsCountEachElementInTheBinOfItsEdges) {
  const auto a = random_array<double>(Shape{600'000});
  for (std::size_t i = 0; i < 3000; ++i) a(i * 7) = static_cast<double>(i % 21) * 0.5 - 5;  // on edges
  a(5) = std::numeric_limits<double>::quiet_NaN();
  a(6) = std::numeric_limits<double>::infinity();
  a(8) = -1e300;
  const std::vector<double> edges = histogram_edges(-5, 5, 40, DType::float64);
  std::vector<std::uint64_t> expected(40);
  for (const double x : a.span()) {
    for (std::size_t bin = 0; bin < 40; ++bin) {
      expected[bin] += x >= edges[bin] && (x < edges[bin + 1] || (bin == 39 && x == edges[40])) ? 1U : 0U;
    }
  }
  on_both([&](auto& executor) { EXPECT_EQ(histogram(executor, a.ref(), edges), expected); });
}

TEST_F(EvaluateTest, HistogramsOfManyBinsCountNumbersBesideTheirEdges) {
  Threads threads(2);
  for (const std::size_t bins : {7UL, 1000UL, 5000UL}) {
    const auto edges = histogram_edges(0.1, 3.0, bins, DType::float64);
    const auto a = array<double>(Shape{20 * bins});
    std::vector<std::uint64_t> expected(bins);
    for (std::size_t i = 0; i < a.size(); ++i) {
      const double edge = edges[i % (bins + 1)];
      a(i) = i % 3 == 0 ? edge : std::nextafter(edge, i % 3 == 1 ? -1.0 : 9.0);
      const auto above = std::upper_bound(edges.begin(), edges.end(), a(i)) - edges.begin();
      if (above == 0 || a(i) > 3.0) continue;
      ++expected[std::min(static_cast<std::size_t>(above), bins) - 1];
    }
    EXPECT_EQ(histogram(threads, a.ref(), edges), expected) << bins;
  }
}

TEST_F(EvaluateTest, HistogramsOfNarrowAndVeryWideRangesAreExact) {
  Threads threads(2);
  const auto a = array<double>(Shape{4096});
  for (std::size_t i = 0; i < 4096; ++i) a(i) = std::nextafter(1.0, 2.0) * 1 + static_cast<double>(i % 8) * 0x1p-52;
  std::uint64_t sum = 0;
  for (const auto each : histogram(threads, a.ref(), histogram_edges(1.0, 1.0 + 0x1p-49, 4, DType::float64)))
    sum += each;
  EXPECT_EQ(sum, 4096U);
  for (std::size_t i = 0; i < 4096; ++i) a(i) = (i % 2 == 0 ? -1.0 : 1.0) * 1.7e308;
  const auto wide = histogram(threads, a.ref(), std::array{-1.7e308, 0.0, 1.7e308});
  EXPECT_EQ(wide, (std::vector<std::uint64_t>{2048, 2048}));
}

TEST_F(EvaluateTest, HistogramsOfUnequalBinsAreExact) {
  Threads threads(2);
  const auto a = array<std::int16_t>(Shape{40'000});
  for (std::size_t i = 0; i < a.size(); ++i) a(i) = static_cast<std::int16_t>(i % 100);
  EXPECT_EQ(histogram(threads, a.ref(), std::array{-7.0, 1.0, 2.5, 50.0, 50.0, 98.0}),
            (std::vector<std::uint64_t>{400, 800, 18'800, 0, 19'600}));
}

TEST_F(EvaluateTest, HistogramsNeedEdgesThatRise) {
  Threads threads(2);
  const auto a = array<std::int16_t>(Shape{5});
  EXPECT_THROW((void)histogram(threads, a.ref(), std::array{1.0}), std::logic_error);
  EXPECT_THROW((void)histogram(threads, a.ref(), std::array{3.0, 3.0}), std::logic_error);
  EXPECT_THROW((void)histogram(threads, a.ref(), std::array{3.0, 5.0, 4.0}), std::logic_error);
}

}  // namespace
}  // namespace runrig
