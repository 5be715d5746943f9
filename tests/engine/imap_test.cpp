// Lazy maps: Python's imap and imap_unordered as documented, and their bounds.

#include "runrig/engine/imap.hpp"

#include <chrono>
#include <memory>
#include <numeric>
#include <ranges>
#include <set>
#include <sstream>
#include <stdexcept>
#include <string>
#include <thread>

#include "pool_test_support.hpp"
#include "runrig/engine/pool.hpp"

namespace runrig {
namespace {

using namespace std::chrono_literals;
using test::ArenaArray;

class ImapTest : public ::testing::Test {
 protected:
  void SetUp() override { RUNRIG_NEED_FORKS(); }
};

using test::square;

TEST_F(ImapTest, Imap_YieldsTheResultsInTheOrderOfTheInput) {
  Pool pool(3);
  for (const std::size_t chunk : {1U, 4U, 1000U}) {
    auto results = pool.imap(
        [](int item) {
          if (item % 7 == 0) std::this_thread::sleep_for(1ms);
          return item * item;
        },
        std::views::iota(0, 200), {.chunk_size = chunk});
    for (int i = 0; i < 200; ++i) ASSERT_EQ(results.next(10s), i * i) << chunk;
    EXPECT_EQ(results.next(), std::nullopt);
    EXPECT_EQ(results.next(), std::nullopt);
  }
}

TEST_F(ImapTest, Imap_ServesAsARange) {
  Pool pool(2);
  int expected = 0;
  for (const int each : pool.imap(square, std::vector<int>{0, 1, 2, 3, 4})) {
    EXPECT_EQ(each, expected * expected);
    ++expected;
  }
  EXPECT_EQ(expected, 5);
  for (const int each : pool.imap(square, std::vector<int>{})) ADD_FAILURE() << each;
}

TEST_F(ImapTest, Next_ThrowsTimeoutErrorIfTheResultCannotBeReturnedInTime) {
  Pool pool(1);
  const ArenaArray<std::atomic<int>> open(pool.arena(), 1);
  auto* const flag = open.data();
  auto results = pool.imap(
      [flag](int item) {
        while (flag->load() == 0) std::this_thread::sleep_for(1ms);
        return item;
      },
      std::vector<int>{5});
  EXPECT_THROW((void)results.next(30ms), TimeoutError);
  open[0] = 1;
  EXPECT_EQ(results.next(10s), 5);
}

TEST_F(ImapTest, Imap_ResultsComeWhileLaterOnesAreStillComputed) {
  Pool pool(2);
  const ArenaArray<std::atomic<int>> open(pool.arena(), 1);
  auto* const flag = open.data();
  auto results = pool.imap(
      [flag](int item) {
        while (item == 1 && flag->load() == 0) std::this_thread::sleep_for(1ms);
        return item;
      },
      std::vector<int>{0, 1, 2, 3});
  EXPECT_EQ(results.next(10s), 0);
  EXPECT_THROW((void)results.next(50ms), TimeoutError) << "in order: 2 and 3 have to wait for 1";
  open[0] = 1;
  EXPECT_EQ(results.next(10s), 1);
  EXPECT_EQ(results.next(10s), 2);
}

TEST_F(ImapTest, ImapUnordered_YieldsEachResultAsItComes) {
  Pool pool(2);
  const ArenaArray<std::atomic<int>> open(pool.arena(), 1);
  auto* const flag = open.data();
  auto results = pool.imap_unordered(
      [flag](int item) {
        while (item == 0 && flag->load() == 0) std::this_thread::sleep_for(1ms);
        return item;
      },
      std::vector<int>{0, 1, 2, 3});
  std::set<int> early;
  for (int i = 0; i < 3; ++i) early.insert(results.next(10s).value());
  EXPECT_EQ(early, (std::set<int>{1, 2, 3}));
  open[0] = 1;
  EXPECT_EQ(results.next(10s), 0);
  EXPECT_EQ(results.next(10s), std::nullopt);
}

TEST_F(ImapTest, ImapUnordered_OfOneWorkerKeepsTheOrder) {
  Pool pool(1);
  auto results = pool.imap_unordered(square, std::views::iota(0, 3000), {.window = 200});
  for (int i = 0; i < 3000; ++i) ASSERT_EQ(results.next(10s), i * i);
  EXPECT_EQ(results.next(), std::nullopt);
}

TEST_F(ImapTest, EndlessInputIsConsumedLazilyWithinTheWindow) {
  Pool pool(2);
  int produced = 0;
  auto endless = std::views::iota(0) | std::views::transform([&produced](int item) {
                   ++produced;
                   return item;
                 });
  auto results = pool.imap(square, endless, {.chunk_size = 3, .window = 10});
  EXPECT_EQ(produced, 30) << "ten chunks are under way";
  for (int i = 0; i < 3000; ++i) {
    ASSERT_EQ(results.next(10s), i * i);
    ASSERT_LE(produced, i + 1 + 33);
  }
}

TEST_F(ImapTest, InputIsNotAskedForMoreThanIsWanted) {
  Pool pool(2);
  int produced = 0;
  auto input = std::views::iota(0) | std::views::transform([&produced](int item) {
                 ++produced;
                 return item;
               }) |
               std::views::take(5);
  auto results = pool.imap(square, input, {.window = 2});
  EXPECT_EQ(produced, 2);
  for (int i = 0; i < 5; ++i) ASSERT_EQ(results.next(10s), i * i);
  EXPECT_EQ(results.next(), std::nullopt);
  EXPECT_EQ(produced, 5);
}

TEST_F(ImapTest, CallThatThrowsDoesSoInItsPlaceAndTheRestFollows) {
  Pool pool(2);
  const auto body = [](int item) {
    if (item == 3) throw std::domain_error("three");
    return item;
  };
  auto results = pool.imap(body, std::views::iota(0, 6));
  for (int i = 0; i < 3; ++i) EXPECT_EQ(results.next(10s), i);
  EXPECT_THROW((void)results.next(10s), std::domain_error);
  for (int i = 4; i < 6; ++i) EXPECT_EQ(results.next(10s), i);
  EXPECT_EQ(results.next(), std::nullopt);
  auto chunks = pool.imap(body, std::views::iota(0, 6), {.chunk_size = 2});
  EXPECT_EQ(chunks.next(10s), 0);
  EXPECT_EQ(chunks.next(10s), 1);
  EXPECT_THROW((void)chunks.next(10s), std::domain_error) << "a chunk fails as a whole";
  EXPECT_EQ(chunks.next(10s), 4);
}

TEST_F(ImapTest, KilledWorkerIsReportedInItsPlaceAndTheRestFollows) {
  Pool pool(2);
  auto results = pool.imap(
      [](int item) {
        if (item == 3) ::raise(SIGKILL);
        return item;
      },
      std::views::iota(0, 30));
  for (int i = 0; i < 30; ++i) {
    if (i == 3) {
      EXPECT_THROW((void)results.next(10s), WorkerLost);
    } else {
      EXPECT_EQ(results.next(10s), i);
    }
  }
}

TEST_F(ImapTest, InputThatThrowsDoesSoBehindWhatItGave) {
  Pool pool(2);
  auto input = std::views::iota(0) | std::views::transform([](int item) {
                 if (item == 5) throw std::runtime_error("the input broke");
                 return item;
               });
  auto results = pool.imap(square, input, {.chunk_size = 2});
  for (int i = 0; i < 5; ++i) ASSERT_EQ(results.next(10s), i * i);
  const std::string text = test::thrown_text([&] { (void)results.next(10s); });
  EXPECT_EQ(text, "the input broke");
  EXPECT_EQ(results.next(10s), std::nullopt);
}

TEST_F(ImapTest, MoveOnlyInputAndVoidResultsWork) {
  Pool pool(2);
  const ArenaArray<std::atomic<int>> sum(pool.arena(), 1);
  auto* const total = sum.data();
  std::istringstream text("1 2 3 4");
  auto results = pool.imap([total](int item) { total->fetch_add(item); }, std::views::istream<int>(text));
  int count = 0;
  while (results.next(10s)) ++count;
  EXPECT_EQ(count, 4);
  EXPECT_EQ(sum[0].load(), 10);
}

TEST_F(ImapTest, DroppedIteratorLetsThePoolGoOn) {
  Pool pool(2);
  {
    auto results = pool.imap(square, std::views::iota(0));
    EXPECT_EQ(results.next(10s), 0);
  }
  EXPECT_EQ(pool.apply(square, 5), 25);
  pool.close();
  pool.join();
}

TEST_F(ImapTest, Close_LetsALazyMapGoOnUntilJoin) {
  Pool pool(2);
  auto results = pool.imap(square, std::views::iota(0, 500));
  pool.close();
  for (int i = 0; i < 400; ++i) ASSERT_EQ(results.next(10s), i * i);
  EXPECT_THROW((void)pool.imap(square, std::views::iota(0, 5)), std::logic_error);
  pool.join();
  const auto drain = [&] {
    while (results.next(10s)) {
    }
  };
  EXPECT_THROW(drain(), WorkerLost) << "what is left of the input finds no workers any more";
}

}  // namespace
}  // namespace runrig
