// Complex numbers of HDF5 files, as h5py stores them.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "reports.hpp"

namespace runrig::test {
namespace {

using namespace std::chrono_literals;
using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;

// Complex numbers, real ones, and compounds that only look like complex ones.
const char* const make_lookalikes =
    "import h5py, numpy as np, sys\n"
    "f = h5py.File(sys.argv[1], 'w')\n"
    "f['z'] = np.arange(12).reshape(3, 4) * (1 + 2j)\n"
    "f['x'] = np.arange(12.0)\n"
    "f['turned'] = np.zeros(3, [('i', 'f4'), ('r', 'f4')])\n"
    "f['mixed'] = np.zeros(3, [('r', 'f4'), ('i', 'f8')])\n"
    "f['whole'] = np.zeros(3, [('r', 'i4'), ('i', 'i4')])\n"
    "f['apart'] = np.zeros(3, np.dtype([('r', 'f4'), ('i', 'f4')], align=True)[['i']])\n";

TEST(ComplexFilesTest, MapAgreesWithNumPyForEveryLayoutAndKeepsTheStorage) {
  RUNRIG_NEED_PYTHON(python, "numpy, h5py");
  const TemporaryDirectory directory;
  expect_agreement(python, "check_complex.py", {runrig_command(), directory.path().string()});
}

TEST(ComplexFilesTest, StatsAndReduceAgreeWithNumPyForEveryLayout) {
  RUNRIG_NEED_PYTHON(python, "numpy, h5py");
  const TemporaryDirectory directory;
  expect_agreement(python, "check_complex_reduce.py", {runrig_command(), directory.path().string()}, 280s);
}

TEST(ComplexFilesTest, WhatNeedsRealNumbersIsRefusedInOneLine) {
  RUNRIG_NEED_PYTHON(python, "numpy, h5py");
  const TemporaryDirectory directory;
  const std::string file = directory / "z.h5";
  ASSERT_EQ(run_python(python, make_lookalikes, {file}).exit_code, 0);
  const std::string out = directory / "out.h5";
  expect_one_line(runrig({"reduce", "median", file, "-d", "/z"}), 1, {"/z", "complex128", "abs(x)"});
  expect_one_line(runrig({"reduce", "histogram:9", file, "-d", "/z"}), 1, {"/z", "complex128"});
  expect_one_line(runrig({"map", "floor(z)", file, "-i", "z", "-o", out}), 1, {"column 1", "not defined for complex"});
  expect_one_line(runrig({"map", "z", file, "-i", "z", "-o", out, "--dtype", "float32"}), 1, {"imaginary part"});
  expect_one_line(runrig({"map", "z - max(z)", file, "-i", "z", "-o", out}), 1, {"column 5", "max(abs(...))"});
  for (const char* other : {"turned", "mixed", "whole", "apart"}) {  // only look like complex numbers
    expect_one_line(runrig({"map", "z", file, "-i", std::string("z=/") + other, "-o", out}), 1, {other, "compound"});
  }
  EXPECT_FALSE(std::filesystem::exists(out));
}

TEST(ComplexFilesTest, StatsWithoutNamesLeavesOutCompoundsThatOnlyLookLikeComplexNumbers) {
  RUNRIG_NEED_PYTHON(python, "numpy, h5py");
  const TemporaryDirectory directory;
  const std::string file = directory / "z.h5";
  ASSERT_EQ(run_python(python, make_lookalikes, {file}).exit_code, 0);
  const CommandResult all = runrig({"stats", file});
  EXPECT_EQ(all.exit_code, 0) << all.err;
  EXPECT_THAT(all.out, HasSubstr("/x"));
  EXPECT_THAT(all.out, HasSubstr("11+22j"));  // the greatest of /z
  for (const char* other : {"turned", "mixed", "whole", "apart"}) EXPECT_THAT(all.out, Not(HasSubstr(other)));
  const CommandResult real = runrig({"reduce", "median", file});
  EXPECT_EQ(real.exit_code, 0) << real.err;
  EXPECT_THAT(real.out, AllOf(HasSubstr("/x"), Not(HasSubstr("/z"))));
}

}  // namespace
}  // namespace runrig::test
