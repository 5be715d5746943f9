#include "worker.hpp"

#include <fcntl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <memory>

#include "runrig/sync/error.hpp"
#include "runrig/sync/unique_fd.hpp"

namespace runrig::batch {
namespace {

// Private writable memory of this process as RLIMIT_DATA counts it; 0 if /proc does not tell. Asked for before every
// tile and every small file: the descriptor is kept, and the number read without a stream.
std::uint64_t data_bytes() {
  struct Kept {
    pid_t process = 0;  // a child's numbers are elsewhere
    UniqueFd file;
  };
  static Kept* const kept = std::make_unique<Kept>().release();  // never destroyed: workers leave by _exit
  if (kept->process != ::getpid()) {
    kept->file.reset(::open("/proc/self/statm", O_RDONLY | O_CLOEXEC));
    kept->process = ::getpid();
  }
  char text[256];
  const ssize_t length = ::pread(kept->file.get(), text, sizeof text - 1, 0);
  if (length <= 0) return 0;
  text[length] = '\0';
  unsigned long long data_pages = 0;
  if (std::sscanf(text, "%*u %*u %*u %*u %*u %llu", &data_pages) != 1) return 0;
  static const auto page_bytes = static_cast<std::uint64_t>(::sysconf(_SC_PAGESIZE));
  return data_pages * page_bytes;
}

}  // namespace

hdf5::ReadOptions Source::read_options() const {
  hdf5::ReadOptions options;
  options.force_library = force_library;
  options.conventions = conventions;
  options.cache_bytes = cache_bytes;
  options.max_chunk_bytes = max_chunk_bytes;
  options.as_stored = as_stored;
  return options;
}

OpenFiles& OpenFiles::here() {
  // Never destroyed: workers leave by _exit, and what the library does at exit is not for a worker.
  static OpenFiles* const files = std::make_unique<OpenFiles>().release();
  return *files;
}

hdf5::File& OpenFiles::file(const std::string& path) {
  struct stat status {};
  check_errno(::stat(path.c_str(), &status), "open", path);
  for (auto each = entries_.begin(); each != entries_.end(); ++each) {
    if (each->path != path) continue;
    if (each->device == status.st_dev && each->inode == status.st_ino &&
        each->bytes == static_cast<std::uint64_t>(status.st_size) && each->changed_seconds == status.st_mtim.tv_sec &&
        each->changed_nanoseconds == status.st_mtim.tv_nsec) {
      each->done = false;
      entries_.splice(entries_.begin(), entries_, each);
      return entries_.front().file;
    }
    entries_.erase(each);
    break;
  }
  while (entries_.size() >= kept_files_) entries_.pop_back();
  entries_.push_front(Entry{path,
                            status.st_dev,
                            status.st_ino,
                            static_cast<std::uint64_t>(status.st_size),
                            status.st_mtim.tv_sec,
                            status.st_mtim.tv_nsec,
                            hdf5::File::open(path),
                            {}});
  return entries_.front().file;
}

hdf5::Dataset& OpenFiles::dataset(const std::string& path, const std::string& dataset,
                                  const hdf5::ReadOptions& options) {
  hdf5::File& opened = file(path);
  auto& datasets = entries_.front().datasets;
  // One dataset may be open twice: for its numbers, and for what is stored.
  const std::string key = dataset + (options.as_stored ? std::string("\0s", 2) : std::string());
  if (const auto found = datasets.find(key); found != datasets.end()) return found->second;
  // A file of ten thousand datasets visits each once; a job reads few of one file again and again.
  if (datasets.size() >= 16) datasets.clear();
  return datasets.emplace(key, hdf5::Dataset::open(opened, dataset, options)).first->second;
}

hdf5::Dataset& OpenFiles::dataset(const Source& source) {
  return dataset(source.file, source.dataset, source.read_options());
}

void OpenFiles::close_all() { entries_.clear(); }

void OpenFiles::close_datasets(const std::string& path) noexcept {
  for (Entry& each : entries_) {
    if (each.path == path) each.datasets.clear();
  }
}

// Those that are done with are at the end of the list.
void OpenFiles::finish(const std::string& path) {
  const auto done = std::ranges::find(entries_, path, &Entry::path);
  if (done == entries_.end() || done->done) return;
  entries_.splice(std::ranges::find(entries_, true, &Entry::done), entries_, done);
  done->done = true;
  while (std::ranges::count(entries_, true, &Entry::done) > static_cast<std::ptrdiff_t>(fewest_kept)) {
    entries_.pop_back();
  }
}

std::size_t kept_files(const Session::State& state) {
  constexpr std::size_t most = 64;  // as many as are looked at together
  const auto workers = static_cast<std::size_t>(state.readers.size());
  return std::min(most, state.memory_bytes / (workers * 8) >> 20);
}

MemoryFence::MemoryFence(std::size_t extra_bytes) {
  rlimit limit{};
  const std::uint64_t now = data_bytes();
  // A terabyte of private memory is a sanitizer's shadow, which no such limit fits.
  if (now == 0 || now > (std::uint64_t{1} << 40) || ::getrlimit(RLIMIT_DATA, &limit) == -1) return;
  before_ = limit.rlim_cur;
  const std::uint64_t wanted = now + extra_bytes;
  if (limit.rlim_cur != RLIM_INFINITY && limit.rlim_cur <= wanted) return;  // stricter already
  limit.rlim_cur = wanted;
  set_ = ::setrlimit(RLIMIT_DATA, &limit) == 0;
}

MemoryFence::~MemoryFence() {
  rlimit limit{};
  if (!set_ || ::getrlimit(RLIMIT_DATA, &limit) == -1) return;
  limit.rlim_cur = before_;
  ::setrlimit(RLIMIT_DATA, &limit);
}

}  // namespace runrig::batch
