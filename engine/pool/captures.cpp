#include "captures.hpp"

#include <link.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <fstream>
#include <sstream>
#include <stdexcept>

namespace runrig::detail {
namespace {

// Linux puts programs, libraries, heaps and stacks above this; below it are pairs of small numbers, which look like
// pointers to the address sanitizer's shadow and to the heap of programs linked at a fixed address.
constexpr std::uintptr_t lowest_pointer = std::uintptr_t{1} << 44;
constexpr std::uintptr_t highest_pointer = std::uintptr_t{1} << 47;

struct ModuleCounts {
  std::uint64_t loaded = 0;
  std::uint64_t unloaded = 0;
};

ModuleCounts count_modules() {
  ModuleCounts counts;
  ::dl_iterate_phdr(
      [](dl_phdr_info* info, std::size_t, void* out) {
        *static_cast<ModuleCounts*>(out) = {info->dlpi_adds, info->dlpi_subs};
        return 1;  // the counts are the same in each entry
      },
      &counts);
  return counts;
}

// Whether anything is mapped there; far cheaper than reading all mappings.
bool is_mapped(std::uintptr_t address) {
  const std::uintptr_t page = address & ~(static_cast<std::uintptr_t>(::sysconf(_SC_PAGESIZE)) - 1);
  return ::msync(reinterpret_cast<void*>(page), 1, MS_ASYNC) == 0 || errno != ENOMEM;
}

const MappedRange* find(const std::vector<MappedRange>& ranges, std::uintptr_t address) {
  const auto after =
      std::upper_bound(ranges.begin(), ranges.end(), address,
                       [](std::uintptr_t value, const MappedRange& range) { return value < range.begin; });
  if (after == ranges.begin()) return nullptr;
  const auto range = std::prev(after);
  return address < range->end ? &*range : nullptr;
}

}  // namespace

std::vector<MappedRange> read_own_mappings() {
  std::vector<MappedRange> ranges;
  std::ifstream file("/proc/self/maps");
  for (std::string line; std::getline(file, line);) {
    std::istringstream fields(line);
    MappedRange range;
    std::string permissions;
    std::string offset;
    std::string device;
    std::string inode;
    char dash = 0;
    fields >> std::hex >> range.begin >> dash >> range.end >> permissions >> offset >> device >> inode >> std::ws;
    if (!fields && !fields.eof()) continue;
    std::getline(fields, range.path);
    if (permissions.size() < 4) continue;
    range.writable = permissions[1] == 'w';
    range.executable = permissions[2] == 'x';
    range.shared = permissions[3] == 's';
    range.what.append(device).append(" ").append(inode).append(" ").append(offset);
    ranges.push_back(std::move(range));
  }
  return ranges;
}

void CaptureCheck::take_snapshot() {
  const ModuleCounts counts = count_modules();
  modules_loaded_ = counts.loaded;
  modules_unloaded_ = counts.unloaded;
  known_ = read_own_mappings();
  // Private memory that may be written is a copy in the workers: the same address, other contents. So is anonymous
  // memory that happens to be read-only now.
  std::erase_if(known_, [](const MappedRange& range) {
    return !range.shared && (range.writable || range.path.empty() || range.path.front() == '[');
  });
}

const MappedRange* CaptureCheck::find_known(std::uintptr_t address) const {
  const MappedRange* range = find(known_, address);
  if (range == nullptr) return nullptr;
  const ModuleCounts counts = count_modules();
  const bool same_modules = counts.loaded == modules_loaded_ && counts.unloaded == modules_unloaded_;
  if (!range->shared && same_modules) return range;
  // Something else may lie there by now.
  const auto ranges = read_own_mappings();
  const MappedRange* now = find(ranges, address);
  return now != nullptr && now->shared == range->shared && now->what == range->what ? range : nullptr;
}

void CaptureCheck::check_code(SliceBody body) {
  const MappedRange* range = find_known(reinterpret_cast<std::uintptr_t>(body));
  if (range == nullptr || !range->executable) {
    throw std::logic_error(
        "launch: the kernel's code was loaded after the pool was made, so its workers do not have it; make the pool "
        "after loading the module");
  }
}

void CaptureCheck::check_word(std::uintptr_t word, std::size_t offset) {
  if (!is_mapped(word) || find_known(word) != nullptr) return;
  const auto ranges = read_own_mappings();
  const MappedRange* range = find(ranges, word);
  if (range == nullptr) return;
  const std::string where = range->path.empty() ? "private memory" : range->path;
  throw std::logic_error(
      "launch: the kernel's captures hold, at byte " + std::to_string(offset) + ", a pointer or reference into " +
      where + " of this process, which " +
      (range->shared ? "was mapped after the workers were made" : "the workers have as an old copy") +
      "; capture numbers by value, pass arrays as arguments, and put shared data into the pool's arena");
}

void CaptureCheck::check(SliceBody body, const void* closure, std::size_t closure_bytes, const Arena& arena) {
  check_code(body);
  check_captures(closure, closure_bytes, arena);
}

void CaptureCheck::check_captures(const void* closure, std::size_t closure_bytes, const Arena& arena) {
  const auto* bytes = static_cast<const std::byte*>(closure);
  for (std::size_t offset = 0; offset + sizeof(std::uintptr_t) <= closure_bytes; offset += sizeof(std::uintptr_t)) {
    std::uintptr_t word = 0;
    std::memcpy(&word, bytes + offset, sizeof word);
    if (word < lowest_pointer || word >= highest_pointer) continue;
    if (arena.contains(reinterpret_cast<const void*>(word))) continue;
    check_word(word, offset);
  }
}

}  // namespace runrig::detail
