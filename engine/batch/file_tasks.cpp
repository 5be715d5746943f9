#include "file_tasks.hpp"

#include <unistd.h>

#include <algorithm>

#include "runrig/sync/clock.hpp"
#include "runrig/sync/error.hpp"

namespace runrig::batch {
namespace {

constexpr std::size_t task_data_bytes = std::size_t{512} << 20;  // private memory, for metadata and small datasets

/// Adds the time of its life to what was spent on a task.
class Stopwatch {
 public:
  explicit Stopwatch(double& seconds) : seconds_(seconds) {}
  Stopwatch(const Stopwatch&) = delete;
  Stopwatch& operator=(const Stopwatch&) = delete;
  ~Stopwatch() { seconds_ += std::chrono::duration<double>(Clock::now() - begin_).count(); }

 private:
  double& seconds_;
  Clock::time_point begin_ = Clock::now();
};

struct Job {
  FileBody body;
  FileTask* tasks;
  const std::uint32_t* chosen;  // slice -> task
  const std::byte* argument;
  std::size_t data_bytes;

  void operator()(SliceContext& context) const {
    const MemoryFence fence(data_bytes);
    FileTask& task = tasks[chosen[context.slice()]];
    const Stopwatch watch(task.seconds);
    task.worker = ::getpid();
    try {
      body(context, task, argument);
    } catch (...) {
      // The library may have been left in any state by what it choked on; the next file gets a fresh process.
      context.retire();
      throw;
    }
  }
};

// One wave: launches until no task is left to go on with.
class Wave {
 public:
  Wave(Session::State& state, const std::vector<std::string>& files, std::size_t first, std::size_t count)
      : state_(state),
        count_(count),
        journals_(state.arena->allocate(count * file_journal_bytes)),
        memory_(*state.arena, room(files, first, count)),
        tasks_(memory_.add<FileTask>(count)),
        chosen_(memory_.add<std::uint32_t>(count)),
        results_(count) {
    for (std::size_t i = 0; i < count; ++i) {
      tasks_[i].path = memory_.add(files[first + i]);
      tasks_[i].journal = Journal(journals_.data() + i * file_journal_bytes, file_journal_bytes);
      tasks_[i].journal.reset();
      results_[i].file = first + i;
    }
  }

  void run(FileBody body, const std::byte* argument) {
    std::vector<std::uint32_t> open(count_);
    for (std::uint32_t i = 0; i < count_; ++i) open[i] = i;
    while (!open.empty()) {
      std::copy(open.begin(), open.end(), chosen_);
      auto options = state_.launch_options(static_cast<std::uint32_t>(open.size()), 0);
      options.keep_going = true;
      const Job job{body, tasks_, chosen_, argument, std::min(task_data_bytes, state_.memory_bytes)};
      Launch launch = state_.readers.launch(options, job);
      state_.wait(launch);
      std::vector<std::uint32_t> again;
      for (std::uint32_t slice = 0; slice < open.size(); ++slice) {
        if (!settle(open[slice], launch.outcome(slice))) again.push_back(open[slice]);
      }
      open = std::move(again);
    }
  }

  std::vector<FileResult>& results() { return results_; }

 private:
  static std::size_t room(const std::vector<std::string>& files, std::size_t first, std::size_t count) {
    std::size_t bytes = count * (sizeof(FileTask) + sizeof(std::uint32_t)) + 4096;
    for (std::size_t i = 0; i < count; ++i) bytes += files[first + i].size() + 1;
    return bytes;
  }

  // True if the task has ended; false if it is to go on behind the item that killed its workers.
  bool settle(std::uint32_t index, const SliceOutcome& outcome) {
    FileResult& result = results_[index];
    const Journal& journal = tasks_[index].journal;
    const std::string reason = failure_text(outcome, journal.action());
    if (outcome.state == SliceState::lost || outcome.state == SliceState::stalled) {
      result.deaths.push_back(reason);
      result.dead_items.push_back(journal.next());
      // A file that stalls once is given up: each further try would cost as much time.
      if (outcome.state == SliceState::lost && result.deaths.size() < max_deaths_of_a_file && journal.next() > 0) {
        journal.set_next(journal.next() + 1);
        return false;
      }
      result.failure = reason;
    } else if (outcome.state != SliceState::done) {
      result.failure = reason;
    }
    result.seconds = tasks_[index].seconds;
    result.worker = tasks_[index].worker;
    try {
      result.records = journal.records();
    } catch (const FormatError& error) {
      result.failure = one_line(error.what());
    }
    return true;
  }

  Session::State& state_;
  std::size_t count_;
  ArenaBlock journals_;
  ArenaWriter memory_;
  FileTask* const tasks_;
  std::uint32_t* const chosen_;
  std::vector<FileResult> results_;
};

}  // namespace

void for_each_file(Session::State& state, const std::vector<std::string>& files, FileBody body,
                   const std::byte* argument, const std::function<void(FileResult)>& on_result,
                   const std::function<void(std::size_t)>& on_begin) {
  const std::size_t wave_files = state.wave_files;
  for (std::size_t first = 0; first < files.size(); first += wave_files) {
    for (std::size_t i = first; on_begin && i < std::min(first + wave_files, files.size()); ++i) on_begin(i);
    Wave wave(state, files, first, std::min(wave_files, files.size() - first));
    wave.run(body, argument);
    for (FileResult& each : wave.results()) on_result(std::move(each));
  }
}

}  // namespace runrig::batch
