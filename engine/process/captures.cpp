#include "captures.hpp"

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

// Calls `visit(word, offset)` for each word that looks like a pointer, until that returns true.
template <class Visit>
bool any_pointer(std::span<const std::byte> closure, Visit visit) {
  for (std::size_t offset = 0; offset + sizeof(std::uintptr_t) <= closure.size(); offset += sizeof(std::uintptr_t)) {
    std::uintptr_t word = 0;
    std::memcpy(&word, closure.data() + offset, sizeof word);
    if (word >= lowest_pointer && word < highest_pointer && visit(word, offset)) return true;
  }
  return false;
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

bool may_hold_pointers(std::span<const std::byte> closure) noexcept {
  return any_pointer(closure, [](std::uintptr_t, std::size_t) { return true; });
}

void CaptureCheck::take_snapshot() {
  foreign_ = false;
  modules_ = count_modules();
  known_ = read_own_mappings();
  // Private memory that may be written is a copy in the children: the same address, other contents. So is anonymous
  // memory that happens to be read-only now.
  std::erase_if(known_, [](const MappedRange& range) {
    return !range.shared && (range.writable || range.path.empty() || range.path.front() == '[');
  });
}

void CaptureCheck::expect_foreign_layout() noexcept {
  foreign_ = true;
  known_.clear();
}

const MappedRange* CaptureCheck::find_known(std::uintptr_t address) const {
  const MappedRange* range = find(known_, address);
  if (range == nullptr) return nullptr;
  if (!range->shared && count_modules() == modules_) return range;
  // Something else may lie there by now.
  const auto ranges = read_own_mappings();
  const MappedRange* now = find(ranges, address);
  return now != nullptr && now->shared == range->shared && now->what == range->what ? range : nullptr;
}

void CaptureCheck::check_code(std::uintptr_t code) const {
  const MappedRange* range = find_known(code);
  if (range == nullptr || !range->executable) refuse_code();
}

void CaptureCheck::refuse_code() {
  throw std::logic_error(
      "launch: the kernel's code was loaded after the pool was made, so its workers do not have it; make the pool "
      "after loading the module");
}

void CaptureCheck::check_word(const Words& words, std::uintptr_t word, std::size_t offset) const {
  if (!is_mapped(word) || find_known(word) != nullptr) return;
  const auto ranges = read_own_mappings();
  const MappedRange* range = find(ranges, word);
  if (range == nullptr) return;
  const std::string where = range->path.empty() ? "private memory" : range->path;
  const char* const why = foreign_        ? "means nothing in a process that executes the program anew"
                          : range->shared ? "was mapped after the workers were made"
                                          : "its children have as a copy of their own";
  throw std::logic_error(std::string(words.subject) + " captures hold, at byte " + std::to_string(offset) +
                         ", a pointer or reference into " + where + " of this process, which " + why + "; " +
                         std::string(words.advice));
}

void CaptureCheck::check_captures(const Words& words, std::span<const std::byte> closure, const Shared& shared) const {
  (void)any_pointer(closure, [&](std::uintptr_t word, std::size_t offset) {
    if (!shared || !shared(reinterpret_cast<const void*>(word))) check_word(words, word, offset);
    return false;
  });
}

}  // namespace runrig::detail
