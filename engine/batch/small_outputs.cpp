#include "small_outputs.hpp"

#include <unistd.h>

#include <algorithm>
#include <atomic>

#include "encoding.hpp"
#include "runrig/sync/clock.hpp"
#include "runrig/sync/error.hpp"
#include "writer_calls.hpp"

namespace runrig::batch {
namespace {

constexpr std::uint64_t most_bytes = std::uint64_t{8} << 20;
constexpr std::size_t journal_bytes = std::size_t{256} << 10;  // touched only as far as it is used

SmallReport decode_report(const Journal& journal) {
  SmallReport report;
  const pickle::Object record = read_report(journal);
  for (const pickle::Object& each : record.at("notes").items()) report.notes.push_back(decode_text(each));
  if (const pickle::Object* bytes = record.find("bytes")) report.bytes = bytes->as_uint();
  return report;
}

}  // namespace

std::uint64_t small_output_bytes(const Session::State& state) {
  return std::min<std::uint64_t>(most_bytes, state.memory_bytes / 16);
}

SmallOutputs::SmallOutputs(Session::State& state) : state_(state) {}
SmallOutputs::~SmallOutputs() = default;

void SmallOutputs::add(SmallBody body, const void* plan, std::shared_ptr<const void> owner) {
  added_.push_back({body, plan, {}, 0, 0, 0});
  owners_.push_back(std::move(owner));
}

// Worker: the task of a slice, one that this process has open if there is any left; null if none is left at all.
SmallOutputs::Task* SmallOutputs::take(Task* tasks, std::uint32_t count, std::uint32_t slice) {
  const int self = ::getpid();
  for (const bool own : {true, false}) {
    for (std::uint32_t i = 0; i < count; ++i) {
      if (own && tasks[i].worker != self) continue;
      std::uint32_t free = 0;
      // Relaxed: only one must get it; what it is came with the launch.
      const std::atomic_ref<std::uint32_t> taken(tasks[i].taken);
      if (taken.compare_exchange_strong(free, slice + 1, std::memory_order_relaxed)) return &tasks[i];
    }
  }
  return nullptr;
}

void SmallOutputs::begin() {
  const std::size_t count = added_.size();
  if (count == 0) return;
  journals_ = state_.arena->allocate(count * journal_bytes);
  memory_.emplace(*state_.arena, count * sizeof(Task) + 64);
  tasks_ = memory_->add<Task>(count);
  for (std::size_t i = 0; i < count; ++i) {
    tasks_[i] = added_[i];
    tasks_[i].journal = Journal(journals_.data() + i * journal_bytes, journal_bytes);
    tasks_[i].journal.reset();
  }
  auto options = state_.launch_options(static_cast<std::uint32_t>(count), most_bytes);
  options.keep_going = true;
  options.max_kills = 1;  // what kills a worker is looked at closely, when it is made in the other way
  launch_ = state_.readers.launch(options, [tasks = tasks_, count = std::uint64_t{count}](SliceContext& context) {
    Task* const task = take(tasks, static_cast<std::uint32_t>(count), context.slice());
    if (task == nullptr) return;
    const auto begin = Clock::now();
    try {
      task->body(context, task->plan, task->journal);
    } catch (...) {
      context.retire();
      throw;
    }
    task->seconds = std::chrono::duration<double>(Clock::now() - begin).count();
  });
}

std::vector<std::optional<SmallReport>> SmallOutputs::finish() {
  std::vector<std::optional<SmallReport>> made(added_.size());
  if (made.empty()) return made;
  state_.wait(launch_);
  for (std::size_t i = 0; i < made.size(); ++i) {
    const std::uint32_t taken = tasks_[i].taken;
    if (taken == 0 || taken > made.size() || launch_.outcome(taken - 1).state != SliceState::done) continue;
    try {
      made[i] = decode_report(tasks_[i].journal);
      made[i]->seconds = tasks_[i].seconds;
    } catch (const FormatError&) {
      continue;  // a worker that reports nonsense has not made anything
    }
  }
  return made;
}

}  // namespace runrig::batch
