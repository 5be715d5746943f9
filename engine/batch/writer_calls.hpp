#pragma once

#include <functional>
#include <string>
#include <string_view>

#include "journal.hpp"
#include "map_plan.hpp"
#include "output_path.hpp"
#include "runrig/channel/object.hpp"
#include "state.hpp"

/// How the parent calls the session's one writer, which keeps an output open from call to call.
namespace runrig::batch {

/// The writer was killed, or died, and with it what it had open.
class WriterDied : public TaskError {
 public:
  using TaskError::TaskError;
};

/// A number that no other plan of this process has.
[[nodiscard]] std::uint64_t next_plan_id();

/// Waits for what the writer does. Throws WriterDied or TaskError.
void check_writer(Session::State& state, Launch& launch, std::string_view action);

/// Runs `body(SliceContext&)` in the writer, which is ended by what it throws. Throws as above. `bytes` is what it has
/// to get through.
template <class Body>
void run_writer(Session::State& state, const Body& body, std::string_view action, std::uint64_t bytes = 0) {
  auto options = state.launch_options(1, bytes);
  options.max_kills = 1;  // what a dead writer had open is gone
  Launch launch = state.writer().launch(options, [body](SliceContext& context) {
    try {
      body(context);
    } catch (...) {
      context.retire();
      throw;
    }
  });
  check_writer(state, launch, action);
}

/// The one record that a call of the writer left; messages say what it was doing if it died.
[[nodiscard]] pickle::Object read_report(const Journal& journal);
/// `reason` with what the journal says was being done, unless that is `usual`.
[[nodiscard]] std::string failure_in(const Journal& journal, const std::string& reason, std::string_view usual);

/// The same with a journal, of which the record that `body(SliceContext&, const Journal&)` left is returned.
template <class Body>
pickle::Object run_reporting_writer(Session::State& state, const Body& body, std::string_view action,
                                    std::uint64_t bytes = 0, std::size_t journal_bytes = std::size_t{1} << 20) {
  const ArenaBlock block = state.arena->allocate(journal_bytes);
  const Journal journal(block.data(), block.size_bytes());
  journal.reset();
  try {
    run_writer(
        state, [body, journal](SliceContext& context) { body(context, journal); }, action, bytes);
  } catch (const WriterDied& error) {
    throw WriterDied(failure_in(journal, error.what(), action));
  } catch (const TaskError& error) {
    throw TaskError(failure_in(journal, error.what(), action));
  }
  return read_report(journal);
}

/// Calls `write`, which makes the file of `output` from the beginning, again when the writer dies over it, a few times.
/// When it throws, the writer has let go of the file.
void retry_when_writer_dies(Session::State& state, PendingOutput& output, const std::function<void()>& write);

}  // namespace runrig::batch
