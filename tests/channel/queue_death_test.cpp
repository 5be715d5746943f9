#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "../sync/killing.hpp"
#include "queue_notes.hpp"
#include "runrig/channel/queue.hpp"

namespace runrig {
namespace {

using namespace std::chrono_literals;
using test::Ledger;
using test::Note;
using test::note;

/// A queue, some notes in it, processes that die at it, and this process, which goes on.
class QueueDeathTest : public ::testing::Test {
 protected:
  static constexpr int before = 20;
  static constexpr int after = 20;
  static constexpr auto soon = 10s;  // generous: that nobody hangs is what counts

  QueueDeathTest() {
    for (int i = 0; i < before; ++i) queue_.put(note(0, i));
  }

  /// Puts and gets by turns, so that a backlog wanders through several chunks. `who` is 1 or 2.
  std::function<void()> busy(int who) {
    return [this, who] {
      Ledger& ledger = ledgers_[who];
      for (int i = 0; i < 200; ++i) {
        ledger.put(queue_, note(who, i));
        ledger.get(queue_);
      }
    };
  }
  /// Kills a process that does `role` at `point`, where it does so without fail.
  void die_at(std::string_view point, const std::function<void()>& role) {
    test::Victim first(point, role);
    ASSERT_TRUE(first.was_killed()) << point;
  }

  /// The living go on, and every note is where it must be.
  void check() {
    for (int i = before; i < before + after; ++i) ASSERT_TRUE(queue_.try_put_for(note(0, i), soon));
    const auto lost = queue_.lost();
    std::map<int, std::vector<int>> all;  // by producer, in the order in which they left the queue
    for (int who = 1; who < 3; ++who) ledgers_[who].read(all);
    for (;;) {
      const auto next = queue_.try_get_for(soon);
      ASSERT_TRUE(next);
      ASSERT_EQ(*next, note(next->producer, next->number));  // as a whole
      all[next->producer].push_back(next->number);
      if (next->producer == 0 && next->number == before + after - 1) break;
    }
    EXPECT_TRUE(queue_.empty());
    std::uint64_t missing = 0;
    for (int who = 0; who < 3; ++who) {
      const auto& numbers = all[who];
      EXPECT_TRUE(std::is_sorted(numbers.begin(), numbers.end()));
      EXPECT_EQ(std::adjacent_find(numbers.begin(), numbers.end()), numbers.end());
      const std::set<int> there(numbers.begin(), numbers.end());
      const int done = who == 0 ? before + after : ledgers_[who].done();
      for (int i = 0; i < done; ++i) missing += there.contains(i) ? 0U : 1U;
      if (!numbers.empty()) {
        EXPECT_LE(numbers.back(), who == 0 ? done : ledgers_[who].begun() - 1);
      }
    }
    EXPECT_EQ(missing, lost);
    EXPECT_LE(lost, 1U);
  }

  const Queue<Note> queue_;
  const Queue<int> signal_;
  const test::SharedObject<Ledger[3]> shared_;
  Ledger* const ledgers_ = *shared_;
};

class QueueKillTest : public QueueDeathTest, public ::testing::WithParamInterface<std::string_view> {
 public:
  /// `repairer` dies while it makes good what another has left.
  void repair_of(std::string_view first_point, std::string_view point, const std::function<void()>& repairer) {
    die_at(first_point, busy(1));
    die_at(point, repairer);
  }
  /// Kills at the point in question, and sees to it that somebody comes by there.
  void kill() {
    const auto point = GetParam();
    if (point == "queue.put.repairing") return repair_of("queue.put.written", point, busy(2));
    if (point == "queue.get.repairing") return repair_of("queue.get.in_hand", point, busy(2));
    if (point == "queue.block.rebuilding") return repair_of("queue.block.taken", point, busy(2));
    if (point == "queue.sweep.freed") return repair_of("queue.put.encoded", point, [this] { (void)queue_.lost(); });
    if (point.starts_with("queue.sweep.")) return repair_of("queue.get.read", point, [this] { (void)queue_.lost(); });
    if (point == "queue.block.punched") return die_at(point, [this] { much_memory(); });
    if (point == "queue.done.counted") return die_at(point, [] { finish_a_task(); });
    if (point == "queue.block.made") return die_at(point, [this] { fill(); });
    if (point == "queue.waiting" || point == "queue.woken") return die_at(point, [this] { wait_in_vain(); });
    die_at(point, busy(1));
  }

 private:
  // More than the queue keeps when it is free.
  static void much_memory() {
    const Queue<std::vector<std::byte>> large;
    const std::vector<std::byte> message(60'000'000);
    for (int i = 0; i < 5; ++i) large.put(message);
    for (int i = 0; i < 5; ++i) (void)large.get();
  }
  static void finish_a_task() {
    const JoinableQueue<int> tasks;
    tasks.put(1);
    tasks.task_done();
  }
  void fill() {
    for (int i = 0; i < 1000; ++i) ledgers_[1].put(queue_, note(1, i));
  }
  void wait_in_vain() { (void)signal_.try_get_for(20ms); }
};

TEST_P(QueueKillTest, OthersGoOnAndAtMostTheMessageInHandIsLostAndCounted) {
  ASSERT_NO_FATAL_FAILURE(kill());
  check();
}

std::vector<std::string_view> all_points() {
  const auto found = test::killpoints_of({"queue."});
  return {found.begin(), found.end()};
}
GTEST_ALLOW_UNINSTANTIATED_PARAMETERIZED_TEST(QueueKillTest);
INSTANTIATE_TEST_SUITE_P(Points, QueueKillTest, ::testing::ValuesIn(all_points()), [](const auto& each) {
  std::string name(each.param);
  std::replace(name.begin(), name.end(), '.', '_');
  return name;
});

class QueueLossTest : public QueueDeathTest {};

TEST_F(QueueLossTest, OfEachMessageThatLeftTheQueueWithItsConsumer) {
  RUNRIG_NEED_KILLPOINTS();
  for (int i = 0; i < 5; ++i) die_at("queue.get.read", [this] { (void)queue_.get(); });
  EXPECT_EQ(queue_.lost(), 5U);
  EXPECT_EQ(queue_.lost(), 5U);
  EXPECT_EQ(queue_.get(), note(0, 5));
}

TEST_F(QueueLossTest, NoneWhereTheMessageIsStillInTheQueue) {
  RUNRIG_NEED_KILLPOINTS();
  for (int i = 0; i < 5; ++i) die_at("queue.get.in_hand", [this] { (void)queue_.get(); });
  EXPECT_EQ(queue_.lost(), 0U);
  EXPECT_EQ(queue_.get(), note(0, 0));
}

TEST_F(QueueLossTest, IsDoneForWhoeverJoins) {
  RUNRIG_NEED_KILLPOINTS();
  const JoinableQueue<int> tasks;
  tasks.put(1);
  die_at("queue.get.read", [&] { (void)tasks.get(); });
  EXPECT_TRUE(tasks.join(10s));
  EXPECT_EQ(tasks.lost(), 1U);
}

// Pitfalls C1 and C2, for queues.
TEST_F(QueueDeathTest, AKilledSleeperTakesNoWakeUpAway) {
  const Queue<int> empty;
  for (int turn = 0; turn < 5; ++turn) {
    test::Child sleeper([&] { (void)empty.get(); });
    ::usleep(10'000);
    test::Child survivor([&] { EXPECT_EQ(empty.try_get_for(soon), turn); });
    ::usleep(10'000);
    sleeper.signal(SIGKILL);
    empty.put(turn);
    EXPECT_EQ(survivor.join(), 0);
  }
}

// Pitfall Q3.
TEST_F(QueueDeathTest, AProducerKilledInTheMidstOfALongMessageLeavesNoneOfIt) {
  RUNRIG_NEED_KILLPOINTS();
  const Queue<std::string> texts;
  for (const auto point : {"queue.put.reserved", "queue.put.encoded", "queue.put.written", "queue.put.announced"}) {
    die_at(point, [&] { texts.put(std::string(1'000'000, 'x')); });
    EXPECT_FALSE(texts.try_get()) << point;
    texts.put("after");
    EXPECT_EQ(texts.get(), "after");
  }
}

}  // namespace
}  // namespace runrig
