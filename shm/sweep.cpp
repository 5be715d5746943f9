#include "runrig/shm/sweep.hpp"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <map>
#include <optional>

#include "liveness.hpp"
#include "participation.hpp"
#include "proc_scan.hpp"
#include "runrig/shm/shared_memory.hpp"
#include "runrig/sync/error.hpp"
#include "runrig/sync/killpoint.hpp"
#include "segment_file.hpp"

namespace runrig {
namespace {

using detail::FileName;
using detail::LockAttempt;
using detail::Registry;
using detail::RegistryEntry;
using detail::SegmentPath;

std::vector<std::string> file_names(const Registry& registry, char prefix) {
  std::vector<std::string> names;
  registry.for_each(
      prefix,
      [](void* context, const char* name) { static_cast<std::vector<std::string>*>(context)->emplace_back(name); },
      &names);
  return names;
}

// Sessions that were asked for, each once.
class Sessions {
 public:
  explicit Sessions(const Registry& registry) : registry_(registry) {}
  bool live(const char* session) {
    const auto [at, is_new] = known_.try_emplace(session, false);
    if (is_new) at->second = registry_.session_lives(session);
    return at->second;
  }

 private:
  const Registry& registry_;
  std::map<std::string, bool> known_;
};

struct Locked {
  Locked() = default;
  Locked(Locked&&) = default;
  Locked& operator=(Locked&&) = default;
  ~Locked() {
    if (fd) detail::unlock(fd.get());
  }

  UniqueFd fd;
  std::uint64_t size_bytes = 0;
};

// Opens the very segment of an entry; none if it is gone. Not open_segment_file(): a segment of ours that became odd
// (emptied, of another mode) must go as well.
std::optional<Locked> open_segment(const RegistryEntry& entry) {
  const SegmentPath path(entry.name.data());
  Locked opened;
  opened.fd.reset(retry_on_eintr([&] { return ::open(path.c_str(), O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC); }));
  struct stat status {};
  if (!opened.fd || ::fstat(opened.fd.get(), &status) != 0 || SegmentId{status.st_dev, status.st_ino} != entry.id) {
    return std::nullopt;
  }
  opened.size_bytes = static_cast<std::uint64_t>(status.st_size);
  return opened;
}

// The segment of an entry with its exclusive lock; none if somebody has it in use, or it is gone.
std::optional<Locked> try_lock_segment(const RegistryEntry& entry) {
  auto opened = open_segment(entry);
  if (!opened || detail::try_lock_exclusive(opened->fd.get()) != LockAttempt::taken) return std::nullopt;
  return opened;
}

struct Candidate {
  RegistryEntry entry;
  Locked locked;
};

class Sweep {
 public:
  explicit Sweep(const Registry& registry) : registry_(registry), sessions_(registry) {}

  SweepReport run() {
    for (const auto& each : file_names(registry_, 's')) look_at(each);
    if (!candidates_.empty()) remove_unused();
    for (const auto& each : file_names(registry_, 'p')) {
      if (!sessions_.live(each.c_str())) registry_.remove(each.c_str());
    }
    return std::move(report_);
  }

 private:
  void look_at(const std::string& file_name) {
    const auto entry = registry_.read(file_name.c_str());
    if (!entry) return;  // of another version, or just removed
    if (sessions_.live(entry->session.data())) {
      ++report_.kept;
      return;
    }
    if (!detail::leads_to(SegmentPath(entry->name.data()).c_str(), entry->id)) {
      // Its creator was killed before the segment had a name, or somebody else removed that.
      registry_.remove(file_name.c_str());
      return;
    }
    auto locked = entry->persistent != 0 ? std::nullopt : try_lock_segment(*entry);
    if (!locked) {
      ++report_.kept;
      return;
    }
    RUNRIG_KILLPOINT("shm.sweep.locked");
    candidates_.push_back({*entry, std::move(*locked)});
  }

  void remove_unused() {
    std::map<SegmentId, std::string> names;
    for (const auto& each : candidates_) names.emplace(each.entry.id, each.entry.name.data());
    const auto users = detail::find_users(names);
    for (const auto& each : candidates_) {
      if (!users.at(each.entry.id).empty()) {
        ++report_.kept;
      } else {
        remove(each);
      }
    }
  }

  void remove(const Candidate& candidate) {
    const char* const name = candidate.entry.name.data();
    const int code = detail::unlink_segment_locked(&registry_, name, candidate.entry.id);
    RUNRIG_KILLPOINT("shm.sweep.removed");
    if (code == 0) {
      report_.removed.emplace_back(name);
      report_.removed_bytes += candidate.locked.size_bytes;
    } else if (code != ENOENT) {
      report_.failed.push_back(std::string(name) + ": " + std::generic_category().message(code));
    }
  }

  const Registry& registry_;
  Sessions sessions_;
  std::vector<Candidate> candidates_;
  SweepReport report_;
};

SegmentState judge(const SegmentInfo& info, const RegistryEntry& entry, Sessions& sessions) {
  if (!info.users.empty()) return SegmentState::in_use;
  // A user in another PID namespace is not seen, but its lock is felt.
  if (!try_lock_segment(entry)) return SegmentState::in_use;
  if (info.persistent) return SegmentState::persisted;
  return sessions.live(entry.session.data()) ? SegmentState::kept : SegmentState::abandoned;
}

}  // namespace

std::string_view to_string(SegmentState state) noexcept {
  switch (state) {
    case SegmentState::in_use:
      return "in use";
    case SegmentState::kept:
      return "kept";
    case SegmentState::persisted:
      return "persistent";
    case SegmentState::abandoned:
      return "abandoned";
  }
  return "unknown";
}

std::vector<SegmentInfo> list_segments() {
  const auto registry = Registry::open_existing();
  if (!registry) return {};
  const detail::RegistryLock lock(&*registry);  // or a sweep would take our looking for a use
  std::vector<std::pair<SegmentInfo, RegistryEntry>> found;
  std::map<SegmentId, std::string> names;
  for (const auto& each : file_names(*registry, 's')) {
    const auto entry = registry->read(each.c_str());
    struct stat status {};
    if (!entry || ::lstat(SegmentPath(entry->name.data()).c_str(), &status) != 0 ||
        SegmentId{status.st_dev, status.st_ino} != entry->id) {
      continue;
    }
    SegmentInfo info;
    info.name = entry->name.data();
    info.size_bytes = static_cast<std::uint64_t>(status.st_size);
    info.id = entry->id;
    info.creator = entry->creator.id();
    info.creator_lives = is_alive(entry->creator);
    info.created = std::chrono::system_clock::time_point(
        std::chrono::duration_cast<std::chrono::system_clock::duration>(std::chrono::nanoseconds(entry->created_ns)));
    info.persistent = entry->persistent != 0;
    names.emplace(info.id, info.name);
    found.emplace_back(std::move(info), *entry);
  }
  const auto users = detail::find_users(names);
  Sessions sessions(*registry);
  std::vector<SegmentInfo> all;
  for (auto& [info, entry] : found) {
    info.users = users.at(info.id);
    info.state = judge(info, entry, sessions);
    all.push_back(std::move(info));
  }
  std::sort(all.begin(), all.end(), [](const auto& one, const auto& other) { return one.name < other.name; });
  return all;
}

SweepReport collect_garbage() {
  const auto registry = Registry::open_existing();
  if (!registry) return {};
  const detail::RegistryLock lock(&*registry);  // two at a time would take each other for users
  auto report = Sweep(*registry).run();
  Registry::remove_if_empty();
  return report;
}

void detail::sweep_at_start() {
  try {
    (void)collect_garbage();
  } catch (const Error& error) {
    warn(std::string("cannot remove abandoned segments: ") + error.what());
  }
}

void remove_segment(std::string_view name) {
  detail::check_segment_name(name, "remove segment");
  const std::string name_text(name);
  const SegmentPath path(name);
  struct stat status {};
  check_errno(::lstat(path.c_str(), &status), "remove segment", name);
  if (!S_ISREG(status.st_mode)) {
    throw Error(std::errc::invalid_argument, "remove segment (it is no regular file)", name);
  }
  if (status.st_uid != ::geteuid()) {
    throw Error(std::errc::permission_denied,
                "remove segment (it belongs to user " + std::to_string(status.st_uid) + ")", name);
  }
  const auto registry = Registry::open_existing();
  check_code(detail::unlink_segment(registry ? &*registry : nullptr, name_text.c_str(), {status.st_dev, status.st_ino}),
             "remove segment", name);
}

}  // namespace runrig
