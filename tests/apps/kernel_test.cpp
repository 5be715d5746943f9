// `runrig map --kernel`: functions of the user's own, in libraries that the test compiles as docs/kernels.md says.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>
#include <iterator>

#include "reports.hpp"
#include "source_directory.hpp"

namespace runrig::test {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

constexpr const char* make_sevens = R"(
import sys, h5py, numpy as np
for name, at in (("good", None), ("bad", 123_456), ("also_good", None)):
    values = np.zeros((400, 1000), "i4")
    if at is not None: values.ravel()[at] = 7
    with h5py.File(f"{sys.argv[1]}/{name}.h5", "w") as file:
        file.create_dataset("x", data=values, chunks=(100, 1000))
)";

class KernelTest : public ::testing::Test {
 protected:
  [[nodiscard]] std::string compile(const std::string& compiler, const std::filesystem::path& source,
                                    const std::vector<std::string>& flags) const {
    const std::string library = directory_ / ("lib" + source.stem().string() + ".so");
    std::vector<std::string> command{compiler,     "-O2",          "-Wall",    "-Wextra",
                                     "-Wpedantic", "-Wconversion", "-Wshadow", "-Werror"};
    command.insert(command.end(), flags.begin(), flags.end());
    command.insert(command.end(), {"-shared", "-fPIC", "-I", source_directory() / "engine/batch/include", source, "-o",
                                   library, "-lm"});
    const auto made = run_command(command);
    EXPECT_EQ(made.exit_code, 0) << made.err;
    return library;
  }
  [[nodiscard]] std::string kernels() const {
    return compile("cc", source_directory() / "tests/apps/kernels.c",
                   {"-std=c99", "-Wno-builtin-declaration-mismatch"});
  }
  [[nodiscard]] CommandResult map(const std::string& kernel, std::vector<std::string> options) const {
    std::vector<std::string> arguments{"map", "--kernel", kernel, "-o", output_};
    arguments.insert(arguments.end(), options.begin(), options.end());
    return runrig(arguments);
  }
  void expect_refused(const std::string& kernel, const std::vector<std::string>& parts) const {
    expect_one_line(map(kernel, {month_, "-i", "u=/wind/u"}), 2, parts);
    EXPECT_FALSE(std::filesystem::exists(output_));
  }
  TemporaryDirectory directory_;
  const std::string month_ = sample("month-1.h5");
  const std::string output_ = directory_ / "out.h5";
};

TEST_F(KernelTest, AgreesWithNumPyForTypesLayoutsAndSeveralInputsAndOutputs) {
  RUNRIG_NEED_PYTHON(python, "numpy, h5py");
  const std::string wind = compile("cc", source_directory() / "docs/examples/kernel/wind.c", {"-std=c99"});
  expect_agreement(python, "check_kernel.py", {runrig_command(), directory_.path().string(), kernels(), wind, month_},
                   std::chrono::seconds(280));
}

TEST_F(KernelTest, TheExampleOfTheDocumentationCompilesAsItStands) {
  std::ifstream page(source_directory() / "docs/kernels.md");
  const std::string text((std::istreambuf_iterator<char>(page)), {});
  const auto begin = text.find("```c\n");
  const auto end = text.find("```", begin + 5);
  ASSERT_NE(end, std::string::npos);
  const std::filesystem::path source = directory_ / "speed.c";
  std::ofstream(source) << text.substr(begin + 5, end - begin - 5);
  const std::string library = compile("cc", source, {});
  const auto made = map(library + ":speed", {month_, "-i", "u=/wind/u", "-i", "v=/wind/v", "--to", "/wind/speed"});
  EXPECT_EQ(made.exit_code, 0) << made.err;
  EXPECT_THAT(made.out, HasSubstr(":/wind/speed  (62, 37, 72) <f4"));
}

TEST_F(KernelTest, WhatCannotBeLoadedIsOneLineBeforeAnyWork) {
  const std::string library = kernels();
  expect_refused("speed", {"LIBRARY:FUNCTION"});
  expect_refused(library + ":no-name", {"LIBRARY:FUNCTION"});
  expect_refused(directory_ / "none.so:f", {"none.so:f", "No such file or directory"});
  expect_refused(month_ + ":f", {"month-1.h5:f", "ELF"});
  expect_refused(library + ":missing", {"libkernels.so:missing", "no function of that name"});
  expect_refused(library + ":plain", {"plain", "RUNRIG_KERNEL(plain, ...)"});
  expect_refused(library + ":older", {"version 2", "this is version 1", "compile it anew"});
  expect_refused(library + ":no_arrow", {"'float64'", "'->'"});
  expect_refused(library + ":no_type", {"float128"});
  expect_refused(library + ":three", {"3 inputs, not 1"});
  expect_refused(library + ":copy_and_place", {"2 outputs, not 1"});
  expect_one_line(map(library + ":three", {month_, "-i", "u=/wind/u", "--dtype", "f4"}), 2, {"3 inputs"});
  expect_one_line(map(library + ":fail", {month_, "-i", "u=/wind/u", "--dtype", "f4"}), 2, {"types of their own"});
  expect_one_line(map(library + ":idle", {month_, "-i", "u=/wind/u", "--to", "a=u"}), 2, {"a=u"});
  expect_one_line(runrig({"map", "u", month_, "-i", "u=/wind/u", "-o", output_, "--parameter", "x"}), 2, {"--kernel"});
}

TEST_F(KernelTest, ALibraryThatCrashesWhenItIsLoadedCostsAWorker) {
  const std::filesystem::path source = directory_ / "early.c";
  std::ofstream(source) << "#include <stdlib.h>\n__attribute__((constructor)) static void f(void) { abort(); }\n";
  expect_refused(compile("cc", source, {}) + ":f", {"libearly.so:f", "was killed by SIGABRT"});
}

TEST_F(KernelTest, ANameWithoutASlashIsOfTheCurrentDirectoryOnly) {
  const std::string library = kernels();
  const std::vector<std::string> command{"env", "-C", directory_.path().string(), runrig_command()};
  const std::vector<std::string> rest{month_, "-i", "u=/wind/u", "-o", output_};
  const auto run_in_folder = [&](const std::string& kernel, const std::string& search) {
    auto arguments = command;
    arguments.insert(arguments.end(), {"map", "--kernel", kernel});
    arguments.insert(arguments.end(), rest.begin(), rest.end());
    return run_command(arguments, {}, std::chrono::seconds(120), {"LD_LIBRARY_PATH=" + search});
  };
  const auto found = run_in_folder("libkernels.so:idle", "/");
  EXPECT_EQ(found.exit_code, 0) << found.err;
  std::filesystem::create_directory(directory_ / "elsewhere");
  std::filesystem::rename(library, directory_ / "elsewhere/libkernels.so");
  expect_one_line(run_in_folder("libkernels.so:idle", directory_ / "elsewhere"), 2, {"No such file"});
  expect_one_line(run_in_folder("libm.so.6:sin", ""), 2, {"No such file"});
}

TEST_F(KernelTest, InputsThatCannotBeConvertedAreTheFilesFailure) {
  expect_one_line(map(kernels() + ":integers", {month_, "-i", "u=/wind/u"}), 1,
                  {"month-1.h5", "takes int16", "u of float32"});
}

TEST_F(KernelTest, AKernelThatFailsCostsItsFileAndNamesTheBlock) {
  RUNRIG_NEED_PYTHON(python, "numpy, h5py");
  ASSERT_EQ(run_python(python, make_sevens, {directory_.path().string()}).exit_code, 0);
  const std::string library = kernels();
  const std::string name = "libkernels.so:fail";
  const std::string block = "in the block of (100, 1000) at (100, 0)";
  const std::vector<std::pair<std::string, std::vector<std::string>>> cases{
      {"return", {name, "it returned 42", block}},
      {"say", {name, "there is a 7 in it", block}},
      {"crash", {name, "was killed by SIGSEGV", block}},
      {"abort", {name, "was killed by SIGABRT", block}},
      {"exit", {name, "exit", block}},
      {"hang", {name, "CPU time", block}}};
  for (const auto& [parameter, parts] : cases) {
    const auto result = runrig({"map", "--kernel", library + ":fail", "--parameter", parameter, "-i", "x=/x", "-o",
                                directory_ / "out-{name}", "--stall", "1", "--overwrite", directory_ / "good.h5",
                                directory_ / "bad.h5", directory_ / "also_good.h5"});
    EXPECT_EQ(result.exit_code, 1) << parameter;
    EXPECT_EQ(std::count(result.err.begin(), result.err.end(), '\n'), 1) << result.err;
    EXPECT_THAT(result.err, HasSubstr("bad.h5: ")) << parameter;
    EXPECT_THAT(result.err, Not(HasSubstr("HDF5 library"))) << parameter;
    for (const std::string& part : parts) EXPECT_THAT(result.err, HasSubstr(part)) << parameter;
    EXPECT_EQ(std::count(result.out.begin(), result.out.end(), '\n'), 2) << result.out;
    EXPECT_FALSE(std::filesystem::exists(directory_ / "out-bad.h5"));
    EXPECT_TRUE(std::filesystem::exists(directory_ / "out-also_good.h5"));
  }
}

TEST_F(KernelTest, WhatAKernelInCxxThrowsIsTold) {
  const std::filesystem::path source = directory_ / "thrower.cpp";
  std::ofstream(source) << R"(
#include <runrig/kernel.h>
#include <stdexcept>
RUNRIG_KERNEL(thrower, "any -> any") {
  if (block->parameter[0] == 'e') throw std::runtime_error("no\nluck");
  if (block->parameter[0] == 'i') throw 5;
  return 0;
}
)";
  const std::string kernel = compile("c++", source, {"-std=c++17"}) + ":thrower";
  const std::vector<std::string> options{month_, "-i", "u=/wind/u", "--parameter"};
  const auto with = [&](const std::string& parameter) {
    auto all = options;
    all.push_back(parameter);
    return map(kernel, all);
  };
  expect_one_line(with("e"), 1, {"libthrower.so:thrower", "it threw 'no luck'", "in the block of"});
  expect_one_line(with("i"), 1, {"libthrower.so:thrower", "it threw something"});
  EXPECT_EQ(with("none").exit_code, 0);
}

}  // namespace
}  // namespace runrig::test
