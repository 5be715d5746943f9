#include "runrig/shm/anonymous_memory.hpp"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <fstream>
#include <sstream>
#include <string>
#include <utility>

#include "support.hpp"

namespace runrig {
namespace {

using ::testing::HasSubstr;

TEST(AnonymousMemoryTest, IsSharedWithForkedChildrenAtTheSameAddress) {
  const auto memory = AnonymousMemory::create("test", 10'000);
  EXPECT_EQ(memory.size_bytes(), 10'000U);
  EXPECT_EQ(std::count(memory.bytes().begin(), memory.bytes().end(), std::byte{0}), 10'000);
  EXPECT_EQ(test::run_in_child([&] { memory.writable_bytes()[9'999] = std::byte{7}; }), 0);
  EXPECT_EQ(memory.bytes()[9'999], std::byte{7});
}

// M5
TEST(AnonymousMemoryTest, NobodyCanTruncateOrGrowIt) {
  const auto memory = AnonymousMemory::create("test", 8192);
  EXPECT_EQ(::ftruncate(memory.fd(), 0), -1);
  EXPECT_EQ(errno, EPERM);
  EXPECT_EQ(::ftruncate(memory.fd(), 1 << 20), -1);
  EXPECT_EQ(errno, EPERM);
  EXPECT_EQ(::fcntl(memory.fd(), F_ADD_SEALS, F_SEAL_WRITE), -1);
}

// M6
TEST(AnonymousMemoryTest, AHolePunchedByAPeerReadsAsZeros) {
  const auto memory = AnonymousMemory::create("test", 8192);
  memory.writable_bytes()[0] = std::byte{1};
  memory.writable_bytes()[5000] = std::byte{2};
  ASSERT_EQ(::fallocate(memory.fd(), FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, 4096), 0);
  EXPECT_EQ(memory.bytes()[0], std::byte{0});
  EXPECT_EQ(memory.bytes()[5000], std::byte{2});
}

TEST(AnonymousMemoryTest, MayBeLaidOutLargeAndReservedLazily) {
  const std::size_t size_bytes = std::size_t{64} << 30;
  auto memory = AnonymousMemory::create("sparse", size_bytes, Reserve::lazily);
  EXPECT_EQ(memory.resident_bytes(), 0U);
  memory.writable_bytes()[size_bytes - 1] = std::byte{1};
  EXPECT_EQ(memory.resident_bytes(), 4096U);
  EXPECT_EQ(memory.bytes()[size_bytes / 2], std::byte{0});
}

TEST(AnonymousMemoryTest, IsPlacedApartSoThatOtherProcessesHaveRoomAtThatAddress) {
#if defined(__SANITIZE_THREAD__)
  GTEST_SKIP() << "the thread sanitizer lays memory out for itself";
#endif
  for (int i = 0; i < 10; ++i) {
    const auto memory = AnonymousMemory::create("apart", std::size_t{64} << 30, Reserve::lazily, Placement::apart);
    const auto begin = reinterpret_cast<std::uintptr_t>(memory.bytes().data());
    const auto maps = test::run_command({"cat", "/proc/self/maps"});
    ASSERT_EQ(maps.exit_code, 0);
    std::istringstream lines(maps.out);
    int taken = 0;
    for (std::string line; std::getline(lines, line); ++taken) {
      std::uintptr_t first = 0;
      std::uintptr_t end = 0;
      ASSERT_EQ(std::sscanf(line.c_str(), "%lx-%lx", &first, &end), 2) << line;
      EXPECT_FALSE(first < begin + memory.size_bytes() && begin < end) << line;
    }
    EXPECT_GT(taken, 0);
  }
}

TEST(AnonymousMemoryTest, IsAttachedExactlyWhereAskedForOrNotAtAll) {
  const auto memory = AnonymousMemory::create("apart", 8192, Reserve::now, Placement::apart);
  memory.writable_bytes()[0] = std::byte{5};
  void* const here = memory.writable_bytes().data();
  EXPECT_EQ(test::thrown_code([&] {
              (void)AnonymousMemory::attach(UniqueFd(::fcntl(memory.fd(), F_DUPFD_CLOEXEC, 0)), Access::read_only,
                                            here);
            }),
            std::errc::address_in_use);
  UniqueFd descriptor(::fcntl(memory.fd(), F_DUPFD_CLOEXEC, 0));
  void* const free_place = static_cast<std::byte*>(here) + (1 << 20);
  const auto again = AnonymousMemory::attach(std::move(descriptor), Access::read_only, free_place);
  EXPECT_EQ(again.bytes().data(), free_place);
  EXPECT_EQ(again.bytes()[0], std::byte{5});
}

TEST(AnonymousMemoryTest, MoreThanTheMachineHasIsRefusedIfReservedNow) {
  const std::size_t size_bytes = std::size_t{1} << 50;
  EXPECT_EQ(test::thrown_code([&] { (void)AnonymousMemory::create("now", size_bytes); }), std::errc::not_enough_memory);
  EXPECT_THAT(test::thrown_text([&] { (void)AnonymousMemory::create("now", size_bytes); }),
              HasSubstr("(needs 1.0 PiB, the m"));  // "the machine has" or "the memory cgroup has"
}

TEST(AnonymousMemoryTest, PagesCanBeReservedAndReleased) {
  const std::size_t page = 4096;
  auto memory = AnonymousMemory::create("pages", 64 * page, Reserve::lazily);
  memory.reserve(8 * page, 16 * page);
  EXPECT_EQ(memory.resident_bytes(), 16 * page);
  std::fill_n(memory.writable_bytes().begin() + 8 * page, 16 * page, std::byte{5});
  memory.punch(8 * page, 8 * page);
  EXPECT_EQ(memory.resident_bytes(), 8 * page);
  EXPECT_EQ(memory.bytes()[16 * page], std::byte{5});
  memory.punch(16 * page + 1, 2);  // less than a page: zeroed, and the page stays
  EXPECT_EQ(memory.resident_bytes(), 8 * page);
  EXPECT_EQ(memory.bytes()[16 * page + 1], std::byte{0});
  EXPECT_EQ(memory.bytes()[16 * page + 3], std::byte{5});
  EXPECT_EQ(memory.bytes()[8 * page], std::byte{0});  // last, since reading gives it a page again
  memory.punch(0, 0);
  memory.punch(64 * page, 0);
  EXPECT_THROW(memory.punch(64 * page, 1), std::out_of_range);
  EXPECT_THROW(memory.punch(1, ~std::size_t{0}), std::out_of_range);
  EXPECT_THROW(memory.reserve(60 * page, 5 * page), std::out_of_range);
}

constexpr std::size_t four_huge_pages = 4 * huge_page_bytes;

std::byte pattern_at(std::size_t i) { return static_cast<std::byte>(i * 7 / 5); }

// Bytes of this process's page tables that are huge pages of shared memory.
std::size_t mapped_huge_bytes(const void* at) {
  std::ifstream maps("/proc/self/smaps");
  bool here = false;
  for (std::string line; std::getline(maps, line);) {
    std::uintptr_t first = 0;
    std::uintptr_t end = 0;
    std::size_t kib = 0;
    if (std::sscanf(line.c_str(), "%lx-%lx", &first, &end) == 2)
      here = first <= reinterpret_cast<std::uintptr_t>(at) && reinterpret_cast<std::uintptr_t>(at) < end;
    if (here && std::sscanf(line.c_str(), "ShmemPmdMapped: %zu kB", &kib) == 1) return kib << 10U;
  }
  return 0;
}

TEST(AnonymousMemoryTest, GoesIntoHugePagesWithAllThatIsInIt) {
  auto memory = AnonymousMemory::create("huge", four_huge_pages + 4096, Reserve::lazily);
  const auto bytes = memory.writable_bytes();
  EXPECT_EQ(reinterpret_cast<std::uintptr_t>(bytes.data()) % huge_page_bytes, 0U);
  // The first and the third are filled, the second is not there, of the fourth there is one page.
  const auto filled = [](std::size_t i) {
    const std::size_t piece = i / huge_page_bytes;
    return piece == 0 || piece == 2 || (piece == 3 && i % huge_page_bytes / 4096 == 100);
  };
  for (std::size_t i = 0; i < four_huge_pages; ++i) {
    if (filled(i)) bytes[i] = pattern_at(i);
  }
  const std::size_t huge_bytes = memory.use_huge_pages();
  EXPECT_EQ(memory.resident_bytes(), memory.size_bytes()) << "what is in no huge page has memory all the same";
  std::size_t wrong = 0;
  for (std::size_t i = 0; i < bytes.size(); ++i) {
    wrong += bytes[i] != (filled(i) ? pattern_at(i) : std::byte{0}) ? 1U : 0U;
  }
  EXPECT_EQ(wrong, 0U);
  EXPECT_EQ(huge_bytes % huge_page_bytes, 0U);
  EXPECT_LE(huge_bytes, four_huge_pages);
  if (huge_bytes == 0) GTEST_SKIP() << "this system gives no huge pages";
  EXPECT_GE(mapped_huge_bytes(bytes.data()), huge_bytes);
  EXPECT_GE(memory.use_huge_pages(), huge_bytes) << "again, where they are already";
}

TEST(AnonymousMemoryTest, OnlyWholeHugePagesOfTheRangeAreTaken) {
  auto memory = AnonymousMemory::create("huge", four_huge_pages, Reserve::lazily);
  EXPECT_LE(memory.use_huge_pages(huge_page_bytes - 4096, huge_page_bytes + 8192), huge_page_bytes);
  EXPECT_EQ(memory.resident_bytes(), huge_page_bytes + 8192);
  EXPECT_EQ(memory.use_huge_pages(3 * huge_page_bytes + 1, huge_page_bytes - 1), 0U);
  EXPECT_EQ(memory.use_huge_pages(0, 0), 0U);
  EXPECT_THROW(memory.use_huge_pages(four_huge_pages, 1), std::out_of_range);
  EXPECT_THROW(memory.use_huge_pages(1, ~std::size_t{0}), std::out_of_range);
  auto small = AnonymousMemory::create("small", 5000, Reserve::lazily);
  EXPECT_EQ(small.use_huge_pages(), 0U);
  EXPECT_EQ(small.resident_bytes(), 8192U);
}

TEST(AnonymousMemoryTest, OthersMayWriteWhileItGoesIntoHugePages) {
  auto memory = AnonymousMemory::create("huge", four_huge_pages);
  constexpr std::size_t step = 4096;
  constexpr int rounds = 20;
  test::Child writer([&] {
    for (int round = 1; round <= rounds; ++round) {
      for (std::size_t i = 0; i < four_huge_pages; i += step) {
        ASSERT_EQ(memory.bytes()[i], static_cast<std::byte>(round - 1));
        memory.writable_bytes()[i] = static_cast<std::byte>(round);
      }
    }
  });
  for (int round = 0; round < rounds; ++round) {
    (void)memory.use_huge_pages();
    memory.writable_bytes()[1] = static_cast<std::byte>(round);
  }
  EXPECT_EQ(writer.join(), 0);
  for (std::size_t i = 0; i < four_huge_pages; i += step) ASSERT_EQ(memory.bytes()[i], std::byte{rounds});
}

TEST(AnonymousMemoryTest, MoreThanTheMachineHasIsNotPutIntoHugePages) {
  auto memory = AnonymousMemory::create("sparse", std::size_t{1} << 46, Reserve::lazily);
  EXPECT_EQ(test::thrown_code([&] { (void)memory.use_huge_pages(); }), std::errc::not_enough_memory);
  EXPECT_THAT(test::thrown_text([&] { (void)memory.use_huge_pages(); }),
              HasSubstr("into huge pages of (needs 64.0 TiB, the m"));
  EXPECT_EQ(memory.resident_bytes(), 0U);
}

TEST(AnonymousMemoryTest, OnlyWhoMayWriteItPutsItIntoHugePages) {
  const auto memory = AnonymousMemory::create("huge", huge_page_bytes);
  auto reader = AnonymousMemory::attach(UniqueFd(::fcntl(memory.fd(), F_DUPFD_CLOEXEC, 0)), Access::read_only);
  EXPECT_THROW((void)reader.use_huge_pages(), std::logic_error);
  reader.close();
  EXPECT_THROW((void)reader.use_huge_pages(), std::logic_error);
}

TEST(AnonymousMemoryTest, ADescriptorIsTakenOnlyIfItIsASealedMemfd) {
  const auto memory = AnonymousMemory::create("sent", 4096);
  memory.writable_bytes()[1] = std::byte{3};
  const auto copy = AnonymousMemory::attach(UniqueFd(::fcntl(memory.fd(), F_DUPFD_CLOEXEC, 0)));
  EXPECT_EQ(copy.bytes()[1], std::byte{3});
  EXPECT_EQ(copy.id(), memory.id());

  UniqueFd unsealed(::memfd_create("unsealed", MFD_CLOEXEC | MFD_ALLOW_SEALING));
  ASSERT_EQ(::ftruncate(unsealed.get(), 4096), 0);
  ASSERT_EQ(::fcntl(unsealed.get(), F_ADD_SEALS, F_SEAL_GROW), 0);
  EXPECT_EQ(test::thrown_code([&] { (void)AnonymousMemory::attach(std::move(unsealed)); }),
            std::errc::invalid_argument);
  int ends[2];
  ASSERT_EQ(::pipe2(ends, O_CLOEXEC), 0);
  const UniqueFd writer(ends[1]);
  EXPECT_EQ(test::thrown_code([&] { (void)AnonymousMemory::attach(UniqueFd(ends[0])); }), std::errc::invalid_argument);
  EXPECT_EQ(test::thrown_code([&] { (void)AnonymousMemory::attach(UniqueFd()); }), std::errc::invalid_argument);
  UniqueFd empty(::memfd_create("empty", MFD_CLOEXEC | MFD_ALLOW_SEALING));
  ASSERT_EQ(::fcntl(empty.get(), F_ADD_SEALS, F_SEAL_GROW | F_SEAL_SHRINK), 0);
  EXPECT_EQ(test::thrown_code([&] { (void)AnonymousMemory::attach(std::move(empty)); }), std::errc::invalid_argument);
}

TEST(AnonymousMemoryTest, BadSizesAndLabelsAreRefused) {
  EXPECT_EQ(test::thrown_code([] { (void)AnonymousMemory::create("x", 0); }), std::errc::invalid_argument);
  EXPECT_EQ(test::thrown_code([] { (void)AnonymousMemory::create("x", ~std::size_t{0}, Reserve::lazily); }),
            std::errc::invalid_argument);
  EXPECT_EQ(test::thrown_code([] { (void)AnonymousMemory::create("a/b", 10); }), std::errc::invalid_argument);
  EXPECT_EQ(test::thrown_code([] { (void)AnonymousMemory::create(std::string(300, 'x'), 10); }),
            std::errc::invalid_argument);
}

TEST(AnonymousMemoryTest, ClosingTwiceIsHarmlessAndUseAfterwardsAnError) {
  auto memory = AnonymousMemory::create("test", 4096);
  memory.close();
  memory.close();
  EXPECT_THROW((void)memory.bytes(), std::logic_error);
  EXPECT_THROW((void)memory.writable_bytes(), std::logic_error);
  EXPECT_THROW((void)memory.handle(), std::logic_error);
  EXPECT_THROW((void)memory.resident_bytes(), std::logic_error);
  EXPECT_THROW(memory.punch(0, 1), std::logic_error);
  EXPECT_EQ(memory.fd(), -1);
  auto other = AnonymousMemory::create("other", 4096);
  memory = std::move(other);
  EXPECT_EQ(memory.bytes().size(), 4096U);
}

}  // namespace
}  // namespace runrig
