#include "runrig/engine/parallel.hpp"

#include <cmath>
#include <cstring>
#include <numeric>
#include <sstream>
#include <stop_token>
#include <thread>
#include <vector>

#include "pool_test_support.hpp"
#include "processes.hpp"

#if defined(__SANITIZE_THREAD__)
// What libtbb, which is not built with the sanitizer, does by itself (its own memset, say) is not looked at; kernels
// are.
extern "C" const char* __tsan_default_suppressions() { return "called_from_lib:libtbb.so\n"; }
#endif

namespace runrig {
namespace {

using namespace std::chrono_literals;

// What depends on rounding at every step: an order of additions other than ours shows.
template <class T>
void fill_rough(NdArray<T>& array) {
  std::uint64_t state = 88172645463325252ULL;
  for (T& each : array.span()) {
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    each = static_cast<T>(static_cast<double>(state % 2'000'003) / 7.0 - 1e5);
  }
}

template <class T>
NdArray<T> made(const Shape& shape) {
  return NdArray<T>::create_anonymous(shape);
}

// oneTBB's threads stay, and a process with threads makes no pools: tests that start them do so in a child.
void in_child(const std::function<void()>& body) { EXPECT_EQ(test::run_in_child(body), 0); }

class ParallelTest : public ::testing::Test {
 protected:
  void SetUp() override { RUNRIG_NEED_FORKS(); }
};

TEST_F(ParallelTest, TransformSeesTheSameSliceOfEachArray) {
  Pool pool(2);
  auto u = made<double>({300, 1000});  // Eigen's square root of float packets is not the rounded one
  auto v = made<double>({300, 1000});
  auto speed = made<double>({300, 1000});
  fill_rough(u);
  fill_rough(v);
  parallel_transform(
      pool, speed, [](auto out, auto a, auto b) { out = (a * a + b * b).sqrt(); }, u, v);
  for (std::size_t i = 0; i < speed.span().size(); ++i) {
    ASSERT_EQ(speed.span()[i], std::sqrt(u.span()[i] * u.span()[i] + v.span()[i] * v.span()[i])) << i;
  }
}

TEST_F(ParallelTest, ForChangesArraysInPlaceAndKnowsItsElements) {
  Pool pool(3);
  auto a = made<double>({50'000});
  auto b = made<std::int64_t>({50'000});
  parallel_for(pool, std::tie(a, b), [](auto x, auto y, SliceRange range) {
    for (std::uint64_t i = range.begin; i < range.end; ++i) {
      x[static_cast<Eigen::Index>(i - range.begin)] = static_cast<double>(i);
      y[static_cast<Eigen::Index>(i - range.begin)] = static_cast<std::int64_t>(i) * 2;
    }
  });
  for (std::size_t i = 0; i < 50'000; ++i) {
    ASSERT_EQ(a.span()[i], static_cast<double>(i));
    ASSERT_EQ(b.span()[i], static_cast<std::int64_t>(i) * 2);
  }
  parallel_for(pool, a, [](auto part) { part += 0.5; });
  EXPECT_EQ(a.span()[49'999], 49'999.5);
}

TEST_F(ParallelTest, ViewsOfRowsAndArenaMemoryWork) {
  Pool pool(2);
  auto array = made<int>({100, 1000});
  parallel_for(pool, array.rows(10, 20), [](auto part) { part = 7; });
  EXPECT_EQ(array(9, 999), 0);
  EXPECT_EQ(array(10, 0), 7);
  EXPECT_EQ(array(29, 999), 7);
  EXPECT_EQ(array(30, 0), 0);
  const auto block = pool.arena().allocate(sizeof(int) * 100'000);
  const NdView<int> view(reinterpret_cast<int*>(block.data()), {100, 1000});
  parallel_transform(
      pool, view, [](auto out, auto in) { out = in + 1; }, array);
  EXPECT_EQ(view(10, 0), 8);
}

TEST_F(ParallelTest, NamedSegmentsWorkToo) {
  Pool pool(2);
  const std::string name = test::unique_segment_name();
  auto array = NdArray<float>::create(name, {70'000});
  parallel_for(pool, array, [](auto part) { part = 2.F; });
  const auto again = NdArray<float>::attach(name, Access::read_only);
  EXPECT_EQ(sum(pool, again), 140'000.0);
  array.unlink();
}

TEST_F(ParallelTest, EmptyAndScalarArraysAreValid) {
  Pool pool(2);
  Threads threads(2);
  auto empty = made<double>({0, 3});
  auto scalar = made<double>({});
  const auto body = [](auto part) { part += 1.0; };
  parallel_for(pool, empty, body);
  parallel_for(pool, scalar, body);
  parallel_for(threads, scalar, body);
  EXPECT_EQ(scalar.span()[0], 2.0);
  EXPECT_EQ(sum(pool, empty), 0.0);
  EXPECT_TRUE(std::isnan(mean(pool, empty)));
  EXPECT_THROW((void)runrig::min(pool, empty), std::logic_error);
  EXPECT_EQ(parallel_reduce(threads, empty, 5.0), 5.0);
}

template <class T>
struct Results {
  SumOf<T> sum;
  double mean;
  T min;
  T max;
  double squares;
  std::vector<T> transformed;
};

template <class T, class Executor>
Results<T> compute(Executor& executor, const NdArray<T>& array) {
  auto out = made<T>(array.shape());
  parallel_transform(
      executor, out, [](auto result, auto x) { result = (x * static_cast<T>(3)).abs() + static_cast<T>(1); }, array);
  const double squares = parallel_reduce(executor, array, 0.0, std::plus<>{},
                                         [](T x) { return static_cast<double>(x) * static_cast<double>(x); });
  return {sum(executor, array),
          mean(executor, array),
          runrig::min(executor, array),
          runrig::max(executor, array),
          squares,
          {out.cspan().begin(), out.cspan().end()}};
}

template <class T>
void expect_same_bits(const Results<T>& a, const Results<T>& b) {
  EXPECT_EQ(std::memcmp(&a.sum, &b.sum, sizeof a.sum), 0);
  EXPECT_EQ(std::memcmp(&a.mean, &b.mean, sizeof a.mean), 0);
  EXPECT_EQ(std::memcmp(&a.squares, &b.squares, sizeof a.squares), 0);
  EXPECT_EQ(a.min, b.min);
  EXPECT_EQ(a.max, b.max);
  EXPECT_EQ(std::memcmp(a.transformed.data(), b.transformed.data(), a.transformed.size() * sizeof(T)), 0);
}

template <class T>
class SameBits : public ParallelTest {};
using Elements = ::testing::Types<float, double, std::int32_t, std::uint8_t>;
TYPED_TEST_SUITE(SameBits, Elements);

TYPED_TEST(SameBits, ForAnyNumberOfWorkersAndForThreads) {
  using T = TypeParam;
  in_child([] {
    // The pools first: with oneTBB's threads in the process there can be no more.
    std::vector<std::unique_ptr<Pool>> pools;
    for (const int workers : {1, 2, 3, 8}) pools.push_back(std::make_unique<Pool>(workers));
    for (const std::uint64_t count : {1ULL, 17ULL, 4097ULL, 1'000'003ULL}) {
      auto array = made<T>({count});
      fill_rough(array);
      const Results<T> reference = compute(*pools.front(), array);
      for (const auto& pool : pools) expect_same_bits(reference, compute(*pool, array));
      for (const int size : {1, 2, 3}) {
        Threads threads(size);
        expect_same_bits(reference, compute(threads, array));
      }
    }
  });
}

TEST_F(ParallelTest, SumsAgreeWithASerialModel) {
  Pool pool(2);
  auto array = made<double>({123'457});
  fill_rough(array);
  const auto values = array.cspan();
  const long double exact = std::accumulate(values.begin(), values.end(), 0.0L);
  EXPECT_NEAR(sum(pool, array), static_cast<double>(exact), 1e-9 * std::abs(static_cast<double>(exact)));
  EXPECT_EQ(runrig::min(pool, array), *std::min_element(values.begin(), values.end()));
  EXPECT_EQ(runrig::max(pool, array), *std::max_element(values.begin(), values.end()));
  array.span()[100'000] = std::nan("");
  EXPECT_TRUE(std::isnan(runrig::min(pool, array)));
  EXPECT_TRUE(std::isnan(runrig::max(pool, array)));
  EXPECT_TRUE(std::isnan(sum(pool, array)));
}

TEST_F(ParallelTest, IntegersAreSummedExactlyAndBooleansAreCounted) {
  in_child([] {
    Threads threads(2);
    auto numbers = made<std::uint8_t>({1'000'000});
    std::fill(numbers.span().begin(), numbers.span().end(), std::uint8_t{255});
    const std::uint64_t total = sum(threads, numbers);
    EXPECT_EQ(total, 255'000'000U);
    EXPECT_EQ(mean(threads, numbers), 255.0);
    auto flags = made<bool>({1000});
    flags.span()[3] = flags.span()[999] = true;
    const std::int64_t count = sum(threads, flags);
    EXPECT_EQ(count, 2);
    auto halves = made<half>({5});
    for (half& each : halves.span()) each = half(0.5F);
    EXPECT_EQ(sum(threads, halves), 2.5);
    EXPECT_EQ(static_cast<float>(runrig::max(threads, halves)), 0.5F);
  });
}

TEST_F(ParallelTest, ReductionsOfOwnTypesWork) {
  struct Extent {
    double low = 1e300;
    double high = -1e300;
  };
  Pool pool(2);
  auto array = made<double>({100'000});
  std::iota(array.span().begin(), array.span().end(), -5.0);
  struct Widen {
    Extent operator()(const Extent& a, const Extent& b) const {
      return {std::min(a.low, b.low), std::max(a.high, b.high)};
    }
  };
  const Extent extent = parallel_reduce(pool, array, Extent{}, Widen{}, [](double x) { return Extent{x, x}; });
  EXPECT_EQ(extent.low, -5.0);
  EXPECT_EQ(extent.high, 99'994.0);
}

TEST_F(ParallelTest, MismatchesAreRefusedInWords) {
  Pool pool(1);
  auto a = made<double>({10});
  auto b = made<double>({11});
  const auto add = [](auto out, auto in) { out = in; };
  const std::string shapes = test::thrown_text([&] { parallel_transform(pool, a, add, b); });
  EXPECT_NE(shapes.find("different shapes: (10,) and (11,)"), std::string::npos) << shapes;
  auto square = made<double>({10, 10});
  const auto column = square.view().slice(1, {0, 5, 1});
  EXPECT_NE(test::thrown_text([&] { parallel_for(pool, column, [](auto part) { part = 1; }); }).find("gaps"),
            std::string::npos);
  std::vector<double> heap(10);
  const NdView<double> view(heap.data(), {10});
  const std::string text = test::thrown_text([&] { parallel_for(pool, view, [](auto part) { part = 1; }); });
  EXPECT_NE(text.find("private memory"), std::string::npos) << text;
  Threads threads(2);
  parallel_for(threads, view, [](auto part) { part = 1; });  // fine here
  EXPECT_EQ(heap[9], 1.0);
  double offset = 1;
  const std::string capture =
      test::thrown_text([&] { parallel_for(pool, a, [&offset](auto part) { part += offset; }); });
  EXPECT_NE(capture.find("[stack]"), std::string::npos) << capture;
}

TEST_F(ParallelTest, ExceptionNamesSliceAndElements) {
  in_child([] {
    Pool pool(2);
    auto array = made<double>({100'000});
    array.span()[50'000] = -1;
    const auto body = [](auto part) {
      if ((part < 0).any()) throw std::domain_error("negative");
    };
    try {
      parallel_for(pool, array, body);
      FAIL() << "must throw";
    } catch (const RemoteError& error) {
      EXPECT_EQ(error.type(), "std::domain_error");
      EXPECT_EQ(error.text(), "negative");
      EXPECT_NE(std::string(error.what()).find("(elements 49152 to 53248) in worker"), std::string::npos)
          << error.what();
    }
    Threads threads(2);
    EXPECT_THROW(parallel_for(threads, array, body), std::domain_error);
  });
}

TEST_F(ParallelTest, LostSliceIsRunAgainOutOfPlace) {
  Pool pool(2);
  auto in = made<double>({200'000});
  fill_rough(in);
  auto out = made<double>({200'000});
  const test::ArenaArray<std::atomic<int>> killed(pool.arena(), 1);
  auto* const once = killed.data();
  parallel_transform(
      pool, out,
      [once](auto result, auto x, SliceRange range) {
        result = 0;
        if (range.begin > 100'000 && once->exchange(1) == 0) ::raise(SIGKILL);
        result = x * 2;
      },
      in);
  EXPECT_EQ(pool.workers_lost(), 1U);
  for (std::size_t i = 0; i < 200'000; ++i) ASSERT_EQ(out.span()[i], in.span()[i] * 2);
}

TEST_F(ParallelTest, SliceLostInPlaceIsNamedExactlyAndTheRestIsDone) {
  Pool pool(2);
  auto array = made<double>({100'000});
  const auto half_and_die = [](auto part, SliceRange range) {
    part.head(part.size() / 2) += 1;
    if (range.begin == 8192 || range.begin == 12288 || range.begin == 81920) ::raise(SIGKILL);
    part.tail(part.size() - part.size() / 2) += 1;
  };
  std::vector<SliceLost::Range> ranges;
  try {
    parallel_for(pool, array, half_and_die);
    FAIL() << "must throw";
  } catch (const SliceLost& lost) {
    ranges = lost.ranges();
    EXPECT_NE(std::string(lost.what()).find("[8192, 16384), [81920, 86016)"), std::string::npos) << lost.what();
    EXPECT_NE(std::string(lost.what()).find("was killed by SIGKILL"), std::string::npos) << lost.what();
  }
  EXPECT_EQ(ranges, (std::vector<SliceLost::Range>{{8192, 16384}, {81920, 86016}}));
  for (std::uint64_t i = 0; i < 100'000; ++i) {
    const bool named = (i >= 8192 && i < 16384) || (i >= 81920 && i < 86016);
    if (!named) {
      ASSERT_EQ(array.span()[i], 1.0) << i;
    }
  }
}

TEST_F(ParallelTest, RepeatableKernelInPlaceIsRunAgain) {
  Pool pool(2);
  auto array = made<double>({100'000});
  const test::ArenaArray<std::atomic<int>> killed(pool.arena(), 1);
  auto* const once = killed.data();
  ParallelOptions options;
  options.repeatable = true;
  parallel_for(
      pool, array,
      [once](auto part) {
        part = 3;
        if (once->exchange(1) == 0) ::raise(SIGKILL);
      },
      options);
  EXPECT_EQ(sum(pool, array), 300'000.0);
}

TEST_F(ParallelTest, TransformOntoItsOwnInputCountsAsInPlace) {
  Pool pool(2);
  auto array = made<double>({100'000});
  const auto die_once = [](auto out, auto in, SliceRange range) {
    out = in + 1;
    if (range.begin == 0) ::raise(SIGKILL);
  };
  EXPECT_THROW(parallel_transform(pool, array, die_once, array), SliceLost);
  EXPECT_EQ(array.span()[99'999], 1.0);
}

TEST_F(ParallelTest, StopTokenEndsTheCall) {
  in_child([] {
    Pool pool(2);
    Threads threads(2);
    auto array = made<double>({1'000'000});
    ParallelOptions options;
    std::stop_source source;
    options.stop = source.get_token();
    const test::ArenaArray<std::atomic<int>> started(pool.arena(), 1);
    auto* const count = started.data();
    std::jthread stopper([&] {
      while (count->load() == 0) std::this_thread::sleep_for(1ms);
      source.request_stop();
    });
    const auto body = [count](auto) {
      count->fetch_add(1);
      std::this_thread::sleep_for(20ms);
    };
    EXPECT_THROW(parallel_for(pool, array, body, options), Cancelled);
    EXPECT_LT(count->load(), 60);
    EXPECT_THROW(parallel_for(threads, array, body, options), Cancelled);
  });
}

TEST_F(ParallelTest, StalledKernelIsReported) {
  Pool pool(2);
  auto in = made<double>({100'000});
  auto out = made<double>({100'000});
  ParallelOptions options;
  options.wall_limit = 300ms;
  const std::string text = test::thrown_text([&] {
    parallel_transform(
        pool, options, out,
        [](auto, auto, SliceRange range) {
          if (range.begin == 4096) std::this_thread::sleep_for(60s);
        },
        in);
  });
  EXPECT_NE(text.find("slice 1 (elements 4096 to 8192): its worker took longer than 0.3 s"), std::string::npos) << text;
}

TEST_F(ParallelTest, WorkerCannotRunKernels) {
  Pool pool(1);
  auto array = made<double>({10});
  const std::string text = test::thrown_text([&] {
    parallel_for(pool, array, [](auto) {
      Threads inner(2);
      double numbers[2] = {};
      parallel_for(inner, NdView<double>(numbers, {2}), [](auto part) { part = 1; });
    });
  });
  EXPECT_NE(text.find("kernels do not nest there"), std::string::npos) << text;
}

TEST_F(ParallelTest, WorkersMapASegmentOnceAndLetGoOfItWhenItIsClosed) {
  Pool pool(2);
  const pid_t worker = pool.worker_pids()[0];
  const auto mappings = [&] {
    std::istringstream file(test::process_file(worker, "maps"));
    int count = 0;
    for (std::string line; std::getline(file, line);) count += line.find("memfd:") != std::string::npos ? 1 : 0;
    return count;
  };
  const int before = mappings();
  const auto touch = [](auto part) { part += 1; };
  {
    auto array = made<double>({1'000'000});
    for (int round = 0; round < 30; ++round) parallel_for(pool, array, touch);
    ASSERT_TRUE(test::eventually([&] { return mappings() > before; }));
    EXPECT_EQ(mappings(), before + 1);
    EXPECT_EQ(array.span()[999'999], 30.0);
  }
  EXPECT_TRUE(test::eventually([&] { return mappings() == before; })) << "an idle worker keeps the memory";
  // More of them than the ring of closed segments holds.
  for (int round = 0; round < 300; ++round) {
    auto array = made<double>({10});
    parallel_for(pool, array, touch);
    ASSERT_EQ(array.span()[9], 1.0);
  }
  EXPECT_TRUE(test::eventually([&] { return mappings() == before; }));
}

TEST(ThreadsTest, EverySliceRunsOnceAndTheLowestExceptionIsThrown) {
  in_child([] {
    Threads threads(4);
    std::vector<std::atomic<int>> counts(10'000);
    struct Context {
      std::vector<std::atomic<int>>* counts;
      int throw_from;
    };
    const auto body = [](const void* closure, std::uint32_t slice) {
      const auto& context = *static_cast<const Context*>(closure);
      (*context.counts)[slice].fetch_add(1, std::memory_order_relaxed);
      if (static_cast<int>(slice) >= context.throw_from) throw std::runtime_error(std::to_string(slice));
    };
    const Context all{&counts, 1 << 30};
    threads.run(10'000, body, &all);
    for (const auto& each : counts) ASSERT_EQ(each.load(), 1);
    const Context some{&counts, 50};
    EXPECT_EQ(test::thrown_text([&] { threads.run(10'000, body, &some); }), "50");
    EXPECT_THROW(Threads(-1), std::logic_error);
  });
}

TEST(ThreadsTest, KernelsMayNestAndRunConcurrently) {
  in_child([] {
    Threads threads(2);
    std::vector<double> numbers(100'000, 1.0);
    const NdView<double> view(numbers.data(), {100'000});
    std::vector<std::jthread> callers;
    std::atomic<int> right{0};
    for (int t = 0; t < 3; ++t) {
      callers.emplace_back([&] {
        if (sum(threads, view) == 100'000.0) ++right;
      });
    }
    callers.clear();
    EXPECT_EQ(right.load(), 3);
    std::vector<double> outer(3);
    ParallelOptions options;
    options.slice_elements = 1;
    parallel_for(
        threads, NdView<double>(outer.data(), {3}), [&](auto part) { part[0] = sum(threads, view); }, options);
    EXPECT_EQ(outer, std::vector<double>(3, 100'000.0));
  });
}

TEST(Slices, DependOnShapeAndTypeOnly) {
  AnyArrayRef array;
  array.dtype = DType::float32;
  array.shape = {1'000'000'000};
  array.strides = row_major_strides(array.shape);
  const auto plan = detail::plan_slices(std::span(&array, 1), 0);
  EXPECT_EQ(plan.slice_elements, 131'072U);
  EXPECT_EQ(plan.slices, 7630U);
  EXPECT_EQ(plan.end(7629), 1'000'000'000U);
  array.shape = {std::uint64_t{1} << 45};
  array.strides = row_major_strides(array.shape);
  EXPECT_LE(detail::plan_slices(std::span(&array, 1), 0).slices, max_slices);
  EXPECT_LE(detail::plan_slices(std::span(&array, 1), 1).slices, max_slices);
}

}  // namespace
}  // namespace runrig
