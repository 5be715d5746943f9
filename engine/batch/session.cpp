#include "runrig/batch/session.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <new>
#include <stdexcept>

#include "file_tasks.hpp"
#include "runrig/engine/machine.hpp"
#include "runrig/sync/error.hpp"
#include "runrig/sync/unique_fd.hpp"
#include "state.hpp"

namespace runrig::batch {
namespace {

using namespace std::chrono_literals;

constexpr auto interrupt_grace = 2s;  // for slices under way, after the first interrupt
constexpr auto progress_interval = 100ms;

std::size_t budget(const Options& options) {
  if (options.memory_bytes != 0) return options.memory_bytes;
  return std::max<std::size_t>(usable_memory_bytes() / 4, std::size_t{64} << 20);
}

std::size_t files_of_a_wave() {
  return std::clamp<std::size_t>(usable_mapping_bytes() / file_journal_bytes, 1, most_wave_files);
}

// As much as may be used, and beside it what journals take of the addresses: on a little machine more than its memory.
std::size_t arena_bytes(std::size_t wave_files) {
  return usable_memory_bytes() + (wave_files + 1) * file_journal_bytes;
}

// What a damaged process writes before it dies ("free(): invalid size") tells users nothing that our line about its
// death does not; a sanitizer's report does.
void silence_output() {
#ifndef __SANITIZE_ADDRESS__
  const UniqueFd nowhere(check_errno(::open("/dev/null", O_WRONLY | O_CLOEXEC), "open", "/dev/null"));
  for (const int fd : {STDOUT_FILENO, STDERR_FILENO})
    check_errno(::dup2(nowhere.get(), fd), "redirect", "worker output");
#endif
}

PoolOptions pool_options(const Options& options, std::shared_ptr<Arena> arena, int workers, std::string name) {
  if (options.workers < 0) throw std::logic_error("a session cannot have a negative number of workers");
  PoolOptions result;
  result.workers = workers;
  result.arena = std::move(arena);
  result.name = std::move(name);
  result.initializer = silence_output;
  result.start_method = StartMethod::fork;  // of this process, in which neither HDF5 nor oneTBB was started
  return result;
}

// A process killed from outside while it starts says nothing about the next.
Pool make_pool(const PoolOptions& options) {
  try {
    return Pool(options);
  } catch (const WorkerLost&) {
    return Pool(options);
  }
}

}  // namespace

Session::State::State(Options wanted)
    : options(std::move(wanted)),
      memory_bytes(budget(options)),
      wave_files(files_of_a_wave()),
      arena(std::make_shared<Arena>(arena_bytes(wave_files))),
      readers(make_pool(pool_options(options, arena, options.workers, "rr-reader"))),
      counter_(arena->allocate(sizeof(std::atomic<std::uint64_t>))) {
  if (!options.read_only) writer_.emplace(make_pool(pool_options(options, arena, 1, "rr-writer")));
  new (counter_.data()) std::atomic<std::uint64_t>(0);
}

void Session::State::check_outputs_allowed() const {
  if (!writer_) throw std::logic_error("a session that is read-only makes no output");
}

std::atomic<std::uint64_t>& Session::State::bytes_done() const noexcept {
  return *std::launder(reinterpret_cast<std::atomic<std::uint64_t>*>(counter_.data()));
}

void Session::State::check_interrupt() const {
  if (options.interrupted && options.interrupted()) throw Cancelled("interrupted");
}

void Session::State::show_progress(bool must) {
  const auto now = Clock::now();
  if (!options.on_progress || (!must && now - shown_ < progress_interval)) return;
  shown_ = now;
  // Relaxed: a number to show, nothing hangs on it.
  progress.bytes_done = std::min(bytes_done().load(std::memory_order_relaxed), progress.bytes);
  options.on_progress(progress);
}

void Session::State::wait(Launch& launch) {
  while (!launch.wait(Deadline::after(progress_interval))) {
    show_progress();
    if (!options.interrupted || !options.interrupted()) continue;
    launch.cancel();
    if (!launch.wait(Deadline::after(interrupt_grace))) launch.terminate();
    throw Cancelled("interrupted");
  }
  check_interrupt();
  show_progress();
}

LaunchOptions Session::State::launch_options(std::uint32_t slices, std::uint64_t bytes) const {
  LaunchOptions result;
  result.slices = slices;
  result.max_kills = 2;
  // Some filters of the library get through no more than some megabytes a second.
  const auto honest = std::chrono::milliseconds(bytes >> 12);  // 4 KiB a millisecond
  result.cpu_limit = options.cpu_stall + honest;
  result.wall_limit = options.wall_stall + honest;
  return result;
}

const char* ArenaWriter::add(std::string_view text) {
  auto* memory = reinterpret_cast<char*>(take(text.size() + 1, 1));
  std::memcpy(memory, text.data(), text.size());
  memory[text.size()] = '\0';
  return memory;
}

std::byte* ArenaWriter::take(std::size_t bytes, std::size_t alignment) {
  used_ = (used_ + alignment - 1) / alignment * alignment;
  if (used_ > block_.size_bytes() || block_.size_bytes() - used_ < bytes) {
    throw std::logic_error("arena block for a launch is too small");
  }
  std::byte* memory = block_.data() + used_;
  used_ += bytes;
  return memory;
}

std::string one_line(std::string_view text) {
  std::string line(text);
  std::replace_if(
      line.begin(), line.end(), [](char c) { return c == '\n' || c == '\r'; }, ' ');
  return line;
}

Failure make_failure(const std::string& file, const std::string& dataset, std::string_view reason) {
  std::string text = one_line(reason);
  // "open 'FILE': why" is "why" where FILE is named beside it, and so is "read 'FILE:DATASET': why".
  const std::string in_file = file + ":" + dataset;
  for (const std::string* name : {&file, &in_file}) {
    std::string quoted = " '";
    quoted += *name;
    quoted += "': ";
    const auto at = text.find(quoted);
    if (at != std::string::npos && text.find_first_of("':") > at) text.erase(0, at + quoted.size());
  }
  if (!dataset.empty()) {
    if (const auto at = text.find(in_file); at != std::string::npos) text.replace(at, in_file.size(), dataset);
  }
  return {file, dataset, std::move(text)};
}

std::string failure_text(const SliceOutcome& outcome, std::string_view action) {
  switch (outcome.state) {
    case SliceState::done:
      return {};
    case SliceState::failed:
      return one_line(outcome.message);
    case SliceState::lost:
    case SliceState::stalled: {
      std::string text = "the HDF5 library " + one_line(outcome.message) + " while " + one_line(action);
      if (outcome.likely_out_of_memory) text += " (likely out of memory)";
      return text;
    }
    case SliceState::pending:
    case SliceState::running:
    case SliceState::cancelled:
      break;
  }
  return "cancelled";
}

std::optional<SliceFailure> first_failure(const Launch& launch, std::string_view action) {
  std::optional<SliceFailure> cancelled;
  const std::uint32_t end = launch.slices();
  for (std::uint32_t slice = launch.first_not_done(); slice < end; slice = launch.first_not_done(slice + 1)) {
    const SliceOutcome outcome = launch.outcome(slice);
    SliceFailure failure{slice, failure_text(outcome, action)};
    // The others were cancelled because of the one that is looked for.
    if (outcome.state != SliceState::cancelled) return failure;
    if (!cancelled) cancelled = std::move(failure);
  }
  return cancelled;
}

void check_launch(const Launch& launch, std::string_view action) {
  if (const auto failure = first_failure(launch, action)) throw TaskError(failure->reason);
}

Session::Session(Options options) : state_(std::make_unique<State>(std::move(options))) {}
Session::~Session() = default;
int Session::workers() const noexcept { return state_->readers.size(); }
Pool& Session::pool() noexcept { return state_->readers; }
std::size_t Session::memory_bytes() const noexcept { return state_->memory_bytes; }

}  // namespace runrig::batch
