// That no code of one level of instructions can be linked into another: by what the compiler made, not by what the
// sources promise. Template instances and inline functions are weak symbols, of which the linker keeps any one for all;
// an object that is compiled for AVX must not have one.
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <filesystem>
#include <set>
#include <sstream>
#include <string>
#include <vector>

#include "support.hpp"

namespace runrig {
namespace {

std::vector<std::string> split(const std::string& text, char at) {
  std::vector<std::string> parts;
  std::istringstream stream(text);
  for (std::string part; std::getline(stream, part, at);) parts.push_back(part);
  return parts;
}

std::vector<std::string> engine_objects() { return split(RUNRIG_ENGINE_OBJECTS, ':'); }

/// "loops_v3" of ".../loops_v3.cpp.o".
std::string source_of(const std::string& object) {
  const std::string name = std::filesystem::path(object).filename().string();
  return name.substr(0, name.find('.'));
}
bool is_of_level(const std::string& object) {
  static const std::set<std::string> sources{"loops_v2",      "loops_v3",      "loops_v4",
                                             "statistics_v2", "statistics_v3", "statistics_v4",
                                             "reduction_v2",  "reduction_v3",  "reduction_v4"};
  return sources.contains(source_of(object));
}

std::string output_of(const std::vector<std::string>& command) {
  const auto run = test::run_command(command, {}, std::chrono::seconds(110));
  EXPECT_EQ(run.exit_code, 0) << command[0] << ": " << run.err;
  return run.out;
}

bool have(const char* program) {
  return test::run_command({"sh", "-c", std::string("command -v ") + program}).exit_code == 0;
}

/// The functions of a disassembly that use registers of 32 or 64 bytes.
std::set<std::string> functions_with_wide_registers(const std::string& file) {
  std::set<std::string> found;
  std::string function;
  std::istringstream lines(output_of({"objdump", "-d", "--no-show-raw-insn", file}));
  for (std::string line; std::getline(lines, line);) {
    if (line.ends_with(">:")) {
      const std::size_t begin = line.find('<') + 1;
      function = line.substr(begin, line.size() - begin - 2);
    } else if (line.find("%ymm") != std::string::npos || line.find("%zmm") != std::string::npos) {
      found.insert(function);
    }
  }
  return found;
}

class LevelObjects : public ::testing::Test {
 protected:
  void SetUp() override {
    if (engine_objects().empty()) GTEST_SKIP() << "sanitizers and coverage add symbols of their own";
    if (!have("nm") || !have("objdump")) GTEST_SKIP() << "there is no nm or objdump";
  }
};

TEST_F(LevelObjects, DefineNothingThatALinkerMayShare) {
  std::size_t looked_at = 0;
  for (const std::string& object : engine_objects()) {
    if (!is_of_level(object)) continue;
    ++looked_at;
    const std::string source = source_of(object);
    std::vector<std::string> defined;
    for (const std::string& line : split(output_of({"nm", "-C", "--defined-only", "--extern-only", object}), '\n')) {
      if (!line.empty()) defined.push_back(line.substr(line.find(' ') + 1));
    }
    const std::string level = source.substr(source.find('_') + 1);
    const std::string only = source.starts_with("reduction_") ? "T runrig::detail::" + level + "_reduction_loops()"
                             : source.starts_with("loops_")   ? "T runrig::detail::" + level + "_loops()"
                                                              : "T runrig::detail::" + level + "_statistics_loops()";
    EXPECT_EQ(defined, std::vector<std::string>{only}) << object;
  }
#if defined(__x86_64__)
  EXPECT_EQ(looked_at, 9U);
#endif
}

TEST_F(LevelObjects, AloneUseWideRegisters) {
  std::size_t wide = 0;
  for (const std::string& object : engine_objects()) {
    const bool found = !functions_with_wide_registers(object).empty();
    const bool wanted = is_of_level(object) && !source_of(object).ends_with("_v2");
    EXPECT_EQ(found, wanted) << object;
    wide += found ? 1U : 0U;
  }
#if defined(__x86_64__)
  EXPECT_EQ(wide, 6U);
#endif
}

TEST_F(LevelObjects, LeaveNoWideRegistersInSharedFunctionsOfAProgram) {
  const std::string self = std::filesystem::read_symlink("/proc/self/exe").string();
  const std::set<std::string> wide = functions_with_wide_registers(self);
#if defined(__x86_64__)
  EXPECT_GT(wide.size(), 100U);
#endif
  for (const std::string& line : split(output_of({"nm", "--defined-only", self}), '\n')) {
    const std::vector<std::string> columns = split(line, ' ');
    if (columns.size() != 3) continue;
    const bool shared = columns[1] != "t" && columns[1] != "T";
    EXPECT_FALSE(shared && wide.contains(columns[2])) << line;
  }
}

// On a processor that has SSE4.2 and no AVX, which stops with SIGILL at the first wrong instruction.
TEST(LevelEmulation, RunsOnAProcessorWithoutAvx) {
  if (engine_objects().empty()) GTEST_SKIP() << "a sanitizer's shadow memory is more than the emulator gets";
  if (!have("qemu-x86_64")) GTEST_SKIP() << "qemu-user is not installed";
  const std::string self = std::filesystem::read_symlink("/proc/self/exe").string();
  const auto run = test::run_command(
      {"qemu-x86_64", "-cpu", "Nehalem", self, "--gtest_also_run_disabled_tests",
       "--gtest_filter=LevelsInChild.DISABLED_Print:Expression.EvaluatesArithmeticOnArrays:Expression."
       "MayWriteOverAnInput:"
       "Expression.ComputesFloat16InFloat32AndRounds:Expression.GivesTheSameBits*:Statistics.SummarisesNumbers*:"
       "Statistics.AnOffset*"},
      {}, std::chrono::seconds(110));
  EXPECT_EQ(run.exit_code, 0) << run.out << run.err;
  EXPECT_NE(run.out.find("level=v2\n"), std::string::npos) << run.out;
}

}  // namespace
}  // namespace runrig
