#include "runrig/batch/reduce.hpp"

#include <algorithm>
#include <charconv>
#include <limits>
#include <memory>

#include "dry_run.hpp"
#include "output_groups.hpp"
#include "reduce_file.hpp"
#include "reduce_result.hpp"
#include "runrig/engine/expression.hpp"
#include "runrig/sync/error.hpp"

namespace runrig::batch {
namespace {

constexpr std::uint64_t most_bins = std::uint64_t{1} << 20;

void check_request(const ReduceRequest& request) {
  const ReduceOperation& operation = request.operation;
  const auto refuse = [](std::string_view attempted, std::string_view name) {
    throw Error(std::errc::invalid_argument, attempted, name);
  };
  if (request.axes && request.axes->size() > max_rank) {
    refuse("use so many axes:", std::to_string(request.axes->size()));
  }
  const bool place = operation.kind == ReduceOperation::Kind::reduction &&
                     (operation.reduction == Reduction::argmin || operation.reduction == Reduction::argmax);
  if (place && request.axes && request.axes->size() != 1) {
    refuse("use more than one axis, but not all, with", operation.name());
  }
  if (operation.kind == ReduceOperation::Kind::histogram && request.axes) refuse("use axes with", operation.name());
  if (!request.output.empty() && request.datasets.size() != 1) {
    refuse("name the one dataset that goes to", request.output);
  }
}

ReduceArgument argument_of(const ReduceRequest& request, const Session::State& state) {
  ReduceArgument argument;
  argument.operation = request.operation;
  argument.nan = request.nan;
  argument.all_axes = !request.axes;
  if (request.axes) {
    argument.axis_count = request.axes->size();
    std::copy(request.axes->begin(), request.axes->end(), argument.axes.begin());
  }
  argument.max_elements = request.output.empty() ? request.max_elements : std::numeric_limits<std::uint64_t>::max();
  argument.force_library = state.options.force_library;
  argument.describe_only = state.dry_run != nullptr;
  argument.to_file = !request.output.empty();
  argument.conventions = state.options.conventions;
  argument.memory_bytes = state.memory_bytes;
  argument.kept_files = kept_files(state);
  argument.bytes_done = &state.bytes_done();
  return argument;
}

}  // namespace

ReduceOperation ReduceOperation::parse(std::string_view text) {
  ReduceOperation operation;
  const auto fail = [text](const std::string& why) { return FormatError("use the operation", text, why); };
  const auto colon = text.find(':');
  const std::string_view word = text.substr(0, colon);
  const std::string_view value = colon == std::string_view::npos ? "" : text.substr(colon + 1);
  const char* const end = value.data() + value.size();
  if (word == "quantile") {
    operation.kind = Kind::quantile;
    const auto [stop, error] = std::from_chars(value.data(), end, operation.quantile);
    const bool inside = operation.quantile >= 0 && operation.quantile <= 1;
    if (error != std::errc{} || stop != end || !inside) throw fail("write a number from 0 to 1, as quantile:0.9");
    return operation;
  }
  if (word == "histogram") {
    operation.kind = Kind::histogram;
    const auto [stop, error] = std::from_chars(value.data(), end, operation.bins);
    const bool inside = operation.bins >= 1 && operation.bins <= most_bins;
    if (error != std::errc{} || stop != end || !inside) {
      throw fail("write a number of bins, at most " + std::to_string(most_bins) + ", as histogram:64");
    }
    return operation;
  }
  if (text == "median") {
    operation.kind = Kind::quantile;
    return operation;
  }
  const auto reduction = parse_reduction(text);
  if (!reduction) {
    std::string names;
    for (std::size_t i = 0; i < reduction_count; ++i) {
      names += std::string(reduction_name(static_cast<Reduction>(i))) + " ";
    }
    throw fail("there are " + names + "median quantile:Q histogram:BINS");
  }
  operation.reduction = *reduction;
  return operation;
}

std::string ReduceOperation::name() const {
  switch (kind) {
    case Kind::quantile:
      return quantile == 0.5 ? "median" : "quantile:" + number_text(quantile);
    case Kind::histogram:
      return "histogram:" + std::to_string(bins);
    case Kind::reduction:
      break;
  }
  return std::string(reduction_name(reduction));
}

DryRun plan_reduce(Session& session, const ReduceRequest& request) {
  return run_dry(session.state(), request.files, [&] { return reduce(session, request); });
}

namespace {

// To memory: all results go into the report.
void reduce_to_memory(Session::State& state, const ReduceRequest& request, const ReduceArgument* argument,
                      FileLedger& ledger, ReduceReport& report) {
  const auto take = [&](FileResult result) {
    ledger.file(result.file, {result.seconds, 0}, [&](FileOutcome& outcome) {
      const std::string& file = request.files[result.file];
      take_targets(result, file, request.datasets, report.failures, [&](const TargetRecord& target) {
        TargetResult made(state, request, *argument, target);
        if (state.dry_run != nullptr) return made.tell_plan(nullptr, state.dry_run->current());
        report.results.push_back(made.in_memory());
        outcome.datasets.push_back(report.results.back().dataset);
      });
    });
  };
  for_each_file(state, request.files, &reduce_file, reinterpret_cast<const std::byte*>(argument), take);
}

void reduce_to_files(Session::State& state, const ReduceRequest& request, const ReduceArgument* argument,
                     OutputPlan& plan, FileLedger& ledger, ReduceReport& report) {
  OutputGroups groups(state, plan, ledger);
  plan.skip_finished(ledger);
  for_each_file(
      state, plan.files(), &reduce_file, reinterpret_cast<const std::byte*>(argument),
      [&](FileResult result) {
        groups.add(result.file, result.seconds, result.worker,
                   [&] { return std::make_unique<ReduceOutput>(state, request, *argument, result, plan, report); });
      },
      [&](std::size_t i) { plan.begin(i); });
  groups.finish();
}

}  // namespace

ReduceReport reduce(Session& session, const ReduceRequest& request) {
  Session::State& state = session.state();
  check_request(request);
  std::optional<OutputPlan> plan;
  if (!request.output.empty()) {
    plan.emplace(
        state, request.files,
        OutputWish{request.output, {}, request.existing, request.resume, request_text(request, state.options)});
  }
  ReduceReport report;
  ArenaWriter memory(*state.arena, sizeof(ReduceArgument) + target_bytes(request.datasets));
  auto* const argument = memory.add<ReduceArgument>(1);
  *argument = argument_of(request, state);
  argument->targets = add_targets(memory, request.datasets);
  argument->targets.real_only = request.operation.kind != ReduceOperation::Kind::reduction;
  FileLedger ledger(state, request.files, report.failures);
  ledger.run([&] {
    if (plan) {
      reduce_to_files(state, request, argument, *plan, ledger, report);
    } else {
      reduce_to_memory(state, request, argument, ledger, report);
    }
  });
  return report;
}

}  // namespace runrig::batch
