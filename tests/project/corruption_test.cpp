#include "corruption.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cstddef>
#include <fstream>
#include <iterator>
#include <set>
#include <string>
#include <vector>

#include "source_directory.hpp"
#include "support.hpp"

namespace runrig::data {
namespace {

using ::testing::HasSubstr;
using ::testing::StartsWith;

constexpr std::array all_kinds = {Damage::truncate, Damage::flip_bits, Damage::rewrite_bytes,
                                  Damage::zero_run, Damage::splice,    Damage::overwrite_field};

std::vector<std::byte> bytes_of(const std::filesystem::path& path) {
  std::ifstream stream(path, std::ios::binary);
  const std::string text{std::istreambuf_iterator<char>(stream), std::istreambuf_iterator<char>()};
  std::vector<std::byte> bytes(text.size());
  std::transform(text.begin(), text.end(), bytes.begin(), [](char each) { return static_cast<std::byte>(each); });
  return bytes;
}

std::vector<std::byte> sample(const std::string& name) { return bytes_of(test::data_directory() / name); }

class CorruptionTest : public ::testing::TestWithParam<Damage> {
 protected:
  const std::vector<std::byte> original_ = sample("survey.h5");
};

TEST_P(CorruptionTest, TheSameSeedDoesTheSameDamage) {
  for (std::uint64_t seed = 0; seed < 20; ++seed) {
    const auto first = corrupt(original_, seed, GetParam());
    const auto second = corrupt(original_, seed, GetParam());
    EXPECT_EQ(first.bytes, second.bytes) << "seed " << seed;
    EXPECT_EQ(first.description, second.description) << "seed " << seed;
  }
}

TEST_P(CorruptionTest, SeedsDoDifferentDamageAndEachDoesSome) {
  std::set<std::vector<std::byte>> seen;
  for (std::uint64_t seed = 0; seed < 50; ++seed) {
    const auto result = corrupt(original_, seed, GetParam());
    EXPECT_NE(result.bytes, original_) << result.description;
    EXPECT_THAT(result.description, StartsWith(std::string(name_of(GetParam())) + ": "));
    seen.insert(result.bytes);
  }
  EXPECT_GT(seen.size(), 40U);
}

TEST_P(CorruptionTest, OnlyTruncationChangesTheLength) {
  for (std::uint64_t seed = 0; seed < 50; ++seed) {
    const auto result = corrupt(original_, seed, GetParam());
    if (GetParam() == Damage::truncate) {
      EXPECT_LT(result.bytes.size(), original_.size());
    } else {
      EXPECT_EQ(result.bytes.size(), original_.size());
    }
  }
}

TEST_P(CorruptionTest, AnyInputIsDamagedUpToTheShortest) {
  EXPECT_TRUE(corrupt({}, 1, GetParam()).bytes.empty());
  for (std::size_t length = 1; length < 40; ++length) {
    const std::vector<std::byte> zeros(length);
    for (std::uint64_t seed = 0; seed < 20; ++seed) {
      EXPECT_NE(corrupt(zeros, seed, GetParam()).bytes, zeros) << length << " zeros, seed " << seed;
    }
  }
}

INSTANTIATE_TEST_SUITE_P(EveryKind, CorruptionTest, ::testing::ValuesIn(all_kinds), [](const auto& each) {
  std::string name(name_of(each.param));
  std::replace(name.begin(), name.end(), '-', '_');
  return name;
});

TEST(CorruptionSeedTest, SeedsAloneComeUponEveryKind) {
  const auto original = sample("types.h5");
  std::set<std::string> kinds;
  for (std::uint64_t seed = 0; seed < 100; ++seed) {
    const std::string description = corrupt(original, seed).description;
    kinds.insert(description.substr(0, description.find(':')));
  }
  EXPECT_EQ(kinds.size(), all_kinds.size());
}

TEST(CorruptionSeedTest, ExtentsAreFoundInOldAndNewHeadersAndMadeHuge) {
  for (const char* const name : {"survey.h5", "types.h5", "frames.h5"}) {
    const auto original = sample(name);
    bool huge = false;
    for (std::uint64_t seed = 0; seed < 300 && !huge; ++seed) {
      const auto result = corrupt(original, seed, Damage::overwrite_field);
      huge = result.description.find("extent at") != std::string::npos &&
             result.description.find("to 1099511627776") != std::string::npos;
    }
    EXPECT_TRUE(huge) << name;
  }
}

/// What this machine's program did must be what another machine's does: the damage of one seed, written down.
TEST(CorruptionSeedTest, ASeedMeansTheSameForEver) {
  std::vector<std::byte> ramp(1000);
  for (std::size_t i = 0; i < ramp.size(); ++i) ramp[i] = static_cast<std::byte>(i % 251);
  EXPECT_EQ(corrupt(ramp, 1, Damage::truncate).description, "truncate: cut from 1000 to 424 bytes");
  EXPECT_EQ(corrupt(ramp, 7, Damage::zero_run).description, "zero-run: 18 bytes at 982 made zero");
}

TEST(CorruptProgramTest, WritesWhatTheLibraryDoesAndSaysIt) {
  const test::TemporaryDirectory directory;
  const std::string input = (test::data_directory() / "types.h5").string();
  const std::string output = (directory / "bad.h5").string();
  const auto ran = test::run_command({RUNRIG_CORRUPT, input, output, "--seed", "42", "--mode", "splice"});
  ASSERT_EQ(ran.exit_code, 0) << ran.err;
  const auto expected = corrupt(sample("types.h5"), 42, Damage::splice);
  EXPECT_EQ(bytes_of(output), expected.bytes);
  EXPECT_EQ(ran.out, expected.description + "\n");
}

TEST(CorruptProgramTest, WrongUsageIsToldInOneLine) {
  const test::TemporaryDirectory directory;
  const std::string input = (test::data_directory() / "types.h5").string();
  const std::string output = (directory / "bad.h5").string();
  const auto mode = test::run_command({RUNRIG_CORRUPT, input, output, "--seed", "1", "--mode", "melt"});
  EXPECT_EQ(mode.exit_code, 2);
  EXPECT_THAT(mode.err, HasSubstr("melt"));
  EXPECT_NE(test::run_command({RUNRIG_CORRUPT, "/nowhere.h5", output, "--seed", "1"}).exit_code, 0);
  const auto directory_missing =
      test::run_command({RUNRIG_CORRUPT, input, (directory / "no/such/place.h5").string(), "--seed", "1"});
  EXPECT_EQ(directory_missing.exit_code, 1);
  EXPECT_THAT(directory_missing.err, HasSubstr("place.h5"));
}

}  // namespace
}  // namespace runrig::data
