#include "runrig/shm/mapping.hpp"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cstdint>
#include <fstream>
#include <string>
#include <vector>

#include "runrig/sync/unique_fd.hpp"
#include "support.hpp"

namespace runrig {
namespace {

class MappingTest : public ::testing::Test {
 protected:
  void SetUp() override {
    fd_.reset(::memfd_create("mapping-test", MFD_CLOEXEC));
    ASSERT_EQ(::ftruncate(fd_.get(), 8192), 0);
  }
  UniqueFd fd_;
};

TEST_F(MappingTest, TwoMappingsOfOneFileShowTheSameBytes) {
  const auto one = Mapping::map(fd_.get(), 0, 8192, Access::read_write, "m");
  const auto other = Mapping::map(fd_.get(), 4096, 4096, Access::read_only, "m");
  one.writable_bytes()[4100] = std::byte{7};
  EXPECT_EQ(other.bytes()[4], std::byte{7});
  EXPECT_EQ(other.size_bytes(), 4096U);
}

TEST_F(MappingTest, OutlivesItsDescriptorAndMoves) {
  auto one = Mapping::map(fd_.get(), 0, 8192, Access::read_write, "m");
  fd_.reset();
  one.writable_bytes()[0] = std::byte{1};
  Mapping moved = std::move(one);
  EXPECT_FALSE(one);  // NOLINT(bugprone-use-after-move): what is promised of it is tested
  EXPECT_TRUE(one.bytes().empty());
  EXPECT_EQ(moved.bytes()[0], std::byte{1});
  one = std::move(moved);
  EXPECT_EQ(one.bytes()[0], std::byte{1});
  one.reset();
  one.reset();
  EXPECT_FALSE(one);
}

// Counted in /proc/self/maps: what was moved about is unmapped once, by its last owner.
TEST_F(MappingTest, UnmapsWithItsLastOwnerWhateverWasMovedBefore) {
  const auto mapped = [] {
    std::ifstream maps("/proc/self/maps");
    int count = 0;
    for (std::string line; std::getline(maps, line);) count += line.find("memfd:mapping-test") != std::string::npos;
    return count;
  };
  {
    std::vector<Mapping> several;  // moves what it holds when it grows
    for (int i = 0; i < 5; ++i) several.push_back(Mapping::map(fd_.get(), 0, 4096, Access::read_only, "m"));
    several.erase(several.begin() + 1, several.begin() + 3);
    EXPECT_EQ(mapped(), 3);
    auto& self = several.front();
    self = std::move(self);
    EXPECT_EQ(mapped(), 3);
    several.front() = Mapping();
    EXPECT_EQ(mapped(), 2);
  }
  EXPECT_EQ(mapped(), 0);
}

TEST_F(MappingTest, LargeFilesAreMappedWhereHugePagesCanBe) {
  for (const std::size_t size_bytes : {huge_page_bytes, huge_page_bytes + 1, 9 * huge_page_bytes - 4096}) {
    ASSERT_EQ(::ftruncate(fd_.get(), static_cast<off_t>(size_bytes)), 0);
    const auto one = Mapping::map(fd_.get(), 0, size_bytes, Access::read_write, "m");
    const auto other = Mapping::map(fd_.get(), 0, size_bytes, Access::read_only, "m");
    EXPECT_EQ(reinterpret_cast<std::uintptr_t>(one.bytes().data()) % huge_page_bytes, 0U);
    EXPECT_EQ(reinterpret_cast<std::uintptr_t>(other.bytes().data()) % huge_page_bytes, 0U);
    one.writable_bytes()[size_bytes - 1] = std::byte{7};
    EXPECT_EQ(other.bytes()[size_bytes - 1], std::byte{7});
  }
}

TEST_F(MappingTest, ReadOnlyMemoryGivesOutNoWritableBytes) {
  const auto mapping = Mapping::map(fd_.get(), 0, 8192, Access::read_only, "m");
  EXPECT_THROW((void)mapping.writable_bytes(), std::logic_error);
}

TEST_F(MappingTest, WhatCannotBeMappedIsAnErrorWithTheName) {
  EXPECT_EQ(test::thrown_code([&] { (void)Mapping::map(fd_.get(), 0, 0, Access::read_only, "m"); }),
            std::errc::invalid_argument);
  EXPECT_EQ(test::thrown_code([&] { (void)Mapping::map(fd_.get(), 5, 10, Access::read_only, "m"); }),
            std::errc::invalid_argument);
  EXPECT_EQ(
      test::thrown_code([&] { (void)Mapping::map(fd_.get(), ~std::size_t{0} << 12U, 10, Access::read_only, "m"); }),
      std::errc::invalid_argument);
  const UniqueFd only_readable(::open(("/proc/self/fd/" + std::to_string(fd_.get())).c_str(), O_RDONLY | O_CLOEXEC));
  EXPECT_EQ(test::thrown_code([&] { (void)Mapping::map(only_readable.get(), 0, 10, Access::read_write, "m"); }),
            std::errc::permission_denied);
  EXPECT_EQ(test::thrown_code([&] { (void)Mapping::map(fd_.get(), 0, std::size_t{1} << 60U, Access::read_only, "m"); }),
            std::errc::not_enough_memory);
  EXPECT_EQ(test::thrown_text([&] { (void)Mapping::map(-1, 0, 10, Access::read_only, "temps"); }),
            "map 10 bytes of 'temps': Bad file descriptor");
}

}  // namespace
}  // namespace runrig
