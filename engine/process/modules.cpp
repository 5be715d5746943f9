#include "modules.hpp"

#include <elf.h>
#include <link.h>

#include <algorithm>
#include <cstring>
#include <span>

namespace runrig::detail {
namespace {

std::span<const ElfW(Phdr)> headers_of(const dl_phdr_info& info) { return {info.dlpi_phdr, info.dlpi_phnum}; }

std::span<const std::byte> bytes_of(const dl_phdr_info& info, const ElfW(Phdr) & header) {
  return {reinterpret_cast<const std::byte*>(info.dlpi_addr + header.p_vaddr), header.p_filesz};
}

// The build id's bytes among the notes of one segment; empty if it is not there.
std::span<const std::byte> find_build_id(std::span<const std::byte> notes, std::size_t alignment) {
  if (alignment != 8) alignment = 4;
  const auto padded = [alignment](std::size_t bytes) { return (bytes + alignment - 1) / alignment * alignment; };
  while (notes.size() >= sizeof(ElfW(Nhdr))) {
    ElfW(Nhdr) header{};
    std::memcpy(&header, notes.data(), sizeof header);
    notes = notes.subspan(sizeof header);
    const std::size_t name_bytes = padded(header.n_namesz);
    if (name_bytes > notes.size() || header.n_descsz > notes.size() - name_bytes) return {};
    const bool is_gnu = header.n_namesz == 4 && std::memcmp(notes.data(), "GNU", 4) == 0;
    if (is_gnu && header.n_type == NT_GNU_BUILD_ID && header.n_descsz > 0) {
      return notes.subspan(name_bytes, header.n_descsz);
    }
    notes = notes.subspan(std::min(name_bytes + padded(header.n_descsz), notes.size()));
  }
  return {};
}

// FNV-1a, by words where there are so many. Whole segments are read, with what the address sanitizer has put between
// the constants.
[[gnu::no_sanitize_address]] void mix(std::uint64_t& hash, std::span<const std::byte> bytes) {
  constexpr std::uint64_t prime = 0x100000001b3;
  std::size_t at = 0;
  for (; at + sizeof(std::uint64_t) <= bytes.size(); at += sizeof(std::uint64_t)) {
    std::uint64_t word = 0;
    std::memcpy(&word, bytes.data() + at, sizeof word);
    hash = (hash ^ word) * prime;
    hash ^= hash >> 32;  // a multiplication alone carries upwards only
  }
  for (; at < bytes.size(); ++at) hash = (hash ^ std::to_integer<std::uint64_t>(bytes[at])) * prime;
}

// For a module without build id. Linkers without "separate code" put constants and code into one segment; then code is
// hashed, too.
ModuleId hash_of_constants(const dl_phdr_info& info) {
  const auto headers = headers_of(info);
  const auto is_constant = [](const ElfW(Phdr) & header) {
    return header.p_type == PT_LOAD && (header.p_flags & PF_W) == 0 && (header.p_flags & PF_R) != 0;
  };
  const auto has_code = [](const ElfW(Phdr) & header) { return (header.p_flags & PF_X) != 0; };
  const bool separate = std::any_of(headers.begin(), headers.end(),
                                    [&](const auto& header) { return is_constant(header) && !has_code(header); });
  std::array<std::uint64_t, 2> hashes = {0xcbf29ce484222325, 0x84222325cbf29ce4};
  for (std::uint64_t& hash : hashes) {
    mix(hash, std::as_bytes(headers));
    for (const auto& header : headers) {
      if (is_constant(header) && !(separate && has_code(header))) mix(hash, bytes_of(info, header));
    }
  }
  ModuleId id{};
  std::memcpy(id.data(), "hash", 4);
  std::memcpy(id.data() + 4, hashes.data(), sizeof hashes);
  return id;
}

ModuleId identify(const dl_phdr_info& info) {
  for (const auto& header : headers_of(info)) {
    if (header.p_type != PT_NOTE) continue;
    const auto found = find_build_id(bytes_of(info, header), header.p_align);
    if (found.empty()) continue;
    ModuleId id{};
    for (std::size_t i = 0; i < found.size(); ++i) {
      id[i % id.size()] = static_cast<std::uint8_t>(id[i % id.size()] ^ std::to_integer<unsigned>(found[i]));
    }
    return id;
  }
  return hash_of_constants(info);
}

int add_module(dl_phdr_info* info, std::size_t, void* out) {
  Module module;
  module.base = info->dlpi_addr;
  for (const auto& header : headers_of(*info)) {
    if (header.p_type != PT_LOAD) continue;
    const std::uintptr_t begin = info->dlpi_addr + header.p_vaddr;
    module.segments.push_back({begin, begin + header.p_memsz});
    if ((header.p_flags & PF_X) != 0) module.executable.push_back(module.segments.back());
  }
  module.id = identify(*info);
  static_cast<std::vector<Module>*>(out)->push_back(std::move(module));
  return 0;
}

bool any_contains(const std::vector<Module::Range>& ranges, std::uintptr_t address) noexcept {
  return std::any_of(ranges.begin(), ranges.end(), [address](const auto& range) { return range.contains(address); });
}

}  // namespace

bool Module::holds(std::uintptr_t address) const noexcept { return any_contains(segments, address); }
bool Module::has_code_at(std::uintptr_t address) const noexcept { return any_contains(executable, address); }

ModuleCounts count_modules() noexcept {
  ModuleCounts counts;
  ::dl_iterate_phdr(
      [](dl_phdr_info* info, std::size_t, void* out) {
        *static_cast<ModuleCounts*>(out) = {info->dlpi_adds, info->dlpi_subs};
        return 1;  // the counts are the same in each entry
      },
      &counts);
  return counts;
}

void Modules::refresh() {
  const ModuleCounts now = count_modules();
  if (now == counts_) return;
  modules_.clear();
  ::dl_iterate_phdr(add_module, &modules_);
  counts_ = now;  // if one was loaded in between, the list is read once more the next time
}

const std::vector<Module>& Modules::all() {
  refresh();
  return modules_;
}

const Module* Modules::at(std::uintptr_t address) {
  refresh();
  const auto found =
      std::find_if(modules_.begin(), modules_.end(), [&](const Module& each) { return each.holds(address); });
  return found == modules_.end() ? nullptr : &*found;
}

const Module* Modules::with_id(const ModuleId& id) {
  refresh();
  const auto found = std::find_if(modules_.begin(), modules_.end(), [&](const Module& each) { return each.id == id; });
  return found == modules_.end() ? nullptr : &*found;
}

}  // namespace runrig::detail
