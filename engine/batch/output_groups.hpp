#pragma once

#include <exception>
#include <functional>
#include <memory>
#include <optional>
#include <vector>

#include "file_ledger.hpp"
#include "output_plan.hpp"
#include "small_outputs.hpp"

namespace runrig::batch {

/// How one output of a batch is made.
class GroupedOutput {
 public:
  virtual ~GroupedOutput() = default;
  /// Adds it to those that one worker makes each, if it is small enough for that. What is added lives as long as this.
  /// Throws TaskError and Error for what cannot be made at all.
  virtual bool add_to(SmallOutputs& small) = 0;
  /// Memory that it keeps until it is finished.
  [[nodiscard]] virtual std::size_t held_bytes() const { return 0; }
  /// Tells of the file. With a report one worker made its output, which has its final name by now; without one it is
  /// made here, from the beginning, and published; in a dry run, what would be made is told.
  virtual void finish(FileOutcome& outcome, std::optional<SmallReport> made) = 0;
};

/// The outputs of a call, some at a time: while the workers make small ones, those that they made before go to the disk
/// together, and get their names. Larger ones are made one by one, by all workers.
class OutputGroups {
 public:
  using Bind = std::function<std::unique_ptr<GroupedOutput>()>;

  OutputGroups(Session::State& state, OutputPlan& plan, FileLedger& ledger)
      : state_(state), plan_(plan), ledger_(ledger) {}

  /// The output of the plan's file number `file`, in the order of the files; `bind` is called at once. What it throws
  /// as TaskError or Error is the file's failure. `seconds` were spent on the file before, the last by the process
  /// `worker`, which may have it open.
  void add(std::size_t file, double seconds, int worker, const Bind& bind);
  /// Makes what is left.
  void finish();

 private:
  struct Entry {
    std::size_t file = 0;
    FileLedger::Spent spent;
    std::unique_ptr<GroupedOutput> output;
    std::exception_ptr failure;
    bool small = false;
    std::optional<SmallReport> made;  // of a small one that lacks only its name
  };

  void turn();
  void settle();
  void tell(Entry& entry, FileOutcome& outcome);

  Session::State& state_;
  OutputPlan& plan_;
  FileLedger& ledger_;
  std::vector<Entry> group_;  // to be made
  std::size_t held_bytes_ = 0;
  std::vector<Entry> made_;                                                       // to be given their names
  std::unique_ptr<SmallOutputs> small_ = std::make_unique<SmallOutputs>(state_);  // ended before the requests go
};

}  // namespace runrig::batch
