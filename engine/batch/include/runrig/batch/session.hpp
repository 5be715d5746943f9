#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "runrig/batch/dry_run.hpp"
#include "runrig/batch/outcome.hpp"
#include "runrig/engine/pool.hpp"
#include "runrig/engine/statistics.hpp"
#include "runrig/hdf5/file.hpp"
#include "runrig/hdf5/output.hpp"
#include "runrig/hdf5/selection.hpp"

namespace runrig::batch {

/// How far long work has come. Bytes are those of the arrays in memory, not of the file.
struct Progress {
  std::uint64_t files_done = 0;
  std::uint64_t files_skipped = 0;  // of these: their outputs are up to date
  std::uint64_t files = 0;
  std::uint64_t bytes_done = 0;
  std::uint64_t bytes = 0;        // as far as known: of files_known files
  std::uint64_t files_known = 0;  // those skipped are not among them
};

struct Options {
  int workers = 0;                               // 0: one for each CPU that this process may use
  std::size_t memory_bytes = 0;                  // 0: a quarter of what the machine or the control group has
  std::chrono::milliseconds cpu_stall{5000};     // CPU time the HDF5 library may take without getting anywhere
  std::chrono::milliseconds wall_stall{300000};  // the same in elapsed time: slow storage is not a hang
  bool force_library = false;                    // read everything through H5Dread: the same values, only slower
  bool read_only = false;    // starts no process for outputs; calls that make or plan one throw std::logic_error
  bool conventions = false;  // all that is read, but for repack(), by netCDF's: hdf5::ReadOptions::conventions
  /// Called from the thread that runs the work, at most ten times a second and at the end.
  std::function<void(const Progress&)> on_progress;
  /// Called once for each input file of a call when its end is known, from the thread that runs the work; also for
  /// those that a call leaves undone when it throws.
  std::function<void(const FileOutcome&)> on_file;
  /// Files that no output may be, beside the inputs: such as one to which the caller writes.
  std::vector<std::string> reserved_files;
  /// Asked a few times a second; true ends the work with Cancelled, after its temporary files were removed.
  std::function<bool()> interrupted;
};

struct FileListing {
  std::string file;
  std::uint64_t file_bytes = 0;
  std::vector<hdf5::ObjectInfo> objects;
};
struct InfoReport {
  std::vector<FileListing> files;
  std::vector<Failure> failures;
};

struct HistogramRange {
  double low = 0;
  double high = 0;
};
/// What to summarise: all numeric datasets of a file, or those named.
struct StatsRequest {
  std::vector<std::string> files;
  std::vector<hdf5::DatasetRef> datasets;           // empty: all numeric ones
  std::uint64_t histogram_bins = 0;                 // of equal width, as numpy.histogram makes them; 0: no histogram
  std::optional<HistogramRange> histogram_range{};  // none: from the smallest element to the largest
};
struct DatasetStatistics {
  std::string file;
  std::string dataset;  // with the selection as it was asked for
  Shape shape;          // of the selection
  std::string dtype;    // NumPy's notation of what the file holds: "<f4", ">i2"
  Statistics statistics;
  std::vector<double> edges;          // of the histogram, one more than counts; both empty if there is none
  std::vector<std::uint64_t> counts;  // of what lies within the edges; NaNs are in none
  std::string no_histogram;           // why there is none though it was asked for, in words
};
struct StatsReport {
  std::vector<DatasetStatistics> results;  // by file as asked, then in the file's own order
  std::vector<Failure> failures;
};

struct MapInput {
  std::string name;  // in the expression
  hdf5::DatasetRef dataset;
};
struct MapOutput {
  std::string expression;
  std::string to = "/result";
};
/// A function in a shared library, as runrig/kernel.h has it.
struct MapKernel {
  std::string library;  // its path; a bare name is a file of the current directory, and nowhere else is looked for it
  std::string function;
  std::string parameter;  // for the kernel to read

  /// "LIBRARY:FUNCTION". Throws FormatError.
  [[nodiscard]] static MapKernel parse(std::string_view text);
};
struct MapRequest {
  std::vector<std::string> files;
  std::vector<MapInput> inputs;
  std::vector<MapOutput> outputs;  // datasets of each output file; all are computed in one pass over the inputs
  std::optional<MapKernel>
      kernel{};                    // in place of all expressions: it takes all inputs and makes all outputs, in order
  std::string output;              // a file, or a template: {stem} {name} {ext} {dir}
  std::optional<DType> dtype{};    // none: as the expression has it
  hdf5::StorageOptions storage{};  // of every output
  bool provenance = true;          // attributes say what each output was made of: runrig_input, runrig_dataset, ...
  enum class Existing { refuse, overwrite } existing = Existing::refuse;
  /// Outputs that this very request made, of the same files as they are now, are up to date and not made again. Those
  /// that it made of files that have changed since, or in another version, are replaced. All others that exist are
  /// treated as `existing` says.
  bool resume = false;
};
struct MapResult {
  std::string file;
  std::string output;
  std::string dataset;
  Shape shape;
  std::string dtype;
  std::uint64_t output_bytes = 0;  // size of the finished file
  std::vector<std::string> notes;  // what could not be kept, in words
};
struct MapReport {
  std::vector<MapResult> results;  // by file, then in the order of MapRequest::outputs
  std::vector<Failure> failures;
};

/// Whole files stored anew.
struct RepackRequest {
  std::vector<std::string> files;
  std::vector<std::string> datasets;  // that get the storage below; empty: all of fixed element size
  std::string output;                 // a file, or a template: {stem} {name} {ext} {dir}
  hdf5::StorageOptions storage{};     // as it is where nothing is said
  MapRequest::Existing existing = MapRequest::Existing::refuse;
  bool resume = false;  // as MapRequest has it
};
struct RepackResult {
  std::string file;
  std::string output;
  std::uint64_t input_bytes = 0;
  std::uint64_t output_bytes = 0;
  std::vector<std::string> notes;  // what could not be kept or done, in words
};
struct RepackReport {
  std::vector<RepackResult> results;
  std::vector<Failure> failures;
};

/// Runs HDF5 work in worker processes: a set of readers, and a writer unless read_only. Kept for the session's life.
///
/// The HDF5 library is used in these processes only, so a file on which it crashes, hangs or eats memory costs a
/// worker, is reported by name with the reason, and the rest is done. Make the session before anything in this
/// process starts HDF5, oneTBB or a thread: its workers are forked here. Not thread-safe; one call at a time.
class Session {
 public:
  /// Throws Error when the workers cannot be started; std::logic_error for options that make no sense.
  explicit Session(Options options = {});
  ~Session();
  Session(const Session&) = delete;
  Session& operator=(const Session&) = delete;

  [[nodiscard]] int workers() const noexcept;
  [[nodiscard]] std::size_t memory_bytes() const noexcept;
  /// The readers, for kernels on arrays: parallel_transform(session.pool(), ...). Not while a call of the session runs.
  [[nodiscard]] Pool& pool() noexcept;

  /// Groups, datasets, links and attributes of each file. Throws Cancelled.
  [[nodiscard]] InfoReport info(const std::vector<std::string>& files);
  /// Throws Cancelled. The same bits for any number of workers and any memory limit.
  [[nodiscard]] StatsReport stats(const StatsRequest& request);
  /// Computes expressions element by element and writes one output file for each input file. Wrong use (a syntax
  /// error, an unknown name, two inputs for one output, an output that is an input or exists) throws Error before
  /// any work; what fails for one file is a Failure, as is an input that changes while it is read. An output is there
  /// under its name only when complete.
  [[nodiscard]] MapReport map(const MapRequest& request);
  /// Copies whole files: groups, links, attributes, named types and datasets, in the order of their creation; the
  /// workers encode the chunks of what is to be stored in another way. Errors and outputs as for map().
  [[nodiscard]] RepackReport repack(const RepackRequest& request);

  /// What these calls would read and write, after the same checks and with the same errors. Nothing is written.
  [[nodiscard]] DryRun plan(const StatsRequest& request);
  [[nodiscard]] DryRun plan(const MapRequest& request);
  [[nodiscard]] DryRun plan(const RepackRequest& request);

  struct State;  // private to engine/batch
  [[nodiscard]] State& state() noexcept { return *state_; }

 private:
  std::unique_ptr<State> state_;
};

}  // namespace runrig::batch
