#include "output_groups.hpp"

#include <algorithm>
#include <utility>

#include "runrig/sync/error.hpp"

namespace runrig::batch {
namespace {

constexpr std::size_t files_at_once = 64;

}  // namespace

void OutputGroups::add(std::size_t file, double seconds, int worker, const Bind& bind) {
  Entry& entry = group_.emplace_back();
  entry.file = file;
  entry.spent.seconds = seconds;
  const std::uint64_t bytes_before = state_.progress.bytes;
  try {
    entry.output = bind();
    entry.small = state_.dry_run == nullptr && entry.output->add_to(*small_);
    if (entry.small) small_->last_is_open_in(worker);
    held_bytes_ += entry.output->held_bytes();
  } catch (const Cancelled&) {
    throw;
  } catch (const TaskError&) {
    entry.failure = std::current_exception();
  } catch (const Error&) {
    entry.failure = std::current_exception();
  }
  entry.spent.bytes = state_.progress.bytes - bytes_before;
  if (held_bytes_ > state_.memory_bytes / 16) {
    finish();
  } else if (group_.size() == files_at_once) {
    turn();
  }
}

void OutputGroups::finish() {
  turn();
  settle();
}

void OutputGroups::turn() {
  // The workers are needed for what is not small, or went wrong.
  const bool by_the_way =
      std::ranges::all_of(made_, [](const Entry& each) { return each.failure != nullptr || each.made; });
  if (!by_the_way) settle();
  small_->begin();
  settle();
  auto reports = small_->finish();
  std::size_t at = 0;
  for (Entry& each : group_) {
    if (!each.small) continue;
    each.made = std::move(reports[at++]);
    if (each.made) each.spent.seconds += each.made->seconds;
  }
  made_ = std::exchange(group_, {});
  held_bytes_ = 0;
  small_ = std::make_unique<SmallOutputs>(state_);
}

// Gives those that were made their names, makes the others, and tells of each in order.
void OutputGroups::settle() {
  std::vector<PendingOutput*> outputs;
  for (Entry& each : made_) {
    if (each.made) outputs.push_back(&plan_.output(each.file));
  }
  const auto failures = PendingOutput::publish_together(outputs);
  std::size_t at = 0;
  for (Entry& each : made_) {
    if (each.made) each.failure = failures[at++];
    ledger_.file(plan_.number(each.file), each.spent, [&](FileOutcome& outcome) { tell(each, outcome); });
    plan_.end(each.file);
  }
  made_.clear();
}

void OutputGroups::tell(Entry& entry, FileOutcome& outcome) {
  if (entry.failure) std::rethrow_exception(entry.failure);
  if (entry.small && !entry.made) plan_.output(entry.file).discard();  // from the beginning
  entry.output->finish(outcome, std::move(entry.made));
}

}  // namespace runrig::batch
