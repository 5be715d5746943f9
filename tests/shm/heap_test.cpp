#include "runrig/shm/heap.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cstring>
#include <map>
#include <memory>
#include <random>
#include <thread>
#include <vector>

#include "killpoints.hpp"
#include "runrig/shm/anonymous_memory.hpp"
#include "support.hpp"

namespace runrig {
namespace {

// Memory that forked children share with the test.
template <class T>
class SharedWithChildren {
 public:
  SharedWithChildren()
      : address_(::mmap(nullptr, sizeof(T), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0)) {
    if (address_ == MAP_FAILED) check_errno(-1, "map", "test memory");
  }
  SharedWithChildren(const SharedWithChildren&) = delete;
  SharedWithChildren& operator=(const SharedWithChildren&) = delete;
  ~SharedWithChildren() { ::munmap(address_, sizeof(T)); }
  T* operator->() const { return static_cast<T*>(address_); }
  T& operator*() const { return *static_cast<T*>(address_); }

 private:
  void* address_;
};

// What one user of a heap has allocated, kept where it survives that user. A block is entered after it was
// allocated, and taken out before it is freed.
struct Holdings {
  struct Entry {
    BlockHandle block;
    std::atomic<bool> live;
    unsigned char pattern;
  };
  static constexpr std::size_t most = 64;
  std::array<Entry, most> entries;

  [[nodiscard]] std::size_t live() const {
    return static_cast<std::size_t>(
        std::count_if(entries.begin(), entries.end(), [](const auto& each) { return each.live.load(); }));
  }
  void verify(const Heap& heap) const {
    for (const auto& each : entries) {
      if (!each.live) continue;
      for (const std::byte byte : heap.bytes(each.block)) {
        if (byte != static_cast<std::byte>(each.pattern)) throw std::runtime_error("a block was overwritten");
      }
    }
  }
};

// One random allocation or free; throws if a block is not as it should be.
void random_step(Heap& heap, Holdings& mine, std::mt19937& random) {
  auto& entry = mine.entries[random() % Holdings::most];
  if (entry.live) {
    for (const std::byte byte : heap.bytes(entry.block)) {
      if (byte != static_cast<std::byte>(entry.pattern)) throw std::runtime_error("a block was overwritten");
    }
    entry.live = false;
    heap.free(entry.block);
    return;
  }
  const std::size_t alignment = random() % 8 == 0 ? std::size_t{64} << random() % 7 : 64;
  const auto block = heap.try_allocate(random() % (random() % 16 == 0 ? 2000 : 200), alignment);
  if (!block) return;
  const auto bytes = heap.bytes(*block);
  if (reinterpret_cast<std::uintptr_t>(bytes.data()) % alignment != 0) throw std::runtime_error("not aligned");
  if (std::any_of(bytes.begin(), bytes.end(), [](std::byte each) { return each != std::byte{0}; })) {
    throw std::runtime_error("a new block is not zero");
  }
  entry.block = *block;
  entry.pattern = static_cast<unsigned char>(random() % 255 + 1);
  std::fill(bytes.begin(), bytes.end(), static_cast<std::byte>(entry.pattern));
  entry.live = true;
}

TEST(HeapTest, BlocksAreZeroAlignedApartAndAllComeBack) {
  Heap heap = Heap::create(64 << 10);
  const auto empty = heap.check();
  EXPECT_EQ(empty.free_blocks, 1U);
  Holdings mine{};
  std::mt19937 random(1);
  for (int round = 0; round < 20'000; ++round) {
    random_step(heap, mine, random);
    if (round % 500 == 0) {
      ASSERT_EQ(heap.check().used_blocks, mine.live());
    }
  }
  mine.verify(heap);
  for (auto& each : mine.entries) {
    if (each.live) heap.free(each.block);
  }
  const auto after = heap.check();
  EXPECT_EQ(after.used_blocks, 0U);
  EXPECT_EQ(after.free_blocks, 1U) << "all neighbours were joined";
  EXPECT_EQ(after.free_bytes, empty.free_bytes);
  EXPECT_EQ(after.repairs, 0U);
}

TEST(HeapTest, HoldsABlockOfItsCapacityAndThenSaysThatItIsFull) {
  Heap heap = Heap::create(10'000);
  const BlockHandle block = heap.allocate(10'000, 4096);
  EXPECT_EQ(heap.bytes(block).size(), 10'000U);
  EXPECT_EQ(heap.try_allocate(10'000), std::nullopt);
  EXPECT_EQ(test::thrown_code([&] { (void)heap.allocate(10'000); }), std::errc::not_enough_memory);
  EXPECT_EQ(heap.try_allocate(~std::size_t{0}), std::nullopt);
  EXPECT_EQ(heap.try_allocate(~std::size_t{0} - 40), std::nullopt);
  EXPECT_THROW((void)heap.try_allocate(1, 8192), std::invalid_argument);
  EXPECT_THROW((void)heap.try_allocate(1, 48), std::invalid_argument);
  EXPECT_THROW((void)heap.try_allocate(1, 0), std::invalid_argument);
  heap.free(block);
  EXPECT_NO_THROW((void)heap.allocate(10'000));
  EXPECT_EQ(test::thrown_code([] { (void)Heap::create(~std::size_t{0} - 100); }), std::errc::not_enough_memory);
}

TEST(HeapTest, FreeingTwiceOrWhatIsNoBlockIsNoticed) {
  Heap heap = Heap::create(4096);
  const BlockHandle block = heap.allocate(100);
  heap.free(block);
  EXPECT_THROW(heap.free(block), std::logic_error);
  EXPECT_THROW((void)heap.bytes(block), std::logic_error);
  const BlockHandle next = heap.allocate(100);
  ASSERT_EQ(next.offset, block.offset) << "the place is used again";
  EXPECT_THROW(heap.free(block), std::logic_error) << "but not by this handle";
  EXPECT_THROW((void)heap.bytes(block), std::logic_error);
  for (const std::uint64_t offset : {std::uint64_t{0}, next.offset + 1, next.offset + 64, ~std::uint64_t{0}}) {
    BlockHandle wrong = next;
    wrong.offset = offset;
    EXPECT_THROW(heap.free(wrong), std::logic_error) << offset;
  }
  BlockHandle longer = next;
  longer.bytes = 1000;
  EXPECT_THROW((void)heap.bytes(longer), std::logic_error);
  EXPECT_THROW(Heap::create(4096).free(next), std::logic_error) << "of another heap";
  EXPECT_EQ(heap.check().used_blocks, 1U);
}

TEST(HeapTest, AForkedChildAndAnAttachedProcessWorkOnTheSameHeap) {
  Heap heap = Heap::create(4096);
  const BlockHandle block = heap.allocate(8);
  SharedWithChildren<BlockHandle> from_child;
  ASSERT_EQ(test::run_in_child([&] {
              heap.bytes(block)[0] = std::byte{42};
              *from_child = Heap::attach(heap.handle()).allocate(16);
            }),
            0);
  EXPECT_EQ(heap.bytes(block)[0], std::byte{42});
  EXPECT_EQ(heap.bytes(*from_child).size(), 16U);
  heap.free(*from_child);
  EXPECT_EQ(heap.check().used_blocks, 1U);
}

TEST(HeapTest, AProcessThatDidNotInheritItFindsItByItsHandle) {
  // The child exists before the heap does, and gets the handle only.
  SharedWithChildren<std::atomic<int>> stage;
  SharedWithChildren<BlockHandle> block;
  test::Child child([&] {
    ASSERT_TRUE(test::eventually([&] { return *stage == 1; }));
    Heap heap = Heap::attach(block->segment);
    EXPECT_EQ(heap.bytes(*block)[7], std::byte{7});
    heap.free(*block);
  });
  Heap heap = Heap::create(4096);
  *block = heap.allocate(8);
  heap.bytes(*block)[7] = std::byte{7};
  *stage = 1;
  EXPECT_EQ(child.join(), 0);
  EXPECT_EQ(heap.check().used_blocks, 0U);
}

TEST(HeapTest, ThreadsAllocateAndFreeSideBySide) {
  Heap heap = Heap::create(256 << 10);
  std::vector<Holdings> holdings(4);
  std::vector<std::thread> threads;
  std::atomic<int> failures{0};
  for (std::size_t i = 0; i < holdings.size(); ++i) {
    threads.emplace_back([&, i, mine = heap]() mutable {
      std::mt19937 random(static_cast<unsigned>(i));
      try {
        for (int round = 0; round < 3000; ++round) random_step(mine, holdings[i], random);
      } catch (const std::exception&) {
        ++failures;
      }
    });
  }
  for (auto& each : threads) each.join();
  EXPECT_EQ(failures, 0);
  std::size_t live = 0;
  for (const auto& each : holdings) live += each.live();
  EXPECT_EQ(heap.check().used_blocks, live);
}

TEST(HeapTest, WhatIsNoHeapIsRefused) {
  Heap heap = Heap::create(4096);
  const BlockHandle block = heap.allocate(8);
  auto* const start = heap.bytes(block).data() - block.offset;
  const auto refusal = [&] {
    // A copy, for what this process has mapped already is not looked at again.
    const auto memory = AnonymousMemory::attach(heap.handle());
    const auto copy = AnonymousMemory::create("copy", memory.size_bytes());
    std::copy(memory.bytes().begin(), memory.bytes().end(), copy.writable_bytes().begin());
    return test::thrown_text([&] { (void)Heap::attach(copy.handle()); });
  };
  EXPECT_EQ(refusal(), "");
  start[0] ^= std::byte{1};
  EXPECT_THAT(refusal(), ::testing::HasSubstr("it is no heap"));
  start[0] ^= std::byte{1};
  start[8] = std::byte{9};
  EXPECT_THAT(refusal(), ::testing::HasSubstr("its layout is number 9, ours 1"));
  start[8] = std::byte{1};
  start[17] ^= std::byte{1};
  EXPECT_THAT(refusal(), ::testing::HasSubstr("another length"));
  const auto tiny = AnonymousMemory::create("tiny", 64);
  EXPECT_EQ(test::thrown_code([&] { (void)Heap::attach(tiny.handle()); }), ErrorKind::format);
}

TEST(HeapTest, OverwrittenAnywhereBehindItsLockItGivesErrorsAndTouchesNothingOutside) {
  std::mt19937 random(3);
  constexpr std::size_t behind_the_lock = 80;
  int noticed = 0;
  for (int round = 0; round < 300; ++round) {
    Heap heap = Heap::create(4096);
    Holdings mine{};
    for (int i = 0; i < 50; ++i) random_step(heap, mine, random);
    const auto memory = AnonymousMemory::attach(heap.handle());
    const auto bytes = memory.writable_bytes();
    for (int hits = 0; hits < 20; ++hits) {
      const std::size_t at = behind_the_lock + random() % (round % 2 == 0 ? 500 : bytes.size() - behind_the_lock);
      bytes[at] = static_cast<std::byte>(random() % 3 == 0 ? 0 : random());
    }
    try {
      for (int i = 0; i < 200; ++i) random_step(heap, mine, random);
      (void)heap.check();
    } catch (const std::exception&) {
      ++noticed;
    }
  }
  EXPECT_GT(noticed, 100);
}

class HeapKillTest : public ::testing::Test {
 protected:
  void SetUp() override { RUNRIG_NEED_KILLPOINTS(); }
};

TEST_F(HeapKillTest, KilledAtAnyStepTheHeapIsWholeAndWhatWasHalfDoneIsUndoneOrCompleted) {
  const auto points = test::killpoints_of({"heap.allocate.", "heap.free."});
  ASSERT_GE(points.size(), 12U);
  for (const auto point : points) {
    for (const int nth : {1, 2, 17}) {
      Heap heap = Heap::create(16 << 10);
      SharedWithChildren<Holdings> mine;
      ASSERT_EQ(test::run_in_child([&] {
                  killpoint::arm(point, nth);
                  std::mt19937 random(static_cast<unsigned>(nth));
                  for (int i = 0; i < 50'000; ++i) random_step(heap, *mine, random);
                }),
                -SIGKILL)
          << point << " was not reached";
      const auto report = heap.check();
      EXPECT_EQ(report.repairs, 1U) << point;
      EXPECT_EQ(report.used_blocks, mine->live()) << point;
      mine->verify(heap);
      std::mt19937 random(99);
      for (int i = 0; i < 1000; ++i) random_step(heap, *mine, random);
      EXPECT_EQ(heap.check().used_blocks, mine->live()) << point;
    }
  }
}

TEST_F(HeapKillTest, ARepairerThatIsKilledIsFollowedByAnother) {
  const auto points = test::killpoints_of({"heap.repair."});
  ASSERT_GE(points.size(), 3U);
  for (const auto point : points) {
    Heap heap = Heap::create(16 << 10);
    const BlockHandle first = heap.allocate(100);
    const BlockHandle second = heap.allocate(100);
    const BlockHandle third = heap.allocate(100);
    heap.free(first);
    ASSERT_EQ(test::run_in_child([&] {
                killpoint::arm("heap.free.announced");
                heap.free(second);
              }),
              -SIGKILL);
    for (int again = 0; again < 2; ++again) {
      const int code = test::run_in_child([&] {
        killpoint::arm(point);
        (void)heap.check();
      });
      // The second time the truth may be whole already, so that there is nothing to free or merge any more.
      ASSERT_TRUE(code == -SIGKILL || (again == 1 && code == 0)) << point << ' ' << code;
    }
    const auto report = heap.check();
    EXPECT_EQ(report.used_blocks, 1U) << point;
    EXPECT_EQ(report.free_blocks, 2U) << point << ": the first two were joined";
    heap.free(third);
    EXPECT_EQ(heap.check().free_blocks, 1U);
  }
}

TEST(HeapStormTest, ProcessesKilledAtRandomLeaveAHeapThatTheOthersUseOn) {
#ifdef RUNRIG_NIGHTLY
  constexpr int kills = 3000;
#else
  constexpr int kills = 120;
#endif
  constexpr std::size_t contenders = 3;
  Heap heap = Heap::create(128 << 10);
  std::mt19937 random(2026);
  struct Slot {
    std::unique_ptr<SharedWithChildren<Holdings>> holdings = std::make_unique<SharedWithChildren<Holdings>>();
    std::unique_ptr<test::Child> child;
  };
  std::vector<Slot> slots(contenders);
  const auto start = [&](Slot& slot, unsigned seed) {
    slot.child = std::make_unique<test::Child>([&heap, &slot, seed] {
      std::mt19937 own(seed);
      for (;;)
        random_step(heap, **slot.holdings, own);  // throws, so that the child ends with 1, if a block is not right
    });
  };
  for (unsigned i = 0; i < contenders; ++i) start(slots[i], i);
  int killed = 0;
  for (; killed < kills; ++killed) {
    std::this_thread::sleep_for(std::chrono::microseconds(random() % 4000));
    Slot& slot = slots[random() % contenders];
    slot.child->signal(SIGKILL);
    ASSERT_EQ(slot.child->join(), -SIGKILL) << "it had ended by itself: a block was not right";
    start(slot, static_cast<unsigned>(random()));  // goes on with what the dead one held
  }
  for (auto& slot : slots) {
    slot.child->signal(SIGKILL);
    ASSERT_EQ(slot.child->join(), -SIGKILL);
  }
  std::size_t live = 0;
  for (auto& slot : slots) {
    (*slot.holdings)->verify(heap);
    live += (*slot.holdings)->live();
  }
  const auto report = heap.check();
  // A kill between an allocation and its entry in the list, or between the crossing out and the free, loses that block.
  EXPECT_GE(report.used_blocks, live);
  EXPECT_LE(report.used_blocks, live + static_cast<std::size_t>(killed) + contenders);
  EXPECT_GT(report.repairs, 0U) << "no kill hit a held lock: nothing was tested";
}

TEST(SharedBlockTest, TheLastCopyInTheMakerFreesItAndCopiesElsewhereDoNot) {
  auto block = SharedBlock::allocate(100);
  EXPECT_TRUE(block.owned());
  const BlockHandle handle = block.handle();
  const Heap heap = Heap::attach(handle.segment);
  const auto before = heap.check().used_blocks;
  EXPECT_EQ(test::run_in_child([&] {
              EXPECT_FALSE(block.owned());
              block = SharedBlock();
              EXPECT_FALSE(SharedBlock::attach(handle).owned());
            }),
            0);
  EXPECT_EQ(heap.check().used_blocks, before);
  auto copy = block;
  block = SharedBlock();
  EXPECT_EQ(heap.check().used_blocks, before);
  copy = SharedBlock();
  EXPECT_EQ(heap.check().used_blocks, before - 1);
  EXPECT_THROW((void)SharedBlock::attach(handle), std::logic_error);
}

TEST(SharedBlockTest, AReleasedBlockIsFreedByNobody) {
  BlockHandle handle;
  const auto anchor = SharedBlock::allocate(1);  // keeps the heap
  {
    auto block = SharedBlock::allocate(100);
    handle = block.handle();
    block.release();
  }
  EXPECT_NO_THROW((void)SharedBlock::attach(handle));
}

TEST(SharedBlockTest, SmallOnesShareAHeapAndLargeOnesHaveTheirOwn) {
  const auto first = SharedBlock::allocate(100);
  const auto second = SharedBlock::allocate(100);
  EXPECT_EQ(first.handle().segment.id, second.handle().segment.id);
  BlockHandle gone;
  {
    const auto large = SharedBlock::allocate(1 << 20, 4096);
    EXPECT_EQ(large.bytes().size(), std::size_t{1} << 20);
    EXPECT_EQ(reinterpret_cast<std::uintptr_t>(large.bytes().data()) % 4096, 0U);
    gone = large.handle();
    EXPECT_NE(gone.segment.id, first.handle().segment.id);
  }
  EXPECT_NE(test::thrown_code([&] { (void)SharedBlock::attach(gone); }), std::error_code()) << "its memory is gone";
}

TEST(SharedBlockTest, MoreThanOneHeapCanHoldIsNoLimit) {
  std::vector<SharedBlock> blocks;
  std::map<SegmentId, int> heaps;
  for (int i = 0; i < 400; ++i) {
    blocks.push_back(SharedBlock::allocate(10'000));
    ++heaps[blocks.back().handle().segment.id];
  }
  EXPECT_GE(heaps.size(), 3U);
}

TEST(SharedBlockTest, AChildAllocatesFromHeapsOfItsOwn) {
  const auto parents = SharedBlock::allocate(8);
  const SegmentId id = parents.handle().segment.id;
  EXPECT_EQ(test::run_in_child([&] {
              const auto own = SharedBlock::allocate(8);
              EXPECT_TRUE(own.owned());
              EXPECT_NE(own.handle().segment.id, id) << "or a killed child's blocks would stay in its parent";
            }),
            0);
}

}  // namespace
}  // namespace runrig
