#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "bound_expression.hpp"
#include "output_groups.hpp"
#include "output_job.hpp"
#include "runrig/engine/expression.hpp"
#include "user_kernel.hpp"

/// One file of `map`, as the parent makes it.
namespace runrig::batch {

/// A variable of the expressions: as the request has it, and in the file at hand.
struct RequestVariable {
  const MapInput* input = nullptr;
  FileVariable here;
  bool all_fill = false;
};

/// The user's kernel, loaded once by a worker.
struct KernelUse {
  MapKernel kernel;
  KernelSignature signature;
};

/// An output of the request: its expression, and which of the variables that uses, in its order; those of a kernel use
/// all.
struct Formula {
  const MapOutput* output = nullptr;
  Expression expression;
  std::vector<std::uint32_t> inputs;
};

/// What all files of a call have in common.
struct MapCall {
  Session::State& state;
  const MapRequest& request;
  std::vector<RequestVariable> variables{};  // those that any formula uses, of no file yet
  std::vector<Formula> formulas{};
  std::optional<KernelUse> kernel{};
};

/// Makes one output file from one input file.
class MapFile final : public GroupedOutput {
 public:
  /// `variables` are those of the call, in the file. Throws TaskError and Error if the expressions do not fit the
  /// datasets. All that is referred to lives longer.
  MapFile(const MapCall& call, std::vector<RequestVariable> variables, const std::string& file, PendingOutput& output,
          MapReport& report);

  bool add_to(SmallOutputs& small) override { return add_small(call_.state, small, wanted_, output_); }
  [[nodiscard]] std::size_t held_bytes() const override;
  void finish(FileOutcome& outcome, std::optional<SmallReport> made) override;

 private:
  void prepare();
  void tell_plan(PlannedFile& planned) const;
  void add_results(std::vector<std::string> notes, FileOutcome& outcome);
  OutputPart plan(const Formula& formula, std::vector<std::string>& notes);
  [[nodiscard]] OutputKernel plan_kernel() const;
  OutputPart plan_kernel_part(std::uint32_t output, std::vector<std::string>& notes) const;
  [[nodiscard]] std::uint32_t shaped_variable() const;
  [[nodiscard]] std::uint32_t place_of(const FileVariable& variable);
  [[nodiscard]] std::optional<std::uint32_t> like_variable(const Formula& formula, const BoundExpression& bound) const;
  [[nodiscard]] std::vector<std::byte> value_of_fill(const Formula& formula, const Program& program) const;
  [[nodiscard]] TextAttributes provenance(const Formula& formula) const;

  const MapCall& call_;
  const MapRequest& request_;
  std::vector<RequestVariable> variables_;
  const std::string& file_;
  PendingOutput& output_;
  MapReport& report_;
  std::vector<BoundExpression> bound_;
  OutputRequest wanted_;
  std::vector<MapResult> results_;
};

}  // namespace runrig::batch
