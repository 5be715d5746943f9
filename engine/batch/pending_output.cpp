#include "runrig/batch/pending_output.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <charconv>
#include <cstdio>
#include <filesystem>
#include <map>
#include <numeric>
#include <optional>
#include <string_view>

#include "output_path.hpp"
#include "runrig/sync/error.hpp"
#include "runrig/sync/killpoint.hpp"
#include "runrig/sync/participant.hpp"
#include "runrig/sync/unique_fd.hpp"

namespace runrig::batch {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view mark = ".runrig-";
constexpr std::string_view suffix = ".tmp";
// From so many files on, one sync of all that the file system has is cheaper than one of each.
constexpr std::size_t fewest_together = 4;

std::optional<std::uint64_t> take_number(std::string_view& text, char end, int base) {
  std::uint64_t value = 0;
  const auto [stop, error] = std::from_chars(text.data(), text.data() + text.size(), value, base);
  if (error != std::errc{} || stop == text.data() + text.size() || *stop != end) return std::nullopt;
  text.remove_prefix(static_cast<std::size_t>(stop - text.data()) + 1);
  return value;
}

std::string hex(std::uint64_t value) {
  char text[17];
  const auto end = std::to_chars(text, text + sizeof text, value, 16).ptr;
  return {text, end};
}

// "MARK-DOMAIN-N.tmp": who makes the file, as an Identity, and which of its files this is.
std::string make_tag() {
  static std::atomic<unsigned> counter{0};  // relaxed: only the number must be unique
  const Identity self = this_process_identity();
  return hex(self.mark) + "-" + hex(self.domain) + "-" + hex(counter.fetch_add(1, std::memory_order_relaxed)) +
         std::string(suffix);
}

bool is_dead_temporary(std::string_view name) {
  const auto at = name.rfind(mark);
  if (name.empty() || name[0] != '.' || at == std::string_view::npos || !name.ends_with(suffix)) return false;
  std::string_view tag = name.substr(at + mark.size());
  const auto maker = take_number(tag, '-', 16);
  const auto domain = take_number(tag, '-', 16);
  const auto count = take_number(tag, '.', 16);
  if (!maker || !domain || !count || tag != suffix.substr(1) || *domain > UINT32_MAX) return false;
  return !is_alive(Identity{*maker, static_cast<std::uint32_t>(*domain), ParticipantKind::process});
}

void sync_directory(const std::string& directory) {
  const UniqueFd fd(
      check_errno(retry_on_eintr([&] { return ::open(directory.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC); }),
                  "open directory", directory));
  // Some file systems cannot sync a directory and say EINVAL: they have nothing to offer here.
  if (::fsync(fd.get()) == -1 && errno != EINVAL) check_errno(-1, "sync directory", directory);
}

void sync_file_system(const std::string& directory) {
  const UniqueFd fd(
      check_errno(retry_on_eintr([&] { return ::open(directory.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC); }),
                  "open directory", directory));
  check_errno(::syncfs(fd.get()), "sync to disk the file system of", directory);
}

std::exception_ptr failure_of(const std::function<void()>& step) {
  try {
    step();
    return nullptr;
  } catch (const Error&) {
    return std::current_exception();
  }
}

// A name in the directory of `final_path` that no other output has, and that the next run removes if we are killed.
std::string temporary_name(const std::string& final_path) {
  const auto name = fs::path(final_path).filename().string();
  // It must fit where the final one does: a long name is cut, the tag makes it unique.
  return directory_of(final_path) + "/." + name.substr(0, 150) + std::string(mark) + make_tag();
}

void write_all(int fd, std::string_view text, const std::string& name) {
  while (!text.empty()) {
    const auto written =
        check_errno(retry_on_eintr([&] { return ::write(fd, text.data(), text.size()); }), "write", name);
    text.remove_prefix(static_cast<std::size_t>(written));
  }
}

// Whether the file system cannot do what was asked for at all, rather than not now.
bool is_unsupported(int code) {
  return code == EPERM || code == EOPNOTSUPP || code == ENOSYS || code == EINVAL || code == EMLINK;
}

// The rename that refuses to replace. Where there is none, link() is one; and where there are no links, there is only
// the plain one. -1 and errno if it fails.
int rename_to_free_name(const char* from, const char* to) {
  if (::renameat2(AT_FDCWD, from, AT_FDCWD, to, RENAME_NOREPLACE) == 0) return 0;
  if (!is_unsupported(errno)) return -1;
  if (::link(from, to) == 0) {
    ::unlink(from);  // if that fails, the next run does it
    return 0;
  }
  return is_unsupported(errno) ? ::rename(from, to) : -1;
}

}  // namespace

PendingOutput::PendingOutput(std::string final_path, bool replace)
    : final_path_(std::move(final_path)), replace_(replace) {
  const std::string directory = directory_of(final_path_);
  struct stat status {};
  check_errno(::stat(directory.c_str(), &status), "write into directory", directory);
  if (!S_ISDIR(status.st_mode)) throw Error(std::errc::not_a_directory, "write into", directory);
  if (::lstat(final_path_.c_str(), &status) == 0) {
    if (S_ISDIR(status.st_mode)) throw Error(std::errc::is_a_directory, "write", final_path_);
    if (!replace_) throw Error(std::errc::file_exists, "write (--overwrite replaces it)", final_path_);
  }
  check_errno(::access(directory.c_str(), W_OK | X_OK), "write into directory", directory);
  temporary_path_ = temporary_name(final_path_);
}

PendingOutput::~PendingOutput() {
  if (!published_) discard();
}

void PendingOutput::finish_file(bool sync) {
  UniqueFd fd(
      check_errno(retry_on_eintr([&] { return ::open(temporary_path_.c_str(), O_WRONLY | O_APPEND | O_CLOEXEC); }),
                  "open to complete it", final_path_));
  if (seal_) {
    struct stat status {};
    check_errno(::fstat(fd.get(), &status), "look at", final_path_);
    write_all(fd.get(), seal_(static_cast<std::uint64_t>(status.st_size)), final_path_);
    RUNRIG_KILLPOINT("output.sealed");
  }
  // Not tried again when it fails: the kernel may have marked the lost pages as clean.
  if (sync) {
    check_errno(::fsync(fd.get()), "sync to disk", final_path_);
  } else {
    // Begun now, so that the others are written meanwhile. What it cannot do, the sync of all says.
    ::sync_file_range(fd.get(), 0, 0, SYNC_FILE_RANGE_WRITE);
  }
  // Some file systems over a network tell only here what has become of the bytes.
  check_errno(::close(fd.release()), "close", final_path_);
}

// Gives the file that is about to be replaced a second name, by which it can come back. False if there is none to come
// back, or the file system has no second names.
bool PendingOutput::keep_former() {
  former_path_ = temporary_name(final_path_);
  if (::link(final_path_.c_str(), former_path_.c_str()) == 0) return true;
  if (errno != ENOENT && !is_unsupported(errno)) check_errno(-1, "keep the former", final_path_);
  former_path_.clear();
  return false;
}

void PendingOutput::take_name() {
  const char* const from = temporary_path_.c_str();
  const char* const to = final_path_.c_str();
  check_errno(replace_ ? ::rename(from, to) : rename_to_free_name(from, to), "rename the finished output to",
              final_path_);
  published_ = true;
}

void PendingOutput::publish() {
  finish_file(true);
  RUNRIG_KILLPOINT("output.synced");
  try {
    change_names();
    sync_directory(directory_of(final_path_));
  } catch (const Error&) {
    restore_names();
    throw;
  }
  settle_names();
}

void PendingOutput::change_names() {
  struct stat status {};
  fresh_ = ::lstat(final_path_.c_str(), &status) == -1 && errno == ENOENT;
  kept_ = replace_ && !fresh_ && keep_former();
  RUNRIG_KILLPOINT("output.former_kept");
  take_name();
  RUNRIG_KILLPOINT("output.renamed");
}

// What the name leads to after a crash is not known now; before one, it is what it was.
void PendingOutput::restore_names() noexcept {
  if (published_ && fresh_) ::unlink(final_path_.c_str());
  if (published_ && kept_) ::rename(former_path_.c_str(), final_path_.c_str());
  if (!published_ && kept_) ::unlink(former_path_.c_str());
  kept_ = false;
}

void PendingOutput::settle_names() {
  if (kept_) ::unlink(former_path_.c_str());  // if that fails, the next run does it
}

std::vector<std::exception_ptr> PendingOutput::publish_together(const std::vector<PendingOutput*>& outputs) {
  std::vector<std::exception_ptr> failures(outputs.size());
  // Calls `step` for those of `members` that have not failed; what it throws is their failure.
  const auto each = [&](const std::vector<std::size_t>& members, const auto& step) {
    for (const std::size_t i : members) {
      if (failures[i]) continue;
      try {
        step(*outputs[i]);
      } catch (const Error&) {
        failures[i] = std::current_exception();
      }
    }
  };
  std::vector<std::size_t> all(outputs.size());
  std::iota(all.begin(), all.end(), std::size_t{0});
  const bool one_by_one = outputs.size() < fewest_together;
  each(all, [&](PendingOutput& output) { output.finish_file(one_by_one); });
  if (!one_by_one) {
    std::map<dev_t, std::vector<std::size_t>> by_device;
    for (const std::size_t i : all) {
      struct stat status {};
      // A directory that is gone: the rename will say so.
      if (::stat(directory_of(outputs[i]->final_path_).c_str(), &status) == 0) by_device[status.st_dev].push_back(i);
    }
    for (const auto& on_device : by_device) {
      const auto& members = on_device.second;
      const auto failure = failure_of([&] { sync_file_system(directory_of(outputs[members[0]]->final_path_)); });
      // It is told of the file system, not of a file: none of them can be trusted.
      each(members, [&](PendingOutput&) {
        if (failure) std::rethrow_exception(failure);
      });
    }
  }
  RUNRIG_KILLPOINT("output.synced");
  each(all, [](PendingOutput& output) { output.change_names(); });
  std::map<std::string, std::vector<std::size_t>> by_directory;
  for (const std::size_t i : all) by_directory[directory_of(outputs[i]->final_path_)].push_back(i);
  for (const auto& [directory, members] : by_directory) {
    const auto failure = failure_of([&, &path = directory] { sync_directory(path); });
    each(members, [&](PendingOutput& output) {
      if (failure) std::rethrow_exception(failure);
      output.settle_names();
    });
  }
  for (const std::size_t i : all) {
    if (failures[i]) outputs[i]->restore_names();
  }
  return failures;
}

void PendingOutput::discard() noexcept { ::unlink(temporary_path_.c_str()); }

int remove_dead_temporaries(const std::string& directory) {
  int removed = 0;
  std::error_code ignored;
  for (fs::directory_iterator each(directory, ignored), end; !ignored && each != end; each.increment(ignored)) {
    if (is_dead_temporary(each->path().filename().string()) && ::unlink(each->path().c_str()) == 0) ++removed;
  }
  return removed;
}

}  // namespace runrig::batch
