#include "runrig/engine/arena.hpp"

#include <sys/wait.h>
#include <unistd.h>

#include <cstdint>
#include <cstring>
#include <random>
#include <stdexcept>
#include <thread>
#include <vector>

#include "runrig/shm/mapping.hpp"
#include "support.hpp"

namespace runrig {
namespace {

constexpr std::size_t mib = std::size_t{1} << 20;

// Memory of this process that is shared, in KiB, as the kernel counts it.
std::size_t shared_kib() {
  FILE* file = std::fopen("/proc/self/status", "r");
  char line[256];
  std::size_t kib = 0;
  while (file != nullptr && std::fgets(line, sizeof line, file) != nullptr) std::sscanf(line, "RssShmem: %zu kB", &kib);
  if (file != nullptr) std::fclose(file);
  return kib;
}

TEST(Arena, BlocksAreWritableAlignedAndApart) {
  Arena arena(64 * mib);
  const auto first = arena.allocate(100);
  const auto second = arena.allocate(5000, 65536);
  EXPECT_EQ(reinterpret_cast<std::uintptr_t>(first.data()) % 4096, 0U);
  EXPECT_EQ(reinterpret_cast<std::uintptr_t>(second.data()) % 65536, 0U);
  std::memset(first.data(), 1, first.size_bytes());
  std::memset(second.data(), 2, second.size_bytes());
  EXPECT_EQ(first.data()[99], std::byte{1});
  EXPECT_TRUE(arena.contains(first.data(), 100));
  EXPECT_TRUE(arena.contains(second.data(), 5000));
  int local = 0;
  EXPECT_FALSE(arena.contains(&local));
}

TEST(Arena, ChildSeesTheSameBytesAtTheSameAddress) {
  Arena arena(16 * mib);
  const auto block = arena.allocate(4096);
  auto* value = reinterpret_cast<volatile int*>(block.data());
  *value = 1;
  EXPECT_EQ(test::run_in_child([&] {
              EXPECT_EQ(*value, 1);
              *value = 2;
            }),
            0);
  EXPECT_EQ(*value, 2);
}

TEST(Arena, FreedBlockIsUsedAgainWithItsPages) {
  Arena arena(64 * mib);
  std::byte* address = nullptr;
  {
    const auto block = arena.allocate(8 * mib);
    address = block.data();
    std::memset(address, 7, 8 * mib);
  }
  EXPECT_EQ(arena.statistics().kept_bytes, 8 * mib);
  const std::size_t resident = shared_kib();
  const auto again = arena.allocate(8 * mib);
  EXPECT_EQ(again.data(), address);
  EXPECT_EQ(again.data()[5 * mib], std::byte{7}) << "pages were not kept";
  EXPECT_EQ(shared_kib(), resident);
  EXPECT_EQ(arena.statistics().reused, 1U);
  EXPECT_EQ(arena.statistics().kept_bytes, 0U);
}

TEST(Arena, TrimGivesPagesBack) {
  Arena arena(64 * mib);
  {
    const auto block = arena.allocate(16 * mib);
    std::memset(block.data(), 7, 16 * mib);
  }
  const std::size_t before = shared_kib();
  EXPECT_EQ(arena.trim(), 16 * mib);
  EXPECT_LE(shared_kib() + 16 * 1024, before);
  const auto again = arena.allocate(16 * mib);
  EXPECT_EQ(again.data()[0], std::byte{0});
}

TEST(Arena, NeighboursAreMergedWhenFreed) {
  Arena arena(3 * mib);
  auto a = arena.allocate(mib);
  auto b = arena.allocate(mib);
  auto c = arena.allocate(mib);
  a.reset();
  c.reset();
  b.reset();
  EXPECT_NO_THROW((void)arena.allocate(3 * mib));
}

TEST(Arena, TrimmedAndKeptNeighboursAreMergedWhenNothingElseIsLeft) {
  Arena arena(2 * mib);
  auto a = arena.allocate(mib);
  auto b = arena.allocate(mib);
  a.reset();
  arena.trim();
  b.reset();
  const auto all = arena.allocate(2 * mib);
  EXPECT_EQ(all.size_bytes(), 2 * mib);
  EXPECT_EQ(arena.statistics().kept_bytes, 0U);
}

TEST(Arena, FullArenaSaysTheNumbers) {
  Arena arena(mib);
  const auto block = arena.allocate(mib / 2);
  EXPECT_EQ(test::thrown_code([&] { (void)arena.allocate(mib); }), std::errc::not_enough_memory);
  const std::string text = test::thrown_text([&] { (void)arena.allocate(mib); });
  EXPECT_NE(text.find("allocate 1048576 bytes, 524288 of 1048576 are in use"), std::string::npos) << text;
  EXPECT_EQ(test::thrown_code([&] { (void)arena.allocate(SIZE_MAX); }), std::errc::not_enough_memory);
}

TEST(Arena, LargeBlocksBeginWhereHugePagesDoAndGoIntoThem) {
  Arena arena(64 * mib);
  const auto small = arena.allocate(4096);
  auto large = arena.allocate(6 * mib);
  EXPECT_EQ(reinterpret_cast<std::uintptr_t>(large.data()) % huge_page_bytes, 0U);
  std::memset(large.data(), 7, large.size_bytes());
  const std::size_t huge_bytes = large.use_huge_pages();
  EXPECT_LE(huge_bytes, large.size_bytes());
  EXPECT_EQ(large.data()[0], std::byte{7});
  EXPECT_EQ(large.data()[6 * mib - 1], std::byte{7});
  EXPECT_EQ(test::run_in_child([&] { large.data()[mib] = std::byte{8}; }), 0);
  EXPECT_EQ(large.data()[mib], std::byte{8});
  auto part = arena.allocate(3 * mib);
  EXPECT_LE(part.use_huge_pages(), huge_page_bytes);
  EXPECT_EQ(ArenaBlock().use_huge_pages(), 0U);
  if (huge_bytes == 0) GTEST_SKIP() << "this system gives no huge pages";
}

TEST(Arena, ALargeBlockThatFitsNoHugePageFitsAllTheSame) {
  Arena arena(5 * mib);
  const auto small = arena.allocate(4096);
  const auto large = arena.allocate(4 * mib);
  EXPECT_EQ(large.data(), small.data() + 4096);
  std::memset(large.data(), 7, large.size_bytes());
  EXPECT_NO_THROW((void)arena.allocate(mib - 4096));
}

TEST(Arena, MistakesAreRefused) {
  Arena arena(mib);
  EXPECT_THROW((void)arena.allocate(0), std::logic_error);
  EXPECT_THROW((void)arena.allocate(10, 48), std::logic_error);
  EXPECT_THROW((void)arena.allocate(10, std::size_t{1} << 31), std::logic_error);
}

TEST(Arena, OnlyTheCreatingProcessAllocatesAndFrees) {
  Arena arena(mib);
  auto block = arena.allocate(4096);
  EXPECT_EQ(test::run_in_child([&] {
              EXPECT_THROW((void)arena.allocate(4096), std::logic_error);
              EXPECT_THROW((void)arena.trim(), std::logic_error);
              block.reset();  // forgets it only
            }),
            0);
  EXPECT_EQ(arena.statistics().used_bytes, 4096U);
}

TEST(Arena, BlockMayOutliveTheArena) {
  ArenaBlock block;
  {
    Arena arena(mib);
    block = arena.allocate(4096);
  }
  block.data()[4095] = std::byte{1};
  EXPECT_EQ(block.data()[4095], std::byte{1});
}

TEST(Arena, DestructionFreesThePagesThatAChildStillMaps) {
  auto arena = std::make_unique<Arena>(64 * mib);
  auto block = arena->allocate(32 * mib);
  std::memset(block.data(), 1, 32 * mib);
  const auto* data = reinterpret_cast<const volatile unsigned char*>(block.data());
  int ready[2];
  ASSERT_EQ(::pipe(ready), 0);
  test::Child child([&] {
    char byte = 0;
    ASSERT_EQ(::read(ready[0], &byte, 1), 1);
    const int now = data[mib];
    EXPECT_EQ(now, 0);  // a hole, not the old page
  });
  block.reset();
  arena.reset();
  ASSERT_EQ(::write(ready[1], "x", 1), 1);
  EXPECT_EQ(child.join(), 0);
  ::close(ready[0]);
  ::close(ready[1]);
}

TEST(Arena, RandomUseNeverHandsOutTheSameByteTwice) {
  Arena arena(32 * mib);
  std::mt19937 random(7);
  std::vector<std::pair<ArenaBlock, unsigned char>> blocks;
  for (int step = 0; step < 3000; ++step) {
    if (blocks.size() < 40 && random() % 2 == 0) {
      const std::size_t bytes = 1 + random() % 200'000;
      auto block = arena.allocate(bytes, std::size_t{1} << (random() % 17));
      const auto mark = static_cast<unsigned char>(step);
      std::memset(block.data(), mark, bytes);
      blocks.emplace_back(std::move(block), mark);
    } else if (!blocks.empty()) {
      const std::size_t which = random() % blocks.size();
      const auto& [block, mark] = blocks[which];
      EXPECT_EQ(block.data()[0], std::byte{mark});
      EXPECT_EQ(block.data()[block.size_bytes() - 1], std::byte{mark});
      blocks.erase(blocks.begin() + static_cast<std::ptrdiff_t>(which));
    }
    if (step % 500 == 0) arena.trim(mib);
  }
  blocks.clear();
  EXPECT_EQ(arena.statistics().used_bytes, 0U);
}

TEST(Arena, ThreadsMayAllocateAtOnce) {
  Arena arena(64 * mib);
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&arena, t] {
      for (int i = 0; i < 500; ++i) {
        const auto block = arena.allocate(4096 * static_cast<std::size_t>(1 + (i + t) % 5));
        block.data()[0] = static_cast<std::byte>(t);
        EXPECT_EQ(block.data()[0], static_cast<std::byte>(t));
      }
    });
  }
  for (auto& each : threads) each.join();
  EXPECT_EQ(arena.statistics().used_bytes, 0U);
}

}  // namespace
}  // namespace runrig
