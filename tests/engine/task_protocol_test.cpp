// The protocol of tasks, by threads: workers may "die" with a task in their hands.

#include <atomic>
#include <cstring>
#include <deque>
#include <memory>
#include <mutex>
#include <random>
#include <thread>
#include <vector>

#include "pool/task_table.hpp"
#include "protocol_machine.hpp"
#include "support.hpp"

namespace runrig::detail {
namespace {

constexpr int task_workers = 3;
constexpr std::size_t large_bytes = 3000;  // does not fit into a slot

// What a task with that number answers.
std::vector<std::byte> answer_of(std::uint64_t number) {
  std::vector<std::byte> bytes(number % 3 == 0 ? large_bytes : sizeof number, static_cast<std::byte>(number));
  std::memcpy(bytes.data(), &number, sizeof number);
  return bytes;
}

class TaskMachine final : public test::ProtocolMachine {
 public:
  explicit TaskMachine(unsigned seed) : ProtocolMachine(task_workers, seed) {
    for (std::uint32_t number = 0; number < task_slots; ++number) free_.push_back(number);
    begin();
  }
  ~TaskMachine() { end(); }

  // Sends tasks and takes answers until `count` have ended.
  void run(std::uint64_t count) {
    std::uint64_t sent = 0;
    std::uint64_t ended = 0;
    while (ended < count) {
      const std::uint32_t seen = view().control->progress.load(std::memory_order_acquire);
      while (sent < count && !free_.empty() && free_.size() > task_slots - 200) send(sent++);
      const std::uint64_t taken = drain();
      ended += taken;
      // Woken for each: who sleeps and whom it wakes is not looked at here, only that nothing is lost.
      view().tasks.control->wake_at.store(view().tasks.control->finished.load());
      view().tasks.control->parent_sleeps.store(1);
      if (taken == 0) (void)futex_wait(view().control->progress, seen, Deadline::after(std::chrono::milliseconds(1)));
    }
  }
  [[nodiscard]] std::uint64_t lost() const { return lost_; }

 private:
  void send(std::uint64_t number) {
    const std::uint32_t index = free_.front();
    free_.pop_front();
    TaskSlot& slot = view().tasks.slots[index];
    const auto former = SliceWord::unpack(slot.word.load(std::memory_order_relaxed));
    std::memcpy(slot.call.data(), &number, sizeof number);
    slot.call_bytes = slot.call.data();
    slot.argument_bytes = sizeof number;
    slot.closure_bytes = 0;
    slot.retries = 2;
    TaskQueue& fresh = view().tasks.control->fresh;
    slot.place.store(fresh.tail(), std::memory_order_relaxed);
    slot.word.store(SliceWord{former.epoch + 1, SliceState::pending, 0, 0}.pack(), std::memory_order_release);
    expected_[index] = number;
    in_use_[index] = former.epoch + 1;
    ASSERT_TRUE(fresh.push({former.epoch + 1, index}));
    ring_one(view());
  }

  std::uint64_t drain() {
    std::uint64_t taken = 0;
    for (std::size_t worker = 0; worker < task_workers; ++worker) {
      TaskLine& line = view().tasks.lines[worker];
      const std::uint32_t tail = line.finished_tail.load(std::memory_order_acquire);
      for (; heads_[worker] != tail; ++heads_[worker]) {
        const auto entry = EpochWord::unpack(line.finished[heads_[worker] % TaskLine::finished_capacity].load());
        if (in_use_[entry.number] == entry.epoch) taken += take(entry.number);
      }
    }
    return taken;
  }

  std::uint64_t take(std::uint32_t index) {
    const TaskSlot& slot = view().tasks.slots[index];
    const SliceWord word = SliceWord::unpack(slot.word.load(std::memory_order_acquire));
    EXPECT_TRUE(is_final(word.state));
    if (slot.answer_kind == AnswerKind::death) {
      EXPECT_EQ(word.attempts, 3);
      ++lost_;
    } else {
      const auto right = answer_of(expected_[index]);
      EXPECT_EQ(slot.answer_bytes, right.size());
      const bool outside = slot.answer_bytes > inline_result_bytes;
      const std::byte* const bytes =
          outside ? view().tasks.region(slot.answer_worker) + slot.answer_place % view().tasks.region_bytes
                  : slot.answer.data();
      EXPECT_EQ(std::memcmp(bytes, right.data(), right.size()), 0) << expected_[index];
      if (outside) {
        TaskLine& line = view().tasks.lines[slot.answer_worker];
        line.region_head.store(slot.answer_place + (slot.answer_bytes + cache_line - 1) / cache_line * cache_line,
                               std::memory_order_release);
      }
    }
    in_use_[index] = 0;
    free_.push_back(index);
    return 1;
  }

  void work(int index, pid_t pid, std::mt19937& random) override {
    for (;;) {
      const std::uint32_t seen = view().control->bell.load(std::memory_order_acquire);
      if (stopping()) return;
      // Dies with a number that it took, but did not claim.
      if (random() % 200 == 0 && view().tasks.control->fresh.pop()) return;
      while (const auto claimed = claim_task(view(), view().tasks.lines[index], pid)) {
        if (random() % 100 == 0) return;  // before its work
        TaskSlot& slot = view().tasks.slots[claimed->slot];
        std::uint64_t number = 0;
        std::memcpy(&number, slot.call_bytes, sizeof number);
        if (!place_answer(view(), index, slot, AnswerKind::value, answer_of(number))) return;
        if (random() % 100 == 0) return;  // with an answer that nobody was told of
        finish_task(view(), index, *claimed, SliceState::done, pid);
        if (random() % 200 == 0) return;
      }
      sleep_until_rung(view(), index, seen);
    }
  }

  void settle(int index, pid_t pid) override {
    if (const auto orphan = settle_dead_task(view(), index, pid)) {
      if (orphan->attempts <= view().tasks.slots[orphan->slot].retries) {
        make_task_pending(view(), *orphan);
        view().tasks.lines[index].intent.store(0);
      } else {
        make_task_lost(view(), index, *orphan, pid, {}, "was killed");
      }
    }
    (void)finder_.offer_again(view());
    if (tasks_waiting(*view().tasks.control)) ring(*view().control);
    report_progress(*view().control);
  }

  std::uint64_t lost_ = 0;
  LostTaskFinder finder_;
  std::deque<std::uint32_t> free_;
  std::array<std::uint32_t, task_workers> heads_{};
  std::array<std::uint64_t, task_slots> expected_{};
  std::array<std::uint32_t, task_slots> in_use_{};  // the generation; 0: free
};

TEST(TaskProtocol, EveryTaskIsAnsweredOrLostOnceWhateverDies) {
  const unsigned seed = std::random_device{}();
  SCOPED_TRACE("seed " + std::to_string(seed));
  TaskMachine machine(seed);
  machine.run(20'000);
  EXPECT_GT(machine.deaths(), 50);
  RecordProperty("lost", static_cast<int>(machine.lost()));
}

TEST(TaskProtocol, QueueIsFirstInFirstOutAndRefusesWhatDoesNotFit) {
  const ControlMemory memory(1);
  TaskQueue& queue = memory.view().tasks.control->fresh;
  for (std::uint32_t round = 0; round < 3; ++round) {
    for (std::uint32_t i = 0; i < TaskQueue::capacity; ++i) ASSERT_TRUE(queue.push({round, i}));
    EXPECT_TRUE(queue.full());
    EXPECT_FALSE(queue.push({round, 0}));
    for (std::uint32_t i = 0; i < TaskQueue::capacity; ++i) ASSERT_EQ(queue.pop()->number, i);
    EXPECT_FALSE(queue.pop());
  }
}

TEST(TaskProtocol, SleeperCannotClaimASlotThatIsAnotherTasksByNow) {
  std::atomic<std::uint64_t> word{SliceWord{8, SliceState::pending, 0, 0}.pack()};
  EXPECT_EQ(try_claim(word, 7, 77), -1);
  EXPECT_EQ(try_claim(word, 9, 77), 0) << "not yet";
  EXPECT_EQ(try_claim(word, 8, 77), 1);
  EXPECT_EQ(try_claim(word, 8, 78), 0) << "another was faster";
  const SliceWord mine = SliceWord::unpack(word.load());
  EXPECT_EQ(mine.pid, 77);
  EXPECT_EQ(mine.state, SliceState::running);
}

TEST(TaskProtocol, AnswerOfADeadWorkerThatWasNotNotedIsNotedOnceInEffect) {
  const ControlMemory memory(1);
  const ControlView& view = memory.view();
  TaskSlot& slot = view.tasks.slots[5];
  slot.word.store(SliceWord{1, SliceState::pending, 0, 0}.pack());
  ASSERT_TRUE(view.tasks.control->fresh.push({1, 5}));
  const auto claimed = claim_task(view, view.tasks.lines[0], 77);
  ASSERT_TRUE(claimed);
  const std::vector<std::byte> answer(large_bytes, std::byte{3});
  ASSERT_TRUE(place_answer(view, 0, slot, AnswerKind::value, answer));
  // Killed between the final word and the rest.
  slot.word.store(SliceWord{1, SliceState::done, 1, 77}.pack());
  EXPECT_FALSE(settle_dead_task(view, 0, 77));
  EXPECT_EQ(view.tasks.lines[0].finished_tail.load(), 1U);
  EXPECT_GE(view.tasks.lines[0].region_tail.load(), large_bytes) << "a successor must not write over the answer";
  EXPECT_FALSE(settle_dead_task(view, 0, 77));
  EXPECT_EQ(view.tasks.lines[0].finished_tail.load(), 1U);
}

TEST(TaskProtocol, NumberTakenByADeadWorkerIsOfferedAgainOnce) {
  const ControlMemory memory(1);
  const ControlView& view = memory.view();
  view.tasks.slots[5].word.store(SliceWord{1, SliceState::pending, 0, 0}.pack());
  view.tasks.slots[5].place.store(0);
  ASSERT_TRUE(view.tasks.control->fresh.push({1, 5}));
  LostTaskFinder finder;
  EXPECT_FALSE(finder.offer_again(view)) << "it is still to be taken";
  ASSERT_TRUE(view.tasks.control->fresh.pop());
  EXPECT_TRUE(finder.offer_again(view));
  EXPECT_FALSE(finder.offer_again(view)) << "it is on offer already";
  const auto claimed = claim_task(view, view.tasks.lines[0], 77);
  ASSERT_TRUE(claimed);
  EXPECT_EQ(claimed->slot, 5U);
  EXPECT_FALSE(finder.offer_again(view));
}

}  // namespace
}  // namespace runrig::detail
