#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <list>
#include <map>
#include <string>

#include "runrig/hdf5/dataset.hpp"
#include "runrig/hdf5/file.hpp"
#include "runrig/hdf5/selection.hpp"
#include "state.hpp"

/// What runs in the workers. Nothing here is called in the parent, where HDF5 must never start.
namespace runrig::batch {

/// A dataset to be read, told to workers: plain values, and text in the arena.
struct Source {
  const char* file = nullptr;
  const char* dataset = nullptr;
  hdf5::Selection selection;
  std::size_t max_chunk_bytes = 0;
  std::size_t cache_bytes = 0;
  bool force_library = false;
  bool conventions = false;
  bool as_stored = false;

  [[nodiscard]] hdf5::ReadOptions read_options() const;
};

/// The files and datasets that this worker has open, for the next slice that wants them. They are closed when others
/// need the room, when the file on disk is another by now, and with the worker.
class OpenFiles {
 public:
  /// Those of this process.
  [[nodiscard]] static OpenFiles& here();

  /// Valid until the next call. Throws as hdf5::File::open() does.
  [[nodiscard]] hdf5::File& file(const std::string& path);
  /// The same; throws as hdf5::Dataset::open() does.
  [[nodiscard]] hdf5::Dataset& dataset(const std::string& path, const std::string& dataset,
                                       const hdf5::ReadOptions& options);
  [[nodiscard]] hdf5::Dataset& dataset(const Source& source);
  void close_all();
  /// Closes the file's datasets, with what they have in memory, but not the file.
  void close_datasets(const std::string& path) noexcept;
  /// The file is done with, unless somebody wants it after all: it is the next to be closed, and soon.
  void finish(const std::string& path);
  /// So many files stay open from now on, or a few if that is more.
  void keep(std::size_t files) noexcept { kept_files_ = std::max(fewest_kept, files); }

 private:
  static constexpr std::size_t fewest_kept = 8;
  struct Entry {
    std::string path;
    std::uint64_t device, inode, bytes;
    std::int64_t changed_seconds, changed_nanoseconds;
    hdf5::File file;
    std::map<std::string, hdf5::Dataset> datasets;  // below the file, so closed before it
    bool done = false;                              // nobody is known to want it
  };
  std::list<Entry> entries_;  // last used first
  std::size_t kept_files_ = fewest_kept;
};

/// How many small files a worker may keep open between looking at them and making something of them, each with a
/// megabyte or two of the library's.
[[nodiscard]] std::size_t kept_files(const Session::State& state);

/// Lets this process have `extra_bytes` of private memory beyond what it has now, while the object lives; past that
/// its allocations fail, the library's too, and a file that makes it eat memory becomes an error.
class MemoryFence {
 public:
  explicit MemoryFence(std::size_t extra_bytes);
  MemoryFence(const MemoryFence&) = delete;
  MemoryFence& operator=(const MemoryFence&) = delete;
  ~MemoryFence();

 private:
  std::uint64_t before_ = 0;
  bool set_ = false;
};

}  // namespace runrig::batch
