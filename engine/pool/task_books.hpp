#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <memory>
#include <string>
#include <vector>

#include "callbacks.hpp"
#include "pause_cpu.hpp"
#include "runrig/engine/arena.hpp"
#include "runrig/engine/process_tasks.hpp"
#include "task_table.hpp"

namespace runrig::detail {

struct PoolState;

/// The parent's side of tasks: puts them into slots, takes their answers, and waits for them.
///
/// There is no thread for this: whoever waits for anything of the pool does the work for all (see drain()). Tasks that
/// find no free slot wait in a queue here until somebody does.
class TaskBooks final : public ProcessBackend {
 public:
  explicit TaskBooks(PoolState& pool);

  // For the futures; each takes the mutex, except where TaskBackend says otherwise.
  [[nodiscard]] bool wait(const Awaited& awaited, Deadline deadline) override;
  void notify() noexcept override;
  [[nodiscard]] Callbacks& callbacks() noexcept override { return callbacks_; }
  [[nodiscard]] std::shared_ptr<void> keep_alive() override;
  void submit(const TaskCall& call, Receiver& receiver, std::shared_ptr<void> keep, std::uint64_t index) override;
  void forget(const Receiver& receiver) noexcept override;
  [[nodiscard]] int workers() const noexcept override;
  [[nodiscard]] std::shared_ptr<void> admit() override;

  // For the pool, with the mutex held.

  /// What the last owner of a result let go of, to be destroyed when the mutex is free again.
  using Garbage = std::vector<std::shared_ptr<void>>;
  /// Takes what answers there are, and starts tasks that wait for a slot. Returns how many it took.
  std::size_t drain(Garbage& garbage) noexcept;
  /// With all processes gone, before new ones are made: what was running is begun again where that is allowed.
  void recover(const std::string& why, Garbage& garbage) noexcept;
  /// With all processes gone for good: every task that has no answer fails.
  void fail_all(const std::string& why, Garbage& garbage) noexcept;
  /// Tasks that have not ended.
  [[nodiscard]] std::size_t unfinished() const noexcept { return started_ + waiting_.size(); }
  /// No further task is taken.
  void close() noexcept { open_ = false; }
  [[nodiscard]] bool open() const noexcept { return open_; }
  /// Maps that may still have tasks to submit, also when it is closed.
  [[nodiscard]] int admitted() const noexcept { return admitted_; }

 private:
  /// A task in a slot, as the parent has it.
  struct Started {
    Receiver* receiver = nullptr;  // null: nobody is interested any more
    std::shared_ptr<void> keep;
    std::uint64_t index = 0;
    std::uint64_t ticket = 0;  // its number among all tasks, from 1; 0: the slot is free
    std::uint32_t generation = 0;
    std::size_t call_bytes = 0;
    ArenaBlock block;  // of a call that does not fit into the slot
  };
  struct Outgoing {
    std::uintptr_t invoke = 0;
    std::uintptr_t function = 0;
    std::span<const std::byte> closure;
    std::span<const std::byte> arguments;
    std::int32_t retries = 0;
    Receiver* receiver = nullptr;
    std::shared_ptr<void> keep;
    std::uint64_t index = 0;
    std::uint64_t ticket = 0;
  };
  struct Waiting {
    Outgoing task;
    std::vector<std::byte> bytes;  // the closure, then the arguments
  };

  void check_call(const TaskCall& call);
  [[nodiscard]] std::int32_t checked_retries(std::optional<int> wanted) const;
  [[nodiscard]] bool can_start(std::size_t call_bytes) const noexcept;
  void start(Outgoing&& task);
  void start_waiting(Garbage& garbage) noexcept;
  void take(EpochWord entry, Garbage& garbage) noexcept;
  void take_answer(std::uint32_t number, SliceWord word, Garbage& garbage) noexcept;
  [[nodiscard]] TaskAnswer read_answer(const TaskSlot& slot, SliceWord word, const Started& task) noexcept;
  void release_answer(const TaskSlot& slot) noexcept;
  void deliver(Started& task, const TaskAnswer& answer, Garbage& garbage) noexcept;
  void free_slot(std::uint32_t number, Garbage& garbage) noexcept;
  void end_task(std::uint32_t number, std::exception_ptr error, Garbage& garbage) noexcept;
  [[nodiscard]] std::exception_ptr lost(const Started& task, pid_t pid, int signal, const std::string& how) const;
  void reset_protocol() noexcept;
  [[nodiscard]] bool may_sleep(std::uint32_t counted, std::size_t missing) noexcept;
  [[nodiscard]] bool spin(std::uint32_t seen, std::uint32_t counted) const noexcept;

  PoolState& pool_;
  const ControlView view_;
  const std::size_t spinning_tasks_;  // so many may be under way that a thread which waits still has a processor
  bool open_ = true;
  int admitted_ = 0;
  std::uint64_t tickets_ = 0;
  std::size_t started_ = 0;
  std::size_t started_bytes_ = 0;
  std::vector<Started> slots_;
  std::vector<std::uint32_t> free_;
  std::deque<Waiting> waiting_;
  std::vector<std::uint32_t> finished_heads_;  // for each worker: how far its list was read
  std::vector<std::uint64_t> released_;        // and up to where its region's pages were given back
  int sleepers_ = 0;                           // threads of this process that sleep, or are about to
  SpinHabit spin_habit_;
  const Trampoline* checked_trampoline_ = nullptr;  // of the newest call
  std::uintptr_t trampoline_name_ = 0;
  std::uintptr_t checked_function_ = 0;
  Callbacks callbacks_;
};

}  // namespace runrig::detail
