// The protocol of launches, by threads: workers may "die" with a slice in their hands.

#include <atomic>
#include <memory>
#include <random>
#include <thread>
#include <vector>

#include "pool/control.hpp"
#include "pool/pool_state.hpp"
#include "protocol_machine.hpp"
#include "support.hpp"

namespace runrig::detail {
namespace {

constexpr int launch_workers = 4;
constexpr std::uint32_t slice_count = 200;

// Plain memory: only the protocol's own order keeps its uses apart.
std::uint64_t results[slice_count];

void unused_body(const std::byte* /*closure*/, SliceContext& /*context*/) {}

class LaunchMachine final : public test::ProtocolMachine {
 public:
  explicit LaunchMachine(unsigned seed) : ProtocolMachine(launch_workers, seed) { begin(); }
  ~LaunchMachine() { end(); }

  void launch(std::uint32_t epoch, std::uint64_t value) {
    Control& control = *view().control;
    LaunchRecord record;
    record.code = reinterpret_cast<std::uintptr_t>(&unused_body);
    record.epoch = epoch;
    record.slices = slice_count;
    record.closure_bytes = sizeof value;
    control.launch.publish(record, &value);
    control.next.store(EpochWord{epoch, 0}.pack(), std::memory_order_release);
    ring(control);
    for (;;) {
      const std::uint32_t seen = control.progress.load(std::memory_order_acquire);
      if (count_finished(view(), epoch) == slice_count) return;
      (void)futex_wait(control.progress, seen, Deadline());
    }
  }
  [[nodiscard]] SliceWord word(std::uint32_t index) const { return SliceWord::unpack(view().table[index].load()); }

 private:
  void work(int index, pid_t /*pid*/, std::mt19937& random) override {
    Control& control = *view().control;
    WorkerSlot& slot = view().slots[index];
    auto local = std::make_unique<LocalLaunch>();
    for (;;) {
      const std::uint32_t seen = control.bell.load(std::memory_order_acquire);
      if (stopping()) return;
      (void)control.launch.copy_newer(local->record.epoch, *local);
      const LaunchRecord& record = local->record;
      if (record.epoch != 0) {
        while (const auto claimed = claim(view(), slot, record.epoch, record.slices)) {
          if (random() % 64 == 0) return;  // dies before its work
          results[claimed->index] = local->closure[0] + claimed->index;
          if (random() % 64 == 0) return;  // and after it
          finish(view(), slot, record.epoch, *claimed, SliceState::done, 0);
          if (random() % 256 == 0) return;  // before it tells anybody
        }
        announce_if_complete(view(), record.epoch, record.slices);
      }
      (void)futex_wait(control.bell, seen, Deadline());
    }
  }

  void settle(int index, pid_t pid) override {
    const auto record = view().control->launch.record();
    if (!record) return;
    if (const auto orphan = settle_dead_worker(view(), view().slots[index], pid, record->epoch)) {
      if (orphan->attempts < 3) {
        make_pending(view(), record->epoch, *orphan, orphan->attempts);
      } else {
        make_final(view(), record->epoch, *orphan, pid, SliceState::lost, 0);
      }
    }
    if (rewind_to_pending(view(), record->epoch, record->slices)) ring(*view().control);
    announce_if_complete(view(), record->epoch, record->slices);
  }
};

TEST(LaunchProtocol, EverySliceIsDoneOrLostWhateverDies) {
  const unsigned seed = std::random_device{}();
  SCOPED_TRACE("seed " + std::to_string(seed));
  LaunchMachine machine(seed);
  int lost = 0;
  for (std::uint32_t epoch = 1; epoch <= 60; ++epoch) {
    const std::uint64_t value = std::uint64_t{epoch} * 1'000'000;
    machine.launch(epoch, value);
    for (std::uint32_t index = 0; index < slice_count; ++index) {
      const SliceWord word = machine.word(index);
      ASSERT_EQ(word.epoch, epoch);
      if (word.state == SliceState::lost) {
        ASSERT_EQ(word.attempts, 3);
        ++lost;
      } else {
        ASSERT_EQ(word.state, SliceState::done);
        ASSERT_EQ(results[index], value + index);
      }
    }
  }
  EXPECT_GT(machine.deaths(), 50);
  RecordProperty("lost", lost);
}

TEST(LaunchProtocol, WordsKeepTheirParts) {
  const SliceWord word{0xFFFF'FFFE, SliceState::cancelled, most_kills, (1 << 22) - 1};
  const SliceWord again = SliceWord::unpack(word.pack());
  EXPECT_EQ(again.epoch, word.epoch);
  EXPECT_EQ(again.state, word.state);
  EXPECT_EQ(again.attempts, word.attempts);
  EXPECT_EQ(again.pid, word.pid);
}

TEST(LaunchProtocol, TornLaunchIsNeverTaken) {
  SharedLaunch shared{};
  std::atomic<bool> stop{false};
  std::thread writer([&] {
    std::vector<std::uint64_t> closure(max_closure_bytes / sizeof(std::uint64_t));
    LaunchRecord record;
    record.closure_bytes = max_closure_bytes;
    for (std::uint32_t epoch = 1; epoch <= 20'000; ++epoch) {
      std::fill(closure.begin(), closure.end(), epoch);
      record.epoch = record.slices = epoch;
      shared.publish(record, closure.data());
    }
    stop = true;
  });
  auto copy = std::make_unique<LocalLaunch>();
  int taken = 0;
  for (bool last = false; !last;) {
    last = stop;
    if (!shared.copy_newer(copy->record.epoch, *copy)) continue;
    ++taken;
    ASSERT_EQ(copy->record.slices, copy->record.epoch);
    for (const std::uint64_t word : copy->closure) ASSERT_EQ(word, copy->record.epoch);
  }
  writer.join();
  EXPECT_GT(taken, 0);
  EXPECT_EQ(copy->record.epoch, 20'000U);
}

TEST(LaunchProtocol, LateWorkerCannotTakeFromANewerLaunch) {
  const ControlMemory memory(1);
  const ControlView& view = memory.view();
  view.slots[0].pid.store(77);
  view.control->next.store(EpochWord{8, 0}.pack());
  EXPECT_FALSE(claim(view, view.slots[0], 7, 10)) << "the counter is of launch 8";
  // It took its number in time, but the table is of launch 8 when it comes to claim.
  view.control->next.store(EpochWord{7, 3}.pack());
  view.table[3].store(SliceWord{8, SliceState::done, 1, 5}.pack());
  EXPECT_FALSE(claim(view, view.slots[0], 7, 10));
  EXPECT_EQ(SliceWord::unpack(view.table[3].load()).epoch, 8U);
}

TEST(LaunchProtocol, DeadWorkersUncountedSliceIsCountedOnce) {
  const ControlMemory memory(1);
  const ControlView& view = memory.view();
  WorkerSlot& slot = view.slots[0];
  slot.pid.store(77);
  view.control->next.store(EpochWord{1, 0}.pack());
  const auto claimed = claim(view, slot, 1, 4);
  ASSERT_TRUE(claimed);
  // Killed between booking and counting.
  slot.finishing.store(EpochWord{1, 1}.pack());
  view.table[0].store(SliceWord{1, SliceState::done, 1, 77}.pack());
  EXPECT_EQ(count_finished(view, 1), 0U);
  EXPECT_FALSE(settle_dead_worker(view, slot, 77, 1));
  EXPECT_EQ(count_finished(view, 1), 1U);
  EXPECT_FALSE(settle_dead_worker(view, slot, 77, 1));
  EXPECT_EQ(count_finished(view, 1), 1U);
}

TEST(LaunchProtocol, FailureLogThatIsFullDropsTheMessageOnly) {
  const ControlMemory memory(1);
  const ControlView& view = memory.view();
  view.control->failure_bytes.store(failure_log_bytes - 128);
  FailureRecord record;
  record.signal = 11;
  const std::uint32_t place = log_failure(view, record, "type", "text");
  ASSERT_NE(place, 0U);
  SliceOutcome outcome;
  read_failure(view, place, outcome);
  EXPECT_EQ(outcome.exception_type, "type");
  EXPECT_EQ(outcome.message, "text");
  EXPECT_EQ(outcome.signal, 11);
  EXPECT_EQ(log_failure(view, record, "type", std::string(500, 'x')), 0U);
  read_failure(view, 0, outcome);
  EXPECT_NE(outcome.message.find("dropped"), std::string::npos);
  read_failure(view, UINT32_MAX, outcome);  // what a stray write may leave
}

}  // namespace
}  // namespace runrig::detail
