#pragma once

#include <array>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "dry_run.hpp"
#include "output_groups.hpp"
#include "output_job.hpp"
#include "reduce_file.hpp"
#include "runrig/engine/expression.hpp"
#include "runrig/shm/nd_array.hpp"

namespace runrig::batch {

/// The reduction of one target, in the parent: takes what a worker made of it, or makes it by all workers.
class TargetResult {
 public:
  /// What is referred to lives longer, but for the record. Throws TaskError, Error; Cancelled.
  TargetResult(Session::State& state, const ReduceRequest& request, const ReduceArgument& argument,
               const TargetRecord& target);
  TargetResult(const TargetResult&) = delete;
  TargetResult& operator=(const TargetResult&) = delete;

  [[nodiscard]] const std::string& dataset() const noexcept { return result_.dataset; }
  [[nodiscard]] hdf5::Layout layout() const noexcept { return large_.info.layout; }
  /// In place of the results: of a dataset that is only described. `output` is null where they go to none.
  void tell_plan(const PendingOutput* output, PlannedFile& planned);
  ReduceResult in_memory() { return std::move(result_); }

  /// The file that it makes. Called once; the request lives as long as this.
  const OutputRequest& output();
  [[nodiscard]] std::size_t held_bytes() const noexcept { return values_.size_bytes() + edges_.size_bytes(); }
  /// When the file is there.
  ReduceResult in_file(const PendingOutput& output, std::vector<std::string> notes);

 private:
  void take(const pickle::Object& record, std::span<const std::byte> bytes);
  void take_constant(const pickle::Object& record, std::span<const std::byte> bytes);
  void make();
  void make_histogram();
  void make_piece(const hdf5::Box& region, std::byte* out);
  void add_reduced();
  void add_histogram();
  OutputPart& add_part(const hdf5::OutputSpec& spec, const std::string& to, const ArenaBlock& values);
  hdf5::OutputSpec spec_like_source();
  [[nodiscard]] TextAttributes attributes() const;
  [[nodiscard]] std::size_t result_bytes() const;
  /// The result does not fit beside what making it takes: boxes of it are made, and written, one after the other.
  [[nodiscard]] bool is_in_pieces() const;

  Session::State& state_;
  const ReduceRequest& request_;
  const ReduceArgument& argument_;
  LargeDataset large_;
  Reducer reducer_;
  ReductionAxes axes_;
  ReduceResult result_;
  std::vector<std::byte> constant_;  // what all elements of a result in pieces are, if they are the same
  OutputRequest wanted_;
  ArenaBlock values_;                               // what is written: the results,
  ArenaBlock edges_;                                // and of a histogram its edges
  std::array<std::optional<Program>, 2> programs_;  // that copy these
  std::optional<AnyArray> piece_;                   // that is being written
};

/// The file of one target.
class ReduceOutput final : public GroupedOutput {
 public:
  /// Of what the workers told of the file, the `number`th of the plan. What is referred to lives longer.
  ReduceOutput(Session::State& state, const ReduceRequest& request, const ReduceArgument& argument, FileResult& looked,
               OutputPlan& plan, ReduceReport& report);

  bool add_to(SmallOutputs& small) override;
  [[nodiscard]] std::size_t held_bytes() const override { return target_ ? target_->held_bytes() : 0; }
  void finish(FileOutcome& outcome, std::optional<SmallReport> made) override;

 private:
  /// Runs `body`; what it throws as TaskError or Error is the target's failure.
  void attempt(const std::function<void()>& body);

  Session::State& state_;
  const ReduceRequest& request_;
  const std::string& file_;
  PendingOutput& output_;
  ReduceReport& report_;
  std::vector<Failure> failures_;
  std::unique_ptr<TargetResult> target_;  // none if it failed
  const OutputRequest* wanted_ = nullptr;
};

}  // namespace runrig::batch
