#include "foreign_code.hpp"

#include <algorithm>
#include <string>
#include <utility>

#include "runrig/sync/error.hpp"

namespace runrig::detail {

using pickle::Object;

ModuleSnapshot ModuleSnapshot::of_this_process() {
  ModuleSnapshot snapshot;
  Modules modules;
  for (const Module& module : modules.all()) {
    for (const auto& range : module.segments) {
      snapshot.entries_.push_back({module.base, range.begin, range.end, module.id});
    }
  }
  std::sort(snapshot.entries_.begin(), snapshot.entries_.end(),
            [](const Entry& a, const Entry& b) { return a.begin < b.begin; });
  return snapshot;
}

Object ModuleSnapshot::to_object() const {
  std::vector<Object> list;
  for (const Entry& each : entries_) {
    list.push_back(Object::tuple({each.base, each.begin, each.end, Object::bytes(std::as_bytes(std::span(each.id)))}));
  }
  return Object::list(std::move(list));
}

ModuleSnapshot ModuleSnapshot::from_object(const Object& object) {
  ModuleSnapshot snapshot;
  for (const Object& each : object.items()) {
    Entry entry{
        each.at(std::size_t{0}).as_uint(), each.at(std::size_t{1}).as_uint(), each.at(std::size_t{2}).as_uint(), {}};
    const auto id = each.at(std::size_t{3}).as_bytes();
    if (id.size() != entry.id.size()) throw FormatError("read a list of modules", "pickle", "an id has a wrong size");
    std::transform(id.begin(), id.end(), entry.id.begin(),
                   [](std::byte byte) { return std::to_integer<std::uint8_t>(byte); });
    snapshot.entries_.push_back(entry);
  }
  return snapshot;
}

CodeRef ModuleSnapshot::name(std::uintptr_t address) const noexcept {
  const auto after = std::upper_bound(entries_.begin(), entries_.end(), address,
                                      [](std::uintptr_t value, const Entry& entry) { return value < entry.begin; });
  if (after == entries_.begin() || address >= std::prev(after)->end) return {};
  return {std::prev(after)->id, address - std::prev(after)->base};
}

const CodeEntry& ForeignCode::entry(std::uintptr_t address, CodeKind kind) {
  const auto known = entries_.find(address);
  if (known != entries_.end() && known->second->kind() == kind) return *known->second;
  const CodeEntry& found = find_code(sender_.name(address), kind);
  entries_.insert_or_assign(address, &found);
  return found;
}

std::uintptr_t ForeignCode::function(std::uintptr_t address) {
  if (address == 0) return 0;
  const auto known = functions_.find(address);
  if (known != functions_.end()) return known->second;
  return functions_.emplace(address, detail::resolve_function(sender_.name(address))).first->second;
}

}  // namespace runrig::detail
