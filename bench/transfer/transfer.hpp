#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <iosfwd>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

/// What it costs to hand an array to another process: the same float64 array is summed by a worker to which it comes
/// in four ways. The measuring part of `runrig bench transfer`.
namespace runrig::bench {

/// How the array gets to the worker.
enum class Route {
  python_pickle,  // pickled through a pipe by real Python's multiprocessing
  pipe_copy,      // copied through a pipe, in C++
  attach,         // already in a named segment, which the worker attaches, sums and closes each time
  mapped,         // in a segment that the worker has mapped before; a futex wakes it
};
inline constexpr std::size_t route_count = 4;
/// "python_pickle", "pipe_copy", "attach", "mapped": the keys of the JSON.
[[nodiscard]] std::string_view route_name(Route route) noexcept;
/// For people: "Python multiprocessing, pickled", ...
[[nodiscard]] std::string_view route_title(Route route) noexcept;

struct TransferOptions {
  /// Array sizes in bytes, ascending, each a multiple of 8.
  std::vector<std::size_t> sizes_bytes{std::size_t{8} << 10, std::size_t{1} << 20, std::size_t{64} << 20,
                                       std::size_t{512} << 20};
  /// Larger arrays are left out, with a note.
  std::size_t max_bytes = std::size_t{512} << 20;
  /// Measured turns of each case after one that is not counted; the median is reported. 0: by size, 5 to 200.
  int turns = 0;
  /// The interpreter; if empty, the first of $RUNRIG_PYTHON, python3 in PATH and /usr/bin/python3 that has NumPy.
  std::string python;
  /// Asked between turns and once a second: true ends the measurement with Cancelled. It may be empty.
  std::function<bool()> cancelled;
};

struct TransferResult {
  Route route{};
  std::size_t size_bytes = 0;
  int turns = 0;
  double median_seconds = 0;  // from the request to the sum's arrival
  double fastest_seconds = 0;
  double ratio_to_mapped = 0;  // of the medians, same size
};

struct TransferReport {
  std::vector<TransferResult> results;  // by size, then by route; a case that was left out is missing
  std::vector<std::string> notes;       // what was left out, and why
  std::string machine;                  // CPU and usable CPUs, for the record
};

/// Measures, with asker and worker each on a CPU of its own where there are two. Forks a worker for each case, so it is
/// to be called where no other thread runs. Every sum is compared with the exact one. Leaves no process, segment or
/// file behind, also when it throws. Throws Error: a wrong sum, a worker that died, or a failed system call;
/// std::logic_error for a size that is 0 or no multiple of 8. What cannot be measured here (no Python with NumPy, not
/// enough memory or room in /dev/shm) is left out with a note instead.
[[nodiscard]] TransferReport measure_transfer(const TransferOptions& options = {});

/// A table for people: sizes down, routes across, each with its multiple of the mapped case; then the notes.
void print_table(std::ostream& out, const TransferReport& report);
/// {"machine","results":[{"route","size_bytes","turns","median_seconds","fastest_seconds","ratio_to_mapped"}],"notes"}
[[nodiscard]] std::string to_json(const TransferReport& report);
/// A plot, both axes logarithmic, of seconds over size, labelled with the ratios; an SVG document by itself.
[[nodiscard]] std::string to_svg(const TransferReport& report);
/// Writes that to `path`, complete or not at all. Throws Error.
void write_svg(const std::filesystem::path& path, const TransferReport& report);

}  // namespace runrig::bench
