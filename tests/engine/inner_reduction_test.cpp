// Reductions inside expressions, against NumPy.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <array>
#include <chrono>
#include <cmath>
#include <cstring>
#include <fstream>
#include <map>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "runrig/engine/arena.hpp"
#include "runrig/engine/evaluate.hpp"
#include "runrig/engine/pool.hpp"
#include "runrig/shm/nd_array.hpp"
#include "support.hpp"

namespace runrig {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

TEST(InnerReduction, IsAnExpressionOfItsOwn) {
  const auto expression = Expression::parse("(x - mean(x * y, axis=(0, -1), keepdims=True)) / std(y)");
  EXPECT_THAT(expression.variables(), ElementsAre("x", "y"));
  EXPECT_TRUE(expression.reads_variable(0));
  EXPECT_FALSE(expression.reads_variable(1));
  const auto reductions = expression.reductions();
  ASSERT_EQ(reductions.size(), 2U);
  EXPECT_EQ(reductions[0].operation, Reduction::mean);
  EXPECT_TRUE(reductions[0].keep_axes);
  EXPECT_EQ(reductions[0].axes, (std::vector<std::int64_t>{0, -1}));
  EXPECT_THAT(reductions[0].argument.variables(), ElementsAre("x", "y"));
  EXPECT_EQ(reductions[1].operation, Reduction::stddev);
  EXPECT_FALSE(reductions[1].axes);
  EXPECT_THAT(reductions[1].argument.variables(), ElementsAre("y"));
}

TEST(InnerReduction, MayBeWithinOneAnother) {
  const auto expression = Expression::parse("sum((x - mean(x + 1)) ** 2) + max(float32(z))");
  const auto reductions = expression.reductions();
  ASSERT_EQ(reductions.size(), 2U);
  const auto inner = reductions[0].argument.reductions();
  ASSERT_EQ(inner.size(), 1U);
  EXPECT_EQ(inner[0].operation, Reduction::mean);
  EXPECT_THAT(reductions[1].argument.variables(), ElementsAre("z"));
}

TEST(InnerReduction, TypesAreNumPys) {
  const auto expression = Expression::parse("x - mean(x)");
  EXPECT_EQ(expression.bind(std::array{DType::float32, reduction_dtype(Reduction::mean, DType::float32)}).result(),
            DType::float32);
  EXPECT_EQ(expression.bind(std::array{DType::int16, reduction_dtype(Reduction::mean, DType::int16)}).result(),
            DType::float64);
}

TEST(InnerReduction, IsRefusedInWordsWhereThereIsNoWholeArray) {
  const auto expression = Expression::parse("x - mean(x)");
  try {
    (void)expression.bind(std::array{DType::float32});
    ADD_FAILURE();
  } catch (const ExpressionError& error) {
    EXPECT_EQ(error.column(), 5U);
    EXPECT_THAT(error.what(), HasSubstr("not possible here"));
  }
}

TEST(InnerReduction, ErrorsPointAtTheirColumn) {
  for (const auto& [text, column] : std::map<std::string, std::size_t>{{"mean(x, 0)", 9},
                                                                       {"mean(x, axis 0)", 9},
                                                                       {"mean(x, axis=1.5)", 14},
                                                                       {"mean(x, keepdims=2)", 18},
                                                                       {"mean()", 6},
                                                                       {"x + argmin(x, axis=(0, 1))", 5},
                                                                       {"sum(x, axis=(0)", 16}}) {
    try {
      (void)Expression::parse(text);
      ADD_FAILURE() << text;
    } catch (const ExpressionError& error) {
      EXPECT_EQ(error.column(), column) << error.what();
    }
  }
}

const char* const inner_program = R"(
import struct, sys, warnings
import numpy as np
from numpy import (sqrt, exp, where, isnan, abs, sum, mean, std, var, min, max, prod, argmin, argmax, any, all, nansum,
                   nanmean, nanstd, nanvar, nanmin, nanmax, nanargmax)
def count(x, **axes):
    return sum(~isnan(x), **axes)
warnings.simplefilter('ignore')
folder = sys.argv[1]
shape = (6, 70, 300)
d = np.fromfile(f'{folder}/d', 'f8').reshape(shape)
f = np.fromfile(f'{folder}/f', 'f4').reshape(shape)
i = np.fromfile(f'{folder}/i', 'i2').reshape(shape)
n = np.fromfile(f'{folder}/n', 'f8').reshape(shape)
row = d[0, 0].copy()
with open(f'{folder}/results', 'wb') as out:
    for line in open(f'{folder}/cases'):
        result = np.broadcast_to(np.asarray(eval(line)), shape)
        data = np.ascontiguousarray(result.astype('f8')).tobytes()
        out.write(struct.pack('<8s', (result.dtype.str + ' ' * 8)[:8].encode()) + data)
)";

const std::array cases{"(d - mean(d)) / std(d)",
                       "d - mean(d, axis=0)",
                       "d - mean(d, axis=1, keepdims=True)",
                       "d - mean(d, axis=-1, keepdims=True)",
                       "d / std(d, axis=(0, 1))",
                       "d / std(d, axis=(1, 2), keepdims=True)",
                       "d * var(d * 2 + 1, axis=0)",
                       "f - mean(f)",
                       "f / sum(f)",
                       "f - sum(f, axis=1, keepdims=True)",
                       "f * std(f, axis=2, keepdims=True)",
                       "i - mean(i)",
                       "i + sum(i)",
                       "i + sum(i, axis=0)",
                       "i + sum(i > 3)",
                       "i - min(i)",
                       "(d - min(d)) / (max(d) - min(d))",
                       "d - max(d, axis=1, keepdims=True)",
                       "i - max(i, axis=2, keepdims=True)",
                       "d - sum(row)",
                       "d + sqrt(mean((d - mean(d)) ** 2))",
                       "d + mean(n)",
                       "d + max(n, axis=0)",
                       "d - mean(d - mean(row), axis=0) / std(d)",
                       "d - mean(d, axis=(0, 2), keepdims=True)",
                       "d - mean(d * row, axis=(0, 2), keepdims=True)",
                       "d + max(row + d, axis=(-3, 1))",
                       "d / prod(d / 100, axis=0)",
                       "i + argmax(i, axis=1, keepdims=True)",
                       "i + argmin(d)",
                       "i + any(i > 890, axis=2, keepdims=True)",
                       "i + all(i > -290, axis=2, keepdims=True)",
                       "i + any(i > 990)",
                       "d - nanmean(n, axis=0)",
                       "d - nanmean(n)",
                       "d / nanstd(n, axis=(1, 2), keepdims=True)",
                       "d - nanvar(n, axis=2, keepdims=True)",
                       "d + nansum(n, axis=(1, 2), keepdims=True)",
                       "d + nanmin(n) + nanmax(n, axis=0)",
                       "i + nanargmax(n, axis=2, keepdims=True)",
                       "i + count(n)",
                       "i + count(n, axis=0)"};

TEST(InnerReductionNumPy, AgreesForAllKindsOfAxes) {
  RUNRIG_NEED_PYTHON(python, "numpy");
  const test::TemporaryDirectory folder;
  const Shape shape{6, 70, 300};
  const std::size_t elements = shape.elements();
  const auto arena = std::make_shared<Arena>(std::size_t{1} << 28);
  std::vector<ArenaBlock> blocks;
  std::mt19937_64 random(5);
  const auto make = [&]<class T>(T, const char* name, double low, double high) {
    blocks.push_back(arena->allocate(elements * sizeof(T)));
    const NdView<T> view(reinterpret_cast<T*>(blocks.back().data()), shape);
    for (T& each : view.span()) each = static_cast<T>(std::uniform_real_distribution<double>(low, high)(random));
    if (*name == 'n') view(2, 3, 4) = std::numeric_limits<T>::quiet_NaN();
    std::ofstream(folder / name, std::ios::binary)
        .write(reinterpret_cast<const char*>(view.data()), static_cast<std::streamsize>(elements * sizeof(T)));
    return view.ref();
  };
  std::map<std::string, AnyArrayRef> arrays;
  arrays["d"] = make(double{}, "d", 90, 110);
  arrays["f"] = make(float{}, "f", 0, 9);
  arrays["i"] = make(std::int16_t{}, "i", -300, 900);
  arrays["n"] = make(double{}, "n", -1, 1);
  arrays["row"] = arrays["d"].select(0, 0).select(0, 0);
  {
    std::ofstream lines(folder / "cases");
    for (const char* each : cases) lines << each << '\n';
  }
  const auto run = test::run_command({python, "-c", inner_program, folder.path().string()}, {},
                                     std::chrono::seconds(100), {"NPY_PROMOTION_STATE=weak"});
  ASSERT_EQ(run.exit_code, 0) << run.err;
  PoolOptions options;
  options.arena = arena;
  options.workers = 2;
  options.other_threads = OtherThreads::allow;  // those of the tests before
  Pool pool(options);
  Threads threads(2);
  std::ifstream file(folder / "results", std::ios::binary);
  for (const char* each : cases) {
    std::array<char, 8> dtype{};
    std::vector<double> theirs(elements);
    ASSERT_TRUE(file.read(dtype.data(), dtype.size()));
    ASSERT_TRUE(file.read(reinterpret_cast<char*>(theirs.data()), static_cast<std::streamsize>(elements * 8)));
    const auto expression = Expression::parse(each);
    std::vector<AnyArrayRef> inputs;
    for (const std::string& name : expression.variables()) inputs.push_back(arrays.at(name));
    const auto wanted = parse_dtype(std::string_view(dtype.data(), 3));
    ASSERT_TRUE(wanted) << each;
    visit_dtype(*wanted, [&]<class T>(std::type_identity<T>) {
      if constexpr (std::is_same_v<T, double> || std::is_same_v<T, float> || std::is_same_v<T, std::int64_t> ||
                    std::is_same_v<T, std::int16_t>) {
        const ArenaBlock memory = arena->allocate(2 * elements * sizeof(T));
        const NdView<T> out(reinterpret_cast<T*>(memory.data()), shape);
        const NdView<T> again(out.data() + elements, shape);
        evaluate(pool, expression, out.ref(), inputs);
        evaluate(threads, expression, again.ref(), inputs);
        EXPECT_EQ(std::memcmp(out.data(), again.data(), elements * sizeof(T)), 0) << each;
        std::size_t wrong = 0;
        for (std::size_t k = 0; k < elements; ++k) {
          const double ours = static_cast<double>(out.data()[k]);
          if (std::isnan(ours) && std::isnan(theirs[k])) continue;
          const double tolerance = std::is_same_v<T, float> ? 3e-5 : 1e-11;
          if (!(std::fabs(ours - theirs[k]) <= tolerance * (1 + std::fabs(theirs[k])))) ++wrong;
        }
        EXPECT_EQ(wrong, 0U) << each << ": " << static_cast<double>(out.data()[7]) << ", NumPy has " << theirs[7];
      } else {
        ADD_FAILURE() << each << ": unexpected " << dtype_name(*wanted);
      }
    });
  }
}

}  // namespace
}  // namespace runrig
