#include "writer_calls.hpp"

#include "runrig/sync/error.hpp"

namespace runrig::batch {
namespace {

constexpr int writer_attempts = 3;

void abandon(Session::State& state) {
  try {
    run_writer(
        state, [](SliceContext&) { abandon_output(); }, "closing the output");
  } catch (const TaskError&) {
    // The writer died over it: then the file is closed as well.
  }
}

// Messages speak of the output by the name that it was to have.
TaskError with_final_name(const TaskError& error, const PendingOutput& output) {
  std::string text = error.what();
  const std::string& temporary = output.temporary_path();
  for (auto at = text.find(temporary); at != std::string::npos; at = text.find(temporary, at)) {
    text.replace(at, temporary.size(), output.final_path());
    at += output.final_path().size();
  }
  return TaskError(text);
}

}  // namespace

std::uint64_t next_plan_id() {
  static std::uint64_t plans = 0;  // by the one thread that uses sessions
  return ++plans;
}

void check_writer(Session::State& state, Launch& launch, std::string_view action) {
  state.wait(launch);
  const SliceOutcome outcome = launch.outcome(0);
  if (outcome.state == SliceState::lost || outcome.exception_type.find("OutputGone") != std::string::npos) {
    throw WriterDied(failure_text(outcome, action));
  }
  check_launch(launch, action);
}

std::string failure_in(const Journal& journal, const std::string& reason, std::string_view usual) {
  const std::string action = journal.action();
  return action.empty() || action == usual ? reason : reason + " (" + action + ")";
}

pickle::Object read_report(const Journal& journal) {
  auto records = journal.records();
  if (records.size() != 1) throw FormatError("read the report of", "the writer", "it is not one record");
  return std::move(records[0]);
}

void retry_when_writer_dies(Session::State& state, PendingOutput& output, const std::function<void()>& write) {
  for (int attempt = 1;; ++attempt) {
    try {
      return write();
    } catch (const WriterDied& error) {
      // Killed from outside, or by this very input; its file starts again from the beginning.
      abandon(state);
      if (attempt == writer_attempts) throw with_final_name(error, output);
      output.discard();
    } catch (const TaskError& error) {
      abandon(state);
      throw with_final_name(error, output);
    }
  }
}

}  // namespace runrig::batch
