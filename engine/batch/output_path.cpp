#include "output_path.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <charconv>
#include <filesystem>
#include <map>
#include <optional>
#include <utility>

#include "runrig/sync/error.hpp"
#include "runrig/sync/killpoint.hpp"
#include "runrig/sync/participant.hpp"
#include "runrig/sync/unique_fd.hpp"

namespace runrig::batch {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view mark = ".runrig-";
constexpr std::string_view suffix = ".tmp";

std::string directory_of(const std::string& path) {
  const auto parent = fs::path(path).parent_path();
  return parent.empty() ? "." : parent.string();
}

std::string field_value(std::string_view field, const fs::path& input, std::string_view pattern) {
  if (field == "stem") return input.stem().string();
  if (field == "name") return input.filename().string();
  if (field == "ext") return input.extension().string();
  if (field == "dir") return directory_of(input.string());
  throw Error(std::errc::invalid_argument,
              "use the field '{" + std::string(field) + "}' (known: {stem} {name} {ext} {dir}) in the output", pattern);
}

// Which file a path leads to: device and inode if it exists, else its directory's and its own name.
using FileIdentity = std::pair<std::pair<dev_t, ino_t>, std::string>;
FileIdentity identify(const std::string& path) {
  struct stat status {};
  if (::stat(path.c_str(), &status) == 0) return {{status.st_dev, status.st_ino}, ""};
  if (::stat(directory_of(path).c_str(), &status) == 0) {
    return {{status.st_dev, status.st_ino}, fs::path(path).filename().string()};
  }
  return {{0, 0}, fs::absolute(path).lexically_normal().string()};
}

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

}  // namespace

std::string expand_output(std::string_view pattern, std::string_view input) {
  const fs::path path{std::string(input)};
  std::string result;
  for (std::size_t i = 0; i < pattern.size(); ++i) {
    const char c = pattern[i];
    if ((c == '{' || c == '}') && i + 1 < pattern.size() && pattern[i + 1] == c) {
      result += c;
      ++i;
    } else if (c == '{') {
      const auto close = pattern.find('}', i);
      if (close == std::string_view::npos)
        throw Error(std::errc::invalid_argument, "close the '{' in the output", pattern);
      result += field_value(pattern.substr(i + 1, close - i - 1), path, pattern);
      i = close;
    } else {
      result += c;
    }
  }
  if (result.empty()) throw Error(std::errc::invalid_argument, "write to the output", pattern);
  return result;
}

std::vector<std::string> plan_outputs(std::string_view pattern, const std::vector<std::string>& inputs,
                                      const std::vector<std::string>& all_inputs) {
  std::map<FileIdentity, std::string> taken;
  std::map<FileIdentity, std::string> read;
  for (const auto& input : all_inputs) read.emplace(identify(input), input);
  std::vector<std::string> outputs;
  outputs.reserve(inputs.size());
  for (const auto& input : inputs) {
    outputs.push_back(expand_output(pattern, input));
    const auto identity = identify(outputs.back());
    if (read.contains(identity)) {
      throw Error(std::errc::invalid_argument, "write over an input: the output of '" + input + "' would be",
                  outputs.back());
    }
    const auto [other, fresh] = taken.emplace(identity, input);
    if (!fresh) {
      throw Error(std::errc::invalid_argument,
                  "write the outputs of '" + other->second + "' and '" + input +
                      "' to one file (use a template such as out/{stem}.h5)",
                  outputs.back());
    }
  }
  return outputs;
}

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
  remove_dead_temporaries(directory);
  const auto name = fs::path(final_path_).filename().string();
  // The temporary name must fit where the final one does: a long name is cut, the tag makes it unique.
  temporary_path_ = directory + "/." + name.substr(0, 150) + std::string(mark) + make_tag();
}

PendingOutput::~PendingOutput() {
  if (!published_) discard();
}

void PendingOutput::publish() {
  {
    const UniqueFd fd(check_errno(retry_on_eintr([&] { return ::open(temporary_path_.c_str(), O_RDONLY | O_CLOEXEC); }),
                                  "open", temporary_path_));
    // Not tried again when it fails: the kernel may have marked the lost pages as clean.
    check_errno(::fsync(fd.get()), "sync to disk", final_path_);
  }
  RUNRIG_KILLPOINT("output.synced");
  if (replace_) {
    check_errno(::rename(temporary_path_.c_str(), final_path_.c_str()), "rename the finished output to", final_path_);
    published_ = true;
  } else {
    // link() is the rename that refuses to replace, on every file system that has links.
    if (::link(temporary_path_.c_str(), final_path_.c_str()) == -1) {
      if (errno != EPERM && errno != EOPNOTSUPP) check_errno(-1, "rename the finished output to", final_path_);
      check_errno(::rename(temporary_path_.c_str(), final_path_.c_str()), "rename the finished output to", final_path_);
      published_ = true;
    } else {
      published_ = true;
      check_errno(::unlink(temporary_path_.c_str()), "remove the temporary name of", final_path_);
    }
  }
  RUNRIG_KILLPOINT("output.renamed");
  sync_directory(directory_of(final_path_));
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
